"""The transaction coordinator: producer ids, epochs, fencing, open transactions and how they end.

Answers as Kafka's coordinator gives them to clients of the first protocol versions (AddPartitionsToTxn 0, EndTxn 0).
One difference, which to clients looks like a fast broker: markers are written at once, so nothing ever has to wait
with CONCURRENT_TRANSACTIONS, and offsets committed in a transaction can be read as soon as its commit is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias

from orderflow.embedded_kafka.groups.members import Client
from orderflow.embedded_kafka.groups.offsets import Offsets, Partition
from orderflow.embedded_kafka.log.batches import RecordBatch, control_batch
from orderflow.embedded_kafka.log.topics import Topics
from orderflow.embedded_kafka.protocol.codes import Code, KafkaApiError
from orderflow.embedded_kafka.protocol.timers import Timer, Timers

#: Kafka's transaction.max.timeout.ms.
TIMEOUT_MS_MAX = 900_000
#: Kafka gives a new producer id before the epoch (int16) runs out; two epochs are left for fencing and aborting.
EPOCH_MAX = 2**15 - 3
Fields: TypeAlias = tuple[object, ...]


class State(Enum):
    """Of one transactional id; the markers of an ended transaction are always written."""

    EMPTY = auto()
    ONGOING = auto()
    COMMITTED = auto()
    ABORTED = auto()


@dataclass(slots=True)
class Transactional:
    """One transactional id: its current producer, and the open transaction, if there is one."""

    transactional_id: str
    producer_id: int
    epoch: int
    timeout_ms: int
    state: State = State.EMPTY
    partitions: dict[Partition, None] = field(default_factory=dict)
    groups: dict[str, None] = field(default_factory=dict)
    timer: Timer | None = None


class Transactions:
    """All transactional ids. ``now_ms`` gives ms since the epoch, for the markers."""

    def __init__(self, topics: Topics, offsets: Offsets, timers: Timers, now_ms: Callable[[], int]) -> None:
        self._topics = topics
        self._offsets = offsets
        self._timers = timers
        self._now_ms = now_ms
        self._next_producer_id = 0
        self._by_id: dict[str, Transactional] = {}

    def _new_producer_id(self) -> int:
        producer_id = self._next_producer_id
        self._next_producer_id += 1
        return producer_id

    def init_producer(self, client: Client, transactional_id: str | None, timeout_ms: int) -> Fields:
        """InitProducerId v0: a new epoch for the id, which fences its former producer and aborts what it left open."""
        if transactional_id is None:
            return 0, Code.NONE, self._new_producer_id(), 0
        if not transactional_id:
            return 0, Code.INVALID_REQUEST, -1, -1
        if not 0 < timeout_ms <= TIMEOUT_MS_MAX:
            return 0, Code.INVALID_TRANSACTION_TIMEOUT, -1, -1
        known = self._by_id.get(transactional_id)
        if known is None:
            known = Transactional(transactional_id, self._new_producer_id(), -1, timeout_ms)
            self._by_id[transactional_id] = known
        if known.state is State.ONGOING:
            self._fence_and_abort(known)
        if known.epoch >= EPOCH_MAX:
            known.producer_id, known.epoch = self._new_producer_id(), -1
        known.epoch += 1
        known.state = State.EMPTY
        known.timeout_ms = timeout_ms
        return 0, Code.NONE, known.producer_id, known.epoch

    def add_partitions(
        self,
        client: Client,
        transactional_id: str,
        producer_id: int,
        epoch: int,
        topics: list[tuple[str, list[int]]],
    ) -> Fields:
        """AddPartitionsToTxn v0: all of them or none."""
        try:
            transaction = self._owned(transactional_id, producer_id, epoch)
        except KafkaApiError as refused:
            return 0, [(topic, [(number, refused.code) for number in numbers]) for topic, numbers in topics]
        missing = [
            (topic, number) for topic, numbers in topics for number in numbers if not self._exists(topic, number)
        ]
        if missing:
            return 0, [
                (
                    topic,
                    [
                        (
                            number,
                            Code.UNKNOWN_TOPIC_OR_PARTITION
                            if (topic, number) in missing
                            else Code.OPERATION_NOT_ATTEMPTED,
                        )
                        for number in numbers
                    ],
                )
                for topic, numbers in topics
            ]
        self._begin(transaction)
        transaction.partitions.update(((topic, number), None) for topic, numbers in topics for number in numbers)
        return 0, [(topic, [(number, Code.NONE) for number in numbers]) for topic, numbers in topics]

    def _exists(self, topic: str, partition: int) -> bool:
        try:
            self._topics.log(topic, partition)
        except KafkaApiError:
            return False
        return True

    def add_group(self, client: Client, transactional_id: str, producer_id: int, epoch: int, group_id: str) -> Fields:
        """AddOffsetsToTxn v0."""
        try:
            transaction = self._owned(transactional_id, producer_id, epoch)
        except KafkaApiError as refused:
            return 0, refused.code
        self._begin(transaction)
        transaction.groups[group_id] = None
        return 0, Code.NONE

    def commit_offsets(
        self,
        client: Client,
        transactional_id: str,
        group_id: str,
        producer_id: int,
        epoch: int,
        topics: list[tuple[str, list[tuple[int, int, str | None]]]],
    ) -> Fields:
        """TxnOffsetCommit v0: no generation or member is sent, so none can be checked (no fencing by the group)."""
        try:
            transaction = self._owned(transactional_id, producer_id, epoch)
            if transaction.state is not State.ONGOING or group_id not in transaction.groups:
                raise KafkaApiError(Code.INVALID_TXN_STATE)
        except KafkaApiError as refused:
            return 0, [(topic, [(each[0], refused.code) for each in partitions]) for topic, partitions in topics]
        return 0, [
            (
                topic,
                [(each[0], self._offsets.commit_later(producer_id, group_id, topic, *each)) for each in partitions],
            )
            for topic, partitions in topics
        ]

    def end(self, client: Client, transactional_id: str, producer_id: int, epoch: int, committed: bool) -> Fields:
        """EndTxn v0. The same end asked for again is confirmed, the opposite one refused."""
        try:
            transaction = self._owned(transactional_id, producer_id, epoch)
        except KafkaApiError as refused:
            return 0, refused.code
        wanted = State.COMMITTED if committed else State.ABORTED
        if transaction.state is State.ONGOING:
            self._end(transaction, committed=committed)
        elif transaction.state is not wanted:
            return 0, Code.INVALID_TXN_STATE
        return 0, Code.NONE

    def check_append(self, transactional_id: str | None, batch: RecordBatch, topic: str, partition: int) -> None:
        """Refuse a transactional batch that is not part of its producer's open transaction.

        Kafka asks the coordinator so since 3.6 (KIP-890): a late batch of a fenced producer must not open a
        transaction that is never ended.

        Raises:
            KafkaApiError: fenced, or the partition was not added.
        """
        transaction = self._owned(transactional_id or "", batch.producer_id, batch.producer_epoch)
        if transaction.state is not State.ONGOING or (topic, partition) not in transaction.partitions:
            raise KafkaApiError(Code.INVALID_TXN_STATE)

    def forget_topic(self, topic: str) -> None:
        """Take a deleted topic out of open transactions."""
        for transaction in self._by_id.values():
            for partition in [each for each in transaction.partitions if each[0] == topic]:
                del transaction.partitions[partition]

    def _owned(self, transactional_id: str, producer_id: int, epoch: int) -> Transactional:
        """The transactional id, if this producer holds it.

        Raises:
            KafkaApiError: INVALID_PRODUCER_ID_MAPPING for another id, INVALID_PRODUCER_EPOCH for a fenced producer.
        """
        transaction = self._by_id.get(transactional_id)
        if transaction is None or transaction.producer_id != producer_id:
            raise KafkaApiError(Code.INVALID_PRODUCER_ID_MAPPING)
        if transaction.epoch != epoch:
            raise KafkaApiError(Code.INVALID_PRODUCER_EPOCH)
        return transaction

    def _begin(self, transaction: Transactional) -> None:
        if transaction.state is State.ONGOING:
            return
        transaction.state = State.ONGOING
        transaction.timer = self._timers.after(
            transaction.timeout_ms / 1000, lambda: self._fence_and_abort(transaction)
        )

    def _fence_and_abort(self, transaction: Transactional) -> None:
        """Abort without the producer's word: its epoch is used up, so whatever it still sends is refused."""
        transaction.epoch += 1
        self._end(transaction, committed=False)

    def _end(self, transaction: Transactional, *, committed: bool) -> None:
        if transaction.timer is not None:
            transaction.timer.cancel()
            transaction.timer = None
        for topic, partition in transaction.partitions:
            marker = control_batch(
                transaction.producer_id, transaction.epoch, committed=committed, timestamp=self._now_ms()
            )
            self._topics.log(topic, partition).append_marker(marker, committed=committed)
        for group_id in transaction.groups:
            self._offsets.end_transaction(transaction.producer_id, group_id, committed=committed)
        transaction.partitions.clear()
        transaction.groups.clear()
        transaction.state = State.COMMITTED if committed else State.ABORTED
