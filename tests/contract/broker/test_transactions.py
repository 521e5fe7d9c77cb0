"""Transactions: what is seen when, who is fenced, and by which exception of aiokafka."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
)

from tests.contract.broker.cluster import Cluster, read_to
from tests.eventually import eventually

COMMITTED = "read_committed"
UNCOMMITTED = "read_uncommitted"


async def _committed(cluster: Cluster, group: str, partition: TopicPartition) -> int | None:
    async with cluster.consumer(group_id=group) as consumer:
        offset: int | None = await consumer.committed(partition)
        return offset


async def test_a_committed_transaction_is_seen_by_all(cluster: Cluster) -> None:
    """Records of a committed transaction are visible at both isolation levels; its marker takes an offset."""
    topic = await cluster.topic()
    async with cluster.producer(transactional_id=cluster.name("tx")) as producer:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"a")
            await producer.send_and_wait(topic, b"b")
        async with producer.transaction():
            assert (await producer.send_and_wait(topic, b"c")).offset == 3
    for isolation in (COMMITTED, UNCOMMITTED):
        records = await cluster.read_all(topic, isolation_level=isolation)
        assert [(each.offset, each.value) for each in records] == [(0, b"a"), (1, b"b"), (3, b"c")]


async def test_an_aborted_transaction_is_seen_by_the_uncommitted_view_only(cluster: Cluster) -> None:
    """read_committed skips exactly the aborted records, also between committed ones of the same producer."""
    topic = await cluster.topic()
    async with cluster.producer(transactional_id=cluster.name("tx")) as producer:
        for number in range(6):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"%d" % number)
            await (producer.abort_transaction() if number % 2 else producer.commit_transaction())
    committed = await cluster.read_all(topic, isolation_level=COMMITTED)
    assert [each.value for each in committed] == [b"0", b"2", b"4"]
    uncommitted = await cluster.read_all(topic, isolation_level=UNCOMMITTED)
    assert [each.value for each in uncommitted] == [b"0", b"1", b"2", b"3", b"4", b"5"]


async def test_interleaved_transactions_are_told_apart(cluster: Cluster) -> None:
    """Two producers and a plain one write into one partition; only the aborted one's records are hidden."""
    topic = await cluster.topic()
    async with (
        cluster.producer(transactional_id=cluster.name("tx")) as one,
        cluster.producer(transactional_id=cluster.name("tx")) as two,
        cluster.producer() as plain,
    ):
        await one.begin_transaction()
        await two.begin_transaction()
        for number in range(3):
            await one.send_and_wait(topic, b"one %d" % number)
            await two.send_and_wait(topic, b"two %d" % number)
            await plain.send_and_wait(topic, b"plain %d" % number)
        await one.abort_transaction()
        await two.commit_transaction()
    values = [each.value for each in await cluster.read_all(topic, isolation_level=COMMITTED)]
    assert values == [b"two 0", b"plain 0", b"two 1", b"plain 1", b"two 2", b"plain 2"]


async def test_an_open_transaction_holds_back_what_follows_it(cluster: Cluster) -> None:
    """The committed end is the first offset of the oldest open transaction, whoever wrote what lies behind it."""
    topic = await cluster.topic()
    partition = TopicPartition(topic, 0)
    async with (
        cluster.producer(transactional_id=cluster.name("tx")) as producer,
        cluster.producer() as plain,
        cluster.consumer(isolation_level=COMMITTED, fetch_max_wait_ms=100) as committed,
        cluster.consumer(isolation_level=UNCOMMITTED) as uncommitted,
    ):
        committed.assign([partition])
        uncommitted.assign([partition])
        await plain.send_and_wait(topic, b"before")
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"open")
        await plain.send_and_wait(topic, b"behind")
        assert await committed.end_offsets([partition]) == {partition: 1}
        assert await uncommitted.end_offsets([partition]) == {partition: 3}
        assert [each.value for each in await read_to(committed, partition, 1)] == [b"before"]
        assert await committed.getmany(timeout_ms=300) == {}
        assert (committed.highwater(partition), committed.last_stable_offset(partition)) == (3, 1)
        await producer.commit_transaction()
        assert [each.value for each in await read_to(committed, partition, 4)] == [b"open", b"behind"]
        assert await committed.end_offsets([partition]) == {partition: 4}


async def test_a_position_passes_over_markers(cluster: Cluster) -> None:
    """A reader reaches the end when only a marker or aborted records are left, without getting a record."""
    topic = await cluster.topic()
    partition = TopicPartition(topic, 0)
    async with (
        cluster.producer(transactional_id=cluster.name("tx")) as producer,
        cluster.consumer(isolation_level=COMMITTED) as consumer,
    ):
        consumer.assign([partition])
        async with producer.transaction():
            await producer.send_and_wait(topic, b"a")
        assert len(await read_to(consumer, partition, 2)) == 1
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"b")
        await producer.abort_transaction()
        assert await read_to(consumer, partition, 4) == []


