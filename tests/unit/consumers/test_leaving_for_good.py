"""What a partition of commands still writes when its process ends, and on which lease it goes on when it comes back."""

from __future__ import annotations

from collections import deque
from typing import Any, cast

from consumers.commands.partition import CommandPartition
from consumers.commands.progress import HandOver, Progress
from consumers.commands.records import PendingCommand
from consumers.commands.transactions import Finished
from producers.outbox import OutboundRecord
from producers.transaction import TransactionalProducer
from statemachine.messages.ids import OrderId
from tests.unit.consumers.steady import delete
from tests.unit.consumers.test_footprints import PaperProducer, command_partition


class PaperConsumer:
    """Nothing is assigned any more."""

    def assignment(self) -> set[object]:
        """The partitions that are ours."""
        return set()


class WatchedProducer(PaperProducer):
    """Also notes when it is renewed, which fences whoever was initialised meanwhile."""

    def __init__(self, *, unanswered: bool = False) -> None:
        super().__init__()
        self.counts = {"orderflow.inbox": 1}
        self.unanswered = unanswered
        self.renewed_after: list[int] = []

    async def transact(self, outbox: object, offsets: dict[Any, tuple[int, str]], *, timestamp_ms: int) -> None:
        """As a transaction does: a producer without all its answers is renewed first."""
        await self.renew()
        await super().transact(outbox, offsets, timestamp_ms=timestamp_ms)

    async def renew(self) -> None:
        """Replace it if an answer is missing."""
        if self.unanswered:
            self.renewed_after.append(len(self.written))
            self.unanswered = False

    async def close(self) -> None:
        """It is not asked for anything again."""
        self.alive = False


def leaving(producer: WatchedProducer, finished: int) -> CommandPartition:
    """A partition that has been given away with so many outcomes that came since its last transaction."""
    partition = command_partition()
    partition._consumer = PaperConsumer()
    partition._producer = cast("TransactionalProducer", producer)
    partition._taken = partition._pipeline.transactions.proven = True
    for offset in range(finished):
        partition._pipeline.transactions.watermark.take(offset)
        partition._pipeline.finished.waiting.append(Finished(offset, "orderflow.inbox", OutboundRecord(b"A-1", b"{}")))
    partition.leave()
    return partition


async def test_an_outcome_that_came_between_the_last_transaction_and_the_end_is_written() -> None:
    """No call is on its way any more by then; the outcome is there all the same."""
    producer = WatchedProducer()
    partition = leaving(producer, finished=2)
    await partition.close()
    assert [(found.offset, found.hand_over is not None) for found in producer.written] == [(2, True)]
    assert partition._pipeline.finished.waiting == []


async def test_a_producer_without_all_its_answers_writes_nothing_once_the_partition_is_given_away() -> None:
    """It would have to be initialised again, and that would fence the rightful successor."""
    producer = WatchedProducer(unanswered=True)
    partition = leaving(producer, finished=2)
    partition._pipeline.queues._orders[OrderId("A-2")] = deque(
        [PendingCommand(2, delete("c2", "A-2"), look_first=True)]
    )
    await partition.close()
    assert (producer.written, producer.renewed_after) == ([], [])


async def test_an_answer_that_is_lost_while_the_last_outcomes_are_written_ends_the_writing() -> None:
    """More outcomes than one transaction takes: the next one would begin with an init."""

    class Losing(WatchedProducer):
        async def transact(self, outbox: object, offsets: dict[Any, tuple[int, str]], *, timestamp_ms: int) -> None:
            await super().transact(outbox, offsets, timestamp_ms=timestamp_ms)
            self.unanswered = True

    producer = Losing()
    partition = leaving(producer, finished=1500)
    await partition.close()
    assert (len(producer.written), producer.renewed_after) == (1, [])


async def test_a_producer_without_all_its_answers_is_renewed_while_the_group_still_waits() -> None:
    """The last transaction met a lost answer: the renewal comes at once, and the outcomes of late calls can be written."""

    class Losing(WatchedProducer):
        async def transact(self, outbox: object, offsets: dict[Any, tuple[int, str]], *, timestamp_ms: int) -> None:
            await super().transact(outbox, offsets, timestamp_ms=timestamp_ms)
            self.unanswered = len(self.written) == 1

    producer = Losing()
    partition = leaving(producer, finished=0)
    await partition._finish()
    assert (len(producer.written), producer.renewed_after) == (1, [1])
    partition._pipeline.transactions.watermark.take(0)
    partition._pipeline.finished.waiting.append(Finished(0, "orderflow.inbox", OutboundRecord(b"A-1", b"{}")))
    await partition.close()
    assert (len(producer.written), producer.renewed_after) == (2, [1])


async def test_a_partition_that_committed_its_leave_starts_no_call_before_a_transaction_revokes_that() -> None:
    """The last word was committed, only its answer was lost, and the partition came back: a successor would believe it."""
    partition = command_partition()
    partition._pipeline.transactions.proven = True
    for hand_over, age in ((None, 0.0), (HandOver(0, settle_seconds=0.0), float("inf"))):
        partition._pipeline.permit.lease.renew(0.0)
        partition._pipeline.transactions.footprint = partition._pipeline.transactions.footprint or (
            await written_footprint(partition)
        )
        assert partition._is_ours(
            Progress(0, footprint=partition._pipeline.transactions.footprint, hand_over=hand_over)
        )
        assert partition._pipeline.permit.lease.age == age


async def written_footprint(partition: CommandPartition) -> Any:
    """That of a transaction which has committed."""
    partition._producer = cast("TransactionalProducer", producer := PaperProducer())
    await partition._transact()
    return producer.written[-1].footprint
