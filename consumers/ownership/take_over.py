"""The steps of taking a partition over: fence, agree on the offsets, prove or restore the store, find where to read on.

Rules of the file:
- Fence first: the producer is initialised before committed offsets or the changelog are read. An owner that reads before it
  fences reads old offsets in up to half of the cases.
- A store is used only while it is proven current. After every init the newest position record says whether it is.
- A step knows what it is given and Kafka; the order of the steps is ``OwnedPartition._take_over_now``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime

import structlog
from aiokafka import TopicPartition

from consumers.ownership.changelog import ReadRecord, text_key
from consumers.ownership.options import PartitionContext
from consumers.ownership.positions import (
    DecisionHistory,
    Freshness,
    PositionRecord,
    decode_position,
    freshness,
    other_partition_count,
    same_offsets,
)
from consumers.ownership.store import Anchor, Mark, Store
from producers.transaction import TransactionalProducer
from statemachine.errors import BrokerUnavailable, ConfigError, PositionGap

log = structlog.get_logger(__name__)

#: Between two looks at offsets that disagree with the position record.
_AGREEMENT_CHECK_SECONDS = 0.5
#: So many restored snapshots are put into the store at once: other tasks wait for some milliseconds.
_RESTORED_AT_ONCE = 1000
#: A store that was written longer ago may lack tombstones that compaction has removed since: half of Kafka's default for
#: ``delete.retention.ms``, because reading takes its time.
MARK_SECONDS_MAX = 12 * 3600.0


class ProvenStore:
    """A store, the position record that it corresponds to, and the last record of the changelog that is known to be in it."""

    def __init__(self, store: Store, known: PositionRecord | None = None, anchor: Anchor | None = None) -> None:
        self.store = store
        self.known = known
        self.anchor = anchor
        #: The transaction whose commit was asked for and not confirmed, and its changes.
        self.in_doubt: tuple[PositionRecord, Mapping[str, bytes | None]] | None = None
        self._begun_at = 0.0

    def begin(
        self,
        context: PartitionContext,
        changes: Mapping[str, bytes | None],
        reached: Mapping[TopicPartition, int],
        history: DecisionHistory | None = None,
    ) -> PositionRecord:
        """The position record of the transaction that is about to be committed; ``history`` is what it decided."""
        record = PositionRecord(
            partition=context.number,
            partitions=context.partitions,
            transaction=1 if self.known is None else self.known.transaction + 1,
            incarnation=context.incarnation,
            next_offsets={name: reached[tp] for tp, name in context.inputs.items()},
            history=history,
        )
        self.in_doubt = (record, changes)
        self._begun_at = context.clock().timestamp()
        return record

    def committed(self, last_offset: int = -1) -> None:
        """It has committed: only now are its changes part of the store.

        ``last_offset``: the offset of the last snapshot that was written; negative when it is not known.

        Raises:
            StoreFailed: The store cannot be written.
        """
        assert self.in_doubt is not None  # begin has set it
        record, changes = self.in_doubt
        anchor = self.anchor
        if changes and last_offset >= 0:
            last = list(changes)[-1]
            anchor = Anchor.of(last_offset, last, changes[last])
        self._adopt(record, changes, anchor)
        self.in_doubt = None

    def prove(self, found: PositionRecord | None, incarnation: str) -> Freshness:
        """How the store compared with the newest position record; unless it is STALE, the store is current from now on."""
        number = None if self.in_doubt is None else self.in_doubt[0].transaction
        verdict = freshness(found, self.known, incarnation=incarnation, in_doubt=number)
        if verdict is Freshness.ONE_BEHIND and self.in_doubt is not None and found is not None:
            self._adopt(found, self.in_doubt[1], self.anchor)  # where its snapshots are was never said
        if verdict is not Freshness.STALE:
            self.in_doubt = None
        return verdict

    def _adopt(self, record: PositionRecord, changes: Mapping[str, bytes | None], anchor: Anchor | None) -> None:
        mark = None if anchor is None else Mark(anchor, self._begun_at, record.transaction, record.incarnation)
        self.store.apply(changes, mark)
        self.known, self.anchor = record, anchor


class _NotProven(Exception):
    """The record at the mark's offset is not the one that the store has."""


