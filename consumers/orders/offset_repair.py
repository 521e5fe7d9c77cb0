"""Repair of a partition that stopped because its committed offsets and its position record disagree.

An operator decides which of the two is right; both are then set to the same values in one transaction, with the reason in the
position record's headers. The init fences any worker that still has the partition, and a new incarnation makes every store of it
stale, so the next owner restores.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Literal

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumers.orders.lane import order_topics
from consumers.ownership.changelog import ChangelogReader, stop_consumer
from consumers.ownership.positions import PositionRecord, decode_position, encode_position, other_partition_count
from producers.connection import KafkaConnection, start_client, within
from producers.outbox import OutboundRecord, Outbox
from producers.topics import Lane, group_id
from producers.transaction import TransactionalProducer
from statemachine.errors import BrokerUnavailable, ConfigError, UnreadableTable

Use = Literal["positions", "committed"]


class OrderOffsetRepair(msgspec.Struct, frozen=True):
    """The offsets that were found and those to go on with, by input topic; None: there is none."""

    partition: int
    committed: dict[str, int | None]
    position: dict[str, int] | None
    #: First and next-to-come offset that Kafka has.
    available: dict[str, tuple[int, int]]
    #: The offsets to go on with.
    accepted: dict[str, int]
    applied: bool

    @property
    def agrees(self) -> bool:
        """Nothing to repair: both are what would be accepted."""
        return self.committed == self.accepted and self.position == self.accepted


async def repair_order_offsets(
    connection: KafkaConnection,
    prefix: str,
    number: int,
    *,
    partitions: int,
    use: Use,
    reason: str,
    apply: bool,
    timestamp_ms: int,
) -> OrderOffsetRepair:
    """Show, or with ``apply`` write, the offsets of one side of a disagreement.

    Offsets outside what Kafka has are moved to the nearest end of it: what was deleted cannot be read again.

    Raises:
        ConfigError: The chosen side has no offsets, or there is no such partition.
        BrokerError: Kafka did not answer or refused; nothing is half done.
    """
    if not 0 <= number < partitions:
        raise ConfigError(f"there is no partition {number}: the topics have 0 to {partitions - 1}")
    group, topics = group_id(prefix, Lane.ORDERS), order_topics(prefix)
    assert topics.positions is not None
    inputs = {TopicPartition(full, number): name for name, full in topics.inputs.items()}
    producer = TransactionalProducer(connection, group=group, partition=number, topics=(topics.positions,))
    reader = ChangelogReader(connection)
    try:
        if apply:
            await producer.start()  # before anything is read, as every owner does
        value = await reader.last_value(TopicPartition(topics.positions, number))
        record = _readable(value, topics.positions, number)
        if record is not None and record.partitions != partitions:
            raise other_partition_count(record.partition, record.partitions, partitions)
        begins, ends = await reader.beginnings(inputs), await reader.ends(inputs)
        committed = await _committed(connection, group, inputs)
        chosen = committed if use == "committed" else ({} if record is None else dict(record.next_offsets))
        available = {name: (begins[tp], ends[tp]) for tp, name in inputs.items()}
        other = committed if use == "positions" else ({} if record is None else dict(record.next_offsets))
        accepted = _within_reach(chosen, other, available, use)
        found = OrderOffsetRepair(
            number, committed, None if record is None else dict(record.next_offsets), available, accepted, applied=False
        )
        if not apply:
            return found
        written = PositionRecord(
            partition=number,
            partitions=partitions,
            transaction=1 if record is None else record.transaction + 1,
            incarnation=f"accepted-{uuid.uuid4().hex}",
            next_offsets=accepted,
        )
        outbox = Outbox(producer.counts, home=number, home_count=partitions)
        headers = (("orderflow-reason", reason.encode()), ("orderflow-use", use.encode()))
        outbox.add_to(topics.positions, number, OutboundRecord(str(number).encode(), encode_position(written), headers))
        offsets = {tp: accepted[name] for tp, name in inputs.items()}
        await producer.transact(outbox, offsets, timestamp_ms=timestamp_ms)
        return msgspec.structs.replace(found, applied=True)
    finally:
        await producer.close()
        await reader.close()


def _readable(value: bytes | None, topic: str, number: int) -> PositionRecord | None:
    """The position record; None when there is none, or when it cannot be read, which is what is being repaired."""
    try:
        return None if value is None else decode_position(value, topic, number)
    except UnreadableTable:
        return None


async def _committed(
    connection: KafkaConnection, group: str, inputs: dict[TopicPartition, str]
) -> dict[str, int | None]:
    consumer = AIOKafkaConsumer(**connection.client_options(), group_id=group, enable_auto_commit=False)
    limit = connection.limits.operation_seconds
    try:
        await within(limit, start_client(consumer), "the start of a consumer")
        consumer.assign(list(inputs))
        return {
            name: await within(limit, consumer.committed(tp), "a request for committed offsets")
            for tp, name in inputs.items()
        }
    except KafkaError as error:
        raise BrokerUnavailable(f"committed offsets could not be read: {type(error).__name__}") from error
    finally:
        await stop_consumer(consumer, connection.limits.stop_seconds)


def _within_reach(
    chosen: Mapping[str, int | None], other: Mapping[str, int | None], available: dict[str, tuple[int, int]], use: Use
) -> dict[str, int]:
    accepted: dict[str, int] = {}
    for name, (begin, end) in available.items():
        offset = chosen.get(name)
        if offset is None:
            known = any(one is not None for one in chosen.values())
            if known and other.get(name) is None:  # no side has ever read this topic: its beginning loses nothing
                accepted[name] = begin
                continue
            otherwise = "committed" if use == "positions" else "positions"
            raise ConfigError(
                f"there is no {use} offset of {name} for this partition; --use {otherwise} if that one is right"
            )
        accepted[name] = min(max(offset, begin), end)
    return accepted
