"""Twenty seeded changes that break somebody and twenty that break nobody are told apart, and whom they break is named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

import pytest

from orderflow.contracts.comparing import breaks
from orderflow.contracts.documents import asyncapi_document
from orderflow.contracts.messages import contract

NOW: Final = asyncapi_document(contract())
Document = dict[str, Any]
Change = Callable[[Document], object]


def _schema(document: Document, name: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][name]
    return found


def _set(name: str, *path: str | int, to: Any) -> Change:
    """A change that sets a part of a schema."""

    def change(document: Document) -> None:
        part: Any = _schema(document, name)
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = copy.deepcopy(to)

    return change


def _drop(name: str, *path: str) -> Change:
    """A change that removes a part of a schema."""

    def change(document: Document) -> None:
        part = _schema(document, name)
        for step in path[:-1]:
            part = part[step]
        del part[path[-1]]

    return change


def _listed(name: str, *path: str | int, value: Any, there: bool) -> Change:
    """A change that adds a value to a list of a schema, or takes it away."""

    def change(document: Document) -> None:
        part: Any = _schema(document, name)
        for step in path:
            part = part[step]
        part.append(value) if there else part.remove(value)

    return change


def _currency(document: Document) -> None:
    """A currency of two digits more."""
    cart = _schema(document, "Cart")
    cart["properties"]["currency"]["enum"].append("ZZZ")
    two = next(part for part in cart["allOf"] if "USD" in part["if"]["properties"]["currency"]["enum"])
    two["if"]["properties"]["currency"]["enum"].append("ZZZ")


def _other_digits(document: Document) -> None:
    """USD gets the digits of JPY."""
    rules = [part["if"]["properties"]["currency"]["enum"] for part in _schema(document, "Cart")["allOf"]]
    next(codes for codes in rules if "USD" in codes).remove("USD")
    next(codes for codes in rules if "JPY" in codes).append("USD")


def _without_message(document: Document) -> None:
    document["operations"]["receive.order-events"]["messages"].pop()


def _moved(document: Document) -> None:
    """State changes go to another topic."""
    document["channels"]["order-state-changes"]["address"] = "changes"


def _cleaned_up(document: Document) -> None:
    document["channels"]["orders"]["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"] = ["delete"]


def _rekeyed(document: Document) -> None:
    document["components"]["messages"]["orders"]["bindings"]["kafka"]["key"]["description"] = "number"


def _new_message(document: Document) -> None:
    new = {**copy.deepcopy(document["components"]["messages"]["order.placed"]), "name": "order.noted"}
    document["components"]["messages"]["order.noted"] = new
    document["channels"]["order-events"]["messages"]["order.noted"] = {"$ref": "#/components/messages/order.noted"}
    where = {"$ref": "#/channels/order-events/messages/order.noted"}
    document["operations"]["receive.order-events"]["messages"].append(where)


_TEXT: Final = {"type": "string"}
_HEADER: Final = "orderflow-detail"

BREAKING: Final[list[tuple[str, str, Change]]] = [
    ("a member must be there", "senders of checkout-events",
     _listed("Cart", "required", value="browser_ip", there=True)),
    ("a new member must be there", "senders of order-events",
     _listed("OrderPlaced", "required", value="channel", there=True)),
    ("a member is not read", "senders of checkout-events", _drop("Cart", "properties", "discount")),
    ("unknown members are refused", "senders of fulfillment-events", _set("Shipped", "additionalProperties", to=False)),
    ("a member is not known where all must be", "senders of order-events",
     _drop("CancelRequested", "properties", "reason")),
    ("a value is not taken", "senders of catalog-events",
     _listed("SkuUpserted", "properties", "weight_unit", "anyOf", 0, "enum", value="oz", there=False)),
    ("a text is shorter", "senders of checkout-events", _set("Address", "properties", "name", "maxLength", to=100)),
    ("a number is smaller", "senders of fulfillment-events",
     _set("LineQuantity", "properties", "quantity", "maximum", to=1000)),
    ("a list is shorter", "senders of checkout-events", _set("Cart", "properties", "items", "maxItems", to=100)),
    ("null is not taken", "senders of checkout-events", _set("Address", "properties", "line2", "anyOf", to=[_TEXT])),
    ("a form is another one", "senders of checkout-events",
     _set("Cart", "properties", "locale", "pattern", to="^[a-z]{2}$")),
    ("a kind is another one", "senders of order-events",
     _set("RefundRequested", "properties", "refund_id", to={"type": "integer"})),
    ("a further rule", "senders of order-events",
     _set("RefundRequested", "oneOf", to=[{"required": ["items"]}, {"required": ["amount"]}])),
    ("other digits", "senders of checkout-events", _other_digits),
    ("a message is not taken", "senders of order-events", _without_message),
    ("a member does not come", "readers of orders", _drop("Snapshot", "properties", "documents")),
    ("a member may be absent", "readers of order-state-changes",
     _listed("Change", "required", value="payment", there=False)),
    ("a member may be null", "readers of skus",
     _set("Sku", "properties", "sku_id", to={"anyOf": [_TEXT, {"type": "null"}]})),
    ("a new value comes", "readers of order-state-changes",
     _listed("Change", "properties", "to", "enum", value="paid", there=True)),
    ("a kind is another one that comes", "readers of order-state-changes",
     _set("AmountsText", "properties", "total", to={"type": "number"})),
    ("a form is not kept", "readers of order-state-changes", _drop("AmountsText", "properties", "total", "pattern")),
    ("another topic", "readers of order-state-changes", _moved),
    ("a table is no table", "readers of orders", _cleaned_up),
    ("another key", "readers of orders", _rekeyed),
]  # fmt: skip

HARMLESS: Final[list[tuple[str, Change]]] = [
    ("a member may come that was not known", _set("Cart", "properties", "gift", to={"type": "boolean"})),
    ("a member need not be there", _listed("Cart", "required", value="email", there=False)),
    ("a member that may come where all must be known", _set("CancelRequested", "properties", "by", to=_TEXT)),
    ("unknown members are ignored", _set("CancelRequested", "additionalProperties", to=True)),
    ("a value more is taken",
     _listed("SkuUpserted", "properties", "weight_unit", "anyOf", 0, "enum", value="t", there=True)),
    ("a text is longer", _set("Address", "properties", "name", "maxLength", to=1000)),
    ("a text may be empty", _drop("Address", "properties", "city", "minLength")),
    ("a number is larger", _set("LineQuantity", "properties", "quantity", "maximum", to=2_000_000)),
    ("a list is longer", _set("Cart", "properties", "items", "maxItems", to=1000)),
    ("null is taken", _set("Address", "properties", "name", to={"anyOf": [{"type": "string"}, {"type": "null"}]})),
    ("a form is not asked for", _drop("Cart", "properties", "locale", "pattern")),
    ("a number is taken, too",
     _set("Discount", "properties", "amount", "anyOf", to=[_TEXT, {"type": "number"}, {"type": "null"}])),
    ("a rule less", _drop("RefundRequested", "anyOf")),
    ("a currency more", _currency),
    ("a message more", _new_message),
    ("a member more comes", _set("Snapshot", "properties", "loyalty", to=_TEXT)),
    ("a member always comes", _listed("Change", "required", value="lines", there=True)),
    ("a value does not come any more",
     _listed("Snapshot", "properties", "payment", "enum", value="reauth_failed", there=False)),
    ("a text that comes is bound", _set("LetterHeaders", "properties", _HEADER, "maxLength", to=500)),
    ("a member is never null", _set("AmountsText", "properties", "currency", to=_TEXT)),
    ("a list that comes is shorter", _set("Snapshot", "properties", "attention", "maxItems", to=10)),
    ("other words", _set("Cart", "properties", "email", "description", to="where to write to")),
    ("another example", lambda document: document["components"]["messages"]["orders"].pop("examples")),
]  # fmt: skip


def _changed(change: Change) -> Document:
    document = copy.deepcopy(NOW)
    change(document)
    return document


def test_there_are_twenty_of_each() -> None:
    """The lists are as long as they should be, and no name is used twice."""
    names = [name for name, *_ in BREAKING] + [name for name, _ in HARMLESS]
    assert len(BREAKING) >= 20
    assert len(HARMLESS) >= 20
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("whom", "change"), [one[1:] for one in BREAKING], ids=[one[0] for one in BREAKING])
def test_a_breaking_change_is_named_with_whom_it_breaks(whom: str, change: Change) -> None:
    """One line for each message that has it; and the way back is no such break."""
    changed = _changed(change)
    assert changed != NOW
    found = breaks(NOW, changed)
    assert f"breaks {whom}" in {str(one).partition(":")[0] for one in found}
    assert {one.breaks for one in found} == {whom.split(maxsplit=1)[0]}


@pytest.mark.parametrize("change", [one[1] for one in HARMLESS], ids=[one[0] for one in HARMLESS])
def test_a_harmless_change_breaks_nobody(change: Change) -> None:
    """What is taken besides, what comes besides, and words."""
    changed = _changed(change)
    assert changed != NOW
    assert breaks(NOW, changed) == []


def test_the_same_contract_breaks_nobody() -> None:
    """Nothing changed, nothing is found."""
    assert breaks(NOW, copy.deepcopy(NOW)) == []
