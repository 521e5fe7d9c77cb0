"""Facts that come late: what they tell of an earlier time never takes an order back, and what they prove is not forgotten."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
import pytest

from statemachine.messages.facts import ChargeOperation, Fact, RemoteCharge, RemoteFulfillment, RemoteFulfillmentItem
from statemachine.messages.ids import ChargeId, FulfillmentId, RemoteItemId
from statemachine.order.decision import Moved, Repeated
from statemachine.order.snapshot import encode_snapshot
from tests.unit.statemachine.story import Story, units


def order_fact(story: Story, state: str, kind: str, **more: Any) -> Fact:
    """A report of the order's only order at Digital River, as it is in ``state``."""
    (order,) = story.river.orders.values()
    order.state = state
    remote = msgspec.structs.replace(order.view(), **more)
    return Fact(type=kind, dr_order_id=order.dr_order_id, order=remote)


def reviewed_wire() -> tuple[Story, Fact, Fact, Fact]:
    """A wire that goes into review, with its reports: payment awaited, review begun, review over and payment awaited again."""
    story = Story().to_placed(method="wire")
    pending = order_fact(story, "pending_payment", "order.pending_payment")
    opened = order_fact(story, "in_review", "order.review_opened")
    closed = order_fact(story, "pending_payment", "order.review_closed")
    return story, pending, opened, closed


def test_a_payment_that_was_awaited_before_the_review_does_not_end_it() -> None:
    """The shopper is not told to pay a second time because a webhook is late."""
    story, pending, opened, _ = reviewed_wire()
    assert isinstance(story.fact(pending, "w-1"), Repeated)
    assert isinstance(story.fact(opened, "w-2"), Moved)
    assert isinstance(story.fact(pending, "w-1"), Repeated)
    assert isinstance(story.fact(pending, "w-3"), Repeated)
    assert story.state == "in_review"


def test_a_review_may_end_in_waiting_for_the_payment() -> None:
    """Only the report that it is over says so; that it had begun, told later, is older."""
    story, _, opened, closed = reviewed_wire()
    story.fact(opened)
    assert isinstance(story.fact(closed), Moved)
    assert story.state == "pending_payment"
    assert isinstance(story.fact(opened, "again"), Repeated)
    assert story.state == "pending_payment"


def test_the_reports_of_a_review_end_the_same_in_every_order() -> None:
    """Payment awaited, review begun, review over, paid: twenty-four orders, one end."""
    ends = set()
    for order in permutations(range(4)):
        story, *reports = reviewed_wire()
        reports.append(order_fact(story, "accepted", "order.accepted"))
        for number in order:
            story.fact(reports[number], f"w-{number}")
        assert story.order is not None
        same = msgspec.structs.replace(story.order, sequence=0, seen=b"", updated=story.now, deadlines=(), look=None)
        ends.add(encode_snapshot(msgspec.structs.replace(same, updated=Story().now)))
    assert len(ends) == 1


def test_a_dispute_whose_end_is_reported_first_finds_the_order_placed() -> None:
    """Only an accepted order can be disputed: so it was accepted, whatever its answer will say."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    outcome = story.river.answer(story.commands.popleft())
    (dr_order_id,) = story.river.orders
    story.fact(story.river.dispute(dr_order_id, 9, "order.dispute.resolved", state="accepted"))
    assert story.state == "submitted"
    story.fact(story.river.dispute(dr_order_id, 5, "order.dispute", state="dispute"))
    story.outcome(outcome)
    assert (story.state, story.attention) == ("submitted", [])


def test_a_dispute_that_ends_in_the_second_in_which_it_began_has_ended() -> None:
    """Digital River's clock counts seconds."""
    story = Story().to_placed()
    story.fact(story.river.dispute(story.dr_order_id, 5, "order.dispute", state="dispute"))
    assert story.state == "disputed"
    story.fact(story.river.dispute(story.dr_order_id, 5, "order.dispute.resolved", state="accepted"))
    assert story.state == "submitted"


def test_an_order_that_was_never_paid_and_is_accepted_all_the_same_calls_a_person() -> None:
    """The money came after all: no older fact, because what is not paid is not accepted."""
    for kinds in (("order.charge.failed", "order.cancelled"), ("order.cancelled", "order.charge.failed")):
        story = Story().to_placed(method="wire")
        for kind in kinds:
            story.fact(order_fact(story, "cancelled", kind))
        assert (story.state, story.attention) == ("cancelled", [])
        story.fact(order_fact(story, "accepted", "order.accepted"))
        assert story.attention == ["Digital River says that its order is accepted, here it is cancelled"]


