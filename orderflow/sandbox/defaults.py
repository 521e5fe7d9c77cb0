"""A valid event of each inbound type, with values that a person need not think about. Pure.

With an order at hand an event fits it: what is open is shipped, what was shipped comes back. Without one it fits the cart that
``checkout.requested`` has here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
from pydantic import TypeAdapter, ValidationError

from statemachine.messages.events import REGISTRY
from statemachine.messages.money import currency_digits, format_money
from statemachine.order.order import Order

#: The SKU of the default cart; ``sku.upserted`` makes it.
SKU: Final = "trigger-mug"
#: ``source`` of events that are triggered.
SOURCE: Final = "/orderflow/trigger"
#: Minor units: the price of one mug, and what it costs to send them, in a currency of two digits.
_PRICE: Final = 950
_SHIPPING: Final = 495
_LINE: Final = "1"
_QUANTITY: Final = 2

#: Whom the default cart bills and ships to.
ADDRESS: Final[Mapping[str, str]] = {
    "name": "Pat Doe",
    "line1": "1 Test Rd",
    "city": "Minneapolis",
    "state": "MN",
    "postal_code": "55401",
    "country": "US",
}

TOPIC_OF: Final[Mapping[str, str]] = {kind: topic for topic, kinds in REGISTRY.items() for kind in kinds}

#: Types whose key is a SKU id.
OF_SKUS: Final = frozenset(REGISTRY["catalog-events"])

_CART: Final = ("sku.upserted", "checkout.requested")
_PLACED: Final = (*_CART, "checkout.source_provided", "order.placed")
_SHIPPED: Final = (*_PLACED, "fulfillment.shipped")
#: What is sent before an event of a type, where it is to be about a new order.
PREDECESSORS: Final[Mapping[str, tuple[str, ...]]] = {
    "checkout.requested": ("sku.upserted",),
    "checkout.updated": _CART,
    "checkout.source_provided": _CART,
    "checkout.abandoned": _CART,
    "order.placed": (*_CART, "checkout.source_provided"),
    "order.payment_returned": _PLACED,
    "order.cancel_requested": _PLACED,
    "order.refund_requested": _SHIPPED,
    "order.return_requested": _SHIPPED,
    "fulfillment.shipped": _PLACED,
    "fulfillment.cancelled": _PLACED,
    "fulfillment.return_received": (*_SHIPPED, "order.return_requested"),
    "sku.upserted": (),
    "sku.removed": ("sku.upserted",),
}
#: The state of the new order in which an event of a type means something; the others wait inside the order by themselves.
READY: Final[Mapping[str, frozenset[str]]] = {
    "checkout.updated": frozenset({"checkout_open"}),
    "checkout.abandoned": frozenset({"checkout_open"}),
    "order.payment_returned": frozenset({"pending_payment"}),
    "order.cancel_requested": frozenset({"submitted"}),
    "order.return_requested": frozenset({"fulfilled", "complete"}),
    "fulfillment.cancelled": frozenset({"submitted"}),
}


class Triggered(NamedTuple):
    """An event that is to be sent."""

    topic: str
    key: str
    type: str
    id: str
    data: dict[str, Any]

    def value(self, now: datetime) -> dict[str, Any]:
        """The CloudEvent."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": SOURCE,
            "type": self.type,
            "subject": self.key,
            "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": self.data,
        }


def default_event(kind: str, key: str, *, mark: str, order: Order | None = None, method: str = "card") -> Triggered:
    """A valid event.

    Args:
        kind: Its type, one of ``TOPIC_OF``.
        key: The order's id; of ``OF_SKUS`` the SKU's.
        mark: Makes ids that are new; a few letters and digits.
        order: The order as it is, if there is one.
        method: How ``checkout.source_provided`` pays, by the simulator's name.
    """
    return Triggered(TOPIC_OF[kind], key, kind, f"{key}-{kind}-{mark}", _data(kind, mark, order, method))


