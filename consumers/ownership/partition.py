"""One owned partition: batch → step → transaction, after a take-over, until the partition leaves.

The unit is the partition number p of all input topics together. Rules of the file:
- A batch's results live in its overlay until its transaction has committed; only then are they part of the store.
- Every wait has a limit. After any error the producer is gone and the partition starts again at *fenced*.
- A producer that met a request without an answer is replaced before the next transaction (``TransactionalProducer.renew``). Its
  new epoch proves that nobody else has owned the partition, so store and queue are kept; without that proof it is an error like
  any other.
- A paused partition reads nothing and begins nothing; it keeps producer, store and ownership, and writes what has ended.
- A revoked partition keeps producer and store, dormant. When it comes back and a transaction with the kept producer commits,
  nobody else has owned it, and it goes on without a restore.
What a batch means is the lane's (``logic.py``); nothing about orders belongs here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from consumers.ownership.deadline_barrier import DeadlineIntake
from consumers.ownership.input_queue import InputQueue
from consumers.ownership.lease import StepLease
from consumers.ownership.logic import Batch, Intake, PartitionLogic
from consumers.ownership.options import PartitionContext
from consumers.ownership.owner import PartitionOwner, PartitionState
from consumers.ownership.positions import DecisionHistory, Freshness, PositionRecord, encode_position
from consumers.ownership.store import Overlay, Store
from consumers.ownership.take_over import ProvenStore, TakeOver
from producers.outbox import OutboundRecord, Outbox
from producers.transaction import TransactionalProducer
from statemachine.errors import OrderflowError, TransactionAborted

log = structlog.get_logger(__name__)

#: How often a partition that is paused has its producer looked at.
_PAUSED_SECONDS = 2.0

#: Makes the intake of a partition; the lease is there for a lane that writes at Digital River.
MakeIntake = Callable[[PartitionContext, InputQueue, StepLease | None], Intake]


def with_deadlines(make_logic: Callable[[int], PartitionLogic]) -> MakeIntake:
    """The intake of a lane that ends every record with its transaction; ``make_logic`` is given a partition number."""
    return lambda context, queue, _lease: DeadlineIntake(context, queue, make_logic)


class ReadingPartition(PartitionOwner):
    """A partition whose records wait in an ``InputQueue``: how it reads, and that it does not while it is paused."""

    def __init__(self, context: PartitionContext) -> None:
        super().__init__(
            context.number,
            group=context.group,
            inputs=context.inputs,
            options=context.options,
            consumer=context.consumer,
            steady=context.steady,
            pauses=context.pauses,
        )
        self._input = InputQueue(context, wake=self._wake, leaving=self._leaving)
        #: Paused: nothing is read.
        self._held = False

    @property
    def accepts_records(self) -> bool:
        """Running, and with room for more records."""
        return (
            self.state is PartitionState.RUNNING
            and not self._held
            and len(self._input) < self._options.queue_records_max
            and self._input.bytes < self.queue_bytes_max
        )

    def feed(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        """Take records that were fetched while the partition was running; others are dropped, they will be read again."""
        if self.state is PartitionState.RUNNING and not self._held:
            self._input.feed(partition, records)

    def read_position(self, partition: TopicPartition) -> int:
        """The offset after the last record that was fed, or from which reading began."""
        return self._input.read_position(partition)

    def _hold_reading(self) -> None:
        """Read nothing any more; what was not taken is read again."""
        if not self._held:
            self._held = True
            self._pause_reading()

    def _read_on(self) -> None:
        """Read from the next offsets on: what was not taken before is read again."""
        self._held = False
        self._input.begin()
        for tp, offset in self._input.next_offsets.items():
            self._consumer.seek(tp, offset)
        self._consumer.resume(*self._inputs)

    def _pause_reading(self) -> None:
        self._input.clear()
        super()._pause_reading()


class OwnedPartition(ReadingPartition):
    """Partition p of one stateful lane in one process."""

    def __init__(
        self, context: PartitionContext, *, make_store: Callable[[int], Store], make_intake: MakeIntake
    ) -> None:
        super().__init__(context)
        self._context = context
        self._topics = context.topics
        seconds = context.options.lease_seconds
        self._lease = None if seconds is None else StepLease(seconds, context.steady)
        self._intake = make_intake(context, self._input, self._lease)
        self._steps = TakeOver(context, make_store)
        self._producer: TransactionalProducer | None = None
        self._proven: ProvenStore | None = None
        self._logic: PartitionLogic | None = None
        self._last_begin = 0.0
        self._restore_began = 0.0

    @property
    def snapshots(self) -> Store | None:
        """What the partition keeps, while it works on it: to be looked at only; None else."""
        return self._proven.store if self._proven is not None and self.state is PartitionState.RUNNING else None

    # -- called by the membership

    async def close(self) -> None:
        """Close producer and store for good."""
        await self._forget()
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()

    # -- batch → step → transaction

    async def _work(self) -> None:
        try:
            while not self._leaving.is_set():
                if self._producer is not None:
                    # Before the wait: a delayed request may still arrive while nothing is written.
                    await self._producer.renew()
                batch = await (self._next_batch() if self.pause is None else self._ended_batch())
                if batch is not None:
                    await self._carry_out(batch)
        except BaseException:
            await self._intake.stop()
            raise

    async def _ended_batch(self) -> Batch | None:
        """While paused: what has ended; None when nothing has for a while, or the pause is over."""
        self._hold_reading()
        self.problem = self._watch.problem
        batch = self._intake.take_ended()
        if batch is None:
            await self._input.wait(_PAUSED_SECONDS)
        return batch

    async def _next_batch(self) -> Batch | None:
        """Wait until something is to be written; None when everything must be checked again, or the partition leaves."""
        if self._held:
            self._read_on()
        wait = await self._intake.wait_seconds()
        if self._leaving.is_set():
            return None
        self.problem = self._intake.problem or self._watch.problem
        if wait > 0.0:
            if not await self._input.wait(wait) and self._intake.idle and await self._input.has_passed_markers():
                return Batch([], None, self._context.clock())
            return None
        # 5 to 20 transactions a second: back to back they pay 20 ms each for CONCURRENT_TRANSACTIONS.
        early = self._last_begin + self._options.batch_interval_seconds - self._steady()
        if early > 0 and not self._intake.full:
            await self._rest(early)
        if self._leaving.is_set() or self.pause is not None:
            return None
        batch = self._intake.take()
        if batch is not None:
            self._last_begin = self._steady()
        return batch

    async def _carry_out(self, batch: Batch) -> None:
        """Let the logic decode and decide on each record (``step``), then commit all that came of it in one transaction."""
        producer, proven, logic = self._producer, self._proven, self._logic
        if producer is None or proven is None or logic is None:
            raise TransactionAborted("the partition lost its producer or its store")
        if batch.records and self._lease is not None and not await self._hold_lease(self._lease, producer, proven):
            return  # revoked while the previous owner's lease ran out
        overlay, outbox = Overlay(proven.store), self._outbox(producer)
        history = await logic.step(batch, overlay, outbox)
        for key, snapshot in overlay.changes.items():  # one snapshot per order and transaction
            assert self._topics.changelog is not None  # a lane without one has no snapshots
            outbox.add_to(self._topics.changelog, self.number, OutboundRecord(key.encode(), snapshot))
        # adopted with the commit: whoever resumes goes on from what was committed
        reached = self._input.reached(batch.records)
        await self._transact(outbox, overlay.changes, producer, proven, reached, history)
        self._worked()
        logic.committed(overlay.changes)
        self.counters.records += len(batch.records)

    async def _transact(
        self,
        outbox: Outbox,
        changes: Mapping[str, bytes | None],
        producer: TransactionalProducer,
        proven: ProvenStore,
        reached: Mapping[TopicPartition, int],
        history: DecisionHistory | None = None,
    ) -> None:
        """One transaction: the outbox, the position record, the offsets; then the changes become part of the store.

        ``reached``: the next offset of each input once all of this is committed. ``history``: what was decided.
        """
        record = proven.begin(self._context, changes, reached, history)
        if self._topics.positions is not None:  # every transaction writes it, deadline-only ones too
            value = OutboundRecord(str(self.number).encode(), encode_position(record))
            outbox.add_to(self._topics.positions, self.number, value)
        begun_at = self._steady()
        last = await producer.transact(outbox, self._intake.offsets(reached), timestamp_ms=self._context.now_ms)
        proven.committed(last.get((self._topics.changelog or "", self.number), -1))  # only now
        self._context.measures.transacted(self._steady() - begun_at, outbox.count)
        self._input.committed(reached)
        self._intake.committed()
        self.counters.transactions += 1
        if self._lease is not None:
            self._lease.renew(begun_at)

    async def _hold_lease(self, lease: StepLease, producer: TransactionalProducer, proven: ProvenStore) -> bool:
        """Wait until no previous owner may write, then renew a lease that is old; False when the partition leaves meanwhile."""
        if lease.wait_seconds:
            await self._rest(lease.wait_seconds)
        if self._leaving.is_set():
            return False
        if lease.is_old:
            await self._transact_nothing(producer, proven)
        return True

    async def _transact_nothing(self, producer: TransactionalProducer, proven: ProvenStore) -> None:
        """A transaction without a batch. When it commits, the producer is not fenced."""
        outbox, logic, history = self._outbox(producer), self._logic, None
        if logic is not None and self._topics.positions is not None:  # that nothing was decided is history, too
            history = await logic.step(Batch([], None, self._context.clock()), Overlay(proven.store), outbox)
        await self._transact(outbox, {}, producer, proven, dict(self._input.next_offsets), history)

    def _outbox(self, producer: TransactionalProducer) -> Outbox:
        return Outbox(producer.counts, home=self.number, home_count=self._context.partitions)

    # -- called by the life cycle (``PartitionOwner``)

    async def _resume(self) -> bool:
        """Go on with a dormant producer and store, if a transaction with them commits: then nobody else was the owner."""
        at_hand = self._writable()
        if at_hand is None:
            return False
        try:
            await self._transact_nothing(*at_hand)
        except OrderflowError as error:
            log.info("partition_not_resumed", partition=self.number, group=self._group, error=error)
            return False
        return True

    def _writable(self) -> tuple[TransactionalProducer, ProvenStore] | None:
        """Producer and store, while both can be relied on."""
        producer, proven = self._producer, self._proven
        if producer is None or not producer.alive or proven is None or proven.in_doubt is not None:
            return None
        return producer, proven

    async def _take_over(self) -> None:
        async with self._turns:
            await self._take_over_now()
        await self._intake.taken_over()

    async def _take_over_now(self) -> None:
        """Fence, agree on the offsets, prove or restore the store, find where to read on. This order is the guarantee."""
        if self._producer is not None:
            self._producer.discard()
        self._producer = self._steps.new_producer()
        begun_at = self._steady()
        await self._steps.fence(self._producer)  # 1. no older owner commits from here on
        # 2. committed offsets that are read after the init are never stale
        record, committed = await self._steps.agreed_offsets(self._intake.committed_offset, self._leaving)
        if self._lease is not None:
            self._lease.took_over(begun_at, inherited=any(offset is not None for offset in committed.values()))
        await self._open(await self._current_store(record))  # 3. proven, or restored to the high watermark
        self._input.next_offsets = await self._steps.reachable(committed)  # 4. Kafka still has them

    async def _current_store(self, record: PositionRecord | None) -> ProvenStore:
        """The store at hand if the newest position record proves it, else one that is restored from the changelog."""
        proven = self._proven
        if proven is not None and self._topics.positions is not None:
            verdict = proven.prove(record, self._context.incarnation)
            if verdict is Freshness.ONE_BEHIND:
                self._worked()  # the transaction has committed, only its answer was lost
            if verdict is not Freshness.STALE:
                return proven
        await self._forget()
        if self._topics.changelog is not None:
            self._become(PartitionState.RESTORING)
            self.counters.restores += 1
        self._restore_began = self._steady()
        try:
            return await self._steps.restore(record, self._note_restored)
        finally:
            self.restored = self.restore_seconds_left = None

    def _note_restored(self, read: int, total: int) -> None:
        took = self._steady() - self._restore_began
        self.restored, self.restore_seconds_left = (read, total), took / read * (total - read) if read else None

    async def _open(self, proven: ProvenStore) -> None:
        self._proven, self._logic = proven, None
        logic = self._intake.new_logic()
        await logic.opened(proven.store)
        self._logic = logic  # only now: it knows all that the store has

    def _start_reading(self) -> None:
        self._input.clear()
        if self._leaving.is_set():
            return
        self._intake.begin()
        self._read_on()
        self._become(PartitionState.RUNNING)

    async def _finish(self) -> None:
        """The partition leaves: the intake completes what is in progress, and what the next owner must know is committed."""
        self._pause_reading()
        if not await self._intake.leave() or self._writable() is None:
            return
        try:
            await self._carry_out(Batch([], None, self._context.clock()))
        except (OrderflowError, KafkaError) as error:  # the next owner waits, as after a crash
            log.warning("partition_leave_failed", partition=self.number, group=self._group, error=error)

    async def _ended(self) -> None:
        await self._intake.stop()

    async def _forget(self) -> None:
        """Drop the store: it may be behind."""
        await self._intake.stop()
        if self._proven is not None:
            self._proven.store.close()
        self._proven = None
        self._logic = None
