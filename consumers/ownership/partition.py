"""The life of one owned partition: assigned → fenced → restoring → running → draining → revoked.

The unit is the partition number p of all input topics together. Rules of the file:
- Fence first: the producer is initialised before committed offsets or the changelog are read. An owner that reads before it
  fences reads old offsets in up to half of the cases.
- A store is used only while it is proven current. After every init the newest position record says whether it is.
- Results live in the batch's overlay until their transaction has committed; then the overlay is folded into the store.
- Every wait has a limit. After any error the producer is gone and the partition starts again at *fenced*.
- A producer that met a request without an answer is replaced before the next transaction (``TransactionalProducer.renew``). Its
  new epoch proves that nobody has been there, so store and queue are kept; without that proof it is an error like any other.
- A revoked partition keeps producer and store, dormant. When it comes back and a transaction with the kept producer commits,
  nobody has been there, and it goes on without a restore.
What a batch means is the lane's ``PartitionLogic``; nothing about orders belongs here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from consumers.ownership.changelog import ChangelogReader, ReadRecord, text_key
from consumers.ownership.lease import StepLease, steady_clock
from consumers.ownership.options import LaneOptions, LaneTopics
from consumers.ownership.owner import PartitionOwner, PartitionState
from consumers.ownership.positions import (
    PositionRecord,
    Standing,
    decode_position,
    encode_position,
    other_partition_count,
    same_offsets,
    standing,
)
from consumers.ownership.records import record_bytes
from consumers.ownership.store import Store
from producers.connection import KafkaConnection, within
from producers.outbox import OutboundRecord, Outbox
from producers.transaction import Probe, TransactionalProducer
from statemachine.errors import (
    BrokerUnavailable,
    ConfigError,
    OrderflowError,
    PositionGap,
    TransactionAborted,
)

log = structlog.get_logger(__name__)

#: A clock that is set back or forward is noticed after this long.
_WATCH_SECONDS_MAX = 60.0
#: After so long without a record, positions that have only passed transaction markers are committed.
_IDLE_SECONDS = 30.0


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


class PartitionLogic(Protocol):
    """What a lane does with its partition. One instance per partition and store."""

    async def opened(self, store: Store) -> None:
        """The store is current: derive from it what is kept beside it, and let the loop go on meanwhile.

        May be cut off at any await; then this logic is dropped.
        """
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


class OwnedPartition(PartitionOwner):
    """Partition p of one stateful lane in one process."""

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
        self.inputs = {TopicPartition(full, number): name for name, full in topics.inputs.items()}
        super().__init__(
            number, group=group, inputs=self.inputs, options=options, consumer=consumer, steady=steady_clock
        )
        self._partitions = partitions
        self._topics = topics
        self._connection = connection
        self._limit = connection.limits.operation_seconds
        self._reader = reader
        self._incarnation = incarnation
        self._make_store = make_store
        self._make_logic = make_logic
        self._clock = clock
        self._probe = probe
        self._producer: TransactionalProducer | None = None
        self._proven: _Proven | None = None
        self._logic: PartitionLogic | None = None
        self._queue: deque[ConsumerRecord] = deque()
        self._queued: dict[TopicPartition, int] = {}
        self._queued_bytes = 0
        #: The next offset of each input after the last committed transaction, or after markers that were passed since.
        self._next: dict[TopicPartition, int] = {}
        self._committed_next: dict[TopicPartition, int] = {}
        self._fed_to: dict[TopicPartition, int] = {}
        self._barrier: tuple[datetime, dict[TopicPartition, int]] | None = None
        self._last_begin = 0.0
        self._lease = None if options.lease_seconds is None else StepLease(options.lease_seconds, steady_clock)

    # -- seen from the membership

    @property
    def hungry(self) -> bool:
        """Running, and with room for more records."""
        return (
            self.state is PartitionState.RUNNING
            and len(self._queue) < self._options.queue_records_max
            and self._queued_bytes < self.queue_bytes_max
        )

    def feed(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        """Take records that were fetched while the partition was running; others are dropped, they will be read again."""
        if self.state is not PartitionState.RUNNING:
            return
        self._queue.extend(records)
        self._queued[partition] += len(records)
        if records:
            self._fed_to[partition] = records[-1].offset + 1
        self._queued_bytes += sum(map(record_bytes, records))
        self._wake.set()

    def fed_to(self, partition: TopicPartition) -> int:
        """The offset after the last record that was fed, or from which reading began."""
        return self._fed_to[partition]

    async def close(self) -> None:
        """Close producer and store for good."""
        await self._forget()
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()

    # -- taking over

    async def _resume(self) -> bool:
        """Go on with a dormant producer and store, if a transaction with them commits: then nobody has been there."""
        producer, proven = self._producer, self._proven
        if producer is None or not producer.alive or proven is None or proven.in_doubt is not None:
            return False
        try:
            await self._transact(self._outbox(producer), {}, producer, proven, self._next)
        except OrderflowError as error:
            log.info("partition_visited", partition=self.number, group=self._group, error=error)
            return False
        return True

    async def _take_over(self) -> None:
        """Wait for our turn, then do it."""
        async with self._turns:
            await self._take_over_now()

    async def _take_over_now(self) -> None:
        """Fence, read offsets, prove or restore the store, set the positions. The order of these steps is the guarantee."""
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
                raise other_partition_count(self.number, record.partitions, self._partitions)
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
                self._worked()  # the transaction has committed, only its answer was lost
            if verdict is not Standing.STALE:
                proven.in_doubt = None
                await self._open(proven)
                return
        await self._forget()
        await self._restore(record)

    async def _restore(self, record: PositionRecord | None) -> None:
        store = self._make_store(self.number)
        changelog = self._topics.changelog
        if changelog is None:
            await self._open(_Proven(store, record))
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
        await self._open(_Proven(store, record))

    async def _open(self, proven: _Proven) -> None:
        self._proven, self._logic = proven, None
        logic = self._make_logic(self.number)
        await logic.opened(proven.store)
        self._logic = logic  # only now: it knows all that the store has

    async def _forget(self) -> None:
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
        self._fed_to = dict(self._next)
        for tp, offset in self._next.items():
            self._consumer.seek(tp, offset)
        self._become(PartitionState.RUNNING)
        self._consumer.resume(*self.inputs)

    def _pause_reading(self) -> None:
        self._queue.clear()
        super()._pause_reading()

    async def _work(self) -> None:
        while not self._leaving.is_set():
            if self._producer is not None:
                # Before the wait: what is still on its way may arrive while nothing is written.
                await self._producer.renew()
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
        self._last_begin = loop.time()
        return Batch(self._take_queued(self._options.batch_records_max), fire_until, self._clock())

    def _take_queued(self, records_max: int) -> list[ConsumerRecord]:
        """Take the first records out of the queue, at most so many, and their bytes, measured as ``feed`` did."""
        records = [self._queue.popleft() for _ in range(min(len(self._queue), records_max))]
        self._queued_bytes -= sum(map(record_bytes, records))
        return records

    async def _carry_out(self, batch: Batch) -> None:
        producer, proven, logic = self._producer, self._proven, self._logic
        if producer is None or proven is None or logic is None:
            raise TransactionAborted("the partition lost its producer or its store")
        if batch.records and self._lease is not None and not await self._hold_lease(self._lease, producer, proven):
            return  # revoked while an old owner's lease ran out
        overlay = Overlay(proven.store)
        outbox = self._outbox(producer)
        await logic.step(batch, overlay, outbox)
        reached = dict(self._next)  # adopted with the commit: whoever resumes goes on from what was committed
        for record in batch.records:
            tp = TopicPartition(record.topic, record.partition)
            self._queued[tp] -= 1
            reached[tp] = record.offset + 1
        for key, snapshot in overlay.changes.items():  # one snapshot per order and transaction
            assert self._topics.changelog is not None  # a lane without one has no snapshots
            outbox.add_to(self._topics.changelog, self.number, OutboundRecord(key.encode(), snapshot))
        await self._transact(outbox, overlay.changes, producer, proven, reached)
        self._worked()
        logic.committed(overlay.changes)
        self.counters.records += len(batch.records)
        if batch.fire_until is not None:
            self._barrier = None
            self.problem = self._watch.problem

    async def _hold_lease(self, lease: StepLease, producer: TransactionalProducer, proven: _Proven) -> bool:
        """Wait until no old owner may write, and begin with a fresh lease; False when the partition leaves meanwhile."""
        if lease.wait_seconds:
            await self._rest(lease.wait_seconds)
        if self._leaving.is_set():
            return False
        if lease.is_old:
            await self._transact(self._outbox(producer), {}, producer, proven, self._next)
        return True

    def _outbox(self, producer: TransactionalProducer) -> Outbox:
        return Outbox(producer.counts, home=self.number, home_count=self._partitions)

    async def _transact(
        self,
        outbox: Outbox,
        changes: Mapping[str, bytes | None],
        producer: TransactionalProducer,
        proven: _Proven,
        reached: Mapping[TopicPartition, int],
    ) -> None:
        """One transaction: the outbox, the position record, the offsets; then the overlay is folded into the store.

        ``reached``: the next offset of each input once all of this is committed.
        """
        reached = dict(reached)
        record = PositionRecord(
            partition=self.number,
            partitions=self._partitions,
            transaction=1 if proven.known is None else proven.known.transaction + 1,
            incarnation=self._incarnation,
            next_offsets={name: reached[tp] for tp, name in self.inputs.items()},
        )
        if self._topics.positions is not None:  # every transaction writes it, deadline-only ones too
            value = OutboundRecord(str(self.number).encode(), encode_position(record))
            outbox.add_to(self._topics.positions, self.number, value)
        proven.in_doubt, begun_at = _InDoubt(record, changes), steady_clock()
        offsets = self._offsets(reached)
        await producer.transact(outbox, offsets, timestamp_ms=int(self._clock().timestamp() * 1000))
        proven.store.apply(changes)  # only now
        proven.known, proven.in_doubt = record, None
        self._next, self._committed_next = reached, dict(reached)
        self.counters.transactions += 1
        if self._lease is not None:
            self._lease.renew(begun_at)

    def _offsets(self, reached: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int | tuple[int, str]]:
        """What to commit, with its metadata, once all before ``reached`` has been worked on."""
        return reached

    # -- deadlines

    async def _watch_deadlines(self) -> float | None:
        """Look after the next deadline, and return how long to wait for records meanwhile: None for as long as it takes.

        A deadline that is due fires only after the lane has read all inputs up to end offsets taken at or after its due
        time: the answer that it waits for may already lie in the backlog.
        """
        logic = self._logic
        due, now = None if logic is None else logic.next_due(), self._clock()
        if due is None or due > now:
            if self._barrier is not None:  # the deadline that waited is gone, and with it what was told of it
                self._barrier, self.problem = None, self._watch.problem
            return None if due is None else min((due - now).total_seconds(), _WATCH_SECONDS_MAX)
        if self._barrier is None:
            # high watermarks: an answer may lie behind a transaction that is still open
            self._barrier = (now, await self._reader.ends(self.inputs))
        await self._refresh_positions()
        if self._barrier_reached():
            return 0.0
        self._tell_unread(now - self._barrier[0])
        return 0.02

    def _tell_unread(self, waited: timedelta) -> None:
        """A deadline that waits for inputs which cannot be read to their end is a problem, after a while."""
        if (
            waited.total_seconds() >= self._options.trouble_seconds_max
            and not self._queue
            and self._barrier is not None
        ):
            behind = [tp.topic for tp, end in self._barrier[1].items() if self._next[tp] < end]
            self.problem = (
                f"partition {self.number}: {', '.join(behind)} cannot be read to its end for {waited.total_seconds():.0f} s, "
                "so deadlines wait. If it stays, a transaction hangs there: kafka-transactions.sh find-hanging"
            )

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


def _describe_gap(number: int, record: PositionRecord | None, committed: Mapping[str, int | None]) -> str:
    said = "no position record" if record is None else f"position record {dict(sorted(record.next_offsets.items()))}"
    return (
        f"partition {number} stopped: committed offsets {dict(sorted(committed.items()))} and {said} differ, so records may be "
        f"lost or repeated. Repair: orderflow partitions accept {number} --use positions|committed --reason TEXT"
    )
