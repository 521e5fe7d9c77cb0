"""Records that were fetched and wait for a batch, and how far each input of a partition has been read.

Rules of the file:
- The next offset of an input changes with a commit, or when the consumer's position passes transaction markers only.
- What goes out of the queue is measured as it was when it came in, or the partition would one day ask for no more records.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import ConsumerRecord, TopicPartition

from consumers.ownership.options import PartitionContext
from consumers.ownership.records import record_bytes
from producers.connection import within


class InputQueue:
    """The unread records of one partition number, of all its input topics together."""

    def __init__(self, context: PartitionContext, *, wake: asyncio.Event, leaving: asyncio.Event) -> None:
        """``wake``: set when there may be something to do; ``leaving``: set when the partition is to leave."""
        self._consumer = context.consumer
        self._limit = context.connection.limits.operation_seconds
        self._inputs = {tp.topic: tp for tp in context.inputs}
        self.wake = wake
        self._leaving = leaving
        self._records: deque[ConsumerRecord] = deque()
        #: Unread records by topic.
        self._unread = dict.fromkeys(self._inputs, 0)
        #: What the unread records take in memory.
        self.bytes = 0
        #: The next offset of each input after the last committed transaction, or after markers that were passed since.
        self.next_offsets: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._read_positions: dict[TopicPartition, int] = {}

    def __len__(self) -> int:
        return len(self._records)

    def clear(self) -> None:
        """Drop what was not taken: it is read again."""
        self._records.clear()
        self._unread = dict.fromkeys(self._inputs, 0)
        self.bytes = 0

    def begin(self) -> None:
        """Reading begins at ``next_offsets``."""
        self.clear()
        self._read_positions = dict(self.next_offsets)

    def feed(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        """Add fetched records."""
        self._records.extend(records)
        self._unread[partition.topic] += len(records)
        if records:
            self._read_positions[partition] = records[-1].offset + 1
        self.bytes += sum(map(record_bytes, records))
        self.wake.set()

    def read_position(self, partition: TopicPartition) -> int:
        """The offset after the last record that was fed, or from which reading began."""
        return self._read_positions[partition]

    def take(self, records_max: int) -> list[ConsumerRecord]:
        """Remove and return the first records, at most so many."""
        records = [self._records.popleft() for _ in range(min(len(self._records), records_max))]
        for record in records:
            self._unread[record.topic] -= 1
        self.bytes -= sum(map(record_bytes, records))
        return records

    async def wait(self, seconds: float) -> bool:
        """Wait until there may be something to do; False when nothing came within ``seconds``."""
        self.wake.clear()
        try:
            await asyncio.wait_for(self.wake.wait(), seconds)
        except TimeoutError:
            return False
        return True

    # -- offsets

    def reached(self, records: Iterable[ConsumerRecord]) -> dict[TopicPartition, int]:
        """The next offset of each input once ``records`` are committed."""
        last = {record.topic: record.offset for record in records}
        return self.next_offsets | {self._inputs[topic]: offset + 1 for topic, offset in last.items()}

    def committed(self, reached: Mapping[TopicPartition, int]) -> None:
        """A transaction has committed these next offsets."""
        self.next_offsets, self._committed = dict(reached), dict(reached)

    async def refresh(self) -> None:
        """Where nothing is queued, take the consumer's position: it also passes the control records at the end.

        Only while running: once the partition leaves, fetched records are dropped and the position is ahead of what was done.

        Raises:
            BrokerUnavailable: Not answered within the limit.
        """
        for topic, tp in self._inputs.items():
            if not self._unread[topic]:
                position = await within(self._limit, self._consumer.position(tp), "a request for a position")
                if self._leaving.is_set():
                    return
                if not self._unread[topic]:
                    self.next_offsets[tp] = max(self.next_offsets[tp], position)

    async def has_passed_markers(self) -> bool:
        """Whether the next offsets have passed markers only since the last commit. They are committed then, or retention would
        overtake them.
        """
        await self.refresh()
        return not self._records and not self._leaving.is_set() and self.next_offsets != self._committed

    def unread(self, ends: Mapping[TopicPartition, int]) -> list[str]:
        """The topics that have not been read to their end in ``ends``."""
        return [tp.topic for tp, end in ends.items() if self.next_offsets[tp] < end]
