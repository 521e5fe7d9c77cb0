"""Reading compacted topics to their end, and offsets, outside the consumer group.

Rules of the file: the end is the high watermark, taken after the partition's producer was initialised. A read_committed end
below it means that a transaction is still open there: the reader waits for it up to a limit and fails, it never returns half a
changelog. Offsets in compacted topics have gaps and end in control records, so only positions are compared, never counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from producers.connection import KafkaConnection, start_client, within
from statemachine.errors import BrokerUnavailable, TransactionOpen, UnreadableTable


class ReadRecord(Protocol):
    """The part of a consumed record that a changelog reader needs."""

    key: bytes | None
    value: bytes | None
    offset: int


def text_key(read: ReadRecord, topic: str) -> str:
    """The key of a record of a table.

    Raises:
        UnreadableTable: It is not valid UTF-8.
    """
    try:
        return (read.key or b"").decode()
    except UnicodeDecodeError:
        raise UnreadableTable(
            f"the key at offset {read.offset} of {topic} is not valid UTF-8: remove it with a tombstone"
        ) from None


#: How far before the end the search for a partition's last position record begins.
_TAIL = 200
#: Records that are handed over before other tasks may run: some milliseconds.
_RECORDS_AT_ONCE = 1000
#: So many seconds after its last use a consumer is closed.
_KEPT_SECONDS = 2.0


async def stop_consumer(consumer: AIOKafkaConsumer, seconds: float) -> None:
    """Stop a consumer under a limit and swallow what aiokafka raises on the way.

    ``consumer.stop()`` raises ``CancelledError`` by itself when the broker is gone; only a cancellation of the calling task is
    re-raised, or a shutdown would end half way.
    """
    task = asyncio.current_task()
    try:
        async with asyncio.timeout(seconds):
            await consumer.stop()
    except asyncio.CancelledError:
        if task is not None and task.cancelling():
            raise
    except (TimeoutError, KafkaError, OSError):
        return


class ChangelogReader:
    """Reads the compacted topics of partitions. One per lane; calls for several partitions run concurrently."""

    def __init__(self, connection: KafkaConnection, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is steady, in seconds."""
        self._connection = connection
        self._clock = clock
        self._limit = connection.limits.operation_seconds
        self._offset_client: AIOKafkaConsumer | None = None
        self._offset_lock = asyncio.Lock()
        #: Consumers that nobody reads with, by topic, and what closes them after a while.
        self._idle: dict[str, list[AIOKafkaConsumer]] = {}
        self._closing: asyncio.Task[None] | None = None

    def _new(self, isolation: str) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._connection.client_options(),
            group_id=None,
            isolation_level=isolation,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=50,
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )

    async def _started(self, consumer: AIOKafkaConsumer) -> None:
        try:
            await within(self._limit, start_client(consumer), "the start of a changelog reader")
        except (KafkaError, OSError) as error:
            raise BrokerUnavailable(f"Kafka is not reachable at {self._connection.bootstrap_servers}") from error

    @contextlib.asynccontextmanager
    async def _consumer(self, partition: TopicPartition) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer that is assigned ``partition`` and has not sought in it.

        It is kept for a moment for the next partition of its topic: many partitions are taken over one after the other, and a
        connection and the metadata for each would take longer than what is read. After an error it is closed.
        """
        kept = self._idle.get(partition.topic)
        consumer, done = kept.pop() if kept else None, False
        try:
            if consumer is None:
                consumer = self._new("read_committed")
                await self._started(consumer)
            consumer.assign([partition])
            yield consumer
            done = True
        except (KafkaError, AssertionError) as error:
            raise BrokerUnavailable(f"a changelog could not be read: {type(error).__name__}") from error
        finally:
            if done and consumer is not None:
                consumer.pause(partition)  # it would fetch what nobody takes
                self._idle.setdefault(partition.topic, []).append(consumer)
                self._close_later()
            elif consumer is not None:
                await stop_consumer(consumer, self._connection.limits.stop_seconds)

    def _close_later(self) -> None:
        """Close the consumers that are kept once none was used for a while."""
        if self._closing is not None:
            self._closing.cancel()
        self._closing = asyncio.create_task(self._close_idle(_KEPT_SECONDS), name="closing of changelog readers")

    async def _close_idle(self, seconds_before: float = 0.0) -> None:
        """Close the consumers that are kept, after a wait in which that may be called off."""
        await asyncio.sleep(seconds_before)
        self._closing, (idle, self._idle) = None, (self._idle, {})
        seconds = self._connection.limits.stop_seconds
        await asyncio.gather(*(stop_consumer(one, seconds) for kept in idle.values() for one in kept))

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """High watermarks: the end that includes records of open transactions.

        Raises:
            BrokerUnavailable: Not answered within the limit.
        """
        return await self._ask_offsets(lambda client: client.end_offsets(list(partitions)))

    async def beginnings(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """First available offsets.

        Raises:
            BrokerUnavailable: Not answered within the limit.
        """
        return await self._ask_offsets(lambda client: client.beginning_offsets(list(partitions)))

    async def _ask_offsets(
        self, ask: Callable[[AIOKafkaConsumer], Awaitable[dict[TopicPartition, int]]]
    ) -> dict[TopicPartition, int]:
        """Ask for offsets with a consumer that is kept for that; after an error the next call makes a new one."""
        async with self._offset_lock:
            if self._offset_client is None:
                fresh = self._new("read_uncommitted")
                try:
                    await self._started(fresh)
                except BaseException:
                    await stop_consumer(fresh, self._connection.limits.stop_seconds)
                    raise
                self._offset_client = fresh
            client = self._offset_client
        try:
            return dict(await within(self._limit, ask(client), "a request for offsets"))
        except (KafkaError, AssertionError, BrokerUnavailable) as error:
            async with self._offset_lock:
                if self._offset_client is client:
                    self._offset_client = None
                    await stop_consumer(client, self._connection.limits.stop_seconds)
            raise BrokerUnavailable(f"Kafka did not return its offsets: {type(error).__name__}") from error

    async def close(self) -> None:
        """Close the kept consumers; never longer than the stop limit each."""
        if self._closing is not None:
            self._closing.cancel()
        await self._close_idle()
        async with self._offset_lock:
            client, self._offset_client = self._offset_client, None
            if client is not None:
                await stop_consumer(client, self._connection.limits.stop_seconds)

    async def last_value(self, partition: TopicPartition) -> bytes | None:
        """The newest committed value in a partition, read to the high watermark; None when there is none.

        Raises:
            BrokerUnavailable: Not readable within the limit.
        """
        end = (await self.ends([partition]))[partition]
        async with self._consumer(partition) as consumer:
            begin = (await self.beginnings([partition]))[partition]
            start, step = end, _TAIL
            while start > begin:
                stop, start, step = start, max(begin, start - step), step * 10
                consumer.seek(partition, start)
                newest = _Newest()
                # between stop and end there is no committed record: that was read before
                await self._drain(consumer, partition, stop, newest.take)
                if newest.value is not None:
                    return newest.value
        return None

    async def read_all(
        self,
        partition: TopicPartition,
        take: Callable[[ReadRecord], None],
        progress: Callable[[int, int], None] = lambda _read, _all: None,
        *,
        begin: int | None = None,
    ) -> int:
        """Hand every committed record of a compacted partition to ``take``, up to the high watermark.

        ``progress`` is given, again and again, how many offsets were read and how many there are. ``begin``: the first offset to
        be read, which must be there; None: the first there is. An error of ``take`` ends the reading.

        Returns:
            The high watermark.

        Raises:
            BrokerUnavailable: Not readable to its end within the limit for restores.
        """
        end = (await self.ends([partition]))[partition]
        async with self._consumer(partition) as consumer:
            first = (await self.beginnings([partition]))[partition] if begin is None else begin
            if first < end:
                consumer.seek(partition, first)
                reading = self._drain(
                    consumer,
                    partition,
                    end,
                    take,
                    records_max=_RECORDS_AT_ONCE,
                    progress=lambda at: progress(at - first, end - first),
                )
                await within(self._connection.limits.restore_seconds, reading, f"restoring {partition.topic}")
        return end

    async def _drain(
        self,
        consumer: AIOKafkaConsumer,
        partition: TopicPartition,
        end: int,
        take: Callable[[ReadRecord], None],
        *,
        records_max: int | None = None,
        progress: Callable[[int], None] = lambda _position: None,
    ) -> None:
        """Read from the current position until it reaches ``end``; no progress for longer than the limit is an error.

        ``records_max``: for each turn of the event loop; ``progress`` is given each position.
        """
        moved = self._clock()
        position = await within(self._limit, consumer.position(partition), "a request for a position")
        while position < end:
            for records in (await consumer.getmany(partition, timeout_ms=50, max_records=records_max)).values():
                for record in records:
                    take(record)
            await asyncio.sleep(0)
            now_at = await within(self._limit, consumer.position(partition), "a request for a position")
            if now_at != position:
                position, moved = now_at, self._clock()
                progress(position)
            elif self._clock() - moved > self._limit:
                raise TransactionOpen(
                    f"{partition.topic}[{partition.partition}] is readable to {position} of {end} only: "
                    "a transaction is open there"
                )


class _Newest:
    """Keeps the last value that it was given."""

    def __init__(self) -> None:
        self.value: bytes | None = None

    def take(self, record: ReadRecord) -> None:
        """Keep the record's value if it has one."""
        if record.value is not None:
            self.value = record.value


