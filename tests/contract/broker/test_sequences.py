"""Idempotent and transactional appends, request by request: what a producer may send and which code answers the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.protocol.api import Request
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
    TxnOffsetCommitRequest,
)
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from tests.contract.broker.cluster import RETRY_MS, Ask, Cluster

CORRUPT_MESSAGE = 2
UNKNOWN_TOPIC_OR_PARTITION = 3
NOT_LEADER = 6
LOADING = 14
NO_COORDINATOR = 15
NOT_COORDINATOR = 16
INVALID_REQUIRED_ACKS = 21
INVALID_TIMESTAMP = 32
OUT_OF_ORDER = 45
INVALID_PRODUCER_EPOCH = 47
INVALID_TXN_STATE = 48
INVALID_PRODUCER_ID_MAPPING = 49
CONCURRENT_TRANSACTIONS = 51
OPERATION_NOT_ATTEMPTED = 55
#: Kinds of coordinators.
_GROUP, _TRANSACTION = 0, 1


def _batch(producer_id: int, epoch: int, sequence: int, count: int = 1, **options: Any) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=options.get("transactional", False),
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
        batch_size=1 << 20,
    )
    for number in range(count):
        builder.append(number, options.get("timestamp", 1_700_000_000_000), None, b"value", [])
    return bytes(builder.build())


async def _produce(ask: Ask, topic: str, data: bytes, *, name: str | None = None, acks: int = -1) -> tuple[int, int]:
    """(code, offset) of one append to partition 0."""
    while True:
        answer = await ask(ProduceRequest(name, acks, 5000, [(topic, [(0, data)])]))
        _, code, offset, *_ = answer.topics[0][1][0]
        # Apache Kafka lists a new topic a moment before its partitions can be written.
        if code != NOT_LEADER:
            return code, offset
        await asyncio.sleep(RETRY_MS / 1000)


async def _found(ask: Ask, key: str, kind: int) -> None:
    """Find the coordinator; Apache Kafka makes the topic that it keeps its state in when it is first asked."""
    while True:
        if (await ask(FindCoordinatorRequest(key, kind))).error_code != NO_COORDINATOR:
            return
        await asyncio.sleep(RETRY_MS / 1000)


async def _in_time(ask: Ask, request: Request[Any], code_of: Callable[[Any], int]) -> Any:
    """The answer once the coordinator has read its state, and has ended what was open (Apache Kafka asks to come again)."""
    while True:
        answer = await ask(request)
        if code_of(answer) not in (LOADING, NOT_COORDINATOR, CONCURRENT_TRANSACTIONS):
            return answer
        await asyncio.sleep(RETRY_MS / 1000)


async def _init(ask: Ask, name: str | None) -> tuple[int, int]:
    """(producer id, epoch) for a transactional id, or for a producer that is idempotent only."""
    if name is not None:
        await _found(ask, name, _TRANSACTION)
    answer = await _in_time(ask, InitProducerIdRequest(name, 60_000), lambda found: int(found.error_code))
    assert answer.error_code == 0
    return answer.producer_id, answer.producer_epoch


async def test_a_repeated_batch_is_taken_once(cluster: Cluster) -> None:
    """The same sequence again gets the offset of the first time; up to five batches are remembered."""
    topic = await cluster.topic()
    async with cluster.client() as ask:
        producer_id, epoch = await _init(ask, None)
        offsets = [await _produce(ask, topic, _batch(producer_id, epoch, 2 * each, 2)) for each in range(5)]
        assert offsets == [(0, 0), (0, 2), (0, 4), (0, 6), (0, 8)]
        for each in range(5):
            assert await _produce(ask, topic, _batch(producer_id, epoch, 2 * each, 2)) == (0, 2 * each)
    assert len(await cluster.read_all(topic)) == 10


async def test_a_gap_in_the_sequence_is_refused(cluster: Cluster) -> None:
    """A lost batch cannot be jumped over, and nothing of the refused one is there."""
    topic = await cluster.topic()
    async with cluster.client() as ask:
        producer_id, epoch = await _init(ask, None)
        assert await _produce(ask, topic, _batch(producer_id, epoch, 0)) == (0, 0)
        assert await _produce(ask, topic, _batch(producer_id, epoch, 2)) == (OUT_OF_ORDER, -1)
        assert await _produce(ask, topic, _batch(producer_id, epoch, 1)) == (0, 1)
    assert len(await cluster.read_all(topic)) == 2


async def test_a_damaged_batch_is_refused(cluster: Cluster) -> None:
    """A wrong checksum is CORRUPT_MESSAGE."""
    topic = await cluster.topic()
    async with cluster.client() as ask:
        data = bytearray(_batch(-1, -1, -1))
        data[-1] ^= 1
        assert (await _produce(ask, topic, bytes(data)))[0] == CORRUPT_MESSAGE
    assert await cluster.read_all(topic) == []


async def test_records_from_the_future_are_refused(cluster: Cluster) -> None:
    """A record's own time may be an hour ahead at most (``message.timestamp.after.max.ms``)."""
    topic = await cluster.topic()
    async with cluster.client() as ask:
        assert (await _produce(ask, topic, _batch(-1, -1, -1, timestamp=7_000_000_000_000)))[0] == INVALID_TIMESTAMP