async def test_a_transaction_spans_partitions_and_batches(cluster: Cluster) -> None:
    """All partitions of a transaction become visible by its commit, batches built by hand included."""
    topic = await cluster.topic(partitions=3)
    async with cluster.producer(transactional_id=cluster.name("tx")) as producer, producer.transaction():
        for partition in range(3):
            batch = producer.create_batch()
            for number in range(10):
                batch.append(key=None, value=b"%d" % number, timestamp=None)
            await (await producer.send_batch(batch, topic, partition=partition))
    records = await cluster.read(topic, 30, isolation_level=COMMITTED)
    assert sorted(each.partition for each in records) == [0] * 10 + [1] * 10 + [2] * 10


async def test_offsets_belong_to_their_transaction(cluster: Cluster) -> None:
    """Offsets sent to a transaction are there after its commit and not after its abort."""
    topic = await cluster.topic()
    partition = TopicPartition(topic, 0)
    group = cluster.name("group")
    async with cluster.producer(transactional_id=cluster.name("tx")) as producer:
        async with producer.transaction():
            await producer.send_offsets_to_transaction({partition: 3}, group)
            assert await _committed(cluster, group, partition) is None

        async def offset_is_three() -> bool:
            return await _committed(cluster, group, partition) == 3

        # Markers of the offsets topic are written after the commit was answered.
        await eventually(offset_is_three, 5)
        await producer.begin_transaction()
        await producer.send_offsets_to_transaction({partition: 9}, group)
        await producer.abort_transaction()
    async with cluster.producer(transactional_id=cluster.name("tx")):
        assert await _committed(cluster, group, partition) == 3


async def test_a_new_producer_aborts_what_the_old_one_left(cluster: Cluster) -> None:
    """When init returns, the old transaction is aborted, records and offsets, and nothing holds readers back."""
    topic = await cluster.topic()
    partition = TopicPartition(topic, 0)
    group, name = cluster.name("group"), cluster.name("tx")
    async with cluster.producer(transactional_id=name) as old:
        await old.begin_transaction()
        await old.send_and_wait(topic, b"left open")
        await old.send_offsets_to_transaction({partition: 5}, group)
        async with cluster.producer(transactional_id=name) as new:
            async with cluster.consumer(isolation_level=COMMITTED) as consumer:
                assert await consumer.end_offsets([partition]) == {partition: 2}
            assert await _committed(cluster, group, partition) is None
            async with new.transaction():
                await new.send_and_wait(topic, b"new")
        with pytest.raises(ProducerFenced):
            await old.commit_transaction()
    assert [each.value for each in await cluster.read_all(topic, isolation_level=COMMITTED)] == [b"new"]


async def _send(producer: AIOKafkaProducer, topic: str) -> None:
    await producer.send_and_wait(topic, b"zombie")


async def _send_offsets(producer: AIOKafkaProducer, topic: str) -> None:
    await producer.send_offsets_to_transaction({TopicPartition(topic, 0): 1}, "any group")


async def _commit(producer: AIOKafkaProducer, topic: str) -> None:
    await producer.commit_transaction()


async def _abort(producer: AIOKafkaProducer, topic: str) -> None:
    await producer.abort_transaction()


@pytest.mark.parametrize("act", [_send, _send_offsets, _commit, _abort], ids=["send", "offsets", "commit", "abort"])
@pytest.mark.parametrize("wrote", [True, False], ids=["in_mid_transaction", "before_its_first_record"])
async def test_a_fenced_producer_is_told_so(cluster: Cluster, act: type, wrote: bool) -> None:
    """Whatever it does next, it gets ProducerFenced, and nothing of it becomes visible."""
    topic = await cluster.topic()
    name = cluster.name("tx")
    async with cluster.producer(transactional_id=name) as old:
        await old.begin_transaction()
        if wrote:
            await old.send_and_wait(topic, b"early")
        async with cluster.producer(transactional_id=name):
            if wrote or act in (_send, _send_offsets):
                with pytest.raises(ProducerFenced):
                    await asyncio.wait_for(act(old, topic), 10)
            else:
                # An empty transaction ends without asking the broker.
                await asyncio.wait_for(act(old, topic), 10)
    assert await cluster.read_all(topic, isolation_level=COMMITTED) == []


