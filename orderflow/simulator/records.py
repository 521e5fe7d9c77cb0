"""What the simulator remembers: one class per resource. Money in minor units, times in seconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

from orderflow.simulator.fields import Json
from orderflow.simulator.pricing import Price, PricedLine


@dataclass(slots=True)
class Sku:
    """A SKU; ``physical`` decides whether an order needs a shipping choice."""

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
    """A payment source; ``method`` is the simulator's word for how it will behave."""

    id: str
    method: str
    kind: str
    flow: str
    state: str
    created: float
    secret: str


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


@dataclass(slots=True)
class Operation:
    """A capture or a cancel of a charge; ``captures`` and ``cancels`` go ``pending`` to ``complete`` or ``failed``."""

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
    captures: list[Operation] = field(default_factory=list)
    cancels: list[Operation] = field(default_factory=list)


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
class Event:
    """An event as it was, encoded once: an object changes, what was told about it does not."""

    id: str
    kind: str
    created: float
    body: bytes
    order_id: str | None = None
