"""What fits into a record of ours. A record that does not is refused by Kafka, and would stop its partition for good.

Kafka limits a batch as it lies on the disk, compressed: an input that was compressed well may be many times as large when it is
read. Topics that we write allow the largest input and 64 KiB more, in the compression of our own producers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.record.default_records import DefaultRecordBase, DefaultRecordBatchBuilder

from producers.outbox import HeaderList
from producers.topics import INPUT_BYTES_MAX, OUTPUT_MARGIN_BYTES

#: The largest record batch that our topics take where nobody raised the limit of an input.
RECORD_BYTES_MAX: Final = INPUT_BYTES_MAX + OUTPUT_MARGIN_BYTES

#: What Kafka adds around a record in a batch of one, generously.
_BATCH_BYTES: Final = 256
#: Lengths of a header's name and value, generously.
_HEADER_BYTES: Final = 10

#: Nobody sets a topic's limit below this.
_SMALL_BYTES: Final = 16 * 1024
#: Attributes of a batch, by the producers' names of its compression.
_CODECS: Final = {
    None: DefaultRecordBase.CODEC_NONE,
    "gzip": DefaultRecordBase.CODEC_GZIP,
    "snappy": DefaultRecordBase.CODEC_SNAPPY,
    "lz4": DefaultRecordBase.CODEC_LZ4,
    "zstd": DefaultRecordBase.CODEC_ZSTD,
}
_ENCODERS: Final = {"gzip": gzip_encode, "snappy": snappy_encode, "lz4": lz4_encode, "zstd": zstd_encode}


@dataclass(frozen=True, slots=True)
class Room:
    """What a record of ours may take: the producer's ``compression`` (None: as it is), and the most that our topics take."""

    compression: str | None = None
    record_bytes_max: int = RECORD_BYTES_MAX


def batch_bytes(key: bytes | None, value: bytes | None, headers: HeaderList, compression: str | None) -> int:
    """What a record takes in a batch of its own, in bytes: what Kafka compares with a topic's ``max.message.bytes``.

    Exact where the record itself is the batch: framing, headers and compression are the client's own. What is small whatever the
    compression makes of it is not compressed to find out.
    """
    plain = _whole_batch(key, value, headers, None)
    return plain if plain <= _SMALL_BYTES or compression is None else _whole_batch(key, value, headers, compression)


def _whole_batch(key: bytes | None, value: bytes | None, headers: HeaderList, compression: str | None) -> int:
    builder = DefaultRecordBatchBuilder(2, _CODECS[compression], 0, 0, 0, 0, 0)
    builder.append(0, 0, key, value, list(headers))
    return len(builder.build())


def fits(key: bytes | None, value: bytes | None, headers: HeaderList, room: Room) -> bool:
    """Whether a record can be written."""
    size = len(key or b"") + len(value or b"") + _BATCH_BYTES
    size += sum(len(name.encode()) + len(raw or b"") + _HEADER_BYTES for name, raw in headers)
    if size <= room.record_bytes_max or room.compression is None:
        return size <= room.record_bytes_max
    whole = b"".join((key or b"", value or b"", *(raw or b"" for _, raw in headers)))
    around = size - len(whole)
    return len(_ENCODERS[room.compression](whole)) + around <= room.record_bytes_max
