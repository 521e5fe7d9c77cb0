"""Money back, in any order and style: never more than was paid, all of it when it is asked for, and no unit twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statemachine.aftersale.refundable import left_to_refund, line_left
from statemachine.aftersale.repaid import is_live, units_taken
from statemachine.messages.money import format_money
from statemachine.order.decision import Moved
from tests.unit.statemachine.river import PaperOrder
from tests.unit.statemachine.story import Story, cart, units

Lines = list[tuple[int, int]]
LINES: st.SearchStrategy[Lines] = st.lists(st.tuples(st.integers(1, 7), st.integers(0, 999)), min_size=1, max_size=3)


def complete(lines: Lines, discount: int) -> Story:
    """An order of lines (units, price of one in cents), all of it captured, with a discount of at most what it costs."""
    story = Story()
    whole = sum(quantity * price for quantity, price in lines)
    off = {"discount": {"amount": format_money(min(discount, whole), "USD")}} if discount and whole else {}
    items = [(str(at), quantity, format_money(price, "USD")) for at, (quantity, price) in enumerate(lines)]
    story.tell("checkout.requested", **cart(*items, **off))
    story.answer()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    story.answer()
    story.tell("order.placed", terms_accepted=True)
    story.answer()
    story.ship("s-1", **{f"l{line}": quantity for line, quantity, _ in items})
    story.answer()
    story.river.tick()
    story.report()
    return story


def books(story: Story) -> PaperOrder:
    """Digital River's."""
    return story.river.orders[story.dr_order_id]


def settle(story: Story) -> None:
    """Digital River answers, pays and reports."""
    story.answer()
    story.report()
    story.river.pay_back()
    story.report()


def ask(story: Story, number: int, style: int, line: int, size: int) -> bool:
    """One request for money back; whether it was taken."""
    named: dict[str, Any] = {"line": str(line)}
    if style == 0:
        named["quantity"] = size
    elif style == 1:
        named["amount"] = format_money(size * 37, "USD")
    elif style == 2:
        named |= {"quantity": size, "amount": format_money(size * 11, "USD")}
    return isinstance(story.tell("order.refund_requested", refund_id=f"r-{number}", items=[named]), Moved)


@pytest.mark.timeout(300)
@settings(max_examples=80, deadline=None)
@given(
    LINES,
    st.integers(0, 400),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, 7), st.booleans()), max_size=12),
)
def test_a_line_is_paid_back_to_the_cent_and_never_more(
    lines: Lines, discount: int, steps: list[tuple[int, int, int, bool]]
) -> None:
    """Law: refunds by units, money, both and the rest. Digital River never refuses one; the rests end at what was paid."""
    story = complete(lines, discount)
    paid = {line: price for line, (_, price) in books(story).checkout.prices.items()}
    for number, (style, line, size, wait) in enumerate(steps):
        ask(story, number, style, line % len(lines), size)
        if not wait:
            settle(story)
    settle(story)
    for line in range(len(lines)):
        ask(story, 100 + line, 3, line, 0)
        settle(story)
    assert story.order is not None
    assert [one.state for one in story.order.refunds if not is_live(one)] == [], "Digital River refused one"
    back: Counter[str] = Counter()
    for refund in books(story).refunds.values():
        for item in refund.items:
            back[item.item_id.removeprefix("7005003003")] += item.amount
    assert {line: back[line] for line in paid} == paid
    assert story.order.amounts.refunded == sum(paid.values()) == story.order.amounts.total
    assert left_to_refund(story.order) == 0
    assert story.attention == []


STEPS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=25)


@pytest.mark.timeout(300)
@settings(max_examples=120, deadline=None)
@given(LINES, STEPS, st.booleans())
def test_no_unit_is_paid_back_twice(lines: Lines, steps: list[tuple[int, int, int]], pays: bool) -> None:
    """Law: refunds and returns, asked, received, withdrawn, answered and paid in any order, failing now and then."""
    story = complete(lines, 0)
    story.river.pays_back_returns = pays
    for number, (kind, line, size) in enumerate(steps):
        step(story, number, kind, str(line % len(lines)), size)
        _nothing_is_paid_twice(story)
    settle(story)
    _nothing_is_paid_twice(story)


def step(story: Story, number: int, kind: int, line: str, size: int) -> None:
    """One step of anybody."""
    assert story.order is not None
    match kind:
        case 0 | 1:
            ask(story, number, (0, 3)[kind], int(line), size)
        case 2:
            story.tell("order.refund_requested", refund_id=f"r-{number}")
        case 3 | 4:
            story.tell("order.return_requested", return_id=f"t-{number}", items=units(**{f"l{line}": size}))
        case 5 | 6 if story.order.returns:
            returned = story.order.returns[size % len(story.order.returns)]
            items = [{"line": one.line, "quantity": one.asked} for one in returned.units]
            story.tell("fulfillment.return_received", return_id=returned.return_id, items=items)
        case 7 if story.order.returns:
            returned = story.order.returns[size % len(story.order.returns)]
            story.tell("order.return_requested", return_id=returned.return_id, items=[])
        case 8:
            books(story).checkout.method = "card_refund_fail" if size == 4 else "card"
            settle(story)
        case _:
            story.answer()


def _nothing_is_paid_twice(story: Story) -> None:
    order = story.order
    assert order is not None
    units_back: Counter[str] = Counter()
    money_back: Counter[str] = Counter()
    for refund in books(story).refunds.values():
        if refund.state != "failed":
            for item in refund.items:
                name = item.item_id.removeprefix("7005003003")
                units_back[name] += item.quantity
                money_back[name] += item.amount
    for line in order.lines:
        assert units_back[line.line] <= line.shipped, "a unit was paid back twice"
        price = books(story).checkout.prices[line.line][1]
        assert money_back[line.line] <= price + len(order.returns), "each return is rounded by itself"
        left = line_left(order, line, units_taken(order))
        assert left is not None
    assert books(story).available() >= 0
