"""What our producers write to Kafka with LZ4: frames of the fast level that everybody reads, whole batches, exact sizes."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.codec import lz4_decode, lz4_encode
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBase, DefaultRecordBatch, DefaultRecordBatchBuilder

from orderflow.embedded_kafka import EmbeddedKafka
from producers.connection import KafkaConnection
from producers.outbox import Outbox
from producers.packing.lz4 import Lz4Batch, packed
from producers.packing.producer import make_producer
from producers.packing.sizes import batch_bytes
from producers.publisher import Publisher
from producers.topic_setup import create_topics
from producers.topics import Topic
from producers.transaction import TransactionalProducer
from statemachine.errors import ConfigError

HEADER_BYTES = DefaultRecordBase.HEADER_STRUCT.size
#: Text on which the levels differ.
TEXT = b" ".join(b"order %d of sku %d was paid at %d" % (n, n * n % 97, n * 7919 % 1000) for n in range(200))
TOPIC = Topic.ORDER_EVENTS


def _frame(batch: bytes) -> bytes:
    """The frame of a batch; its checksum is right, and its attributes say LZ4."""
    assert DefaultRecordBatch(batch).validate_crc()
    assert DefaultRecordBatch(batch).compression_type == DefaultRecordBase.CODEC_LZ4
    return bytes(batch[HEADER_BYTES:])


def _is_fast(batch: bytes) -> bool:
    records = lz4_decode(_frame(batch))
    assert lz4_encode(records, level=1) != lz4_encode(records, level=9)
    return bytes(lz4_encode(records, level=1)) == _frame(batch)


def _plain(*values: bytes, transactional: bool = False) -> bytearray:
    builder = DefaultRecordBatchBuilder(2, 0, transactional, 7, 1, 42, 1 << 20)
    for offset, value in enumerate(values):
        builder.append(offset, 1000 + offset, b"k", value, [("h", b"x"), ("n", None)])
    return bytearray(builder.build())


async def test_every_batch_of_a_transaction_and_of_single_records_is_lz4_of_the_fast_level() -> None:
    """Seen in the broker's log. aiokafka compresses at level 9; with a version that avoids our batch this test fails."""
    async with EmbeddedKafka() as kafka:
        connection = KafkaConnection(kafka.bootstrap)
        await create_topics(connection, "", partitions=1)
        async with Publisher(connection) as publisher:
            await publisher.send(TOPIC, b"single", TEXT, (("h", b"x"),))
        writer = TransactionalProducer(connection, group="g", partition=0, topics=[TOPIC])
        await writer.start()
        outbox = Outbox({TOPIC: 1}, home=0, home_count=1)
        for number in range(40):
            outbox.add(TOPIC, b"%d" % number, TEXT * 2)
        await writer.transact(outbox, {}, timestamp_ms=1)
        await writer.close()

        batches = [one for one in kafka._topics.log(TOPIC, 0).batches if not one.is_control]
        assert [batch.is_transactional for batch in batches] == [False, True, True]  # the transaction takes two
        assert all(_is_fast(batch.data) for batch in batches)
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, isolation_level="read_committed")
        await consumer.start()
        place = TopicPartition(TOPIC, 0)
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        read = [await consumer.getone() for _ in range(41)]
        await consumer.stop()
    assert [record.key for record in read] == [b"single", *(b"%d" % number for number in range(40))]
    assert [record.value for record in read] == [TEXT, *[TEXT * 2] * 40]
    assert read[0].headers == (("h", b"x"),)


@pytest.mark.parametrize("transactional", [False, True])
def test_packing_changes_the_compression_and_nothing_else(*, transactional: bool) -> None:
    """Producer, sequence, times and records of the packed batch are those of the plain one."""
    plain = _plain(TEXT, TEXT, transactional=transactional)
    batch = packed(bytearray(plain))
    before, after = (DefaultRecordBatch(bytes(one)) for one in (plain, batch))
    assert _is_fast(bytes(batch))
    assert len(batch) < len(plain) / 2
    for name in ("attributes", "crc"):
        assert getattr(before, name) != getattr(after, name)
    for name in (
        "base_offset",
        "magic",
        "timestamp_type",
        "is_transactional",
        "is_control_batch",
        "last_offset_delta",
        "first_timestamp",
        "max_timestamp",
        "producer_id",
        "producer_epoch",
        "base_sequence",
        "next_offset",
    ):
        assert getattr(before, name) == getattr(after, name)
    fields = ("offset", "timestamp", "key", "value", "headers")
    assert [[getattr(one, f) for f in fields] for one in before] == [[getattr(one, f) for f in fields] for one in after]


def test_a_batch_that_packing_would_not_make_smaller_stays_plain() -> None:
    """The attributes then name no compression. What does not compress is not larger for it."""
    plain = _plain(b"{}")
    assert packed(plain) is plain


def test_a_batch_is_packed_once_however_often_it_is_sent() -> None:
    """Aiokafka asks for the bytes at each attempt; they have the sequence of the first."""
    batch = Lz4Batch(1 << 20, 0)
    batch.append(timestamp=1, key=b"k", value=TEXT)
    batch._set_producer_state(7, 1, 42)
    first = batch._build()
    assert batch._build() is first
    assert batch.size() == len(first)
    assert _is_fast(bytes(first))


def test_the_size_that_is_checked_is_that_of_the_batch_that_is_sent() -> None:
    """Limits of topics are compared with what our own batch takes, not with aiokafka's."""
    batch = Lz4Batch(1 << 20, 0)
    batch.append(timestamp=0, key=b"k", value=TEXT * 20, headers=[("h", b"x")])
    other = BatchBuilder(1 << 20, DefaultRecordBase.CODEC_LZ4)
    other.append(timestamp=0, key=b"k", value=TEXT * 20, headers=[("h", b"x")])
    assert batch_bytes(b"k", TEXT * 20, (("h", b"x"),), "lz4") == len(batch._build()) > len(other._build())


async def test_an_aiokafka_without_the_seam_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not go on at level 9 silently, nor without compression."""
    monkeypatch.delattr("aiokafka.producer.message_accumulator.MessageAccumulator.create_builder")
    with pytest.raises(ConfigError, match="cannot set the level of its LZ4"):
        make_producer(KafkaConnection("127.0.0.1:1"), max_batch_size=1 << 16)
