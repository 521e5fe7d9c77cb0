"""Order: everything that is known of one order, as one frozen value; ``decide`` returns the next one.

Money is in integer minor units of ``amounts.currency``. Personal data is only in the payload of an open command and in the record
of a parked event. ``snapshot.py`` reads and writes an order as JSON.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import msgspec

from statemachine.messages.envelope import Record
from statemachine.messages.ids import (
    CheckoutId,
    CommandId,
    FulfillmentId,
    LineId,
    OrderId,
    RemoteId,
    RemoteItemId,
    RemoteOrderId,
    RemoteReturnId,
)
from statemachine.order.standing import Hold, KeptProblem

State = Literal[
    "awaited",
    "checkout_pending",
    "checkout_open",
    "checkout_ready",
    "checkout_rejected",
    "placing",
    "pending_payment",
    "in_review",
    "submitted",
    "fulfilled",
    "complete",
    "returned",
    "disputed",
    "declined",
    "abandoned",
    "cancelled",
    "blocked",
]

Payment = Literal[
    "none",
    "pending",
    "authorized",
    "capturing",
    "captured",
    "capture_failed",
    "voiding",
    "voided",
    "void_failed",
    "reauth_failed",
    "failed",
]

CaptureState = Literal["pending", "complete", "failed"]

#: What an open command waits for. ``answer``: its outcome. ``unknown``: an inquiry, because its outcome is not known. ``retry``:
#: the time at which it may be sent again. ``stuck``: a person, because nothing more can be done automatically.
CommandStep = Literal["answer", "unknown", "retry", "stuck"]

RefundState = Literal["requested", "pending", "pending_information", "succeeded", "failed", "expired"]

ReturnState = Literal["requested", "accepted", "withdrawn"]

DeadlineName = Literal["abandon", "overdue", "inquire", "ask_again", "expire", "refund", "return", "reconcile"]

#: The version of tables and snapshots that this code writes.
DEFINITION: Final = 6


class Amounts(msgspec.Struct, frozen=True):
    """The money of an order. ``captured`` counts completed captures only, ``cancelled`` completed voids."""

    currency: str
    total: int = 0
    tax: int = 0
    captured: int = 0
    cancelled: int = 0
    refunded: int = 0
    charged_back: int = 0


class Line(msgspec.Struct, frozen=True):
    """One line, in units. Never more shipped and cancelled than ordered; ``returned`` are among the shipped.

    ``amount``, after its discount, and ``tax`` are those of the latest quote, as text; nothing is computed from them.
    """

    line: LineId
    sku_id: str
    ordered: int
    shipped: int = 0
    cancelled: int = 0
    returned: int = 0
    amount: str | msgspec.UnsetType = msgspec.UNSET
    tax: str | msgspec.UnsetType = msgspec.UNSET


class Shipment(msgspec.Struct, frozen=True):
    """A parcel that Digital River has confirmed, what became of its capture, and what was captured, as text."""

    shipment_id: str | None
    fulfillment_id: FulfillmentId
    capture: CaptureState = "pending"
    captured: str | msgspec.UnsetType = msgspec.UNSET


class RefundUnits(msgspec.Struct, frozen=True, array_like=True):
    """What a refund pays back of one line: ``amount`` minor units, for ``quantity`` units when that is not 0.

    The amount is our estimate until Digital River reports it. 0, as older versions kept it, stands for the price of the units.
    """

    line: LineId
    quantity: int
    amount: int = 0


class Refund(msgspec.Struct, frozen=True):
    """One refund; its id is the platform's, or Digital River's when it was made there.

    ``amount`` is public, and None until it is known. ``taken`` is what the refund takes of what is left to refund: the amount, or
    our estimate until Digital River reports it. ``mark`` is that of Digital River's id; ``due`` is when its wait ends.
    """

    refund_id: str
    state: RefundState
    amount: int | None = None
    taken: int = 0
    units: tuple[RefundUnits, ...] = ()
    mark: bytes = b""
    due: datetime | None = None
    #: The shopper's token was published in a change; it is never kept.
    token_published: bool = False
    #: The part of the order's total that it pays back, as Digital River names it; None for goods.
    part: str | None = None
    #: Asked for all that is left of ``part``.
    whole: bool = False


class ReturnUnits(msgspec.Struct, frozen=True, array_like=True):
    """Units of one line that come back, and how many of them the warehouse has.

    ``refunded`` is how many units of the line had been refunded when the return was created.
    """

    line: LineId
    asked: int
    received: int = 0
    refunded: int = 0


class Return(msgspec.Struct, frozen=True):
    """One return; its id is the platform's, or Digital River's when it was made there.

    ``remote_id`` is Digital River's id, None until it is known. ``receipts`` are marks of the warehouse's reports that had an id;
    ``due`` is when its wait ends: for the units, and once it is accepted for its refund. ``refunds`` are marks of the refunds
    that Digital River says it made for it.
    """

    return_id: str
    state: ReturnState
    remote_id: RemoteReturnId | None = None
    units: tuple[ReturnUnits, ...] = ()
    receipts: bytes = b""
    due: datetime | None = None
    refunds: bytes = b""


class Document(msgspec.Struct, frozen=True):
    """An invoice or a credit memo at Digital River."""

    file_id: str
    purpose: str


class RemoteIds(msgspec.Struct, frozen=True, omit_defaults=True):
    """The current checkout and order at Digital River; those of a replaced checkout are in ``Order.former``."""

    checkout_id: CheckoutId | None = None
    order_id: RemoteOrderId | None = None
    customer_id: str | None = None


class Deadline(msgspec.Struct, frozen=True):
    """What happens to the order at a time, unless something else happens before."""

    name: DeadlineName
    due: datetime


class Look(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """The next look at an order that waits for Digital River: all of it is read again, should its webhook be lost.

    ``since`` is when the order entered its state, ``pending`` how much Digital River has yet to report, ``looks`` how often it
    was asked since more became pending, and ``number`` how often since the order entered its state.
    """

    since: datetime
    #: When the order is looked at; while a look is not answered, when it is looked at once more.
    due: datetime
    pending: int = 0
    looks: int = 0
    number: int = 0
    #: The command of a look that is not answered yet, and when it was asked.
    asked: CommandId | None = None
    asked_at: datetime | None = None


class ParkedEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event that is valid but too early.

    ``record`` is the record as it came, so that a dead letter can repeat it byte for byte.
    """

    type: str
    arrived: datetime
    mark: bytes
    record: Record


