"""Produce: what is checked before a batch goes into its partition, in Kafka's order."""

from __future__ import annotations

from typing import TypeAlias

from orderflow.embedded_kafka.groups.members import Client
from orderflow.embedded_kafka.log.batches import RecordBatch, read_batch, records_of
from orderflow.embedded_kafka.log.topics import Clock, Topic, Topics
from orderflow.embedded_kafka.protocol.codes import Code, KafkaApiError
from orderflow.embedded_kafka.transactions import Transactions

Fields: TypeAlias = tuple[object, ...]
_NO_OFFSET = -1
_NO_TIMESTAMP = -1
_ALL_REPLICAS = -1


class Producing:
    """Answers produce requests."""

    def __init__(self, topics: Topics, transactions: Transactions, clock: Clock) -> None:
        self._topics = topics
        self._transactions = transactions
        self._clock = clock

    def produce(
        self,
        client: Client,
        transactional_id: str | None,
        acks: int,
        timeout_ms: int,
        topics: list[tuple[str, list[tuple[int, bytes | None]]]],
    ) -> Fields | None:
        """Produce v7; None, no answer at all, for ``acks=0``."""
        answers = [
            (topic, [self._append(transactional_id, acks, topic, number, data or b"") for number, data in partitions])
            for topic, partitions in topics
        ]
        return None if acks == 0 else (answers, 0)

    def _append(self, transactional_id: str | None, acks: int, name: str, partition: int, data: bytes) -> Fields:
        try:
            if acks not in (-1, 0, 1):
                raise KafkaApiError(Code.INVALID_REQUIRED_ACKS)
            log = self._topics.log(name, partition)
            topic = self._topics.topic(name)
            if acks == _ALL_REPLICAS and topic.config.min_insync_replicas > 1:
                raise KafkaApiError(Code.NOT_ENOUGH_REPLICAS)
            batch = read_batch(data)
            self._check(topic, batch)
            if batch.is_transactional:
                self._transactions.check_append(transactional_id, batch, name, partition)
            offset = log.append(batch)
        except KafkaApiError as refused:
            return partition, refused.code, _NO_OFFSET, _NO_TIMESTAMP, _NO_OFFSET
        self._topics.compact_when_grown(topic, log)
        return partition, Code.NONE, offset, _NO_TIMESTAMP, log.start

    def _check(self, topic: Topic, batch: RecordBatch) -> None:
        if len(batch.data) > topic.config.max_message_bytes:
            raise KafkaApiError(Code.MESSAGE_TOO_LARGE)
        if batch.max_timestamp > self._clock() * 1000 + topic.config.timestamp_after_max_ms:
            raise KafkaApiError(Code.INVALID_TIMESTAMP)
        # Only here are records read one by one: without a key compaction would not know what to keep.
        if topic.config.compacted and any(record.key is None for record in records_of(batch)):
            raise KafkaApiError(Code.INVALID_RECORD)
