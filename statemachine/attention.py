"""How an order is marked after an exception inside ``decide``: that order only, never a stopped fleet."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from statemachine.changes import state_change
from statemachine.decision import Moved
from statemachine.draft import Draft
from statemachine.events import Event
from statemachine.order import Order
from statemachine.policy import Policy


def mark_failed(order: Order, event: Event, detail: str, *, now: datetime) -> Moved | None:
    """The order with ``attention`` after ``event`` failed with ``detail`` (our words, no values); None when it says so already.

    The event itself is not remembered: its dead letter can be sent again once the fault is repaired.
    """
    draft = Draft(order, event, now, Policy())
    draft.call_attention(f"{event.type} failed: {detail}")
    if draft.order is order:
        return None
    marked = replace(draft.order, sequence=order.sequence + 1, updated=now)
    return Moved(marked, (state_change(order, marked, draft, refused=True),))
