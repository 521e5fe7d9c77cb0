"""Topics and configs through the admin client."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import CoordinatorNotAvailableError, InvalidPartitionsError

from tests.contract.broker.cluster import Cluster
from tests.eventually import eventually

UNKNOWN_TOPIC_OR_PARTITION = 3
INVALID_TOPIC = 17
TOPIC_ALREADY_EXISTS = 36
INVALID_PARTITIONS = 37
INVALID_REPLICATION_FACTOR = 38
INVALID_CONFIG = 40


async def _create(admin: AIOKafkaAdminClient, *topics: NewTopic, validate_only: bool = False) -> list[int]:
    response = await admin.create_topics(list(topics), validate_only=validate_only)
    return [each[1] for each in response.topic_errors]


async def _configs(admin: AIOKafkaAdminClient, topic: str, *names: str) -> dict[str, tuple[str, int]]:
    """(value, source) of the named configs."""
    wanted: Any = dict.fromkeys(names, "") or None
    (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, wanted)])
    error, _, _, _, entries = response.resources[0]
    assert error == 0
    return {name: (value, source) for name, value, _, source, *_ in entries}


async def test_a_topic_is_created_described_and_deleted(cluster: Cluster) -> None:
    """It has its partitions, each with a leader, is listed, and is unknown again after its deletion."""
    name = await cluster.topic(partitions=3)
    async with cluster.admin() as admin:
        assert name in await admin.list_topics()
        (described,) = await admin.describe_topics([name])
        assert sorted(each["partition"] for each in described["partitions"]) == [0, 1, 2]
        leaders = {each["leader"] for each in described["partitions"]}
        assert leaders == {each["node_id"] for each in (await admin.describe_cluster())["brokers"]}
        deleted = await admin.delete_topics([name])
        assert deleted.topic_error_codes == [(name, 0)]
        cluster.topics.remove(name)

        async def unknown() -> bool:
            return name not in await admin.list_topics()

        await eventually(unknown, 10)
        deleted = await admin.delete_topics([name])
        assert deleted.topic_error_codes == [(name, UNKNOWN_TOPIC_OR_PARTITION)]


async def test_bad_topics_are_refused_one_by_one(cluster: Cluster) -> None:
    """Each has its own code, and the good one beside them is made."""
    existing = await cluster.topic()
    good = cluster.name("topic")
    async with cluster.admin() as admin:
        codes = await _create(
            admin,
            NewTopic(good, 1, 1),
            NewTopic(existing, 1, 1),
            NewTopic("not a name", 1, 1),
            NewTopic(cluster.name("topic"), 0, 1),
            NewTopic(cluster.name("topic"), 1, 5),
            NewTopic(cluster.name("topic"), 1, 1, topic_configs={"no.such.config": "1"}),
            NewTopic(cluster.name("topic"), 1, 1, topic_configs={"cleanup.policy": "shred"}),
            NewTopic(cluster.name("topic"), 1, 1, topic_configs={"retention.ms": "soon"}),
        )
        cluster.topics.append(good)
        assert codes == [
            0,
            TOPIC_ALREADY_EXISTS,
            INVALID_TOPIC,
            INVALID_PARTITIONS,
            INVALID_REPLICATION_FACTOR,
            INVALID_CONFIG,
            INVALID_CONFIG,
            INVALID_CONFIG,
        ]


async def test_validation_only_creates_nothing(cluster: Cluster) -> None:
    """A dry run says what would happen and leaves no topic."""
    name = cluster.name("topic")
    async with cluster.admin() as admin:
        assert await _create(admin, NewTopic(name, 1, 1), validate_only=True) == [0]
        assert name not in await admin.list_topics()


async def test_configs_are_described_with_their_source(cluster: Cluster) -> None:
    """What was set comes back as set on the topic (1), the rest as default (5)."""
    topic = await cluster.topic(configs={"cleanup.policy": "compact", "max.message.bytes": "2097152"})
    async with cluster.admin() as admin:
        found = await _configs(admin, topic, "cleanup.policy", "max.message.bytes", "delete.retention.ms")
        assert found == {
            "cleanup.policy": ("compact", 1),
            "max.message.bytes": ("2097152", 1),
            "delete.retention.ms": ("86400000", 5),
        }
        everything = await _configs(admin, topic)
        assert everything["retention.ms"] == ("604800000", 5)
        assert everything["max.message.bytes"] == ("2097152", 1)


async def test_altering_configs_replaces_all_of_them(cluster: Cluster) -> None:
    """What is not given again falls back to its default, and a bad value changes nothing."""
    topic = await cluster.topic(configs={"retention.ms": "1000000", "max.message.bytes": "1000"})
    async with cluster.admin() as admin:

        async def alter(**configs: str) -> int:
            values = {name.replace("_", "."): value for name, value in configs.items()}
            (response,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, values)])
            code: int = response.resources[0][0]
            return code

        assert await alter(retention_ms="2000000") == 0

        async def altered() -> bool:
            found = await _configs(admin, topic, "retention.ms", "max.message.bytes")
            return found == {"retention.ms": ("2000000", 1), "max.message.bytes": ("1048588", 5)}

        await eventually(altered, 5)
        assert await alter(retention_ms="-5") == INVALID_CONFIG
        assert await altered()


async def test_partitions_can_be_added_and_not_taken_away(cluster: Cluster) -> None:
    """The new ones take records at once; fewer than there are is refused."""
    topic = await cluster.topic()
    async with cluster.admin() as admin:
        grown = await admin.create_partitions({topic: NewPartitions(3)})
        assert grown.topic_errors[0][1] == 0

        async def three() -> bool:
            (described,) = await admin.describe_topics([topic])
            return len(described["partitions"]) == 3

        await eventually(three, 5)
        with pytest.raises(InvalidPartitionsError):
            await admin.create_partitions({topic: NewPartitions(2)})
    async with cluster.producer() as producer:
        assert (await producer.send_and_wait(topic, b"x", partition=2)).offset == 0


@pytest.mark.parametrize("kind", [0, 1], ids=["group", "transaction"])
async def test_every_coordinator_is_found(cluster: Cluster, kind: int) -> None:
    """A single broker coordinates everything."""
    async with cluster.admin() as admin:
        (broker,) = (await admin.describe_cluster())["brokers"]

        async def found() -> bool:
            # Apache Kafka makes the topics of its coordinators when somebody asks for the first one.
            try:
                return bool(await admin.find_coordinator(cluster.name("any"), kind) == broker["node_id"])
            except CoordinatorNotAvailableError:
                return False

        await eventually(found, 10)
