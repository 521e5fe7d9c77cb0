"""Reading a topic from outside the lanes, as a table or as one key's history: what operators' commands need.

Unlike a restore it stops at the last stable offset, so that a frozen worker's open transaction does not delay an operator.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from consumers.ownership.changelog import stop_consumer
from producers.connection import KafkaConnection, describe, start_client, unreachable, within
from producers.partitioner import partition_of
from producers.topic_setup import read_topics
from producers.topics import Topic, prefixed
from statemachine.errors import BrokerUnavailable, ConfigError

#: Milliseconds that one fetch may wait for more data.
_FETCH_WAIT_MS = 100


async def read_table(
    connection: KafkaConnection, prefix: str, topic: Topic, *, key: str | None = None
) -> dict[str, bytes]:
    """The newest committed value of each key in key order, as they were when reading began.

    Args:
        connection: How to reach Kafka.
        prefix: Before every topic name.
        topic: A compacted topic.
        key: Read only this key, from the one partition where it hashes to.

    Raises:
        ConfigError: The topic does not exist.
        BrokerUnavailable: Kafka cannot be reached or does not answer.
    """
    table: dict[str, bytes] = {}

    def take(row: str, value: bytes | None) -> None:
        if value is None:
            table.pop(row, None)
        else:
            table[row] = value

    await _read(connection, prefix, topic, key, take)
    return dict(sorted(table.items()))


async def read_history(connection: KafkaConnection, prefix: str, topic: Topic, *, key: str) -> list[bytes]:
    """The committed values of one key that the topic still has, the oldest first, as they were when reading began.

    Raises:
        ConfigError: The topic does not exist.
        BrokerUnavailable: Kafka cannot be reached or does not answer.
    """
    history: list[bytes] = []

    def take(_: str, value: bytes | None) -> None:
        if value is not None:
            history.append(value)

    await _read(connection, prefix, topic, key, take)
    return history


async def _read(
    connection: KafkaConnection, prefix: str, topic: Topic, key: str | None, take: Callable[[str, bytes | None], None]
) -> None:
    """Give each record of ``key``, or of all keys, to ``take``."""
    name = prefixed(prefix, topic)
    state = (await read_topics(connection, prefix)).get(topic)
    if state is None:
        raise ConfigError(f"topic {name} does not exist; run `orderflow topics create`")
    numbers = range(state.partitions) if key is None else [partition_of(key.encode(), state.partitions)]

    def take_mine(found: bytes | None, value: bytes | None) -> None:
        row = (found or b"").decode(errors="replace")
        if key is None or row == key:
            take(row, value)

    consumer = AIOKafkaConsumer(
        **connection.client_options(),
        group_id=None,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=_FETCH_WAIT_MS,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    seconds, where = connection.limits.operation_seconds, connection.bootstrap_servers
    try:
        await within(seconds, start_client(consumer), f"a connection to {where}")
        await _drain(consumer, [TopicPartition(name, number) for number in numbers], take_mine, seconds)
    except KafkaConnectionError as error:
        raise await unreachable(connection) from error
    except KafkaError as error:
        raise BrokerUnavailable(f"Kafka at {where} refused: {describe(error)}") from error
    finally:
        await stop_consumer(consumer, connection.limits.stop_seconds)


async def _drain(
    consumer: AIOKafkaConsumer,
    partitions: Iterable[TopicPartition],
    take: Callable[[bytes | None, bytes | None], None],
    seconds: float,
) -> None:
    """Read each partition to its last stable offset; positions are compared, because offsets have gaps."""
    partitions = list(partitions)
    consumer.assign(partitions)
    ends = await within(seconds, consumer.end_offsets(partitions), "a request for end offsets")
    begins = await within(seconds, consumer.beginning_offsets(partitions), "a request for offsets")
    open_ends = {partition: end for partition, end in ends.items() if begins[partition] < end}
    for partition in partitions:
        consumer.seek(partition, begins[partition])
        if partition not in open_ends:
            consumer.pause(partition)
    quiet = 0.0
    while open_ends:
        batches = await consumer.getmany(timeout_ms=_FETCH_WAIT_MS)
        for records in batches.values():
            for record in records:
                take(record.key, record.value)
        quiet = 0.0 if batches else quiet + _FETCH_WAIT_MS / 1000
        for partition, end in list(open_ends.items()):
            with contextlib.suppress(KeyError):
                if await within(seconds, consumer.position(partition), "a request for a position") >= end:
                    del open_ends[partition]
        if quiet > seconds:
            raise BrokerUnavailable(f"Kafka sent nothing more of {next(iter(open_ends)).topic} for {seconds:g} s")
