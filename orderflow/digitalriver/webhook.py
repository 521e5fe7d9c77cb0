"""Digital River's events, read into facts.

Kinds of objects are distinguished by their shape, not by the type alone: ``order.charge.failed`` holds an order,
``order.charge.capture.complete`` a charge. Digital River adds types at any time; those that do not concern
orders are None, to be counted and skipped.
"""

from __future__ import annotations

from typing import Final

import msgspec

from orderflow.digitalriver import reading, wire
from orderflow.digitalriver.decoding import Decoder
from statemachine.errors import DecodeError, OffContract
from statemachine.messages.facts import Fact, RemoteDocument
from statemachine.messages.times import read_time

_ORDER_TYPES: Final = frozenset(
    f"order.{name}"
    for name in [
        "accepted",
        "blocked",
        "cancelled",
        "complete",
        "created",
        "dispute",
        "dispute.resolved",
        "fulfilled",
        "pending_payment",
        "refunded",
        "review_opened",
        "review_closed",
        "submitted",
        "updated",
    ]
)
#: ``.created`` and ``.completed`` are spellings from before 2020 that are still listed.
_CHARGE_TYPES: Final = frozenset(
    f"order.charge.{name}"
    for name in [
        "created",
        "pending",
        "capturable",
        "processing",
        "complete",
        "completed",
        "cancelled",
        "failed",
        "reauth.failed",
        "capture.created",
        "capture.pending",
        "capture.complete",
        "capture.completed",
        "capture.failed",
        "cancel.pending",
        "cancel.pending_information",
        "cancel.complete",
        "cancel.failed",
        "refund.created",
        "refund.pending",
        "refund.complete",
        "refund.completed",
        "refund.failed",
    ]
)
_DOCUMENT_TYPES: Final = frozenset({"order.invoice.created", "order.credit_memo.created"})
_FULFILLMENT_TYPES: Final = frozenset({"fulfillment.created", "fulfillment.create"})
#: ``.created`` and ``.succeeded`` are listed spellings of ``.pending`` and ``.complete``.
_REFUND_TYPES: Final = frozenset(
    f"refund.{name}"
    for name in ["created", "pending", "pending_information", "complete", "succeeded", "failed", "updated"]
)
_RETURN_TYPES: Final = frozenset({"return.created", "return.accepted", "return.updated"})
_CHARGEBACK: Final = "order.chargeback"

#: The types that concern an order.
KNOWN_TYPES: Final = (
    _ORDER_TYPES | _CHARGE_TYPES | _DOCUMENT_TYPES | _FULFILLMENT_TYPES | _REFUND_TYPES | _RETURN_TYPES | {_CHARGEBACK}
)

#: Those whose webhooks orderflow needs: Digital River's own core subscription, and the rest that tells what no other event does.
NEEDED_TYPES: Final = frozenset(
    {
        *(f"order.{name}" for name in ["accepted", "blocked", "cancelled", "complete", "fulfilled", "pending_payment"]),
        *("order.review_opened", "order.refunded", "order.dispute", "order.dispute.resolved", _CHARGEBACK),
        *("order.charge.failed", "order.charge.reauth.failed"),
        *(f"order.charge.capture.{name}" for name in ["complete", "completed", "failed"]),
        *(f"order.charge.cancel.{name}" for name in ["complete", "failed"]),
        *(f"order.charge.refund.{name}" for name in ["complete", "completed", "failed"]),
        *(f"refund.{name}" for name in ["pending", "pending_information", "complete", "succeeded", "failed"]),
        "return.accepted",
        *_DOCUMENT_TYPES,
        *_FULFILLMENT_TYPES,
    }
)

#: Families of documented types that are about no order of ours, skipped by name. A type of no list is new, and skipped too.
SKIPPED_FAMILIES: Final = (
    "account.", "checkout.", "checkout_session.", "customer.", "fee.", "fileLink.", "fulfiller.",
    "fulfillment_cancellation.", "fulfillment_order.", "fulfillment_return.", "global_returns.", "invoice.",
    "location.", "logistics_return.", "manufacturer.", "payout.", "plan.", "sales_transaction.", "sku.", "source.",
    "subscription.", "tax_identifier.",
)  # fmt: skip

_events = Decoder(wire.Event)
_shapes = Decoder(wire.Shape)
_orders = Decoder(wire.Order)
_charges = Decoder(wire.Charge)
_fulfillments = Decoder(wire.Fulfillment)
_refunds = Decoder(wire.Refund)
_returns = Decoder(wire.Return)
_documents = Decoder(wire.Document)
_chargebacks = Decoder(wire.Chargeback)