async def test_only_three_kinds_of_acknowledgement_exist(cluster: Cluster) -> None:
    """Anything but -1, 0 and 1 is INVALID_REQUIRED_ACKS."""
    topic = await cluster.topic()
    async with cluster.client() as ask:
        assert (await _produce(ask, topic, _batch(-1, -1, -1), acks=3))[0] == INVALID_REQUIRED_ACKS


async def test_each_init_raises_the_epoch(cluster: Cluster) -> None:
    """The same transactional id keeps its producer id; another one gets another id."""
    name = cluster.name("tx")
    async with cluster.client() as ask:
        producer_id, epoch = await _init(ask, name)
        assert await _init(ask, name) == (producer_id, epoch + 1)
        assert (await _init(ask, cluster.name("tx")))[0] != producer_id


async def test_partitions_are_added_all_or_none(cluster: Cluster) -> None:
    """One unknown partition keeps the others out, which are told so."""
    topic = await cluster.topic()
    name = cluster.name("tx")
    async with cluster.client() as ask:
        producer_id, epoch = await _init(ask, name)
        request = AddPartitionsToTxnRequest(name, producer_id, epoch, [(topic, [0, 7])])
        codes = dict((await ask(request)).errors[0][1])
        assert codes == {0: OPERATION_NOT_ATTEMPTED, 7: UNKNOWN_TOPIC_OR_PARTITION}


@pytest.mark.parametrize("stale", [True, False], ids=["stale_epoch", "foreign_producer"])
async def test_every_transactional_call_checks_its_producer(cluster: Cluster, stale: bool) -> None:
    """A stale epoch and a foreign producer id have their codes in every call."""
    topic = await cluster.topic()
    name, group = cluster.name("tx"), cluster.name("group")
    async with cluster.client() as ask:
        producer_id, epoch = await _init(ask, name)
        await _init(ask, name)
        producer_id += 0 if stale else 1_000_000
        expected = INVALID_PRODUCER_EPOCH if stale else INVALID_PRODUCER_ID_MAPPING
        added = await ask(AddPartitionsToTxnRequest(name, producer_id, epoch, [(topic, [0])]))
        assert added.errors[0][1] == [(0, expected)]
        assert (await ask(AddOffsetsToTxnRequest(name, producer_id, epoch, group))).error_code == expected
        assert (await ask(EndTxnRequest(name, producer_id, epoch, True))).error_code == expected
        offsets = TxnOffsetCommitRequest(name, group, producer_id, epoch, [(topic, [(0, 1, "")])])
        await _found(ask, group, _GROUP)
        answer = await _in_time(ask, offsets, lambda found: int(found.errors[0][1][0][1]))
        assert answer.errors[0][1] == [(0, expected)]
        batch = _batch(producer_id, epoch, 0, transactional=True)
        assert (await _produce(ask, topic, batch, name=name))[0] == expected


async def test_a_transaction_must_be_opened_before_it_is_used(cluster: Cluster) -> None:
    """Records for a partition that was not added, and an end without a beginning, are INVALID_TXN_STATE."""
    topic = await cluster.topic()
    name = cluster.name("tx")
    async with cluster.client() as ask:
        producer_id, epoch = await _init(ask, name)
        batch = _batch(producer_id, epoch, 0, transactional=True)
        assert (await _produce(ask, topic, batch, name=name))[0] == INVALID_TXN_STATE
        assert (await ask(EndTxnRequest(name, producer_id, epoch, True))).error_code == INVALID_TXN_STATE
    assert await cluster.read_all(topic) == []


async def test_an_end_may_be_repeated_and_not_reversed(cluster: Cluster) -> None:
    """A commit whose answer was lost is confirmed when asked again; an abort after it is refused."""
    topic = await cluster.topic()
    name = cluster.name("tx")
    async with cluster.client() as ask:
        producer_id, epoch = await _init(ask, name)
        added = await ask(AddPartitionsToTxnRequest(name, producer_id, epoch, [(topic, [0])]))
        assert added.errors[0][1] == [(0, 0)]
        batch = _batch(producer_id, epoch, 0, transactional=True)
        assert await _produce(ask, topic, batch, name=name) == (0, 0)

        async def end(*, committed: bool) -> int:
            while True:
                answer = await ask(EndTxnRequest(name, producer_id, epoch, committed))
                if answer.error_code != CONCURRENT_TRANSACTIONS:
                    code: int = answer.error_code
                    return code

        assert await end(committed=True) == 0
        assert await end(committed=True) == 0
        assert await end(committed=False) == INVALID_TXN_STATE
    assert len(await cluster.read_all(topic, isolation_level="read_committed")) == 1
