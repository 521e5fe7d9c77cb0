"""Questions whether the relay is ready cost Kafka little, and a record that is too large says nothing about the next one."""

from __future__ import annotations

import asyncio
import random

import aiohttp
import pytest
from pydantic import SecretStr

from orderflow.bootstrap import serve_relay
from orderflow.embedded_kafka import EmbeddedKafka
from orderflow.settings import Settings
from producers import publisher
from producers.connection import KafkaConnection
from producers.topic_setup import WritingTerms, create_topics, read_writing_terms

#: Passes a limit of 1 MiB for bodies, and is too large for a topic with Kafka's own limit.
TOO_LARGE = 1_048_560
POLLERS = 100


async def _status(session: aiohttp.ClientSession, method: str, url: str, body: bytes = b"") -> int:
    async with session.request(method, url, data=body) as answer:
        return answer.status


async def test_many_who_ask_whether_the_relay_is_ready_cost_kafka_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: a hundred questions at once open one look at Kafka, two at most."""
    looks = 0

    async def counted(connection: KafkaConnection, name: str) -> WritingTerms:
        nonlocal looks
        looks += 1
        return await read_writing_terms(connection, name)

    monkeypatch.setattr(publisher, "read_writing_terms", counted)
    async with EmbeddedKafka() as kafka:
        settings = Settings(kafka_bootstrap=kafka.bootstrap, webhook_tokens=SecretStr(""))
        await create_topics(settings.connection(), "", partitions=1)
        connector = aiohttp.TCPConnector(limit=0)
        async with serve_relay(settings, 0) as url, aiohttp.ClientSession(connector=connector) as session:
            answers = await asyncio.gather(*(_status(session, "GET", f"{url}/readyz") for _ in range(POLLERS)))
        assert answers == [200] * POLLERS
        assert looks <= 2  # the second one if the first answers took longer than a second


async def test_a_record_that_kafka_finds_too_large_does_not_make_the_relay_unready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Law: where Kafka does not tell its limit and refuses a size, the answer is 413 and the relay is ready at once."""

    async def untold(_: KafkaConnection, __: str) -> WritingTerms:
        return WritingTerms(None, writable=True)

    monkeypatch.setattr(publisher, "read_writing_terms", untold)
    async with EmbeddedKafka() as kafka:
        settings = Settings(kafka_bootstrap=kafka.bootstrap, webhook_tokens=SecretStr(""))
        await create_topics(settings.connection(), "", partitions=1)
        async with serve_relay(settings, 0) as url, aiohttp.ClientSession() as session:
            large = random.Random(1).randbytes(TOO_LARGE)
            assert await _status(session, "POST", f"{url}/webhooks", large) == 413
            assert await _status(session, "GET", f"{url}/readyz") == 200
            assert await _status(session, "POST", f"{url}/webhooks", b"{}") == 202
