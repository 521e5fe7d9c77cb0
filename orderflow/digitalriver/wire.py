"""Digital River's JSON as it is on the wire, only the members that orders need.

A tolerant reader, as Digital River recommends: unknown members are ignored, all but identifiers may be missing, and absent
means not set. Amounts are JSON numbers, which are binary doubles there (``53.769999999999996`` was seen in its samples):
they are read as decimals from their text, never as floats. Source: Digital River API reference, version 2021-12-13.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final, Generic, TypeVar

import msgspec

from statemachine.messages.ids import (
    ChargeId,
    CheckoutId,
    FulfillmentId,
    OrderId,
    RemoteItemId,
    RemoteOrderId,
    RemoteRefundId,
    RemoteReturnId,
)

ZERO: Final = Decimal(0)

Item = TypeVar("Item")

#: Units; a count below nothing is off contract.
Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]

#: Digital River allows strings, booleans and integers; doubles and nulls are tolerated.
Metadata = dict[str, str | bool | int | float | None]


class WireModel(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What all wire shapes have in common: camelCase names, unknown members ignored."""


class Amount(WireModel, frozen=True, kw_only=True):
    """``tax``, ``duties``, ``importerTax``, ``fees`` of a line."""

    amount: Decimal = ZERO


class Line(WireModel, frozen=True, kw_only=True):
    """A line of a checkout or of an order."""

    id: RemoteItemId
    sku_id: str | None = None
    quantity: Count = 1
    amount: Decimal | None = None
    state: str | None = None
    tax: Amount = Amount()
    importer_tax: Amount = Amount()
    duties: Amount = Amount()
    fees: Amount = Amount()
    metadata: Metadata = {}


class SellingEntity(WireModel, frozen=True, kw_only=True):
    """Empty until Digital River can decide it."""

    id: str | None = None
    name: str | None = None


class NextActionData(WireModel, frozen=True, kw_only=True):
    """``redirectUrl`` of a redirect; source and secret of payment instructions."""

    redirect_url: str | None = None
    source_id: str | None = None
    source_client_secret: str | None = None


class NextAction(WireModel, frozen=True, kw_only=True):
    """On the wire only; the published OpenAPI document does not have it."""

    action: str | None = None
    data: NextActionData = NextActionData()


class Session(WireModel, frozen=True, kw_only=True):
    """``payment.session``."""

    id: str
    state: str = ""
    amount_remaining_to_be_contributed: Decimal = ZERO
    client_secret: str | None = None
    next_action: NextAction | None = None


class Source(WireModel, frozen=True, kw_only=True):
    """A payment source."""

    id: str


class Operation(WireModel, frozen=True, kw_only=True):
    """A capture, cancel or refund of a charge. Inside an order a charge's refund has no id."""

    id: str | None = None
    amount: Decimal = ZERO
    state: str = ""
    fulfillment_id: FulfillmentId | None = None
    failure_code: str | None = None


class Charge(WireModel, frozen=True, kw_only=True):
    """A charge; ``captured`` and ``refunded`` are not read, they are true even when the operation failed."""

    id: ChargeId
    state: str
    amount: Decimal = ZERO
    currency: str | None = None
    order_id: RemoteOrderId | None = None
    source_id: str | None = None
    failure_code: str | None = None
    captures: list[Operation] = []
    cancels: list[Operation] = []
    refunds: list[Operation] = []


class Payment(WireModel, frozen=True, kw_only=True):
    """``payment`` of a checkout or an order; before version 2021-03-23 its members were at the top."""

    sources: list[Source] = []
    charges: list[Charge] = []
    session: Session | None = None


class Discount(WireModel, frozen=True, kw_only=True):
    """A discount of the whole order, or of its shipping."""

    amount_off: Decimal | None = None
    percent_off: Decimal | None = None


class ShippingChoice(WireModel, frozen=True, kw_only=True):
    """The chosen way of shipping."""

    amount: Decimal = ZERO
    tax_amount: Decimal = ZERO


class Totals(WireModel, frozen=True, kw_only=True):
    """What checkouts and orders share."""

    id: str
    currency: str
    total_amount: Decimal
    total_tax: Decimal = ZERO
    total_fees: Decimal = ZERO
    total_duty: Decimal = ZERO
    total_importer_tax: Decimal = ZERO
    total_shipping: Decimal = ZERO
    upstream_id: OrderId | None = None
    customer_id: str | None = None
    selling_entity: SellingEntity | None = None
    items: list[Line] = []
    payment: Payment = Payment()
    shipping_choice: ShippingChoice | None = None
    discount: Discount | None = None
    shipping_discount: Discount | None = None
    metadata: Metadata = {}
    #: Where versions before 2021-03-23 have what is under ``payment`` now.
    sources: list[Source] = []
    charges: list[Charge] = []

    def __post_init__(self) -> None:
        """Bring the older shape into the newer one; a version that has neither says nothing of its session."""
        if (self.sources or self.charges) and not (self.payment.sources or self.payment.charges):
            newer = msgspec.structs.replace(self.payment, sources=self.sources, charges=self.charges)
            msgspec.structs.force_setattr(self, "payment", newer)


