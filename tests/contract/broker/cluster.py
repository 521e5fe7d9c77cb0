"""What the contract tests know of the Kafka that they run against."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import ProducerFenced
from aiokafka.protocol.api import Request, Response

from tests.eventually import eventually
from tests.visible import visible_ends

_serial = itertools.count(1)

#: Kafka's ConcurrentTransactions answers are retried after this; the default of 100 ms only makes tests slow.
RETRY_MS = 20


@dataclass
class Cluster:
    """One Kafka. Times in seconds unless the name says otherwise."""

    bootstrap: str
    #: The shortest session that the broker allows.
    session_timeout_ms: int
    #: How long the broker may take for what it does by itself: transaction timeouts, compaction.
    patience: float
    #: Ask for compaction of a topic now; brokers that do it in their own time ignore it.
    compact: Callable[[str], object]
    topics: list[str] = field(default_factory=list)

    def name(self, purpose: str) -> str:
        """A name that no other test uses, for a topic, a group or a transactional id."""
        return f"contract-{os.getpid()}-{purpose}-{next(_serial)}"

    async def topic(self, partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        """Create a topic and return its name."""
        name = self.name("topic")
        async with self.admin() as admin:
            response = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=dict(configs or {}))])
            assert response.topic_errors[0][1] == 0, response
            self.topics.append(name)

            async def known() -> bool:
                (described,) = await admin.describe_topics([name])
                return bool(described["error_code"] == 0)

            await eventually(known, 10)
        return name

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """An admin client."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    @asynccontextmanager
    async def producer(self, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
        """A producer."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, **{"retry_backoff_ms": RETRY_MS, "linger_ms": 0, **options}
        )
        asyncio.get_running_loop().set_exception_handler(_quiet_about_fencing)
        try:
            await asyncio.wait_for(producer.start(), 20)
            yield producer
        finally:
            await asyncio.wait_for(producer.stop(), 10)

    @asynccontextmanager
    async def consumer(self, *topics: str, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer that reads from the start and commits nothing by itself."""
        defaults = {
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "heartbeat_interval_ms": 100,
            "session_timeout_ms": self.session_timeout_ms,
            "retry_backoff_ms": RETRY_MS,
        }
        consumer = AIOKafkaConsumer(*topics, bootstrap_servers=self.bootstrap, **{**defaults, **options})
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Ask]:
        """Send single requests of the protocol to the only broker."""
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap)
        await client.bootstrap()

        async def ask(request: Request[Any]) -> Response:
            response: Response = await client.send(client.get_random_node(), request)
            return response

        try:
            yield ask
        finally:
            await client.close()

    async def read(self, topic: str, count: int, **options: Any) -> list[ConsumerRecord]:
        """The first ``count`` records of the topic."""
        async with self.consumer(topic, **options) as consumer:
            return [await asyncio.wait_for(consumer.getone(), 10) for _ in range(count)]

    async def read_all(self, topic: str, **options: Any) -> list[ConsumerRecord]:
        """All records of the topic's partition 0 that are visible now, proven by reaching its end."""
        partition = TopicPartition(topic, 0)
        async with self.consumer(**options) as consumer:
            consumer.assign([partition])
            ends = await visible_ends(consumer, self.bootstrap, [partition], seconds=1.0)
            return await read_to(consumer, partition, ends[partition])


def _quiet_about_fencing(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Drop the complaint about futures inside a fenced producer, which aiokafka fails and nobody can await."""
    if not isinstance(context.get("exception"), ProducerFenced):
        loop.default_exception_handler(context)


Ask = Callable[[Request[Any]], Awaitable[Response]]


async def read_to(consumer: AIOKafkaConsumer, partition: TopicPartition, end: int) -> list[ConsumerRecord]:
    """What the consumer gives until its position is ``end``; fails after 10 s."""
    found: list[ConsumerRecord] = []
    async with asyncio.timeout(10):
        while await consumer.position(partition) < end:
            records = await consumer.getmany(partition, timeout_ms=50)
            found += records.get(partition, [])
    return found
