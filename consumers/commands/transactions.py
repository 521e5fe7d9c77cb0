"""The transactions of a partition of commands, and the proof that no other owner has written since the last one.

Outcomes, dead letters, the low watermark and what is done above it are committed together (``progress.py``). Each transaction
carries a footprint, which shows after an init whether the newest one is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import Enum
from typing import NamedTuple

import structlog
from aiokafka import TopicPartition

from consumers.commands.progress import Footprint, InDoubt, Progress, Watermark, is_behind
from consumers.commands.reader import CommandTopics
from consumers.commands.records import PendingCommand, outcome_record
from consumers.commands.uncertain import CallHistory
from consumers.requests.permit import CallPermit
from producers.dead_letters import dead_letter, log_fields
from producers.encoding import Refusal, event_refused
from producers.outbox import OutboundRecord, Outbox
from producers.packing.sizes import Room
from producers.transaction import TransactionalProducer
from statemachine.errors import DecodeError
from statemachine.messages.decoding import cause_of
from statemachine.messages.envelope import Record
from statemachine.messages.facts import Outcome

log = structlog.get_logger(__name__)


class Finished(NamedTuple):
    """A record that a command left behind, waiting for its transaction."""

    offset: int
    topic: str
    record: OutboundRecord
    #: What else is written in the same transaction, by topic.
    beside: tuple[tuple[str, OutboundRecord], ...] = ()


class FinishedCommands:
    """Outcomes and dead letters that wait for their transaction, in the order in which they came.

    The command queues put outcomes in, the partition writes them and takes them out.
    """

    def __init__(self, topics: CommandTopics, *, clock: Callable[[], datetime], room: Room) -> None:
        """``clock`` is UTC; ``room`` is the producer's: it limits the size of a record."""
        self.waiting: list[Finished] = []
        self._topics = topics
        self._clock = clock
        self._room = room

    def __len__(self) -> int:
        return len(self.waiting)

    @property
    def offsets(self) -> list[int]:
        """The commands that have a record here."""
        return [item.offset for item in self.waiting]

    def add_outcome(self, pending: PendingCommand, outcome: Outcome) -> Outcome:
        """Queue the outcome's record; the outcome as it is written (see ``outcome_record``)."""
        span = pending.span
        context = None if span is None else span.context
        record, outcome = outcome_record(pending.command, outcome, time=self._clock(), room=self._room, context=context)
        if span is not None:
            span.set({"orderflow.result": outcome.result, "orderflow.tries": outcome.tries})
            span.end()
        self.waiting.append(Finished(pending.offset, self._topics.inbox, record))
        return outcome

    def add_dead_letter(self, record: Record, error: DecodeError) -> None:
        """Queue a dead letter, and an ``order.event_refused``, for a record without a command: else the lane would be stuck."""
        log.warning("dead_letter", **log_fields(record, error.reason, error.detail))
        now = self._clock()
        letter = dead_letter(record, error.reason, error.detail, at=now, room=self._room)
        told = event_refused(record, cause_of(record), Refusal(error.reason, error.code, error.detail), time=now)
        beside = () if told is None else ((self._topics.refusals, told),)
        self.waiting.append(Finished(record.offset, self._topics.letters, letter, beside))

    def written(self, count: int) -> None:
        """The first ``count`` records are committed."""
        del self.waiting[:count]

    def clear(self) -> None:
        """Forget all of them: their commands are read again."""
        self.waiting.clear()


class Newest(Enum):
    """The newest transaction of a partition, compared with ours."""

    #: Another process committed it, or it is older than what we know.
    NOT_OURS = "not_ours"
    #: It is our last one that is known to have committed.
    OURS = "ours"
    #: It is the one of ours whose commit was in doubt: it has committed.
    OURS_IN_DOUBT = "ours_in_doubt"


