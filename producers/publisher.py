"""Writing without a transaction: what the relay and the command line use.

Idempotent, acknowledged by all replicas, murmur2-partitioned. Never used by a lane: lanes write in transactions only.
"""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from producers.connection import KafkaConnection, unreachable, within
from producers.outbox import HeaderList
from producers.partitioner import partition_of
from statemachine.errors import BrokerUnavailable

#: Largest request that is sent: the largest input record and 64 KiB more.
REQUEST_BYTES_MAX = 1_048_588 + 65_536

#: How long a readiness check may take.
_LOOK_SECONDS = 2.0


class Publisher:
    """Sends single records and waits until Kafka has them."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._producer: AIOKafkaProducer | None = None
        self._counts: dict[str, int] = {}

    async def start(self) -> None:
        """Connect.

        Raises:
            BrokerUnavailable: Kafka was not reached within the limit.
        """
        producer = AIOKafkaProducer(
            **self._connection.client_options(),
            enable_idempotence=True,
            compression_type=self._connection.compression_type,
            max_request_size=REQUEST_BYTES_MAX,
            max_batch_size=256 * 1024,
            client_id="orderflow-publisher",
        )
        try:
            await within(self._connection.limits.operation_seconds, producer.start(), "the start of a producer")
        except BaseException as error:
            with suppress(BrokerUnavailable):
                await within(self._connection.limits.stop_seconds, producer.stop(), "closing a producer")
            if isinstance(error, KafkaConnectionError):
                raise await unreachable(self._connection) from error
            if isinstance(error, KafkaError):
                raise BrokerUnavailable(f"Kafka refused a producer: {type(error).__name__}") from error
            raise
        self._producer = producer

    async def send(self, topic: str, key: bytes | None, value: bytes | None, headers: HeaderList = ()) -> int:
        """Write one record, partitioned by murmur2 of its key, and return its offset once all replicas have it.

        Raises:
            BrokerUnavailable: Not acknowledged within the limit; the record may or may not be there.
        """
        producer = self._producer
        if producer is None:
            raise BrokerUnavailable("the publisher is not started")
        limit = self._connection.limits.operation_seconds
        try:
            if topic not in self._counts:
                self._counts[topic] = len(
                    await within(limit, producer.partitions_for(topic), f"a look at topic {topic}")
                )
            partition = None if key is None else partition_of(key, self._counts[topic])
            sending = producer.send_and_wait(topic, value, key, partition, headers=list(headers))
            metadata = await within(limit, sending, f"a write to {topic}")
        except KafkaError as error:
            raise BrokerUnavailable(f"Kafka did not take a record for {topic}: {type(error).__name__}") from error
        offset: int = metadata.offset
        return offset

    async def answers(self) -> bool:
        """Whether a broker answers now; asks one, for at most two seconds."""
        if self._producer is None:
            return False
        try:
            return bool(
                await within(_LOOK_SECONDS, self._producer.client.force_metadata_update(), "a look at the brokers")
            )
        except (BrokerUnavailable, KafkaError):
            return False

    async def stop(self) -> None:
        """Flush and close; never longer than the stop limit."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                await within(self._connection.limits.stop_seconds, producer.stop(), "closing a producer")
            except (BrokerUnavailable, KafkaError):
                return

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
