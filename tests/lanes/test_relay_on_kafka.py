"""What is written without a transaction: a failure costs the record that met it, and nothing after it."""

from __future__ import annotations

import asyncio
import bisect
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from pydantic import SecretStr

from orderflow.bootstrap import serve_relay
from orderflow.settings import Settings
from producers.connection import KafkaConnection
from producers.packing.sizes import batch_bytes
from producers.publisher import Publisher
from producers.topic_setup import WritingTerms, create_topics
from producers.topics import INPUT_BYTES_MAX, Topic, prefixed
from statemachine.errors import BrokerUnavailable, RecordTooLarge
from tests.kafka.server import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

#: Passes a limit of 1 MiB for bodies, and is too large for a topic with Kafka's own limit.
TOO_LARGE = 1_048_560


def noise(size: int) -> bytes:
    """Bytes that no compression makes smaller."""
    return random.Random(size).randbytes(size)


class Relay:
    """A served relay, as Digital River and an orchestrator see it."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def post(self, body: bytes) -> int:
        """The status of the answer to a webhook."""
        async with self._session.post(f"{self._url}/webhooks", data=body) as answer:
            return answer.status

    async def takes(self, body: bytes, seconds: float = 30.0) -> bool:
        """Whether a webhook is taken when it is sent again and again, as Digital River does."""
        for _ in range(int(seconds / 0.2)):
            if await self.post(body) == 202:
                return True
            await asyncio.sleep(0.2)
        return False

    async def readiness(self) -> int:
        """The status of ``/readyz``."""
        async with self._session.get(f"{self._url}/readyz") as answer:
            return answer.status

    async def becomes(self, status: int, seconds: float = 30.0) -> bool:
        """Whether ``/readyz`` answers so within ``seconds``."""
        for _ in range(int(seconds / 0.2)):
            if await self.readiness() == status:
                return True
            await asyncio.sleep(0.2)
        return False


@asynccontextmanager
async def served(bootstrap: str, prefix: str = "") -> AsyncIterator[Relay]:
    """A relay that checks no signatures, over topics of one partition: what is wrong with that one is wrong for all."""
    settings = Settings(kafka_bootstrap=bootstrap, topic_prefix=prefix, webhook_tokens=SecretStr(""))
    await create_topics(settings.connection(), prefix, partitions=1)
    async with serve_relay(settings, 0) as url, aiohttp.ClientSession() as session:
        yield Relay(url, session)


async def configure(bootstrap: str, topic: str, **configs: str) -> None:
    """Set settings of a topic, with ``_`` for the dots of their names."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        named = {name.replace("_", "."): value for name, value in configs.items()}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, named)])
    finally:
        await admin.close()


async def lower_limit(bootstrap: str, topic: str) -> None:
    """Let the topic take 20,000 bytes at most, and wait until the broker goes by it."""
    await configure(bootstrap, topic, max_message_bytes="20000")
    for _ in range(100):
        try:
            async with Publisher(KafkaConnection(bootstrap)) as publisher:
                publisher._terms[topic] = (WritingTerms(), float("inf"))  # asks Kafka, not itself
                await publisher.send(topic, None, noise(30_000))
        except RecordTooLarge:
            return
        await asyncio.sleep(0.1)
    pytest.fail("the broker does not go by the new limit")


async def test_a_webhook_that_is_too_large_is_refused_and_costs_no_other(apache_kafka: str, prefix: str) -> None:
    """Law: 413 for what the topic does not take, 202 for what comes after it, and the relay stays ready."""
    async with served(apache_kafka, prefix) as relay:
        assert await relay.post(b'{"id":"before"}') == 202
        assert await relay.post(noise(TOO_LARGE)) == 413
        assert await relay.post(b'{"id":"after"}') == 202
        assert await relay.readiness() == 200


async def test_a_large_webhook_that_compresses_is_taken(apache_kafka: str, prefix: str) -> None:
    """Law: what counts is what the topic is given, in the compression that is used."""
    async with served(apache_kafka, prefix) as relay:
        assert await relay.post(b'{"id":"' + b"x" * TOO_LARGE + b'"}') == 202


