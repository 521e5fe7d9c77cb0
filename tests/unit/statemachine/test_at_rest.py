"""What waits, and for how long: nothing is parked for ever, and what there is no room for is never lost in silence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from statemachine.decide import decide
from statemachine.drafts.draft import LEFT_OUT, Draft
from statemachine.effects.attention import mark_too_large
from statemachine.messages.facts import RemoteCharge
from statemachine.messages.ids import ChargeId
from statemachine.order.decision import Moved, Parked, Repeated
from statemachine.order.policy import Policy
from statemachine.waits.deadlines import deadline_event
from tests.unit.statemachine.story import Story, cart, units
from tests.unit.statemachine.test_traps import report_order


def deadline(story: Story) -> timedelta | None:
    """How long the order still waits for what is parked in it."""
    assert story.order is not None
    return next((one.due - story.now for one in story.order.deadlines if one.name == "expire"), None)


def receipt(story: Story, return_id: str = "typo") -> None:
    """The receipt of a return that nobody asked for."""
    assert isinstance(story.tell("fulfillment.return_received", return_id=return_id, items=units(l1=1)), Parked)


def test_a_receipt_of_an_unknown_return_is_refused_in_the_end_and_a_person_is_called() -> None:
    """An order at rest is woken by nothing: what waits in it has an end."""
    story = Story().to_complete()
    receipt(story)
    assert deadline(story) == Policy().parked_max_age
    story.fire("expire")
    assert story.order is not None
    assert (story.order.parked, deadline(story)) == ((), None)
    assert [(one.reason, one.cause.type) for one in story.set_aside] == [("refused", "fulfillment.return_received")]
    assert len(story.attention) == 1
    assert story.attention[0].startswith("fulfillment.return_received was refused: ")
    assert story.state == "complete"
    receipt(story)  # refused events are not remembered


def test_a_return_that_is_requested_in_time_takes_its_receipt() -> None:
    """Until then the receipt waits as before, and its deadline goes with it."""
    story = Story().to_complete()
    receipt(story, "t-1")
    story.tell("order.return_requested", return_id="t-1", items=units(l1=1))
    story.answer()
    assert story.order is not None
    assert (story.order.parked, deadline(story)) == ((), None)


def test_what_has_waited_until_the_order_rests_waits_anew() -> None:
    """What it waits for may be told a moment after: an order that is complete though nothing is captured yet."""
    story = Story().to_placed()
    story.now += timedelta(days=6)
    story.tell("order.refund_requested", refund_id="r-1")
    story.ship()
    story.answer()
    story.now += timedelta(days=3)
    (order,) = story.river.orders.values()
    charge = RemoteCharge(ChargeId(f"charge-{order.dr_order_id}"), "capturable", 2200, dr_order_id=order.dr_order_id)
    report_order(story, "complete", "order.complete", charges=(charge,))
    assert story.state == "complete"
    assert deadline(story) == Policy().parked_max_age
    story.fire("expire")
    assert [(one.reason, one.cause.type) for one in story.set_aside] == [("refused", "order.refund_requested")]
    assert "order.refund_requested was refused: " in story.attention[-1]


def test_each_event_waits_for_its_own_time() -> None:
    """The first one's end is not the second one's, and a deadline never fires for nothing."""
    story = Story().to_complete()
    receipt(story, "t-1")
    story.now += timedelta(days=3)
    receipt(story, "t-2")
    story.fire("expire")
    assert [one.cause.type for one in story.set_aside] == ["fulfillment.return_received"]
    left = deadline(story)
    assert left is not None
    assert timedelta(days=2) < left <= timedelta(days=3)
    story.fire("expire")
    assert story.order is not None
    assert (len(story.set_aside), story.order.parked, deadline(story)) == (2, (), None)


def test_the_deadline_goes_with_the_event_that_it_was_set_for() -> None:
    """The first of two is carried out: the second has its own, later end."""
    story = Story().to_complete()
    receipt(story, "t-1")
    story.now += timedelta(days=3)
    receipt(story, "t-2")
    story.tell("order.return_requested", return_id="t-1", items=units(l1=1))
    story.answer()
    left = deadline(story)
    assert left is not None
    assert timedelta(days=6) < left <= timedelta(days=7)


def test_an_order_that_is_disturbed_again_waits_as_long_as_that_lasts() -> None:
    """A dispute wakes what waits when it ends: no end of its own until then."""
    story = Story().to_complete()
    receipt(story)
    story.fact(story.river.dispute(story.dr_order_id, 1, "order.dispute", state="dispute"))
    assert (story.state, deadline(story)) == ("disputed", None)
    story.fact(story.river.dispute(story.dr_order_id, 2, "order.dispute.resolved", state="complete"))
    assert (story.state, deadline(story)) == ("complete", Policy().parked_max_age)


def test_an_old_deadline_fires_for_nothing_in_an_order_that_does_not_rest() -> None:
    """It says nothing new, and moves nothing."""
    story = Story().to_placed()
    assert story.order is not None
    due = msgspec.structs.replace(story.order.deadlines[0], name="expire", due=story.now)
    order = msgspec.structs.replace(story.order, deadlines=(due,))
    assert isinstance(decide(order, deadline_event(order, due), now=story.now), Repeated)


def test_what_waited_and_says_nothing_new_takes_its_deadline_along() -> None:
    """A receipt that waited and is known by then: nothing waits any more."""
    story = Story().to_complete()
    story.tell("order.return_requested", return_id="t-1", items=units(l1=2))
    receipt(story, "t-1")
    receipt(story, "t-2")
    story.answer()
    story.report()
    assert story.order is not None
    assert [entry.type for entry in story.order.parked] == ["fulfillment.return_received"]
    left = deadline(story)
    assert left is not None
    assert left > timedelta(days=6)


@pytest.mark.parametrize("full_of", ["events", "bytes"])
@pytest.mark.parametrize("kind", ["fulfillment.shipped", "fulfillment.cancelled", "order.cancel_requested"])
def test_an_event_that_an_order_has_no_room_for_calls_a_person(kind: str, full_of: str) -> None:
    """Goods may have left, or must not leave: a dead letter alone would say so to nobody."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    story.policy = Policy(parked_max=0) if full_of == "events" else Policy(held_bytes_max=100)
    data: dict[str, Any] = {"items": units(l1=1)} | ({"shipment_id": "s-1"} if kind == "fulfillment.shipped" else {})
    refused = story.refuses(story.tell(kind, **data))
    assert refused.reason == "too_large"
    assert len(story.attention) == 1
    assert story.attention[0].startswith(f"{kind} was refused: ")
    assert (story.last["changed"], story.state) == (["attention"], "placing")
    again = story.refuses(story.tell(kind, **data))
    assert again.order is None


