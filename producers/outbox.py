"""The records of one transaction, grouped by topic and partition as they are added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from producers.partitioner import partition_of

HeaderList = Sequence[tuple[str, bytes | None]]


class OutboundRecord(NamedTuple):
    """A record to write. ``value`` None is a tombstone."""

    key: bytes | None
    value: bytes | None
    headers: HeaderList = ()


class Outbox:
    """The records that one batch writes, with the partition count of each topic and the lane's own partition.

    Keys of the lane's orders hash to its own partition, so for a topic with the same count no hash is computed.
    """

    __slots__ = ("_counts", "_home", "_home_count", "batches", "count")

    def __init__(self, counts: Mapping[str, int], *, home: int, home_count: int) -> None:
        self._counts = counts
        self._home = home
        self._home_count = home_count
        self.batches: dict[tuple[str, int], list[OutboundRecord]] = {}
        self.count = 0

    def add(self, topic: str, key: bytes, value: bytes | None, headers: HeaderList = ()) -> None:
        """Add a record whose key hashes to the lane's own partition."""
        count = self._counts[topic]
        partition = self._home if count == self._home_count else partition_of(key, count)
        self.add_to(topic, partition, OutboundRecord(key, value, headers))

    def add_foreign(self, topic: str, key: bytes | None, value: bytes | None, headers: HeaderList = ()) -> None:
        """Add a record with any key, or none: without a key its partition is the lane's own, modulo the topic's count."""
        count = self._counts[topic]
        partition = self._home % count if key is None else partition_of(key, count)
        self.add_to(topic, partition, OutboundRecord(key, value, headers))

    def add_to(self, topic: str, partition: int, record: OutboundRecord) -> None:
        """Add a record to a partition that the caller knows."""
        self.count += 1
        self.batches.setdefault((topic, partition), []).append(record)
