"""Committed offsets with their metadata, which aiokafka's consumer does not tell."""

from __future__ import annotations

import asyncio

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from consumers.ownership.changelog import ChangelogReader
from producers.connection import KafkaConnection, start_client, within
from statemachine.errors import BrokerUnavailable


class OffsetReader(ChangelogReader):
    """Also tells what a group has committed. One per worker; the client behind it is kept until an error."""

    def __init__(self, connection: KafkaConnection) -> None:
        super().__init__(connection)
        self._admin: AIOKafkaAdminClient | None = None
        self._asking = asyncio.Lock()

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
                    await within(self._limit, start_client(self._admin), "the start of an admin client")
                asked = self._admin.list_consumer_group_offsets(group, partitions=[partition])
                found = (await within(self._limit, asked, "a look at committed offsets")).get(partition)
            except (KafkaError, AssertionError, OSError, BrokerUnavailable) as error:
                await self._close_admin()
                raise BrokerUnavailable(f"Kafka did not tell its committed offsets: {type(error).__name__}") from error
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
        async with self._asking:
            await self._close_admin()
        await super().close()
