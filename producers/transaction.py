"""One Kafka transaction: all records, then the offsets, then the commit; or nothing of it.

Rules of the file, each measured on Apache Kafka:
- One producer per owned partition, with a transactional id that names the partition. There is no producer without it: with a
  random id a suspended worker could commit beside its successor.
- The future of every record is awaited before the offsets are sent, because aiokafka commits even after a failed batch.
- After any error the producer is never used again: it is dropped and closed in the background within a limit. (An abort after
  an error can make aborted records visible; a failed sequence number breaks all later ones.)
- When a commit gets no answer, its result is unknown. This file does not guess: the next init decides it, and the partition
  verifies its store against the position record.
- A request without an answer may arrive late, in the next transaction. So a producer with such a request finishes its
  transaction and is replaced before the next one begins (``renew``, ``answers.py``). The finished transaction is valid.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IllegalOperation,
    InvalidProducerEpoch,
    InvalidTransactionTimeout,
    InvalidTxnState,
    KafkaConnectionError,
    KafkaError,
    ProducerFenced,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from producers.answers import AnswerWatch, ProducerIdentity
from producers.connection import KafkaConnection, describe, start_client, within
from producers.outbox import OutboundRecord, Outbox
from producers.packing.producer import make_producer
from statemachine.errors import BrokerUnavailable, ConfigError, Fenced, TransactionAborted

log = structlog.get_logger(__name__)

#: Uncompressed size at which a batch is closed and the next one begun; a larger record travels alone.
BATCH_BYTES = 512 * 1024


#: What Kafka refuses for good: a person must change rights or settings.
_REFUSALS = (
    ClusterAuthorizationFailedError,
    InvalidTransactionTimeout,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)


class TransactionStep(StrEnum):
    """Points inside a transaction that a fault-injection test can name."""

    RECORDS_SENT = "records_sent"
    OFFSETS_SENT = "offsets_sent"
    COMMIT_IN_FLIGHT = "commit_in_flight"
    COMMITTED = "committed"


#: Called at each step; only tests set one.
Probe = Callable[[str, TransactionStep], Awaitable[None]]


def transactional_id(group: str, partition: int) -> str:
    """``<prefix>-<group>-<partition>``: the group id carries the prefix of the settings."""
    return f"{group}-{partition}"


class TransactionalProducer:
    """The only writer of one partition's results, from its init until it fails, is fenced or is closed."""

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        group: str,
        partition: int,
        topics: Sequence[str],
        transaction_timeout_ms: int | None = None,
        probe: Probe | None = None,
    ) -> None:
        self._connection = connection
        self._limits = connection.limits
        self._group = group
        self._partition = partition
        self._topics = tuple(topics)
        self._probe = probe
        self._timeout_ms = transaction_timeout_ms or connection.limits.transaction_timeout_ms
        self._producer: AIOKafkaProducer | None = None
        self._watch: AnswerWatch | None = None
        self._closer: asyncio.Task[None] | None = None
        #: Partition count of each output topic, known after ``start``.
        self.counts: dict[str, int] = {}

    @property
    def transactional_id(self) -> str:
        """The id that fences every earlier producer of this partition."""
        return transactional_id(self._group, self._partition)

    @property
    def alive(self) -> bool:
        """Started, and nothing has failed since."""
        return self._producer is not None

    @property
    def unanswered(self) -> bool:
        """A request got no answer: nothing is written before another init, by ``renew`` or by the next transaction."""
        return self._watch is not None and self._watch.unanswered > 0

    async def start(self) -> None:
        """Init: fences the partition's earlier producer and aborts its open transaction.

        When this returns, ``committed()`` and the partition's topics show every transaction of the earlier owner's that will
        ever be visible, because Kafka answers the init only after all markers are written.

        Raises:
            BrokerUnavailable: Kafka was not reached within the limit.
            ConfigError: Kafka refuses the id or the time-out for good, or this aiokafka cannot be watched.
        """
        await self._init(fresh=False)

    async def _init(self, *, fresh: bool) -> ProducerIdentity:
        """A new producer with our id; ``fresh``: its metadata comes from Kafka, because requests were lost."""
        producer = make_producer(
            self._connection,
            max_batch_size=BATCH_BYTES,
            transactional_id=self.transactional_id,
            transaction_timeout_ms=self._timeout_ms,
            client_id=f"orderflow-{self.transactional_id}",
        )
        watch = AnswerWatch(producer)
        self._producer, self._watch = producer, watch
        started = False
        try:
            await within(self._limits.operation_seconds, start_client(producer), "the start of a producer")
            identity = watch.attached()
            loading = self._connection.metadata.load(producer, self._topics, fresh=fresh)
            await within(self._limits.operation_seconds, loading, "reading the metadata of topics")
            for topic in self._topics:
                partitions = await within(
                    self._limits.operation_seconds, producer.partitions_for(topic), f"reading the partitions of {topic}"
                )
                self.counts[topic] = len(partitions)
            started = True
            return identity
        except KafkaConnectionError as error:
            raise BrokerUnavailable(f"Kafka is not reachable at {self._connection.bootstrap_servers}") from error
        except _REFUSALS as error:
            raise ConfigError(f"Kafka refuses transactional id {self.transactional_id}: {describe(error)}") from error
        except KafkaError as error:
            # aiokafka also wraps a lost connection in a bare KafkaError that calls itself not retriable
            raise BrokerUnavailable(f"Kafka did not accept a producer: {describe(error)}") from error
        except (AssertionError, OSError) as error:
            raise BrokerUnavailable("the connection to Kafka broke while a producer started") from error
        finally:
            if not started:
                self._drop()

    async def renew(self) -> None:
        """Replace a producer with an unanswered request; a producer with all its answers is kept.

        When this returns, Kafka refuses every request that is still in flight, and no other producer was initialised in between,
        because Kafka gave the epoch after ours. So whatever the caller has verified still holds.

        Raises:
            TransactionAborted: Another producer was initialised: the caller's state may be stale. This producer is dropped.
            BrokerUnavailable: Kafka was not reached within the limit; the producer is dropped.
            ConfigError: As ``start``.
        """
        watch = self._watch
        if self._producer is None or watch is None or not watch.unanswered:
            return
        unanswered, before = watch.unanswered, watch.attached()
        self._drop()
        found = await self._init(fresh=True)
        if found != before.next:
            self._drop()
            raise TransactionAborted(f"{self.transactional_id} was initialised by another process meanwhile")
        log.info("producer_renewed", transactional_id=self.transactional_id, count=unanswered)

    async def transact(
        self, outbox: Outbox, offsets: Mapping[TopicPartition, int | tuple[int, str]], *, timestamp_ms: int
    ) -> dict[tuple[str, int], int]:
        """Write everything or nothing: the records, the input offsets (with metadata, if there is any), the commit.

        On success all of it is visible to read_committed readers, also when aiokafka had to repeat a request; the producer is
        then replaced, here or by ``renew``. After an error the result is unknown and the producer is not used again.

        Returns:
            The offset of the last record that was written, by topic and partition; negative when Kafka did not tell it.

        Raises:
            Fenced: Another process owns the partition's transactional id.
            TransactionAborted: It failed, or its result is unknown.
        """
        try:
            await self.renew()
        except BrokerUnavailable as error:
            raise TransactionAborted(str(error)) from error
        producer = self._producer
        if producer is None:
            raise TransactionAborted(f"the producer of {self.transactional_id} is gone")
        done, last = False, dict[tuple[str, int], int]()
        try:
            await self._step(producer.begin_transaction(), "begin")
            await self._step(self._send(producer, outbox, timestamp_ms, last), "sending records")
            await self._reached(TransactionStep.RECORDS_SENT)
            if offsets:  # who carries out an operator's action has no input
                await self._step(producer.send_offsets_to_transaction(dict(offsets), self._group), "sending offsets")
            await self._reached(TransactionStep.OFFSETS_SENT)
            await self._commit(producer)
            done = True
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise Fenced(f"{self.transactional_id} was taken over by another process") from error
        except BrokerUnavailable as error:
            raise TransactionAborted(str(error)) from error
        except (KafkaError, AssertionError, IllegalOperation, InvalidTxnState) as error:
            # aiokafka reports misuse of a failed transaction by AssertionError.
            raise TransactionAborted(f"transaction of {self.transactional_id} failed: {describe(error)}") from error
        finally:
            if not done:  # also when cancelled: the result on the broker is unknown
                self._drop()
        await self._reached(TransactionStep.COMMITTED)
        return last

    async def _commit(self, producer: AIOKafkaProducer) -> None:
        if self._probe is None:
            await self._step(producer.commit_transaction(), "commit")
            return
        commit = asyncio.ensure_future(producer.commit_transaction())
        await self._reached(TransactionStep.COMMIT_IN_FLIGHT)
        await self._step(commit, "commit")

    async def _send(
        self, producer: AIOKafkaProducer, outbox: Outbox, timestamp_ms: int, last: dict[tuple[str, int], int]
    ) -> None:
        """Send all records; ``last`` takes the offset of the last one of each partition."""
        sends = [
            self._send_partition(producer, topic, partition, records, timestamp_ms)
            for (topic, partition), records in outbox.batches.items()
        ]
        results = await asyncio.gather(*sends, return_exceptions=True)
        for place, result in zip(outbox.batches, results, strict=True):
            if isinstance(result, BaseException):
                raise result
            last[place] = result

    @staticmethod
    async def _send_partition(
        producer: AIOKafkaProducer, topic: str, partition: int, records: list[OutboundRecord], timestamp_ms: int
    ) -> int:
        """Send one partition's records by ``send_batch``, which costs half of what ``send`` does, and await each batch.

        Returns:
            The offset of the last record.
        """
        batch = producer.create_batch()
        futures = []
        for record in records:
            key, value, headers = record
            if batch.append(timestamp=timestamp_ms, key=key, value=value, headers=list(headers)) is None:
                futures.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(timestamp=timestamp_ms, key=key, value=value, headers=list(headers))
        in_last_batch = batch.record_count()
        futures.append(await producer.send_batch(batch, topic, partition=partition))
        offset = -1
        for result in await asyncio.gather(*futures, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
            offset = result.offset
        return offset if offset < 0 else offset + in_last_batch - 1

    async def _step(self, awaitable: Awaitable[object], what: str) -> None:
        await within(self._limits.operation_seconds, awaitable, f"{what} of {self.transactional_id}")

    async def _reached(self, step: TransactionStep) -> None:
        if self._probe is not None:
            await self._probe(self.transactional_id, step)

    def _drop(self) -> None:
        """Drop the aiokafka producer and close it in the background, within a limit: its ``stop`` hangs after a failure."""
        producer, self._producer = self._producer, None
        if producer is not None:
            self._closer = asyncio.ensure_future(_stop_quietly(producer, self._limits.stop_seconds))
            _closers.add(self._closer)
            self._closer.add_done_callback(_closers.discard)

    def discard(self) -> None:
        """Drop the producer without waiting; a new one with the same id fences it."""
        self._drop()

    async def close(self) -> None:
        """Close the connection. Between transactions this is quick; it never raises and takes at most the stop limit."""
        self._drop()
        if self._closer is not None:
            await self._closer


async def closing_done() -> None:
    """Wait until every dropped producer is closed; at most the stop limit each."""
    if _closers:
        await asyncio.wait(set(_closers))


#: Producers are closed in the background; the set keeps the tasks alive and lets a shutdown wait for them.
_closers: set[asyncio.Task[None]] = set()


async def _stop_quietly(producer: AIOKafkaProducer, seconds: float) -> None:
    stopping = asyncio.ensure_future(producer.stop())
    done, _ = await asyncio.wait([stopping], timeout=seconds)
    if not done:
        stopping.cancel()
        await asyncio.wait([stopping], timeout=seconds)
    if stopping.done() and not stopping.cancelled():
        with contextlib.suppress(BaseException):
            stopping.result()


__all__ = ["BATCH_BYTES", "Probe", "TransactionStep", "TransactionalProducer", "transactional_id"]
