"""What must hold at the end of a game day, from the topics and from Digital River's books alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tests.game_day.orders import BROKEN_TYPE, Orders

Json = dict[str, Any]


def faults(
    orders: Orders,
    table: Mapping[str, Json],
    changes: Iterable[Json],
    commands: Iterable[Json],
    books: Mapping[str, Json],
) -> list[str]:
    """Everything that is wrong, a line each.

    ``table``: the snapshots; ``changes`` and ``commands``: the values of ``order-state-changes`` and ``dr-commands`` in their
    order per key.
    """
    found = [*_ends(orders, table), *_books(orders, table, books)]
    by_order: dict[str, list[Json]] = {}
    for change in changes:
        if change["type"] == "order.state_changed":
            by_order.setdefault(change["subject"], []).append(change["data"])
    for order_id, made in by_order.items():
        numbers = [one["sequence"] for one in made]
        if numbers != list(range(1, len(made) + 1)):
            found.append(f"{order_id}: the sequence of its changes is {numbers}")
    asked: dict[str, list[Json]] = {}
    for command in commands:
        if command["type"] == "command.create_fulfillment":
            asked.setdefault(command["subject"], []).append(command["data"])
    for order_id in orders.broken:
        found += _in_order(order_id, by_order.get(order_id, []), asked.get(order_id, []))
    return found


def _ends(orders: Orders, table: Mapping[str, Json]) -> Iterable[str]:
    for order_id in (*orders.usual, *orders.broken):
        order = table.get(order_id, {})
        if order.get("state") != "complete" or order.get("held") or order.get("attention"):
            yield f"{order_id}: {order.get('state')}, held {order.get('held')}, attention {order.get('attention')}"
    for order_id in (*orders.open, *orders.misused):
        order = table.get(order_id, {})
        if order.get("state") != "checkout_open" or order.get("attention"):
            yield f"{order_id}: {order.get('state')}, attention {order.get('attention')}"


def _books(orders: Orders, table: Mapping[str, Json], books: Mapping[str, Json]) -> Iterable[str]:
    """Nothing was called twice, and the money is the same on both sides."""
    for order_id in (*orders.usual, *orders.broken):
        book = books.get(order_id, {})
        counts = {name: book.get(name) for name in ("checkouts", "orders", "captures", "cancels", "refunds")}
        expected = dict.fromkeys(counts, 0) | {"checkouts": 1, "orders": 1, "captures": 1}
        expected["cancels"] = 1 if order_id in set(orders.broken) else 0
        if counts != expected:
            yield f"{order_id}: the books have {counts}, not {expected}"
        amounts = table.get(order_id, {}).get("amounts", {})
        for name in ("captured", "cancelled", "refunded"):
            if amounts.get(name) != book.get(name):
                yield f"{order_id}: {name} is {amounts.get(name)}, in the books {book.get(name)}"
    twice = Counter({one: book["checkouts"] for one, book in books.items() if book["checkouts"] > 1})
    edited = set(orders.misused)  # a corrected cart is a new checkout
    yield from (f"{one}: {count} checkouts" for one, count in twice.items() if one not in edited or count > 2)


def _in_order(order_id: str, changes: list[Json], asked: list[Json]) -> Iterable[str]:
    """Event n before event n+1, as their commands tell, and the operator's act is named with actor and reason."""
    if BROKEN_TYPE not in [_event_of(change) for change in changes]:
        yield f"{order_id}: no change of {BROKEN_TYPE}"
        return
    decided = [BROKEN_TYPE if one.get("shipment_id") is None else "fulfillment.shipped" for one in asked]
    if list(dict.fromkeys(decided)) != [BROKEN_TYPE, "fulfillment.shipped"]:
        yield f"{order_id}: decided {decided}"
    if not any(change.get("actor") and change.get("reason") for change in changes):
        yield f"{order_id}: no change names the operator"


def _event_of(change: Json) -> str:
    again = change.get("redelivered")
    return str(again["type"] if again else change["cause"]["type"])


def as_json(records: Iterable[tuple[str, bytes]]) -> list[Json]:
    """The values of records, in their order."""
    return [json.loads(value) for _, value in records if value]
