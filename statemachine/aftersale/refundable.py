"""What a refund request asks for and what is left to refund; guards of the life cycle's table.

Left is what was captured, less what the bank took back, less all refunds that have not failed: pending ones count as taken, as
they do at Digital River (docs/digital-river.md, "Charges and captures"). Of a line, what its shipped units cost is left, less
its parts of those refunds and less the units of its returns, which Digital River pays back when it accepts them.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

from statemachine.aftersale.prices import price_of, price_of_line
from statemachine.aftersale.repaid import UnitsTaken, is_live, units_left, units_taken
from statemachine.drafts.draft import Draft
from statemachine.messages.commands import RefundCommandItem
from statemachine.messages.events import RefundItem, RefundRequested
from statemachine.messages.ids import LineId, RemoteItemId
from statemachine.messages.money import has_exact_digits, parse_money
from statemachine.order.order import Line, Order, Refund, RefundUnits

#: Stands for the item of a line whose id at Digital River is not known.
_NO_ITEM: Final = RemoteItemId("")


class Wanted(msgspec.Struct, frozen=True):
    """What a request asks for: ``amount`` None when only Digital River knows it, ``taken`` its estimate, both in minor units.

    ``exact`` when the sender named all of the money; ``whole`` when all that is left is asked for.
    """

    amount: int | None
    taken: int
    units: tuple[RefundUnits, ...] = ()
    items: tuple[RefundCommandItem, ...] = ()
    part: str | None = None
    exact: bool = False
    whole: bool = False


def left_to_refund(order: Order) -> int:
    """Minor units captured and neither charged back nor taken by a refund that has not failed; never below 0."""
    taken = sum(refund.taken for refund in order.refunds if is_live(refund))
    return max(order.amounts.captured - order.amounts.charged_back - taken, 0)


def left_beside_returns(order: Order) -> int:
    """The same, less what returns will pay back; never below 0."""
    unpaid = units_taken(order).unpaid
    return max(left_to_refund(order) - price_of(order, unpaid.items()), 0)


def line_left(order: Order, line: Line, taken: UnitsTaken) -> int | None:
    """Minor units of ``line`` that are left to refund; None when Digital River did not tell what it costs."""
    whole = price_of_line(order, line, line.shipped)
    if whole is None:
        return None
    paid = sum(
        units.amount or price_of_line(order, line, units.quantity) or 0
        for refund in order.refunds
        if is_live(refund)
        for units in refund.units
        if units.line == line.line
    )
    unpaid = price_of_line(order, line, taken.unpaid[line.line]) or 0
    return max(whole - paid - unpaid, 0)


def is_asked_again(order: Order, refund: Refund, wanted: Wanted) -> bool:
    """Whether ``wanted`` asks for the same as ``refund``: the same part, or the same units of the same lines and the same money.

    A request for units only estimates their price, which may differ by a minor unit for each line from what Digital River
    reported of ``refund``.
    """
    if wanted.part is not None or refund.part is not None:
        return refund.part == wanted.part  # only Digital River knows the amount
    off = 0 if wanted.exact else len(order.lines)
    of_lines = [[(units.line, units.quantity) for units in units_of] for units_of in (refund.units, wanted.units)]
    return sorted(of_lines[0]) == sorted(of_lines[1]) and abs(refund.taken - wanted.taken) <= off


def is_amount_invalid(draft: Draft) -> bool:
    """An amount of the request is 0, or does not have the decimals of the order's currency."""
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


def is_refund_of_lines(draft: Draft) -> bool:
    """The request names lines."""
    return request_of(draft).items is not None


def is_never_captured(draft: Draft) -> bool:
    """No capture is complete, whatever the order costs; for states in which no capture follows."""
    return draft.order.amounts.captured == 0


def is_above_refundable(draft: Draft) -> bool:
    """The request exceeds the money or the units of a line that are left; or it is for nothing, or nothing is left."""
    order, data = draft.order, request_of(draft)
    if data.of is not None and any(one.whole and one.part == data.of and is_live(one) for one in order.refunds):
        return True  # a refund of all that was left of it is under way
    if data.items is not None and _is_line_above_refundable(order, data.items):
        return True
    # An amount of the whole order may include the money of a return, which then pays less.
    wanted, left = wanted_of(order, data), left_to_refund(order) if data.items is None else left_beside_returns(order)
    if wanted.amount is not None:
        return not 0 < wanted.amount <= left
    # Our share of a line's price may be a minor unit above Digital River's (docs/digital-river.md, "Money and rounding").
    return left == 0 or wanted.taken > left + len(order.lines)


