"""Whether Kafka answers, as the relay's readiness asks it."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError
from pydantic import SecretStr

from orderflow.bootstrap import serve_relay
from orderflow.embedded_kafka import EmbeddedKafka
from orderflow.settings import Settings
from producers.connection import KafkaConnection
from producers.publisher import LOOK_SHARED_SECONDS, Publisher
from producers.topic_setup import create_topics
from producers.topics import Topic
from statemachine.errors import BrokerUnavailable


async def test_a_publisher_knows_when_its_broker_has_gone() -> None:
    """A relay that cannot write must not be sent webhooks; one look takes two seconds at most."""
    broker = EmbeddedKafka()
    await broker.start()
    async with Publisher(KafkaConnection(broker.bootstrap)) as publisher:
        assert await publisher.answers()
        await broker.stop()
        await asyncio.sleep(LOOK_SHARED_SECONDS)
        assert not await publisher.answers()
    assert not await publisher.answers()


async def test_a_publisher_lives_on_when_its_new_producer_meets_a_broken_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The library lets the system's own errors through when it starts; they are a reason to try again, not to stay dead."""
    async with EmbeddedKafka() as broker:
        await create_topics(KafkaConnection(broker.bootstrap), "", partitions=1)
        async with Publisher(KafkaConnection(broker.bootstrap)) as publisher:
            await publisher.send(Topic.DR_WEBHOOKS, b"k", b"1")
            starts, again = 0, asyncio.Event()
            start = AIOKafkaProducer.start

            async def broken_once(producer: AIOKafkaProducer) -> None:
                nonlocal starts
                starts += 1
                if starts == 1:
                    raise ConnectionResetError
                again.set()
                await start(producer)

            with monkeypatch.context() as patch:
                patch.setattr(AIOKafkaProducer, "send_and_wait", _no_answer)
                patch.setattr(AIOKafkaProducer, "start", broken_once)
                with pytest.raises(BrokerUnavailable):
                    await publisher.send(Topic.DR_WEBHOOKS, b"k", b"2")
                await again.wait()
            await publisher.send(Topic.DR_WEBHOOKS, b"k", b"3")


async def _no_answer(*_: object, **__: object) -> None:
    raise KafkaTimeoutError


async def test_a_relay_takes_nothing_before_its_topic_is_made() -> None:
    """A broker that makes topics by itself would keep personal data in it for as long as it likes."""
    async with EmbeddedKafka() as broker:
        settings = Settings(kafka_bootstrap=broker.bootstrap, webhook_tokens=SecretStr(""))
        async with serve_relay(settings, 0) as url, aiohttp.ClientSession() as session:

            async def status(method: str, path: str) -> int:
                async with session.request(method, f"{url}{path}", data=b"{}" if method == "POST" else None) as answer:
                    return answer.status

            assert [await status("GET", "/readyz"), await status("POST", "/webhooks")] == [503, 503]
            await create_topics(settings.connection(), "", partitions=1)
            await asyncio.sleep(LOOK_SHARED_SECONDS)
            assert [await status("GET", "/readyz"), await status("POST", "/webhooks")] == [200, 202]
