"""Consumed records: what they take in memory, and how the pure code represents them."""

from __future__ import annotations

from typing import Final

from aiokafka import ConsumerRecord

from producers.topics import Topic
from statemachine.messages.envelope import Record

#: What a record costs beside its bytes: the objects that aiokafka makes of it.
_RECORD_BYTES: Final = 512


def record_bytes(record: ConsumerRecord) -> int:
    """What a record takes in memory, roughly."""
    size: int = _RECORD_BYTES + record.serialized_key_size + record.serialized_value_size
    if record.headers:
        size += sum(_RECORD_BYTES // 4 + len(name) + len(value or b"") for name, value in record.headers)
    return size


def record_of(consumed: ConsumerRecord, topic: Topic) -> Record:
    """A consumed record as the pure code represents it."""
    headers = tuple(consumed.headers or ())
    return Record(topic.value, consumed.partition, consumed.offset, consumed.key, consumed.value, headers)
