"""What Digital River reports: its objects in our types, outcomes of commands, and facts from webhooks.

``orderflow/digitalriver`` makes these from Digital River's JSON, and the core merges them into orders. Money is in integer minor
units of the ``currency`` next to it, which the core compares with the order's. An amount or a count that is negative or larger
than any order's is refused when the record is decoded. Facts arrive in any order and more than once: none is an instruction.

Inbox event types (``orderflow.inbox``, source ``orderflow/commands`` or ``/digitalriver``):

    digitalriver.checkout_created   digitalriver.checkout_refused
    digitalriver.source_attached    digitalriver.source_refused
    digitalriver.checkout_deleted   digitalriver.checkout_kept
    digitalriver.order_placed       digitalriver.order_declined (409)   digitalriver.order_refused (other 4xx)
    digitalriver.order_read         digitalriver.refresh_refused
    digitalriver.order_reread       digitalriver.reread_refused
    digitalriver.fulfillment_created  digitalriver.fulfillment_refused
    digitalriver.refund_created     digitalriver.refund_refused
    digitalriver.return_created     digitalriver.return_refused
    digitalriver.return_accepted    digitalriver.return_not_accepted
    digitalriver.command_unknown    the outcome of a command is not known
    digitalriver.command_absent     a look-up proved that a command has not taken effect
    digitalriver.<type>             a webhook of that Digital River type, for example digitalriver.order.accepted
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec

from statemachine.messages.commands import CommandName
from statemachine.messages.ids import (
    ChargeId,
    CheckoutId,
    CommandId,
    FulfillmentId,
    LineId,
    OrderId,
    RemoteItemId,
    RemoteOrderId,
    RemoteRefundId,
    RemoteReturnId,
)
from statemachine.messages.money import MINOR_MAX

Minor = Annotated[int, msgspec.Meta(ge=0, le=MINOR_MAX)]
#: Units: as many as the lines of one order can have together, and fewer than overflow anything.
Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]

#: A time with its zone; times without one cannot be compared.
Moment = Annotated[datetime, msgspec.Meta(tz=True)]

RemoteOrderState = str  # accepted blocked pending_payment in_review dispute cancelled fulfilled complete returned


class SellingEntity(msgspec.Struct, frozen=True, omit_defaults=True):
    """The merchant of record; its terms of sale are what the shopper accepts."""

    id: str
    name: str | None = None


class NextAction(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the shopper must do before the payment can go on."""

    kind: Literal["redirect", "show_payment_instructions"]
    url: str | None = None
    source_id: str | None = None
    source_client_secret: str | None = None


class Session(msgspec.Struct, frozen=True, omit_defaults=True):
    """Digital River's payment session."""

    session_id: str
    state: str
    remaining: int = 0
    client_secret: str | None = None
    next_action: NextAction | None = None


class QuotedLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a quote; ``amount`` is the line's price after discount, without tax."""

    line: LineId
    amount: Minor
    tax: Minor = 0
    duties: Minor = 0
    fees: Minor = 0
    importer_tax: Minor = 0


class RemoteCheckout(msgspec.Struct, frozen=True, omit_defaults=True):
    """A Digital River checkout."""

    checkout_id: CheckoutId
    currency: str
    total: Minor
    tax: Minor = 0
    shipping: Minor = 0
    duties: Minor = 0
    fees: Minor = 0
    importer_tax: Minor = 0
    discount: Minor = 0
    upstream_id: OrderId | None = None
    customer_id: str | None = None
    selling_entity: SellingEntity | None = None
    lines: tuple[QuotedLine, ...] = ()
    session: Session | None = None
    source_ids: tuple[str, ...] = ()
    #: Not ``None``: msgspec reads no value into ``Raw | None``.
    disclosures: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class ChargeOperation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One capture, cancel or refund of a charge. States as in Digital River: pending, pending_information, complete, failed."""

    state: str
    amount: Minor
    id: str | None = None
    fulfillment_id: FulfillmentId | None = None
    failure_code: str | None = None


class RemoteCharge(msgspec.Struct, frozen=True, omit_defaults=True):
    """A charge. The flags ``captured`` and ``refunded`` of the wire are left out: they are true even when it failed."""

    charge_id: ChargeId
    state: str
    amount: Minor
    dr_order_id: RemoteOrderId | None = None
    source_id: str | None = None
    captures: tuple[ChargeOperation, ...] = ()
    cancels: tuple[ChargeOperation, ...] = ()
    refunds: tuple[ChargeOperation, ...] = ()
    failure_code: str | None = None
    currency: str | None = None


class RemoteItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a Digital River order; ``line`` is our line id from its metadata, ``amount`` None when not reported."""

    item_id: RemoteItemId
    quantity: Count
    line: LineId | None = None
    sku_id: str | None = None
    state: str | None = None
    amount: Minor | None = None
    tax: Minor = 0


class RemoteDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """An invoice or a credit memo."""

    file_id: str
    purpose: str
    dr_order_id: RemoteOrderId | None = None


class RemoteOrder(msgspec.Struct, frozen=True, omit_defaults=True):
    """A Digital River order. ``discount`` is that of the whole order, which no item shows."""

    dr_order_id: RemoteOrderId
    state: RemoteOrderState
    currency: str
    total: Minor
    checkout_id: CheckoutId | None = None
    upstream_id: OrderId | None = None
    fraud_state: str | None = None
    tax: Minor = 0
    captured: Minor = 0
    cancelled: Minor = 0
    refunded: Minor = 0
    available_to_refund: Minor = 0
    discount: Minor = 0
    items: tuple[RemoteItem, ...] = ()
    charges: tuple[RemoteCharge, ...] = ()
    session: Session | None = None
    cancel_reason: str | None = None
    documents: tuple[RemoteDocument, ...] = ()


class RemoteFulfillmentItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Units of one Digital River order line that a fulfilment ships or cancels."""

    item_id: RemoteItemId
    quantity: Count = 0
    cancel_quantity: Count = 0
    line: LineId | None = None


class RemoteFulfillment(msgspec.Struct, frozen=True, omit_defaults=True):
    """A Digital River fulfilment; ``command_id`` is what we put into its metadata, absent when it is not ours."""

    fulfillment_id: FulfillmentId
    dr_order_id: RemoteOrderId
    items: tuple[RemoteFulfillmentItem, ...] = ()
    shipment_id: str | None = None
    command_id: CommandId | None = None


class RemoteRefundItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a Digital River refund gives back of one order line; ``refunded`` is 0 while it is pending."""

    item_id: RemoteItemId
    quantity: Count = 0
    amount: Minor = 0
    refunded: Minor = 0
    line: LineId | None = None


class RemoteRefund(msgspec.Struct, frozen=True, omit_defaults=True):
    """A Digital River refund. State: pending, pending_information, succeeded, failed, expired; ``amount`` is what was asked.

    A refund by items has no amount of its own: it is over the sum of theirs.

    ``command_id`` and our ``refund_id`` are what we put into its metadata, absent when it is not ours: Digital River makes
    refunds by itself for an accepted return (``dr_return_id``). ``token`` is the shopper's secret and is never kept.
    """

    dr_refund_id: RemoteRefundId
    state: str
    dr_order_id: RemoteOrderId | None = None
    amount: Minor | None = None
    refunded: Minor = 0
    currency: str | None = None
    kind: str | None = None
    items: tuple[RemoteRefundItem, ...] = ()
    failure_reason: str | None = None
    token: str | None = None
    token_expires: str | None = None
    refund_id: str | None = None
    command_id: CommandId | None = None
    dr_return_id: RemoteReturnId | None = None


class RemoteReturnItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Units of one order line in a return, and how many of them were accepted."""

    item_id: RemoteItemId
    quantity: Count
    accepted: Count = 0
    line: LineId | None = None


class RemoteReturn(msgspec.Struct, frozen=True, omit_defaults=True):
    """A Digital River return. State: created, accepted. ``return_id`` and ``command_id``: from its metadata, when it is ours."""

    dr_return_id: RemoteReturnId
    state: str
    dr_order_id: RemoteOrderId | None = None
    items: tuple[RemoteReturnItem, ...] = ()
    dr_refund_ids: tuple[RemoteRefundId, ...] = ()
    return_id: str | None = None
    command_id: CommandId | None = None


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Digital River's refusal. ``message`` may be shown to a shopper, ``code`` not."""

    code: str
    message: str | None = None
    parameter: str | None = None
    status: int | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one command: one per ``command_id`` and ``attempt``.

    ``absent`` is only the answer to an ``inquire``: the command asked about has not taken effect. ``tries`` counts HTTP requests
    that were written, ``duration_ms`` is the time from taking the command up to its outcome.
    """

    command_id: CommandId
    command: CommandName
    attempt: int
    result: Literal["confirmed", "rejected", "unknown", "absent"]
    tries: int = 0
    status: int | None = None
    request_id: str | None = None
    duration_ms: int = 0
    problem: Problem | None = None
    #: The checkout was refused only because Digital River does not know one of its SKUs yet.
    unknown_sku: bool = False
    #: The ``command_id`` of the ``inquire`` that brought this outcome of an earlier command.
    inquired_by: CommandId | None = None
    customer_id: str | None = None
    checkout: RemoteCheckout | None = None
    order: RemoteOrder | None = None
    fulfillment: RemoteFulfillment | None = None
    refund: RemoteRefund | None = None
    returned: RemoteReturn | None = None
    #: All of the order, in answer to ``reread_order``.
    fulfillments: tuple[RemoteFulfillment, ...] = ()
    refunds: tuple[RemoteRefund, ...] = ()
    returns: tuple[RemoteReturn, ...] = ()


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A webhook of Digital River, or an object read from it: what it is about and the object, whichever kind it is."""

    type: str
    dr_order_id: RemoteOrderId | None = None
    checkout_id: CheckoutId | None = None
    upstream_id: OrderId | None = None
    order: RemoteOrder | None = None
    charge: RemoteCharge | None = None
    fulfillment: RemoteFulfillment | None = None
    document: RemoteDocument | None = None
    refund: RemoteRefund | None = None
    returned: RemoteReturn | None = None
    #: A chargeback's amount in ``currency``; in major units when it has no currency, which is then the order's.
    amount: Minor | None = None
    major: Decimal | None = None
    currency: str | None = None
    #: Digital River's id of the chargeback, which it may report under several event ids.
    chargeback_id: str | None = None
    #: When Digital River made the event, by its clock: shows which of two disputes a report is about.
    created: Moment | None = None


#: Digital River's type of a chargeback.
CHARGEBACK: Final = "order.chargeback"

#: Outcome event type by command and result.
OUTCOME_TYPES: dict[CommandName, dict[str, str]] = {
    "create_checkout": {"confirmed": "digitalriver.checkout_created", "rejected": "digitalriver.checkout_refused"},
    "attach_source": {"confirmed": "digitalriver.source_attached", "rejected": "digitalriver.source_refused"},
    "delete_checkout": {"confirmed": "digitalriver.checkout_deleted", "rejected": "digitalriver.checkout_kept"},
    "place_order": {"confirmed": "digitalriver.order_placed", "rejected": "digitalriver.order_refused"},
    "refresh_order": {"confirmed": "digitalriver.order_read", "rejected": "digitalriver.refresh_refused"},
    "reread_order": {"confirmed": "digitalriver.order_reread", "rejected": "digitalriver.reread_refused"},
    "create_fulfillment": {
        "confirmed": "digitalriver.fulfillment_created",
        "rejected": "digitalriver.fulfillment_refused",
    },
    "create_refund": {"confirmed": "digitalriver.refund_created", "rejected": "digitalriver.refund_refused"},
    "create_return": {"confirmed": "digitalriver.return_created", "rejected": "digitalriver.return_refused"},
    "accept_return": {"confirmed": "digitalriver.return_accepted", "rejected": "digitalriver.return_not_accepted"},
    "inquire": {"confirmed": "digitalriver.order_read", "rejected": "digitalriver.refresh_refused"},
}


def outcome_type(outcome: Outcome) -> str:
    """The inbox event type under which an outcome travels."""
    if outcome.result == "unknown":
        return "digitalriver.command_unknown"
    if outcome.result == "absent":
        return "digitalriver.command_absent"
    if outcome.command == "place_order" and outcome.result == "rejected" and outcome.status == 409:
        return "digitalriver.order_declined"
    return OUTCOME_TYPES[outcome.command][outcome.result]
