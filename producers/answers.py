"""Counts requests of a producer without an answer: such a request may still reach Kafka, long after aiokafka has repeated it.

When a connection is lost, aiokafka repeats the request within the same call, with the same producer id and epoch, and the call
succeeds. The first copy may arrive later, and Kafka applies it to whatever is open then: a late EndTxn commits half of the next
transaction, a late TxnOffsetCommit resets committed offsets. Only a new init, which raises the epoch, makes Kafka refuse it.

Rules of the file:
- Every request that may have been written counts, whatever its kind; new kinds count without being named.
- The seam in aiokafka is one method that its documentation does not promise, so ``attached`` proves at each start that it works.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import aiokafka
from aiokafka import AIOKafkaProducer
from aiokafka.errors import NodeNotReadyError
from aiokafka.protocol.transaction import InitProducerIdRequest

from statemachine.errors import ConfigError


class ProducerIdentity(NamedTuple):
    """Producer id and epoch, by which Kafka distinguishes one init of a transactional id from the next."""

    producer_id: int
    epoch: int

    @property
    def next(self) -> ProducerIdentity:
        """What the next init of the same id gets; anything else means that there was another init in between."""
        return ProducerIdentity(self.producer_id, self.epoch + 1)


class AnswerWatch:
    """Watches all requests of one producer, except those for metadata."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        """Attach to a producer that is not started yet.

        Raises:
            ConfigError: This aiokafka has no place to attach to.
        """
        client = getattr(producer, "client", None)
        send = getattr(client, "send", None)
        if client is None or send is None:
            raise _unfit()
        self._send = send
        client.send = self.send
        #: Requests that were, or may have been, written and got no answer.
        self.unanswered = 0
        #: The last init's; None before there was one.
        self.identity: ProducerIdentity | None = None

    def attached(self) -> ProducerIdentity:
        """The identity of the producer; called once it has started.

        Raises:
            ConfigError: Its init was not observed, so none of its requests would be.
        """
        if self.identity is None:
            raise _unfit()
        return self.identity

    async def send(self, node_id: Any, request: Any, **options: Any) -> Any:
        """Stands in for ``AIOKafkaClient.send``: the same arguments, answers and errors."""
        answered = False
        try:
            response = await self._send(node_id, request, **options)
            answered = True
        except NodeNotReadyError:  # there was no connection to write to
            answered = True
            raise
        finally:
            if not answered:
                self.unanswered += 1
        if isinstance(request, InitProducerIdRequest) and response.error_code == 0:
            self.identity = ProducerIdentity(response.producer_id, response.producer_epoch)
        return response


def _unfit() -> ConfigError:
    return ConfigError(
        f"aiokafka {aiokafka.__version__} is not supported: orderflow cannot observe its requests, so a request that arrives "
        "late could tear a transaction; install the version that orderflow's requirements name"
    )
