"""Which requests count as unanswered, and what is said of an aiokafka that cannot be watched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, NodeNotReadyError, RequestTimedOutError
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
    InitProducerIdResponse_v0,
    TxnOffsetCommitRequest,
)

from producers.answers import AnswerWatch, ProducerIdentity
from statemachine.errors import ConfigError

REQUESTS = [
    AddOffsetsToTxnRequest("id", 1, 0, "group"),
    AddPartitionsToTxnRequest("id", 1, 0, [("topic", [0])]),
    EndTxnRequest("id", 1, 0, transaction_result=True),
    InitProducerIdRequest("id", 1000),
    ProduceRequest("id", -1, 1000, []),
    TxnOffsetCommitRequest("id", "group", 1, 0, []),
]


class Client:
    """aiokafka's, as far as it is watched."""

    def __init__(self, *ends: object) -> None:
        self._ends = list(ends)

    async def send(self, node_id: int, request: object, *, group: object = None) -> object:
        """Answer, fail, or never answer when there is nothing left to do."""
        if not self._ends:
            await asyncio.Event().wait()
        end = self._ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end


class Producer:
    """What holds the client."""

    def __init__(self, *ends: object) -> None:
        self.client: Any = Client(*ends)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("error", [KafkaConnectionError("closed"), RequestTimedOutError(), KafkaError("odd")], ids=repr)
async def test_a_request_that_brought_no_answer_counts_whatever_its_kind(request_: object, error: KafkaError) -> None:
    """Aiokafka may repeat it and report success; the first copy may still be on its way."""
    producer = Producer(error)
    watch = AnswerWatch(producer)
    with pytest.raises(type(error)):
        await producer.client.send(1, request_)
    assert watch.unanswered == 1


async def test_a_request_that_was_cut_off_counts() -> None:
    """It was written, and whoever waited for its answer does no longer."""
    producer = Producer()
    watch = AnswerWatch(producer)
    sending = asyncio.create_task(producer.client.send(1, REQUESTS[0]))
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert watch.unanswered == 1


async def test_an_answer_and_a_connection_that_was_never_there_do_not_count() -> None:
    """Nothing is on its way: the producer is kept while brokers come and go."""
    answer = object()
    producer = Producer(answer, NodeNotReadyError())
    watch = AnswerWatch(producer)
    assert await producer.client.send(1, REQUESTS[2], group=None) is answer
    with pytest.raises(NodeNotReadyError):
        await producer.client.send(1, REQUESTS[2])
    assert watch.unanswered == 0


async def test_the_last_good_init_says_who_the_producer_is() -> None:
    """An init that Kafka refused for now is repeated, and gives no identity."""
    producer = Producer(
        InitProducerIdResponse_v0(0, 51, -1, -1),
        InitProducerIdResponse_v0(0, 0, 7, 3),
    )
    watch = AnswerWatch(producer)
    await producer.client.send(1, REQUESTS[3])
    assert watch.identity is None
    await producer.client.send(1, REQUESTS[3])
    assert watch.attached() == ProducerIdentity(7, 3)
    assert watch.attached().next == ProducerIdentity(7, 4)


def test_an_aiokafka_that_cannot_be_watched_is_refused_with_a_line() -> None:
    """Without the watch a late request could tear a transaction, and nobody would know."""
    with pytest.raises(ConfigError, match="install the version that orderflow's requirements name"):
        AnswerWatch(object())
    with pytest.raises(ConfigError, match="is not supported: orderflow cannot observe its requests"):
        AnswerWatch(Producer()).attached()
