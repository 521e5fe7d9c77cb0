"""What producers and changelog readers of many partitions share, on the embedded Kafka: so that 400 of them start in seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata

from consumers.ownership import changelog
from consumers.ownership.changelog import ChangelogReader, ReadRecord
from orderflow.embedded_kafka import EmbeddedKafka
from producers.connection import KafkaConnection
from producers.shared_metadata import SHARED_SECONDS, SharedMetadata
from producers.topic_setup import create_topics
from producers.transaction import TransactionalProducer
from statemachine.errors import UnreadableTable
from tests.eventually import eventually

PARTITIONS = 4
TOPICS = ("orders", "order-state-changes", "dr-commands")


@pytest.fixture
async def connection() -> AsyncIterator[KafkaConnection]:
    """All topics, and in partition p of ``orders`` the record p."""
    async with EmbeddedKafka() as kafka:
        made = KafkaConnection(kafka.bootstrap)
        await create_topics(made, "", partitions=PARTITIONS)
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for number in range(PARTITIONS):
                await producer.send_and_wait("orders", b"v", str(number).encode(), number)
        yield made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many topics each request for metadata was about."""
    found: list[int] = []
    ask = AIOKafkaClient._metadata_update

    async def noted(client: Any, cluster: ClusterMetadata, topics: Collection[str]) -> Any:
        found.append(len(topics))
        return await ask(client, cluster, topics)

    monkeypatch.setattr(AIOKafkaClient, "_metadata_update", noted)
    return found


async def test_producers_that_start_one_after_the_other_ask_once_for_metadata(
    connection: KafkaConnection, asked: list[int]
) -> None:
    """Law: the partitions of all topics are asked for once, in one request; a producer that lost requests asks anew."""
    producers = [
        TransactionalProducer(connection, group="g", partition=number, topics=TOPICS) for number in range(PARTITIONS)
    ]
    for producer in producers:
        await producer.start()
    assert asked == [len(TOPICS)]
    counts = {"orders": PARTITIONS, "order-state-changes": PARTITIONS, "dr-commands": PARTITIONS}
    assert [producer.counts for producer in producers] == [counts] * PARTITIONS
    watch = producers[0]._watch
    assert watch is not None
    watch.unanswered = 1
    await producers[0].renew()
    assert asked == [len(TOPICS)] * 2
    for producer in producers:
        await producer.close()


async def test_what_is_asked_for_again_or_later_or_of_other_topics_comes_from_kafka(
    connection: KafkaConnection, asked: list[int]
) -> None:
    """Law: only the first metadata of a producer is shared, and for a moment only."""
    now = 0.0
    shared = SharedMetadata(lambda: now)

    async def load(topics: tuple[str, ...]) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(bootstrap_servers=connection.bootstrap_servers)
        await producer.start()
        await shared.load(producer, topics, fresh=False)
        return producer

    first = await load(TOPICS)
    second = await load(TOPICS)
    assert len(asked) == 1
    await second.client.force_metadata_update()
    assert len(asked) == 2
    others = await load(TOPICS[:2])
    assert len(asked) == 3
    await others.stop()
    others = await load(TOPICS[:2])
    now += SHARED_SECONDS
    later = await load(TOPICS[:2])
    assert len(asked) == 4
    assert later.client.cluster.partitions_for_topic("orders") == set(range(PARTITIONS))
    for producer in (first, second, others, later):
        await producer.stop()


async def test_one_reader_reads_the_changelogs_of_many_partitions(
    connection: KafkaConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: each partition's own records, with one connection for all of them; after an error it is not used again."""
    monkeypatch.setattr(changelog, "_KEPT_SECONDS", 0.1)
    started: list[AIOKafkaConsumer] = []
    start = AIOKafkaConsumer.start

    async def noted(consumer: AIOKafkaConsumer) -> None:
        started.append(consumer)
        await start(consumer)

    monkeypatch.setattr(AIOKafkaConsumer, "start", noted)
    reader = ChangelogReader(connection)
    for _ in range(2):
        for number in range(PARTITIONS):
            keys: list[bytes | None] = []
            end = await reader.read_all(TopicPartition("orders", number), lambda read, to=keys: to.append(read.key))  # type: ignore[misc]
            assert (keys, end) == ([str(number).encode()], 1)
            assert await reader.last_value(TopicPartition("orders", number)) == b"v"
    assert len(started) == 2  # one for records, one for offsets

    def refuse(_: ReadRecord) -> None:
        raise UnreadableTable("no")

    with pytest.raises(UnreadableTable):
        await reader.read_all(TopicPartition("orders", 0), refuse)
    assert await reader.last_value(TopicPartition("orders", 0)) == b"v"
    assert len(started) == 3
    await eventually(lambda: started[2]._closed)  # nobody has read for a while
    assert await reader.last_value(TopicPartition("orders", 1)) == b"v"
    await reader.close()
    assert [consumer._closed for consumer in started] == [True] * 4
