"""Every inbound event of the contract as a type, and the one registry topic -> type -> model.

The registry is the single source of truth: decoding, the life-cycle table, the checker and the JSON Schemas all read it.
Models are strict (money as a JSON number, a bool as a quantity are refused), frozen, and ignore unknown fields. Lengths are
bounded, and so are snapshots. Never add behaviour here: what an event does is defined by the tables.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal, Self

import msgspec
from pydantic import Field, StringConstraints, field_validator, model_validator

from statemachine.messages.envelope import Cause, Record
from statemachine.messages.facts import Fact, Outcome
from statemachine.messages.field_types import (
    ONCE,
    CheckoutName,
    Country,
    Currency,
    CustomerId,
    Email,
    ExactModel,
    Identifier,
    LineName,
    Locale,
    LongText,
    Metadata,
    Model,
    Money,
    Percent,
    Quantity,
    ReasonText,
    RuleBroken,
    ShortReasonText,
    SkuId,
    SourceId,
    Text,
    Weight,
)
from statemachine.messages.ids import OrderId
from statemachine.messages.money import has_exact_digits, is_currency
from statemachine.messages.operator_events import Act

LINES_MAX: Final = 500  # bounds the snapshot of an order


class Address(Model):
    """Who and where: ``bill_to`` and ``ship_to``."""

    name: Text
    line1: Text
    line2: Text | None = None
    city: Text
    state: Text | None = None
    postal_code: Annotated[str, StringConstraints(min_length=1, max_length=32)] | None = None
    country: Country
    phone: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None


class Origin(Model):
    """Where goods come from: ``ship_from`` needs only its country."""

    name: Text | None = None
    line1: Text | None = None
    line2: Text | None = None
    city: Text | None = None
    state: Text | None = None
    postal_code: Annotated[str, StringConstraints(min_length=1, max_length=32)] | None = None
    country: Country
    phone: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None


class Discount(Model):
    """Money or per cent off a whole line, the shipping or the order: exactly one of the two."""

    amount: Money | None = None
    percent: Percent | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.amount is None) == (self.percent is None):
            raise RuleBroken("needs either amount or percent", "checkout.discount_unclear")
        return self


class GuestCustomer(Model):
    """A shopper without an account."""

    kind: Literal["guest"]


class RegisteredCustomer(Model):
    """A shopper with an account; ``id`` becomes the Customer's id at Digital River, which allows 40 characters."""

    kind: Literal["registered"]
    id: CustomerId


class CartItem(Model):
    """One line of the cart; ``line`` is the platform's own id, ``price`` the price of one unit."""

    line: LineName
    sku_id: SkuId
    quantity: Quantity
    price: Money
    discount: Discount | None = None


class Shipping(Model):
    """How physical goods travel and what that costs."""

    amount: Money
    description: Text
    service_level: Text
    discount: Discount | None = None


class Organization(Model):
    """The business that buys, as Digital River knows it."""

    id: Identifier | None = None
    name: Text | None = None


