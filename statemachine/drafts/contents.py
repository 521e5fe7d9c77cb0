"""What an event reports, as marks, by which the same report is recognised under another event id."""

from __future__ import annotations

from statemachine.drafts.draft import Draft
from statemachine.messages.events import (
    CancelRequested,
    FulfillmentCancelled,
    RefundRequested,
    ReturnReceived,
    ReturnRequested,
    Shipped,
)
from statemachine.messages.identity import mark_of

#: Events that ship or cancel units.
UnitsReport = Shipped | CancelRequested | FulfillmentCancelled
#: Events that name lines, some of them under an id of what they report.
Report = UnitsReport | RefundRequested | ReturnRequested | ReturnReceived


def report_in(draft: Draft) -> Report:
    """The report in the event; the table asks for it for such events only."""
    data = draft.event.data
    assert isinstance(data, Report)
    return data


def units_in(draft: Draft) -> UnitsReport:
    """The report of units shipped or cancelled in the event; the table asks for it for such events only."""
    data = draft.event.data
    assert isinstance(data, UnitsReport)
    return data


def content_mark(data: Report) -> bytes:
    """The mark of the content of the event; the order of its lines does not matter."""
    if data.items is not None and len(data.items) > 1:
        data = data.model_copy(update={"items": tuple(sorted(data.items, key=lambda item: item.line))})
    return mark_of(data.model_dump_json())


def fact_of(draft: Draft) -> tuple[bytes, bytes] | None:
    """Marks of the id and of the content of the fact that the event reports; None when it has no id of its own."""
    if draft.fact is not None:
        return draft.fact
    data = draft.event.data
    if isinstance(data, Shipped):
        name = mark_of("shipment", data.shipment_id)
    elif isinstance(data, CancelRequested | FulfillmentCancelled) and data.cancellation_id is not None:
        name = mark_of("cancellation", data.cancellation_id)
    elif isinstance(data, RefundRequested):
        name = mark_of("refund", data.refund_id)
    elif isinstance(data, ReturnRequested):
        name = mark_of("return" if data.items else "withdrawal", data.return_id)
    elif isinstance(data, ReturnReceived) and data.receipt_id is not None:
        name = mark_of("receipt", data.return_id, data.receipt_id)
    else:
        return None
    draft.fact = (name, content_mark(data))
    return draft.fact
