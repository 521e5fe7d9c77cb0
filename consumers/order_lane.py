"""The order lane: events and outcomes in, state changes, snapshots and commands out, exactly once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from consumers.changelog import ChangelogReader
from consumers.fuse import RECORDS_MIN, Fuse
from consumers.membership import GroupOptions, Membership, make_consumer
from consumers.order_batch import OrderLogic
from consumers.partition import LaneOptions, LaneTopics, OwnedPartition
from consumers.store import DictStore, Store
from producers.connection import KafkaConnection
from producers.topics import ORDER_INPUTS, Lane, Topic, group_id, prefixed
from producers.transaction import Probe
from statemachine.policy import Policy

_OUTPUTS = (Topic.ORDER_STATE_CHANGES, Topic.DR_COMMANDS, Topic.DEAD_LETTERS, Topic.INBOX, Topic.INDEX)


def order_topics(prefix: str) -> LaneTopics:
    """The order lane's topics, by their full names."""
    return LaneTopics(
        inputs={topic.value: prefixed(prefix, topic) for topic in ORDER_INPUTS},
        changelog=prefixed(prefix, Topic.ORDERS),
        positions=prefixed(prefix, Topic.POSITIONS),
        outputs=tuple(prefixed(prefix, topic) for topic in _OUTPUTS),
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _dict_store(_partition: int) -> Store:
    return DictStore()


def make_order_lane(
    connection: KafkaConnection,
    *,
    prefix: str,
    partitions: int,
    incarnation: str,
    group: GroupOptions,
    policy: Policy,
    options: LaneOptions | None = None,
    make_store: Callable[[int], Store] = _dict_store,
    fuse_records_min: int = RECORDS_MIN,
    clock: Callable[[], datetime] = _now,
    probe: Probe | None = None,
) -> Membership:
    """A member of the order lane's group, ready for ``run``.

    Args:
        connection: How to reach Kafka.
        prefix: Before every topic name and group id.
        partitions: N, the partition count of the aligned topics.
        incarnation: Unique to this process start.
        group: Session and worker name.
        policy: Waits and limits of decisions.
        options: Batching.
        make_store: A store for a partition number.
        fuse_records_min: See ``Fuse``; 0 switches it off.
        clock: UTC now.
        probe: For fault-injection tests.
    """
    name = group_id(prefix, Lane.ORDERS)
    topics = order_topics(prefix)
    consumer = make_consumer(connection, name, group)
    reader = ChangelogReader(connection)
    lane_options = options or LaneOptions(heartbeat_seconds=group.heartbeat_interval_ms / 1000)

    def make_logic(number: int) -> OrderLogic:
        fuse = Fuse(records_min=fuse_records_min)
        return OrderLogic(
            number,
            partitions=partitions,
            prefix=prefix,
            policy=policy,
            fuse=fuse,
            compression=connection.compression_type,
        )

    def make_partition(number: int) -> OwnedPartition:
        return OwnedPartition(
            number,
            partitions=partitions,
            group=name,
            topics=topics,
            options=lane_options,
            connection=connection,
            consumer=consumer,
            reader=reader,
            incarnation=incarnation,
            make_store=make_store,
            make_logic=make_logic,
            clock=clock,
            probe=probe,
        )

    return Membership(
        connection=connection,
        group=name,
        topics=topics.inputs.values(),
        consumer=consumer,
        make_partition=make_partition,
        reader=reader,
    )
