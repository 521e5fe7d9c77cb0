"""How much memory unpacking may take: bounds on what aiokafka makes of the bytes that it has fetched.

Kafka bounds a fetch in compressed bytes only, and 37 KB of zstd can be 1.6 GB of records. aiokafka unpacks a whole batch when its
first record is requested, and all batches of a fetch before it returns the first record. So here, for every consumer of the
process:
- One batch unpacks to ``BATCH_BYTES_MAX`` at most. A larger one is never unpacked: it is unreadable, by its offsets.
- One call for records takes as many bytes as its ``FetchBudget`` has, and then stops. What is left is fetched again.
Rules of the file: nothing is skipped here, a consumer's position passes only records that were returned; and
``bound_unpacking`` tests the bounds, so that a worker does not start with a version of aiokafka that circumvents them.
"""

from __future__ import annotations

import mmap
import threading
import zlib
from collections.abc import Callable, Generator, Iterator
from functools import cache
from importlib import import_module
from operator import attrgetter
from typing import Any, Final

import cramjam
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from consumers.ownership.records import record_bytes
from statemachine.errors import ConfigError

#: The most that one batch may unpack to: 64 times Kafka's largest batch, which no event text reaches.
BATCH_BYTES_MAX: Final = 64 * 1024 * 1024
#: What one call for records may take, over all partitions; the last record may go over it.
CALL_BYTES_MAX: Final = 32 * 1024 * 1024
#: Where aiokafka keeps the functions that unpack, in C and in Python; a module has those that its formats need.
_MODULES: Final = (
    "aiokafka.record.default_records",
    "aiokafka.record.legacy_records",
    "aiokafka.record._crecords.default_records",
    "aiokafka.record._crecords.legacy_records",
)
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES: Final = 16


class BatchTooLarge(Exception):
    """A batch would unpack to more than the limit. The partition stops and names the offsets. Remedy: smaller batches."""

    def __init__(self, first: int | None = None, last: int | None = None) -> None:
        super().__init__(f"a batch unpacks to more than {BATCH_BYTES_MAX} bytes")
        #: Offsets of its records, once they are known.
        self.first = first
        self.last = last


