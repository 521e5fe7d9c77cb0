"""Prices of units: the only place where units of lines become money.

A line costs its amount and its tax less its part of the order's discount, which Digital River's lines do not show. Units cost
their share, rounded half up; all units of a line together cost exactly what the line does.
"""

from __future__ import annotations

from collections.abc import Iterable

from statemachine.messages.ids import LineId
from statemachine.order.order import KnownItem, Line, Order


def price_of_line(order: Order, line: Line, quantity: int) -> int | None:
    """The price of ``quantity`` units of ``line`` with tax, in minor units; None when Digital River did not report it."""
    item = next((item for item in order.items if item.line == line.line), None)
    if item is None or item.amount is None:
        return None
    # In orders of older versions no item has its part of a discount, so that the lines add up to more than was paid.
    whole = sum(_cost(one) for one in order.items)
    price, units = _cost(item) * quantity, line.ordered
    if whole > order.amounts.total:
        price, units = price * order.amounts.total, units * whole
    return (2 * price + units) // (2 * units)


def price_of(order: Order, units: Iterable[tuple[LineId, int]]) -> int:
    """The price of units of lines (line, quantity) together; a price that Digital River did not report counts as 0."""
    lines = {line.line: line for line in order.lines}
    return sum(price_of_line(order, lines[line], quantity) or 0 for line, quantity in units)


def _cost(item: KnownItem) -> int:
    return max((item.amount or 0) + item.tax - item.discount, 0)
