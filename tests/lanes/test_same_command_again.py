"""The same record of ``dr-commands`` twice: looked up, over restarts too, and not called again. On Apache Kafka."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from consumers.commands.seen import SeenCommands
from producers.encoding import encode_command
from producers.first_offsets import NO_EARLIER_CALL
from producers.topics import Lane, Topic, group_id, prefixed
from statemachine.messages.commands import DeleteCheckout
from statemachine.messages.ids import CheckoutId, CommandId, OrderId
from tests.eventually import eventually
from tests.lanes.command_lane import (
    PARTITIONS,
    ask,
    command_topics,
    commands_member,
    effects,
    ids,
    parts,
)
from tests.lanes.kafka import read_all, running, until, write
from tests.lanes.river import FileRiver

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]


async def copy(bootstrap: str, prefix: str, count: int) -> None:
    """Write the first records of ``dr-commands`` again, byte for byte, as a mirror or a torn transaction of the past may."""
    topic = prefixed(prefix, Topic.DR_COMMANDS)
    for record in (await read_all(bootstrap, topic))[:count]:
        await write(bootstrap, topic, [(record.key, record.value, record.headers)], record.partition)


async def test_the_same_record_again_is_looked_up_and_not_called(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """In one worker: the copies cost a look-up each, the others none."""
    await command_topics(apache_kafka, prefix)
    inbox = prefixed(prefix, Topic.INBOX)
    async with running(commands_member(apache_kafka, prefix, river)):
        await ask(apache_kafka, prefix, 0, 12)
        await until(apache_kafka, inbox, 12)
        await copy(apache_kafka, prefix, 12)
        await ask(apache_kafka, prefix, 12, 8)
        await until(apache_kafka, inbox, 32)
    assert (effects(river), river.count("look")) == (ids(20), 12)


async def test_the_same_record_again_after_a_restart_is_looked_up_and_not_called(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """The next worker knows what its partitions have held, before its first call."""
    await command_topics(apache_kafka, prefix)
    inbox = prefixed(prefix, Topic.INBOX)
    async with running(commands_member(apache_kafka, prefix, river)):
        await ask(apache_kafka, prefix, 0, 12)
        await until(apache_kafka, inbox, 12)
    await copy(apache_kafka, prefix, 12)
    await ask(apache_kafka, prefix, 12, 8)
    member = commands_member(apache_kafka, prefix, river, "two")
    async with running(member):
        await until(apache_kafka, inbox, 32)
        assert [part._pipeline.history.seen.complete for part in parts(member)] == [True] * PARTITIONS
    assert (effects(river), river.count("look")) == (ids(20), 12)


@pytest.mark.soak
async def test_the_past_of_a_partition_is_read_in_bounded_time_and_memory(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """200,000 commands of two kilobytes: new ones are called meanwhile, looked up until the past is known, and at once then."""
    await command_topics(apache_kafka, prefix)
    topic, inbox, count = prefixed(prefix, Topic.DR_COMMANDS), prefixed(prefix, Topic.INBOX), 200_000
    padding = "x" * 2000
    for n in range(3):
        river._write(command_id=f"p{n}", order_id=f"P-{n}")
    past = [
        DeleteCheckout(command_id=CommandId(f"p{n}"), order_id=OrderId(f"P-{n}"), checkout_id=CheckoutId(padding))
        for n in range(count)
    ]
    producer = AIOKafkaProducer(bootstrap_servers=apache_kafka, linger_ms=20, compression_type="lz4")
    await producer.start()
    for c in past:
        await producer.send(topic, encode_command(c, time=datetime.now(UTC)), c.order_id.encode(), partition=0)
    await producer.stop()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=apache_kafka, group_id=group_id(prefix, Lane.COMMANDS), enable_auto_commit=False
    )
    await consumer.start()
    tp = TopicPartition(topic, 0)
    consumer.assign([tp])
    await consumer.commit({tp: (count, NO_EARLIER_CALL)})
    await consumer.stop()
    member = commands_member(apache_kafka, prefix, river)
    async with running(member):
        await eventually(lambda: 0 in member.partitions and parts(member)[0].state == "running")
        began = time.monotonic()
        await ask(apache_kafka, prefix, 0, 20)
        await until(apache_kafka, inbox, 20)
        part = next(part for part in parts(member) if part.number == 0)
        seen: SeenCommands = part._pipeline.history.seen
        await eventually(lambda: seen.complete, 60.0)
        print(f"scanned {count} commands in {time.monotonic() - began:.1f} s, {seen.bytes_used} bytes")  # noqa: T201
        assert seen.bytes_used <= 2**20
        await copy(apache_kafka, prefix, 3)
        await until(apache_kafka, inbox, 23)
    assert Counter(effects(river)) == Counter([*ids(20), *(f"p{n}" for n in range(3))])
