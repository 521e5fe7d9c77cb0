"""One partition of ``dr-commands``: commands in, calls to Digital River, outcomes out.

Rules of the file:
- One producer per partition, initialised before anything is read; its time-out is short, because an open transaction holds back
  every reader of the inbox. No HTTP inside a transaction.
- Outcomes, the low watermark and what is done above it are written in one transaction (``progress.py``). A command that is done
  is never called again.
- A call may start only on the lease (``lease.py``). A successor inits its producer, waits L and reads the high watermark: what
  lies above, nobody has seen; what lies below may have been called. L and all other waits are its predecessor's, told beside the
  offset.
- Nobody else was here when the committed footprint is ours, or a transaction with the kept producer commits, because a call
  needs a committed transaction: then the partition goes on without waits.
- Leaving: start no call, commit which commands have calls on their way, and go; a rebalance never waits for Digital River. Those
  calls go on, and their outcomes are written when the partition comes back and nobody else had it. A successor looks those
  commands up and has no waits for any other.
- No offset is ever guessed: where the group has none, and there are commands, a person decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from consumers.commands.calls import Caller
from consumers.commands.progress import Footprint, InDoubt, Left, Progress, Waits, Watermark, is_behind
from consumers.commands.queues import CommandDesk
from consumers.commands.reader import CommandReader
from consumers.commands.records import PendingCommand, command_id_of, outcome_record, read_command
from consumers.commands.seen import Scan, SeenCommands
from consumers.commands.topics import CommandTopics, Finished, check_offset
from consumers.commands.uncertain import Doubts
from consumers.ownership.lease import Lease
from consumers.ownership.options import LaneOptions
from consumers.ownership.owner import PartitionOwner, PartitionState
from consumers.ownership.records import record_bytes, record_of
from producers.connection import KafkaConnection, within
from producers.dead_letters import dead_letter, log_fields
from producers.outbox import Outbox
from producers.topics import Topic
from producers.transaction import Probe, TransactionalProducer
from statemachine.errors import BrokerUnavailable, DecodeError, OrderflowError, TransactionAborted
from statemachine.messages.facts import Outcome

log = structlog.get_logger(__name__)

#: Milliseconds after which Kafka ends a transaction of ours that stays open: it holds back all readers of the inbox.
TRANSACTION_TIMEOUT_MS = 10_000
#: Calls on their way may end for so long after a revoke, so that most of them need no look-up. The fleet stands still meanwhile.
_GRACE_SECONDS = 0.5
#: So long a take-over waits until the commands before are known; then it goes on, and looks all up until they are.
_SCAN_SECONDS = 1.0
#: After so long without a command, a position that has only passed transaction markers is committed.
_IDLE_SECONDS = 30.0
#: How often a partition with work looks after its lease and at the breaker, at least.
_LOOK_SECONDS = 0.5


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
        calls = caller.options
        self._doubts = Doubts(Waits(lease_seconds, calls.http_timeout_seconds, calls.settle_seconds))
        lease = Lease(lease_seconds, caller.clock)
        self._desk = CommandDesk(caller, lease, mark=self._mark, finish=self._take_outcome, wake=self._wake)
        self._producer: TransactionalProducer | None = None
        self._watermark = Watermark(0)
        #: Watermark, desk and outcomes are what the last transaction under our footprint says, and more of ours.
        self._proven = False
        self._footprint: Footprint | None = None
        #: The last transaction of this process that has committed, whatever was forgotten since.
        self._last_committed: Footprint | None = None
        # Never set back: a footprint that is used twice would let a transaction that did not land pass for one that did.
        self._transactions = 0
        self._in_doubt: InDoubt | None = None
        self._finished: list[Finished] = []
        self._seen = SeenCommands()
        self._scan = Scan(
            self._seen,
            number=number,
            beginning=self._beginning,
            scan=lambda begin, end: reader.scan_ids(self._tp, begin, end, self._seen.scanned),
            backoff_seconds=options.backoff_seconds_max,
            done=self._desk.past_is_known,
        )
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
            and self._watermark.pending_bytes < self.queue_bytes_max
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
            if self._watermark.take(record.offset, record_bytes(record)):
                self._take(record)
            elif (done := command_id_of(record.value)) is not None:
                self._seen.read(record.offset, done)
        self._scan.look_after()
        self._wake.set()

    def fed_to(self, partition: TopicPartition) -> int:
        """The next offset that has not been read."""
        return self._watermark.read_to

    def leave(self) -> None:
        """No request is written from now on; then as for every partition."""
        self._desk.stop_calls()
        super().leave()

    async def close(self) -> None:
        """Close the producer for good, once the calls on their way have ended.

        Their outcomes are still written if nobody has taken over meanwhile, which the producer would be told. A producer that
        would have to be initialised first writes nothing: it would fence the rightful successor.
        """
        if (self._desk.active or self._finished) and self._can_write():
            await self._desk.calls_ended(self._caller.options.http_timeout_seconds)
            await self._write_last(given_away=True)
        await self._desk.cut()
        await self._scan.stop()
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
        await self._begin_at(found, fenced_at)
        self._seen.begin(await self._beginning(), self._watermark.offset)
        self._scan.look_after()
        await self._scan.wait(_SCAN_SECONDS)
        self._proven = True
        if found is None:  # from now on an offset that is missing is one that was lost
            await self._transact()

    def _is_ours(self, found: Progress | None) -> bool:
        """Whether the newest transaction is ours: then nobody can have called since, and what we have at hand is right."""
        doubt, self._in_doubt = self._in_doubt, None
        if not self._proven or found is None or found.footprint is None:
            return False
        if found.left is not None:  # before the next call a transaction has to take our last word back
            self._desk.lease.drop()
        if doubt is not None and found.footprint == doubt.footprint:
            self._written(doubt)
            return True
        return found.footprint == self._footprint

    async def _begin_at(self, found: Progress | None, fenced_at: float) -> None:
        """Set the watermark, and find out which commands may have been called, and for how long their calls may take effect.

        Raises:
            PositionGap: The offset is not there, or there is none although there are commands.
        """
        begin, end = await self._beginning(), (await self._reader.ends([self._tp]))[self._tp]
        check_offset(self._tp, found, begin, end)
        if found is None:
            self._watermark = Watermark(end)
            self._doubts.begin_after(Left(0, settle_seconds=0.0), fenced_at, Waits())
            return
        self._watermark = Watermark(found.offset, found.done)
        if found.left is not None and not is_behind(found, self._last_committed):
            self._doubts.begin_after(found.left, self._steady(), found.waits)
            return
        self._doubts.begin_after_crash(0, fenced_at, found.waits)
        # 3. an owner that does not know yet that it is fenced may start calls for L, on commands that it has read by then
        await self._rest(fenced_at + self._doubts.lease_seconds - self._steady())
        if self._leaving.is_set():
            raise BrokerUnavailable("revoked while taking over")
        self._doubts.look_below = (await self._reader.ends([self._tp]))[self._tp]

    async def _beginning(self) -> int:
        return (await self._reader.beginnings([self._tp]))[self._tp]

    async def _forget(self) -> None:
        """Drop what is at hand: it may be behind."""
        await self._scan.stop()
        self._proven = False
        self._footprint = None
        self._in_doubt = None
        self._finished = []
        self._doubts.forget()
        await self._desk.drop()

    # -- reading

    def _start_reading(self) -> None:
        if self._leaving.is_set():
            return
        if self._desk.leaving or not self._desk.active:
            at_hand = [item.offset for item in self._finished]
            self._watermark.rewind([*at_hand, *(pending.offset for pending in self._desk.unfinished())])
        self._desk.come_back()
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
        age = max(0.0, self._clock().timestamp() - consumed.timestamp / 1000)
        seen = self._seen.read(consumed.offset, command.command_id)
        self._desk.add(PendingCommand(consumed.offset, command, asked_at=self._steady() - age, seen=seen))

    def _mark(self, pending: PendingCommand) -> None:
        if pending.seen is None:
            pending.seen = self._seen.told(pending.offset)
        self._doubts.mark(pending)

    def _take_outcome(self, pending: PendingCommand, outcome: Outcome) -> None:
        record, outcome = outcome_record(pending.command, outcome, time=self._clock(), room=self._connection.room)
        self._finished.append(Finished(pending.offset, self._topics.inbox, record))
        self._doubts.learn(pending, outcome)

    # -- working

    async def _work(self) -> None:
        """Write what is finished and keep the lease while commands wait for it."""
        while not self._leaving.is_set():
            if self._desk.crash is not None:
                raise self._desk.crash
            if self._producer is not None:
                # Before the wait: what is still on its way may arrive while nothing is written.
                await self._producer.renew()
            self.problem = self._caller.problem or self._watch.problem
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

    def _can_write(self) -> bool:
        """What is at hand was proven under the producer that is kept. Not so in a take-over that was cut off."""
        alive = self._producer is not None and self._producer.alive
        return self._taken and self._proven and self._in_doubt is None and alive

    async def _finish(self) -> None:
        """Start no call, write all outcomes and which commands have a call on its way; never wait for Digital River."""
        self._pause_reading()
        await self._desk.leave(_GRACE_SECONDS)
        if self._can_write():
            await self._write_last(given_away=False)

    async def _write_last(self, *, given_away: bool) -> None:
        """Write what is finished, and with it what the next owner has to know.

        ``given_away``: the next owner may be there, so the producer must not be initialised any more. Before that it is replaced
        at once if it met a lost answer: the outcomes of the calls that go on can be written only by one that need not be.
        """
        producer, written = self._producer, given_away
        try:
            while producer is not None and (self._finished or not written):
                if given_away and producer.unanswered:
                    log.warning(
                        "outcomes_not_written", partition=self.number, group=self._group, count=len(self._finished)
                    )
                    return
                await self._transact(leaving=True)
                written = True
            if producer is not None and not given_away:
                await producer.renew()
        except (OrderflowError, KafkaError) as error:  # the next owner is there, or waits and looks as after a crash
            log.warning("partition_left_untidily", partition=self.number, group=self._group, error=error)

    async def _ended(self) -> None:
        await self._desk.leave(0.0)

    async def _transact(self, *, leaving: bool = False) -> None:
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
        doubt = InDoubt(footprint, len(batch), [item.offset for item in batch])
        after = self._watermark.with_finished(doubt.offsets)
        self._in_doubt = doubt
        self._last_begin = begun_at = self._steady()
        self._doubts.passed(after.offset)
        self._seen.passed(after.offset)
        left = self._doubts.left(self._desk.unfinished(), begun_at) if leaving else None
        offsets = {self._tp: (after.offset, after.encode(footprint, left, self._doubts.waits(begun_at)))}
        await producer.transact(outbox, offsets, timestamp_ms=int(self._clock().timestamp() * 1000))
        self._in_doubt = None
        self._written(doubt)
        self._desk.renewed(begun_at)
        self.counters.transactions += 1

    def _written(self, done: InDoubt) -> None:
        """The transaction has committed: it is progress also when its answer was lost."""
        self._worked()
        self._watermark.finish(done.offsets)
        del self._finished[: done.written]
        self._footprint = self._last_committed = done.footprint