def test_an_order_for_a_checkout_that_was_replaced_calls_a_person() -> None:
    """Nobody here placed it, and it holds the shopper's money."""
    story = Story().to_ready()
    assert story.order is not None
    replaced = story.order.digital_river.checkout_id
    story.tell("order.cancel_requested")
    story.answer()
    foreign = Story().to_placed()
    remote = msgspec.structs.replace(foreign.river.orders[foreign.dr_order_id].view(), checkout_id=replaced)
    story.fact(Fact(type="order.accepted", order=remote))
    assert story.state == "cancelled"
    assert story.attention == ["an earlier order at Digital River was accepted; money may be held or taken there"]


def test_a_contradiction_that_is_over_calls_nobody() -> None:
    """Cancelled there while it was disputed here; once it is cancelled here, too, all is said."""
    story = Story().to_placed()
    story.fact(story.river.dispute(story.dr_order_id, 5, "order.dispute", state="dispute"))
    story.fact(order_fact(story, "cancelled", "order.cancelled"))
    assert story.attention == ["Digital River says that its order is cancelled, here it is disputed"]
    story.fact(story.river.dispute(story.dr_order_id, 9, "order.dispute.resolved", state="accepted"))
    story.fact(order_fact(story, "cancelled", "order.cancelled"), "again")
    assert story.state == "cancelled"
    assert story.attention == ["Digital River cancelled the order by itself"]


# Money and units


def test_a_charge_that_failed_authorises_nothing() -> None:
    """Captured above what is authorised is told, though a failed charge would hide it."""
    story = Story().to_placed()
    charge = story.river.orders[story.dr_order_id].charge()
    assert charge is not None
    failed = RemoteCharge(ChargeId("cha-0"), "failed", 2200, dr_order_id=story.dr_order_id)
    story.fact(Fact(type="order.charge.failed", charge=failed))
    assert story.attention == []
    capture = ChargeOperation("complete", 4000, "cap-1")
    story.fact(Fact(type="order.charge.capture.complete", charge=msgspec.structs.replace(charge, captures=(capture,))))
    figures = "40.00 captured and 0.00 given back of 22.00"
    assert story.attention == [f"more was captured and given back than was authorised: {figures}"]


def test_an_order_that_closes_with_less_captured_than_it_costs_calls_a_person() -> None:
    """The charge is complete, nothing is pending, and the money is not all there."""
    story = Story().to_placed()
    story.ship()
    story.answer()
    charge = story.river.orders[story.dr_order_id].charge()
    assert charge is not None
    part = ChargeOperation("complete", 100, "cap-1", charge.captures[0].fulfillment_id)
    closed = RemoteCharge(charge.charge_id, "complete", 2200, story.dr_order_id, captures=(part,))
    story.fact(order_fact(story, "complete", "order.complete", charges=(closed,)))
    figures = "1.00 captured and 0.00 given back of 22.00"
    assert (story.state, story.attention) == (
        "complete",
        [f"the order is closed with less captured than it costs: {figures}"],
    )


def test_units_that_are_open_here_when_digital_river_closes_its_order_call_a_person_until_they_are_reported() -> None:
    """Somebody shipped at Digital River's dashboard, and order.fulfilled was faster than the fulfilment."""
    story = Story().to_placed()
    story.ship(l1=1)
    answer = story.river.answer(story.commands.popleft())
    story.fact(order_fact(story, "fulfilled", "order.fulfilled"))
    assert story.attention == [], "a parcel is on its way: its answer tells"
    story.outcome(answer)
    assert story.attention == ["Digital River closed its order with units open here: 1 of 2"]
    foreign = RemoteFulfillment(
        FulfillmentId("ful_x"), story.dr_order_id, (RemoteFulfillmentItem(RemoteItemId("70050030031"), 1),)
    )
    story.fact(Fact(type="fulfillment.created", fulfillment=foreign))
    assert story.state == "fulfilled"
    assert story.attention == ["a fulfilment at Digital River that orderflow did not request"]


def test_a_fulfilment_of_a_line_that_the_order_does_not_have_calls_a_person() -> None:
    """Its other lines count."""
    story = Story().to_placed()
    items = (RemoteFulfillmentItem(RemoteItemId("70050030031"), 1), RemoteFulfillmentItem(RemoteItemId("unknown"), 3))
    story.fact(
        Fact(
            type="fulfillment.created", fulfillment=RemoteFulfillment(FulfillmentId("ful_x"), story.dr_order_id, items)
        )
    )
    assert story.line() == (2, 1, 0)
    assert "Digital River shipped or cancelled a line that the order does not have" in story.attention


