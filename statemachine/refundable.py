"""What a request for a refund asks for, and what is left to refund: the questions that the life cycle's table asks about it.

Left is what was captured, less what the bank took back, less all refunds that have not failed: pending ones count as taken, as
they do at Digital River (reference: "Refund", ``availableToRefundAmount``).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from statemachine.commands import RefundItem
from statemachine.draft import Draft
from statemachine.events import RefundRequested
from statemachine.money import has_exact_digits, parse_money
from statemachine.order import Item, Line, Order, Refund, RefundUnits


class Wanted(msgspec.Struct, frozen=True):
    """What a request asks for: ``amount`` None when only Digital River can tell, ``taken`` its estimate, both in minor units."""

    amount: int | None
    taken: int
    units: tuple[RefundUnits, ...] = ()
    items: tuple[RefundItem, ...] = ()
    part: str | None = None


def left_to_refund(order: Order) -> int:
    """Minor units captured and neither charged back nor taken by a refund that has not failed; never below 0."""
    taken = sum(refund.taken for refund in order.refunds if is_live(refund))
    return max(order.amounts.captured - order.amounts.charged_back - taken, 0)


def units_left(order: Order, line: Line) -> int:
    """Units of ``line`` that were shipped and whose price no refund that has not failed pays back."""
    taken = sum(
        units.quantity
        for refund in order.refunds
        if is_live(refund)
        for units in refund.units
        if units.line == line.line
    )
    return line.shipped - taken


def is_live(refund: Refund) -> bool:
    """Whether the refund takes of what is left: it has not failed."""
    return refund.state not in ("failed", "expired")


def is_asked_again(order: Order, refund: Refund, wanted: Wanted) -> bool:
    """Whether ``wanted`` is what ``refund`` was about: the same part, or the same units of the same lines and the same money.

    A request for units only estimates their price, so that may be a cent a line beside what Digital River told of ``refund``,
    which also says it line by line, as no request does.
    """
    if wanted.part is not None or refund.part is not None:
        return refund.part == wanted.part  # how much it is, only Digital River knows
    off = 0 if wanted.amount is not None else len(order.lines)
    of_lines = [[(units.line, units.quantity) for units in units_of] for units_of in (refund.units, wanted.units)]
    return sorted(of_lines[0]) == sorted(of_lines[1]) and abs(refund.taken - wanted.taken) <= off


def is_money_unsound(draft: Draft) -> bool:
    """An amount of the request is nothing, or does not have the digits of the order's currency."""
    data = request_of(draft)
    texts = [data.amount] if data.amount is not None else [item.amount for item in data.items or ()]
    currency = draft.order.amounts.currency
    return any(
        text is not None and (not has_exact_digits(text, currency) or parse_money(text, currency) == 0)
        for text in texts
    )


def is_nothing_captured(draft: Draft) -> bool:
    """No capture is complete yet, so Digital River would refuse any refund. An order that costs nothing never has one."""
    return draft.order.amounts.captured == 0 < draft.order.amounts.total


def is_never_captured(draft: Draft) -> bool:
    """No capture is complete, whatever the order costs: asked where no capture is to come."""
    return draft.order.amounts.captured == 0


def is_above_left(draft: Draft) -> bool:
    """More is asked for than is left, of the money or of a line's units; or nothing is asked for, or nothing left."""
    order, data = draft.order, request_of(draft)
    wanted, left = wanted_of(order, data), left_to_refund(order)
    if any(_is_line_above(order, line, wanted.units) for line in order.lines):
        return True
    if wanted.amount is not None:
        return not 0 < wanted.amount <= left
    # Our share of a line's price may be a minor unit above Digital River's ("the lost cent", section 8.2 of the reference).
    return left == 0 or wanted.taken > left + len(order.lines)


def _is_line_above(order: Order, line: Line, wanted: tuple[RefundUnits, ...]) -> bool:
    """More is asked of the line than is left: of its units, or of what its shipped units cost."""
    asked = [units for units in wanted if units.line == line.line]
    if not asked:
        return False
    if sum(units.quantity for units in asked) > units_left(order, line):
        return True
    item = next((item for item in order.items if item.line == line.line), None)
    if item is None or item.amount + item.tax == 0:  # Digital River did not tell what the line costs
        return False
    before = [units for refund in order.refunds if is_live(refund) for units in refund.units if units.line == line.line]
    parts = [units.amount or _share(order, item, line, units.quantity) for units in (*before, *asked)]
    # Each part may be rounded up by a minor unit ("the lost cent", section 8.2 of the reference).
    return sum(parts) > _share(order, item, line, line.shipped) + len(parts)


def has_nothing_to_refund(draft: Draft) -> bool:
    """A line is named of which no unit is left to refund, without an amount."""
    order, data = draft.order, request_of(draft)
    lines = {line.line: line for line in order.lines}
    return any(
        item.quantity is None and item.amount is None and units_left(order, lines[item.line]) <= 0
        for item in data.items or ()
    )


def request_of(draft: Draft) -> RefundRequested:
    """The request in the event."""
    data = draft.event.data
    assert isinstance(data, RefundRequested)  # the table asks for this event only
    return data


def wanted_of(order: Order, data: RefundRequested) -> Wanted:
    """What ``data``, whose lines the order has, asks of ``order``."""
    currency = order.amounts.currency
    if data.items is None:
        if data.amount is not None:
            whole = parse_money(data.amount, currency)
            return Wanted(whole, whole, part=data.of)
        # Of shipping, tax or duty Digital River knows how much there is; without that it is all that is left.
        return Wanted(None, 0 if data.of is not None else left_to_refund(order), part=data.of)
    lines = {line.line: line for line in order.lines}
    remote = {item.line: item for item in order.items}
    taken, told, units, items = 0, True, [], []
    for item in data.items:
        line = lines[item.line]
        amount = None if item.amount is None else parse_money(item.amount, currency)
        quantity = item.quantity
        if amount is not None:
            taken += amount
        else:
            quantity = units_left(order, line) if quantity is None else quantity
            taken, told = taken + _share(order, remote.get(item.line), line, quantity), False
        units.append(RefundUnits(item.line, quantity or 0, amount or 0))
        item_id = remote[item.line].item_id if item.line in remote else ""
        items.append(RefundItem(line=item.line, item_id=item_id, quantity=quantity, amount=amount))
    return Wanted(taken if told else None, taken, tuple(units), tuple(items))


def price_of(order: Order, units: Iterable[tuple[str, int]]) -> int:
    """What units of lines (line, quantity) cost with their tax, in minor units; 0 for what Digital River did not tell."""
    lines = {line.line: line for line in order.lines}
    remote = {item.line: item for item in order.items}
    return sum(_share(order, remote.get(line), lines[line], quantity) for line, quantity in units)


def _share(order: Order, item: Item | None, line: Line, quantity: int) -> int:
    """What ``quantity`` units of the line cost with their tax, rounded half up.

    A discount of the whole order is in none of Digital River's lines: the lines then add up to more than the order cost.
    """
    if item is None:
        return 0
    whole = sum(one.amount + one.tax for one in order.items)
    price, units = (item.amount + item.tax) * quantity, line.ordered
    if whole > order.amounts.total:
        price, units = price * order.amounts.total, units * whole
    return (2 * price + units) // (2 * units)
