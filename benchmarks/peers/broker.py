"""What the harness asks the broker: topics, offsets, groups, and records written as fast as they can be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError, GroupLoadInProgressError

from benchmarks.peers.loads import Made
from producers.partitioner import partition_of

PARTITIONS: Final = 8
_BATCH_BYTES: Final = 256 * 1024


class Broker:
    """The harness's own connections to one broker."""

    def __init__(self, bootstrap: str, admin: AIOKafkaAdminClient, producer: AIOKafkaProducer) -> None:
        self.bootstrap = bootstrap
        self._admin = admin
        self._producer = producer

    async def make_topics(self, topics: Mapping[str, Mapping[str, str]]) -> None:
        """Topics with their settings."""
        await self._admin.create_topics(
            [NewTopic(name, PARTITIONS, 1, topic_configs=dict(configs)) for name, configs in topics.items()]
        )

    async def fill(self, topic: str, events: Iterable[Made]) -> None:
        """Write the events in large batches, and return when all are acknowledged."""
        batches: dict[int, Any] = {}
        for event in events:
            number, stamp = partition_of(event.key, PARTITIONS), int(time.time() * 1000)
            batch = batches.get(number) or batches.setdefault(number, self._producer.create_batch())
            if batch.append(timestamp=stamp, key=event.key, value=event.value) is None:
                await (await self._producer.send_batch(batch, topic, partition=number))
                batches[number] = self._producer.create_batch()
                batches[number].append(timestamp=stamp, key=event.key, value=event.value)
        for number, batch in batches.items():
            await (await self._producer.send_batch(batch, topic, partition=number))

    async def send(self, topic: str, event: Made) -> None:
        """Write one event, soon."""
        await self._producer.send(topic, event.value, event.key, partition_of(event.key, PARTITIONS))

    async def committed(self, group: str, topic: str) -> int:
        """How many records of a topic that was never compacted the group has done."""
        parts = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        try:
            offsets = await self._admin.list_consumer_group_offsets(group, partitions=parts)
        except (GroupCoordinatorNotAvailableError, GroupLoadInProgressError):  # of a broker that has seen no group yet
            return 0
        return sum(max(0, found.offset) for found in offsets.values())

    async def until_empty(self, group: str, *, seconds: float = 120.0) -> None:
        """Return when the broker has dropped the group's dead members."""
        async with asyncio.timeout(seconds):
            while await self._members(group):  # noqa: ASYNC110  # the broker tells nobody
                await asyncio.sleep(0.2)

    async def _members(self, group: str) -> Sequence[object]:
        (answer,) = await self._admin.describe_consumer_groups([group])
        _, _, state, _, _, members, *_ = answer.groups[0]
        return () if state in {"Empty", "Dead"} else members


@asynccontextmanager
async def connected(bootstrap: str) -> AsyncIterator[Broker]:
    """Connections that are closed with the context."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type="lz4", acks="all", max_batch_size=_BATCH_BYTES, linger_ms=2
    )
    await admin.start()
    await producer.start()
    try:
        yield Broker(bootstrap, admin, producer)
    finally:
        await producer.stop()
        await admin.close()
