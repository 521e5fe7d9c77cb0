"""Topics, writing and reading for the tests of the lanes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumers.group.membership import GroupOptions, Membership
from producers.connection import KafkaConnection
from producers.first_offsets import commit_first_offsets
from producers.topics import TOPICS, Topic, prefixed
from statemachine.messages.envelope import Headers
from tests.visible import visible_ends

#: Short enough for tests, long enough for a busy machine.
SESSION_MS, HEARTBEAT_MS = 6000, 300


def group_options(worker: str = "one") -> GroupOptions:
    """A member for tests."""
    return GroupOptions(worker=worker, session_timeout_ms=SESSION_MS, heartbeat_interval_ms=HEARTBEAT_MS)


async def make_topics(bootstrap: str, prefix: str, counts: dict[Topic, int], *, replication: int = 1) -> None:
    """Create topics with the settings of the contract."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics(
            [
                NewTopic(prefixed(prefix, topic), count, replication, topic_configs=TOPICS[topic].configs())
                for topic, count in counts.items()
            ]
        )
    finally:
        await admin.close()
    if Topic.DR_COMMANDS in counts:
        await commit_first_offsets(KafkaConnection(bootstrap), prefix, counts[Topic.DR_COMMANDS])


async def write(
    bootstrap: str,
    topic: str,
    records: Iterable[tuple[bytes | None, bytes | None, Headers]],
    partition: int | None = None,
) -> None:
    """Write records as any client does."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for key, value, headers in records:
            await producer.send_and_wait(topic, value, key, partition, headers=list(headers))
    finally:
        await producer.stop()


async def read_all(bootstrap: str, topic: str) -> list[ConsumerRecord]:
    """Every committed record of a topic, by partition and offset."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="none",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        numbers = sorted(await _partitions(consumer, topic))
        tps = [TopicPartition(topic, number) for number in numbers]
        consumer.assign(tps)
        ends = await visible_ends(consumer, bootstrap, tps)
        await consumer.seek_to_beginning(*tps)
        found: list[ConsumerRecord] = []
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for records in (await consumer.getmany(timeout_ms=50)).values():
                found.extend(records)
        return sorted(found, key=lambda record: (record.partition, record.offset))
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    await consumer._client.set_topics([topic])
    return set(consumer.partitions_for_topic(topic) or ())


async def until(bootstrap: str, topic: str, count: int, seconds: float = 25.0) -> list[ConsumerRecord]:
    """Read a topic until it has so many records."""
    async with asyncio.timeout(seconds):
        while True:
            found = await read_all(bootstrap, topic)
            if len(found) >= count:
                return found
            await asyncio.sleep(0.2)


@asynccontextmanager
async def running(*memberships: Membership) -> AsyncIterator[None]:
    """Members at work; at the end they leave as on SIGTERM."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(membership.run(stop)) for membership in memberships]
    try:
        yield
    finally:
        stop.set()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)
