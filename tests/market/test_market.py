"""Random people around core and simulator: whatever they do, the money is the same on both sides and nothing is stuck unseen."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from statemachine.messages.money import format_money
from statemachine.order.snapshot import encode_snapshot
from tests.contract.provider.bench import open_bench
from tests.market.market import RESTING, Market, Trade

#: What both sides must have the same, to the cent.
MONEY = ("captured", "cancelled", "refunded")


def money_of(trade: Trade) -> dict[str, str]:
    """The order's money, as its public snapshot has it."""
    assert trade.story.order is not None
    amounts = msgspec.json.decode(encode_snapshot(trade.story.order))["amounts"]
    return {name: amounts[name] for name in MONEY}


def faults_of(trade: Trade, books: dict[str, dict[str, str]]) -> list[str]:
    """What is wrong with an order after everything ended."""
    order = trade.story.order
    if order is None:
        return []
    found = []
    book = books.get(order.order_id, dict.fromkeys(MONEY, format_money(0, "USD")))
    if order.amounts.currency and money_of(trade) != {name: book[name] for name in MONEY}:
        found.append(f"money {money_of(trade)}, in the books {book}")
    waiting = order.state == "awaited"  # never requested: its parked events have their age limit
    if order.state not in RESTING and not waiting and not order.attention:
        found.append(f"stuck in {order.state} without attention")
    if order.commands and not order.attention:
        found.append(f"a command without an end: {[one.name for one in order.commands]}")
    over = [one.line for one in order.lines if one.shipped + one.cancelled > one.ordered or one.returned > one.shipped]
    found += [f"units of line {line}" for line in over]
    return [f"{order.order_id}: {one}" for one in found]


async def play(steps: int, seed: int) -> Counter[str]:
    """One run; how many orders ended where."""
    async with open_bench() as bench:
        market = Market(bench, seed)
        await market.run(steps)
        async with bench.session.get(f"{bench.url}/_admin/books") as answer:
            books = msgspec.json.decode(await answer.read(), type=dict[str, dict[str, str | int]])
        texts = {name: {key: str(value) for key, value in book.items()} for name, book in books.items()}
        wrong = [fault for trade in market.trades for fault in faults_of(trade, texts)]
        assert wrong == []
        return Counter("none" if one.story.order is None else one.story.state for one in market.trades)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_money_is_the_same_on_both_sides_and_no_order_is_stuck_unseen(seed: int) -> None:
    """Law: whatever shoppers, warehouse, bank and fraud review do, and whatever is lost, late or told twice."""
    ends = await play(2_800, seed)
    assert ends["complete"] > 0
    assert len(ends) > 2


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_the_same_for_a_hundred_thousand_steps() -> None:
    """Law: the same, for long; every end is reached."""
    ends = await play(100_000, 7)
    assert set(RESTING) <= set(ends)