def _data(kind: str, mark: str, order: Order | None, method: str) -> dict[str, Any]:
    match kind:
        case "checkout.requested" | "checkout.updated":
            return _cart(order)
        case "checkout.source_provided":
            return {"source_id": f"sim-{method}-{mark}"}
        case "order.placed":
            return {"terms_accepted": True}
        case "order.refund_requested":
            return {"refund_id": f"R-{mark}"}
        case "order.return_requested":
            return {"return_id": f"RT-{mark}", "items": _items(order, lambda line: line.shipped - line.returned)}
        case "fulfillment.shipped":
            return {
                "shipment_id": f"P-{mark}",
                "items": _items(order, lambda line: line.ordered - line.shipped - line.cancelled),
            }
        case "fulfillment.cancelled":
            return {"items": _items(order, lambda line: line.ordered - line.shipped - line.cancelled)}
        case "fulfillment.return_received":
            return {"receipt_id": f"B-{mark}", **_open_return(order, mark)}
        case "sku.upserted":
            return {"name": "Mug", "tax_code": "4323.310_A", "country_of_origin": "US", "eccn": "EAR99"}
        case _:
            return {}


def _cart(order: Order | None) -> dict[str, Any]:
    """Two mugs, to the United States; an order keeps its currency."""
    currency = order.amounts.currency if order is not None and order.amounts.currency else "USD"
    digits = currency_digits(currency)

    def money(minor: int) -> str:
        return format_money(minor * 10**digits // 100, currency)

    return {
        "currency": currency,
        "locale": "en_US",
        "email": "pat@example.org",
        "customer": {"kind": "guest"},
        "bill_to": dict(ADDRESS),
        "ship_to": dict(ADDRESS),
        "ship_from": {"country": "US", "city": "Austin", "state": "TX", "postal_code": "78701"},
        "shipping": {"amount": money(_SHIPPING), "description": "parcel", "service_level": "SG"},
        "items": [{"line": _LINE, "sku_id": SKU, "quantity": _QUANTITY, "price": money(_PRICE)}],
    }


def _items(order: Order | None, units: Any) -> list[dict[str, Any]]:
    """All units of the order for which something is left; one of the first line where nothing is."""
    if order is None or not order.lines:
        return [{"line": _LINE, "quantity": _QUANTITY}]
    found = [{"line": line.line, "quantity": units(line)} for line in order.lines if units(line) > 0]
    return found or [{"line": order.lines[0].line, "quantity": 1}]


def _open_return(order: Order | None, mark: str) -> dict[str, Any]:
    """The newest return that was asked for, whole."""
    asked = [one for one in order.returns if one.state == "requested"] if order is not None else []
    if not asked:
        return {"return_id": f"RT-{mark}", "items": _items(order, lambda line: line.shipped)}
    items = [{"line": one.line, "quantity": one.asked - one.received} for one in asked[-1].units]
    return {"return_id": asked[-1].return_id, "items": items}


def with_values(event: Triggered, values: Sequence[tuple[str, str]]) -> Triggered:
    """The event with members of its data set: each by its path with dots between, and its text.

    A text stays a text where the type of the event wants one, and is read as JSON where it does not.

    Raises:
        ValueError: A path leads nowhere.
    """
    data = msgspec.json.decode(msgspec.json.encode(event.data))
    for path, text in values:
        _put(data, path, text)
    adapter: TypeAdapter[Any] = TypeAdapter(REGISTRY[event.topic][event.type])
    for _ in values:
        places = _places(adapter, data)
        for path, text in values:
            if any(_leads(path.split("."), place) for place in places):
                _put(data, path, read_value(text))
    return event._replace(data=data)


def read_value(text: str) -> Any:
    """``text`` as JSON, or as it is."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _places(adapter: TypeAdapter[Any], data: dict[str, Any]) -> list[list[str]]:
    """Where the data are not what the type wants."""
    try:
        adapter.validate_json(msgspec.json.encode(data))
    except ValidationError as error:
        return [[str(part) for part in one["loc"]] for one in error.errors(include_input=False, include_url=False)]
    return []


def _leads(path: list[str], place: list[str]) -> bool:
    """Whether ``place`` is below ``path``; it names kinds of values in between, too."""
    parts = iter(place)
    return all(part in parts for part in path)


def _put(data: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        data = data[_index(data, name)] if isinstance(data, list) else data.setdefault(name, {})
        if not isinstance(data, dict | list):
            raise ValueError(f"{path}: {name} has no members")  # noqa: TRY004  # a value of the user's, not a defect
    if isinstance(data, list):
        if last.isascii() and last.isdigit() and int(last) == len(data):
            data.append(value)
        else:
            data[_index(data, last)] = value
    else:
        data[last] = value


def _index(items: list[Any], name: str) -> int:
    if not (name.isascii() and name.isdigit() and int(name) < len(items)):
        raise ValueError(f"the list has no place {name}; places count from 0")
    return int(name)
