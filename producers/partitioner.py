"""Which partition a key belongs to: murmur2, as the Java client and aiokafka compute it.

The order lane checks the key of every record with it, so it works on whole words and caches results.
Source: Apache Kafka's ``Utils.murmur2`` and ``BuiltInPartitioner.partitionForKey`` (positive hash modulo partition count).
"""

from __future__ import annotations

from functools import lru_cache
from struct import unpack_from

_SEED = 0x9747B28C
_MIX = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """MurmurHash2 of ``data`` as an unsigned 32-bit number."""
    length = len(data)
    words = length // 4
    mixed = _SEED ^ length
    for word in unpack_from(f"<{words}I", data):
        k = (word * _MIX) & _MASK
        k = ((k ^ (k >> 24)) * _MIX) & _MASK
        mixed = ((mixed * _MIX) & _MASK) ^ k
    tail = data[words * 4 :]
    if tail:
        mixed = ((mixed ^ int.from_bytes(tail, "little")) * _MIX) & _MASK
    mixed = ((mixed ^ (mixed >> 13)) * _MIX) & _MASK
    return mixed ^ (mixed >> 15)


@lru_cache(maxsize=8_192)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition, 0 to ``partitions`` - 1, that the Java client's default partitioner gives a record with this key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
