"""The reader of pauses on each Kafka: what was paused before, what is paused now, and a broker that goes away."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer

from consumers.group.pause_reader import PauseReader, following
from consumers.pauses.scopes import Scope
from consumers.pauses.table import Pauses
from producers.connection import KafkaConnection, Limits
from producers.topics import Lane, Topic, prefixed
from tests.eventually import eventually
from tests.kafka.server import KafkaServer
from tests.lanes.kafka import make_topics, write

PARTITIONS = 3
ORDERS, REFUNDS = Scope(Lane.ORDERS), Scope(Lane.COMMANDS, command="create_refund")
VALUE = b'{"scope":"lane/orders","actor":"ann","reason":"maintenance","since":"2031-03-04T10:11:12Z"}'


async def put(bootstrap: str, prefix: str, *records: tuple[Scope, bytes | None]) -> None:
    """Write pauses, and tombstones."""
    made = [(f"pause/{scope}".encode(), value, ()) for scope, value in records]
    await write(bootstrap, prefixed(prefix, Topic.OPERATIONS), made)


def reader_of(bootstrap: str, prefix: str, pauses: Pauses) -> PauseReader:
    """A reader with short limits."""
    connection = KafkaConnection(bootstrap, limits=Limits(operation_seconds=3.0), request_timeout_ms=3000)
    return PauseReader(connection, prefix, PARTITIONS, pauses)


def scopes(pauses: Pauses) -> set[Scope]:
    """What is paused."""
    return {pause.scope for pause in pauses}


@pytest.fixture
async def topic(kafka: str, prefix: str) -> str:
    """A Kafka with the topic."""
    await make_topics(kafka, prefix, {Topic.OPERATIONS: PARTITIONS})
    return kafka


async def test_pauses_of_before_are_known_before_anything_else_and_new_ones_soon(topic: str, prefix: str) -> None:
    """Law: ``known`` means that a pause of yesterday holds; a pause and a resume of now are there within a second."""
    await put(topic, prefix, (ORDERS, VALUE), (REFUNDS, VALUE), (REFUNDS, None))
    pauses = Pauses()
    async with following(reader_of(topic, prefix, pauses)) as reader:
        async with asyncio.timeout(15):
            await reader.known()
        assert (scopes(pauses), reader.problem) == ({ORDERS}, None)
        await put(topic, prefix, (REFUNDS, VALUE))
        await eventually(lambda: scopes(pauses) == {ORDERS, REFUNDS}, 2.0)
        await put(topic, prefix, (ORDERS, None))
        await eventually(lambda: scopes(pauses) == {REFUNDS}, 2.0)


async def test_a_transaction_that_hangs_in_the_topic_delays_no_pause(topic: str, prefix: str) -> None:
    """Law: the 2 s hold whatever another tool does with the topic."""
    async with AIOKafkaProducer(bootstrap_servers=topic, transactional_id=f"{prefix}hanging") as hanging:
        await hanging.begin_transaction()
        for number in range(PARTITIONS):
            await hanging.send_and_wait(prefixed(prefix, Topic.OPERATIONS), b"{}", b"action/1", number)
        pauses = Pauses()
        async with following(reader_of(topic, prefix, pauses)) as reader:
            async with asyncio.timeout(15):
                await reader.known()
            await put(topic, prefix, (ORDERS, VALUE))
            await eventually(lambda: scopes(pauses) == {ORDERS}, 2.0)
        await hanging.abort_transaction()


async def test_a_kafka_that_cannot_be_reached_is_told_and_ends_nothing(prefix: str) -> None:
    """Law: no lane may begin; the reader tries on, and ends at once when it is told to."""
    pauses = Pauses()
    async with asyncio.timeout(10), following(reader_of("127.0.0.1:1", prefix, pauses)) as reader:
        await asyncio.sleep(1.0)
        assert reader.problem is not None
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.known(), 0.1)


@pytest.mark.kafka
@pytest.mark.timeout(120)
async def test_a_pause_holds_while_its_broker_is_away_and_a_resume_is_obeyed_afterwards(
    own_kafka: KafkaServer, prefix: str
) -> None:
    """Law: what was known last holds, it is told that it may be old, and what came meanwhile is read."""
    await make_topics(own_kafka.bootstrap, prefix, {Topic.OPERATIONS: PARTITIONS})
    await put(own_kafka.bootstrap, prefix, (ORDERS, VALUE))
    pauses = Pauses()
    async with following(reader_of(own_kafka.bootstrap, prefix, pauses)) as reader:
        await reader.known()
        await asyncio.to_thread(own_kafka.kill)
        await eventually(lambda: reader.problem is not None, 20.0)
        assert scopes(pauses) == {ORDERS}
        await asyncio.to_thread(own_kafka.restart)
        await put(own_kafka.bootstrap, prefix, (ORDERS, None), (REFUNDS, VALUE))
        await eventually(lambda: scopes(pauses) == {REFUNDS} and reader.problem is None, 20.0)
