"""What the simulator remembers: one class per resource. Money in minor units, times in seconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.methods import GOOD_CARD, GOOD_NUMBER, Method
from orderflow.simulator.state.pricing import Price, PricedLine


@dataclass(slots=True)
class Sku:
    """A SKU; ``physical`` decides whether an order needs a destination and a shipping choice."""

    id: str
    body: Json
    physical: bool
    created: float
    updated: float


@dataclass(slots=True)
class Customer:
    """A registered shopper."""

    id: str
    body: Json
    created: float
    updated: float


@dataclass(slots=True)
class Source:
    """A payment source: of the ``kind`` and ``flow`` that it was made with; ``method`` says how it behaves from now on."""

    id: str
    method: Method
    kind: str
    flow: str
    state: str
    created: float
    secret: str
    owner: Json | None = None
    number: str = GOOD_NUMBER


@dataclass(slots=True)
class Checkout:
    """A checkout. ``burnt`` by a decline, ``order_id`` once it is consumed."""

    id: str
    body: Json
    price: Price
    line_ids: list[str]
    session_id: str
    secret: str
    created: float
    updated: float
    source: Source | None = None
    order_id: str | None = None
    burnt: bool = False
    deleted: bool = False

    @property
    def upstream_id(self) -> str | None:
        """The merchant's own id; not unique."""
        found = self.body.get("upstreamId")
        return found if isinstance(found, str) else None

    @property
    def bill_to(self) -> Json | None:
        """Whom it bills: as the cart says, else the owner of its source (documented)."""
        given = self.body.get("billTo")
        if isinstance(given, dict):
            return given
        owner = self.source.owner if self.source is not None else None
        if owner is None:
            return None
        name = f"{owner.get('firstName', '')} {owner.get('lastName', '')}".strip()
        found = {"name": name, "email": owner.get("email"), "address": owner.get("address")}
        return {member: value for member, value in found.items() if value}


@dataclass(slots=True)
class Operation:
    """A capture, a cancel or a refund of a charge; it goes from ``pending`` to ``complete`` or ``failed``."""

    id: str
    amount: int
    state: str
    created: float
    updated: float
    fulfillment_id: str | None = None
    failure_code: str | None = None


@dataclass(slots=True)
class Charge:
    """The one charge of an order: the simulator knows no second source."""

    id: str
    amount: int
    state: str
    source_id: str
    created: float
    failure_code: str | None = None
    captures: list[Operation] = field(default_factory=list)
    cancels: list[Operation] = field(default_factory=list)
    refunds: list[Operation] = field(default_factory=list)


@dataclass(slots=True)
class OrderLine:
    """A line of an order. Its id is another than the checkout line's, as at Digital River."""

    id: str
    priced: PricedLine
    state: str
    transitions: dict[str, float]
    shipped: int = 0
    cancelled: int = 0

    @property
    def open(self) -> int:
        """Units neither shipped nor cancelled."""
        return self.priced.quantity - self.shipped - self.cancelled

    @property
    def price(self) -> int:
        """The line's price after discounts, with its tax and without shipping: all that a refund of the line can give."""
        return self.priced.amount - self.priced.share + self.priced.tax

    def price_of(self, units: int, kind: str | None = None) -> int:
        """What ``units`` of it cost, or their shipping with its tax (``kind``), rounded half up; there are no fees and duties."""
        shipping = self.priced.shipping + self.priced.shipping_tax
        price = self.price if kind is None else {"shipping": shipping}.get(kind, 0)
        return (2 * price * units + self.priced.quantity) // (2 * self.priced.quantity)

    def resolve(self, units: int) -> int:
        """The money of the next ``units`` of this line: half-up by running sum, so that the last takes what remains."""
        total, quantity = self.priced.total, self.priced.quantity
        before = self.shipped + self.cancelled

        def upto(count: int) -> int:
            return (2 * total * count + quantity) // (2 * quantity)

        return upto(before + units) - upto(before)


