"""A made-up shop: its carts, and what storefront, shopper and warehouse do when an order reaches a state.

The same seed makes the same orders. All names, addresses and goods are invented.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from producers.topics import Topic


class OrderPath(NamedTuple):
    """One course that an order can take. ``weight`` is its relative frequency, ``ends`` the state that it ends in."""

    name: str
    ends: str
    weight: int
    pay_with: str = "card"
    shipments: int = 1
    #: The warehouse cannot deliver the last line.
    short_stock: bool = False
    #: The shopper cancels once the order is submitted.
    cancels: bool = False
    #: All events are sent at once, in the wrong order: the early ones are parked in their order.
    out_of_order: bool = False


ORDER_PATHS: Final = (
    OrderPath("paid by card, sent in one parcel", "complete", 6),
    OrderPath("paid by card, sent in two parcels", "complete", 3, shipments=2),
    OrderPath("paid by bank transfer", "complete", 2, pay_with="wire"),
    OrderPath("events out of order", "complete", 2, out_of_order=True),
    OrderPath("one line cannot be delivered", "complete", 1, short_stock=True),
    OrderPath("card declined", "declined", 1, pay_with="card_declined"),
    OrderPath("cancelled before it was sent", "cancelled", 1, cancels=True),
)

#: The story at the end is that of the first order on this path.
STORY_PATH: Final = ORDER_PATHS[1]

_GOODS: Final = (
    ("walking-boots", "Walking boots", "129.90"),
    ("rain-jacket", "Rain jacket", "89.00"),
    ("tent-2p", "Tent for two", "249.50"),
    ("stove", "Camping stove", "45.25"),
    ("headlamp", "Headlamp", "32.80"),
    ("map-set", "Set of maps", "19.99"),
)
#: Tax codes of Digital River: goods that are sent, and what is downloaded and needs no address.
_SENT: Final = "4323.310_A"
_DOWNLOADED: Final = "4323.320_A"
_DOWNLOADS: Final = frozenset({"map-set"})
_TOWNS: Final = (("Minnetonka", "MN", "55343"), ("Minneapolis", "MN", "55401"), ("Chicago", "IL", "60601"))
_PEOPLE: Final = ("Ada Brook", "Ben Carver", "Cleo Dane", "Dov Ekman", "Edda Frost", "Finn Gale")


class Outgoing(NamedTuple):
    """A record for an input topic; the topic is named as in the contract."""

    topic: Topic
    key: str
    value: bytes


class ShopOrder(NamedTuple):
    """An order of the shop and the path that it takes."""

    order_id: str
    path: OrderPath
    cart: dict[str, Any]
    method: str


def catalogue() -> Iterator[Outgoing]:
    """The shop's goods, so that Digital River knows them before the first cart."""
    for sku_id, name, _ in _GOODS:
        tax_code = _DOWNLOADED if sku_id in _DOWNLOADS else _SENT
        data = {"name": name, "tax_code": tax_code, "country_of_origin": "US", "eccn": "EAR99"}
        yield _event(Topic.CATALOG_EVENTS, sku_id, "sku.upserted", "sku.upserted", "/catalogue", data)


def make_orders(count: int, seed: int) -> list[ShopOrder]:
    """Orders on all paths: each path at least once if ``count`` allows it."""
    chance = random.Random(seed)
    drawn = chance.choices(ORDER_PATHS, [path.weight for path in ORDER_PATHS], k=count)
    first = [STORY_PATH, *(path for path in ORDER_PATHS if path is not STORY_PATH)]
    drawn[: len(first)] = first[:count]
    return [_make_order(f"demo-{number:04}", path, chance) for number, path in enumerate(drawn, 1)]


