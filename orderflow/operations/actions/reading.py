"""Reads what actions and letters need of Kafka: whole topics, single records, and what is written from now on.

Everything is read by ``assign``, without a group, and committed records only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from consumers.group.scanning import Progress, Window, no_progress, open_reader, scan_partitions
from consumers.ownership.changelog import ChangelogReader
from orderflow.operations.actions.records import ActionTable
from orderflow.operations.letters.letter import Letter, LetterId, read_letter
from producers.connection import KafkaConnection, describe, within
from producers.partitioner import partition_of
from producers.topic_setup import TopicState, read_topics
from producers.topics import Topic, prefixed
from statemachine.errors import BrokerUnavailable, ConfigError

_FETCH_WAIT_MS: Final = 100
#: The clocks of two workers differ by less.
_CLOCKS: Final = timedelta(minutes=5)
#: A gap between two wanted records that is jumped over instead of read, in offsets.
_JUMP: Final = 5000
#: So many records are looked at before other tasks may run.
_AT_ONCE: Final = 2000


class TopicReader:
    """The topics under one prefix."""

    def __init__(self, connection: KafkaConnection, prefix: str, topics: Mapping[Topic, TopicState]) -> None:
        self.connection = connection
        self.prefix = prefix
        self.topics = topics
        self._seconds = connection.limits.operation_seconds

    @classmethod
    async def open(cls, connection: KafkaConnection, prefix: str, needed: Iterable[Topic]) -> TopicReader:
        """Look the topics up.

        Raises:
            ConfigError: One of those needed does not exist.
            BrokerUnavailable: Kafka cannot be reached.
        """
        topics = await read_topics(connection, prefix)
        for topic in needed:
            if topic not in topics:
                raise ConfigError(f"topic {prefixed(prefix, topic)} does not exist; run `orderflow topics create`")
        return cls(connection, prefix, topics)

    def partitions(self, topic: Topic) -> list[TopicPartition]:
        """All partitions of a topic."""
        return [TopicPartition(prefixed(self.prefix, topic), at) for at in range(self.topics[topic].partitions)]

    async def letters(self, since: datetime | None = None, progress: Progress | None = None) -> list[Letter]:
        """All letters that may have been set aside since then, by partition and offset."""
        found: list[Letter] = []

        def take(record: ConsumerRecord) -> None:
            letter_id = LetterId(record.partition, record.offset)
            letter = read_letter(letter_id, record.key, record.value, tuple(record.headers or ()))
            if letter is not None:
                found.append(letter)

        start = None if since is None else since - _CLOCKS
        await self.scan(self.partitions(Topic.DEAD_LETTERS), take, since=start, progress=progress)
        found.sort(key=lambda letter: letter.id)
        return found

    async def scan(
        self,
        partitions: Sequence[TopicPartition],
        take: Callable[[ConsumerRecord], None],
        *,
        since: datetime | None = None,
        starts: Mapping[TopicPartition, int] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Give every committed record of partitions to ``take``, to the ends that they have now.

        Args:
            partitions: Which ones.
            take: Called for each record, in the order of each partition.
            since: Only records that were written from then on.
            starts: Only records from these offsets on.
            progress: Called with how many offsets were read, and how many there are.

        Raises:
            BrokerUnavailable: Kafka does not answer within the limit.
        """
        window = None if since is None else Window(from_ms=round(since.timestamp() * 1000))
        await scan_partitions(
            self.connection,
            partitions,
            take,
            windows={} if window is None else dict.fromkeys(partitions, window),
            starts=starts or {},
            progress=progress or no_progress,
        )

    async def records(
        self, topic: Topic, wanted: Collection[tuple[int, int]], *, bytes_max: int
    ) -> dict[tuple[int, int], ConsumerRecord]:
        """Single records by partition and offset; those that are not there any more are missing.

        Stops after ``bytes_max``, with one record at least, which is that of the lowest place: ask again for what is missing.
        """
        found: dict[tuple[int, int], ConsumerRecord] = {}
        by_partition: dict[int, list[int]] = {}
        for number, offset in sorted(wanted):
            by_partition.setdefault(number, []).append(offset)
        size = 0
        async with open_reader(self.connection) as consumer:
            for number, offsets in by_partition.items():
                tp = TopicPartition(prefixed(self.prefix, topic), number)
                if number >= self.topics[topic].partitions:
                    continue
                size += await self._pick(consumer, tp, offsets, found, bytes_max - size)
                if size >= bytes_max:
                    break
        return found

    async def _pick(
        self,
        consumer: AIOKafkaConsumer,
        tp: TopicPartition,
        offsets: Sequence[int],
        found: dict[tuple[int, int], ConsumerRecord],
        bytes_max: int,
    ) -> int:
        """The records of one partition at ``offsets``, ascending; returns their bytes."""
        consumer.assign([tp])
        begin = (await within(self._seconds, consumer.beginning_offsets([tp]), "a request for offsets"))[tp]
        end = (await within(self._seconds, consumer.end_offsets([tp]), "a request for offsets"))[tp]
        todo = [offset for offset in offsets if begin <= offset < end]
        size, at, position, quiet = 0, 0, -_JUMP, 0.0
        while at < len(todo) and size < bytes_max:
            if todo[at] - position > _JUMP or todo[at] < position:
                position = todo[at]
                consumer.seek(tp, position)
            fetched = (await consumer.getmany(tp, timeout_ms=_FETCH_WAIT_MS, max_records=_AT_ONCE)).get(tp, [])
            for record in fetched:
                while at < len(todo) and todo[at] < record.offset:
                    at += 1  # it is not there
                if at < len(todo) and todo[at] == record.offset:
                    found[tp.partition, record.offset] = record
                    size += len(record.value or b"") + len(record.key or b"")
                    at += 1
            before = position
            position = await within(self._seconds, consumer.position(tp), "a request for a position")
            while at < len(todo) and todo[at] < position:
                at += 1
            quiet = 0.0 if position != before or fetched else quiet + _FETCH_WAIT_MS / 1000
            if quiet > self._seconds:
                raise BrokerUnavailable(f"Kafka sent nothing more of {tp.topic}")
        return size

    async def snapshots(self, keys: Collection[str], progress: Progress | None = None) -> dict[str, bytes]:
        """The newest snapshots of orders, from the partitions that can have them."""
        wanted = {key.encode() for key in keys}
        if not wanted:
            return {}
        count = self.topics[Topic.ORDERS].partitions
        numbers = {partition_of(key, count) for key in wanted}
        found: dict[str, bytes] = {}

        def take(record: ConsumerRecord) -> None:
            if record.key in wanted:
                key = record.key.decode()
                if record.value is None:
                    found.pop(key, None)
                else:
                    found[key] = record.value

        mine = [tp for tp in self.partitions(Topic.ORDERS) if tp.partition in numbers]
        await self.scan(mine, take, progress=progress)
        return found

    async def operations(self) -> ActionTable:
        """What ``orderflow.operations`` says, up to the first transaction that is still open there.

        A command that was killed may have left one open, which Kafka ends after a while: nobody who only looks waits for it.
        """
        table = ActionTable()
        await self.scan(self.partitions(Topic.OPERATIONS), lambda record: table.take(record.key, record.value))
        return table

    async def operations_whole(self) -> ActionTable:
        """All that it says, what is being committed now included: for whoever goes on from it.

        Raises:
            BrokerUnavailable: Kafka does not answer within the limit, or a transaction stays open there.
        """
        table = ActionTable()
        reader = ChangelogReader(self.connection)
        try:
            await asyncio.gather(
                *(
                    reader.read_all(tp, lambda record: table.take(record.key, record.value))
                    for tp in self.partitions(Topic.OPERATIONS)
                )
            )
        finally:
            await reader.close()
        return table