class Cart(Model):
    """Data of ``checkout.requested`` and ``checkout.updated``: the whole cart."""

    currency: Currency
    locale: Locale
    email: Email
    customer: Annotated[GuestCustomer | RegisteredCustomer, Field(discriminator="kind")]
    bill_to: Address
    items: Annotated[tuple[CartItem, ...], Field(min_length=1, max_length=LINES_MAX), ONCE]
    ship_to: Address | None = None
    ship_from: Origin | None = None
    shipping: Shipping | None = None
    discount: Discount | None = None
    tax_inclusive: bool | None = None
    customer_type: Literal["individual", "business"] | None = None
    organization: Organization | None = None
    tax_identifier_ids: Annotated[tuple[Identifier, ...], Field(max_length=20)] | None = None
    browser_ip: Annotated[str, StringConstraints(min_length=2, max_length=64)] | None = None
    metadata: Metadata | None = None

    @field_validator("currency")
    @classmethod
    def _is_known(cls, currency: str) -> str:
        if not is_currency(currency):
            raise RuleBroken("must be a currency of ISO 4217", "checkout.unknown_currency")
        return currency

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        """Lines are unique, amounts have the currency's digits, physical goods come with all three of their parts."""
        if len({item.line for item in self.items}) != len(self.items):
            raise RuleBroken("items: each line must be unique", "data.line_repeated")
        for place, amount in self._amounts():
            if not has_exact_digits(amount, self.currency):
                raise RuleBroken(f"{place}: must have exactly the digits of the currency", "checkout.amount_digits")
        physical = (self.ship_to is not None, self.ship_from is not None, self.shipping is not None)
        if any(physical) and not all(physical):
            raise RuleBroken("ship_to, ship_from and shipping go together", "checkout.shipping_incomplete")
        return self

    def _amounts(self) -> list[tuple[str, str]]:
        found = [(f"items[{at}].price", item.price) for at, item in enumerate(self.items)]
        for at, item in enumerate(self.items):
            if item.discount is not None and item.discount.amount is not None:
                found.append((f"items[{at}].discount.amount", item.discount.amount))
        if self.discount is not None and self.discount.amount is not None:
            found.append(("discount.amount", self.discount.amount))
        if self.shipping is not None:
            found.append(("shipping.amount", self.shipping.amount))
            if self.shipping.discount is not None and self.shipping.discount.amount is not None:
                found.append(("shipping.discount.amount", self.shipping.discount.amount))
        return found


class SourceProvided(Model):
    """The shopper chose how to pay: what DigitalRiver.js returned."""

    source_id: SourceId
    checkout_id: CheckoutName | None = None


class CheckoutAbandoned(Model):
    """The shopper gave up before placing the order."""

    reason: ReasonText | None = None


class OrderPlaced(Model):
    """The shopper accepted the terms of sale and wants the order."""

    terms_accepted: Literal[True]
    checkout_id: CheckoutName | None = None

    @field_validator("terms_accepted", mode="before")
    @classmethod
    def _is_true(cls, accepted: object) -> object:
        if accepted is not True:  # a literal alone would take 1 for true
            raise RuleBroken(
                "must be true, the shopper has to accept the terms of sale", "placement.terms_not_accepted"
            )
        return accepted


class PaymentReturned(Model):
    """The shopper is back from a redirect; ``checkout_id`` names the payment."""

    checkout_id: CheckoutName | None = None


class LineQuantity(Model):
    """Units of one line."""

    line: LineName
    quantity: Quantity


#: At least one line, each at most once.
LineQuantities = Annotated[tuple[LineQuantity, ...], Field(min_length=1, max_length=LINES_MAX), ONCE]


def _lines_once(items: tuple[LineQuantity, ...] | None) -> tuple[LineQuantity, ...] | None:
    if items is not None and len({item.line for item in items}) != len(items):
        raise RuleBroken("each line must be named once", "data.line_repeated")
    return items


class CancelItem(LineQuantity):
    """Units of one line that are no longer wanted."""

    model_config = ExactModel.model_config


class CancelRequested(ExactModel):
    """The shopper or the shop wants units cancelled; without ``items`` all open units."""

    items: Annotated[tuple[CancelItem, ...], Field(min_length=1, max_length=LINES_MAX), ONCE] | None = None
    cancellation_id: Identifier | None = None
    reason: ReasonText | None = None

    _once = field_validator("items")(_lines_once)


class RefundItem(ExactModel):
    """What is paid back for one line; without quantity and amount, all of it."""

    line: LineName
    quantity: Quantity | None = None
    amount: Money | None = None


class RefundRequested(ExactModel):
    """Money is to be refunded: an amount, lines, or all that is left."""

    refund_id: Identifier
    amount: Money | None = None
    items: Annotated[tuple[RefundItem, ...], Field(min_length=1, max_length=LINES_MAX)] | None = None
    of: Literal["shipping", "tax", "duty"] | None = None
    reason: ShortReasonText | None = None

    @model_validator(mode="after")
    def _is_one_style(self) -> Self:
        if self.items is not None and (self.amount is not None or self.of is not None):
            raise RuleBroken("items go with neither amount nor of", "refund.items_and_amount")
        return self


