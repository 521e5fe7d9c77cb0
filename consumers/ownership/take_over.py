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
from consumers.ownership.store import Store
from producers.transaction import TransactionalProducer
from statemachine.errors import BrokerUnavailable, ConfigError, PositionGap

log = structlog.get_logger(__name__)

#: Between two looks at offsets that disagree with the position record.
_AGREEMENT_CHECK_SECONDS = 0.5
#: So many restored snapshots are put into the store at once.
_RESTORED_AT_ONCE = 10_000


class ProvenStore:
    """A store and the position record that it corresponds to."""

    def __init__(self, store: Store, known: PositionRecord | None = None) -> None:
        self.store = store
        self.known = known
        #: The transaction whose commit was asked for and not confirmed, and its changes.
        self.in_doubt: tuple[PositionRecord, Mapping[str, bytes | None]] | None = None

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
        return record

    def committed(self) -> None:
        """It has committed: only now are its changes part of the store."""
        assert self.in_doubt is not None  # begin has set it
        record, changes = self.in_doubt
        self.store.apply(changes)
        self.known, self.in_doubt = record, None

    def prove(self, found: PositionRecord | None, incarnation: str) -> Freshness:
        """How the store compared with the newest position record; unless it is STALE, the store is current from now on."""
        number = None if self.in_doubt is None else self.in_doubt[0].transaction
        verdict = freshness(found, self.known, incarnation=incarnation, in_doubt=number)
        if verdict is Freshness.ONE_BEHIND and self.in_doubt is not None:
            self.store.apply(self.in_doubt[1])
            self.known = found
        if verdict is not Freshness.STALE:
            self.in_doubt = None
        return verdict


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
            committed = {tp: await committed_offset(tp) for tp in inputs}
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
        """A new store with all that the changelog has, up to its high watermark; ``record`` is the newest position record.

        ``progress`` is given how many offsets were read and how many there are.

        Raises:
            BrokerUnavailable: Not readable to its end within the limit.
            UnreadableTable: A key of the changelog cannot be read.
        """
        store, number, changelog = self._make_store(self._context.number), self._context.number, self._topics.changelog
        if changelog is None:
            return ProvenStore(store, record)
        pending: dict[str, bytes | None] = {}

        def take(read: ReadRecord) -> None:
            if read.key is not None:
                pending[text_key(read, changelog)] = read.value
            if len(pending) >= _RESTORED_AT_ONCE:
                store.apply(pending)
                pending.clear()

        end = await self._context.reader.read_all(TopicPartition(changelog, number), take, progress)
        store.apply(pending)
        log.info("partition_restored", partition=number, group=self._context.group, entries=len(store), end=end)
        return ProvenStore(store, record)

    async def reachable(self, committed: Mapping[TopicPartition, int | None]) -> dict[TopicPartition, int]:
        """Where to go on: at what is committed, which Kafka must still have, else at the earliest record.

        Raises:
            PositionGap: Kafka does not have it.
        """
        number, inputs = self._context.number, self._context.inputs
        begins = await self._context.reader.beginnings(committed)
        ends = await self._context.reader.ends(committed)
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
