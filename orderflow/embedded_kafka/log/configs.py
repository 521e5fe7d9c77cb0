"""Topic configs: which names exist, their defaults, which values they take.

Names and defaults are those of Apache Kafka 4.3. The broker acts on those in ``ACTED_ON`` and accepts and returns the
others, so that topic definitions for production can be used here unchanged; a name that Kafka does not have is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from orderflow.embedded_kafka.protocol.codes import Code, KafkaApiError

_MAX_LONG = str(2**63 - 1)

ACTED_ON: Mapping[str, str] = {
    "cleanup.policy": "delete",
    "delete.retention.ms": "86400000",
    "max.message.bytes": "1048588",
    "message.timestamp.after.max.ms": "3600000",
    "min.cleanable.dirty.ratio": "0.5",
    "min.compaction.lag.ms": "0",
    "min.insync.replicas": "1",
    "retention.ms": "604800000",
}

DEFAULTS: Mapping[str, str] = {
    **ACTED_ON,
    "compression.gzip.level": "-1",
    "compression.lz4.level": "9",
    "compression.type": "producer",
    "compression.zstd.level": "3",
    "file.delete.delay.ms": "60000",
    "flush.messages": _MAX_LONG,
    "flush.ms": _MAX_LONG,
    "follower.replication.throttled.replicas": "",
    "index.interval.bytes": "4096",
    "leader.replication.throttled.replicas": "",
    "max.compaction.lag.ms": _MAX_LONG,
    "message.timestamp.before.max.ms": _MAX_LONG,
    "message.timestamp.type": "CreateTime",
    "preallocate": "false",
    "retention.bytes": "-1",
    "segment.bytes": "1073741824",
    "segment.index.bytes": "10485760",
    "segment.jitter.ms": "0",
    "segment.ms": "604800000",
    "unclean.leader.election.enable": "false",
}

_LEAST: Mapping[str, int] = {
    "delete.retention.ms": 0,
    "max.message.bytes": 0,
    "message.timestamp.after.max.ms": 0,
    "min.compaction.lag.ms": 0,
    "min.insync.replicas": 1,
    "retention.bytes": -1,
    "retention.ms": -1,
    "segment.bytes": 1024 * 1024,
    "segment.ms": 1,
}
_WORDS: Mapping[str, frozenset[str]] = {
    "compression.type": frozenset({"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}),
    # LogAppendTime would need every batch to be written anew; nothing of ours uses it.
    "message.timestamp.type": frozenset({"CreateTime"}),
}
_POLICIES = frozenset({"compact", "delete"})


class TopicConfig:
    """The configs of one topic: what was set, and the values that the broker acts on, parsed."""

    def __init__(self, given: Mapping[str, str | None]) -> None:
        """Check and parse.

        Raises:
            KafkaApiError: INVALID_CONFIG for a name or a value that Kafka would refuse.
        """
        self.given: dict[str, str] = {}
        for name, value in given.items():
            if name not in DEFAULTS:
                raise KafkaApiError(Code.INVALID_CONFIG, f"Unknown topic config name: {name}")
            if value is None:
                raise KafkaApiError(Code.INVALID_CONFIG, f"Null value not supported for topic configs: {name}")
            self.given[name] = value
        self.compacted = "compact" in self._policies()
        self.deleted = "delete" in self._policies()
        for name, words in _WORDS.items():
            if self.value(name) not in words:
                raise KafkaApiError(Code.INVALID_CONFIG, f"Invalid value {self.value(name)} for configuration {name}")
        for name in _LEAST:
            self._integer(name)
        self.max_message_bytes = self._integer("max.message.bytes")
        self.retention_ms = self._integer("retention.ms")
        self.delete_retention_ms = self._integer("delete.retention.ms")
        self.timestamp_after_max_ms = self._integer("message.timestamp.after.max.ms")
        self.min_insync_replicas = self._integer("min.insync.replicas")
        self.compaction_lag_ms = self._integer("min.compaction.lag.ms")
        self.min_dirty_ratio = self._ratio("min.cleanable.dirty.ratio")

    def value(self, name: str) -> str:
        """What was set for the topic, else the default."""
        return self.given.get(name, DEFAULTS[name])

    def _policies(self) -> frozenset[str]:
        policies = frozenset(part.strip() for part in self.value("cleanup.policy").split(","))
        if not policies <= _POLICIES:
            raise KafkaApiError(Code.INVALID_CONFIG, "Invalid value for configuration cleanup.policy")
        return policies

    def _integer(self, name: str) -> int:
        try:
            number = int(self.value(name))
        except ValueError:
            raise KafkaApiError(Code.INVALID_CONFIG, f"Not a number of type INT for configuration {name}") from None
        if number < _LEAST[name]:
            raise KafkaApiError(Code.INVALID_CONFIG, f"Value must be at least {_LEAST[name]} for configuration {name}")
        return number

    def _ratio(self, name: str) -> float:
        try:
            number = float(self.value(name))
        except ValueError:
            raise KafkaApiError(Code.INVALID_CONFIG, f"Not a number of type DOUBLE for configuration {name}") from None
        if not 0 <= number <= 1:
            raise KafkaApiError(Code.INVALID_CONFIG, f"Value must be between 0 and 1 for configuration {name}")
        return number
