"""The embedded Kafka's own doors: faults for tests, time, seeds, a clean end. Apache Kafka has no such doors."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError, ProducerFenced
from aiokafka.protocol.group import JoinGroupRequest

from orderflow.embedded_kafka import EmbeddedKafka
from orderflow.embedded_kafka.log.batches import control_batch
from tests.contract.broker.cluster import Cluster
from tests.eventually import eventually

COMMITTED = "read_committed"


@pytest.fixture
async def kafka() -> AsyncIterator[EmbeddedKafka]:
    """A broker that allows short sessions."""
    async with EmbeddedKafka(session_timeout_min_seconds=0.2) as kafka:
        yield kafka


def _cluster(kafka: EmbeddedKafka) -> Cluster:
    return Cluster(kafka.bootstrap, session_timeout_ms=500, patience=5, compact=kafka.compact)


async def test_data_survive_an_outage_and_clients_come_back(kafka: EmbeddedKafka) -> None:
    """After stop_listening and restart the same clients go on, with everything that was there before."""
    cluster = _cluster(kafka)
    topic = await cluster.topic()
    async with cluster.producer() as producer, cluster.consumer(topic) as consumer:
        await producer.send_and_wait(topic, b"before")
        bootstrap = kafka.bootstrap
        await kafka.stop_listening()
        with pytest.raises(KafkaConnectionError):
            async with cluster.producer():
                pass
        sending = asyncio.ensure_future(producer.send_and_wait(topic, b"during"))
        await asyncio.sleep(0.2)
        assert not sending.done()
        await kafka.restart()
        assert kafka.bootstrap == bootstrap
        assert (await asyncio.wait_for(sending, 10)).offset == 1
        values = [(await asyncio.wait_for(consumer.getone(), 10)).value for _ in range(2)]
    assert values == [b"before", b"during"]


async def test_a_transaction_survives_an_outage(kafka: EmbeddedKafka) -> None:
    """A commit that meets a closed broker is done once it is back: once, whole."""
    cluster = _cluster(kafka)
    topic = await cluster.topic()
    group = cluster.name("group")
    async with cluster.producer(transactional_id="tx") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"a")
        await producer.send_offsets_to_transaction({TopicPartition(topic, 0): 1}, group)
        await kafka.stop_listening()
        committing = asyncio.ensure_future(producer.commit_transaction())
        await asyncio.sleep(0.2)
        assert not committing.done()
        await kafka.restart()
        await asyncio.wait_for(committing, 10)
    assert [each.value for each in await cluster.read_all(topic, isolation_level=COMMITTED)] == [b"a"]


async def test_a_frozen_broker_keeps_connections_and_answers_later(kafka: EmbeddedKafka) -> None:
    """Requests wait while it is frozen and are answered after the thaw, none lost, none twice."""
    cluster = _cluster(kafka)
    topic = await cluster.topic()
    async with cluster.producer() as producer, cluster.consumer(topic) as consumer:
        await producer.send_and_wait(topic, b"0")
        kafka.freeze()
        sending = [asyncio.ensure_future(producer.send_and_wait(topic, b"%d" % number)) for number in (1, 2)]
        connecting = asyncio.open_connection(*kafka.bootstrap.split(":"))
        _, writer = await asyncio.wait_for(connecting, 5)
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.2)
        assert not any(each.done() for each in sending)
        kafka.thaw()
        await asyncio.wait_for(asyncio.gather(*sending), 10)
        values = [(await asyncio.wait_for(consumer.getone(), 10)).value for _ in range(3)]
    assert values == [b"0", b"1", b"2"]


async def test_an_answer_on_its_way_is_held_by_a_freeze(kafka: EmbeddedKafka) -> None:
    """A fetch whose wait ended in the moment of the freeze is answered at the thaw, not before."""
    cluster = _cluster(kafka)
    topic = await cluster.topic()
    async with cluster.consumer(topic, fetch_max_wait_ms=5000) as consumer:
        assert await consumer.getmany(timeout_ms=100) == {}
        kafka._topics.log(topic, 0).append(control_batch(1, 0, committed=True, timestamp=0))
        kafka.freeze()
        await asyncio.sleep(0.1)
        assert await consumer.position(TopicPartition(topic, 0)) == 0
        assert consumer.highwater(TopicPartition(topic, 0)) in {None, 0}
        kafka.thaw()

        async def answered() -> bool:
            return bool(consumer.highwater(TopicPartition(topic, 0)) == 1)

        await eventually(answered, 5)


async def test_what_falls_due_in_a_freeze_happens_at_the_thaw(kafka: EmbeddedKafka) -> None:
    """A transaction whose timeout passes while the broker is frozen is aborted when it wakes."""
    cluster = _cluster(kafka)
    topic = await cluster.topic()
    async with cluster.producer(transactional_id="tx", transaction_timeout_ms=200) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"slow")
        kafka.freeze()
        await asyncio.sleep(0.4)
        kafka.thaw()
        with pytest.raises(ProducerFenced):
            await asyncio.wait_for(producer.commit_transaction(), 10)
    assert await cluster.read_all(topic, isolation_level=COMMITTED) == []


async def test_dropped_connections_lose_and_double_nothing(kafka: EmbeddedKafka) -> None:
    """An idempotent producer whose connections break again and again writes each record once, in order."""
    cluster = _cluster(kafka)
    topic = await cluster.topic()
    async with cluster.producer(enable_idempotence=True) as producer:
        for start in range(0, 100, 20):
            sending = [await producer.send(topic, b"%d" % number) for number in range(start, start + 20)]
            await asyncio.sleep(0)
            kafka.drop_connections()
            await asyncio.wait_for(asyncio.gather(*sending), 10)
    assert [int(each.value) for each in await cluster.read_all(topic)] == list(range(100))


async def test_a_member_keeps_its_place_over_a_short_outage(kafka: EmbeddedKafka) -> None:
    """Sessions count anew after a restart, so an outage longer than the session puts nobody out."""
    cluster = _cluster(kafka)
    topic = await cluster.topic()
    async with cluster.consumer(topic, group_id="group", retry_backoff_ms=20) as consumer:
        await eventually_assigned(consumer)
        generation = consumer._coordinator.generation
        await kafka.stop_listening()
        await asyncio.sleep(0.7)
        await kafka.restart()
        await asyncio.sleep(0.4)
        assert (consumer._coordinator.generation, consumer.assignment()) == (generation, {TopicPartition(topic, 0)})


async def eventually_assigned(consumer: AIOKafkaConsumer) -> None:
    """Wait until the consumer owns something."""

    async def assigned() -> bool:
        return bool(consumer.assignment())

    await eventually(assigned, 5)


async def test_old_records_expire_by_the_given_clock() -> None:
    """``retention.ms`` is honoured lazily, at most every five minutes, by the clock that the broker was given."""
    now = [1_700_000_000.0]
    async with EmbeddedKafka(clock=lambda: now[0]) as kafka:
        cluster = _cluster(kafka)
        topic = await cluster.topic(configs={"retention.ms": "600000"})
        async with cluster.producer() as producer:
            await producer.send_and_wait(topic, b"old", timestamp_ms=1_700_000_000_000)
            await producer.send_and_wait(topic, b"young", timestamp_ms=1_700_000_500_000)
        assert len(await cluster.read_all(topic)) == 2
        now[0] += 601
        assert [each.value for each in await cluster.read_all(topic)] == [b"young"]


async def test_a_tombstone_stays_for_its_time() -> None:
    """Compaction keeps a tombstone ``delete.retention.ms`` from the pass that met it first, then drops it."""
    now = [1_700_000_000.0]
    async with EmbeddedKafka(clock=lambda: now[0]) as kafka:
        cluster = _cluster(kafka)
        topic = await cluster.topic(configs={"cleanup.policy": "compact", "delete.retention.ms": "60000"})
        async with cluster.producer() as producer:
            for key, value in ((b"a", b"1"), (b"a", None), (b"b", b"2")):
                await producer.send_and_wait(topic, value, key, timestamp_ms=1_700_000_000_000)
        assert kafka.compact(topic) == 1
        now[0] += 59
        assert kafka.compact(topic) == 0
        assert [each.value for each in await cluster.read_all(topic)] == [None, b"2"]
        now[0] += 2
        assert kafka.compact(topic) == 1
        assert [(each.offset, each.value) for each in await cluster.read_all(topic)] == [(2, b"2")]


async def test_compaction_that_empties_a_log_still_lets_readers_reach_its_end() -> None:
    """The last batch stays, without its records, so that a position can come to the end offset."""
    async with EmbeddedKafka() as kafka:
        cluster = _cluster(kafka)
        topic = await cluster.topic(configs={"cleanup.policy": "compact", "delete.retention.ms": "0"})
        async with cluster.producer(compression_type="zstd") as producer:
            await producer.send_and_wait(topic, b"1", b"a")
            await producer.send_and_wait(topic, None, b"a")
        assert [kafka.compact(topic), kafka.compact(topic)] == [1, 1]
        assert await cluster.read_all(topic) == []
        async with cluster.producer() as producer:
            assert (await producer.send_and_wait(topic, b"2", b"a")).offset == 2
        assert kafka.compact(topic) == 0
        assert [each.offset for each in await cluster.read_all(topic)] == [2]


async def test_a_growing_compacted_partition_is_compacted_by_itself() -> None:
    """Rewriting few keys for long does not grow the log without bounds."""
    async with EmbeddedKafka() as kafka:
        cluster = _cluster(kafka)
        topic = await cluster.topic(configs={"cleanup.policy": "compact"})
        async with cluster.producer(max_batch_size=1 << 20) as producer:
            for number in range(40):
                batch = producer.create_batch()
                for key in range(100):
                    batch.append(key=b"%d" % key, value=b"%d" % number + b"x" * 1000, timestamp=None)
                await (await producer.send_batch(batch, topic, partition=0))
        records = await cluster.read_all(topic)
        last = {each.key: each for each in records}
        assert len(records) < 2500
        assert len(last) == 100
        assert all(each.value.startswith(b"39x") for each in last.values())


async def test_a_seed_repeats_member_ids() -> None:
    """Two brokers with one seed give the same ids, so that a simulated run can be repeated."""

    async def first_id(seed: int) -> str:
        async with EmbeddedKafka(seed=seed) as kafka, _cluster(kafka).client() as ask:
            answer = await ask(JoinGroupRequest("g", 6000, 6000, "", None, "consumer", [("range", b"")]))
            member_id: str = answer.member_id
            return member_id

    assert await first_id(7) == await first_id(7)
    assert await first_id(7) != await first_id(8)


async def test_topics_can_be_made_by_asking_for_them() -> None:
    """With auto_create_topics an unknown topic is made with the default number of partitions."""
    async with (
        EmbeddedKafka(auto_create_topics=True, default_partitions=3) as kafka,
        _cluster(kafka).producer() as producer,
    ):
        await producer.send_and_wait("made", b"x", partition=2)
        assert await producer.partitions_for("made") == {0, 1, 2}


async def test_a_broken_request_costs_only_its_own_connection(
    kafka: EmbeddedKafka, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes that are not a request close that connection with a line in the log; others go on."""
    cluster = _cluster(kafka)
    topic = await cluster.topic()
    unknown_api = b"\x00\x63\x00\x00\x00\x00\x00\x01\xff\xff"
    undecodable = b"\x00\x00\x00\x07\x00\x00\x00\x01\xff\xff\x00\x05"
    async with cluster.producer() as producer:
        for frame in (b"", unknown_api, undecodable):
            reader, writer = await asyncio.open_connection(*kafka.bootstrap.split(":"))
            writer.write(len(frame).to_bytes(4, "big") + frame)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
            await writer.wait_closed()
        reader, writer = await asyncio.open_connection(*kafka.bootstrap.split(":"))
        writer.write(b"\x7f\xff\xff\xff")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await writer.wait_closed()
        await producer.send_and_wait(topic, b"fine")
    assert caplog.text.count("closing a connection") == 4


async def test_stopping_is_quick_with_clients_connected() -> None:
    """A stop breaks fetches, joins and idle connections at once and leaves no timer; it may be repeated."""
    kafka = EmbeddedKafka()
    await kafka.start()
    cluster = _cluster(kafka)
    topic = await cluster.topic()
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id="tx")
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"open")
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, group_id="g", fetch_max_wait_ms=20_000)
    await consumer.start()
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await kafka.stop()
    await kafka.stop()
    assert time.monotonic() - began < 0.5
    assert not kafka._timers.armed
    assert not kafka._connections
    async with kafka:
        # aiokafka's stop() raises CancelledError when a fetch was broken a moment ago (hazard H16).
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(consumer.stop(), 10)
        await asyncio.wait_for(consumer._client.close(), 10)
        await asyncio.wait_for(producer.abort_transaction(), 10)
        await asyncio.wait_for(producer.stop(), 10)
