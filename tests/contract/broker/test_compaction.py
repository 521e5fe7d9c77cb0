"""Compacted topics: the last record of each key stays, readers reach the end, offsets do not change."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from tests.contract.broker.cluster import Cluster
from tests.eventually import eventually

#: Apache Kafka cleans closed segments only: the smallest segment that it allows is closed by 1 MiB of records or 100 ms.
COMPACTED = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.01",
    "segment.ms": "100",
    "delete.retention.ms": "0",
}


async def _close_segment() -> None:
    """Let the next record begin a new segment, so that everything before it may be cleaned."""
    await asyncio.sleep(0.15)


async def _compacted(cluster: Cluster, topic: str, live: int) -> list[ConsumerRecord]:
    """All visible records once there are no more than ``live``."""
    found: list[ConsumerRecord] = []

    async def clean() -> bool:
        found[:] = await cluster.read_all(topic, isolation_level="read_committed")
        return len(found) <= live

    cluster.compact(topic)
    await eventually(clean, cluster.patience)
    return found


@pytest.mark.timeout(120)
async def test_only_the_last_record_of_each_key_stays(cluster: Cluster) -> None:
    """Older values and aborted ones are gone, offsets are those given at first, and a reader reaches the end."""
    topic = await cluster.topic(configs=COMPACTED)
    last: dict[bytes, tuple[int, bytes]] = {}
    async with cluster.producer(transactional_id=cluster.name("tx"), compression_type="lz4") as producer:
        for number in range(20):
            await producer.begin_transaction()
            key = b"key %d" % (number % 4)
            metadata = await producer.send_and_wait(topic, b"%d" % number, key, headers=[("n", b"%d" % number)])
            if number % 5 == 4:
                await producer.abort_transaction()
            else:
                await producer.commit_transaction()
                last[key] = (metadata.offset, b"%d" % number)
        await _close_segment()
        async with producer.transaction():
            metadata = await producer.send_and_wait(topic, b"end", b"end")
            last[b"end"] = (metadata.offset, b"end")
    records = await _compacted(cluster, topic, len(last))
    assert {each.key: (each.offset, each.value) for each in records} == last
    assert [each.offset for each in records] == sorted(each.offset for each in records)
    assert all(dict(each.headers) == ({} if each.key == b"end" else {"n": each.value}) for each in records)
    async with cluster.consumer() as consumer:
        partition = TopicPartition(topic, 0)
        assert await consumer.end_offsets([partition]) == {partition: 42}


@pytest.mark.timeout(180)
async def test_a_tombstone_removes_its_key(cluster: Cluster) -> None:
    """After a tombstone the key's value goes; the tombstone itself goes in a later pass, when its delay is over."""
    topic = await cluster.topic(configs=COMPACTED)
    async with cluster.producer() as producer:
        await producer.send_and_wait(topic, b"value", b"gone")
        await producer.send_and_wait(topic, b"stays", b"kept")
        await producer.send_and_wait(topic, None, b"gone")
        await _close_segment()
        await producer.send_and_wait(topic, b"end", b"end 0")
    first = await _compacted(cluster, topic, 3)
    assert [each.value for each in first if each.key == b"gone"] in ([None], [])
    async with cluster.producer() as producer:
        # Apache Kafka looks again only at a partition that has new records in closed segments.
        await _close_segment()
        await producer.send_and_wait(topic, b"end", b"end 0")
        await _close_segment()
        await producer.send_and_wait(topic, b"end", b"end 1")
    records = await _compacted(cluster, topic, 3)
    assert [(each.key, each.value) for each in records] == [(b"kept", b"stays"), (b"end 0", b"end"), (b"end 1", b"end")]
