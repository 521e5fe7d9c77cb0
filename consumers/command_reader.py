"""Committed offsets with their metadata, which aiokafka's consumer does not tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from consumers.changelog import ChangelogReader, ReadRecord
from consumers.command_records import command_id_of
from consumers.progress import Progress, read_progress
from producers.connection import KafkaConnection, within
from statemachine.errors import BrokerUnavailable

#: Partitions scanned at a time, and records between two turns of the loop: calls and heartbeats go on meanwhile.
_SCANS, _SCAN_RECORDS = 2, 500


class CommandReader(ChangelogReader):
    """Also tells how far a group has come. One per worker; the client behind it is kept until an error."""

    def __init__(self, connection: KafkaConnection) -> None:
        super().__init__(connection)
        self._admin: AIOKafkaAdminClient | None = None
        self._asking = asyncio.Lock()
        self._scanning = asyncio.Semaphore(_SCANS)

    async def progress(self, group: str, partition: TopicPartition) -> Progress | None:
        """How far the command lane has come; None when it has committed nothing. Otherwise as ``committed``."""
        found = await self.committed(group, partition)
        return None if found is None else read_progress(*found)

    async def committed(self, group: str, partition: TopicPartition) -> tuple[int, str] | None:
        """The group's committed offset and what was written beside it; None when there is none.

        Never stale when the partition's producer was initialised before: Kafka answers an init only after the offsets of
        earlier transactions are written.

        Raises:
            BrokerUnavailable: Not answered within the limit.
        """
        async with self._asking:
            try:
                if self._admin is None:
                    self._admin = AIOKafkaAdminClient(**self._connection.client_options())
                    await within(self._limit, self._admin.start(), "the start of an admin client")
                asked = self._admin.list_consumer_group_offsets(group, partitions=[partition])
                found = (await within(self._limit, asked, "a look at committed offsets")).get(partition)
            except (KafkaError, AssertionError, OSError, BrokerUnavailable) as error:
                await self._close_admin()
                raise BrokerUnavailable(f"Kafka did not tell its committed offsets: {type(error).__name__}") from error
        return None if found is None or found.offset < 0 else (found.offset, found.metadata)

    async def scan_ids(self, partition: TopicPartition, begin: int, end: int, take: Callable[[str], None]) -> None:
        """Hand the id of every command from ``begin`` up to ``end`` to ``take``, few partitions at a time.

        Raises:
            BrokerUnavailable: Not readable, or not within the limit for restores.
        """

        def take_id(record: ReadRecord) -> None:
            command_id = command_id_of(record.value) if record.offset < end else None
            if command_id is not None:
                take(command_id)

        async with self._scanning, self._consumer() as consumer:
            consumer.assign([partition])
            consumer.seek(partition, begin)
            reading = self._drain(consumer, partition, end, take_id, records_max=_SCAN_RECORDS)
            await within(self._connection.limits.restore_seconds, reading, f"scanning {partition.topic}")

    async def _close_admin(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            try:
                await within(self._connection.limits.stop_seconds, admin.close(), "closing an admin client")
            except (BrokerUnavailable, KafkaError, OSError):
                return

    async def close(self) -> None:
        """Close the kept clients; never longer than the stop limit each."""
        async with self._asking:
            await self._close_admin()
        await super().close()
