"""The orders of a game day: what is sent for each, and how it must end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.load import _buy, _items, _record

Line = dict[str, object]
#: The type of event that the bad release cannot decide.
BROKEN_TYPE: Final = "fulfillment.cancelled"


@dataclass(frozen=True)
class Orders:
    """By order id, and the lines of ``orderflow events send``."""

    #: Open checkouts, which stay as they are.
    open: list[str]
    #: Orders that are placed and ship as usual.
    usual: list[str]
    #: Orders whose next event the bad release cannot decide, and which then ship.
    broken: list[str]
    #: Open checkouts whose sender sends a cart that is wrong.
    misused: list[str]
    #: All ids.
    ids: list[str] = field(default_factory=list)


def plan_orders(total: int, usual: int, broken: int, misused: int) -> Orders:
    """``total`` orders in flight, of which so many are of each kind."""
    names = [f"G-{number:05}" for number in range(total)]
    first, second, third = usual, usual + broken, usual + broken + misused
    return Orders(names[third:], names[:first], names[first:second], names[second:third], names)


def carts(orders: Orders) -> list[Line]:
    """A cart for each."""
    return [_buy(one, "card", number)[0] for number, one in enumerate(orders.ids)]


def purchases(orders: Orders) -> list[Line]:
    """Source and placement of those that are to be placed."""
    return [line for one in (*orders.usual, *orders.broken) for line in _buy(one, "card", 0)[1:]]


def parcels(orders: Orders) -> list[Line]:
    """The parcels of the usual orders."""
    return [_parcel(one, ("1", 2), ("2", 1)) for one in orders.usual]


def cancellations(orders: Orders) -> list[Line]:
    """For each broken order: event n, which the bad release cannot decide, and event n+1, its parcel."""
    return [line for one in orders.broken for line in (_cancellation(one), _parcel(one, ("1", 2)))]


def nonsense(orders: Orders) -> list[Line]:
    """Carts whose currency is in lower case: invalid."""
    lines = []
    for one in orders.misused:
        cart = json.loads(json.dumps(_buy(one, "card", 1)[0]["value"]))["data"]
        lines.append(_record("checkout-events", one, "checkout.updated", "nonsense", {**cart, "currency": "usd"}))
    return lines


def _parcel(order_id: str, *units: tuple[str, int]) -> Line:
    data: dict[str, object] = {"shipment_id": f"{order_id}-parcel", "items": _items(*units)}
    return _record("fulfillment-events", order_id, "fulfillment.shipped", "parcel", data)


def _cancellation(order_id: str) -> Line:
    data: dict[str, object] = {"items": _items(("2", 1)), "cancellation_id": f"{order_id}-short"}
    return _record("fulfillment-events", order_id, BROKEN_TYPE, "short", data)
