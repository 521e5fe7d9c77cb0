"""How long the topics keep their records: changing it for topics that exist, and how far back a replay can reach."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from consumers.group.scanning import open_reader
from producers.connection import KafkaConnection, within
from producers.topic_setup import TopicState, connected_admin, largest_input
from producers.topics import ORDER_INPUTS, TOPICS, Cleanup, Retention, Topic, prefixed
from statemachine.errors import ConfigError

#: What a replay reads: the inputs, what was decided when, and the records that it compares with.
REPLAYED = (*ORDER_INPUTS, Topic.POSITIONS, Topic.ORDER_STATE_CHANGES, Topic.DR_COMMANDS)


class Alteration(msgspec.Struct, frozen=True):
    """A setting of a topic that is not what it should be."""

    topic: str
    setting: str
    #: None: the topic does not report it.
    before: str | None
    after: str


def find_alterations(found: Mapping[Topic, TopicState], prefix: str, retention: Retention) -> list[Alteration]:
    """What to set on the existing topics: how long they keep records, and room for the largest record.

    The cleanup policy is not among them: a topic with a wrong one may have lost records already.
    """
    largest = largest_input(found)
    alterations = []
    for topic, state in found.items():
        wanted = TOPICS[topic].configs(input_bytes_max=largest, retention=retention)
        for setting, value in wanted.items():
            before = state.configs.get(setting)
            grows_only = setting == "max.message.bytes" and before is not None and int(before) >= int(value)
            if setting != "cleanup.policy" and before != value and not grows_only:
                alterations.append(Alteration(prefixed(prefix, topic), setting, before, value))
    return alterations


async def alter_topics(
    connection: KafkaConnection, prefix: str, found: Mapping[Topic, TopicState], alterations: list[Alteration]
) -> None:
    """Carry the alterations out; other settings of the topics stay. Safe to repeat.

    Raises:
        ConfigError: Kafka refused one; those of the topics before it are done.
        BrokerUnavailable: Kafka cannot be reached.
    """
    seconds = connection.limits.operation_seconds
    async with connected_admin(connection) as admin:
        for topic, state in found.items():
            name = prefixed(prefix, topic)
            changed = {one.setting: one.after for one in alterations if one.topic == name}
            if not changed:
                continue
            # Kafka's AlterConfigs replaces all settings that a topic has of its own, so those are given again
            kept = {setting: state.configs[setting] for setting in state.own}
            resource = ConfigResource(ConfigResourceType.TOPIC, name, {**kept, **changed})
            (answer,) = await within(seconds, admin.alter_configs([resource]), "changing topic settings")
            for code, message, *_ in answer.resources:
                if code:
                    raise ConfigError(f"Kafka did not change topic {name}: {message or for_code(code).__name__}")


class Reach(msgspec.Struct, frozen=True):
    """How far back a replay can reach."""

    #: Everything decided since then can be decided again; None: everything since the topics were made.
    since: datetime | None
    #: The topic that has deleted records from before ``since``, and its setting; None with ``since``.
    shortened_by: str | None = None
    setting: str | None = None


async def replay_reach(
    connection: KafkaConnection, prefix: str, found: Mapping[Topic, TopicState], *, now: datetime
) -> Reach:
    """How far back a replay can reach, and which topic shortens it.

    A replay may find less: transactions of a version before position records had a history are not in it.

    Raises:
        BrokerUnavailable: Kafka cannot be reached.
    """
    limit = connection.limits.operation_seconds
    reach = Reach(None)
    async with open_reader(connection) as consumer:
        for topic in REPLAYED:
            if topic not in found:
                continue
            since = await _complete_since(consumer, prefixed(prefix, topic), found[topic], limit, now, topic)
            if since is not None and (reach.since is None or since > reach.since):
                reach = Reach(since, prefixed(prefix, topic), _setting(topic, found[topic]))
    return reach


def _setting(topic: Topic, state: TopicState) -> str:
    """The setting that decides how long the topic keeps its records, with its value."""
    name = "min.compaction.lag.ms" if TOPICS[topic].cleanup is Cleanup.COMPACT else "retention.ms"
    return f"{name}={state.configs.get(name, '')}"


async def _complete_since(
    consumer: AIOKafkaConsumer, name: str, state: TopicState, limit: float, now: datetime, topic: Topic
) -> datetime | None:
    """Since when the topic has every record, in all partitions; None when it has lost none."""
    partitions = [TopicPartition(name, number) for number in range(state.partitions)]
    begins = await within(limit, consumer.beginning_offsets(partitions), "a request for offsets")
    firsts = await within(limit, consumer.offsets_for_times(dict.fromkeys(partitions, 0)), "a request for times")
    times = {tp: None if first is None else _time(first.timestamp) for tp, first in firsts.items()}
    if TOPICS[topic].cleanup is Cleanup.COMPACT:
        # compaction leaves no trace in the first offset: what is older than its lag may be gone
        oldest = min((at for at in times.values() if at is not None), default=None)
        kept = now - timedelta(milliseconds=int(state.configs.get("min.compaction.lag.ms", "0")))
        return kept if oldest is not None and oldest < kept else None
    retention = int(state.configs.get("retention.ms", "-1"))
    all_gone = now - timedelta(milliseconds=max(retention, 0))  # retention deletes nothing that is newer
    lost = [times[tp] or all_gone for tp in partitions if begins[tp] > 0]
    return max(lost, default=None)


def _time(timestamp_ms: int) -> datetime:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
