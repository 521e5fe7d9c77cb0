"""Parked events that can never be applied: they are set aside at their age limit, in an awaited order and in one at rest.

An order in ``awaited``, which was never requested, is dropped when it has no parked event any more. In an order at rest
(``complete``, ``returned``) nothing more happens that parked events could wait for, so a person is called.
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

NEVER_READY: Final = "it was parked for the maximum time, and what it waits for did not happen"


def has_nothing_to_keep(order: Order) -> bool:
    """Whether nothing is known of the order and it has no parked events: there is nothing to keep.

    One that has made a change is kept, so that the sequence of its changes goes on.
    """
    unknown = order.state == "awaited" and not order.sequence and order.held is None
    return unknown and not (order.parked or order.queue or order.attention)


def expiry(order: Order, policy: Policy, *, known: datetime | None) -> tuple[Deadline, ...]:
    """The deadline of the oldest parked event; none in states where parked events may still be applied.

    ``known`` is the deadline until now: the new one is never earlier, because the wait begins anew when the order comes to rest.
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
    """Set aside the events of an order that was never requested, at their age limit."""
    for entry in _too_old(draft):
        cause, code = cause_of_parked(entry), "order.never_requested"
        draft.effects.append(SetAside(entry.record, cause, "expired", "the order was never requested", code))


def refuse_parked(draft: Draft) -> None:
    """Refuse events that are parked in an order at rest, at their age limit, and call a person."""
    for entry in _too_old(draft):
        cause = cause_of_parked(entry)
        draft.effects.append(SetAside(entry.record, cause, "refused", NEVER_READY, "order.never_ready"))
        draft.call_attention(f"{entry.type} was refused: {NEVER_READY}")


def _too_old(draft: Draft) -> list[ParkedEvent]:
    """Remove the parked events that are too old from the order.

    The oldest is removed in any case: if the limit was raised meanwhile, the deadline must not fire again and again.
    """
    parked, seen = draft.order.parked, draft.order.seen
    oldest = max(draft.now - draft.policy.parked_max_age, min((entry.arrived for entry in parked), default=draft.now))
    gone = [entry for entry in parked if entry.arrived <= oldest]
    for entry in gone:
        seen = without(seen, entry.mark)  # so that it can be sent again
    draft.put(parked=tuple([entry for entry in parked if entry.arrived > oldest]), seen=seen)
    return gone