class KnownItem(msgspec.Struct, frozen=True, array_like=True):
    """Digital River's item for one of our lines, and its price: ``amount`` after its discount, without ``tax``.

    ``amount`` is None when Digital River did not report it. ``discount`` is the line's part of the discount of the whole order.
    """

    line: LineId
    item_id: RemoteItemId
    amount: int | None = None
    tax: int = 0
    discount: int = 0


class Operation(msgspec.Struct, frozen=True, array_like=True):
    """A capture or a cancel of the charge. ``state``: pending, pending_information, failed or complete.

    Digital River's ids are long and are only compared, so marks of them (``identity.py``) are kept: of the operation and of its
    fulfilment.
    """

    mark: bytes
    state: str
    amount: int
    fulfillment: bytes = b""


class Charge(msgspec.Struct, frozen=True, array_like=True):
    """A charge as far as its facts have come in; ``mark`` stands for its id."""

    mark: bytes
    state: str
    amount: int
    captures: tuple[Operation, ...] = ()
    cancels: tuple[Operation, ...] = ()


class Units(msgspec.Struct, frozen=True, array_like=True):
    """Units of one line in a ``create_fulfillment``."""

    line: LineId
    ship: int = 0
    cancel: int = 0


class OpenCommand(msgspec.Struct, frozen=True, omit_defaults=True):
    """A command without a final outcome, kept whole so that it can be sent again.

    ``first_asked`` and ``asked`` are times of the first and of the last attempt; ``due`` is when its ``step`` ends. A command
    that is no longer ``wanted`` still has to be answered, because what it made must be deleted.
    """

    command_id: CommandId
    name: str
    payload: msgspec.Raw
    first_asked: datetime
    asked: datetime
    attempt: int = 1
    step: CommandStep = "answer"
    due: datetime | None = None
    wanted: bool = True
    inquiries: int = 0
    #: Attempts that do not count, refused for a temporary reason: a missing right, an unknown SKU, a dispute.
    excused: int = 0
    #: The open inquiry about this command.
    inquired_by: CommandId | None = None
    units: tuple[Units, ...] = ()
    shipment_id: str | None = None
    #: Mark of the shipment or cancellation id in ``Order.facts``, forgotten when the command is rejected.
    fact: bytes = b""
    #: The end of the order's latest dispute that was known when the command was asked.
    dispute_ended: datetime | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order. Fields before ``definition`` are public, in the topic ``orders``; the others are the worker's own."""

    order_id: OrderId
    state: State
    sequence: int = 0
    #: When ``checkout.requested`` was decided, and ``order.placed`` for the current checkout; None also before definition 6.
    requested_at: datetime | None = None
    placed_at: datetime | None = None
    payment: Payment = "none"
    amounts: Amounts
    lines: tuple[Line, ...] = ()
    shipments: tuple[Shipment, ...] = ()
    refunds: tuple[Refund, ...] = ()
    returns: tuple[Return, ...] = ()
    documents: tuple[Document, ...] = ()
    digital_river: RemoteIds = RemoteIds()
    deadlines: tuple[Deadline, ...] = ()
    parked: tuple[ParkedEvent, ...] = ()
    attention: tuple[str, ...] = ()
    updated: datetime
    #: While it is set, what comes for the order waits in ``queue``, no deadline fires and no command starts.
    held: Hold | None = None
    problem: KeptProblem | None = None

    definition: int = DEFINITION
    #: Marks of the events that were applied or parked, eight bytes each (``identity.py``).
    seen: bytes = b""
    #: Marks of ids of shipments, cancellations, refunds, returns and receipts, each followed by the mark of its content.
    facts: bytes = b""
    commands: tuple[OpenCommand, ...] = ()
    items: tuple[KnownItem, ...] = ()
    charges: tuple[Charge, ...] = ()
    #: Ids of the fulfilments that only cancelled and were counted; those that shipped are in ``shipments``.
    voids: tuple[FulfillmentId, ...] = ()
    #: Ids of checkouts and orders at Digital River that were replaced: facts about them never move the order.
    former: tuple[RemoteId, ...] = ()
    #: ``order.placed`` was carried out for the current checkout.
    placed: bool = False
    #: The shopper's latest source for the current checkout.
    source_id: str | None = None
    #: The last state that Digital River gave its order.
    remote_state: str | None = None
    #: The refunded amount that Digital River reports, while it is more than the refunds known here; else 0.
    remote_refunded: int = 0
    #: What the shopper was asked to do while the payment is pending: redirect or show_payment_instructions.
    next_action: str | None = None
    #: The fraud review is over: a report that it is running, or has not begun, is an older fact.
    reviewed: bool = False
    #: The payment failed for good: a decline, or an order that was never paid.
    payment_failed: bool = False
    #: A renewed authorisation was refused, so captures will likely fail.
    reauth_failed: bool = False
    #: Marks of the chargebacks that were counted, each followed by the mark of its amount.
    chargebacks: bytes = b""
    #: Where a disputed order goes when the dispute ends.
    disputed_from: State | None = None
    #: When the latest dispute began and the latest one ended, by Digital River's clock: its reports come in any order.
    dispute_began: datetime | None = None
    dispute_ended: datetime | None = None
    #: Fulfilments that Digital River refused; ``fact`` of them has the mark of its content, too (``fulfilling.py``).
    refused: tuple[OpenCommand, ...] = ()
    #: Marks of the commands whose fulfilments were counted, sorted.
    made: bytes = b""
    #: What came while the order was held, in the order of its arrival; public among what is parked.
    queue: tuple[ParkedEvent, ...] = ()
    #: What failed by a fault of ours and holds the order: ``EVENT_FAILED``, the first of ``queue``; or the name of a deadline.
    failed: str | None = None
    #: Reasons for attention that an operator took off; one that is derived from the order does not come back unchanged.
    acknowledged: tuple[str, ...] = ()
    #: How many decisions since the change of ``sequence`` had no news, and so made no change.
    quiet: int = 0
    #: The next look; None while the order waits for nothing of Digital River. Not among ``deadlines``: it is nobody else's.
    look: Look | None = None
    trace: str | None = None  #: Where an event without a trace context continues; opaque here.


#: ``Order.failed`` of an order whose first event of the queue failed.
EVENT_FAILED: Final = "event"


def failed_event(order: Order) -> ParkedEvent | None:
    """The event that failed and holds the order; its dead letter ``failed`` is written. None when none did."""
    return order.queue[0] if order.failed == EVENT_FAILED and order.queue else None


def new_order(order_id: OrderId, now: datetime) -> Order:
    """An order of which nothing is known yet: state ``awaited``, sequence 0."""
    return Order(order_id=order_id, state="awaited", amounts=Amounts(currency=""), updated=now)


def open_units(order: Order) -> dict[LineId, int]:
    """Units still to be shipped or cancelled, per line: ordered - shipped - cancelled - in flight. In the order's line order."""
    left = {line.line: line.ordered - line.shipped - line.cancelled for line in order.lines}
    for command in order.commands:
        for units in command.units:
            left[units.line] -= units.ship + units.cancel
    return left
