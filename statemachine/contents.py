"""What an event reports, as a mark: the same report under another event id is known by it."""

from __future__ import annotations

from statemachine.events import (
    CancelRequested,
    FulfillmentCancelled,
    RefundRequested,
    ReturnReceived,
    ReturnRequested,
    Shipped,
)
from statemachine.identity import mark_of

Report = Shipped | CancelRequested | FulfillmentCancelled | RefundRequested | ReturnRequested | ReturnReceived


def content_mark(data: Report) -> bytes:
    """The mark of what the event says. The order of its lines says nothing."""
    if data.items is not None and len(data.items) > 1:
        data = data.model_copy(update={"items": tuple(sorted(data.items, key=lambda item: item.line))})
    return mark_of(data.model_dump_json())
