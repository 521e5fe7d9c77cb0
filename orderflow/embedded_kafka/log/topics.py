"""The topics of the broker: names, partitions, configs, retention and compaction by themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from orderflow.embedded_kafka.log.compaction import cleanable, compact
from orderflow.embedded_kafka.log.configs import TopicConfig
from orderflow.embedded_kafka.log.log import PartitionLog
from orderflow.embedded_kafka.protocol.codes import Code, KafkaApiError

#: Seconds since the epoch.
Clock: TypeAlias = Callable[[], float]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
#: Kafka looks for expired segments every ``log.retention.check.interval.ms`` = 5 min.
RETENTION_CHECK_SECONDS = 300.0
#: A compacted partition is left alone until this much was added: a pass reads every record.
DIRTY_BYTES_MIN = 1024 * 1024


class Topic:
    """One topic and its partitions."""

    def __init__(self, name: str, partitions: int, config: TopicConfig, now: float) -> None:
        self.name = name
        self.config = config
        self.partitions = [PartitionLog(name, number) for number in range(partitions)]
        self.retention_checked = now

    def add_partitions(self, total: int) -> None:
        """Grow to ``total`` partitions."""
        self.partitions += [PartitionLog(self.name, number) for number in range(len(self.partitions), total)]


class Topics:
    """All topics by name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._topics: dict[str, Topic] = {}

    def names(self) -> list[str]:
        """All names, in order."""
        return sorted(self._topics)

    def get(self, name: str) -> Topic | None:
        """The topic, or None."""
        return self._topics.get(name)

    def topic(self, name: str) -> Topic:
        """The topic.

        Raises:
            KafkaApiError: the topic does not exist.
        """
        topic = self._topics.get(name)
        if topic is None:
            raise KafkaApiError(Code.UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition.")
        return topic

    def log(self, name: str, partition: int) -> PartitionLog:
        """The partition's log, expired records gone.

        Raises:
            KafkaApiError: the partition does not exist.
        """
        topic = self.topic(name)
        if not 0 <= partition < len(topic.partitions):
            raise KafkaApiError(Code.UNKNOWN_TOPIC_OR_PARTITION)
        self._expire(topic)
        return topic.partitions[partition]

    def create(self, name: str, partitions: int, configs: Mapping[str, str | None], *, dry_run: bool = False) -> Topic:
        """Make a topic.

        Raises:
            KafkaApiError: bad name, count or config, or the topic exists.
        """
        check_name(name)
        if name in self._topics:
            raise KafkaApiError(Code.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists.")
        if partitions < 1:
            raise KafkaApiError(
                Code.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value."
            )
        topic = Topic(name, partitions, TopicConfig(configs), self._clock())
        if not dry_run:
            self._topics[name] = topic
        return topic

    def delete(self, name: str) -> None:
        """Drop a topic and everything in it; waiting readers are woken.

        Raises:
            KafkaApiError: the topic does not exist.
        """
        topic = self.topic(name)
        del self._topics[name]
        for log in topic.partitions:
            log.notify()

    def compact(self, topic: Topic) -> int:
        """Compact every partition now, however young its records are, and return how many went."""
        now_ms = self._clock() * 1000
        return sum(compact(log, now_ms, topic.config.delete_retention_ms) for log in topic.partitions)

    def compact_when_grown(self, topic: Topic, log: PartitionLog) -> None:
        """Compact a partition that is dirty beyond its topic's ratio, as Kafka's log cleaner chooses."""
        if not topic.config.compacted or log.dirty_bytes < DIRTY_BYTES_MIN:
            return
        config, now_ms = topic.config, self._clock() * 1000
        clean, size = log.size_bytes - log.dirty_bytes, log.size_bytes
        if config.compaction_lag_ms:
            size = sum(len(one.data) for one in cleanable(log, now_ms, config.compaction_lag_ms))
        if size - clean >= max(DIRTY_BYTES_MIN, size * config.min_dirty_ratio):
            compact(log, now_ms, config.delete_retention_ms, config.compaction_lag_ms)

    def _expire(self, topic: Topic) -> None:
        """Drop whole batches past retention.ms, looked at lazily and as rarely as Kafka looks."""
        now = self._clock()
        if not topic.config.deleted or topic.config.retention_ms < 0:
            return
        if now - topic.retention_checked < RETENTION_CHECK_SECONDS:
            return
        topic.retention_checked = now
        oldest_kept = now * 1000 - topic.config.retention_ms
        for log in topic.partitions:
            offset = log.start
            for batch in log.batches:
                if batch.max_timestamp >= oldest_kept or batch.last_offset >= log.stable_end:
                    break
                offset = batch.last_offset + 1
            if offset > log.start:
                log.delete_before(offset)


def check_name(name: str) -> None:
    """Refuse a topic name that Kafka would not take.

    Raises:
        KafkaApiError: INVALID_TOPIC_EXCEPTION.
    """
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise KafkaApiError(Code.INVALID_TOPIC_EXCEPTION, f"Topic name is invalid: {name!r}")
