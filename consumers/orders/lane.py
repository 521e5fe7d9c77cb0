"""The order lane: events and outcomes in, state changes, snapshots and commands out, exactly once."""

from __future__ import annotations

from consumers.group.membership import Membership
from consumers.lanes import LaneContext, make_stateful_lane
from consumers.orders.fuse import RECORDS_MIN, Fuse
from consumers.orders.logic import OrderLogic
from consumers.orders.looks import looks_per_second
from consumers.ownership.options import LaneTopics
from producers.topics import ORDER_INPUTS, Lane, Topic, prefixed
from statemachine.order.policy import Policy

_OUTPUTS = (
    Topic.ORDER_STATE_CHANGES,
    Topic.ORDER_EVENT_REFUSALS,
    Topic.DR_COMMANDS,
    Topic.DEAD_LETTERS,
    Topic.INBOX,
    Topic.INDEX,
)


def order_topics(prefix: str) -> LaneTopics:
    """The order lane's topics, by their full names."""
    return LaneTopics(
        inputs={topic.value: prefixed(prefix, topic) for topic in ORDER_INPUTS},
        changelog=prefixed(prefix, Topic.ORDERS),
        positions=prefixed(prefix, Topic.POSITIONS),
        outputs=tuple(prefixed(prefix, topic) for topic in _OUTPUTS),
    )


def make_order_lane(
    context: LaneContext,
    *,
    policy: Policy,
    fuse_records_min: int = RECORDS_MIN,
    rate: float = 0.0,
) -> Membership:
    """A member of the order lane's group, ready for ``run``.

    Args:
        context: What every lane is made with; its partition count is that of the aligned topics, and its store is the lane's.
        policy: Waits and limits of decisions.
        fuse_records_min: See ``Fuse``; 0 switches it off.
        rate: Requests a second of the whole fleet, of which looks use a part; 0 for no limit.
    """

    def make_logic(number: int) -> OrderLogic:
        return OrderLogic(
            number,
            partitions=context.partitions,
            prefix=context.prefix,
            policy=policy,
            fuse=Fuse(records_min=fuse_records_min),
            room=context.room,
            code=context.code,
            looks_per_second=looks_per_second(rate, context.partitions),
            measures=context.measures,
            tracing=context.tracing,
        )

    return make_stateful_lane(context, Lane.ORDERS, order_topics(context.prefix), make_logic, context.make_store)