def _make_order(order_id: str, path: OrderPath, chance: random.Random) -> ShopOrder:
    lines_min = 2 if path.shipments > 1 or path.short_stock else 1
    goods = chance.sample(_GOODS, chance.randint(lines_min, 3))
    name, (city, state, postal_code) = chance.choice(_PEOPLE), chance.choice(_TOWNS)
    address = {
        "name": name,
        "line1": f"{chance.randint(1, 99)} Lake Road",
        "city": city,
        "state": state,
        "postal_code": postal_code,
        "country": "US",
    }
    items = []
    for number, (sku_id, _, price) in enumerate(goods, 1):
        quantity = chance.randint(1, 2)
        # a unit's price: Digital River multiplies
        items.append({"line": str(number), "sku_id": sku_id, "quantity": quantity, "price": price})
    cart = {
        "currency": "USD",
        "locale": "en_US",
        "email": f"{name.split()[0].lower()}@example.com",
        "customer": {"kind": "guest"},
        "bill_to": address,
        "ship_to": address,
        "ship_from": {"country": "US", "city": "Austin", "state": "TX", "postal_code": "78701", "line1": "1 Depot Way"},
        "shipping": {"amount": "7.95", "description": "parcel", "service_level": "SG"},
        "items": items,
    }
    return ShopOrder(order_id, path, cart, path.pay_with)


def open_with(order: ShopOrder) -> list[Outgoing]:
    """The first events of an order: the cart, or, out of order, everything with the cart last."""
    cart = _shop(order, "checkout.requested", order.cart)
    if not order.path.out_of_order:
        return [cart]
    return [*react(order, "submitted"), *react(order, "checkout_ready"), *react(order, "checkout_open"), cart]


def react(order: ShopOrder, state: str) -> list[Outgoing]:
    """What storefront, shopper and warehouse send when the order reaches ``state``."""
    match state:
        case "checkout_open":
            source = f"sim-{order.method}-{order.order_id}"
            return [_shop(order, "checkout.source_provided", {"source_id": source})]
        case "checkout_ready":
            return [_shop(order, "order.placed", {"terms_accepted": True})]
        case "submitted" if order.path.cancels:
            return [_shop(order, "order.cancel_requested", {"reason": "changed my mind"})]
        case "submitted":
            return _ship(order)
        case _:
            return []


def _ship(order: ShopOrder) -> list[Outgoing]:
    """The warehouse: parcels of whole lines, and what it cannot deliver."""
    items = [{"line": item["line"], "quantity": item["quantity"]} for item in order.cart["items"]]
    sent = []
    if order.path.short_stock:
        missing = items.pop()
        sent.append(_warehouse(order, "fulfillment.cancelled", "cancelled", {"items": [missing], "reason": "broken"}))
    parcels = [items] if order.path.shipments == 1 else [items[:1], items[1:]]
    for number, parcel in enumerate(parcels, 1):
        data = {
            "shipment_id": f"{order.order_id}-{number}",
            "items": parcel,
            "tracking": {"company": "UPS", "number": f"1Z{order.order_id}{number}"},
        }
        sent.append(_warehouse(order, "fulfillment.shipped", f"shipped-{number}", data))
    return sent


def _shop(order: ShopOrder, kind: str, data: dict[str, Any]) -> Outgoing:
    topic = Topic.CHECKOUT_EVENTS if kind.startswith("checkout.") else Topic.ORDER_EVENTS
    return _event(topic, order.order_id, kind, kind, "/storefront", data)


def _warehouse(order: ShopOrder, kind: str, name: str, data: dict[str, Any]) -> Outgoing:
    return _event(Topic.FULFILLMENT_EVENTS, order.order_id, kind, name, "/warehouse", data)


def _event(topic: Topic, key: str, kind: str, name: str, source: str, data: dict[str, Any]) -> Outgoing:
    """A CloudEvent whose id is its key and name: if it is sent again, it is the same fact."""
    event = {
        "specversion": "1.0",
        "id": f"{key}-{name}",
        "source": source,
        "type": kind,
        "subject": key,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "datacontenttype": "application/json",
        "data": data,
    }
    return Outgoing(topic, key, msgspec.json.encode(event))
