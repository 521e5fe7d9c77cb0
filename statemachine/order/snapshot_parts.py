"""Refunds, returns and parked events in a snapshot: their public part, and the part that only the worker needs.

The worker's part is under ``internal``, at the same index as the public part.
"""

from __future__ import annotations

from statemachine.messages.envelope import Record
from statemachine.messages.ids import OrderId
from statemachine.messages.money import format_money, parse_money
from statemachine.order.order import ParkedEvent, Refund, Return
from statemachine.order.snapshot_types import (
    ParkedRecord,
    ParkedView,
    RefundRecord,
    RefundText,
    ReturnRecord,
    ReturnView,
)


def refund_text(refund: Refund, currency: str) -> RefundText:
    """A refund as the contract writes it."""
    return RefundText(
        refund.refund_id, refund.state, None if refund.amount is None else format_money(refund.amount, currency)
    )


def refund_records(refunds: tuple[Refund, ...]) -> tuple[RefundRecord, ...]:
    """The worker's part of refunds."""
    return tuple(
        [
            RefundRecord(one.taken, one.units, one.mark, one.due, one.token_published, one.part, one.whole)
            for one in refunds
        ]
    )


def refunds_of(texts: tuple[RefundText, ...], records: tuple[RefundRecord, ...], currency: str) -> tuple[Refund, ...]:
    """The refunds from their two parts.

    Raises:
        ValueError: The parts do not belong together, or an amount is malformed.
    """
    return tuple(
        Refund(
            text.refund_id,
            text.state,
            None if text.amount is None else parse_money(text.amount, currency),
            kept.taken,
            kept.units,
            kept.mark,
            kept.due,
            kept.token_published,
            kept.part,
            kept.whole,
        )
        for text, kept in zip(texts, records, strict=True)
    )


def return_records(returns: tuple[Return, ...]) -> tuple[ReturnRecord, ...]:
    """The worker's part of returns."""
    return tuple([ReturnRecord(one.remote_id, one.units, one.receipts, one.due, one.refunds) for one in returns])


def returns_of(views: tuple[ReturnView, ...], records: tuple[ReturnRecord, ...]) -> tuple[Return, ...]:
    """The returns from their two parts."""
    return tuple(
        Return(view.return_id, view.state, kept.remote_id, kept.units, kept.receipts, kept.due, kept.refunds)
        for view, kept in zip(views, records, strict=True)
    )


def parked_records(parked: tuple[ParkedEvent, ...]) -> tuple[ParkedRecord, ...]:
    """The worker's part of parked events: their records."""
    return tuple([_parked_record(entry) for entry in parked])


def _parked_record(entry: ParkedEvent) -> ParkedRecord:
    record = entry.record
    assert record.value is not None  # decoding refuses records without a value
    return ParkedRecord(
        entry.mark, record.topic, record.partition, record.offset, record.value.decode(), record.headers
    )


def parked_of(
    order_id: OrderId, views: tuple[ParkedView, ...], records: tuple[ParkedRecord, ...]
) -> tuple[ParkedEvent, ...]:
    """The parked events from their two parts."""
    key = order_id.encode()
    return tuple(
        ParkedEvent(
            view.type,
            view.since,
            kept.mark,
            Record(kept.topic, kept.partition, kept.offset, key, kept.value.encode(), kept.headers),
        )
        for view, kept in zip(views, records, strict=True)
    )
