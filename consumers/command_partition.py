"""One partition of ``dr-commands``: commands in, calls to Digital River, outcomes out.

Rules of the file:
- One producer per partition, initialised before anything is read; its time-out is short, because an open transaction holds back
  every reader of the inbox. No HTTP inside a transaction.
- Outcomes, the low watermark and what is done above it are written in one transaction (``progress.py``). A command that is done
  is never called again.
- A call may start only on the lease (``lease.py``). A successor inits its producer, waits L and reads the high watermark: what
  lies above, nobody has seen; what lies below may be on its way for L and the HTTP time-out, and is then looked up first.
- Nobody else was here when the committed footprint is ours, or a transaction with the kept producer commits, because a call
  needs a committed transaction: then the partition goes on without waits. Nor are there waits behind an owner that said in its
  last transaction that it left with nothing in flight, nor where no transaction was ever committed.
- Leaving: start no call, wait for those on their way, commit their outcomes, then go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from consumers.command_calls import Caller
from consumers.command_desk import CommandDesk
from consumers.command_doubts import Doubts
from consumers.command_reader import CommandReader
from consumers.command_records import PendingCommand, outcome_event, read_command, record_of, unknown_outcome
from consumers.lease import Lease
from consumers.options import LaneOptions
from consumers.ownership import PartitionOwner, PartitionState
from consumers.progress import Footprint, Left, Progress, Watermark
from producers.connection import KafkaConnection, within
from producers.dead_letters import dead_letter, log_fields
from producers.outbox import OutboundRecord, Outbox
from producers.sizes import fits
from producers.topics import Topic, prefixed
from producers.transaction import Probe, TransactionalProducer
from statemachine.errors import (
    BrokerUnavailable,
    DecodeError,
    OrderflowError,
    PositionGap,
    TransactionAborted,
)
from statemachine.facts import Outcome

log = structlog.get_logger(__name__)

#: Milliseconds after which Kafka ends a transaction of ours that stays open: it holds back all readers of the inbox.
TRANSACTION_TIMEOUT_MS = 10_000
#: After so long without a command, a position that has only passed transaction markers is committed.
_IDLE_SECONDS = 30.0
#: How often a partition with work looks after its lease and at the breaker, at least.
_LOOK_SECONDS = 0.5


class Finished(NamedTuple):
    """What a command left behind, waiting for its transaction."""

    offset: int
    topic: str
    record: OutboundRecord


class CommandTopics(NamedTuple):
    """The lane's topics, by their full names."""

    commands: str
    inbox: str
    letters: str


def command_topics(prefix: str) -> CommandTopics:
    """The lane's topics under a prefix."""
    return CommandTopics(*(prefixed(prefix, topic) for topic in (Topic.DR_COMMANDS, Topic.INBOX, Topic.DEAD_LETTERS)))


@dataclass(slots=True)
class _InDoubt:
    """A transaction whose commit was asked for and not confirmed."""

    footprint: Footprint
    written: int
    offsets: list[int]