class ReturnRequested(Model):
    """The shopper wants to send units back; without ``items`` the return is withdrawn."""

    return_id: Identifier
    items: Annotated[tuple[LineQuantity, ...], Field(max_length=LINES_MAX), ONCE]
    reason: ShortReasonText | None = None

    _once = field_validator("items")(_lines_once)


class ShipmentTracking(Model):
    """Where the parcel can be followed."""

    company: Text | None = None
    number: Text | None = None
    url: LongText | None = None


class Shipped(Model):
    """Units left the warehouse; ``shipment_id`` is the warehouse's name of this parcel."""

    shipment_id: Identifier
    items: LineQuantities
    tracking: ShipmentTracking | None = None

    _once = field_validator("items")(_lines_once)


class FulfillmentCancelled(Model):
    """The warehouse cannot deliver these units."""

    items: LineQuantities
    cancellation_id: Identifier | None = None
    reason: ReasonText | None = None

    _once = field_validator("items")(_lines_once)


class ReturnReceived(Model):
    """Units of a return came back to the warehouse; ``receipt_id`` is its name of this parcel."""

    return_id: Identifier
    items: LineQuantities
    receipt_id: Identifier | None = None

    _once = field_validator("items")(_lines_once)


class SkuUpserted(Model):
    """A SKU as Digital River must know it; the first four fields are the ones that it requires."""

    name: Text
    tax_code: Text
    country_of_origin: Country
    eccn: Text
    description: LongText | None = None
    image: LongText | None = None
    url: LongText | None = None
    hs_code: Text | None = None
    part_number: Text | None = None
    weight: Weight | None = None
    weight_unit: Literal["oz", "lb", "g", "kg"] | None = None
    metadata: Metadata | None = None


class SkuRemoved(Model):
    """A SKU that is no longer sold."""


#: topic -> event type -> model of its data. Topic names are the contract's, without a prefix.
REGISTRY: Final[dict[str, dict[str, type[Model]]]] = {
    "checkout-events": {
        "checkout.requested": Cart,
        "checkout.updated": Cart,
        "checkout.source_provided": SourceProvided,
        "checkout.abandoned": CheckoutAbandoned,
    },
    "order-events": {
        "order.placed": OrderPlaced,
        "order.payment_returned": PaymentReturned,
        "order.cancel_requested": CancelRequested,
        "order.refund_requested": RefundRequested,
        "order.return_requested": ReturnRequested,
    },
    "fulfillment-events": {
        "fulfillment.shipped": Shipped,
        "fulfillment.cancelled": FulfillmentCancelled,
        "fulfillment.return_received": ReturnReceived,
    },
    "catalog-events": {"sku.upserted": SkuUpserted, "sku.removed": SkuRemoved},
}

#: Types whose data may be absent, because they have no required field.
NEED_NO_DATA: Final = frozenset({"order.payment_returned", "sku.removed"})
INBOX: Final = "orderflow.inbox"
DEADLINE_TYPE: Final = "orderflow.deadline"
DEADLINE_SOURCE: Final = "orderflow/deadline"

#: Types of the events that the order lane reads from its three public topics.
ORDER_EVENT_TYPES: Final = tuple(it for topic, types in REGISTRY.items() if topic != "catalog-events" for it in types)


class DeadlineDue(msgspec.Struct, frozen=True):
    """A deadline of the order fell due; ``name`` is the deadline's."""

    name: str


class Event(msgspec.Struct, frozen=True):
    """One inbound event, decoded. ``order_id`` is the record's key (the SKU id on ``catalog-events``).

    ``payload`` is the data as received, for the cart that travels on to Digital River; None for a deadline. ``act`` says which
    operator caused it; of a redelivery only ``record`` and ``cause`` are the operator's, the rest is of the record in it.
    """

    type: str
    id: str
    source: str
    order_id: OrderId
    time: datetime | None
    data: Model | Outcome | Fact | DeadlineDue
    cause: Cause
    record: Record | None = None
    payload: msgspec.Raw | None = None
    act: Act | None = None
