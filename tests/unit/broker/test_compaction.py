"""Compaction never changes what a reader concludes: any history, compacted at any moments, ends in the same table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from orderflow.embedded_kafka.log.batches import RecordBatch, control_batch, read_batch, records_of
from orderflow.embedded_kafka.log.compaction import compact
from orderflow.embedded_kafka.log.log import PartitionLog
from orderflow.embedded_kafka.log.topics import DIRTY_BYTES_MIN, Topics

PRODUCERS = 3
DELAY_MS = 10

#: (producer, key, value or tombstone), ("end", producer, committed) or ("compact",).
Step: TypeAlias = tuple[object, ...]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, PRODUCERS - 1), st.lists(st.integers(0, 3), min_size=1, max_size=4)),
        st.tuples(st.just("erase"), st.integers(0, PRODUCERS - 1), st.lists(st.integers(0, 3), min_size=1, max_size=2)),
        st.tuples(st.just("end"), st.integers(0, PRODUCERS - 1), st.booleans()),
        st.tuples(st.just("compact")),
    ),
    max_size=40,
)


def _batch(
    records: Sequence[tuple[bytes, bytes | None]], now_ms: int, producer: int | None = None, sequence: int = -1
) -> RecordBatch:
    """A batch of keys and values; with a producer, of its transaction."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=1 if producer else 0,
        is_transactional=producer is not None,
        producer_id=-1 if producer is None else producer,
        producer_epoch=-1 if producer is None else 0,
        base_sequence=sequence,
        batch_size=1 << 20,
    )
    for delta, (key, value) in enumerate(records):
        builder.append(delta, now_ms, key, value, [])
    return read_batch(bytes(builder.build()))


class History:
    """Applies steps to a log, and to a plain list of what was committed."""

    def __init__(self) -> None:
        self.log = PartitionLog("topic", 0)
        self.now_ms = 0
        self._sequences = dict.fromkeys(range(PRODUCERS), 0)
        self._open: dict[int, list[tuple[int, bytes, bytes | None]]] = {}
        self.committed: list[tuple[int, bytes, bytes | None]] = []

    def write(self, producer: int, keys: list[int], *, erase: bool) -> None:
        """One transactional batch with a record for each key."""
        records = [
            (self.log.end + delta, b"%d" % key, None if erase else b"%d" % (self.log.end + delta))
            for delta, key in enumerate(keys)
        ]
        written = [(key, value) for _, key, value in records]
        self.log.append(_batch(written, self.now_ms, producer, self._sequences[producer]))
        self._sequences[producer] += len(keys)
        self._open.setdefault(producer, []).extend(records)

    def end(self, producer: int, *, committed: bool) -> None:
        """End the producer's transaction, if one is open."""
        records = self._open.pop(producer, None)
        if records is None:
            return
        marker = control_batch(producer, 0, committed=committed, timestamp=self.now_ms)
        self.log.append_marker(marker, committed=committed)
        if committed:
            self.committed += records

    def compact(self) -> None:
        """One pass, later than the one before by half a tombstone's delay."""
        self.now_ms += DELAY_MS // 2
        before = self.log.end, self.log.stable_end
        compact(self.log, self.now_ms, DELAY_MS)
        assert (self.log.end, self.log.stable_end) == before


def _visible(log: PartitionLog) -> list[tuple[int, bytes | None, bytes | None]]:
    """What a read_committed consumer sees, by the rules that consumers follow."""
    pending = sorted(log.aborted_between(log.start, log.stable_end), key=lambda each: each[1])
    hidden: set[int] = set()
    seen = []
    for batch in log.batches:
        if batch.base_offset >= log.stable_end:
            break
        while pending and pending[0][1] <= batch.base_offset:
            hidden.add(pending.pop(0)[0])
        if batch.is_control:
            hidden.discard(batch.producer_id)
        elif batch.producer_id not in hidden:
            seen += [(record.offset, record.key, record.value) for record in records_of(batch)]
    return seen


def _table(
    records: list[tuple[int, bytes, bytes | None]] | list[tuple[int, bytes | None, bytes | None]],
) -> dict[object, object]:
    """The last value of each key, keys with a tombstone left out."""
    last = {key: (offset, value) for offset, key, value in sorted(records, key=lambda each: each[0])}
    return {key: each for key, each in last.items() if each[1] is not None}


def _apply(history: History, step: Step) -> None:
    match step:
        case ("write", int(producer), list(keys)):
            history.write(producer, keys, erase=False)
        case ("erase", int(producer), list(keys)):
            history.write(producer, keys, erase=True)
        case ("end", int(producer), bool(committed)):
            history.end(producer, committed=committed)
        case _:
            history.compact()


@given(STEPS)
def test_any_history_compacted_anywhen_gives_the_same_table(steps: list[Step]) -> None:
    """The committed view has the last committed value of every key at its own offset, and no aborted record."""
    history = History()
    for step in steps:
        _apply(history, step)
    for producer in range(PRODUCERS):
        history.end(producer, committed=True)
    expected = _table(history.committed)
    assert _table(_visible(history.log)) == expected
    for _ in range(3):
        history.compact()
    seen = _visible(history.log)
    assert _table(seen) == expected
    assert {offset for offset, *_ in seen} <= {offset for offset, *_ in history.committed}
    # After the tombstones' delay nothing but the table is left, and the last batch for readers to reach the end by.
    assert len(seen) == len(expected)
    assert not history.log.batches or history.log.batches[-1].last_offset == history.log.end - 1


def test_an_open_transaction_stops_compaction_where_it_began() -> None:
    """Nothing at or behind the last stable offset is touched, also what is superseded there."""
    history = History()
    history.write(0, [1], erase=False)
    history.write(1, [1], erase=False)
    history.end(1, committed=True)
    history.compact()
    assert [_offsets(batch) for batch in history.log.batches] == [[0], [1], [2]]
    history.end(0, committed=False)
    history.compact()
    assert _visible(history.log) == [(1, b"1", b"1")]


def _offsets(batch: RecordBatch) -> list[int]:
    return [record.offset for record in records_of(batch)]


def test_what_is_younger_than_the_lag_stays() -> None:
    """Law: a partition that grows is compacted as far as ``min.compaction.lag.ms`` allows; young records stay, all of them."""
    now = [1_000.0]
    topics = Topics(lambda: now[0])
    topic = topics.create("positions", 1, {"cleanup.policy": "compact", "min.compaction.lag.ms": "60000"})
    log = topic.partitions[0]

    def grow() -> list[int]:
        """More than a cleaner waits for, in batches of one record with the same key; the offsets that are left."""
        for _ in range(DIRTY_BYTES_MIN // 60_000 + 1):
            log.append(_batch([(b"0", b"x" * 60_000)], round(now[0] * 1000)))
            topics.compact_when_grown(topic, log)
        return [record.offset for batch in log.batches for record in records_of(batch)]

    first = grow()
    assert first == list(range(log.end))
    now[0] += 59
    assert grow() == list(range(log.end))
    young = list(range(len(first), log.end))
    now[0] += 2
    left = grow()
    assert left == [first[-1], *young, *range(young[-1] + 1, log.end)]
