"""When a store that was kept over a restart is gone on with, and when it begins anew: the steps of ``TakeOver.restore``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import TopicPartition

from consumers.ownership.changelog import ReadRecord
from consumers.ownership.options import LaneTopics, PartitionContext
from consumers.ownership.positions import PositionRecord
from consumers.ownership.store import Anchor, DictStore, Mark
from consumers.ownership.take_over import MARK_SECONDS_MAX, ProvenStore, TakeOver

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
TABLE = TopicPartition("orders", 0)


class KeptStore(DictStore):
    """A store in memory that is opened again: it has a mark."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: Mark | None = None
        self.closed = False

    @property
    def mark(self) -> Mark | None:
        """What was applied last."""
        return self.kept

    def apply(self, changes: Mapping[str, bytes | None], mark: Mark | None = None) -> None:
        """Keep the mark, too."""
        super().apply(changes)
        self.kept = mark or self.kept

    def clear(self) -> None:
        """Nothing is kept."""
        super().clear()
        self.kept = None

    def close(self) -> None:
        """It was closed."""
        self.closed = True


@dataclass
class Read:
    """A record of the changelog."""

    offset: int
    key: bytes | None
    value: bytes | None


@dataclass
class Topic:
    """A partition of the changelog, as a ``ChangelogReader`` that counts what it hands over."""

    records: list[Read]
    begin: int = 0
    end: int = 0
    handed: list[int] = field(default_factory=list)

    async def beginnings(self, _partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset."""
        return {TABLE: self.begin}

    async def ends(self, _partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The high watermark."""
        return {TABLE: self.end}

    async def read_all(
        self,
        _partition: TopicPartition,
        take: Callable[[ReadRecord], None],
        progress: Callable[[int, int], None],
        *,
        begin: int | None = None,
    ) -> int:
        """Hand over what is there from ``begin`` on."""
        for record in self.records:
            if record.offset >= (self.begin if begin is None else begin):
                self.handed.append(record.offset)
                take(record)
        progress(self.end, self.end)
        return self.end


def topic_of(values: Mapping[str, bytes | None], *, first: int = 0) -> Topic:
    """A topic with these values, one after the other, each followed by a transaction's marker."""
    records = [Read(first + 2 * at, key.encode(), value) for at, (key, value) in enumerate(values.items())]
    return Topic(records, end=first + 2 * len(records))


def position(transaction: int, incarnation: str = "b") -> PositionRecord:
    """The newest position record."""
    return PositionRecord(0, 1, transaction, incarnation, {})


async def restored(topic: Topic, store: KeptStore, record: PositionRecord | None = None, at: datetime = NOW) -> Any:
    """The store after a take-over at a time."""
    context = PartitionContext(
        0,
        partitions=1,
        group="g",
        topics=LaneTopics({}, "orders", "positions", ()),
        options=None,  # type: ignore[arg-type]  # not used by a restore
        connection=None,  # type: ignore[arg-type]
        consumer=None,
        reader=topic,  # type: ignore[arg-type]  # as much of it as a restore calls
        incarnation="c",
        clock=lambda: at,
    )
    return await TakeOver(context, lambda _number: store).restore(record)


VALUES = {"A": b"1", "B": b"2", "C": b"3", "D": b"4"}


async def kept_at(offset: int, *, transaction: int = 3) -> KeptStore:
    """What a worker had that came as far as an offset of ``VALUES``, and was then killed."""
    topic = topic_of(VALUES)
    topic.records = [record for record in topic.records if record.offset <= offset]
    store = KeptStore()
    await restored(topic, store, position(transaction, "a"))
    return store


async def test_a_store_behind_the_topic_reads_on_from_its_mark() -> None:
    """What it has is not read again, what came since is."""
    store, topic = await kept_at(2), topic_of(VALUES)
    proven = await restored(topic, store, position(9))
    assert dict(store.items()) == VALUES
    assert topic.handed == [2, 4, 6]
    assert proven.anchor == Anchor.of(6, "D", b"4")
    assert store.mark == Mark(Anchor.of(6, "D", b"4"), NOW.timestamp(), 9, "b")


async def test_a_store_that_went_on_after_a_record_is_right_although_it_reads_that_again() -> None:
    """A mark may be behind the data: older values come back for a moment and newer ones follow."""
    store = await kept_at(2)
    store.apply({"C": b"3", "D": b"4"})
    topic = topic_of(VALUES)
    await restored(topic, store, position(9))
    assert dict(store.items()) == VALUES


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        (topic_of({"A": b"1"}), "ahead"),
        (topic_of({"A": b"1", "B": b"other", "C": b"3"}), "another value"),
        (topic_of({"A": b"1", "X": b"2", "C": b"3"}), "another key"),
        (topic_of({"A": b"1", "B": None, "C": b"3"}), "a tombstone"),
        (Topic([Read(0, b"A", b"1"), Read(4, b"C", b"3")], end=6), "compacted away"),
        (Topic([Read(4, b"C", b"3")], begin=4, end=6), "deleted"),
        (Topic([], begin=0, end=8), "nothing left"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
async def test_a_store_that_is_not_proven_is_built_anew(topic: Topic, why: str) -> None:
    """The topic is another one, or lost its end, or no longer has the record that would prove it."""
    store = await kept_at(2)
    topic.handed.clear()
    await restored(topic, store, position(9))
    assert dict(store.items()) == {
        (record.key or b"").decode(): record.value for record in topic.records if record.value is not None
    }
    assert topic.handed[-len(topic.records) :] == [record.offset for record in topic.records], why


async def test_a_store_that_may_lack_removed_tombstones_is_built_anew() -> None:
    """Compaction removes a tombstone a day after it: an order that is gone would come back from an old disk."""
    store, late = await kept_at(6), NOW + timedelta(seconds=MARK_SECONDS_MAX + 1)
    topic = Topic(
        [Read(2, b"B", b"2"), Read(6, b"D", b"4")], end=20
    )  # A and C were removed, and so were the tombstones
    await restored(topic, store, position(9), late)
    assert dict(store.items()) == {"B": b"2", "D": b"4"}


async def test_a_store_of_an_idle_partition_is_current_however_old_it_is() -> None:
    """The newest position record is the one of its own last transaction: nothing can be missing."""
    store, late = await kept_at(6), NOW + timedelta(days=30)
    topic = topic_of(VALUES)
    await restored(topic, store, position(3, "a"), late)
    assert topic.handed == [6]


async def test_the_mark_follows_the_transactions_of_a_worker() -> None:
    """It is the last snapshot that was written; where Kafka did not say where, it stays."""
    store = await kept_at(2)
    proven: ProvenStore = await restored(topic_of({"A": b"1", "B": b"2"}), store, position(3, "a"))

    class Context:
        number, partitions, incarnation = 0, 1, "c"
        inputs: Mapping[TopicPartition, str] = {}

        @staticmethod
        def clock() -> datetime:
            return NOW

    def commit(changes: Mapping[str, bytes | None], offset: int) -> None:
        proven.begin(Context(), changes, {})  # type: ignore[arg-type]  # as much as it takes
        proven.committed(offset)

    commit({"C": b"3", "D": b"4"}, 7)
    assert store.mark == Mark(Anchor.of(7, "D", b"4"), NOW.timestamp(), 4, "c")
    commit({"E": b"5"}, -1)
    commit({}, -1)
    assert store.mark == Mark(Anchor.of(7, "D", b"4"), NOW.timestamp(), 6, "c")
    assert proven.known is not None
    assert proven.known.transaction == 6


async def test_a_restore_that_is_cut_off_closes_its_store_and_keeps_what_it_has_read() -> None:
    """A disk that stays open could not be opened again; the next attempt goes on from the last mark."""
    many = {f"O-{number}": b"%d" % number for number in range(2500)}
    topic, store = topic_of(many), KeptStore()
    cut = topic.records[2200]
    topic.records[2200] = Read(cut.offset, b"\xff", b"")
    with pytest.raises(Exception, match="is not valid UTF-8"):
        await restored(topic, store, position(9))
    assert store.closed
    topic.records[2200] = cut
    topic.handed.clear()
    await restored(topic, store, position(9))
    assert len(topic.handed) == 2500 - 1999
    assert dict(store.items()) == many
