"""The command lane's topics, and the reader of its progress and of the command ids in ``dr-commands``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from aiokafka import TopicPartition

from consumers.commands.progress import Progress, read_progress
from consumers.commands.records import command_id_of
from consumers.ownership.changelog import OffsetReader, ReadRecord
from producers.connection import KafkaConnection, within
from producers.topics import Topic, prefixed

#: Partitions scanned at a time, and records between two turns of the event loop: calls and heartbeats continue meanwhile.
_SCANS, _SCAN_RECORDS = 2, 500


class CommandTopics(NamedTuple):
    """The lane's topics, by their full names."""

    commands: str
    inbox: str
    letters: str
    refusals: str


def command_topics(prefix: str) -> CommandTopics:
    """The lane's topics under a prefix."""
    topics = (Topic.DR_COMMANDS, Topic.INBOX, Topic.DEAD_LETTERS, Topic.ORDER_EVENT_REFUSALS)
    return CommandTopics(*(prefixed(prefix, topic) for topic in topics))


class CommandReader(OffsetReader):
    """Also reads the progress of the command lane and the ids of its commands. One per worker."""

    def __init__(self, connection: KafkaConnection) -> None:
        super().__init__(connection)
        self._scanning = asyncio.Semaphore(_SCANS)

    async def progress(self, group: str, partition: TopicPartition) -> Progress | None:
        """How far the command lane has come; None when it has committed nothing. Otherwise as ``committed``."""
        found = await self.committed(group, partition)
        return None if found is None else read_progress(*found)

    async def scan_ids(self, partition: TopicPartition, begin: int, end: int, take: Callable[[str], None]) -> None:
        """Hand the id of every command from ``begin`` up to ``end`` to ``take``, few partitions at a time.

        Raises:
            BrokerUnavailable: Not readable, or not within the limit for restores.
        """

        def take_id(record: ReadRecord) -> None:
            command_id = command_id_of(record.value) if record.offset < end else None
            if command_id is not None:
                take(command_id)

        async with self._scanning, self._consumer(partition) as consumer:
            consumer.seek(partition, begin)
            reading = self._drain(consumer, partition, end, take_id, records_max=_SCAN_RECORDS)
            await within(self._connection.limits.restore_seconds, reading, f"scanning {partition.topic}")