class _Loading:
    """Puts the records of a changelog into a store, some at a time, each lot together with its mark."""

    def __init__(self, store: Store, topic: str, clock: Callable[[], datetime], anchor: Anchor | None = None) -> None:
        """``anchor``: the record that must come first; None: reading begins at the first record there is."""
        self._store = store
        self._topic = topic
        self._clock = clock
        self._expected = anchor
        self._pending: dict[str, bytes | None] = {}
        self._last: tuple[int, str, bytes | None] | None = None
        self._began = clock().timestamp()

    @property
    def proven(self) -> bool:
        """The record that had to come first has come."""
        return self._expected is None

    def take(self, read: ReadRecord) -> None:
        """Take the next record.

        Raises:
            _NotProven: It is the first one, and not the one that was expected.
            UnreadableTable: Its key cannot be read.
        """
        if read.key is None:
            return
        key = text_key(read, self._topic)
        if self._expected is not None:
            if Anchor.of(read.offset, key, read.value) != self._expected:
                raise _NotProven
            self._expected = None
        self._pending[key], self._last = read.value, (read.offset, key, read.value)
        if len(self._pending) >= _RESTORED_AT_ONCE:
            self._put(0, "")

    def end(self, record: PositionRecord | None) -> Anchor | None:
        """All was read; ``record`` is the newest position record. The last record that the store has now."""
        return self._put(*(0, "") if record is None else (record.transaction, record.incarnation))

    def _put(self, transaction: int, incarnation: str) -> Anchor | None:
        anchor = None if self._last is None else Anchor.of(*self._last)
        # what is there was read since then: tombstones that came later are still in the topic
        mark = None if anchor is None else Mark(anchor, self._began, transaction, incarnation)
        self._store.apply(self._pending, mark)
        self._pending = {}
        return anchor


