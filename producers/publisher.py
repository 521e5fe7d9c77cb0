"""Writing without a transaction: what the relay and the command line use.

Idempotent, acknowledged by all replicas, murmur2-partitioned. Never used by a lane: lanes write in transactions only.

Rules of the file: a record that is too large for its topic is refused before it is sent, because a refusal by Kafka breaks the
producer's sequence for that partition. A producer is never used again after any failure: it is closed in the background and
replaced, so that a failure affects no later record.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Final, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from producers.connection import KafkaConnection, describe, start_client, unreachable, within
from producers.outbox import HeaderList
from producers.packing.producer import make_producer
from producers.packing.sizes import SMALL_BYTES, batch_bytes
from producers.partitioner import partition_of
from producers.single_flight import SingleFlight
from producers.topic_setup import WritingTerms, read_writing_terms
from statemachine.errors import BrokerUnavailable, RecordTooLarge

log = structlog.get_logger(__name__)

#: aiokafka's own limit of a request, in bytes before compression. The topic's limit is what counts; this one is Kafka's default
#: for a whole request (``socket.request.max.bytes``).
_REQUEST_BYTES_MAX: Final = 100 * 1024 * 1024
#: Records that are sent at the same time share a batch of at most this many bytes, which must be below every topic's limit.
_BATCH_BYTES: Final = 64 * 1024
#: How long a readiness check may take.
_LOOK_SECONDS: Final = 2.0
#: How long its result is reused for all callers: each check takes a connection to Kafka, and anybody may ask for one.
LOOK_SHARED_SECONDS: Final = 1.0
#: The writing terms of a topic are read again after this long; before a record is refused, after the second.
_TERMS_SECONDS: Final = 60.0
_TERMS_SECONDS_TO_REFUSE: Final = 5.0
#: Not ready for this long after a failed write, unless a later one succeeds. No record is written only to find out.
DISTRUST_SECONDS: Final = 10.0
#: Between two attempts to make a new producer, at most.
_BACKOFF_SECONDS_MAX: Final = 2.0


class Publisher:
    """Sends single records and waits until Kafka has them; each record gets a working producer, whatever failed before."""

    def __init__(self, connection: KafkaConnection, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is steady, in seconds."""
        self._clock = clock
        self._connection = connection
        self._producer: AIOKafkaProducer | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._terms: dict[str, tuple[WritingTerms, float]] = {}
        self._readings: dict[str, SingleFlight[WritingTerms]] = {}
        self._looks: dict[str | None, SingleFlight[bool]] = {}
        #: When the last write failed, by the clock; None after one that succeeded.
        self._failed_at: float | None = None

    async def start(self) -> None:
        """Connect.

        Raises:
            BrokerUnavailable: Kafka was not reached within the limit.
        """
        self._producer = await self._make()

    async def _make(self) -> AIOKafkaProducer:
        """A started producer.

        Raises:
            BrokerUnavailable: Kafka was not reached within the limit.
        """
        producer = make_producer(
            self._connection,
            max_batch_size=_BATCH_BYTES,
            enable_idempotence=True,
            max_request_size=_REQUEST_BYTES_MAX,
            client_id="orderflow-publisher",
        )
        try:
            await within(self._connection.limits.operation_seconds, start_client(producer), "the start of a producer")
        except BaseException as error:
            await self._close(producer)
            if isinstance(error, KafkaConnectionError):
                raise await unreachable(self._connection) from error
            if isinstance(error, KafkaError):
                raise BrokerUnavailable(f"Kafka refused a producer: {describe(error)}") from error
            if isinstance(error, (AssertionError, OSError)):  # aiokafka lets these through when a connection breaks
                raise BrokerUnavailable("the connection to Kafka broke while a producer started") from error
            raise
        return producer

    async def send(self, topic: str, key: bytes | None, value: bytes | None, headers: HeaderList = ()) -> int:
        """Write one record, partitioned by murmur2 of its key, and return its offset once all replicas have it.

        Raises:
            RecordTooLarge: The record is larger than the topic allows; nothing was sent.
            BrokerUnavailable: Not acknowledged within the limit; the record may or may not be there.
        """
        size = batch_bytes(key, value, headers, self._connection.compression_type)
        await self._check_size(topic, size)
        producer = await self._sound_producer()
        limit = self._connection.limits.operation_seconds
        done = too_large = False
        try:
            partitions = await within(limit, producer.partitions_for(topic), f"reading the partitions of {topic}")
            partition = None if key is None else partition_of(key, len(partitions))
            sending = producer.send_and_wait(topic, value, key, partition, headers=list(headers))
            metadata = await within(limit, sending, f"a write to {topic}")
            done = True
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            too_large = True
            terms, _ = self._terms.pop(topic, (None, 0.0))
            if terms is None or terms.record_bytes_max is None:
                raise RecordTooLarge(f"Kafka refuses a record of {size} bytes for {topic}: it is too large") from error
            # The limit was lowered meanwhile: the next attempt knows it.
            raise BrokerUnavailable(f"Kafka did not accept a record for {topic}: {describe(error)}") from error
        except KafkaError as error:
            raise BrokerUnavailable(f"Kafka did not accept a record for {topic}: {describe(error)}") from error
        finally:
            if (
                not done
            ):  # also when cancelled: whether the record is there is unknown, and so is the producer's sequence
                self._give_up(producer)
                if not too_large:  # a record that is too large does not affect the next one
                    self._failed_at = self._clock()
        self._failed_at = None
        offset: int = metadata.offset
        return offset

    async def _check_size(self, topic: str, size: int) -> None:
        """Refuse a record that is larger than the topic allows, by a limit that was read recently.

        Raises:
            RecordTooLarge: It is larger than the limit.
        """
        if size <= SMALL_BYTES:
            return
        most = (await self._terms_of(topic, _TERMS_SECONDS)).record_bytes_max
        if most is not None and size > most:
            most = (await self._terms_of(topic, _TERMS_SECONDS_TO_REFUSE)).record_bytes_max
        if most is not None and size > most:
            raise RecordTooLarge(f"the record takes {size} bytes; {topic} allows {most}")

    async def _terms_of(self, topic: str, age_seconds_max: float) -> WritingTerms:
        """The terms of a topic; the last known ones when Kafka does not answer."""
        now = self._clock()
        known, read_at = self._terms.get(topic, (WritingTerms(), None))
        if read_at is not None and now - read_at <= age_seconds_max:
            return known
        try:
            return await self._read_terms(topic)
        except BrokerUnavailable:
            return known  # the write itself will report what is wrong

    async def _read_terms(self, topic: str) -> WritingTerms:
        """The current terms of a topic; concurrent callers share one request.

        Raises:
            BrokerUnavailable: Kafka did not answer.
        """

        async def read() -> WritingTerms:
            terms = await read_writing_terms(self._connection, topic)
            self._terms[topic] = (terms, self._clock())
            return terms

        return await self._readings.setdefault(topic, SingleFlight(read, clock=self._clock)).result()

    # -- the producer and its successors

    async def _sound_producer(self) -> AIOKafkaProducer:
        """The producer, waiting for a new one where the last has failed.

        Raises:
            BrokerUnavailable: Not started, or there is none within the limit.
        """
        if self._producer is None and self._renewal is not None:
            limit = self._connection.limits.operation_seconds
            await within(limit, asyncio.shield(self._renewal), "the start of a new producer")
        if self._producer is None:
            raise BrokerUnavailable("the publisher is not started")
        return self._producer

    def _give_up(self, producer: AIOKafkaProducer) -> None:
        """Never use ``producer`` again: close it in the background, so that pending writes may end, and start a new one."""
        if self._producer is not producer:
            return  # another record that failed with it was first
        self._producer = None
        closing = asyncio.create_task(self._close(producer), name="closing a producer")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._renewal = asyncio.create_task(self._renew(), name="renewing a producer")

    async def _renew(self) -> None:
        pause = 0.1
        while True:
            try:
                self._producer = await self._make()
            except BrokerUnavailable:
                await asyncio.sleep(pause)
                pause = min(_BACKOFF_SECONDS_MAX, 2 * pause)
            else:
                log.warning("producer_renewed", reason="a write failed or was not acknowledged in time")
                return

    async def _close(self, producer: AIOKafkaProducer) -> None:
        """Close without ever raising or taking longer than the stop limit."""
        with suppress(BrokerUnavailable, KafkaError):
            await within(self._connection.limits.stop_seconds, producer.stop(), "closing a producer")

    # -- readiness

    async def answers(self, topic: str | None = None) -> bool:
        """Whether a record can be written now, as far as that is known without writing one; takes two seconds at most.

        A result of the last second is reused, so that any number of callers costs Kafka one request.

        There is a producer, a broker answers, each partition of ``topic`` (which must exist) has a leader and as many replicas in
        sync as a write needs, and no write has failed within the last ``DISTRUST_SECONDS`` without one after it that succeeded.
        """
        stopped = self._producer is None and self._renewal is None
        if stopped or self._distrusted():
            return False
        look = self._looks.setdefault(topic, SingleFlight(partial(self._look, topic), LOOK_SHARED_SECONDS, self._clock))
        return await look.result() and not self._distrusted()

    async def _look(self, topic: str | None) -> bool:
        try:
            return await within(_LOOK_SECONDS, self._writable(topic), "reading the cluster's metadata")
        except (BrokerUnavailable, KafkaError):
            return False

    async def _writable(self, topic: str | None) -> bool:
        producer = await self._sound_producer()
        if not await producer.client.force_metadata_update():
            return False
        return topic is None or (await self._read_terms(topic)).writable

    def _distrusted(self) -> bool:
        now = self._clock()
        return self._failed_at is not None and now - self._failed_at < DISTRUST_SECONDS

    async def stop(self) -> None:
        """Flush and close; never longer than the stop limit."""
        for look in self._looks.values():
            await look.stop()
        for reading in self._readings.values():
            await reading.stop()
        renewal, self._renewal = self._renewal, None
        if renewal is not None:
            renewal.cancel()
            await asyncio.wait([renewal])
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._close(producer)
        if self._closing:
            await asyncio.wait(set(self._closing))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
