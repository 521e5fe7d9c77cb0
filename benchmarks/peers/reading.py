"""What a worker wrote, read in the read_committed view: is all of it there, once, in order, and how late was it?"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from benchmarks.peers.broker import PARTITIONS
from benchmarks.peers.loads import Made

_SETTLE_SECONDS: Final = 1.0


class Expected:
    """What must have been written for the events that were sent."""

    def __init__(self) -> None:
        self.events = 0
        self.commands = 0
        #: Changes by key.
        self.changes: Counter[bytes] = Counter()

    def add(self, made: Made) -> Made:
        """Count an event that is sent."""
        self.events += 1
        self.commands += made.commands
        self.changes[made.key] += made.changes
        return made


class _Cause(msgspec.Struct):
    id: str
    producetime: int = 0


class _Data(msgspec.Struct):
    cause: _Cause
    #: Of workload v1, or of orderflow.
    version: int = 0
    sequence: int = 0


class _Change(msgspec.Struct):
    data: _Data


_change: Final = msgspec.json.Decoder(_Change).decode


def sent_at(value: bytes) -> float:
    """When the event that caused this change was sent, in seconds since the epoch."""
    cause = _change(value).data.cause
    return cause.producetime / 1e6 if cause.producetime else float(cause.id.rpartition("@")[2])


@asynccontextmanager
async def reader(bootstrap: str, *topics: str, earliest: bool) -> AsyncIterator[AIOKafkaConsumer]:
    """A read_committed consumer of all partitions, from the beginning or from the end of now."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4_000_000,
    )
    await consumer.start()
    consumer.assign([TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)])
    if earliest:
        await consumer.seek_to_beginning()
    else:
        await consumer.seek_to_end()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def _records(bootstrap: str, *topics: str) -> AsyncIterator[ConsumerRecord]:
    """All committed records of the topics, in the order of each partition."""
    async with reader(bootstrap, *topics, earliest=True) as consumer:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        while any([await consumer.position(part) < end for part, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    yield record


async def faults(
    bootstrap: str, changes: str, commands: str, expected: Expected, *, nothing_in: tuple[str, ...] = ()
) -> list[str]:
    """What is wrong, a line for each kind: counts, order, duplicates, and records where there must be none."""
    await asyncio.sleep(_SETTLE_SECONDS)  # markers of the last transaction are written after its commit was answered
    seen: Counter[bytes] = Counter()
    found: Counter[str] = Counter()
    commands_seen = 0
    async for record in _records(bootstrap, changes, commands, *nothing_in):
        if record.topic == commands:
            commands_seen += 1
        elif record.topic == changes:
            data = _change(record.value).data
            seen[record.key] += 1
            found["a change is out of order, doubled or missing"] += (data.version or data.sequence) != seen[record.key]
        else:
            found[f"a record in {record.topic}"] += 1
    found["an order has another number of changes"] += sum(
        seen[key] != count for key, count in expected.changes.items()
    )
    found["a change of an unknown order"] += len(set(seen) - set(expected.changes))
    wrong = [f"{text}: {count} times" for text, count in found.items() if count]
    if commands_seen != expected.commands:
        wrong.append(f"{commands_seen} commands, expected {expected.commands}")
    return wrong


async def latencies(consumer: AIOKafkaConsumer) -> list[tuple[float, float]]:
    """Of the changes that come within 100 ms: when the event of each was sent, and how many ms later its change was read."""
    fetched = await consumer.getmany(timeout_ms=100)
    now = time.time()
    sent = [sent_at(record.value) for records in fetched.values() for record in records]
    return [(at, (now - at) * 1000) for at in sent]