async def test_a_zombie_cannot_touch_the_offsets_of_its_successor(cluster: Cluster) -> None:
    """With one transactional id per partition a late commit of the former owner changes neither records nor offsets."""
    topic = await cluster.topic()
    partition = TopicPartition(topic, 0)
    group, name = cluster.name("group"), cluster.name("tx")
    async with cluster.producer(transactional_id=name) as zombie:
        await zombie.begin_transaction()
        await zombie.send_and_wait(topic, b"zombie")
        await zombie.send_offsets_to_transaction({partition: 1}, group)
        async with cluster.producer(transactional_id=name) as owner:
            async with owner.transaction():
                await owner.send_and_wait(topic, b"owner")
                await owner.send_offsets_to_transaction({partition: 2}, group)
            with pytest.raises(ProducerFenced):
                await zombie.commit_transaction()
    async with cluster.producer(transactional_id=name):
        assert await _committed(cluster, group, partition) == 2
    assert [each.value for each in await cluster.read_all(topic, isolation_level=COMMITTED)] == [b"owner"]


@pytest.mark.timeout(90)
async def test_an_overdue_transaction_is_aborted_and_its_producer_fenced(cluster: Cluster) -> None:
    """After its timeout a transaction holds nobody back, and its late commit fails."""
    topic = await cluster.topic()
    partition = TopicPartition(topic, 0)
    async with (
        cluster.producer(transactional_id=cluster.name("tx"), transaction_timeout_ms=500) as producer,
        cluster.consumer(isolation_level=COMMITTED) as consumer,
    ):
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"slow")

        async def released() -> bool:
            ends = await consumer.end_offsets([partition])
            return bool(ends[partition] == 2)

        assert not await released()
        await eventually(released, cluster.patience)
        with pytest.raises(ProducerFenced):
            await producer.commit_transaction()
    assert await cluster.read_all(topic, isolation_level=COMMITTED) == []


async def test_an_ended_transaction_is_never_overdue(cluster: Cluster) -> None:
    """The timeout belongs to one transaction: a pause between two of them, longer than it, fences nobody."""
    topic = await cluster.topic()
    async with cluster.producer(transactional_id=cluster.name("tx"), transaction_timeout_ms=500) as producer:
        for value in (b"1", b"2"):
            async with producer.transaction():
                await producer.send_and_wait(topic, value)
            await asyncio.sleep(0.7)
    assert [each.value for each in await cluster.read_all(topic, isolation_level=COMMITTED)] == [b"1", b"2"]


async def test_a_refused_batch_does_not_stop_the_commit(cluster: Cluster) -> None:
    """Hazard H1: the commit succeeds although a record of the transaction was refused; its other half is visible."""
    topic = await cluster.topic(configs={"max.message.bytes": "1000"})
    async with cluster.producer(transactional_id=cluster.name("tx")) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"small")
        refused = await producer.send(topic, b"x" * 2000)
        await producer.commit_transaction()
        with pytest.raises(MessageSizeTooLargeError):
            await refused
    assert [each.value for each in await cluster.read_all(topic, isolation_level=COMMITTED)] == [b"small"]


async def test_a_producer_is_useless_after_a_refused_batch(cluster: Cluster) -> None:
    """Hazard H12: after a refused batch the sequence has a gap for good; a new producer with the same id works."""
    topic = await cluster.topic(configs={"max.message.bytes": "1000"})
    name = cluster.name("tx")
    async with cluster.producer(transactional_id=name) as producer:
        await producer.begin_transaction()
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(topic, b"x" * 2000)
        await producer.abort_transaction()
        await producer.begin_transaction()
        with pytest.raises(OutOfOrderSequenceNumber):
            await asyncio.wait_for(producer.send_and_wait(topic, b"small"), 10)
    async with cluster.producer(transactional_id=name) as producer, producer.transaction():
        await producer.send_and_wait(topic, b"small")
    assert [each.value for each in await cluster.read_all(topic, isolation_level=COMMITTED)] == [b"small"]


async def test_many_transactions_in_a_row_lose_nothing(cluster: Cluster) -> None:
    """Fifty transactions back to back, each with records and offsets, all there, in order."""
    topic = await cluster.topic(partitions=2)
    source = TopicPartition(topic, 1)
    group = cluster.name("group")
    name = cluster.name("tx")
    async with cluster.producer(transactional_id=name) as producer:
        for number in range(50):
            async with producer.transaction():
                await producer.send(topic, b"%d" % number, partition=0)
                await producer.send_offsets_to_transaction({source: number + 1}, group)
    async with cluster.producer(transactional_id=name):
        assert await _committed(cluster, group, source) == 50
    records = await cluster.read_all(topic, isolation_level=COMMITTED)
    assert [int(each.value) for each in records] == list(range(50))


async def test_a_transaction_timeout_above_the_brokers_limit_is_refused(cluster: Cluster) -> None:
    """Kafka allows 15 minutes; more fails when the producer starts."""
    with pytest.raises(KafkaError):
        async with cluster.producer(transactional_id=cluster.name("tx"), transaction_timeout_ms=900_001):
            pass
