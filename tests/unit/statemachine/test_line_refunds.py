"""Refunds of lines: what is left of a line can be had to the cent, and nothing more."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from statemachine.aftersale.refundable import left_to_refund
from statemachine.messages.facts import Fact, RemoteRefund, RemoteRefundItem
from statemachine.messages.ids import RemoteItemId, RemoteRefundId
from statemachine.order.decision import Moved
from tests.unit.statemachine.story import Story, cart
from tests.unit.statemachine.test_refunds import amount, captured, refunds


def ask(story: Story, refund_id: str, *items: dict[str, Any], paid: bool = True) -> Any:
    """Ask for a refund of lines; with ``paid`` let Digital River answer and pay it."""
    decision = story.tell("order.refund_requested", refund_id=refund_id, items=list(items))
    if paid:
        story.answer()
        story.river.pay_back()
        story.report()
    return decision


def captured_cart(*items: tuple[str, int, str], **more: Any) -> Story:
    """A complete order of a cart with more in it than lines."""
    story = Story()
    story.tell("checkout.requested", **cart(*items, **more))
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


@pytest.mark.parametrize("price", ["3.09", "0.95", "10.00", "0.01"])
def test_units_refunded_one_by_one_pay_back_the_line_to_the_cent(price: str) -> None:
    """The last unit takes what rounding has left of the line, so that Digital River never refuses it."""
    story = captured(("1", 3, price), ("2", 1, "50.00"))
    line = story.river.orders[story.dr_order_id].checkout.prices["1"][1]
    for number in range(3):
        if (decision := ask(story, f"r-{number}", {"line": "1", "quantity": 1})) and not isinstance(decision, Moved):
            story.refuses(decision, "nothing of the line is left")
    assert {state for state, _ in refunds(story).values()} == {"succeeded"}
    assert story.order is not None
    assert story.order.amounts.refunded == line
    assert story.attention == []
    story.refuses(ask(story, "r-9", {"line": "1"}), "nothing of the line is left")


def test_the_rest_of_a_line_is_asked_for_by_what_is_left_of_it() -> None:
    """Digital River would give the price of the units, which may be more by what was rounded before."""
    story = captured(("1", 7, "0.98"))
    for number in range(3):
        ask(story, f"r-{number}", {"line": "1", "quantity": 1})
    ask(story, "rest", {"line": "1"})
    assert refunds(story)["rest"] == ("succeeded", "4.30"), "four units cost 4.31"
    assert amount(story, "refunded") == "7.54"


def test_a_line_is_refunded_whole_by_its_units_and_not_by_our_sum() -> None:
    """Of a line that nothing was paid back of nobody knows the price better than Digital River."""
    story = captured(("1", 3, "3.03"))
    ask(story, "r-1", {"line": "1"}, paid=False)
    (item,) = msgspec.json.decode(msgspec.json.encode(story.commands[0]))["items"]
    assert (item["quantity"], item.get("amount")) == (3, None)


def test_the_rest_of_a_line_after_money_of_it_is_the_rest_of_its_money() -> None:
    """An amount was paid back for the line without a unit: all that is left of the line is less than its units cost."""
    story = captured(("1", 2, "10.00"))
    ask(story, "r-1", {"line": "1", "amount": "15.00"})
    story.refuses(ask(story, "r-2", {"line": "1", "quantity": 1}), "exceeds what is left")
    story.refuses(ask(story, "r-3", {"line": "1", "amount": "7.01"}), "exceeds what is left")
    ask(story, "r-4", {"line": "1"})
    assert refunds(story)["r-4"] == ("succeeded", "7.00")


def test_money_left_of_a_line_whose_units_are_paid_is_its_rest() -> None:
    """All units were named with less money than they cost: the line may still be refunded to its end."""
    story = captured(("1", 2, "10.00"))
    ask(story, "r-1", {"line": "1", "quantity": 2, "amount": "2.00"})
    ask(story, "r-2", {"line": "1"})
    assert refunds(story)["r-2"] == ("succeeded", "20.00")


def test_a_unit_that_costs_more_than_rounding_has_left_takes_what_is_left() -> None:
    """Seven units for a few cents: each is rounded up, so the money ends before the units do."""
    story = captured(("1", 7, "0.01"), ("2", 1, "5.00"))
    assert story.river.orders[story.dr_order_id].checkout.prices["1"] == (7, 7)
    reported = RemoteRefundItem(RemoteItemId("70050030031"), 1, 3)
    drifted = RemoteRefund(RemoteRefundId("re_1"), "succeeded", story.dr_order_id, refunded=3, items=(reported,))
    story.river.orders[story.dr_order_id].refunds["re_1"] = drifted
    story.fact(Fact(type="refund.complete", dr_order_id=story.dr_order_id, refund=drifted))
    ask(story, "r-1", {"line": "1", "quantity": 5})
    assert refunds(story)["r-1"] == ("succeeded", "0.04")
    story.refuses(ask(story, "r-2", {"line": "1", "quantity": 1}), "nothing of the line is left")


def test_the_lost_cent_of_the_order_does_not_stop_the_rest_of_a_line() -> None:
    """Digital River has a cent less than the line: what it has is asked for."""
    story = captured(("1", 2, "10.00"))
    ask(story, "r-1", {"line": "1", "quantity": 1})
    drifted = RemoteRefund(RemoteRefundId("re_1"), "succeeded", story.dr_order_id, 1, refunded=1)
    story.fact(Fact(type="refund.complete", dr_order_id=story.dr_order_id, refund=drifted))
    ask(story, "r-2", {"line": "1"})
    assert refunds(story)["r-2"][1] == "10.99"


def test_one_request_may_name_a_line_twice() -> None:
    """The second entry is looked at with what the first has taken."""
    story = captured(("1", 3, "3.03"))
    ask(story, "r-1", {"line": "1", "quantity": 1}, {"line": "1"})
    assert refunds(story)["r-1"] == ("succeeded", "9.99")


def test_a_refund_by_units_of_a_line_that_cost_nothing_is_refused_at_once() -> None:
    """Nothing is left of it: Digital River is not asked, and no person is called."""
    story = captured(("1", 1, "10.00"), ("2", 2, "0.00"))
    asked = len(story.asked)
    items: tuple[dict[str, object], ...] = ({"quantity": 1}, {}, {"amount": "1.00"})
    for number, item in enumerate(items):
        story.refuses(ask(story, f"r-{number}", {"line": "2", **item}), "left")
    assert len(story.asked) == asked
    assert story.attention == []


def test_a_line_whose_price_was_not_reported_is_counted_by_its_units() -> None:
    """It is not taken for a line that costs nothing: Digital River knows."""
    story = captured(("1", 2, "10.00"))
    assert story.order is not None
    (item,) = story.order.items
    story.order = msgspec.structs.replace(story.order, items=(msgspec.structs.replace(item, amount=None, tax=0),))
    assert isinstance(ask(story, "r-1", {"line": "1"}, paid=False), Moved)
    story.refuses(ask(story, "r-2", {"line": "1"}, paid=False), "nothing of the line is left")
    story.refuses(ask(story, "r-3", {"line": "1", "quantity": 1}, paid=False), "left")


def test_a_line_bears_its_part_of_the_order_s_discount() -> None:
    """Whatever the order cost beside its lines: each line is refunded by what was paid for it, all of them by all."""
    story = captured_cart(("1", 1, "20.00"), ("2", 3, "3.33"), discount={"amount": "5.00"})
    prices = story.river.orders[story.dr_order_id].checkout.prices
    ask(story, "r-1", {"line": "1"})
    ask(story, "r-2", {"line": "2", "quantity": 2})
    ask(story, "r-3", {"line": "2"})
    assert story.order is not None
    assert {state for state, _ in refunds(story).values()} == {"succeeded"}
    assert story.order.amounts.refunded == prices["1"][1] + prices["2"][1] == story.order.amounts.total
    assert left_to_refund(story.order) == 0


def test_what_digital_river_tells_of_a_line_is_what_is_left_out_of_its_rest() -> None:
    """It gave a cent less than we had reckoned: the rest has it."""
    story = captured(("1", 3, "10.00"))
    story.tell("order.refund_requested", refund_id="r-1", items=[{"line": "1", "quantity": 1}])
    outcome = story.river.answer(story.commands.popleft())
    assert outcome.refund is not None
    (item,) = outcome.refund.items
    less = msgspec.structs.replace(outcome.refund, items=(msgspec.structs.replace(item, amount=1099),))
    story.river.orders[story.dr_order_id].refunds[less.dr_refund_id] = less
    story.river.facts.clear()
    story.outcome(msgspec.structs.replace(outcome, refund=less))
    assert refunds(story) == {"r-1": ("pending", "10.99")}
    ask(story, "r-2", {"line": "1"})
    assert refunds(story)["r-2"] == ("succeeded", "22.01")


def test_a_refund_by_items_takes_the_sum_of_its_items_while_it_is_pending() -> None:
    """It has no amount of its own, and was given twice when that counted as nothing."""
    story = captured(("1", 2, "10.00"))
    item = RemoteRefundItem(RemoteItemId("70050030031"), 2, 2200)
    reported = RemoteRefund(RemoteRefundId("re_1"), "pending", story.dr_order_id, currency="USD", items=(item,))
    story.fact(Fact(type="refund.pending", dr_order_id=story.dr_order_id, refund=reported))
    assert refunds(story) == {"re_1": ("pending", "22.00")}
    story.refuses(story.tell("order.refund_requested", refund_id="r-1", amount="0.01"), "exceeds what is left")
    paid = msgspec.structs.replace(reported, state="succeeded", items=(msgspec.structs.replace(item, refunded=2198),))
    story.fact(Fact(type="refund.complete", dr_order_id=story.dr_order_id, refund=paid))
    assert refunds(story) == {"re_1": ("succeeded", "21.98")}


@pytest.mark.parametrize("part", ["shipping", "tax", "duty"])
def test_all_of_a_part_is_asked_for_once(part: str) -> None:
    """Two requests for all of the shipping are not both sent; a failed one may be asked for again."""
    story = captured()
    assert isinstance(story.tell("order.refund_requested", refund_id="r-1", of=part), Moved)
    for refund_id, more in (("r-2", {}), ("r-3", {"amount": "1.00"})):
        again = story.tell("order.refund_requested", refund_id=refund_id, of=part, **more)
        story.refuses(again, "exceeds what is left")
    other = "tax" if part == "shipping" else "shipping"
    assert isinstance(story.tell("order.refund_requested", refund_id="r-4", of=other), Moved)
    story.outcome(story.river.rejected(story.commands.popleft(), "invalid_parameter", 400))
    assert isinstance(story.tell("order.refund_requested", refund_id="r-5", of=part), Moved)


def test_a_webhook_without_our_metadata_does_not_make_a_second_refund() -> None:
    """The answer says whose it is: one refund, whichever of the two comes first, and its money counts once."""
    ends = set()
    for webhook_first in (True, False):
        story = captured()
        story.tell("order.refund_requested", refund_id="r-1", items=[{"line": "1", "quantity": 1}])
        answer = story.river.answer(story.commands.popleft())
        assert answer.refund is not None
        nameless = msgspec.structs.replace(answer.refund, refund_id=None, command_id=None)
        webhook = Fact(type="refund.pending", dr_order_id=story.dr_order_id, refund=nameless)
        lost = msgspec.structs.replace(answer, refund=nameless)
        steps = [lambda s=story, w=webhook: s.fact(w, "w-1"), lambda s=story, a=lost: s.outcome(a)]
        for step in steps if webhook_first else reversed(steps):
            step()
        assert refunds(story) == {"r-1": ("pending", "11.00")}
        assert story.order is not None
        assert left_to_refund(story.order) == 1100
        assert story.attention == []
        ends.add(msgspec.json.encode(story.order.refunds[0]))
    assert len(ends) == 1


@pytest.mark.parametrize("end", ["succeeded", "failed"])
def test_a_nameless_refund_that_has_ended_is_ours_once_its_answer_comes(end: str) -> None:
    """What was said of the stranger is said of ours."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    answer = story.river.answer(story.commands.popleft())
    assert answer.refund is not None
    nameless = msgspec.structs.replace(answer.refund, refund_id=None, command_id=None, state=end)
    story.fact(Fact(type="refund.updated", dr_order_id=story.dr_order_id, refund=nameless))
    story.outcome(answer)
    assert refunds(story) == {"r-1": (end, "5.00")}
    assert story.attention == ([] if end == "succeeded" else ["a refund failed: r-1; ask again under a new refund_id"])


def test_a_webhook_that_names_only_the_command_is_of_its_refund() -> None:
    """The command knows our id."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    answer = story.river.answer(story.commands.popleft())
    assert answer.refund is not None
    reported = msgspec.structs.replace(answer.refund, refund_id=None)
    story.fact(Fact(type="refund.pending", dr_order_id=story.dr_order_id, refund=reported))
    assert refunds(story) == {"r-1": ("pending", "5.00")}
    assert story.order is not None
    assert story.order.commands == ()