async def test_a_record_that_kafka_itself_refuses_costs_no_other(apache_kafka: str, prefix: str) -> None:
    """Law: a producer that met a refusal is replaced; a limit that was lowered under the relay is known at the second attempt."""
    topic = prefixed(prefix, Topic.DR_WEBHOOKS)
    async with served(apache_kafka, prefix) as relay:
        assert await relay.post(noise(17_000)) == 202  # large enough for the limit to be asked for
        await lower_limit(apache_kafka, topic)
        assert await relay.post(noise(30_000)) == 503
        assert await relay.post(b'{"id":"after"}') == 202
        assert await relay.readiness() == 200
        assert await relay.post(noise(30_000)) == 413


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_the_largest_record_is_taken_and_one_byte_more_is_refused_before_it_is_sent(
    apache_kafka: str, prefix: str, compression: str | None
) -> None:
    """Law: the size that is checked is the size that Kafka checks, headers and framing counted."""
    connection = KafkaConnection(apache_kafka, compression_type=compression)
    await create_topics(connection, prefix, partitions=1)
    topic = prefixed(prefix, Topic.ORDER_EVENTS)
    headers = (("DigitalRiver-Signature", b"x" * 300), ("n", None))
    whole = noise(INPUT_BYTES_MAX)

    def size(length: int) -> int:
        return batch_bytes(b"A-1", whole[:length], headers, compression)

    length = bisect.bisect_right(range(INPUT_BYTES_MAX), INPUT_BYTES_MAX, INPUT_BYTES_MAX - 2000, key=size) - 1
    assert size(length) <= INPUT_BYTES_MAX < size(length + 1)
    fitting = whole[:length]
    async with Publisher(connection) as publisher:
        assert await publisher.send(topic, b"A-1", fitting, headers) == 0
        producer = publisher._producer
        with pytest.raises(RecordTooLarge):
            await publisher.send(topic, b"A-1", whole[: length + 1], headers)
        assert await publisher.send(topic, b"A-1", b"{}") == 1
        assert publisher._producer is producer


async def test_records_beside_one_that_fails_are_not_lost_silently(apache_kafka: str, prefix: str) -> None:
    """Law: each of many concurrent writes is acknowledged or raises; what was acknowledged is in the topic."""
    connection = KafkaConnection(apache_kafka)
    await create_topics(connection, prefix, partitions=1)
    topic = prefixed(prefix, Topic.ORDER_EVENTS)
    async with Publisher(connection) as publisher:
        await publisher.send(topic, b"A", noise(17_000))  # large enough for the limit to be asked for
        await lower_limit(apache_kafka, topic)
        writes = [publisher.send(topic, b"A", noise(30_000) if n == 20 else b"{}") for n in range(40)]
        results = await asyncio.gather(*writes, return_exceptions=True)
        assert all(isinstance(one, int | BrokerUnavailable | RecordTooLarge) for one in results)
        acknowledged = [one for one in results if isinstance(one, int)]
        assert not isinstance(results[20], int)
        assert len(set(acknowledged)) == len(acknowledged)
        last = await publisher.send(topic, b"A", b"{}")
        assert last > max(acknowledged, default=0)


async def test_readiness_follows_a_broker_that_goes_and_comes_back(own_kafka: KafkaServer) -> None:
    """Law: 503 while nothing can be written, 200 again by itself, and webhooks are taken again."""
    async with served(own_kafka.bootstrap) as relay:
        assert await relay.takes(b'{"id":"before"}')
        assert await relay.becomes(200)
        await asyncio.to_thread(own_kafka.kill)
        assert await relay.becomes(503, seconds=2)
        assert await relay.post(b'{"id":"meanwhile"}') == 503
        await asyncio.to_thread(own_kafka.restart)
        assert await relay.becomes(200)
        assert await relay.takes(b'{"id":"after"}')


async def test_readiness_fails_while_too_few_replicas_are_in_sync(apache_kafka: str, prefix: str) -> None:
    """Law: a broker that answers and takes no write is not ready, before any webhook finds out."""
    topic = prefixed(prefix, Topic.DR_WEBHOOKS)
    async with served(apache_kafka, prefix) as relay:
        assert await relay.readiness() == 200
        await configure(apache_kafka, topic, min_insync_replicas="2")
        assert await relay.becomes(503, seconds=2)
        await configure(apache_kafka, topic, min_insync_replicas="1")
        assert await relay.becomes(200)
        assert await relay.post(b'{"id":"after"}') == 202
