"""LZ4 at its fast level. aiokafka compresses at level 9, without an option, which costs many times the CPU for a few bytes.

Rules of the file:
- aiokafka builds the batch without compression; what is changed is what compression changes: the records, the length, the
  attributes and the checksum.
- Frames come from aiokafka's own encoder at another level, so whoever reads LZ4 from Kafka reads them.
"""

from __future__ import annotations

import struct
from typing import Final

from aiokafka.codec import lz4_encode
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBase
from aiokafka.record.util import calc_crc32c

#: The fast compressor; above 2 LZ4 searches for longer matches.
LEVEL: Final = 1

_HEADER_BYTES: Final = DefaultRecordBase.HEADER_STRUCT.size
_LENGTH: Final = struct.Struct(">qi")
_ATTRIBUTES: Final = struct.Struct(">h")
_CRC: Final = struct.Struct(">I")


def lz4_frame(payload: bytes) -> bytes:
    """A whole LZ4 frame with independent blocks, as Kafka's record batches have it."""
    frame: bytes = lz4_encode(payload, LEVEL)
    return frame


def packed(plain: bytearray) -> bytearray:
    """A record batch of format v2 with its records compressed; ``plain`` itself where that is no smaller.

    Args:
        plain: A whole batch that is not compressed.
    """
    frame = lz4_frame(bytes(plain[_HEADER_BYTES:]))
    if len(frame) >= len(plain) - _HEADER_BYTES:
        return plain
    batch = plain[:_HEADER_BYTES] + frame
    base = DefaultRecordBase
    _LENGTH.pack_into(batch, 0, 0, len(batch) - base.AFTER_LEN_OFFSET)
    (attributes,) = _ATTRIBUTES.unpack_from(batch, base.ATTRIBUTES_OFFSET)
    _ATTRIBUTES.pack_into(batch, base.ATTRIBUTES_OFFSET, attributes | base.CODEC_LZ4)
    _CRC.pack_into(batch, base.CRC_OFFSET, calc_crc32c(batch[base.ATTRIBUTES_OFFSET :]))
    return batch


class Lz4Batch(BatchBuilder):  # type: ignore[misc]  # aiokafka is untyped
    """A batch as aiokafka's producers collect and send it, compressed at ``LEVEL``. Made without a codec of aiokafka's."""

    _buffer: bytearray | None

    def _build(self) -> bytearray:
        """The whole batch; aiokafka asks again when it sends again."""
        if self._buffer is None:
            self._buffer = packed(super()._build())
        return self._buffer