class OffsetReader(ChangelogReader):
    """Also reads what a group has committed, with its metadata, which aiokafka's consumer does not return.

    One per lane; the admin client behind it is kept until an error.
    """

    def __init__(self, connection: KafkaConnection) -> None:
        super().__init__(connection)
        self._admin: AIOKafkaAdminClient | None = None
        self._admin_lock = asyncio.Lock()

    async def committed(self, group: str, partition: TopicPartition) -> tuple[int, str] | None:
        """The group's committed offset and its metadata; None when there is none.

        Never stale when the partition's producer was initialised before: Kafka answers an init only after the offsets of
        earlier transactions are written.

        Raises:
            BrokerUnavailable: Not answered within the limit.
        """
        async with self._admin_lock:
            try:
                if self._admin is None:
                    self._admin = AIOKafkaAdminClient(**self._connection.client_options())
                    await within(self._limit, start_client(self._admin), "the start of an admin client")
                asked = self._admin.list_consumer_group_offsets(group, partitions=[partition])
                found = (await within(self._limit, asked, "a request for committed offsets")).get(partition)
            except (KafkaError, AssertionError, OSError, BrokerUnavailable) as error:
                await self._close_admin()
                raise BrokerUnavailable(f"Kafka did not return committed offsets: {type(error).__name__}") from error
        return None if found is None or found.offset < 0 else (found.offset, found.metadata)

    async def _close_admin(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            try:
                await within(self._connection.limits.stop_seconds, admin.close(), "closing an admin client")
            except (BrokerUnavailable, KafkaError, OSError):
                return

    async def close(self) -> None:
        """Close the kept clients; never longer than the stop limit each."""
        async with self._admin_lock:
            await self._close_admin()
        await super().close()
