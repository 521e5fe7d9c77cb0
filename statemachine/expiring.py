"""The shell of an order that was never requested: what waited in it is set aside at its age limit, and then the shell goes."""

from __future__ import annotations

from statemachine.decision import SetAside
from statemachine.decoding import cause_of_parked
from statemachine.draft import Draft
from statemachine.identity import without
from statemachine.order import Order


def is_empty_shell(order: Order) -> bool:
    """Whether nothing is known of the order and nothing waits in it: there is nothing to keep."""
    return order.state == "awaited" and not order.parked and not order.attention


def expire_parked(draft: Draft) -> None:
    """Events that wait for an order which was never requested are set aside at their age limit.

    The one whose deadline this is goes in any case: a limit that was raised meanwhile must not keep the deadline firing.
    """
    arrivals = [entry.arrived for entry in draft.order.parked]
    oldest = max(draft.now - draft.policy.parked_max_age, min(arrivals, default=draft.now))
    kept, seen = [], draft.order.seen
    for entry in draft.order.parked:
        if entry.arrived > oldest:
            kept.append(entry)
            continue
        seen = without(seen, entry.mark)  # so that it can be sent again
        draft.effects.append(SetAside(entry.record, cause_of_parked(entry), "expired", "the order was never requested"))
    draft.put(parked=tuple(kept), seen=seen)
