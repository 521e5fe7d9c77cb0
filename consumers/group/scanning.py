"""Reading many partitions to their end, or following them, from outside the lanes: what operators' commands look at.

Rules of the file: read_committed, up to the last stable offset, so that a worker's open transaction delays nobody; partitions are
assigned, there is no group and no producer; records are given on undecoded, because most of them are not looked at.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from consumers.ownership.changelog import stop_consumer
from producers.connection import KafkaConnection, describe, start_client, unreachable, within
from producers.topics import Topic, prefixed
from statemachine.errors import BrokerUnavailable

#: A record as it was read; its topic has the prefix.
ReadRecord: TypeAlias = ConsumerRecord
#: Milliseconds that one fetch may wait for more data.
_FETCH_WAIT_MS: Final = 100
#: Bytes of a partition in one fetch.
_FETCH_BYTES: Final = 4 * 1024 * 1024


class Part(NamedTuple):
    """One partition of a topic."""

    topic: Topic
    number: int


class Window(NamedTuple):
    """Which records of a partition are read, by their timestamps in milliseconds; None: from the beginning, to the end."""

    from_ms: int | None = None
    until_ms: int | None = None


#: Called as reading goes on with offsets passed and offsets in all.
Progress: TypeAlias = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Tells nobody."""


async def scan(
    connection: KafkaConnection,
    prefix: str,
    wanted: Iterable[Part],
    take: Callable[[Topic, ReadRecord], None],
    *,
    windows: Mapping[Part, Window] | None = None,
    progress: Progress = no_progress,
) -> None:
    """Give each committed record of the partitions to ``take``, those of one partition in their order.

    Args:
        connection: How to reach Kafka.
        prefix: Before every topic name.
        wanted: The partitions; their topics exist.
        take: Called with the contract's topic and the record.
        windows: Partitions of which only a part is read.
        progress: Called after every fetch.

    Raises:
        BrokerUnavailable: Kafka cannot be reached or does not answer.
    """
    parts = {TopicPartition(prefixed(prefix, part.topic), part.number): part for part in wanted}
    seconds = connection.limits.operation_seconds
    async with _reader(connection) as consumer:
        consumer.assign(list(parts))
        begins, ends = await _bounds(consumer, parts, windows or {}, seconds)
        for partition in parts:
            consumer.seek(partition, begins[partition])
        await _drain(consumer, parts, begins, ends, take, progress, seconds)


async def follow(
    connection: KafkaConnection, prefix: str, wanted: Iterable[Part], begins: Mapping[Part, int]
) -> AsyncGenerator[list[tuple[Topic, ReadRecord]], None]:
    """What is committed to the partitions from the offsets ``begins`` on, as it comes, until the caller leaves.

    Lists may be empty: they come at least once a second.

    Raises:
        BrokerUnavailable: Kafka cannot be reached.
    """
    parts = {TopicPartition(prefixed(prefix, part.topic), part.number): part for part in wanted}
    async with _reader(connection) as consumer:
        consumer.assign(list(parts))
        for partition, part in parts.items():
            consumer.seek(partition, begins[part])
        while True:
            batches = await consumer.getmany(timeout_ms=1000)
            yield [(parts[partition].topic, record) for partition, records in batches.items() for record in records]


@asynccontextmanager
async def _reader(connection: KafkaConnection) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group; errors of Kafka become ours."""
    consumer = AIOKafkaConsumer(
        **connection.client_options(),
        group_id=None,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=_FETCH_WAIT_MS,
        max_partition_fetch_bytes=_FETCH_BYTES,
    )
    try:
        where = connection.bootstrap_servers
        await within(connection.limits.operation_seconds, start_client(consumer), f"a connection to {where}")
        yield consumer
    except KafkaConnectionError as error:
        raise await unreachable(connection) from error
    except KafkaError as error:
        raise BrokerUnavailable(f"Kafka at {connection.bootstrap_servers} refused: {describe(error)}") from error
    finally:
        await stop_consumer(consumer, connection.limits.stop_seconds)


async def _bounds(
    consumer: AIOKafkaConsumer,
    parts: Mapping[TopicPartition, Part],
    windows: Mapping[Part, Window],
    seconds: float,
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """The first offset to read and the one after the last, of each partition."""
    ends = await within(seconds, consumer.end_offsets(list(parts)), "a request for end offsets")
    begins = await within(seconds, consumer.beginning_offsets(list(parts)), "a request for offsets")
    for bounds, name in ((begins, "from_ms"), (ends, "until_ms")):
        times = {
            partition: moment
            for partition, part in parts.items()
            if (moment := getattr(windows.get(part, Window()), name)) is not None
        }
        if times:
            found = await within(seconds, consumer.offsets_for_times(times), "a request for offsets by time")
            for partition in times:
                at = found.get(partition)
                if at is not None:
                    bounds[partition] = min(max(at.offset, begins[partition]), ends[partition])
                elif bounds is begins:  # nothing is as young
                    bounds[partition] = ends[partition]
    return begins, ends


async def _drain(
    consumer: AIOKafkaConsumer,
    parts: Mapping[TopicPartition, Part],
    begins: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    take: Callable[[Topic, ReadRecord], None],
    progress: Progress,
    seconds: float,
) -> None:
    """Read each partition to its end; positions are compared, because offsets have gaps."""
    left = {partition for partition in parts if begins[partition] < ends[partition]}
    total = sum(ends[partition] - begins[partition] for partition in left)
    for partition in parts:
        if partition not in left:
            consumer.pause(partition)
    done, quiet = 0, 0.0
    while left:
        batches = await consumer.getmany(timeout_ms=_FETCH_WAIT_MS)
        for partition, records in batches.items():
            topic, end = parts[partition].topic, ends[partition]
            for record in records:
                if record.offset < end:
                    take(topic, record)
        quiet = 0.0 if batches else quiet + _FETCH_WAIT_MS / 1000
        for partition in list(left):
            with contextlib.suppress(KeyError):
                if await within(seconds, consumer.position(partition), "a request for a position") >= ends[partition]:
                    left.remove(partition)
                    consumer.pause(partition)
                    done += ends[partition] - begins[partition]
        progress(done + await _passed(consumer, left, begins, seconds), total)
        if quiet > seconds:
            raise BrokerUnavailable(f"Kafka sent nothing more of {next(iter(left)).topic} for {seconds:g} s")


async def _passed(
    consumer: AIOKafkaConsumer, left: Iterable[TopicPartition], begins: Mapping[TopicPartition, int], seconds: float
) -> int:
    """Offsets passed in the partitions that are not at their end."""
    return sum(
        [
            await within(seconds, consumer.position(partition), "a request for a position") - begins[partition]
            for partition in left
        ]
    )
