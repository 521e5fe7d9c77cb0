"""A producer that met a request without an answer is replaced; what the partition has is kept only where nobody was between."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer.sender import BaseHandler

from producers.answers import AnswerWatch, ProducerIdentity
from producers.connection import KafkaConnection
from producers.outbox import Outbox
from producers.transaction import TransactionalProducer
from statemachine.errors import ConfigError, TransactionAborted
from tests.kafka.frames import FrameProxy, Kind
from tests.kernel.counting import make_topics
from tests.kernel.members import member, part
from tests.kernel.process import faults, publish, read_changes

pytestmark = pytest.mark.timeout(90)


def make(bootstrap: str, prefix: str) -> TransactionalProducer:
    """A producer of the counting lane's partition 0."""
    return TransactionalProducer(
        KafkaConnection(bootstrap), group=f"{prefix}g", partition=0, topics=[f"{prefix}changes"]
    )


async def write(producer: TransactionalProducer, prefix: str, number: int) -> None:
    """Transaction ``number``: a record and an offset."""
    outbox = Outbox(producer.counts, home=0, home_count=1)
    outbox.add(f"{prefix}changes", b"k", b'{"id": "e%d"}' % number)
    offsets = {TopicPartition(f"{prefix}left", 0): number}
    await producer.transact(outbox, offsets, timestamp_ms=int(time.time() * 1000))


async def test_every_request_of_a_transaction_is_watched(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All six kinds pass where answers are counted: none of them can be lost unseen."""
    seen: Counter[int] = Counter()
    real = AnswerWatch.send

    async def send(
        watch: AnswerWatch, node_id: Any, request: Any, **options: Any
    ) -> Any:  # as aiokafka's client has it
        seen[request.API_KEY] += 1
        return await real(watch, node_id, request, **options)

    monkeypatch.setattr(AnswerWatch, "send", send)
    await make_topics(kafka, prefix, 1)
    producer = make(kafka, prefix)
    await producer.start()
    await write(producer, prefix, 1)
    await producer.close()
    assert set(Kind) <= set(seen)


async def test_an_aiokafka_that_sends_past_the_watch_does_not_start(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seam is proven at each start: a change of the library is a line, not a torn transaction."""

    async def do(handler: BaseHandler, node_id: Any) -> bool:  # aiokafka is untyped
        client = handler._sender.client
        answer = await type(client).send(client, node_id, handler.create_request(), group=handler.group)
        return handler.handle_response(answer) is None

    monkeypatch.setattr(BaseHandler, "do", do)
    await make_topics(kafka, prefix, 1)
    producer = make(kafka, prefix)
    with pytest.raises(ConfigError, match="is not supported: orderflow cannot observe its requests"):
        await producer.start()
    assert not producer.alive


async def test_a_committed_transaction_is_not_a_failure_although_its_end_had_to_be_repeated(
    kafka: str, prefix: str
) -> None:
    """The producer says success, is replaced once, and goes on with the epoch that follows."""
    await make_topics(kafka, prefix, 1)
    async with FrameProxy(kafka) as proxy:
        producer = make(proxy.bootstrap, prefix)
        await producer.start()
        held = proxy.hold(Kind.END_TXN, f"{prefix}g-0")
        await write(producer, prefix, 1)
        assert held.caught.is_set()
        assert producer.alive
        assert proxy.passed[Kind.INIT_PRODUCER_ID] == 1
        await producer.renew()
        await producer.renew()
        assert proxy.passed[Kind.INIT_PRODUCER_ID] == 2
        await write(producer, prefix, 2)
        await producer.close()
    assert [change["id"] for change in await read_changes(kafka, prefix, 1, 2)] == ["e1", "e2"]


async def test_a_renewal_that_somebody_else_came_before_is_given_up(kafka: str, prefix: str) -> None:
    """Kafka then skips an epoch: what this producer's owner has proven may be behind, so it may not write with it."""
    await make_topics(kafka, prefix, 1)
    async with FrameProxy(kafka) as proxy:
        producer = make(proxy.bootstrap, prefix)
        await producer.start()
        proxy.hold(Kind.END_TXN, f"{prefix}g-0")
        await write(producer, prefix, 1)
        async with AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{prefix}g-0"):
            pass
        with pytest.raises(TransactionAborted, match="initialised by another process"):
            await producer.renew()
        assert not producer.alive
        with pytest.raises(TransactionAborted, match="is gone"):
            await write(producer, prefix, 2)
    assert [change["id"] for change in await read_changes(kafka, prefix, 1, 1)] == ["e1"]


async def _lose_one_answer(kafka: str, prefix: str) -> tuple[list[str], int, int]:
    """A lane whose EndTxn has to be repeated: what is wrong at the end, and how often it took over and restored."""
    await make_topics(kafka, prefix, 1)
    async with FrameProxy(kafka) as proxy, member(proxy.bootstrap, prefix, 1) as membership:
        await publish(kafka, prefix, 0, 30)
        await read_changes(kafka, prefix, 1, 30)
        held = proxy.hold(Kind.END_TXN, f"{prefix}counting-0")
        await publish(kafka, prefix, 30, 30)
        assert held.caught.is_set()
        await publish(kafka, prefix, 60, 30)
        found = faults(await read_changes(kafka, prefix, 1, 90), 90)
        counters = part(membership, 0).counters
        return found, counters.takeovers, counters.restores


async def test_a_renewal_keeps_the_store_and_the_queue(kafka: str, prefix: str) -> None:
    """Nothing is taken over, read back or read again."""
    assert await _lose_one_answer(kafka, prefix) == ([], 1, 1)


async def test_a_renewal_that_proves_nothing_is_settled_by_the_position_record(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when aiokafka had to repeat the init itself: the partition takes over, finds its own last record and keeps its store."""
    monkeypatch.setattr(ProducerIdentity, "next", property(lambda _: None))
    assert await _lose_one_answer(kafka, prefix) == ([], 2, 1)