def test_a_refused_shipment_calls_nobody_once_its_units_are_gone() -> None:
    """It was sent again, and taken."""
    story = Story().to_placed()
    story.ship("s-1", l1=2)
    story.outcome(story.river.rejected(story.commands.popleft(), "order_not_submitted", 409))
    assert story.attention == ["Digital River refused a shipment; its units are open again"]
    story.ship("s-2", l1=1)
    story.answer()
    assert len(story.attention) == 1, "a unit is open yet"
    story.ship("s-3", l1=1)
    story.answer()
    assert story.attention == []


def test_an_authorisation_that_was_not_renewed_calls_nobody_once_the_money_is_there() -> None:
    """Captured all the same."""
    story = Story().to_placed()
    remote = story.river.orders[story.dr_order_id].view()
    story.fact(Fact(type="order.charge.reauth.failed", order=remote))
    assert len(story.attention) == 1
    story.ship()
    story.answer()
    assert len(story.attention) == 1
    story.river.tick()
    story.report()
    assert (story.state, story.attention) == ("complete", [])


# What a change says of a refusal


def test_a_capture_that_fails_carries_the_code_once() -> None:
    """The change that it causes says why; a later report of the same failure does not say it again."""
    story = Story().to_placed(method="card_capture_fail")
    story.ship(l1=1)
    story.answer()
    charge = story.river.orders[story.dr_order_id].charge()
    assert charge is not None
    failed = msgspec.structs.replace(charge.captures[0], state="failed", failure_code="insufficient_funds")
    first = msgspec.structs.replace(charge, captures=(failed,))
    story.fact(Fact(type="order.charge.capture.failed", charge=first))
    assert story.last["problem"] == {"code": "insufficient_funds", "message": None}
    later = msgspec.structs.replace(first, captures=(failed, ChargeOperation("complete", 100, "cap-2")))
    assert isinstance(story.fact(Fact(type="order.charge.capture.complete", charge=later)), Moved)
    assert "problem" not in story.last


@pytest.mark.parametrize(("code", "reported"), [("not_enough", "not_enough"), (None, "payment_failed")])
def test_a_void_or_a_charge_that_fails_carries_its_code(code: str | None, reported: str) -> None:
    """With a word of ours where Digital River has none."""
    story = Story().to_placed()
    story.tell("order.cancel_requested")
    story.answer()
    charge = story.river.orders[story.dr_order_id].charge()
    assert charge is not None
    failed = msgspec.structs.replace(charge.cancels[0], state="failed", failure_code=code)
    story.fact(Fact(type="order.charge.cancel.failed", charge=msgspec.structs.replace(charge, cancels=(failed,))))
    assert story.last["problem"]["code"] == reported


def test_a_payment_that_fails_after_a_redirect_carries_a_problem() -> None:
    """As a decline by an answer does."""
    story = Story().to_placed(method="redirect")
    story.river.fail_payment(story.dr_order_id)
    story.report()
    assert story.state == "declined"
    (declined,) = [one for one in story.changes if one["to"] == "declined" and one["from"] != "declined"]
    assert declined["problem"]["code"] == "payment_failed"


# A cancel that waited


def test_a_cancel_of_lines_that_waited_cancels_what_the_shipment_before_it_left_open() -> None:
    """Of the two pieces one is on its way: the other one is cancelled, not the whole cancel refused."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    story.tell("order.cancel_requested", items=units(l1=2))
    story.ship(l1=1)
    story.answer()
    assert (story.state, story.line(), story.set_aside) == ("fulfilled", (2, 1, 1), [])


def test_a_cancel_that_waited_for_lines_of_which_nothing_is_open_is_refused() -> None:
    """All of it is on its way."""
    story = Story().to_ready(("1", 1, "10.00"), ("2", 1, "5.00"))
    story.tell("order.placed", terms_accepted=True)
    story.tell("order.cancel_requested", items=units(l1=1))
    story.ship(l1=1)
    story.answer()
    assert [one.detail for one in story.set_aside] == [
        "no unit is open any more, or more units were to be cancelled than are open"
    ]


def test_a_cancel_that_waited_and_names_an_unknown_line_is_refused() -> None:
    """Whatever else it names."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    story.tell("order.cancel_requested", items=units(l1=1, l7=1))
    story.answer()
    assert [one.detail for one in story.set_aside] == ["the event names a line that the order does not have"]
