"""Topic configs: defaults, what is parsed, what is refused."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from orderflow.embedded_kafka.log.configs import DEFAULTS, TopicConfig
from orderflow.embedded_kafka.protocol.codes import Code, KafkaApiError


def test_the_defaults_are_kafkas() -> None:
    """A topic without configs deletes after a week and takes batches of a MiB and a little."""
    config = TopicConfig({})
    assert (config.deleted, config.compacted) == (True, False)
    assert (config.retention_ms, config.max_message_bytes) == (604_800_000, 1_048_588)
    assert config.given == {}


def test_every_default_is_a_legal_value() -> None:
    """Giving each config its default changes nothing."""
    assert TopicConfig(dict(DEFAULTS)).max_message_bytes == TopicConfig({}).max_message_bytes


def test_a_topic_may_be_compacted_and_deleted() -> None:
    """Both policies can be named, with spaces."""
    config = TopicConfig({"cleanup.policy": "compact, delete"})
    assert (config.deleted, config.compacted) == (True, True)


@pytest.mark.parametrize(
    "configs",
    [
        {"no.such.config": "1"},
        {"cleanup.policy": "shred"},
        {"cleanup.policy": ""},
        {"retention.ms": "soon"},
        {"retention.ms": "-2"},
        {"max.message.bytes": None},
        {"min.insync.replicas": "0"},
        {"min.cleanable.dirty.ratio": "2"},
        {"min.cleanable.dirty.ratio": "half"},
        {"compression.type": "brotli"},
        {"message.timestamp.type": "LogAppendTime"},
    ],
)
def test_a_bad_config_is_refused(configs: Mapping[str, str | None]) -> None:
    """Unknown names and impossible values are INVALID_CONFIG, as is LogAppendTime, which this broker does not do."""
    with pytest.raises(KafkaApiError) as refused:
        TopicConfig(configs)
    assert refused.value.code is Code.INVALID_CONFIG
