"""Disputes: everything stands still, and the end goes back to where the order was."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from statemachine.messages.facts import Fact
from statemachine.order.decision import Moved, Parked, Repeated
from tests.unit.statemachine.story import Story, units
from tests.unit.statemachine.test_refunds import amount, captured, refunds
from tests.unit.statemachine.test_returns import returns


def opened(story: Story, minute: int = 1) -> Fact:
    """A dispute at Digital River."""
    return story.river.dispute(story.dr_order_id, minute, "order.dispute", state="dispute")


def resolved(story: Story, minute: int = 2, state: str = "complete") -> Fact:
    """Its end, after which Digital River shows ``state``."""
    return story.river.dispute(story.dr_order_id, minute, "order.dispute.resolved", state=state)


def in_state(state: str) -> Story:
    """An order in one of the states that a dispute may strike."""
    story = Story().to_placed()
    if state != "submitted":
        story.ship()
        story.answer()
    if state in ("complete", "returned"):
        story.river.tick()
        story.report()
    if state == "returned":
        story.tell("order.return_requested", return_id="t-1", items=units(l1=2))
        story.answer()
        story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=2))
        story.answer()
        story.river.pay_back()
        story.report()
    assert story.state == state
    story.river.facts.clear()
    return story


@pytest.mark.parametrize("state", ["submitted", "fulfilled", "complete", "returned"])
def test_a_dispute_that_resolves_to_accepted_goes_back_to_the_remembered_state(state: str) -> None:
    """Digital River's state after a dispute is not where the order is (docs/digital-river.md, "Disputes and chargebacks")."""
    story = in_state(state)
    story.fact(opened(story))
    assert story.state == "disputed"
    story.fact(resolved(story, state="accepted"))
    assert story.state == state
    assert story.attention == []


def test_reports_of_two_disputes_in_any_order_end_outside_of_them() -> None:
    """Begin and end are put in order by Digital River's clock."""
    for order in itertools.permutations(range(4)):
        story = captured()
        facts = [
            opened(story, 1),
            resolved(story, 2),
            opened(story, 3),
            resolved(story, 4, "accepted"),
        ]
        for number in order:
            for _ in range(2):
                story.fact(facts[number], f"event {number}")
        assert story.state == "complete", order
    for order in itertools.permutations(range(3)):
        story = captured()
        facts = [opened(story, 1), resolved(story, 2), opened(story, 3)]
        for number in order:
            story.fact(facts[number], f"event {number}")
        assert story.state == "disputed", order


def test_what_comes_during_a_dispute_waits_for_its_end() -> None:
    """Shipping, cancels, refunds, returns and receipts are parked, and carried out afterwards."""
    story = Story().to_placed(("1", 2, "10.00"), ("2", 2, "10.00"))
    story.ship(l1=2)
    story.answer()
    story.river.tick()
    story.report()
    story.fact(opened(story))
    asked = len(story.asked)
    assert isinstance(story.ship("s-2", l2=1), Parked)
    assert isinstance(story.tell("order.cancel_requested"), Parked)
    assert isinstance(story.tell("order.refund_requested", refund_id="r-1", amount="5.00"), Parked)
    assert isinstance(story.tell("order.return_requested", return_id="t-1", items=units(l1=1)), Parked)
    assert isinstance(story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=1)), Parked)
    assert len(story.asked) == asked
    story.fact(resolved(story, state="accepted"))
    story.answer()
    story.report()
    assert story.line("2") == (2, 1, 1)
    assert refunds(story)["r-1"][0] == "pending"
    assert returns(story) == {"t-1": "accepted"}


def test_captures_that_end_during_a_dispute_count_after_it() -> None:
    """The order was being captured: when the dispute ends it is complete at once."""
    story = in_state("fulfilled")
    story.fact(opened(story))
    order = story.river.orders[story.dr_order_id]
    story.river.tick()
    order.state = "dispute"
    story.report()
    assert story.state == "disputed"
    story.fact(resolved(story, 5, state="accepted"))
    assert story.state == "complete"


def test_a_dispute_that_is_reported_before_the_acceptance_tells_that_it_was() -> None:
    """Reports come in any order: the order was submitted, or it could not be in dispute."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    outcome = story.river.answer(story.commands.popleft())
    story.river.facts.clear()
    (dr_order_id,) = story.river.orders
    story.fact(story.river.dispute(dr_order_id, 1, "order.dispute", state="dispute"))
    assert story.state == "disputed"
    story.outcome(outcome)
    assert story.state == "disputed"
    story.fact(resolved(story, state="accepted"))
    assert story.state == "submitted"


def test_a_dispute_that_is_lost_charges_back_and_the_rest_stays_refundable() -> None:
    """A chargeback of part, during the dispute."""
    story = captured()
    story.fact(opened(story))
    story.fact(Fact(type="order.chargeback", dr_order_id=story.dr_order_id, amount=1200))
    assert amount(story, "charged_back") == "12.00"
    story.fact(resolved(story))
    assert story.state == "complete"
    story.refuses(story.tell("order.refund_requested", refund_id="r-1", amount="10.01"), "is left")
    assert isinstance(story.tell("order.refund_requested", refund_id="r-1", amount="10.00"), Moved)


def test_a_dispute_that_takes_too_long_calls_a_person() -> None:
    """Attention only: nothing moves by itself."""
    story = captured()
    story.fact(opened(story))
    story.fire("overdue")
    assert story.state == "disputed"
    assert story.attention == ["overdue: disputed for longer than expected"]
    story.fact(resolved(story))
    assert story.attention == []


def test_a_dispute_of_an_order_that_ended_is_a_contradiction() -> None:
    """A final state never moves."""
    story = Story().to_placed()
    story.tell("order.cancel_requested")
    story.answer()
    story.river.tick()
    story.report()
    story.fact(opened(story))
    assert story.state == "cancelled"
    assert story.attention == ["Digital River says that its order is in dispute, here it is cancelled"]


def test_a_dispute_read_without_a_time_is_taken_as_it_comes() -> None:
    """An answer to a command of ours has no event's time."""
    story = captured()
    fact = msgspec.structs.replace(opened(story), created=None)
    story.fact(fact)
    assert story.state == "disputed"
    end = msgspec.structs.replace(resolved(story), created=None)
    story.fact(end)
    assert story.state == "complete"
    assert isinstance(story.fact(end, "again"), Repeated)


def test_an_order_that_digital_river_returned_during_a_dispute_is_returned_after_it() -> None:
    """What Digital River says meanwhile is kept."""
    story = captured()
    story.fact(opened(story, 1))
    order = story.river.orders[story.dr_order_id]
    order.state = "returned"
    story.fact(Fact(type="order.refunded", dr_order_id=story.dr_order_id, order=order.view()))
    assert story.state == "disputed"
    story.fact(resolved(story, 2, state="returned"))
    assert story.state == "returned"