class CommandTransactions:
    """Writes what a partition has finished, and keeps its watermark."""

    def __init__(
        self,
        partition: TopicPartition,
        *,
        incarnation: str,
        finished: FinishedCommands,
        history: CallHistory,
        permit: CallPermit,
        records_max: int,
        clock: Callable[[], datetime],
        steady: Callable[[], float],
    ) -> None:
        """Args:
        partition: Of ``dr-commands``, by its full name.
        incarnation: Unique to this process start.
        finished: The records to write.
        history: Knows what the next owner has to know of our calls.
        permit: Renewed by each transaction.
        records_max: Records in one transaction.
        clock: UTC now.
        steady: A monotonic clock, in seconds.
        """
        self.watermark = Watermark(0)
        #: Watermark, queues and finished commands follow from the last transaction under our footprint.
        self.proven = False
        self.footprint: Footprint | None = None
        self.in_doubt: InDoubt | None = None
        #: When the last transaction began.
        self.last_begin = 0.0
        self._partition = partition
        self._incarnation = incarnation
        self._finished = finished
        self._history = history
        self._permit = permit
        self._records_max = records_max
        self._clock = clock
        self._steady = steady
        #: The last transaction of this process that has committed, whatever was forgotten since.
        self._last_committed: Footprint | None = None
        # Never reset: with a footprint that is used twice, an aborted transaction could pass for a committed one.
        self._count = 0

    @property
    def settled(self) -> bool:
        """What we know is proven, and no transaction is in doubt."""
        return self.proven and self.in_doubt is None

    async def commit(self, producer: TransactionalProducer, *, leaving: Iterable[PendingCommand] | None = None) -> int:
        """One transaction: finished commands, the watermark and its metadata; it renews the lease.

        ``leaving``: the commands without an outcome, when the partition is given away and the next owner must know of them.

        Returns:
            How many records it wrote.

        Raises:
            OrderflowError: It failed or its end is unknown; then ``in_doubt`` is set.
        """
        batch = self._finished.waiting[: self._records_max]
        outbox = Outbox(producer.counts, home=self._partition.partition, home_count=0)
        for item in batch:
            outbox.add_foreign(item.topic, *item.record)
            for topic, record in item.beside:
                outbox.add_foreign(topic, *record)
        self._count += 1
        footprint = Footprint(self._incarnation, self._count)
        doubt = InDoubt(footprint, len(batch), [item.offset for item in batch])
        after = self.watermark.with_finished(doubt.offsets)
        self.in_doubt = doubt
        self.last_begin = begun_at = self._steady()
        self._history.passed(after.offset)
        uncertain = self._history.uncertain
        hand_over = None if leaving is None else uncertain.hand_over(leaving, begun_at)
        offsets = {self._partition: (after.offset, after.encode(footprint, hand_over, uncertain.waits(begun_at)))}
        await producer.transact(outbox, offsets, timestamp_ms=int(self._clock().timestamp() * 1000))
        self.in_doubt = None
        self._committed(doubt)
        self._permit.renewed(begun_at)
        return outbox.count

    def _committed(self, done: InDoubt) -> None:
        self.watermark.finish(done.offsets)
        self._finished.written(done.written)
        self.footprint = self._last_committed = done.footprint

    def compare(self, found: Progress | None) -> Newest:
        """After an init: whose the newest transaction is. If it is ours, nobody can have called since, and our state is current.

        Settles the transaction in doubt, if there is one.
        """
        doubt, self.in_doubt = self.in_doubt, None
        if not self.proven or found is None or found.footprint is None:
            return Newest.NOT_OURS
        if (
            found.hand_over is not None
        ):  # a successor would believe that we start no call: a transaction has to revoke that first
            self._permit.lease.drop()
        if doubt is not None and found.footprint == doubt.footprint:
            self._committed(doubt)
            return Newest.OURS_IN_DOUBT
        return Newest.OURS if found.footprint == self.footprint else Newest.NOT_OURS

    def is_behind(self, found: Progress) -> bool:
        """Whether Kafka has lost a transaction of this process that had committed."""
        return is_behind(found, self._last_committed)

    def forget(self) -> None:
        """Another owner may have written meanwhile: nothing is proven any more."""
        self.proven = False
        self.footprint = None
        self.in_doubt = None