@dataclass(slots=True)
class Order:
    """An order; ``checkout`` holds all that it copied from there. Without a source when there was nothing to pay."""

    id: str
    checkout: Checkout
    source: Source | None
    lines: list[OrderLine]
    state: str
    session_state: str
    created: float
    updated: float
    transitions: dict[str, float] = field(default_factory=dict)
    fraud_state: str | None = None
    fraud_transitions: dict[str, float] = field(default_factory=dict)
    charge: Charge | None = None
    upstream_id: str | None = None
    metadata: Json = field(default_factory=dict)
    cancel_reason: str | None = None
    documents: list[str] = field(default_factory=list)
    credit_memos: list[str] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)
    returns: list[Return] = field(default_factory=list)
    charged_back: int = 0
    disputed_from: str | None = None
    #: Made without a checkout that anybody could see.
    direct: bool = False
    #: Captures and cancels inside the order name their fulfilment.
    names_fulfillments: bool = False

    @property
    def method(self) -> Method:
        """How its source behaves; an order that costs nothing has none, and nothing goes wrong with it."""
        return self.source.method if self.source is not None else GOOD_CARD

    @property
    def available(self) -> int:
        """What may be refunded: captures that are complete, less refunds that are complete or may be, less chargebacks."""
        taken = sum(refund.amount for refund in self.refunds if refund.is_live)
        return max(self.sum_of("captures", "complete") - taken - self.charged_back, 0)

    def available_of(self, kind: str) -> int:
        """What may be refunded of one part of the total."""
        price = self.checkout.price
        whole = {"shipping": price.shipping + price.shipping_tax, "tax": price.tax}.get(kind, 0)
        live = [refund for refund in self.refunds if refund.is_live]
        taken = sum(refund.amount for refund in live if refund.kind == kind)
        return whole - taken - sum(one.amount for refund in live for one in refund.lines if one.kind == kind)

    def available_of_line(self, line: OrderLine, kind: str | None = None) -> int:
        """What may be refunded of one line, or of its shipping (``kind``), once something was captured."""
        if not self.sum_of("captures", "complete"):
            return 0
        parts = [one for refund in self.refunds if refund.is_live for one in refund.lines]
        taken = sum(one.amount for one in parts if one.line is line and one.kind == kind)
        return max(line.price_of(line.shipped, kind) - taken, 0)

    @property
    def refunded(self) -> int:
        """What was paid back."""
        return sum(refund.amount for refund in self.refunds if refund.state == "succeeded")

    @property
    def all_returned(self) -> bool:
        """Whether accepted returns cover all that was shipped."""
        back = sum(item.quantity for made in self.returns if made.state == "accepted" for item in made.lines)
        return 0 < back == sum(line.shipped for line in self.lines)

    @property
    def lines_by_id(self) -> dict[str, OrderLine]:
        """The lines by their ids."""
        return {line.id: line for line in self.lines}

    def sum_of(self, operations: str, *states: str) -> int:
        """The money of the charge's ``captures`` or ``cancels`` that are in one of ``states``."""
        if self.charge is None:
            return 0
        found = self.charge.captures if operations == "captures" else self.charge.cancels
        return sum(operation.amount for operation in found if operation.state in states)


@dataclass(slots=True)
class FulfillmentLine:
    """Units of one order line."""

    line: OrderLine
    quantity: int
    cancel_quantity: int


@dataclass(slots=True)
class Fulfillment:
    """What was shipped and cancelled by one request."""

    id: str
    order: Order
    items: list[FulfillmentLine]
    body: Json
    created: float
    operation_ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class RefundLine:
    """What a refund gives back of one order line, or of the line's shipping (``kind``)."""

    line: OrderLine
    quantity: int | None
    amount: int
    kind: str | None = None


@dataclass(slots=True)
class Refund:
    """A refund; ``operation`` is the refund of the charge that carries it, with an id of its own."""

    id: str
    order: Order
    amount: int
    state: str
    created: float
    lines: list[RefundLine]
    operation: Operation
    kind: str | None = None
    reason: str | None = None
    metadata: Json = field(default_factory=dict)
    failure_reason: str | None = None
    token: str | None = None
    token_expires: str | None = None

    @property
    def is_live(self) -> bool:
        """Neither failed nor expired."""
        return self.state not in ("failed", "expired")


@dataclass(slots=True)
class ReturnLine:
    """Units of one order line that come back."""

    line: OrderLine
    quantity: int
    accepted: int = 0


@dataclass(slots=True)
class Return:
    """A return through the merchant's own logistics; ``batches`` are the units that were accepted together."""

    id: str
    order: Order
    lines: list[ReturnLine]
    state: str
    created: float
    metadata: Json
    reason: object = None
    refund_ids: list[str] = field(default_factory=list)
    batches: list[list[tuple[ReturnLine, int]]] = field(default_factory=list)

    @property
    def reason_text(self) -> str | None:
        """The reason, when one was given."""
        return self.reason if isinstance(self.reason, str) else None


@dataclass(slots=True)
class File:
    """An invoice or a credit memo of an order, or what a client has uploaded: that has a ``content`` and no order."""

    id: str
    order_id: str
    purpose: str
    created: float
    name: str | None = None
    title: str | None = None
    content: bytes | None = None


@dataclass(slots=True)
class FileLink:
    """A link to a file, for a shopper."""

    id: str
    file_id: str
    expires: float
    created: float
    metadata: Json


@dataclass(slots=True)
class Endpoint:
    """Where events of some types are sent. ``access`` are its credentials, for HTTP Basic or OAuth by ``transport``."""

    id: str
    address: str
    types: list[str]
    created: float
    updated: float
    version: str = "default"
    enabled: bool = True
    transport: str = "HTTP"
    access: Json | None = None

    def takes(self, kind: str) -> bool:
        """Whether events of a type are sent there."""
        return self.enabled and kind in self.types


@dataclass(slots=True)
class Event:
    """An event as it was, encoded once: an object changes, an event about it does not."""

    id: str
    kind: str
    created: float
    body: bytes
    order_id: str | None = None


class Delivery(NamedTuple):
    """A webhook that is to be sent to an endpoint at ``due``; it was tried ``tried`` times, the first time at ``since``."""

    event_id: str
    endpoint_id: str
    since: float
    body: bytes
    due: float
    tried: int = 0