class Tail:
    """What is written into partitions from given offsets on."""

    def __init__(self, reader: TopicReader, starts: Mapping[TopicPartition, int]) -> None:
        self._reader = reader
        self._starts = dict(starts)
        self._stack = contextlib.AsyncExitStack()
        self._consumer: AIOKafkaConsumer | None = None
        self._ends = ChangelogReader(reader.connection)

    async def __aenter__(self) -> Self:
        consumer = await self._stack.enter_async_context(open_reader(self._reader.connection))
        consumer.assign(list(self._starts))
        for tp, offset in self._starts.items():
            consumer.seek(tp, offset)
        self._consumer = consumer
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._ends.close()
        await self._stack.aclose()

    async def poll(self, timeout_ms: int) -> list[ConsumerRecord]:
        """The next records; none when nothing came."""
        assert self._consumer is not None
        try:
            fetched = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=_AT_ONCE)
        except KafkaError as error:
            raise BrokerUnavailable(f"Kafka refused: {describe(error)}") from error
        return [record for records in fetched.values() for record in records]

    async def positions(self) -> dict[TopicPartition, int]:
        """Up to where everything was read."""
        assert self._consumer is not None
        seconds = self._reader.connection.limits.operation_seconds
        return {
            tp: await within(seconds, self._consumer.position(tp), "a request for a position") for tp in self._starts
        }

    async def reached(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether everything before ``ends`` was read."""
        return all(position >= ends[tp] for tp, position in (await self.positions()).items())

    async def ends(self) -> dict[TopicPartition, int]:
        """Up to where something is written, open transactions included."""
        return await self._ends.ends(self._starts)


async def written_ends(reader: TopicReader, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """Up to where something is written, open transactions included."""
    ends = ChangelogReader(reader.connection)
    try:
        return await ends.ends(list(partitions))
    finally:
        await ends.close()
