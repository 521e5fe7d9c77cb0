"""Sizes of records. Kafka refuses a record that is too large, which would stop its partition for good.

Kafka limits the size of a compressed batch: an input that was compressed well may be many times as large when it is read. Topics
that we write allow the largest input plus 64 KiB, in the compression of our own producers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiokafka.codec import gzip_encode, snappy_encode, zstd_encode
from aiokafka.record.default_records import DefaultRecordBase, DefaultRecordBatchBuilder

from producers.outbox import HeaderList
from producers.packing.lz4 import lz4_frame, packed
from producers.topics import INPUT_BYTES_MAX, OUTPUT_MARGIN_BYTES

#: The largest record batch that our topics allow when no input's limit was raised.
RECORD_BYTES_MAX: Final = INPUT_BYTES_MAX + OUTPUT_MARGIN_BYTES

#: What Kafka adds around a record in a batch of one, generously.
_BATCH_BYTES: Final = 256
#: Lengths of a header's name and value, generously.
_HEADER_BYTES: Final = 10

#: Nobody sets a topic's limit below this.
SMALL_BYTES: Final = 16 * 1024
#: What aiokafka does to a batch, by the producers' names of its compression; LZ4 is our own.
_CODECS: Final = {
    None: DefaultRecordBase.CODEC_NONE,
    "gzip": DefaultRecordBase.CODEC_GZIP,
    "snappy": DefaultRecordBase.CODEC_SNAPPY,
    "lz4": DefaultRecordBase.CODEC_NONE,
    "zstd": DefaultRecordBase.CODEC_ZSTD,
}
_ENCODERS: Final = {"gzip": gzip_encode, "snappy": snappy_encode, "lz4": lz4_frame, "zstd": zstd_encode}


@dataclass(frozen=True, slots=True)
class Room:
    """The limits of our records: the producer's ``compression`` (None: uncompressed), and the most that our topics allow."""

    compression: str | None = None
    record_bytes_max: int = RECORD_BYTES_MAX


def batch_bytes(key: bytes | None, value: bytes | None, headers: HeaderList, compression: str | None) -> int:
    """The size of a batch with this record alone, in bytes: what Kafka compares with a topic's ``max.message.bytes``.

    It is exact when the record is the whole batch: framing, headers and compression are the client's own. A record that is small
    without compression is not compressed.
    """
    plain = _whole_batch(key, value, headers, None)
    return plain if plain <= SMALL_BYTES or compression is None else _whole_batch(key, value, headers, compression)


def _whole_batch(key: bytes | None, value: bytes | None, headers: HeaderList, compression: str | None) -> int:
    builder = DefaultRecordBatchBuilder(2, _CODECS[compression], 0, 0, 0, 0, 0)
    builder.append(0, 0, key, value, list(headers))
    batch = builder.build()
    return len(packed(batch) if compression == "lz4" else batch)


def fits(key: bytes | None, value: bytes | None, headers: HeaderList, room: Room) -> bool:
    """Whether a record can be written."""
    size = len(key or b"") + len(value or b"") + _BATCH_BYTES
    size += sum(len(name.encode()) + len(raw or b"") + _HEADER_BYTES for name, raw in headers)
    if size <= room.record_bytes_max or room.compression is None:
        return size <= room.record_bytes_max
    whole = b"".join((key or b"", value or b"", *(raw or b"" for _, raw in headers)))
    around = size - len(whole)
    return len(_ENCODERS[room.compression](whole)) + around <= room.record_bytes_max
