"""The life of one owned partition: assigned → fenced → restoring → running → draining → revoked.

The unit is the partition number p of all input topics together. Rules of the file:
- Fence first: the producer is initialised before committed offsets or the changelog are read. An owner that reads before it
  fences reads old offsets in up to half of the cases.
- A store is used only while it is proven current. After every init the newest position record says whether it is.
- Results live in the batch's overlay until their transaction has committed; then the overlay is folded into the store.
- Every wait has a limit. After any error the producer is gone and the partition starts again at *fenced*.
- A revoked partition keeps producer and store, dormant. When it comes back and a transaction with the kept producer commits,
  nobody has been there, and it goes on without a restore.
What a batch means is the lane's ``PartitionLogic``; nothing about orders belongs here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from consumers.changelog import ChangelogReader, ReadRecord, text_key
from consumers.lease import Lease, StepLease, steady_clock
from consumers.options import LaneOptions, LaneTopics
from consumers.positions import (
    PositionRecord,
    Standing,
    decode_position,
    encode_position,
    same_offsets,
    standing,
)
from consumers.stepping import step_until
from consumers.store import Store
from consumers.takeover_watch import TakeOverWatch
from producers.connection import KafkaConnection, within
from producers.outbox import OutboundRecord, Outbox
from producers.transaction import Probe, TransactionalProducer
from statemachine.errors import (
    BrokerUnavailable,
    ConfigError,
    DigitalRiverError,
    Disposition,
    OrderflowError,
    PositionGap,
    TransactionAborted,
)

log = structlog.get_logger(__name__)

#: A clock that is set back or forward is noticed after this long.
_WATCH_SECONDS_MAX = 60.0
#: After so long without a record, positions that have only passed transaction markers are committed.
_IDLE_SECONDS = 30.0
#: A partition that holds so much unread asks for no more.
_QUEUE_BYTES_MAX = 64 * 1024 * 1024


class PartitionState(StrEnum):
    """Where a partition is in its life."""

    ASSIGNED = "assigned"
    FENCED = "fenced"
    RESTORING = "restoring"
    RUNNING = "running"
    DRAINING = "draining"
    REVOKED = "revoked"
    #: Something that only a person can settle: see ``problem``.
    STOPPED = "stopped"


class Overlay:
    """The store as the running batch sees it: its own results over the committed ones."""

    __slots__ = ("_store", "changes")

    def __init__(self, store: Store) -> None:
        self._store = store
        self.changes: dict[str, bytes | None] = {}

    def get(self, key: str) -> bytes | None:
        """The snapshot that this batch would leave behind."""
        if key in self.changes:
            return self.changes[key]
        return self._store.get(key)

    def put(self, key: str, snapshot: bytes | None) -> None:
        """Replace a snapshot; None removes it. The last one of a batch is written, as one record."""
        self.changes[key] = snapshot


@dataclass(slots=True)
class Batch:
    """What one transaction is made of."""

    records: Sequence[ConsumerRecord]
    #: Deadlines due up to this time may fire, because everything written before it has been read; None: none may.
    fire_until: datetime | None
    now: datetime
    #: The right to write to somebody else, checked as the last act before each such request; None for lanes that never do.
    lease: Lease | None = None


class PartitionLogic(Protocol):
    """What a lane does with its partition. One instance per partition and store."""

    def opened(self, store: Store) -> None:
        """The store is current: derive from it what is kept beside it."""
        ...

    async def step(self, batch: Batch, overlay: Overlay, outbox: Outbox) -> None:
        """Turn the batch into snapshots (``overlay``) and records (``outbox``); touch nothing else, both may be dropped."""
        ...

    def committed(self, changes: Mapping[str, bytes | None]) -> None:
        """The transaction of the last step has committed."""
        ...

    def next_due(self) -> datetime | None:
        """When the next deadline is due; None when there is none."""
        ...


@dataclass(slots=True)
class _InDoubt:
    """A transaction whose commit was asked for and not confirmed."""

    record: PositionRecord
    changes: Mapping[str, bytes | None]


@dataclass(slots=True)
class _Proven:
    """A store and the position record that it corresponds to."""

    store: Store
    known: PositionRecord | None = None
    in_doubt: _InDoubt | None = None


@dataclass(slots=True)
class Counters:
    """What a partition has done since the process started."""

    records: int = 0
    transactions: int = 0
    restores: int = 0
    resumes: int = 0
    takeovers: int = 0
    fired: int = 0
    extra: dict[str, int] = field(default_factory=dict)


class OwnedPartition:
    """Partition p of one stateful lane in one process. Lives as long as the process; ``run`` is one period of ownership."""

    def __init__(
        self,
        number: int,
        *,
        partitions: int,
        group: str,
        topics: LaneTopics,
        options: LaneOptions,
        connection: KafkaConnection,
        consumer: AIOKafkaConsumer,
        reader: ChangelogReader,
        incarnation: str,
        make_store: Callable[[int], Store],
        make_logic: Callable[[int], PartitionLogic],
        clock: Callable[[], datetime],
        probe: Probe | None = None,
    ) -> None:
        self.number = number
        self._partitions = partitions
        self._group = group
        self._topics = topics
        self._options = options
        self._connection = connection
        self._limit = connection.limits.operation_seconds
        self._consumer = consumer
        self._reader = reader
        self._incarnation = incarnation
        self._make_store = make_store
        self._make_logic = make_logic
        self._clock = clock
        self._probe = probe
        self.inputs = {TopicPartition(full, number): name for name, full in topics.inputs.items()}
        self.state = PartitionState.REVOKED
        self.problem: str | None = None
        self.counters = Counters()
        self._producer: TransactionalProducer | None = None
        self._proven: _Proven | None = None
        self._logic: PartitionLogic | None = None
        self._queue: deque[ConsumerRecord] = deque()
        self._queued: dict[TopicPartition, int] = {}
        self._next: dict[TopicPartition, int] = {}
        self._wake = asyncio.Event()
        self._leaving = asyncio.Event()
        self._committed_next: dict[TopicPartition, int] = {}
        self._queued_bytes = 0
        self._barrier: tuple[datetime, dict[TopicPartition, int]] | None = None
        self._last_begin = 0.0
        self._watch = TakeOverWatch(number, options.takeover_seconds_max)
        self._lease = None if options.lease_seconds is None else StepLease(options.lease_seconds, steady_clock)

    # -- seen from the membership

    @property
    def hungry(self) -> bool:
        """Running, and with room for more records."""
        return (
            self.state is PartitionState.RUNNING
            and len(self._queue) < self._options.queue_records_max
            and self._queued_bytes < _QUEUE_BYTES_MAX
        )

    def feed(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        """Take records that were fetched while the partition was running; others are dropped, they will be read again."""
        if self.state is not PartitionState.RUNNING:
            return
        self._queue.extend(records)
        self._queued[partition] += len(records)
        self._queued_bytes += sum(len(record.value or b"") for record in records)
        self._wake.set()

    def lost_offset(self, detail: str) -> None:
        """The broker no longer has the offset that we would read next."""
        self._stop_for(PositionGap(detail))
        self._leaving.set()
        self._wake.set()

    def leave(self) -> None:
        """Ask ``run`` to finish the batch at hand and return."""
        if self.state is PartitionState.RUNNING:
            self._become(PartitionState.DRAINING)
        self._leaving.set()
        self._wake.set()

    def revoked(self) -> None:
        """The partition is no longer ours. Producer and store stay, dormant."""
        if self.state is not PartitionState.STOPPED:
            self._become(PartitionState.REVOKED)

    async def close(self) -> None:
        """Close producer and store for good."""
        self._forget()
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()

    # -- one period of ownership

    async def run(self) -> None:
        """Own the partition until ``leave``: take over (or resume), then work, and start again at *fenced* after errors.

        Raises:
            OrderflowError: With disposition STOP: the whole worker must stop.
        """
        self._leaving.clear()
        self._watch.forget()
        self.problem = None
        self._become(PartitionState.ASSIGNED)
        failures = 0
        while not self._leaving.is_set():
            try:
                self._watch.begins(asyncio.get_running_loop().time())
                if not await self._resume():
                    await self._take_over()
                if self._watch.succeeded():
                    self.problem = None
                self._start_reading()
                worked_from = self.counters.transactions
                try:
                    await self._work()
                finally:
                    if self.counters.transactions > worked_from:
                        failures = 0
            except OrderflowError as error:
                failures += 1
                self._pause_reading()
                if not await self._recover(error, failures):
                    return
            except KafkaError as error:
                failures += 1
                self._pause_reading()
                await self._recover(BrokerUnavailable(f"{type(error).__name__}: {error}"), failures)

    def _note_failure(self, error: OrderflowError) -> None:
        """Tell a person, once, when the take-over has failed for too long; it is tried again all the same."""
        told, problem = self._watch.told, self._watch.failed(error, asyncio.get_running_loop().time())
        if problem is not None and not self._leaving.is_set():
            if not told:
                log.error("partition_not_taken_over", partition=self.number, group=self._group, reason=problem)
            self.problem = problem

    async def _recover(self, error: OrderflowError, failures: int) -> bool:
        """Do what the error's disposition says; False when the partition must not start again."""
        say = log.bind(partition=self.number, group=self._group, error=str(error), kind=type(error).__name__)
        match error.disposition:
            case Disposition.REFENCE:
                # Fenced: our store may be behind. Wait until a heartbeat had the time to tell that we are no longer a member;
                # if the partition is still ours then, begin again. Letting it go would leave it unserved.
                say.warning("partition_fenced")
                self._note_failure(error)
                self._forget()
                await self._rest(2 * self._options.heartbeat_seconds * min(failures, 4))
            case Disposition.RETRY:
                say.warning("partition_retries")
                self._note_failure(error)
                if isinstance(error, DigitalRiverError):
                    self.problem = str(error)
                await self._rest(min(self._options.backoff_seconds_max, 0.1 * 2 ** min(failures, 10)))
            case Disposition.HOLD:
                say.error("partition_holds")
                self.problem = str(error)
                await self._rest(self._options.backoff_seconds_max)
            case Disposition.STOP_PARTITION | Disposition.DEAD_LETTER:  # such as a snapshot that cannot be read
                self._stop_for(error)
                return False
            case _:
                raise error
        return True

    def _stop_for(self, error: OrderflowError) -> None:
        self._pause_reading()
        self.problem = str(error)
        self._become(PartitionState.STOPPED)
        log.error("partition_stopped", partition=self.number, group=self._group, reason=str(error))

    async def _rest(self, seconds: float) -> None:
        """Wait, but not past a revoke."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._leaving.wait(), seconds)

    # -- taking over

    async def _resume(self) -> bool:
        """Go on with a dormant producer and store, if a transaction with them commits: then nobody has been there."""
        producer, proven = self._producer, self._proven
        if producer is None or not producer.alive or proven is None or proven.in_doubt is not None or not self._next:
            return False
        try:
            await self._transact(self._outbox(producer), {}, producer, proven)
        except OrderflowError as error:
            log.info("partition_visited", partition=self.number, group=self._group, error=str(error))
            return False
        self.counters.resumes += 1
        return True

    async def _take_over(self) -> None:
        """Fence, read offsets, prove or restore the store, set the positions. The order of these steps is the guarantee."""
        self._become(PartitionState.FENCED)
        self.counters.takeovers += 1
        if self._producer is not None:
            self._producer.discard()
        producer = TransactionalProducer(
            self._connection,
            group=self._group,
            partition=self.number,
            topics=self._written(),
            probe=self._probe,
        )
        self._producer = producer
        begun_at = steady_clock()
        await producer.start()  # 1. fences the old owner and aborts its open transaction
        changelog = self._topics.changelog
        if changelog is not None and producer.counts[changelog] != self._partitions:
            raise ConfigError(
                f"{changelog} has {producer.counts[changelog]} partitions and {', '.join(self._topics.inputs.values())} "
                f"{self._partitions}: they must have the same number"
            )
        record, committed = await self._agreed_offsets()  # 2. committed() after the init is never stale
        if self._lease is not None:
            self._lease.took_over(begun_at, inherited=any(offset is not None for offset in committed.values()))
        await self._prove(record)  # 3. the store is current, or restored to the high watermark
        self._next = await self._reachable(committed)

    def _written(self) -> tuple[str, ...]:
        own = (self._topics.changelog, self._topics.positions)
        return (*self._topics.outputs, *(topic for topic in own if topic is not None))

    async def _agreed_offsets(self) -> tuple[PositionRecord | None, dict[TopicPartition, int | None]]:
        """The committed offsets (None: never committed), checked against the position record.

        Raises:
            PositionGap: They disagree for longer than the limit, or only one of them is there.
            ConfigError: The position record was written for another partition count.
        """
        until = asyncio.get_running_loop().time() + self._options.position_wait_seconds
        while True:
            record = await self._newest_position()
            if record is not None and record.partitions != self._partitions:
                raise ConfigError(
                    f"partition {self.number} was last written with {record.partitions} partitions, the topics have "
                    f"{self._partitions}: orders would change their partition; drain the old topics into new ones instead"
                )
            committed = {tp: await self._committed(tp) for tp in self.inputs}
            by_name = {self.inputs[tp]: offset for tp, offset in committed.items()}
            if self._topics.positions is None or same_offsets(record, by_name):
                return record, committed
            if asyncio.get_running_loop().time() >= until:
                raise PositionGap(_describe_gap(self.number, record, by_name))
            await self._rest(0.5)
            if self._leaving.is_set():
                raise BrokerUnavailable("revoked while taking over")

    async def _newest_position(self) -> PositionRecord | None:
        if self._topics.positions is None:
            return None
        value = await self._reader.last_value(TopicPartition(self._topics.positions, self.number))
        return None if value is None else decode_position(value, self._topics.positions, self.number)

    async def _committed(self, partition: TopicPartition) -> int | None:
        offset: int | None = await within(
            self._limit, self._consumer.committed(partition), "a look at committed offsets"
        )
        return offset

    async def _prove(self, record: PositionRecord | None) -> None:
        proven = self._proven
        if proven is not None and self._topics.positions is not None:
            doubt = proven.in_doubt
            verdict = standing(
                record,
                proven.known,
                incarnation=self._incarnation,
                in_doubt=None if doubt is None else doubt.record.transaction,
            )
            if verdict is Standing.FOLD and doubt is not None:
                proven.store.apply(doubt.changes)
                proven.known = record
            if verdict is not Standing.STALE:
                proven.in_doubt = None
                self._open(proven)
                return
        self._forget()
        await self._restore(record)

    async def _restore(self, record: PositionRecord | None) -> None:
        store = self._make_store(self.number)
        changelog = self._topics.changelog
        if changelog is None:
            self._open(_Proven(store, record))
            return
        self._become(PartitionState.RESTORING)
        self.counters.restores += 1
        pending: dict[str, bytes | None] = {}

        def take(read: ReadRecord) -> None:
            if read.key is not None:
                pending[text_key(read, changelog)] = read.value
            if len(pending) >= 10_000:
                store.apply(pending)
                pending.clear()

        end = await self._reader.read_all(TopicPartition(changelog, self.number), take)
        store.apply(pending)
        log.info("partition_restored", partition=self.number, group=self._group, entries=len(store), end=end)
        self._open(_Proven(store, record))

    def _open(self, proven: _Proven) -> None:
        self._proven = proven
        self._logic = self._make_logic(self.number)
        self._logic.opened(proven.store)

    def _forget(self) -> None:
        """Drop the store: it may be behind."""
        if self._proven is not None:
            self._proven.store.close()
        self._proven = None
        self._logic = None

    async def _reachable(self, committed: Mapping[TopicPartition, int | None]) -> dict[TopicPartition, int]:
        """Where to go on: at what is committed, which Kafka must still have, else at the earliest record.

        Raises:
            PositionGap: Kafka does not have it.
        """
        begins = await self._reader.beginnings(committed)
        ends = await self._reader.ends(committed)
        offsets = {tp: begins[tp] if offset is None else offset for tp, offset in committed.items()}
        for tp, offset in offsets.items():
            if not begins[tp] <= offset <= ends[tp]:
                repair = f". Repair: orderflow partitions accept {self.number} --use committed --reason TEXT"
                raise PositionGap(
                    f"partition {self.number} stopped: {self.inputs[tp]} should go on at offset {offset}, but Kafka has "
                    f"{begins[tp]} to {ends[tp]}; records were deleted or the topic was made anew"
                    # the command works on the order lane, which is the one with position records
                    + (repair if self._topics.positions is not None else f". Set the offsets of group {self._group}")
                )
        return offsets

    # -- working

    def _start_reading(self) -> None:
        self._queue.clear()
        self._queued = dict.fromkeys(self.inputs, 0)
        self._queued_bytes = 0
        self._barrier = None
        if self._leaving.is_set():
            return
        for tp, offset in self._next.items():
            self._consumer.seek(tp, offset)
        self._become(PartitionState.RUNNING)
        self._consumer.resume(*self.inputs)

    def _pause_reading(self) -> None:
        self._queue.clear()
        assigned = self._consumer.assignment()
        ours = [tp for tp in self.inputs if tp in assigned]
        if ours:
            self._consumer.pause(*ours)

    async def _work(self) -> None:
        while not self._leaving.is_set():
            batch = await self._next_batch()
            if batch is not None:
                await self._carry_out(batch)

    async def _next_batch(self) -> Batch | None:
        """Wait for records or a deadline that may fire; None when neither came or the partition is leaving."""
        loop = asyncio.get_running_loop()
        wait = await self._watch_deadlines()
        if not self._queue and wait != 0.0:
            self._wake.clear()
            idle = _IDLE_SECONDS if wait is None else min(wait, _IDLE_SECONDS)
            try:
                await asyncio.wait_for(self._wake.wait(), idle)
            except TimeoutError:
                if idle == _IDLE_SECONDS and await self._passed_markers():
                    return Batch([], None, self._clock())
        # 5 to 20 transactions a second: back to back they pay 20 ms each for CONCURRENT_TRANSACTIONS.
        early = self._last_begin + self._options.batch_interval_seconds - loop.time()
        if early > 0 and len(self._queue) < self._options.batch_records_max:
            await self._rest(early)
        fire_until = self._barrier[0] if self._barrier is not None and self._barrier_reached() else None
        if self._leaving.is_set() or not (self._queue or fire_until):
            return None
        count = min(len(self._queue), self._options.batch_records_max)
        records = [self._queue.popleft() for _ in range(count)]
        self._queued_bytes -= sum(len(record.value or b"") for record in records)
        self._last_begin = loop.time()
        return Batch(records, fire_until, self._clock())

    async def _carry_out(self, batch: Batch) -> None:
        producer, proven, logic = self._producer, self._proven, self._logic
        if producer is None or proven is None or logic is None:
            raise TransactionAborted("the partition lost its producer or its store")
        if batch.records and self._lease is not None and not await self._hold_lease(self._lease, producer, proven):
            return  # revoked while an old owner's lease ran out
        overlay = Overlay(proven.store)
        outbox = self._outbox(producer)
        batch.lease = self._lease
        if not await self._step(logic, batch, overlay, outbox):
            return  # revoked: nothing happened, the records will be read again
        for record in batch.records:
            tp = TopicPartition(record.topic, record.partition)
            self._queued[tp] -= 1
            self._next[tp] = record.offset + 1
        for key, snapshot in overlay.changes.items():  # one snapshot per order and transaction
            assert self._topics.changelog is not None  # a lane without one has no snapshots
            outbox.add_to(self._topics.changelog, self.number, OutboundRecord(key.encode(), snapshot))
        await self._transact(outbox, overlay.changes, producer, proven)
        logic.committed(overlay.changes)
        self.counters.records += len(batch.records)
        if batch.fire_until is not None:
            self._barrier = None

    async def _step(self, logic: PartitionLogic, batch: Batch, overlay: Overlay, outbox: Outbox) -> bool:
        """Let the lane work on the batch; False when a revoke cut it off, which only lanes that wait for others allow."""
        if not self._options.step_waits:
            await logic.step(batch, overlay, outbox)
            return True
        producer, proven = self._producer, self._proven
        assert producer is not None  # _carry_out has looked
        assert proven is not None

        async def renew() -> None:
            await self._transact(self._outbox(producer), {}, producer, proven)

        finished = await step_until(logic.step(batch, overlay, outbox), self._leaving, lease=self._lease, renew=renew)
        if finished:
            self.problem = None
        return finished

    async def _hold_lease(self, lease: StepLease, producer: TransactionalProducer, proven: _Proven) -> bool:
        """Wait until no old owner may write, and begin with a fresh lease; False when the partition leaves meanwhile."""
        if lease.wait_seconds:
            await self._rest(lease.wait_seconds)
        if self._leaving.is_set():
            return False
        if lease.is_old:
            await self._transact(self._outbox(producer), {}, producer, proven)
        return True

    def _outbox(self, producer: TransactionalProducer) -> Outbox:
        return Outbox(producer.counts, home=self.number, home_count=self._partitions)

    async def _transact(
        self,
        outbox: Outbox,
        changes: Mapping[str, bytes | None],
        producer: TransactionalProducer,
        proven: _Proven,
    ) -> None:
        """One transaction: the outbox, the position record, the offsets; then the overlay is folded into the store."""
        record = PositionRecord(
            partition=self.number,
            partitions=self._partitions,
            transaction=1 if proven.known is None else proven.known.transaction + 1,
            incarnation=self._incarnation,
            next_offsets={name: self._next[tp] for tp, name in self.inputs.items()},
        )
        if self._topics.positions is not None:  # every transaction writes it, deadline-only ones too
            value = OutboundRecord(str(self.number).encode(), encode_position(record))
            outbox.add_to(self._topics.positions, self.number, value)
        proven.in_doubt, begun_at = _InDoubt(record, changes), steady_clock()
        await producer.transact(outbox, self._next, timestamp_ms=int(self._clock().timestamp() * 1000))
        proven.store.apply(changes)  # only now
        proven.known, proven.in_doubt = record, None
        self._committed_next = dict(self._next)
        self.counters.transactions += 1
        if self._lease is not None:
            self._lease.renew(begun_at)

    # -- deadlines

    async def _watch_deadlines(self) -> float | None:
        """Look after the next deadline, and return how long to wait for records meanwhile: None for as long as it takes.

        A deadline that is due fires only after the lane has read all inputs up to end offsets taken at or after its due
        time: the answer that it waits for may already lie in the backlog.
        """
        logic = self._logic
        due = None if logic is None else logic.next_due()
        if due is None:
            return None
        now = self._clock()
        if due > now:
            return min((due - now).total_seconds(), _WATCH_SECONDS_MAX)
        if self._barrier is None:
            # high watermarks: an answer may lie behind a transaction that is still open
            self._barrier = (now, await self._reader.ends(self.inputs))
        await self._refresh_positions()
        return 0.0 if self._barrier_reached() else 0.02

    async def _passed_markers(self) -> bool:
        """Idle: whether the positions have moved past markers only. They are committed then, or retention would overtake them."""
        await self._refresh_positions()
        return not self._queue and not self._leaving.is_set() and self._next != self._committed_next

    async def _refresh_positions(self) -> None:
        """Where nothing is queued, the consumer's position counts: it also passes the control records at the end.

        Only while running: once the partition leaves, fetched records are dropped and the position is ahead of what was done.
        """
        for tp in self.inputs:
            if not self._queued[tp]:
                position = await within(self._limit, self._consumer.position(tp), "a look at a position")
                if self.state is not PartitionState.RUNNING:
                    return
                if not self._queued[tp]:
                    self._next[tp] = max(self._next[tp], position)

    def _barrier_reached(self) -> bool:
        return self._barrier is not None and all(self._next[tp] >= end for tp, end in self._barrier[1].items())

    def _become(self, state: PartitionState) -> None:
        if state is not self.state:
            log.debug("partition_state", partition=self.number, group=self._group, old=self.state, new=state)
            self.state = state


def _describe_gap(number: int, record: PositionRecord | None, committed: Mapping[str, int | None]) -> str:
    said = "no position record" if record is None else f"position record {dict(sorted(record.next_offsets.items()))}"
    return (
        f"partition {number} stopped: committed offsets {dict(sorted(committed.items()))} and {said} differ, so records may be "
        f"lost or repeated. Repair: orderflow partitions accept {number} --use positions|committed --reason TEXT"
    )