def is_skipped_by_name(kind: str) -> bool:
    """Whether a type is documented and does not concern an order of ours."""
    return kind.startswith(SKIPPED_FAMILIES)


def read_webhook(body: bytes) -> tuple[str, Fact] | None:
    """The event's id and its fact; None for a type that does not concern orders.

    Raises:
        DecodeError: Not JSON (``undecodable``), or not Digital River's event or object (``invalid``). Quotes no value.
    """
    try:
        event = _events.decode(body)
    except msgspec.ValidationError:
        raise DecodeError(
            "invalid",
            "not a Digital River event: id, type or data.object is missing or of a wrong kind",
            "digitalriver.data_unsound",
        ) from None
    except RecursionError:
        raise DecodeError("undecodable", "nested too deeply", "digitalriver.data_unsound") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise DecodeError("undecodable", "not JSON", "digitalriver.data_unsound") from None
    if event.type not in KNOWN_TYPES:
        return None
    try:
        fact = _fact_of(event.type, event.data.object)
        created = read_time(event.created_time)  # without it only the order of two disputes is lost
        return event.id, fact if created is None else msgspec.structs.replace(fact, created=created)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OffContract) as error:
        reason = str(error) if isinstance(error, OffContract) else "a member is missing or of a wrong kind"
        detail = f"the object of {event.type} cannot be read: {reason}"
        raise DecodeError("invalid", detail, "digitalriver.data_unsound") from None


def key_of(body: bytes) -> str | None:
    """The Digital River order or checkout id that an event is about, for a record's key; None when it cannot be read."""
    try:
        event = _events.decode(body)
        shape = _shapes.decode(event.data.object)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if shape.order_id is not None:
        return shape.order_id
    # An order's events share its id; a checkout's have only their own.
    return shape.id


def order_fact(order: wire.Order, kind: str) -> Fact:
    """A fact that is a whole order."""
    return Fact(
        type=kind,
        dr_order_id=order.id,
        checkout_id=order.checkout_id,
        upstream_id=order.upstream_id,
        order=reading.order_of(order),
    )


def _fact_of(kind: str, raw: msgspec.Raw) -> Fact:
    if kind in _DOCUMENT_TYPES:
        document = _documents.decode(raw)
        file_id = document.file_id or document.id
        if file_id is None:
            raise OffContract("a document without an id")
        purpose = document.purpose or (
            "customer_invoice" if kind == "order.invoice.created" else "customer_credit_memo"
        )
        descriptor = RemoteDocument(file_id=file_id, purpose=purpose, dr_order_id=document.order_id)
        return Fact(type=kind, dr_order_id=document.order_id, document=descriptor)
    if kind in _FULFILLMENT_TYPES:
        fulfillment = _fulfillments.decode(raw)
        details = fulfillment.order_details or wire.OrderDetails()
        return Fact(
            type="fulfillment.created",
            dr_order_id=fulfillment.order_id,
            checkout_id=details.checkout_id,
            upstream_id=details.upstream_id,
            fulfillment=reading.fulfillment_of(fulfillment),
        )
    if kind in _REFUND_TYPES:
        refund = _refunds.decode(raw)
        return Fact(type=kind, dr_order_id=refund.order_id, refund=reading.refund_of(refund))
    if kind in _RETURN_TYPES:
        returned = _returns.decode(raw)
        return Fact(type=kind, dr_order_id=returned.order_id, returned=reading.return_of(returned))
    if kind == _CHARGEBACK:
        return _chargeback_fact(_chargebacks.decode(raw))
    # ``orderId`` makes it a child object; an order has none and has states instead.
    if _shapes.decode(raw).order_id is not None:
        charge = _charges.decode(raw)
        return Fact(type=kind, dr_order_id=charge.order_id, charge=reading.charge_of(charge))
    return order_fact(_orders.decode(raw), kind)


def _chargeback_fact(chargeback: wire.Chargeback) -> Fact:
    """Money that a bank took back; given with or without a sign."""
    fact = Fact(
        type=_CHARGEBACK,
        dr_order_id=chargeback.order_id,
        upstream_id=chargeback.order_upstream_id,
        chargeback_id=chargeback.id,
    )
    if chargeback.amount is None:
        return fact
    amount, currency = abs(reading.finite(chargeback.amount)), chargeback.currency
    if currency is None:
        # Documented are the order and the amount only: without a currency it is the order's.
        return msgspec.structs.replace(fact, major=amount)
    return msgspec.structs.replace(fact, amount=reading.minor_units(amount, currency), currency=currency.upper())
