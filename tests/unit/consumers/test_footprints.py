"""A footprint names one transaction of one process, so that an aborted one is never taken for one that committed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from consumers.commands.calls import Caller, CallOptions
from consumers.commands.partition import CommandPartition
from consumers.commands.progress import Progress, read_progress
from consumers.commands.reader import command_topics
from consumers.measures import LaneMeasures
from consumers.ownership.options import LaneOptions
from consumers.pauses.table import never_paused
from consumers.requests.breaker import Breaker
from producers.connection import KafkaConnection
from producers.transaction import TransactionalProducer
from statemachine.errors import TransactionAborted


class PaperCaller:
    """What a partition needs of its caller to write."""

    clock = staticmethod(lambda: 0.0)
    options = CallOptions()
    breaker = Breaker()
    measures = LaneMeasures()


class PaperProducer:
    """Takes transactions, and notes what would be committed beside the offset."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.alive = True
        self.fails = False
        self.written: list[Progress] = []

    async def transact(self, _outbox: object, offsets: dict[Any, tuple[int, str]], *, timestamp_ms: int) -> None:
        """Commit, or fail without having committed."""
        assert timestamp_ms > 0
        ((offset, metadata),) = offsets.values()
        if self.fails:
            raise TransactionAborted("not this time")
        self.written.append(read_progress(offset, metadata))


def command_partition(reader: object = None) -> CommandPartition:
    """A partition of the command lane that reaches nobody."""
    return CommandPartition(
        0,
        group="g",
        topics=command_topics(""),
        options=LaneOptions(),
        connection=KafkaConnection("nowhere:1"),
        consumer=None,
        reader=cast("Any", reader),
        incarnation="A",
        caller=cast("Caller", PaperCaller()),
        lease_seconds=5,
        clock=lambda: datetime(2031, 3, 4, tzinfo=UTC),
        pauses=never_paused(),
    )


async def test_a_transaction_that_did_not_land_is_not_taken_for_an_earlier_one_that_did() -> None:
    """After a take-over that forgot everything the count goes on: the old footprint does not prove the new transaction."""
    producer = PaperProducer()
    partition = command_partition()
    partition._producer = cast("TransactionalProducer", producer)
    partition._pipeline.transactions.proven = True
    await partition._transact()
    found = producer.written[-1]
    await partition._forget()  # somebody fenced us and never committed
    partition._pipeline.transactions.proven = True
    producer.fails = True
    with pytest.raises(TransactionAborted):
        await partition._transact()
    assert not partition._is_ours(found)
    producer.fails = False
    await partition._transact()
    assert producer.written[-1].footprint != found.footprint


async def test_a_successor_asks_how_far_commands_reach_when_nobody_else_may_call_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is written while the old owner's lease runs out may have been called by it: so the end is read after the wait."""
    steps: list[object] = []

    class Reader:
        async def beginnings(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
            return dict.fromkeys(partitions, 0)

        async def ends(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
            steps.append("end")
            return dict.fromkeys(partitions, 40)

    async def rest(seconds: float) -> None:
        steps.append(seconds)

    partition = command_partition(Reader())
    monkeypatch.setattr(partition, "_rest", rest)
    fenced_at = partition._steady()
    await partition._takeover.begin_at(Progress(12), fenced_at, partition._rest_unless_revoked)
    assert steps == ["end", 5 - (partition._steady() - fenced_at), "end"]
    assert partition._pipeline.history.uncertain.hand_over([], 0.0).look_below == 40


async def test_a_commit_whose_answer_was_lost_is_progress_all_the_same() -> None:
    """What failed before it is over: it must not count as trouble that has lasted ever since."""
    partition, producer = command_partition(), PaperProducer()
    partition._producer = cast("TransactionalProducer", producer)
    partition._pipeline.transactions.proven = True
    producer.fails = True
    with pytest.raises(TransactionAborted) as failed:
        await partition._transact()
    assert partition._watch.failed(failed.value, 0.0, in_work=True) is None
    assert partition._pipeline.transactions.in_doubt is not None
    assert partition._is_ours(Progress(0, footprint=partition._pipeline.transactions.in_doubt.footprint))
    assert partition._watch.failed(failed.value, 68.0, in_work=True) is None
