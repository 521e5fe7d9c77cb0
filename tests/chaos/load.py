"""Orders for the whole stack, and how each must end."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

Line = dict[str, object]


@dataclass
class Load:
    """Records as ``events send`` takes them, in two parts, and the expected end of each order."""

    skus: list[Line] = field(default_factory=list)
    buying: list[Line] = field(default_factory=list)
    shipping: list[Line] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)
    shipments: dict[str, int] = field(default_factory=dict)


def make_load(orders: int, *, seed: int = 3, cancels: bool = True) -> Load:
    """``orders`` orders of every kind that the happy path knows, the same for the same seed.

    Where all is sent at once, a cancel may come before its order is placed and rightly end it there: leave ``cancels`` out.
    """
    chance = random.Random(seed)
    load = Load(skus=[_sku(number) for number in range(4)])
    for number in range(orders):
        order_id = f"order-{number}"
        kind = ("card", "two", "wire", "cancel" if cancels else "two", "part", "card")[number % 6]
        load.buying += _buy(order_id, "wire" if kind == "wire" else "card", number)
        load.shipping += _ship(order_id, kind)
        load.ends[order_id] = "cancelled" if kind == "cancel" else "complete"
        load.shipments[order_id] = {"cancel": 0, "two": 2}.get(kind, 1)
    chance.shuffle(load.shipping)
    return load


def _record(topic: str, key: str, kind: str, name: str, data: dict[str, object]) -> Line:
    event = {
        "specversion": "1.0",
        "id": f"{key}-{name}",
        "source": "/tests",
        "type": kind,
        "subject": key,
        "time": "2031-03-04T10:11:12Z",
        "data": data,
    }
    return {"topic": topic, "key": key, "value": event}


def _sku(number: int) -> Line:
    data: dict[str, object] = {
        "name": f"Thing {number}",
        "tax_code": "4323.310_A",
        "country_of_origin": "US",
        "eccn": "EAR99",
        "weight": "1.5",
        "weight_unit": "kg",
    }
    return _record("catalog-events", f"sku-{number}", "sku.upserted", "sku", data)


def _buy(order_id: str, method: str, number: int) -> list[Line]:
    address = {
        "name": "Pat Doe",
        "line1": "1 Test Road",
        "city": "Minneapolis",
        "state": "MN",
        "postal_code": "55401",
        "country": "US",
    }
    customer: dict[str, object] = {"kind": "registered", "id": f"c-{number}"} if number % 2 else {"kind": "guest"}
    cart: dict[str, object] = {
        "currency": "USD",
        "locale": "en_US",
        "email": f"pat{number}@example.org",
        "customer": customer,
        "bill_to": address,
        "ship_to": address,
        "ship_from": {"country": "US", "postal_code": "55344"},
        "shipping": {"amount": "5.00", "description": "standard", "service_level": "SG"},
        "items": [
            {"line": "1", "sku_id": f"sku-{number % 4}", "quantity": 2, "price": f"{10 + number % 7}.99"},
            {"line": "2", "sku_id": f"sku-{(number + 1) % 4}", "quantity": 1, "price": "3.50"},
        ],
    }
    source: dict[str, object] = {"source_id": f"sim-{method}-{order_id}"}
    return [
        _record("checkout-events", order_id, "checkout.requested", "requested", cart),
        _record("checkout-events", order_id, "checkout.source_provided", "source", source),
        _record("order-events", order_id, "order.placed", "placed", {"terms_accepted": True}),
    ]


def _items(*pairs: tuple[str, int]) -> list[dict[str, object]]:
    return [{"line": line, "quantity": quantity} for line, quantity in pairs]


def _ship(order_id: str, kind: str) -> list[Line]:
    def shipped(name: str, *pairs: tuple[str, int]) -> Line:
        data: dict[str, object] = {"shipment_id": f"{order_id}-{name}", "items": _items(*pairs)}
        return _record("fulfillment-events", order_id, "fulfillment.shipped", name, data)

    if kind == "cancel":
        return [_record("order-events", order_id, "order.cancel_requested", "cancel", {})]
    if kind == "two":
        return [shipped("parcel-1", ("1", 1)), shipped("parcel-2", ("1", 1), ("2", 1))]
    if kind == "part":
        short: dict[str, object] = {"items": _items(("2", 1)), "cancellation_id": f"{order_id}-short"}
        return [
            shipped("parcel-1", ("1", 2)),
            _record("fulfillment-events", order_id, "fulfillment.cancelled", "short", short),
        ]
    return [shipped("parcel-1", ("1", 2), ("2", 1))]
