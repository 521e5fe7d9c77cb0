"""The books: per ``upstreamId``, what took effect, not what was asked for. For checks from outside.

Captures and cancels are counted by fulfilment, of which each line has an operation of its own: a fulfilment counts once all of
its lines are through, its money with each of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.records import Operation
from orderflow.simulator.state.world import World
from statemachine.messages.money import format_money


@dataclass(slots=True)
class _Entry:
    currency: str
    checkouts: int = 0
    orders: int = 0
    captures: int = 0
    cancels: int = 0
    authorized: int = 0
    captured: int = 0
    cancelled: int = 0
    refunds: int = 0
    refunded: int = 0
    returns: int = 0


def books(world: World, upstream_ids: frozenset[str] | None = None) -> Json:
    """All counts and sums; captures, cancels and refunds count once they are complete, returns once they are accepted."""
    entries: dict[str, _Entry] = {}
    for name in upstream_ids if upstream_ids is not None else world.checkouts_by_upstream:
        for checkout in world.checkouts_by_upstream.get(name, ()):
            entry = entries.setdefault(name, _Entry(checkout.price.currency))
            entry.checkouts += 1
    for name in upstream_ids if upstream_ids is not None else world.orders_by_upstream:
        for order in world.orders_by_upstream.get(name, ()):
            entry = entries.setdefault(name, _Entry(order.checkout.price.currency))
            entry.orders += 1
            entry.refunds += sum(refund.state == "succeeded" for refund in order.refunds)
            entry.refunded += order.refunded
            entry.returns += sum(made.state == "accepted" for made in order.returns)
            if order.charge is None or order.charge.state in ("pending", "failed"):
                continue
            entry.authorized += order.charge.amount
            entry.captures += _fulfilments_through(order.charge.captures)
            entry.captured += order.sum_of("captures", "complete")
            entry.cancels += _fulfilments_through(order.charge.cancels)
            entry.cancelled += order.sum_of("cancels", "complete")
    return {name: _entry_json(entry) for name, entry in entries.items()}


def _fulfilments_through(operations: list[Operation]) -> int:
    """Of how many fulfilments all ``operations`` are complete. One without a fulfilment is Digital River's own."""
    open_ones = {operation.fulfillment_id for operation in operations if operation.state != "complete"}
    return len({operation.fulfillment_id for operation in operations} - open_ones)


def _entry_json(entry: _Entry) -> Json:
    return {
        "checkouts": entry.checkouts,
        "orders": entry.orders,
        "captures": entry.captures,
        "cancels": entry.cancels,
        "refunds": entry.refunds,
        "returns": entry.returns,
        "authorized": format_money(entry.authorized, entry.currency),
        "captured": format_money(entry.captured, entry.currency),
        "cancelled": format_money(entry.cancelled, entry.currency),
        "refunded": format_money(entry.refunded, entry.currency),
    }
