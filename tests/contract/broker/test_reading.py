"""Readers: where they start, what they are given at once, what happens past either end."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from tests.contract.broker.cluster import Cluster, read_to


async def test_a_reader_starts_where_its_policy_says(cluster: Cluster) -> None:
    """``earliest`` gives what is there, ``latest`` only what comes, ``none`` an error that names the partition."""
    topic = await cluster.topic()
    partition = TopicPartition(topic, 0)
    async with cluster.producer() as producer:
        await producer.send_and_wait(topic, b"old")
        async with cluster.consumer(auto_offset_reset="latest") as latest:
            latest.assign([partition])
            assert await latest.position(partition) == 1
            await producer.send_and_wait(topic, b"new")
            assert (await asyncio.wait_for(latest.getone(), 10)).value == b"new"
    assert [each.value for each in await cluster.read(topic, 2)] == [b"old", b"new"]
    async with cluster.consumer(group_id=cluster.name("group"), auto_offset_reset="none") as none:
        none.assign([partition])
        with pytest.raises(NoOffsetForPartitionError):
            await none.getone()


@pytest.mark.parametrize("offset", [0, 1, 7])
async def test_an_offset_that_is_not_there_is_out_of_range(cluster: Cluster, offset: int) -> None:
    """Below the first kept and above the end are errors with reset ``none``, naming partition and offset."""
    topic = await cluster.topic()
    partition = TopicPartition(topic, 0)
    async with cluster.producer() as producer:
        for number in range(6):
            await producer.send_and_wait(topic, b"%d" % number)
    async with cluster.admin() as admin:
        assert await admin.delete_records({partition: RecordsToDelete(before_offset=2)}) == {partition: 2}
    async with cluster.consumer(auto_offset_reset="none") as consumer:
        consumer.assign([partition])
        consumer.seek(partition, offset)
        with pytest.raises(OffsetOutOfRangeError) as raised:
            await asyncio.wait_for(consumer.getone(), 10)
        assert raised.value.args[0] == {partition: offset}
        assert await consumer.beginning_offsets([partition]) == {partition: 2}


async def test_the_end_itself_is_in_range(cluster: Cluster) -> None:
    """A reader at the end waits, also where all records were deleted."""
    topic = await cluster.topic()
    partition = TopicPartition(topic, 0)
    async with cluster.producer() as producer:
        await producer.send_and_wait(topic, b"gone")
        async with cluster.admin() as admin:
            assert await admin.delete_records({partition: RecordsToDelete(before_offset=-1)}) == {partition: 1}
        async with cluster.consumer(auto_offset_reset="none") as consumer:
            consumer.assign([partition])
            consumer.seek(partition, 1)
            assert await consumer.getmany(timeout_ms=100) == {}
            await producer.send_and_wait(topic, b"next")
            assert (await asyncio.wait_for(consumer.getone(), 10)).value == b"next"


async def test_deleting_inside_a_batch_hides_its_first_records(cluster: Cluster) -> None:
    """Earliest is the offset asked for, even in the middle of a batch."""
    topic = await cluster.topic()
    partition = TopicPartition(topic, 0)
    async with cluster.producer() as producer:
        batch = producer.create_batch()
        for number in range(10):
            batch.append(key=None, value=b"%d" % number, timestamp=None)
        await (await producer.send_batch(batch, topic, partition=0))
    async with cluster.admin() as admin:
        await admin.delete_records({partition: RecordsToDelete(before_offset=7)})
        with pytest.raises(OffsetOutOfRangeError):
            await admin.delete_records({partition: RecordsToDelete(before_offset=11)})
    assert [each.offset for each in await cluster.read_all(topic)] == [7, 8, 9]


async def test_offsets_are_found_by_time(cluster: Cluster) -> None:
    """The first record as new as the time given; none when all are older."""
    topic = await cluster.topic()
    partition = TopicPartition(topic, 0)
    async with cluster.producer(compression_type="gzip", linger_ms=20) as producer:
        for number in range(5):
            await producer.send(topic, b"x", timestamp_ms=1_700_000_000_000 + 1000 * number, partition=0)
        await producer.flush()
    async with cluster.consumer() as consumer:
        found = await consumer.offsets_for_times({partition: 1_700_000_001_500})
        assert (found[partition].offset, found[partition].timestamp) == (2, 1_700_000_002_000)
        assert (await consumer.offsets_for_times({partition: 0}))[partition].offset == 0
        assert (await consumer.offsets_for_times({partition: 1_800_000_000_000}))[partition] is None


async def test_a_large_batch_cannot_stop_a_reader(cluster: Cluster) -> None:
    """A batch above the reader's limits is given whole, alone; everything behind it follows."""
    topic = await cluster.topic()
    sizes = [10, 200_000, 20, 150_000, 30]
    async with cluster.producer(max_request_size=1 << 20) as producer:
        for size in sizes:
            await producer.send_and_wait(topic, b"x" * size)
    records = await cluster.read_all(topic, max_partition_fetch_bytes=1000, fetch_max_bytes=1000)
    assert [len(each.value) for each in records] == sizes


async def test_a_reader_of_many_partitions_starves_none(cluster: Cluster) -> None:
    """With a total limit far below what is there, every partition is read to its end."""
    topic = await cluster.topic(partitions=4)
    async with cluster.producer() as producer:
        for number in range(40):
            await producer.send_and_wait(topic, b"%d" % number + b"x" * 1000, partition=number % 4)
    records = await cluster.read(topic, 40, fetch_max_bytes=2500)
    assert sorted(int(each.value.rstrip(b"x")) for each in records) == list(range(40))


async def test_a_waiting_reader_is_woken_by_a_record(cluster: Cluster) -> None:
    """A fetch that may wait 5 s is answered as soon as there is something to give."""
    topic = await cluster.topic()
    async with cluster.consumer(topic, fetch_max_wait_ms=5000) as consumer, cluster.producer() as producer:
        assert await consumer.getmany(timeout_ms=200) == {}
        began = time.monotonic()
        await producer.send_and_wait(topic, b"x")
        await asyncio.wait_for(consumer.getone(), 10)
        assert time.monotonic() - began < 2


async def test_a_reader_that_wants_more_bytes_waits_for_them(cluster: Cluster) -> None:
    """``fetch_min_bytes`` holds an answer back until there are that many bytes or the wait is over."""
    topic = await cluster.topic()
    async with cluster.producer() as producer:
        await producer.send_and_wait(topic, b"x")
        began = time.monotonic()
        async with cluster.consumer(topic, fetch_min_bytes=10_000, fetch_max_wait_ms=600) as consumer:
            await asyncio.wait_for(consumer.getone(), 10)
            waited = time.monotonic() - began
            await producer.send_and_wait(topic, b"y" * 20_000)
            await asyncio.wait_for(consumer.getone(), 10)
    assert 0.5 < waited < 5


async def test_position_and_end_agree_after_reading_all(cluster: Cluster) -> None:
    """The position of a reader that has everything is the end offset."""
    topic = await cluster.topic()
    partition = TopicPartition(topic, 0)
    async with cluster.producer() as producer, cluster.consumer() as consumer:
        consumer.assign([partition])
        for number in range(10):
            await producer.send_and_wait(topic, b"%d" % number)
        assert len(await read_to(consumer, partition, 10)) == 10
        assert consumer.highwater(partition) == 10
