"""Whether Kafka answers, as the relay's readiness asks it."""

from __future__ import annotations

from orderflow.broker import EmbeddedKafka
from producers.connection import KafkaConnection
from producers.publisher import Publisher


async def test_a_publisher_knows_when_its_broker_has_gone() -> None:
    """A relay that cannot write must not be sent webhooks; one look takes two seconds at most."""
    broker = EmbeddedKafka()
    await broker.start()
    async with Publisher(KafkaConnection(broker.bootstrap)) as publisher:
        assert await publisher.answers()
        await broker.stop()
        assert not await publisher.answers()
    assert not await publisher.answers()
