"""Records come back as they were sent, and those that Kafka refuses are refused."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, UnknownTopicOrPartitionError

from tests.contract.broker.cluster import Cluster


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_a_record_comes_back_as_it_was_sent(cluster: Cluster, codec: str | None) -> None:
    """Key, value, headers, timestamp and order survive every compression."""
    topic = await cluster.topic()
    sent = [
        (b"key", b"value" * 50, [("a", b"1"), ("a", b"2"), ("empty", b"")], 1_700_000_000_000),
        (None, b"no key", [], 1_700_000_000_001),
        (b"tombstone", None, [("none", None)], 1_700_000_000_002),
        (b"", b"", [], 1_600_000_000_000),
    ]
    async with cluster.producer(compression_type=codec, linger_ms=20) as producer:
        for key, value, headers, timestamp in sent:
            await producer.send(topic, value, key, headers=headers, timestamp_ms=timestamp, partition=0)
        await producer.flush()
    records = await cluster.read(topic, len(sent))
    assert [(each.key, each.value, list(each.headers), each.timestamp) for each in records] == sent
    assert [each.offset for each in records] == [0, 1, 2, 3]


async def test_a_batch_built_by_hand_is_one_append(cluster: Cluster) -> None:
    """``create_batch`` and ``send_batch`` append all records at once, next batch behind it."""
    topic = await cluster.topic()
    async with cluster.producer(compression_type="lz4", max_batch_size=1 << 20) as producer:
        for start in (0, 500):
            batch = producer.create_batch()
            for number in range(start, start + 500):
                assert batch.append(key=b"%d" % number, value=b"x" * 100, timestamp=None) is not None
            metadata = await (await producer.send_batch(batch, topic, partition=0))
            assert metadata.offset == start
    records = await cluster.read_all(topic)
    assert [each.key for each in records] == [b"%d" % number for number in range(1000)]


@pytest.mark.parametrize("acks", [0, 1, "all"])
async def test_every_kind_of_acknowledgement_works(cluster: Cluster, acks: int | str) -> None:
    """Without acknowledgements the broker says nothing and still keeps the record."""
    topic = await cluster.topic()
    async with cluster.producer(acks=acks) as producer:
        for number in range(3):
            await producer.send_and_wait(topic, b"%d" % number)
    assert [each.value for each in await cluster.read(topic, 3)] == [b"0", b"1", b"2"]


async def test_a_batch_above_the_topics_limit_is_refused(cluster: Cluster) -> None:
    """``max.message.bytes`` bounds a batch; what is refused is not there, and the producer goes on."""
    topic = await cluster.topic(configs={"max.message.bytes": "2000"})
    async with cluster.producer(max_request_size=1 << 20) as producer:
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(topic, b"x" * 2000)
        assert (await producer.send_and_wait(topic, b"y" * 1800)).offset == 0
    assert [each.value for each in await cluster.read_all(topic)] == [b"y" * 1800]


async def test_a_batch_of_exactly_the_largest_size_is_taken(cluster: Cluster) -> None:
    """The limit counts the whole batch with its header of 61 bytes, and is inclusive."""
    topic = await cluster.topic(configs={"max.message.bytes": "1000"})
    async with cluster.producer() as producer:
        sizes = await _batch_sizes(producer, topic)
        assert max(sizes) == 1000
    assert len(await cluster.read_all(topic)) == len(sizes)


async def _batch_sizes(producer: AIOKafkaProducer, topic: str) -> list[int]:
    """Send batches of growing size until one is refused; the sizes of those that were taken."""
    taken: list[int] = []
    for length in range(900, 1000):
        batch = producer.create_batch()
        batch.append(key=None, value=b"x" * length, timestamp=None)
        size = batch.size()
        try:
            await (await producer.send_batch(batch, topic, partition=0))
        except MessageSizeTooLargeError:
            return taken
        taken.append(size)
    raise AssertionError("nothing was refused")


async def test_a_compacted_topic_wants_keys(cluster: Cluster) -> None:
    """A record without a key is refused where compaction could not place it (INVALID_RECORD)."""
    topic = await cluster.topic(configs={"cleanup.policy": "compact"})
    async with cluster.producer() as producer:
        with pytest.raises(KafkaError):
            await producer.send_and_wait(topic, b"no key")
        await producer.send_and_wait(topic, b"with key", b"k")
    assert [each.value for each in await cluster.read_all(topic)] == [b"with key"]


async def test_topics_are_made_by_hand_only(cluster: Cluster) -> None:
    """A partition beyond the topic's count does not exist, for writers and readers."""
    topic = await cluster.topic(partitions=2)
    async with cluster.producer() as producer:
        assert await producer.partitions_for(topic) == {0, 1}
        with pytest.raises((UnknownTopicOrPartitionError, AssertionError)):
            await producer.send_and_wait(topic, b"x", partition=2)
    async with cluster.consumer() as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        assert await consumer.end_offsets([TopicPartition(topic, 0)]) == {TopicPartition(topic, 0): 0}