def test_an_awaited_order_without_room_calls_a_person_only_when_goods_may_be_gone() -> None:
    """Whose order it is, nobody knows yet; a parcel that left is told all the same."""
    story = Story(policy=Policy(parked_max=1))
    story.tell("order.placed", terms_accepted=True)
    assert story.refuses(story.tell("order.cancel_requested")).order is None
    assert story.refuses(story.ship(l1=1)).order is not None
    assert (story.state, len(story.attention)) == ("awaited", 1)
    assert isinstance(story.request(), Moved)
    assert len(story.attention) == 1


def test_a_cart_that_an_order_has_no_room_for_is_refused_and_nothing_else_changes() -> None:
    """The shop is told, and has the cart still."""
    story = Story(policy=Policy(held_bytes_max=100))
    decision = story.request()
    assert story.refuses(decision).reason == "too_large"
    assert story.order is None


def test_an_order_marked_for_want_of_room_says_so_once() -> None:
    """For what the lane finds out only when it has encoded the order."""
    story = Story().to_placed()
    assert story.order is not None
    event = story.event("fulfillment.shipped", {"shipment_id": "s-1", "items": units(l1=1)})
    marked = mark_too_large(story.order, event, "the order has no room for it", now=story.now)
    assert marked is not None
    assert marked.order.attention == ("fulfillment.shipped was refused: the order has no room for it",)
    assert (marked.order.sequence, len(marked.effects)) == (story.order.sequence + 1, 1)
    assert mark_too_large(marked.order, event, "the order has no room for it", now=story.now) is None


def test_the_newest_reason_is_seen_when_there_are_more_than_are_kept() -> None:
    """The oldest stay, because they name the first cause; that others are left out is a reason too."""
    story = Story().to_placed()
    assert story.order is not None
    event = story.event("checkout.updated", cart())
    draft = Draft(story.order, event, story.now, Policy())
    for number in range(1, 31):
        draft.call_attention(f"reason {number}")
        report_order = draft.order.attention
        assert report_order[-1] == f"reason {number}"
        assert len(report_order) == min(number, 20)
        assert (LEFT_OUT in report_order) == (number > 20)
        assert "reason 1" in report_order
    assert draft.order.attention[:18] == tuple(f"reason {number}" for number in range(1, 19))
    before = draft.order
    draft.call_attention("reason 30")
    draft.call_attention("reason 2")
    assert draft.order is before
    draft.clear_attention("reason 3")
    draft.call_attention("reason 3")
    assert draft.order.attention[-2:] == (LEFT_OUT, "reason 3")


def test_a_change_names_only_what_changed() -> None:
    """What only the worker needs (here: that a command is open, and its outcome not known yet) is named by nothing."""
    story = Story().to_placed()
    changes = len(story.changes)
    story.ship()
    command = story.commands.popleft()
    story.outcome(msgspec.structs.replace(story.river.rejected(command, "lost", 500), result="unknown", problem=None))
    assert len(story.changes) == changes
