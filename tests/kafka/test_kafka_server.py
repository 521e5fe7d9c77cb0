"""The broker that other tests rely on does what they think it does."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.kafka.fixtures import KafkaChoice
from tests.kafka.server import KafkaServer, Unavailable

pytestmark = pytest.mark.kafka


async def _make_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()


async def _write(bootstrap: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{topic}-0", request_timeout_ms=5000)
    async with asyncio.timeout(25):
        await producer.start()
        try:
            async with producer.transaction():
                await producer.send_and_wait(topic, value)
        finally:
            await producer.stop()


async def _read(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    async with asyncio.timeout(25):
        await consumer.start()
        try:
            return [(await consumer.getone()).value for _ in range(count)]
        finally:
            await consumer.stop()


async def test_a_committed_record_is_read_back(apache_kafka: str, prefix: str) -> None:
    """The shared broker carries transactions."""
    topic = f"{prefix}echo"
    await _make_topic(apache_kafka, topic)
    await _write(apache_kafka, topic, b"here")
    assert await _read(apache_kafka, topic, 1) == [b"here"]


@pytest.mark.chaos
@pytest.mark.timeout(120)
async def test_a_killed_broker_comes_back_at_its_address_with_its_records(own_kafka: KafkaServer, prefix: str) -> None:
    """Kill and restart keep address and data."""
    topic, bootstrap = f"{prefix}kept", own_kafka.bootstrap
    await _make_topic(bootstrap, topic)
    await _write(bootstrap, topic, b"before")
    await asyncio.to_thread(own_kafka.kill)
    host, _, port = bootstrap.rpartition(":")
    with pytest.raises(OSError):  # which errno depends on how the port is forwarded
        await asyncio.open_connection(host, int(port))
    await asyncio.to_thread(own_kafka.restart)
    assert own_kafka.bootstrap == bootstrap
    await _write(bootstrap, topic, b"after")
    assert await _read(bootstrap, topic, 2) == [b"before", b"after"]


@pytest.mark.chaos
@pytest.mark.timeout(120)
async def test_a_paused_broker_answers_nothing_until_it_goes_on(own_kafka: KafkaServer, prefix: str) -> None:
    """Pause freezes requests, unpause lets them end."""
    topic, bootstrap = f"{prefix}frozen", own_kafka.bootstrap
    await _make_topic(bootstrap, topic)
    await asyncio.to_thread(own_kafka.pause)
    began = time.monotonic()
    writing = asyncio.ensure_future(_write(bootstrap, topic, b"late"))
    done, _ = await asyncio.wait([writing], timeout=1.5)
    await asyncio.to_thread(own_kafka.unpause)
    if not done:
        await asyncio.wait([writing])
    if writing.exception() is not None:  # the client may have given up at its own limit; the broker must be well again
        await _write(bootstrap, topic, b"late")
    assert not done
    assert time.monotonic() - began >= 1.5
    assert (await _read(bootstrap, topic, 1)) == [b"late"]


def test_without_any_kafka_each_reason_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without Kafka says what is missing for each way to one."""
    monkeypatch.delenv("ORDERFLOW_TEST_KAFKA", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"container: no Docker engine answers.*; jars: no Java"):
        KafkaChoice().start_one()


@pytest.mark.parametrize(("required", "outcome"), [("1", pytest.fail.Exception), ("0", pytest.skip.Exception)])
def test_a_missing_kafka_fails_where_it_is_required_and_skips_elsewhere(
    monkeypatch: pytest.MonkeyPatch, required: str, outcome: type[BaseException]
) -> None:
    """CI never skips."""
    monkeypatch.setenv("ORDERFLOW_REQUIRE_KAFKA", required)
    with pytest.raises(outcome, match="no Java"):
        KafkaChoice().give_up(Unavailable("jars: no Java"))
