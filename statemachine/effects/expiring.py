"""Parked events whose time never came: set aside at their age limit, in a shell that was never requested and in an order at rest.

A shell goes when nothing waits in it any more. An order at rest (``complete``, ``returned``) has nothing to come that could wake
what waits in it: so a person is called.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from statemachine.drafts.draft import Draft
from statemachine.drafts.parked import cause_of_parked
from statemachine.messages.identity import without
from statemachine.order.decision import SetAside
from statemachine.order.order import Deadline, Order, ParkedEvent
from statemachine.order.policy import Policy
from statemachine.order.states import RESTING

NEVER_ITS_TIME: Final = "it waited for as long as events are kept, and what it waits for never came"


def is_empty_shell(order: Order) -> bool:
    """Whether nothing is known of the order and nothing waits in it: there is nothing to keep."""
    return order.state == "awaited" and not order.parked and not order.attention


def expiry(order: Order, policy: Policy, *, known: datetime | None) -> tuple[Deadline, ...]:
    """When the oldest parked event is too old; no deadline where parked events may still be reached.

    ``known`` is when that was until now: never earlier, because what has waited when the order comes to rest waits anew.
    """
    if not order.parked or not (order.state == "awaited" or order.state in RESTING):
        return ()
    due = min(entry.arrived for entry in order.parked) + policy.parked_max_age
    return (Deadline("expire", due if known is None else max(due, known)),)


def with_expiry(order: Order, policy: Policy) -> Order:
    """``order`` after its parked events have changed and nothing else has."""
    known = next((one.due for one in order.deadlines if one.name == "expire"), None)
    left = tuple([one for one in order.deadlines if one.name != "expire"])
    return replace(order, deadlines=(*expiry(order, policy, known=known), *left))


def expire_parked(draft: Draft) -> None:
    """Events that wait for an order which was never requested are set aside at their age limit."""
    for entry in _too_old(draft):
        draft.effects.append(SetAside(entry.record, cause_of_parked(entry), "expired", "the order was never requested"))


def refuse_parked(draft: Draft) -> None:
    """Events that wait in an order at rest are refused at their age limit, and a person is called."""
    for entry in _too_old(draft):
        draft.effects.append(SetAside(entry.record, cause_of_parked(entry), "refused", NEVER_ITS_TIME))
        draft.call_attention(f"{entry.type} was refused: {NEVER_ITS_TIME}")


def _too_old(draft: Draft) -> list[ParkedEvent]:
    """Take the parked events that are too old out of the order.

    The one whose deadline this is goes in any case: a limit that was raised meanwhile must not keep the deadline firing.
    """
    parked, seen = draft.order.parked, draft.order.seen
    oldest = max(draft.now - draft.policy.parked_max_age, min((entry.arrived for entry in parked), default=draft.now))
    gone = [entry for entry in parked if entry.arrived <= oldest]
    for entry in gone:
        seen = without(seen, entry.mark)  # so that it can be sent again
    draft.put(parked=tuple([entry for entry in parked if entry.arrived > oldest]), seen=seen)
    return gone
