"""The data of ``order.state_changed``, and what it is made of. Only shapes live here; making them is ``changes.py``."""

from __future__ import annotations

from typing import Final

import msgspec

from statemachine.messages.envelope import Cause
from statemachine.messages.facts import NextAction
from statemachine.messages.ids import LineId, OrderId
from statemachine.messages.operator_events import EventName
from statemachine.order.amounts import AmountsText
from statemachine.order.order import Document, Line, Payment, RefundState, RemoteIds, Shipment, State
from statemachine.order.snapshot_types import ReturnView
from statemachine.order.standing import Hold

Unset = msgspec.UnsetType
UNSET: Final = msgspec.UNSET


class QuotedItem(msgspec.Struct, frozen=True):
    """A line of a quote; ``amount`` after discount, without tax."""

    line: LineId
    amount: str
    tax: str
    duties: str
    fees: str
    importer_tax: str


class QuotingEntity(msgspec.Struct, frozen=True):
    """The seller: the storefront shows the terms of sale that belong to its ``id``."""

    id: str
    name: str | None


class Quote(msgspec.Struct, frozen=True):
    """What the order will cost, for the shopper's review; ``total`` is the sum of all after discounts."""

    currency: str
    items: tuple[QuotedItem, ...]
    shipping: str
    tax: str
    duties: str
    fees: str
    importer_tax: str
    discount: str
    total: str
    selling_entity: QuotingEntity | Unset = msgspec.UNSET
    disclosures: msgspec.Raw | Unset = msgspec.UNSET


class PaymentSession(msgspec.Struct, frozen=True):
    """What DigitalRiver.js needs. The secret goes into the change only and is never kept."""

    id: str
    client_secret: str | None


class ShownProblem(msgspec.Struct, frozen=True):
    """Digital River's refusal: ``message`` may be shown to a shopper, ``code`` not."""

    code: str
    message: str | None


class RefundChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A refund in a change. ``token``, with which the shopper names an account, is only in the change and never kept."""

    refund_id: str
    state: RefundState
    amount: str | None = None
    token: str | None = None
    token_expires: str | None = None


class Change(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """Data of ``order.state_changed``."""

    order_id: OrderId
    sequence: int
    from_: State
    to: State
    changed: tuple[str, ...]
    payment: Payment
    amounts: AmountsText
    cause: Cause
    digital_river: RemoteIds
    attention: tuple[str, ...]
    state: State | Unset = msgspec.UNSET
    lines: tuple[Line, ...] | Unset = msgspec.UNSET
    shipments: tuple[Shipment, ...] | Unset = msgspec.UNSET
    refunds: tuple[RefundChange, ...] | Unset = msgspec.UNSET
    returns: tuple[ReturnView, ...] | Unset = msgspec.UNSET
    documents: tuple[Document, ...] | Unset = msgspec.UNSET
    quote: Quote | Unset = msgspec.UNSET
    payment_session: PaymentSession | Unset = msgspec.UNSET
    next_action: NextAction | Unset = msgspec.UNSET
    problem: ShownProblem | Unset = msgspec.UNSET
    held: Hold | Unset | None = msgspec.UNSET
    #: Who caused the change by hand, and why.
    actor: str | Unset = msgspec.UNSET
    reason: str | Unset = msgspec.UNSET
    #: The event in the record that was delivered again.
    redelivered: EventName | Unset = msgspec.UNSET
    #: The failed event that was dropped, or the name of the failed deadline.
    dropped: EventName | str | Unset = msgspec.UNSET
