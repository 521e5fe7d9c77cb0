"""Partitions read by ``assign``: no consumer group, nothing is committed, and reading never delays a worker.

Each stream has a consumer of its own, so that while one is worked on the next records of all others are on their way. Streams are
read to the high watermark that was taken when they were opened.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError

from consumers.group.unpacking import bound_unpacking
from consumers.ownership.changelog import stop_consumer
from producers.connection import KafkaConnection, describe, start_client, unreachable, within
from statemachine.errors import BrokerUnavailable, TransactionOpen

#: Records that one call takes; what is left in the client is taken by the next.
_TAKEN_AT_ONCE: Final = 5000
_FETCH_BYTES: Final = 4 * 1024 * 1024
#: How far before an offset the record before it may lie: a transaction writes one and its marker.
_TAIL: Final = 64


class History:
    """Clients for one replay of one partition; closed together."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._limit = connection.limits.operation_seconds
        self._clients: list[AIOKafkaConsumer] = []
        self._asking: AIOKafkaConsumer | None = None

    async def _new(self, isolation: str = "read_committed") -> AIOKafkaConsumer:
        bound_unpacking()
        consumer = AIOKafkaConsumer(
            **self._connection.client_options(),
            group_id=None,
            isolation_level=isolation,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=50,
            fetch_max_bytes=2 * _FETCH_BYTES,
            max_partition_fetch_bytes=_FETCH_BYTES,
        )
        self._clients.append(consumer)
        try:
            await within(self._limit, start_client(consumer), f"a connection to {self._connection.bootstrap_servers}")
        except KafkaConnectionError as error:
            raise await unreachable(self._connection) from error
        return consumer

    async def _asked(self) -> AIOKafkaConsumer:
        if self._asking is None:
            self._asking = await self._new("read_uncommitted")
        return self._asking

    async def begins(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """First available offsets."""
        asked = (await self._asked()).beginning_offsets(list(partitions))
        return dict(await within(self._limit, asked, "a request for offsets"))

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """High watermarks."""
        asked = (await self._asked()).end_offsets(list(partitions))
        return dict(await within(self._limit, asked, "a request for offsets"))

    async def at(self, partitions: Collection[TopicPartition], stamp: int) -> dict[TopicPartition, int | None]:
        """The first offset of each whose record has at least this time, in milliseconds; None: there is none."""
        client = await self._asked()
        found = await within(
            self._limit, client.offsets_for_times(dict.fromkeys(partitions, stamp)), "a request for offsets"
        )
        return {tp: None if found.get(tp) is None else found[tp].offset for tp in partitions}

    def stream(self, partition: TopicPartition, begin: int, end: int) -> Stream:
        """The committed records of a partition from ``begin`` to before ``end``."""
        return Stream(self._reader, partition, begin, end, limit=self._limit)

    async def _reader(self, partition: TopicPartition, begin: int) -> AIOKafkaConsumer:
        consumer = await self._new()
        consumer.assign([partition])
        consumer.seek(partition, begin)
        return consumer

    async def whole(
        self, partition: TopicPartition, begin: int, end: int
    ) -> AsyncGenerator[list[ConsumerRecord], None]:
        """The same, some at a time; the client is closed at the end."""
        stream = self.stream(partition, begin, end)
        try:
            while await stream.more():
                yield stream.drained()
        finally:
            consumer = stream.consumer
            if consumer is not None and consumer in self._clients:  # else all are closed already
                self._clients.remove(consumer)
                await stop_consumer(consumer, self._connection.limits.stop_seconds)

    async def close(self) -> None:
        """Close all clients; never longer than the stop limit."""
        clients, self._clients, self._asking = self._clients, [], None
        seconds = self._connection.limits.stop_seconds
        await asyncio.gather(*(stop_consumer(client, seconds) for client in clients))


@contextlib.asynccontextmanager
async def reading(connection: KafkaConnection) -> AsyncIterator[History]:
    """A ``History`` while the context lasts.

    Raises:
        BrokerUnavailable: Kafka cannot be reached, refused or did not answer in time.
    """
    history = History(connection)
    try:
        yield history
    except (KafkaError, AssertionError) as error:
        raise BrokerUnavailable(f"Kafka at {connection.bootstrap_servers} refused: {describe(error)}") from error
    finally:
        await history.close()


class Stream:
    """The committed records of one partition in order. ``at`` is the next one in ``records``.

    Its client is made when the first record is asked for: one that is closed while it connects would leave a connection open.
    """

    __slots__ = ("_end", "_limit", "_make", "_position", "at", "consumer", "partition", "records")

    def __init__(
        self,
        make: Callable[[TopicPartition, int], Awaitable[AIOKafkaConsumer]],
        partition: TopicPartition,
        begin: int,
        end: int,
        *,
        limit: float,
    ) -> None:
        self._make = make
        self.consumer: AIOKafkaConsumer | None = None
        self.partition = partition
        self._position = begin
        self._end = end
        self._limit = limit
        self.records: list[ConsumerRecord] = []
        self.at = 0

    async def more(self) -> bool:
        """Read on; False at the end.

        Raises:
            TransactionOpen: Nothing came for longer than the limit: a transaction is open there.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._limit
        while self._position < self._end:
            consumer = self.consumer
            if consumer is None:
                consumer = self.consumer = await self._make(self.partition, self._position)
            fetched = await consumer.getmany(self.partition, timeout_ms=50, max_records=_TAKEN_AT_ONCE)
            taken = fetched.get(self.partition, [])
            position = await within(self._limit, consumer.position(self.partition), "a request for a position")
            if position != self._position:
                self._position, until = position, loop.time() + self._limit
            if taken and taken[-1].offset >= self._end:
                taken = [record for record in taken if record.offset < self._end]
            if taken:
                self.records = self.records[self.at :] + taken
                self.at = 0
                await asyncio.sleep(0)  # the next fetch is sent while these are worked on
                return True
            if loop.time() > until:
                name, number = self.partition
                raise TransactionOpen(
                    f"{name}[{number}] is readable to {self._position} of {self._end} only: a transaction is open there"
                )
        return False

    def drained(self) -> list[ConsumerRecord]:
        """All records at hand."""
        taken, self.records, self.at = self.records[self.at :], [], 0
        return taken

    async def upto(self, first: int, last: int) -> Sequence[ConsumerRecord] | None:
        """The records from offset ``first`` to ``last``; None when ``last`` is not there. What is before ``first`` is skipped."""
        while not self.records or self.records[-1].offset < last:
            if not await self.more():
                return None
        records, at = self.records, self.at
        while records[at].offset < first:
            at += 1
        begin = at
        length = len(records)
        while at < length and records[at].offset <= last:
            at += 1
        self.at = at
        taken = records[begin:at]
        return taken if taken and taken[-1].offset == last else None

    async def head(self) -> ConsumerRecord | None:
        """The next record, which stays; None at the end."""
        if self.at >= len(self.records) and not await self.more():
            return None
        return self.records[self.at]


async def last_before(history: History, partition: TopicPartition, begin: int, offset: int) -> ConsumerRecord | None:
    """The last committed record before ``offset``; None when there is none within reach."""
    start = max(begin, offset - _TAIL)
    found: ConsumerRecord | None = None
    async for records in history.whole(partition, start, offset):
        found = records[-1]
    return found


async def partition_counts(connection: KafkaConnection, names: Iterable[str]) -> dict[str, int]:
    """The partition count of each topic that exists. Creates none.

    Raises:
        BrokerUnavailable: Kafka cannot be reached.
    """
    seconds, where = connection.limits.operation_seconds, connection.bootstrap_servers
    admin = AIOKafkaAdminClient(**connection.client_options(), client_id="orderflow-replay")
    try:
        await within(seconds, start_client(admin), f"a connection to {where}")
        present = set(await within(seconds, admin.list_topics(), "listing topics"))
        wanted = [name for name in names if name in present]
        described: list[Mapping[str, Any]] = (
            await within(seconds, admin.describe_topics(wanted), "describing topics") if wanted else []
        )
    except KafkaConnectionError as error:
        raise await unreachable(connection) from error
    except KafkaError as error:
        raise BrokerUnavailable(f"Kafka at {where} refused: {describe(error)}") from error
    except (AssertionError, OSError) as error:
        raise BrokerUnavailable(f"the connection to Kafka at {where} broke") from error
    finally:
        with contextlib.suppress(BrokerUnavailable):
            await within(connection.limits.stop_seconds, admin.close(), "closing a client")
    return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["error_code"] == 0}
