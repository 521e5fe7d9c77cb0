"""Reading many partitions to their end, or following them, from outside the lanes: what operators' commands look at.

Rules of the file: read_committed, up to the last stable offset, so that a worker's open transaction delays nobody; partitions are
assigned, there is no group and no producer; records are given on undecoded, because most of them are not looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
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
#: So many records are looked at before other tasks may run.
_AT_ONCE: Final = 2000


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
    wanted = list(wanted)
    topics = {prefixed(prefix, part.topic): part.topic for part in wanted}
    place = {part: TopicPartition(prefixed(prefix, part.topic), part.number) for part in wanted}
    await scan_partitions(
        connection,
        list(place.values()),
        lambda record: take(topics[record.topic], record),
        windows={place[part]: window for part, window in (windows or {}).items() if part in place},
        progress=progress,
    )


async def scan_partitions(
    connection: KafkaConnection,
    partitions: Collection[TopicPartition],
    take: Callable[[ReadRecord], None],
    *,
    windows: Mapping[TopicPartition, Window] = MappingProxyType({}),
    starts: Mapping[TopicPartition, int] = MappingProxyType({}),
    progress: Progress = no_progress,
) -> None:
    """The same of partitions by their full names; of those in ``starts`` only records from these offsets on.

    Raises:
        BrokerUnavailable: Kafka cannot be reached or does not answer.
    """
    seconds = connection.limits.operation_seconds
    async with open_reader(connection) as consumer:
        begins, ends = await _bounds(consumer, partitions, windows, seconds)
        for partition, offset in starts.items():
            begins[partition] = min(max(begins[partition], offset), ends[partition])
        left = {partition: ends[partition] for partition in partitions if begins[partition] < ends[partition]}
        if not left:
            return
        consumer.assign(list(left))
        for partition in left:
            consumer.seek(partition, begins[partition])
        await _drain(consumer, left, sum(end - begins[one] for one, end in left.items()), take, progress, seconds)


async def follow(
    connection: KafkaConnection, prefix: str, wanted: Iterable[Part], begins: Mapping[Part, int]
) -> AsyncGenerator[list[tuple[Topic, ReadRecord]], None]:
    """What is committed to the partitions from the offsets ``begins`` on, as it comes, until the caller leaves.

    Lists may be empty: they come at least once a second.

    Raises:
        BrokerUnavailable: Kafka cannot be reached.
    """
    parts = {TopicPartition(prefixed(prefix, part.topic), part.number): part for part in wanted}
    async with open_reader(connection) as consumer:
        consumer.assign(list(parts))
        for partition, part in parts.items():
            consumer.seek(partition, begins[part])
        while True:
            batches = await consumer.getmany(timeout_ms=1000)
            yield [(parts[partition].topic, record) for partition, records in batches.items() for record in records]


@asynccontextmanager
async def open_reader(connection: KafkaConnection, *, group: str | None = None) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that takes part in no group; ``group`` is only whose committed offsets it reads.

    Raises:
        BrokerUnavailable: Kafka cannot be reached, or refuses, also while the context lasts.
    """
    consumer = AIOKafkaConsumer(
        **connection.client_options(),
        group_id=group,
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
    partitions: Collection[TopicPartition],
    windows: Mapping[TopicPartition, Window],
    seconds: float,
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """The first offset to read and the one after the last, of each partition."""
    ends = await within(seconds, consumer.end_offsets(list(partitions)), "a request for end offsets")
    begins = await within(seconds, consumer.beginning_offsets(list(partitions)), "a request for offsets")
    for bounds, name in ((begins, "from_ms"), (ends, "until_ms")):
        times = {one: moment for one, window in windows.items() if (moment := getattr(window, name)) is not None}
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
    ends: Mapping[TopicPartition, int],
    total: int,
    take: Callable[[ReadRecord], None],
    progress: Progress,
    seconds: float,
) -> None:
    """Read each partition to its end, ``total`` offsets in all; positions are compared, because offsets have gaps."""
    open_ends, loop = dict(ends), asyncio.get_running_loop()
    moved, left_before = loop.time(), total + 1
    while open_ends:
        batches = await consumer.getmany(timeout_ms=_FETCH_WAIT_MS, max_records=_AT_ONCE)
        for partition, records in batches.items():
            end = ends[partition]
            for record in records:
                if record.offset < end:
                    take(record)
        left = 0
        for partition, end in list(open_ends.items()):
            position = await within(seconds, consumer.position(partition), "a request for a position")
            left += max(0, end - position)
            if position >= end:
                del open_ends[partition]
                consumer.pause(partition)
        if left < left_before:
            moved, left_before = loop.time(), left
        elif loop.time() - moved > seconds:
            raise BrokerUnavailable(f"Kafka sent nothing more of {next(iter(open_ends)).topic} for {seconds:g} s")
        progress(total - left, total)
        await asyncio.sleep(0)
