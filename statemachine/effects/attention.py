"""Marks an order when one of its events cannot be processed at all, so that only this order needs a person."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from statemachine.drafts.draft import Draft
from statemachine.effects.changes import published
from statemachine.messages.events import Event
from statemachine.order.decision import Moved
from statemachine.order.order import Order
from statemachine.order.policy import Policy


def mark_failed(order: Order, event: Event, detail: str, *, now: datetime) -> Moved | None:
    """The order with ``attention`` after an exception inside ``decide``; None when the reason is there already.

    ``detail`` is one of our texts and quotes no value. The event is not remembered: its dead letter can be sent again once the
    fault is repaired.
    """
    return _marked(order, event, f"{event.type} failed: {detail}", now)


def mark_too_large(order: Order, event: Event, detail: str, *, now: datetime) -> Moved | None:
    """The order with ``attention`` after an event for which it has no room; None when the reason is there already."""
    return _marked(order, event, f"{event.type} was refused: {detail}", now)


def _marked(order: Order, event: Event, reason: str, now: datetime) -> Moved | None:
    draft = Draft(order, event, now, Policy())
    draft.call_attention(reason)
    if draft.order is order:
        return None
    marked = replace(draft.order, sequence=order.sequence + 1, quiet=0, updated=now)
    marked, change = published(order, marked, draft, beside="refused")
    assert change is not None  # attention is news
    return Moved(marked, (change,))
