"""Whether Kafka answers, as the relay's readiness asks it."""

from __future__ import annotations

import aiohttp
from pydantic import SecretStr

from orderflow.bootstrap import serve_relay
from orderflow.broker import EmbeddedKafka
from orderflow.settings import Settings
from producers.connection import KafkaConnection
from producers.publisher import Publisher
from producers.topic_setup import create_topics


async def test_a_publisher_knows_when_its_broker_has_gone() -> None:
    """A relay that cannot write must not be sent webhooks; one look takes two seconds at most."""
    broker = EmbeddedKafka()
    await broker.start()
    async with Publisher(KafkaConnection(broker.bootstrap)) as publisher:
        assert await publisher.answers()
        await broker.stop()
        assert not await publisher.answers()
    assert not await publisher.answers()


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
            assert [await status("GET", "/readyz"), await status("POST", "/webhooks")] == [200, 202]
