"""Record batches of format v2: read the header, place a batch in the log, build control batches, thin a batch out.

Batches are kept as the bytes that the producer sent: compression and headers pass through, and the checksum, which does
not cover offset and leader epoch, stays valid. Only compaction and look-ups by time read single records. aiokafka's
record code does that. The header's layout is that of Kafka's ``DefaultRecordBatch``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from orderflow.embedded_kafka.protocol.codes import Code, KafkaApiError

#: BaseOffset, Length, PartitionLeaderEpoch, Magic, CRC, Attributes, LastOffsetDelta, FirstTimestamp, MaxTimestamp,
#: ProducerId, ProducerEpoch, BaseSequence, record count.
HEADER = struct.Struct(">qiibIhiqqqhii")
_PLACE = struct.Struct(">qii")
_BODY_START = 21
_CRC = struct.Struct(">I")
_CRC_START = 17
_ATTRIBUTES = struct.Struct(">hi")
_MAX_TIMESTAMP = struct.Struct(">q")
_MAX_TIMESTAMP_START = 35
_LENGTH_END = 12

TRANSACTIONAL = 0x10
CONTROL = 0x20
COMPRESSION_MASK = 0x07
NO_PRODUCER = -1
NO_SEQUENCE = -1

_MARKER_KEY = struct.Struct(">hh")
_MARKER_VALUE = struct.Struct(">hi")
_UNLIMITED_BYTES = 1 << 30


class Record(Protocol):
    """What aiokafka's reader gives for one record of a batch."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


@dataclass(slots=True)
class RecordBatch:
    """One batch in a log: its bytes and the header fields that the broker asks for. Offsets are inclusive."""

    data: bytes
    base_offset: int
    last_offset: int
    attributes: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    #: When tombstones in it may go, in ms since the epoch; set when compaction first meets them.
    tombstones_until: float | None = None

    @property
    def is_transactional(self) -> bool:
        """Whether it belongs to a transaction, as data or as its marker."""
        return bool(self.attributes & TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        """Whether it is a marker, which readers never see."""
        return bool(self.attributes & CONTROL)

    @property
    def last_sequence(self) -> int:
        """Sequence of the last record; sequences wrap from 2**31 - 1 to 0."""
        return (self.base_sequence + self.last_offset - self.base_offset) & 0x7FFFFFFF


def read_batch(data: bytes) -> RecordBatch:
    """The batch in a produce request.

    Raises:
        KafkaApiError: as Apache Kafka answers: not exactly one whole batch of format v2 with a right checksum and dense offsets.
    """
    if len(data) < HEADER.size:
        raise KafkaApiError(Code.CORRUPT_MESSAGE)
    (_, length, _, magic, crc, attributes, delta, _, max_timestamp, producer_id, epoch, sequence, count) = (
        HEADER.unpack_from(data)
    )
    if magic != 2:
        raise KafkaApiError(Code.UNSUPPORTED_FOR_MESSAGE_FORMAT)
    if _LENGTH_END + length > len(data) or calc_crc32c(data[_BODY_START : _LENGTH_END + length]) != crc:
        raise KafkaApiError(Code.CORRUPT_MESSAGE)
    if _LENGTH_END + length < len(data) or count < 1 or delta != count - 1 or attributes & CONTROL:
        raise KafkaApiError(Code.INVALID_RECORD)
    return RecordBatch(data, 0, delta, attributes, max_timestamp, producer_id, epoch, sequence)


def place(batch: RecordBatch, base_offset: int) -> None:
    """Give the batch its place in the log; afterwards its bytes carry ``base_offset``."""
    batch.last_offset = base_offset + batch.last_offset - batch.base_offset
    batch.base_offset = base_offset
    data = bytearray(batch.data)
    _PLACE.pack_into(data, 0, base_offset, len(data) - _LENGTH_END, 0)
    batch.data = bytes(data)


def records_of(batch: RecordBatch) -> Iterator[Record]:
    """The records of a batch, decompressed. None for a batch that compaction emptied."""
    return iter(DefaultRecordBatch(batch.data))


def control_batch(producer_id: int, epoch: int, *, committed: bool, timestamp: int) -> RecordBatch:
    """The marker that ends a transaction in a partition; ``timestamp`` in ms since the epoch."""
    builder = _builder(0, producer_id, epoch, NO_SEQUENCE)
    # Both key and value begin with version 0; a single-node broker has coordinator epoch 0.
    builder.append(0, timestamp, _MARKER_KEY.pack(0, int(committed)), _MARKER_VALUE.pack(0, 0), [])
    attributes = TRANSACTIONAL | CONTROL
    data = _seal(builder.build(), 0, attributes, 0, timestamp)
    return RecordBatch(data, 0, 0, attributes, timestamp, producer_id, epoch, NO_SEQUENCE)


def thinned(batch: RecordBatch, kept: Sequence[Record]) -> RecordBatch:
    """The batch with only ``kept`` of its records: same offsets, range, producer and compression."""
    # An empty batch has nothing to decompress, and readers would try.
    codec = batch.attributes & COMPRESSION_MASK if kept else 0
    builder = _builder(codec, batch.producer_id, batch.producer_epoch, batch.base_sequence)
    for record in kept:
        builder.append(
            record.offset - batch.base_offset, record.timestamp, record.key, record.value, list(record.headers)
        )
    attributes = (batch.attributes & ~COMPRESSION_MASK) | codec
    delta = batch.last_offset - batch.base_offset
    max_timestamp = max((record.timestamp for record in kept), default=batch.max_timestamp)
    data = _seal(builder.build(), batch.base_offset, attributes, delta, max_timestamp)
    return RecordBatch(
        data,
        batch.base_offset,
        batch.last_offset,
        attributes,
        max_timestamp,
        batch.producer_id,
        batch.producer_epoch,
        batch.base_sequence,
        batch.tombstones_until,
    )


def _builder(codec: int, producer_id: int, epoch: int, sequence: int) -> DefaultRecordBatchBuilder:
    return DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=False,
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
        batch_size=_UNLIMITED_BYTES,
    )


def _seal(data: bytearray, base_offset: int, attributes: int, last_offset_delta: int, max_timestamp: int) -> bytes:
    _PLACE.pack_into(data, 0, base_offset, len(data) - _LENGTH_END, 0)
    _ATTRIBUTES.pack_into(data, _BODY_START, attributes, last_offset_delta)
    _MAX_TIMESTAMP.pack_into(data, _MAX_TIMESTAMP_START, max_timestamp)
    _CRC.pack_into(data, _CRC_START, calc_crc32c(bytes(data[_BODY_START:])))
    return bytes(data)