class CommandPartition(PartitionOwner):
    """Partition p of the command lane in one process."""

    def __init__(
        self,
        number: int,
        *,
        group: str,
        topics: CommandTopics,
        options: LaneOptions,
        connection: KafkaConnection,
        consumer: AIOKafkaConsumer,
        reader: CommandReader,
        incarnation: str,
        caller: Caller,
        lease_seconds: float,
        clock: Callable[[], datetime],
        probe: Probe | None = None,
    ) -> None:
        self._tp = TopicPartition(topics.commands, number)
        super().__init__(
            number, group=group, inputs=(self._tp,), options=options, consumer=consumer, steady=caller.clock
        )
        self._topics = topics
        self._connection = connection
        self._reader = reader
        self._incarnation = incarnation
        self._caller = caller
        self._clock = clock
        self._probe = probe
        self._desk = CommandDesk(caller, Lease(lease_seconds, caller.clock), finish=self._take_outcome, wake=self._wake)
        self._producer: TransactionalProducer | None = None
        self._watermark = Watermark(0)
        #: Watermark, desk and outcomes are what the last transaction under our footprint says, and more of ours.
        self._proven = False
        self._footprint: Footprint | None = None
        # Never set back: a footprint that is used twice would let a transaction that did not land pass for one that did.
        self._transactions = 0
        self._in_doubt: _InDoubt | None = None
        self._finished: list[Finished] = []
        self._doubts = Doubts(caller.options)
        self._last_begin = 0.0
        self._paused = True

    # -- seen from the membership

    @property
    def hungry(self) -> bool:
        """Running, Digital River answers or is to be probed, and there is room for more commands.

        While the breaker is open commands wait in Kafka. Once its pause is over they are let in again, for the probe: those
        that opened it may all have ended, and then nobody has one at hand.
        """
        return (
            self.state is PartitionState.RUNNING
            and not self._caller.breaker.blocked(self._steady())
            and not self._watermark.full
            and self._watermark.pending < self._options.queue_records_max
        )

    def feed(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        """Take fetched commands as far as there is room; the others are left in Kafka."""
        if self.state is not PartitionState.RUNNING:
            return
        for record in records:
            # More than there is room for, or the breaker has opened since they were asked for.
            if not self.hungry or not self._watermark.reach(record.offset):
                self._paused = True
                self._consumer.pause(partition)
                self._consumer.seek(partition, record.offset)
                break
            if self._watermark.take(record.offset):
                self._take(record)
        self._wake.set()

    def fed_to(self, partition: TopicPartition) -> int:
        """The next offset that has not been read."""
        return self._watermark.read_to

    async def close(self) -> None:
        """Close the producer for good."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()

    # -- taking over

    async def _resume(self) -> bool:
        """Go on with the dormant producer, if a transaction with it commits: then nobody has been there."""
        if self._producer is None or not self._producer.alive or not self._proven or self._in_doubt is not None:
            return False
        try:
            await self._transact()
        except OrderflowError as error:
            log.info("partition_visited", partition=self.number, group=self._group, error=error)
            return False
        return True

    async def _take_over(self) -> None:
        """Fence, read how far the lane has come, find out what may have been called; this order is the guarantee."""
        if self._producer is not None:
            self._producer.discard()
        self._producer = TransactionalProducer(
            self._connection,
            group=self._group,
            partition=self.number,
            topics=(self._topics.inbox, self._topics.letters),
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            probe=self._probe,
        )
        async with self._turns:
            await self._producer.start()  # 1. fences the old owner: its lease ends within L from here
        fenced_at = self._steady()
        found = await self._reader.progress(self._group, self._tp)  # 2. never stale after the init
        if self._is_ours(found):
            self.counters.resumes += 1
            return
        await self._forget()
        await self._begin_at(found)
        await self._bound_the_unknown(found, fenced_at)
        self._proven = True

    def _is_ours(self, found: Progress | None) -> bool:
        """Whether the newest transaction is ours: then nobody can have called since, and what we have at hand is right."""
        doubt, self._in_doubt = self._in_doubt, None
        if not self._proven or found is None or found.footprint is None:
            return False
        if doubt is not None and found.footprint == doubt.footprint:
            self._written(doubt)
            return True
        return found.footprint == self._footprint

    async def _begin_at(self, found: Progress | None) -> None:
        """Set the watermark; the offset must be there."""
        begin = (await self._reader.beginnings([self._tp]))[self._tp]
        end = (await self._reader.ends([self._tp]))[self._tp]
        if found is not None and not begin <= found.offset <= end:
            raise PositionGap(
                f"partition {self.number} of {self._topics.commands} should go on at offset {found.offset}, but Kafka has "
                f"{begin} to {end}: commands were deleted unread, or the topic was made anew"
            )
        self._watermark = Watermark(begin) if found is None else Watermark(found.offset, found.done)

    async def _bound_the_unknown(self, found: Progress | None, fenced_at: float) -> None:
        """Find the offset below which commands may have been called, and from when on they can be looked up."""
        lease, http = self._desk.lease.seconds, self._caller.options.http_timeout_seconds
        if found is not None and found.left is not None:
            # The last owner left with nothing in flight, so what it did not try was tried by nobody.
            self._doubts.begin_after(found.left, self._steady())
            return
        if found is not None:
            # 3. an owner that does not know yet that it is fenced may start calls for L, on commands that it has read by then
            await self._rest(lease - (self._steady() - fenced_at))
            if self._leaving.is_set():
                raise BrokerUnavailable("revoked while taking over")
        # Without any committed offset nobody has a lease. But offsets expire, so old commands are looked up all the same.
        end = (await self._reader.ends([self._tp]))[self._tp]
        look_from = fenced_at if found is None else fenced_at + lease + http
        self._doubts.begin(end, look_from, max(look_from, fenced_at + http) + self._caller.options.settle_seconds)

    async def _forget(self) -> None:
        """Drop what is at hand: it may be behind."""
        self._proven = False
        self._footprint = None
        self._in_doubt = None
        self._finished = []
        self._doubts.forget()
        await self._desk.drop()

    def _note_doubts(self) -> None:
        """Before the desk is cleared: which commands have to be looked up when they are read again."""
        self._doubts.note(self._desk.unfinished(), watermark=self._watermark.offset, now=self._steady())

    # -- reading

    def _start_reading(self) -> None:
        if self._leaving.is_set():
            return
        if not self._desk.active:
            self._watermark.rewind([item.offset for item in self._finished])
        self._become(PartitionState.RUNNING)
        self._consumer.seek(self._tp, self._watermark.read_to)
        self._consumer.resume(self._tp)
        self._paused = False

    def _pause_reading(self) -> None:
        self._paused = True
        super()._pause_reading()

    def _take(self, consumed: ConsumerRecord) -> None:
        self.counters.records += 1
        record = record_of(consumed, Topic.DR_COMMANDS)
        try:
            command = read_command(record)
        except DecodeError as error:  # set aside, or the lane would be stuck
            log.warning("dead_letter", **log_fields(record, error.reason, error.detail))
            letter = dead_letter(record, error.reason, error.detail, at=self._clock(), room=self._connection.room)
            self._finished.append(Finished(consumed.offset, self._topics.letters, letter))
            return
        pending = PendingCommand(consumed.offset, command)
        age = self._clock().timestamp() - consumed.timestamp / 1000
        self._doubts.mark(pending, age=age, now=self._steady())
        self._desk.add(pending)

    def _take_outcome(self, pending: PendingCommand, outcome: Outcome) -> None:
        command = pending.command
        key, value = command.order_id.encode(), outcome_event(command, outcome, time=self._clock())
        if not fits(key, value, (), self._connection.room):
            # No answer of Digital River's is as large; one that is cannot be handed on, but must not stop the partition.
            log.error("outcome_too_large", order_id=command.order_id, command_id=command.command_id, bytes=len(value))
            outcome = unknown_outcome(command, status=outcome.status, request_id=outcome.request_id)
            value = outcome_event(command, outcome, time=self._clock())
        record = OutboundRecord(key, value)
        self._finished.append(Finished(pending.offset, self._topics.inbox, record))
        self._doubts.learn(pending, outcome)

    # -- working

    async def _work(self) -> None:
        """Write what is finished and keep the lease while commands wait for it."""
        while not self._leaving.is_set():
            if self._desk.crash is not None:
                raise self._desk.crash
            if (
                self._producer is not None
            ):  # before the wait: what is still on its way may arrive while nothing is written
                await self._producer.renew()
            self.problem = self._caller.breaker.problem or self._watch.problem
            if self._paused and self.hungry:
                self._consumer.resume(self._tp)
                self._paused = False
            if self._must_write():
                # 5 to 20 transactions a second: back to back they pay 20 ms each for CONCURRENT_TRANSACTIONS.
                await self._rest(self._last_begin + self._options.batch_interval_seconds - self._steady())
                await self._transact()
                continue
            self._wake.clear()
            busy = bool(self._desk.active or self._paused or self.problem)
            try:
                await asyncio.wait_for(self._wake.wait(), _LOOK_SECONDS if busy else _IDLE_SECONDS)
            except TimeoutError:
                if not busy and await self._passed_markers():
                    await self._transact()

    async def _passed_markers(self) -> bool:
        """Idle: whether the position has passed markers only; it is committed then, or retention would overtake it."""
        limit = self._connection.limits.operation_seconds
        position = await within(limit, self._consumer.position(self._tp), "a look at a position")
        idle = self.state is PartitionState.RUNNING and not (self._desk.active or self._finished or self._paused)
        if not idle or self._watermark.pending or position <= self._watermark.read_to:
            return False
        self._watermark.reach(position)
        return True

    def _must_write(self) -> bool:
        if self._finished or self._desk.renewal_wanted:
            return True
        lease = self._desk.lease
        blocked = self._caller.breaker.blocked(self._steady())
        return self._desk.active and not blocked and lease.age > lease.seconds / 3

    async def _finish(self) -> None:
        """Wait for the calls on their way, write all outcomes, and say that nothing is in flight."""
        self._pause_reading()
        await self._desk.leave()
        producer = self._producer
        # A take-over that was cut off has proven nothing: what is at hand is then of an earlier period.
        if self._taken and self._proven and self._in_doubt is None and producer is not None and producer.alive:
            self._note_doubts()
            try:
                while len(self._finished) > self._options.batch_records_max:
                    await self._transact()
                await self._transact(self._doubts.left(self._steady()))
            except (OrderflowError, KafkaError) as error:  # the next owner waits and looks, as after a crash
                log.warning("partition_left_untidily", partition=self.number, group=self._group, error=error)

    async def _ended(self) -> None:
        await self._desk.cut()
        self._note_doubts()
        await self._desk.drop()

    async def _transact(self, left: Left | None = None) -> None:
        """One transaction: outcomes, dead letters, the watermark; it renews the lease."""
        producer = self._producer
        if producer is None:
            raise TransactionAborted("the partition lost its producer")
        batch = self._finished[: self._options.batch_records_max]
        outbox = Outbox(producer.counts, home=self.number, home_count=0)
        for item in batch:
            outbox.add_foreign(item.topic, *item.record)
        self._transactions += 1
        footprint = Footprint(self._incarnation, self._transactions)
        doubt = _InDoubt(footprint, len(batch), [item.offset for item in batch])
        after = self._watermark.with_finished(doubt.offsets)
        self._in_doubt = doubt
        self._last_begin = begun_at = self._steady()
        offsets = {self._tp: (after.offset, after.encode(footprint, left))}
        await producer.transact(outbox, offsets, timestamp_ms=int(self._clock().timestamp() * 1000))
        self._in_doubt = None
        self._written(doubt)
        self._desk.renewed(begun_at)
        self.counters.transactions += 1

    def _written(self, done: _InDoubt) -> None:
        """The transaction has committed: it is progress also when its answer was lost."""
        self._worked()
        self._watermark.finish(done.offsets)
        del self._finished[: done.written]
        self._footprint = done.footprint
