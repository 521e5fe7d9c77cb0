"""What one batch and one call may unpack to."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cramjam
import pytest
from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from consumers.group import unpacking
from consumers.group.unpacking import BatchTooLarge, FetchBudget, bound_unpacking
from statemachine.errors import ConfigError

LIMIT = 100_000
CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


@pytest.mark.parametrize("name", CODECS)
def test_unpacking_ends_at_its_limit(name: str) -> None:
    """To the byte, in every codec: what fits is unpacked whole, what does not is refused."""
    pack: Callable[[bytes], bytes] = getattr(codec, f"{name}_encode")
    unpack = getattr(unpacking._Unpacker(LIMIT), name)
    for size in (0, 1, LIMIT):
        assert unpack(pack(b"a" * size)) == b"a" * size
    for size in (LIMIT + 1, 400 * LIMIT):
        with pytest.raises(BatchTooLarge):
            unpack(pack(b"a" * size))


def test_streams_of_several_parts_are_read_whole() -> None:
    """Gzip has members, and snappy comes raw and in frames."""
    unpacker = unpacking._Unpacker(LIMIT)
    assert unpacker.gzip(gzip.compress(b"a") + gzip.compress(b"b")) == b"ab"
    assert unpacker.snappy(bytes(cramjam.snappy.compress_raw(b"a" * 500))) == b"a" * 500
    with pytest.raises(EOFError):
        unpacker.gzip(gzip.compress(b"a" * 500)[:-9])


@pytest.mark.parametrize("name", CODECS)
def test_bytes_that_are_not_packed_at_all_are_not_too_large(name: str) -> None:
    """They are unreadable for another reason, and the line says which."""
    with pytest.raises(Exception) as caught:  # whatever the codec raises
        getattr(unpacking._Unpacker(LIMIT), name)(b"\x01no such format" * 9)
    assert not isinstance(caught.value, BatchTooLarge)


def test_an_aiokafka_that_unpacks_elsewhere_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds are put where a version keeps its codecs; whether they hold is tried out."""
    monkeypatch.setattr(unpacking, "_put_in_place", lambda _unpacker: None)
    with pytest.raises(ConfigError, match="cannot be kept from unpacking gzip, snappy, lz4, zstd without a limit"):
        bound_unpacking.__wrapped__()


def _fetched(values: list[bytes], room: FetchBudget | None, *, first: int = 0, at: int = 0) -> Any:
    """What aiokafka makes of a fetch with one batch whose records begin at offset ``first``, read from ``at``."""
    bound_unpacking()
    builder = DefaultRecordBatchBuilder(2, 4, False, -1, -1, -1, 100_000_000)
    for offset, value in enumerate(values):
        builder.append(offset, timestamp=0, key=b"k", value=value, headers=[("h", b"v")])
    data = bytearray(builder.build())
    data[:8] = first.to_bytes(8, "big")
    batches = MemoryRecords(bytes(data))
    return fetcher.PartitionRecords(TopicPartition("t", 0), batches, [], at, None, room, True, fetcher.READ_COMMITTED)


def test_a_call_ends_when_its_room_is_taken_and_the_next_one_goes_on() -> None:
    """Nothing is lost between: the position is that of the first record that was not handed out."""
    room, values, found, position = FetchBudget(), [bytes([number]) * 1_000_000 for number in range(60)], [], 0
    calls = 0
    while position < len(values):
        room.reset()
        records = _fetched(values, room, at=position)
        taken = list(records)
        assert taken, "a call makes progress"
        assert sum(len(record.value) for record in taken) <= unpacking.CALL_BYTES_MAX + 1_000_000
        assert records.next_fetch_offset == taken[-1].offset + 1
        found += taken
        position, calls = records.next_fetch_offset, calls + 1
        assert list(records) == [], "what was let go is fetched again"
    assert [record.value for record in found] == values
    assert calls == 2


def test_small_records_take_room_too() -> None:
    """The objects that are made of them are larger than their bytes."""
    room = FetchBudget()
    records = _fetched([b""] * 100_000, room)
    taken = list(records)
    assert 0 < len(taken) < 100_000
    assert records.next_fetch_offset == len(taken)


def test_without_room_nothing_is_taken_and_nothing_passed() -> None:
    """Another partition has had it all; this one is fetched again."""
    room = FetchBudget()
    room.left = 0
    records = _fetched([b"a"], room, first=7, at=7)
    assert (list(records), records.next_fetch_offset) == ([], 7)


def test_a_consumer_without_a_room_gets_all() -> None:
    """The bound of a call is the lanes'; that of a batch is everybody's."""
    assert len(list(_fetched([b"a"] * 10, None))) == 10


def test_a_batch_that_is_too_large_is_reported_with_its_offsets() -> None:
    """Who repairs the partition needs to know where it ends."""
    records = _fetched([b"0" * 1_000_000] * 9, FetchBudget(), first=40, at=40)
    unpacking._put_in_place(unpacking._Unpacker(LIMIT))
    try:
        with pytest.raises(BatchTooLarge) as caught:
            list(records)
    finally:
        unpacking._put_in_place(unpacking._Unpacker(unpacking.BATCH_BYTES_MAX))
    assert (caught.value.first, caught.value.last) == (40, 48)
    assert records.next_fetch_offset == 40


def test_the_codecs_of_the_installed_aiokafka_are_bounded() -> None:
    """In the C extension and in Python alike."""
    bound_unpacking()
    builder = DefaultRecordBatchBuilder(2, 4, False, -1, -1, -1, 1)
    builder.append(0, timestamp=0, key=None, value=b"0" * (unpacking.BATCH_BYTES_MAX + 1), headers=[])
    with pytest.raises(BatchTooLarge):
        list(DefaultRecordBatch(bytes(builder.build())))


def test_threads_unpack_beside_each_other() -> None:
    """What one unpacks is never in what another one returns: the codec releases Python's lock while it writes."""
    unpacker = unpacking._Unpacker(4 * LIMIT)
    packed = [
        (bytes([number]) * 3 * LIMIT, bytes(codec.lz4_encode(bytes([number]) * 3 * LIMIT))) for number in range(4)
    ]

    def unpack(pair: tuple[bytes, bytes]) -> bool:
        return all(unpacker.lz4(pair[1]) == pair[0] for _ in range(100))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(unpack, packed)) == [True] * 4
