"""The order lane: events and outcomes in, state changes, snapshots and commands out, exactly once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from consumers.group.membership import GroupOptions, Membership
from consumers.lanes import dict_store, make_stateful_lane, utc_now
from consumers.orders.fuse import RECORDS_MIN, Fuse
from consumers.orders.logic import OrderLogic
from consumers.ownership.options import LaneOptions, LaneTopics
from consumers.ownership.store import Store
from producers.connection import KafkaConnection
from producers.topics import ORDER_INPUTS, Lane, Topic, group_id, prefixed
from producers.transaction import Probe
from statemachine.order.policy import Policy

_OUTPUTS = (Topic.ORDER_STATE_CHANGES, Topic.DR_COMMANDS, Topic.DEAD_LETTERS, Topic.INBOX, Topic.INDEX)


def order_topics(prefix: str) -> LaneTopics:
    """The order lane's topics, by their full names."""
    return LaneTopics(
        inputs={topic.value: prefixed(prefix, topic) for topic in ORDER_INPUTS},
        changelog=prefixed(prefix, Topic.ORDERS),
        positions=prefixed(prefix, Topic.POSITIONS),
        outputs=tuple(prefixed(prefix, topic) for topic in _OUTPUTS),
    )


def make_order_lane(
    connection: KafkaConnection,
    *,
    prefix: str,
    partitions: int,
    incarnation: str,
    group: GroupOptions,
    policy: Policy,
    options: LaneOptions | None = None,
    make_store: Callable[[int], Store] = dict_store,
    fuse_records_min: int = RECORDS_MIN,
    clock: Callable[[], datetime] = utc_now,
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
    topics = order_topics(prefix)
    lane_options = options or LaneOptions(heartbeat_seconds=group.heartbeat_interval_ms / 1000)

    def make_logic(number: int) -> OrderLogic:
        fuse = Fuse(records_min=fuse_records_min)
        return OrderLogic(
            number,
            partitions=partitions,
            prefix=prefix,
            policy=policy,
            fuse=fuse,
            room=connection.room,
        )

    return make_stateful_lane(
        connection,
        group_name=group_id(prefix, Lane.ORDERS),
        topics=topics,
        partitions=partitions,
        incarnation=incarnation,
        group=group,
        options=lane_options,
        make_logic=make_logic,
        make_store=make_store,
        clock=clock,
        probe=probe,
    )
