"""``orderflow replay adopt``: chosen snapshots of a rebuilt table become the live ones, as ``partitions accept`` repairs offsets.

The init of the partition's producer fences a worker that still has it, and the position record of a new incarnation makes every
store of the partition stale, so that the next owner restores what was adopted.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

import msgspec
from aiokafka import TopicPartition

from consumers.orders.lane import order_topics
from consumers.ownership.changelog import ChangelogReader, OffsetReader, ReadRecord, text_key
from consumers.ownership.positions import PositionRecord, decode_position, encode_position, same_offsets
from producers.connection import KafkaConnection
from producers.outbox import OutboundRecord, Outbox
from producers.topics import Lane, Topic, group_id, prefixed
from producers.transaction import TransactionalProducer
from statemachine.errors import ConfigError, InvariantBroken
from statemachine.order.order import Order
from statemachine.order.snapshot import decode_snapshot, encode_snapshot


class Adoption(msgspec.Struct, frozen=True):
    """One order before and after: its state and sequence, None where there is no such order or it cannot be read."""

    order_id: str
    state: str | None
    adopted_state: str
    sequence: int | None
    applied: bool


async def adopt_snapshots(
    connection: KafkaConnection,
    prefix: str,
    into: str,
    number: int,
    names: Sequence[str],
    *,
    partitions: int,
    actor: str,
    reason: str,
    apply: bool,
    timestamp_ms: int,
) -> list[Adoption]:
    """Show, or with ``apply`` write, the rebuilt snapshots of orders of one partition into the live table.

    The sequence stays that of the live order: readers of ``order-state-changes`` see neither a gap nor a repeat.

    Raises:
        ConfigError: An order was not rebuilt, or the partition's offsets must be repaired first.
        BrokerError: Kafka did not answer or refused; nothing is half done.
    """
    group, topics = group_id(prefix, Lane.ORDERS), order_topics(prefix)
    assert topics.positions is not None
    assert topics.changelog is not None
    producer = TransactionalProducer(
        connection, group=group, partition=number, topics=(topics.changelog, topics.positions)
    )
    reader = OffsetReader(connection)
    try:
        if apply:
            await producer.start()  # before anything is read, as every owner does
        rebuilt = await _table(reader, prefixed(into, Topic.ORDERS), number)
        live = await _table(reader, topics.changelog, number)
        plans = {name: _adopted(name, live.get(name), rebuilt.get(name)) for name in names}
        found = [_told(name, live.get(name), order, applied=apply) for name, order in plans.items()]
        if apply:
            inputs = {TopicPartition(full, number): name for name, full in topics.inputs.items()}
            record = await _agreed(reader, group, topics.positions, number, inputs)
            outbox = Outbox(producer.counts, home=number, home_count=partitions)
            for name, order in plans.items():
                outbox.add_to(topics.changelog, number, OutboundRecord(name.encode(), encode_snapshot(order)))
            written = msgspec.structs.replace(
                record, transaction=record.transaction + 1, incarnation=f"adopted-{uuid.uuid4().hex}", history=None
            )
            headers = (
                ("orderflow-reason", reason.encode()),
                ("orderflow-actor", actor.encode()),
                ("orderflow-use", b"adopted"),
            )
            outbox.add_to(
                topics.positions, number, OutboundRecord(str(number).encode(), encode_position(written), headers)
            )
            offsets = {tp: record.next_offsets[name] for tp, name in inputs.items()}
            await producer.transact(outbox, offsets, timestamp_ms=timestamp_ms)
        return found
    finally:
        await producer.close()
        await reader.close()


async def _table(reader: ChangelogReader, topic: str, number: int) -> dict[str, bytes]:
    table: dict[str, bytes] = {}

    def take(read: ReadRecord) -> None:
        name = text_key(read, topic)
        if read.value is None:
            table.pop(name, None)
        else:
            table[name] = read.value

    await reader.read_all(TopicPartition(topic, number), take)
    return table


async def _agreed(
    reader: OffsetReader, group: str, positions: str, number: int, inputs: Mapping[TopicPartition, str]
) -> PositionRecord:
    """The newest position record, which the committed offsets must equal."""
    value = await reader.last_value(TopicPartition(positions, number))
    record = None if value is None else decode_position(value, positions, number)
    committed = {tp: await reader.committed(group, tp) for tp in inputs}
    by_name = {inputs[tp]: None if found is None else found[0] for tp, found in committed.items()}
    if record is None or not same_offsets(record, by_name):
        raise ConfigError(
            f"the committed offsets of partition {number} and its position record differ; first repair them: "
            f"orderflow partitions accept {number} --use positions|committed --reason TEXT"
        )
    return record


def _adopted(name: str, live: bytes | None, rebuilt: bytes | None) -> Order:
    if rebuilt is None:
        raise ConfigError(f"order {name} was not rebuilt")
    order, before = decode_snapshot(rebuilt), _readable(live)
    return order if before is None else msgspec.structs.replace(order, sequence=before.sequence, quiet=before.quiet)


def _told(name: str, live: bytes | None, order: Order, *, applied: bool) -> Adoption:
    before = _readable(live)
    if before is None:
        return Adoption(name, None, order.state, order.sequence, applied)
    return Adoption(name, before.state, order.state, before.sequence, applied)


def _readable(snapshot: bytes | None) -> Order | None:
    try:
        return None if snapshot is None else decode_snapshot(snapshot)
    except InvariantBroken:
        return None