class TakeOver:
    """The steps for one partition number. Keeps nothing between them."""

    def __init__(self, context: PartitionContext, make_store: Callable[[int], Store]) -> None:
        self._context = context
        self._topics = context.topics
        self._make_store = make_store

    def new_producer(self) -> TransactionalProducer:
        """A producer with the partition's transactional id, to be given to ``fence``."""
        own = (self._topics.changelog, self._topics.positions)
        return TransactionalProducer(
            self._context.connection,
            group=self._context.group,
            partition=self._context.number,
            topics=(*self._topics.outputs, *(topic for topic in own if topic is not None)),
            probe=self._context.probe,
        )

    async def fence(self, producer: TransactionalProducer) -> None:
        """Init the producer: that ends the old owner's commits and aborts its open transaction.

        Raises:
            ConfigError: The changelog has another partition count than the inputs.
            BrokerError: Kafka did not answer within the limit, or refused.
        """
        await producer.start()
        changelog, partitions = self._topics.changelog, self._context.partitions
        if changelog is not None and producer.counts[changelog] != partitions:
            raise ConfigError(
                f"{changelog} has {producer.counts[changelog]} partitions and {', '.join(self._topics.inputs.values())} "
                f"{partitions}: they must have the same number"
            )

    async def agreed_offsets(
        self, committed_offset: Callable[[TopicPartition], Awaitable[int | None]], leaving: asyncio.Event
    ) -> tuple[PositionRecord | None, dict[TopicPartition, int | None]]:
        """The newest position record and the committed offsets (None: never committed), which must agree.

        Raises:
            PositionGap: They disagree for longer than the limit, or only one of them is there.
            ConfigError: The position record was written for another partition count.
            BrokerUnavailable: Kafka did not answer, or ``leaving`` was set meanwhile.
        """
        steady, number = self._context.steady, self._context.number
        until = steady() + self._context.options.position_wait_seconds
        inputs = self._context.inputs
        while True:
            record = await self._newest_position()
            if record is not None and record.partitions != self._context.partitions:
                raise other_partition_count(number, record.partitions, self._context.partitions)
            committed = dict(zip(inputs, await asyncio.gather(*map(committed_offset, inputs)), strict=True))
            by_name = {inputs[tp]: offset for tp, offset in committed.items()}
            if self._topics.positions is None or same_offsets(record, by_name):
                return record, committed
            if steady() >= until:
                raise PositionGap(_describe_gap(number, record, by_name))
            with suppress(TimeoutError):
                await asyncio.wait_for(leaving.wait(), _AGREEMENT_CHECK_SECONDS)
            if leaving.is_set():
                raise BrokerUnavailable("revoked while taking over")

    async def _newest_position(self) -> PositionRecord | None:
        topic, number = self._topics.positions, self._context.number
        if topic is None:
            return None
        value = await self._context.reader.last_value(TopicPartition(topic, number))
        return None if value is None else decode_position(value, topic, number)

    async def restore(
        self, record: PositionRecord | None, progress: Callable[[int, int], None] = lambda _read, _all: None
    ) -> ProvenStore:
        """A store with all that the changelog has, up to its high watermark; ``record`` is the newest position record.

        What the store has kept from before is gone on with when it is proven, else it begins empty. ``progress`` is given how
        many offsets were read and how many there are.

        Raises:
            BrokerUnavailable: Not readable to its end within the limit.
            UnreadableTable: A key of the changelog cannot be read.
            StoreFailed: The store cannot be read or written.
        """
        store = self._make_store(self._context.number)
        try:
            anchor = await self._fill(store, record, progress)
        except BaseException:
            store.close()
            raise
        return ProvenStore(store, record, anchor)

    async def _fill(
        self, store: Store, record: PositionRecord | None, progress: Callable[[int, int], None]
    ) -> Anchor | None:
        """Read what the store does not have; the last record that it has then."""
        number, changelog, clock = self._context.number, self._topics.changelog, self._context.clock
        if changelog is None:
            return None
        table, kept = TopicPartition(changelog, number), store.mark
        loading = _Loading(store, changelog, clock, None if kept is None else kept.anchor)
        if kept is not None and (why := await self._read_on(table, kept, record, loading, progress)) is not None:
            log.warning("store_rebuilt", partition=number, group=self._context.group, reason=why)
            store.clear()
            loading, kept = _Loading(store, changelog, clock), None
        if kept is None:
            await self._context.reader.read_all(table, loading.take, progress)
        anchor = loading.end(record)
        begun = "empty" if kept is None else kept.anchor.offset
        log.info("partition_restored", partition=number, group=self._context.group, entries=len(store), begin=begun)
        return anchor

    async def _read_on(
        self,
        table: TopicPartition,
        kept: Mark,
        record: PositionRecord | None,
        loading: _Loading,
        progress: Callable[[int, int], None],
    ) -> str | None:
        """Read on from what the store has kept; why that is not proven to be what the changelog has, or None: it is."""
        current = record is not None and (record.transaction, record.incarnation) == (
            kept.transaction,
            kept.incarnation,
        )
        if not current and self._context.clock().timestamp() - kept.written_at > MARK_SECONDS_MAX:
            return "it was written too long ago"
        begin = (await self._context.reader.beginnings([table]))[table]
        end = (await self._context.reader.ends([table]))[table]
        if not begin <= kept.anchor.offset < end:
            return f"it ends with offset {kept.anchor.offset}, but the topic has {begin} to {end}"
        with suppress(_NotProven):
            await self._context.reader.read_all(table, loading.take, progress, begin=kept.anchor.offset)
        return None if loading.proven else f"the topic has another record at offset {kept.anchor.offset}, or none"

    async def reachable(self, committed: Mapping[TopicPartition, int | None]) -> dict[TopicPartition, int]:
        """Where to go on: at what is committed, which Kafka must still have, else at the earliest record.

        Raises:
            PositionGap: Kafka does not have it.
        """
        number, inputs = self._context.number, self._context.inputs
        reader = self._context.reader
        begins, ends = await asyncio.gather(reader.beginnings(committed), reader.ends(committed))
        offsets = {tp: begins[tp] if offset is None else offset for tp, offset in committed.items()}
        for tp, offset in offsets.items():
            if not begins[tp] <= offset <= ends[tp]:
                repair = f". Repair: orderflow partitions accept {number} --use committed --reason TEXT"
                raise PositionGap(
                    f"partition {number} stopped: {inputs[tp]} should go on at offset {offset}, but Kafka has "
                    f"{begins[tp]} to {ends[tp]}; records were deleted or the topic was made anew"
                    # the command works on the order lane, which is the one with position records
                    + (
                        repair
                        if self._topics.positions is not None
                        else f". Set the offsets of group {self._context.group}"
                    )
                )
        return offsets


def _describe_gap(number: int, record: PositionRecord | None, committed: Mapping[str, int | None]) -> str:
    found = "no position record" if record is None else f"position record {dict(sorted(record.next_offsets.items()))}"
    return (
        f"partition {number} stopped: committed offsets {dict(sorted(committed.items()))} and {found} differ, so records may be "
        f"lost or repeated. Repair: orderflow partitions accept {number} --use positions|committed --reason TEXT"
    )