class FetchBudget:
    """What a consumer's next call for records may still take, in bytes. Given to the consumer as its value deserializer."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = CALL_BYTES_MAX

    def reset(self) -> None:
        """The next call begins."""
        self.left = CALL_BYTES_MAX

    def __call__(self, value: bytes | None) -> bytes | None:
        """The value as it is: bytes are counted with the whole record, in ``BoundedRecords``."""
        return value


def budget_of(consumer: AIOKafkaConsumer) -> FetchBudget:
    """The budget of a consumer that was made with one."""
    budget = attrgetter("_value_deserializer")(consumer)
    assert isinstance(budget, FetchBudget)  # as make_consumer does
    return budget


class _BatchesOfFetch:
    """The batches of a fetch, and which one was returned last."""

    __slots__ = ("_records", "has_next", "last")

    def __init__(self, records: Any) -> None:
        self._records = records
        self.has_next: Callable[[], bool] = records.has_next
        self.last: Any = None

    def next_batch(self) -> Any:
        """The next batch, still compressed."""
        self.last = self._records.next_batch()
        return self.last


class BoundedRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka is untyped
    """What was fetched for one partition, returned while the consumer's budget lasts.

    It ends early when the budget is spent: aiokafka then takes the next offset as its position, and fetches the rest again.
    """

    _records_iterator: Generator[ConsumerRecord, None, None] | None

    def __init__(self, tp: Any, records: Any, *arguments: Any, **more: Any) -> None:
        self._batches = _BatchesOfFetch(records)
        super().__init__(tp, self._batches, *arguments, **more)
        self._budget = self._value_deserializer if isinstance(self._value_deserializer, FetchBudget) else None

    def __iter__(self) -> Iterator[ConsumerRecord]:
        """Records until the fetch or the budget ends.

        Raises:
            BatchTooLarge: The next batch may not be unpacked.
        """
        iterator, budget = self._records_iterator, self._budget
        if iterator is None:
            return
        try:
            if budget is None:
                yield from iterator
            elif budget.left > 0:
                for record in iterator:
                    budget.left -= record_bytes(record)
                    yield record
                    if budget.left <= 0:
                        break
        except BatchTooLarge as error:
            batch = self._batches.last
            raise BatchTooLarge(batch.base_offset, batch.next_offset - 1) from error
        self._drop(iterator)

    def _drop(self, iterator: Generator[ConsumerRecord, None, None]) -> None:
        """Release the unpacked batch at once: the iterator and this object refer to each other."""
        iterator.close()
        self._records_iterator = None
        self._batches.last = None


class _Unpacker(threading.local):
    """Unpacks into memory that is reserved for it, so that nothing beyond the limit is ever written.

    Each thread has its own: cramjam releases Python's lock while it writes there.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._into = mmap.mmap(-1, bytes_max)  # pages are allocated when they are written

    def gzip(self, payload: Any) -> bytes:
        """All members of a gzip stream."""
        found, rest = bytearray(), bytes(payload)
        while rest:
            member = zlib.decompressobj(wbits=31)
            found += member.decompress(rest, self._bytes_max - len(found) + 1)
            if len(found) > self._bytes_max:
                raise BatchTooLarge
            if not member.eof:
                raise EOFError("a gzip stream ends early")
            rest = member.unused_data
        return bytes(found)

    def snappy(self, payload: Any) -> bytes:
        """Raw snappy, or the framing of the xerial library that Java clients use."""
        data = memoryview(payload)
        if bytes(data[: len(_XERIAL)]) != _XERIAL:
            return self._whole(cramjam.snappy.decompress_raw_into, data)
        found, at = bytearray(), _XERIAL_HEADER_BYTES
        while at < len(data):
            begin = at + 4
            at = begin + int.from_bytes(data[at:begin], "big")
            found += self._whole(cramjam.snappy.decompress_raw_into, data[begin:at])
            if len(found) > self._bytes_max:
                raise BatchTooLarge
        return bytes(found)

    def lz4(self, payload: Any) -> bytes:
        """A frame of lz4."""
        return self._whole(cramjam.lz4.decompress_into, payload)

    def zstd(self, payload: Any) -> bytes:
        """A frame of zstd."""
        return self._whole(cramjam.zstd.decompress_into, payload)

    def _whole(self, unpack: Callable[[Any, Any], int], payload: Any) -> bytes:
        try:
            size = unpack(bytes(payload), self._into)
        except cramjam.DecompressionError as error:
            if "whole buffer" in str(error) or "is smaller than required" in str(error):
                raise BatchTooLarge from error
            raise
        found = bytes(self._into[:size])
        if size > self._bytes_max // 16:
            self._into.madvise(mmap.MADV_DONTNEED)
        return found


#: Kafka's numbers of the codecs.
_CODECS: Final = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
#: Limit and sizes with which the bounds are tested.
_TEST_BYTES_MAX: Final = 4096
_TEST_SIZES: Final = {1000: True, 2 * _TEST_BYTES_MAX: False}


@cache
def bound_unpacking() -> None:
    """Put the bounds in place, for all consumers of this process.

    Raises:
        ConfigError: The installed aiokafka cannot be bounded in this way.
    """
    _put_in_place(_Unpacker(_TEST_BYTES_MAX))
    unbounded = [
        name for number, name in _CODECS.items() if any(_is_read(number, n) != good for n, good in _TEST_SIZES.items())
    ]
    _put_in_place(_Unpacker(BATCH_BYTES_MAX))
    if unbounded or not hasattr(fetcher, "PartitionRecords"):
        raise ConfigError(
            f"the installed aiokafka cannot be kept from unpacking {', '.join(unbounded) or 'records'} without a limit: "
            "install the version that requirements.txt names"
        )
    fetcher.PartitionRecords = BoundedRecords


def _put_in_place(unpacker: _Unpacker) -> None:
    for name in _MODULES:
        try:
            module = import_module(name)
        except ImportError:
            continue  # without the C extension its Python twin is used
        for codec in _CODECS.values():
            if hasattr(module, f"{codec}_decode"):
                setattr(module, f"{codec}_decode", getattr(unpacker, codec))


def _is_read(codec: int, size: int) -> bool:
    """Whether aiokafka reads a batch with a value of ``size`` bytes."""
    builder = DefaultRecordBatchBuilder(2, codec, False, -1, -1, -1, 2 * size)
    builder.append(0, timestamp=0, key=None, value=b"0" * size, headers=[])
    try:
        return [len(record.value or b"") for record in DefaultRecordBatch(bytes(builder.build()))] == [size]
    except BatchTooLarge:
        return False