def _is_line_above_refundable(order: Order, items: tuple[RefundItem, ...]) -> bool:
    """The request exceeds what is left of a line: its units, or the price of its shipped units."""
    taken = units_taken(order)
    quantities, priced, amounts = Counter[LineId](), Counter[LineId](), Counter[LineId]()
    for item in items:
        quantities[item.line] += item.quantity or 0
        if item.amount is None:
            priced[item.line] += item.quantity or 0
        else:
            amounts[item.line] += parse_money(item.amount, order.amounts.currency)
    for line in order.lines:
        units, left = max(units_left(order, line, taken), 0), line_left(order, line, taken)
        if quantities[line.line] > units:
            return True
        if left is None:
            continue
        price = price_of_line(order, line, priced[line.line]) or 0
        parts = sum(one.line == line.line for refund in order.refunds for one in refund.units) + 1
        # Each part may be rounded up by a minor unit; all units that are left cost what is left.
        if amounts[line.line] > left or (priced[line.line] < units and price > left + parts):
            return True
    return False


def has_nothing_to_refund(draft: Draft) -> bool:
    """The request names a line without an amount, and no unit or no money of the line is left to refund."""
    order, data = draft.order, request_of(draft)
    lines, taken = {line.line: line for line in order.lines}, units_taken(order)
    for item in data.items or ():
        if item.amount is None:
            left = line_left(order, lines[item.line], taken)
            # Without a price from Digital River only units can be counted.
            if left == 0 or (left is None and units_left(order, lines[item.line], taken) <= 0):
                return True
    return False


def request_of(draft: Draft) -> RefundRequested:
    """The request in the event."""
    return draft.data_as(RefundRequested)


def wanted_of(order: Order, data: RefundRequested) -> Wanted:
    """What ``data``, whose lines the order has, asks of ``order``."""
    currency = order.amounts.currency
    if data.items is not None:
        return _wanted_of_lines(order, data.items)
    if data.amount is not None:
        whole = parse_money(data.amount, currency)
        return Wanted(whole, whole, part=data.of, exact=True)
    if data.of is not None:
        return Wanted(None, 0, part=data.of, whole=True)  # only Digital River knows the amount
    rest = left_beside_returns(order)
    # All that is left, less the money of returns, is requested as an amount.
    return Wanted(None if rest == left_to_refund(order) else rest, rest, whole=True)


def _wanted_of_lines(order: Order, items: tuple[RefundItem, ...]) -> Wanted:
    remote = {item.line: item.item_id for item in order.items}
    parts, taken, all_priced = _RequestParts(order), 0, True
    units: dict[LineId, RefundUnits] = {}
    asked = []
    for item in items:
        quantity, amount, estimate = parts.part_of(item)
        money = estimate if amount is None else amount
        all_priced = all_priced and amount is not None
        taken += money
        before = units.get(item.line, RefundUnits(item.line, 0))
        units[item.line] = RefundUnits(item.line, before.quantity + (quantity or 0), before.amount + money)
        asked.append(
            RefundCommandItem(line=item.line, item_id=remote.get(item.line, _NO_ITEM), quantity=quantity, amount=amount)
        )
    exact = all(item.amount is not None for item in items)
    return Wanted(taken if all_priced else None, taken, tuple(units.values()), tuple(asked), exact=exact)


class _RequestParts:
    """The lines of one request, each with what the lines before it have left."""

    def __init__(self, order: Order) -> None:
        taken = units_taken(order)
        self._order = order
        self._lines = {line.line: line for line in order.lines}
        self._units = {line.line: max(units_left(order, line, taken), 0) for line in order.lines}
        self._money = {line.line: line_left(order, line, taken) for line in order.lines}
        self._left = left_beside_returns(order)

    def part_of(self, item: RefundItem) -> tuple[int | None, int | None, int]:
        """Units, amount and our estimate; the amount is None when Digital River computes the price of the units.

        The rest of a line, or what exceeds it by rounding, is requested as the amount that is left.
        """
        if item.amount is not None:
            amount = parse_money(item.amount, self._order.amounts.currency)
            return self._take(item.line, item.quantity, amount, amount)
        line, left = self._lines[item.line], self._money[item.line]
        units = self._units[item.line]
        quantity = units if item.quantity is None else item.quantity
        price = price_of_line(self._order, line, quantity)
        if left is None or price is None:
            return self._take(item.line, quantity, None, 0)
        if quantity < units and price <= left:
            return self._take(item.line, quantity, None, price)
        if left == price and quantity == line.shipped:
            return self._take(item.line, quantity, None, price)  # the whole line: Digital River knows its price
        if left > self._left >= left - len(self._order.lines):
            left = self._left  # the lost cent
        return self._take(item.line, quantity or None, left, left)

    def _take(
        self, line: LineId, quantity: int | None, amount: int | None, estimate: int
    ) -> tuple[int | None, int | None, int]:
        left = self._money[line]
        self._units[line] = max(self._units[line] - (quantity or 0), 0)
        self._money[line] = None if left is None else max(left - estimate, 0)
        self._left = max(self._left - estimate, 0)
        return quantity, amount, estimate
