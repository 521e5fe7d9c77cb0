"""Committed offsets of all groups, and those that wait for their transaction to end."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from orderflow.embedded_kafka.log.topics import Topics
from orderflow.embedded_kafka.protocol.codes import Code, KafkaApiError

#: Kafka's offset.metadata.max.bytes.
METADATA_BYTES_MAX = 4096
UNKNOWN_OFFSET = -1
Partition: TypeAlias = tuple[str, int]


class Committed(NamedTuple):
    """The next offset to read, and the committer's own words."""

    offset: int
    metadata: str


NEVER = Committed(UNKNOWN_OFFSET, "")


class Offsets:
    """Committed offsets by group and partition."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._committed: dict[str, dict[Partition, Committed]] = {}
        self._pending: dict[tuple[int, str], dict[Partition, Committed]] = {}

    def groups(self) -> list[str]:
        """Ids of the groups that committed anything."""
        return list(self._committed)

    def committed(self, group_id: str, topic: str, partition: int) -> Committed:
        """The group's offset, or ``NEVER``; what a transaction still holds is not seen."""
        return self._committed.get(group_id, {}).get((topic, partition), NEVER)

    def committed_partitions(self, group_id: str) -> list[tuple[str, list[int]]]:
        """All partitions that the group has an offset for, by topic."""
        by_topic: dict[str, list[int]] = {}
        for topic, partition in sorted(self._committed.get(group_id, {})):
            by_topic.setdefault(topic, []).append(partition)
        return list(by_topic.items())

    def commit(self, group_id: str, topic: str, partition: int, offset: int, metadata: str | None) -> Code:
        """Commit at once."""
        code = self._check(topic, partition, metadata)
        if code is Code.NONE:
            self._committed.setdefault(group_id, {})[topic, partition] = Committed(offset, metadata or "")
        return code

    def commit_later(
        self, producer_id: int, group_id: str, topic: str, partition: int, offset: int, metadata: str | None
    ) -> Code:
        """Commit when the producer's transaction commits."""
        code = self._check(topic, partition, metadata)
        if code is Code.NONE:
            pending = self._pending.setdefault((producer_id, group_id), {})
            pending[topic, partition] = Committed(offset, metadata or "")
        return code

    def end_transaction(self, producer_id: int, group_id: str, *, committed: bool) -> None:
        """Make the producer's pending offsets of the group real, or forget them."""
        pending = self._pending.pop((producer_id, group_id), {})
        if committed and pending:
            self._committed.setdefault(group_id, {}).update(pending)

    def forget_topic(self, topic: str) -> None:
        """Drop the offsets of a deleted topic: a new one of that name begins anew."""
        for offsets in [*self._committed.values(), *self._pending.values()]:
            for partition in [each for each in offsets if each[0] == topic]:
                del offsets[partition]

    def _check(self, topic: str, partition: int, metadata: str | None) -> Code:
        try:
            self._topics.log(topic, partition)
        except KafkaApiError as refused:
            return refused.code
        if metadata is not None and len(metadata.encode()) > METADATA_BYTES_MAX:
            return Code.OFFSET_METADATA_TOO_LARGE
        return Code.NONE