class Checkout(Totals, frozen=True, kw_only=True):
    """A checkout."""

    id: CheckoutId
    disclosures: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Named(WireModel, frozen=True, kw_only=True):
    """Whatever has an id."""

    id: str


class Order(Totals, frozen=True, kw_only=True):
    """An order."""

    id: RemoteOrderId
    state: str
    checkout_id: CheckoutId | None = None
    fraud_state: str | None = None
    captured_amount: Decimal = ZERO
    cancelled_amount: Decimal = ZERO
    refunded_amount: Decimal = ZERO
    available_to_refund_amount: Decimal = ZERO
    cancel_reason: str | None = None
    #: Files of invoices and credit memos; null or absent while there is none.
    invoice_pdfs: list[Named] | None = msgspec.field(default=None, name="invoicePDFs")
    credit_memo_pdfs: list[Named] | None = msgspec.field(default=None, name="creditMemoPDFs")


class FulfillmentItem(WireModel, frozen=True, kw_only=True):
    """Units of one order line."""

    item_id: RemoteItemId
    quantity: Count | None = None
    cancel_quantity: Count | None = None


class OrderDetails(WireModel, frozen=True, kw_only=True):
    """The order inside a fulfilment, without its payment."""

    upstream_id: OrderId | None = None
    checkout_id: CheckoutId | None = None
    items: list[Line] = []


class Fulfillment(WireModel, frozen=True, kw_only=True):
    """A fulfilment: it ships and it cancels."""

    id: FulfillmentId
    order_id: RemoteOrderId
    items: list[FulfillmentItem] = []
    shipment_id: str | None = None
    metadata: Metadata = {}
    order_details: OrderDetails | None = None
    #: The captures and cancels that it made, by their ids; given when it is read by itself.
    charge_operation_ids: list[str] = []


class RefundItem(WireModel, frozen=True, kw_only=True):
    """What a refund gives back of one order line."""

    item_id: RemoteItemId
    quantity: Count | None = None
    amount: Decimal | None = None
    refunded_amount: Decimal = ZERO


class TokenInformation(WireModel, frozen=True, kw_only=True):
    """With it the shopper names the account that a push payment is refunded to."""

    token: str | None = None
    expires_time: str | None = None


class Refund(WireModel, frozen=True, kw_only=True):
    """A refund; ``refundedAmount`` stays 0 while it is pending. One by items has amounts there and none of its own."""

    id: RemoteRefundId
    state: str
    currency: str
    order_id: RemoteOrderId | None = None
    type: str | None = None
    amount: Decimal | None = None
    refunded_amount: Decimal = ZERO
    items: list[RefundItem] = []
    failure_reason: str | None = None
    token_information: TokenInformation | None = None
    metadata: Metadata = {}


class ReturnItem(WireModel, frozen=True, kw_only=True):
    """Units of one order line that come back."""

    item_id: RemoteItemId
    quantity: Count
    quantity_accepted: Count = 0


class Return(WireModel, frozen=True, kw_only=True):
    """A return coordinated by the merchant."""

    id: RemoteReturnId
    state: str
    order_id: RemoteOrderId | None = None
    items: list[ReturnItem] = []
    refund_ids: list[RemoteRefundId] = []
    metadata: Metadata = {}


class Document(WireModel, frozen=True, kw_only=True):
    """The descriptor of an invoice or a credit memo."""

    order_id: RemoteOrderId
    file_id: str | None = None
    id: str | None = None
    purpose: str | None = None


class Chargeback(WireModel, frozen=True, kw_only=True):
    """A chargeback: a sales transaction. ``id`` is the transaction's."""

    id: str | None = None
    order_id: RemoteOrderId
    order_upstream_id: OrderId | None = None
    amount: Decimal | None = None
    currency: str | None = None


class EventData(WireModel, frozen=True, kw_only=True):
    """``data`` of an event."""

    object: msgspec.Raw


class Event(WireModel, frozen=True, kw_only=True):
    """The envelope of a webhook."""

    id: str
    type: str
    data: EventData
    created_time: str | None = None


class Shape(WireModel, frozen=True, kw_only=True):
    """The members that distinguish the kinds of objects, because the type of the event does not always do so."""

    id: str | None = None
    order_id: RemoteOrderId | None = None


class ErrorItem(WireModel, frozen=True, kw_only=True):
    """One error of a refusal; the re-authorisation 409 has ``description`` where others have ``message``."""

    code: str | None = None
    parameter: str | None = None
    message: str | None = None
    description: str | None = None


class Refusal(WireModel, frozen=True, kw_only=True):
    """The body of a refusal; ``type`` may be missing and does not always agree with the status."""

    type: str | None = None
    errors: list[ErrorItem] = []


class Page(WireModel, Generic[Item], frozen=True, kw_only=True):
    """A page of a list, newest first."""

    data: list[Item]
    has_more: bool = False
