"""Early events, late events, cancels and refusals."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from statemachine.decide import decide
from statemachine.messages.commands import CreateFulfillment, DeleteCheckout, PlaceOrder, name_of
from statemachine.messages.facts import Fact
from statemachine.messages.ids import OrderId
from statemachine.order.decision import Moved, Parked, Refused, Repeated, SetAside
from statemachine.order.order import new_order
from statemachine.order.policy import Policy
from statemachine.order.snapshot import encode_snapshot
from statemachine.waits.deadlines import deadline_event
from statemachine.waits.expiring import has_nothing_to_keep
from tests.unit.statemachine.river import River
from tests.unit.statemachine.story import BEGIN, Story, cart, units


def test_an_awaited_order_expires_also_what_a_later_version_does_not_take() -> None:
    """Its letter names what can still be told; were it decoded, its deadline would fail for ever."""
    story = Story()
    story.tell("order.placed", terms_accepted=True)
    assert story.order is not None
    (entry,) = story.order.parked
    broken = msgspec.structs.replace(entry, record=msgspec.structs.replace(entry.record, value=b"{"))
    story.order = msgspec.structs.replace(story.order, parked=(broken,))
    (deadline,) = story.order.deadlines
    decision = decide(story.order, deadline_event(story.order, deadline), now=deadline.due)
    assert isinstance(decision, Moved)
    (letter,) = decision.effects
    assert isinstance(letter, SetAside)
    assert (letter.reason, letter.cause.type) == ("expired", "order.placed")
    assert decision.order.parked == ()


def test_an_awaited_order_expires_what_was_never_requested() -> None:
    """Events of an order without checkout.requested become dead letters at their age limit, and can be sent again."""
    story = Story()
    story.tell("order.placed", "p-1", terms_accepted=True)
    story.now += timedelta(days=2)
    story.tell("fulfillment.shipped", shipment_id="s-1", items=units(l1=1))
    assert story.order is not None
    assert [one.name for one in story.order.deadlines] == ["expire"]
    story.fire("expire")
    assert [(one.reason, one.cause.type) for one in story.set_aside] == [("expired", "order.placed")]
    assert [entry.type for entry in story.order.parked] == ["fulfillment.shipped"]
    assert story.changes == []
    assert isinstance(story.tell("order.placed", "p-1", terms_accepted=True), Parked)
    story.fire("expire")
    story.fire("expire")
    assert len(story.set_aside) == 3
    assert story.order.deadlines == ()


def test_an_order_parks_no_more_than_its_limit() -> None:
    """The 65th early event is too large for the order."""
    story = Story()
    for number in range(64):
        assert isinstance(story.tell("order.placed", f"p-{number}", terms_accepted=True), Parked)
    refused = story.refuses(story.tell("order.placed", "p-64", terms_accepted=True), "64 parked events")
    assert refused.reason == "too_large"


def test_an_order_holds_no_more_bytes_than_fit_into_its_snapshot() -> None:
    """A cart or a parked event that would make the snapshot too large is refused."""
    story = Story(policy=Policy(held_bytes_max=1000))
    padding = "x" * 1000
    assert story.refuses(story.request(comment=padding), "no longer fit").reason == "too_large"
    assert story.refuses(story.tell("order.placed", terms_accepted=True, comment=padding)).reason == "too_large"
    assert isinstance(story.request(), Moved)


def test_a_second_placement_for_the_same_checkout_is_refused() -> None:
    """One order per checkout, also when both placements came early."""
    story = Story().to_placed()
    story.refuses(story.tell("order.placed", terms_accepted=True), "already placed for this checkout")
    early = Story()
    early.tell("order.placed", terms_accepted=True)
    early.tell("order.placed", terms_accepted=True)
    early.to_ready()
    early.answer()
    assert early.state == "submitted"
    assert [one.reason for one in early.set_aside] == ["refused"]
    assert sum(isinstance(command, PlaceOrder) for command in early.asked) == 1


def test_a_placement_for_a_declined_checkout_is_refused_and_for_the_next_one_waits() -> None:
    """The burnt checkout takes no second order."""
    story = Story().to_placed(method="card_declined")
    assert story.order is not None
    burnt = story.order.digital_river.checkout_id
    story.refuses(story.tell("order.placed", terms_accepted=True), "already")
    story.refuses(story.tell("order.placed", terms_accepted=True, checkout_id=burnt), "already")
    story.refuses(story.tell("checkout.source_provided", source_id="sim-card-1", checkout_id=burnt), "no other source")
    assert isinstance(story.tell("checkout.source_provided", source_id="sim-card-1"), Parked)
    story.tell("checkout.updated", **cart())
    story.answer()
    assert story.state == "checkout_ready"
    story.refuses(story.tell("order.placed", terms_accepted=True, checkout_id=burnt), "replaced")


def test_what_stands_for_a_checkout_waits_for_it_and_is_refused_once_it_is_replaced() -> None:
    """checkout_id binds source and placement to one checkout."""
    story = Story().to_open()
    assert story.order is not None
    first = story.order.digital_river.checkout_id
    assert isinstance(story.tell("checkout.source_provided", source_id="sim-card-9", checkout_id="later"), Parked)
    story.tell("checkout.updated", **cart(("1", 1, "3.00")))
    story.refuses(story.tell("checkout.source_provided", source_id="sim-card-1", checkout_id=first), "replaced")
    story.answer()
    assert story.order.amounts.total == 330
    assert isinstance(story.tell("order.placed", terms_accepted=True, checkout_id="later"), Parked)
    current = story.order.digital_river.checkout_id
    story.tell("checkout.source_provided", source_id="sim-card-1", checkout_id=current)
    story.answer()
    assert isinstance(story.tell("order.placed", terms_accepted=True, checkout_id="later"), Parked)
    story.tell("order.placed", terms_accepted=True, checkout_id=current)
    story.answer()
    assert story.state == "submitted"
    assert len(story.set_aside) == 3  # the two placements and the source for a checkout that never came


def test_a_cart_changed_while_the_checkout_is_created_makes_two_and_deletes_one() -> None:
    """The first checkout is deleted once it is known; the order follows the second."""
    story = Story()
    story.request()
    story.tell("checkout.updated", **cart(("1", 1, "3.00")))
    story.outcome(story.river.answer(story.commands.popleft()))
    assert story.state == "checkout_pending"
    story.answer()
    assert story.order is not None
    assert story.state == "checkout_open"
    assert story.order.amounts.total == 330
    assert [one.deleted for one in story.river.checkouts.values()] == [True, False]
    assert story.order.commands == ()


def test_the_currency_of_an_order_cannot_change() -> None:
    """One currency per order."""
    story = Story().to_open()
    story.refuses(story.tell("checkout.updated", **cart(("1", 1, "300"), currency="JPY")), "currency")


@pytest.mark.parametrize("stretch", ["pending", "open", "ready", "declined"])
def test_a_cancel_before_placing_places_nothing_and_deletes_the_checkout(stretch: str) -> None:
    """Cancelled at once, in every state of shopping; the checkout goes once it is known."""
    story = Story()
    match stretch:
        case "pending":
            story.request()
        case "open":
            story.to_open()
        case "ready":
            story.to_ready()
        case _:
            story.to_placed(method="card_declined")
    story.refuses(story.tell("order.cancel_requested", items=units(l1=1)), "send checkout.updated to change the cart")
    story.tell("order.cancel_requested", cancellation_id="c-1")
    assert story.state == "cancelled"
    story.answer()
    assert all(checkout.deleted for checkout in story.river.checkouts.values())
    assert len(story.river.checkouts) == 1
    assert not story.river.orders


def test_a_cancel_that_overtook_the_steps_before_it_settles_them_too() -> None:
    """Topics have no order among each other: source and placement of a cart cancelled unplaced change nothing."""
    story = Story()
    story.tell("checkout.requested", **cart())
    story.tell("order.cancel_requested")
    assert story.state == "cancelled"
    assert isinstance(story.tell("checkout.source_provided", source_id="s-1"), Repeated)
    assert isinstance(story.tell("order.placed", terms_accepted=True), Repeated)


@pytest.mark.parametrize("first", ["order.cancel_requested", "checkout.abandoned"])
def test_what_came_before_the_cart_is_looked_at_in_the_order_of_arrival(first: str) -> None:
    """A cancel has its turn like everything else while nothing can have been shipped."""
    second = "checkout.abandoned" if first == "order.cancel_requested" else "order.cancel_requested"
    story = Story()
    story.tell(first)
    story.tell(second)
    story.request()
    assert story.state == ("cancelled" if first == "order.cancel_requested" else "abandoned")
    assert [one.cause.type for one in story.set_aside] == [second]


def test_a_cart_that_was_changed_after_its_cancel_asks_for_no_second_checkout() -> None:
    """Both came before the cart itself."""
    story = Story()
    story.tell("order.cancel_requested")
    story.tell("checkout.updated", **cart())
    story.request()
    assert story.state == "cancelled"
    assert [name_of(command) for command in story.commands] == ["create_checkout"]


def test_a_cancel_settles_what_the_shopper_had_asked_before_it() -> None:
    """Parked steps to a checkout that was cancelled are not dead letters; goods that left are."""
    story = Story()
    story.request()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    story.tell("order.placed", terms_accepted=True)
    story.tell("fulfillment.cancelled", items=units(l1=1))
    story.tell("fulfillment.shipped", shipment_id="s-1", items=units(l1=1))
    story.tell("order.cancel_requested")
    assert story.order is not None
    assert story.state == "cancelled"
    assert story.order.parked == ()
    assert [one.cause.type for one in story.set_aside] == ["fulfillment.shipped"]
    assert story.order.attention == ("fulfillment.shipped was refused: no unit is open any more",)


@pytest.mark.parametrize("method", ["card", "wire", "card_review"])
def test_a_cancel_while_paying_waits_for_submitted(method: str) -> None:
    """Remembered in placing, pending_payment and in_review; parked shipments go first, the rest is voided."""
    story = Story().to_ready(method=method)
    story.tell("order.placed", terms_accepted=True)
    if method != "card":
        story.answer()
    assert isinstance(story.tell("order.cancel_requested"), Parked)
    assert isinstance(story.ship("s-1", l1=1), Parked)
    story.answer()
    if method != "card":
        story.river.release_payment(story.dr_order_id)
        story.report()
    assert story.line() == (2, 1, 1)
    ships, cancels = [one for one in story.asked if isinstance(one, CreateFulfillment)]
    assert (ships.items[0].quantity, cancels.items[0].cancel_quantity) == (1, 1)
    story.river.tick()
    story.report()
    assert story.order is not None
    assert (story.state, story.order.amounts.captured, story.order.amounts.cancelled) == ("complete", 1100, 1100)


def test_a_remembered_cancel_is_settled_by_a_payment_that_never_came() -> None:
    """The order is cancelled anyway: nothing to refuse."""
    story = Story().to_placed(method="wire")
    story.tell("order.cancel_requested")
    story.river.fail_payment(story.dr_order_id)
    story.report()
    assert story.state == "cancelled"
    assert story.set_aside == []


def test_a_cancel_in_submitted_is_voiding_until_digital_river_says_cancelled() -> None:
    """Payment tells it; the state moves with the charge."""
    story = Story().to_placed()
    story.tell("order.cancel_requested", cancellation_id="c-1")
    assert story.order is not None
    assert (story.state, story.order.payment, story.line()) == ("submitted", "voiding", (2, 0, 0))
    story.answer()
    assert (story.state, story.order.payment, story.line()) == ("submitted", "voiding", (2, 0, 2))
    story.river.tick()
    story.report()
    assert (story.state, story.order.payment, story.order.amounts.cancelled) == ("cancelled", "voided", 2200)
    assert isinstance(story.tell("order.cancel_requested", cancellation_id="c-1"), Repeated)
    story.refuses(story.tell("order.cancel_requested"), "no unit is open")
    story.refuses(story.tell("order.cancel_requested", cancellation_id="c-1", reason="other"), "other content")


def test_news_from_before_the_void_is_not_a_contradiction() -> None:
    """A webhook that says accepted, delivered again after the charge was given back, changes nothing and calls nobody."""
    story = Story().to_placed()
    assert story.order is not None
    placed = next(iter(story.river.orders.values()))
    late = Fact(type="order.accepted", dr_order_id=placed.dr_order_id, upstream_id=story.order_id, order=placed.view())
    story.tell("order.cancel_requested")
    story.answer()
    story.river.tick()
    story.river.facts = [one for one in story.river.facts if "charge" in one[1].type]
    story.report()
    assert story.state == "cancelled"
    assert isinstance(story.fact(late, "late"), Repeated)
    assert story.order.attention == ()


def test_a_cancel_of_part_leaves_the_rest_open() -> None:
    """Then the rest is shipped, and the order is complete with both sums."""
    story = Story().to_placed()
    story.tell("order.cancel_requested", items=units(l1=1))
    story.answer()
    assert story.order is not None
    assert (story.state, story.order.payment) == ("submitted", "authorized")
    story.ship("s-1", l1=1)
    story.answer()
    assert story.state == "fulfilled"
    story.river.tick()
    story.report()
    assert (story.state, story.order.amounts.captured, story.order.amounts.cancelled) == ("complete", 1100, 1100)


def test_lines_that_the_warehouse_cannot_deliver_are_voided() -> None:
    """fulfillment.cancelled of the last open quantity ends the order like a cancel."""
    story = Story().to_placed()
    story.refuses(story.tell("fulfillment.cancelled", items=units(l1=3)), "more units were cancelled than are open")
    story.refuses(story.tell("fulfillment.cancelled", items=units(l9=1)), "does not have")
    story.tell("fulfillment.cancelled", items=units(l1=2), cancellation_id="w-1")
    assert isinstance(story.tell("fulfillment.cancelled", items=units(l1=2), cancellation_id="w-1"), Repeated)
    story.answer()
    story.river.tick()
    story.report()
    assert story.state == "cancelled"


def test_shipping_more_than_is_open_is_refused_with_attention_once() -> None:
    """Goods may be gone: a person is called, once for the same reason."""
    story = Story().to_placed()
    sequence = len(story.changes)
    refused = story.refuses(story.ship("s-1", l1=3), "more units were shipped than are open")
    assert refused.order is not None
    assert refused.order.attention == ("fulfillment.shipped was refused: more units were shipped than are open",)
    assert story.last["changed"] == ["attention"]
    assert story.refuses(story.ship("s-2", l1=5)).order is None
    story.refuses(story.ship("s-3", l9=1), "does not have")
    assert len(story.changes) == sequence + 2
    assert isinstance(story.ship("s-1", l1=2), Moved)
    story.refuses(story.ship("s-4", l1=1), "more units were shipped")


def test_a_refused_shipment_can_be_applied_later_under_the_same_event_id() -> None:
    """Refused events are not remembered, and the two changes have two ids."""
    story = Story().to_placed()
    story.tell("order.cancel_requested", items=units(l1=2))
    story.refuses(story.tell("fulfillment.shipped", "e-ship", shipment_id="s-1", items=units(l1=1)))
    command = story.commands.popleft()
    story.outcome(story.river.rejected(command, "order_not_submitted", 409))
    assert story.last["problem"]["code"] == "order_not_submitted"
    assert isinstance(story.tell("fulfillment.shipped", "e-ship", shipment_id="s-1", items=units(l1=1)), Moved)


def test_a_shipment_reported_again_under_another_event_id_changes_nothing() -> None:
    """shipment_id is a fact: same content the same fact, other content refused, with attention."""
    story = Story().to_placed()
    story.ship("s-1", l1=1)
    assert isinstance(story.ship("s-1", l1=1), Repeated)
    story.refuses(story.ship("s-1", l1=2), "other content")
    story.answer()
    assert isinstance(story.ship("s-1", l1=1), Repeated)
    assert story.line() == (2, 1, 0)


def test_a_rejected_shipment_frees_its_units_and_its_id() -> None:
    """The units are open again, with attention, and the shipment may be reported again."""
    story = Story().to_placed()
    story.ship("s-1", l1=2)
    story.outcome(story.river.rejected(story.commands.popleft(), "order_not_submitted", 409))
    assert story.order is not None
    assert story.order.attention == ("Digital River refused a shipment; its units are open again",)
    assert isinstance(story.ship("s-1", l1=2), Moved)


def test_an_abandoned_order_takes_nothing_more() -> None:
    """Abandoned is final; the same again changes nothing."""
    story = Story().to_open()
    story.tell("checkout.abandoned", reason="too dear")
    story.answer()
    assert story.state == "abandoned"
    assert isinstance(story.tell("checkout.abandoned"), Repeated)
    story.refuses(story.tell("checkout.updated", **cart()), "has ended")
    story.refuses(story.request(), "already requested")
    assert all(checkout.deleted for checkout in story.river.checkouts.values())


def test_a_sku_that_is_not_known_yet_is_tried_again_for_ten_minutes() -> None:
    """Growing waits, then the checkout is rejected with the problem; a SKU known in time makes the checkout."""
    story = Story(river=River(known_skus=set()))
    story.request()
    story.answer()
    waits = []
    while story.state == "checkout_pending":
        assert story.order is not None
        due = next(one.due for one in story.order.deadlines if one.name == "ask_again")
        waits.append(round((due - story.now).total_seconds()))
        story.fire("ask_again")
        story.answer()
    assert waits[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert (story.state, story.last["problem"]["code"]) == ("checkout_rejected", "invalid_parameter")
    assert {command.attempt for command in story.asked} == set(range(1, len(waits) + 2))
    known = Story(river=River(known_skus=set()))
    known.request()
    known.answer()
    assert known.river.known_skus is not None
    known.river.known_skus.add("sku-1")
    known.fire("ask_again")
    known.answer()
    assert known.state == "checkout_open"


@pytest.mark.parametrize("stretch", ["open", "ready", "declined"])
def test_a_shopper_who_stays_away_abandons_the_order(stretch: str) -> None:
    """24 hours in a state of shopping, then abandoned, and the checkout is deleted."""
    story = Story()
    story.to_open() if stretch == "open" else story.to_ready() if stretch == "ready" else story.to_placed(
        method="card_declined"
    )
    story.fire("abandon")
    assert story.state == "abandoned"
    assert isinstance(story.asked[-1], DeleteCheckout)


def test_a_deadline_that_moved_does_not_fire() -> None:
    """A deadline is looked up in the order as it is now, not as it was when it was set."""
    from statemachine.waits.deadlines import deadline_event

    story = Story().to_open()
    assert story.order is not None
    deadline = story.order.deadlines[0]
    early = deadline_event(story.order, deadline)
    assert isinstance(story.take(early), Repeated)
    story.tell("checkout.source_provided", source_id="sim-card-1")
    story.answer()
    story.now = deadline.due
    assert isinstance(story.take(early), Repeated)
    assert story.state == "checkout_ready"


def test_an_overdue_state_calls_a_person_until_it_is_left() -> None:
    """Submitted for seven days: attention, cleared by the next state."""
    story = Story().to_placed()
    story.fire("overdue")
    assert story.order is not None
    assert story.order.attention == ("overdue: submitted for longer than expected",)
    assert story.order.deadlines == ()
    story.ship()
    story.answer()
    assert story.attention == []


def test_an_event_without_a_record_is_never_parked() -> None:
    """Parking keeps the record; without one there is nothing to keep."""
    import msgspec

    from statemachine.decide import decide
    from statemachine.errors import InvariantBroken

    story = Story()
    event = msgspec.structs.replace(story.event("order.placed", {"terms_accepted": True}), record=None)
    with pytest.raises(InvariantBroken):
        decide(None, event, now=story.now)


def test_a_failed_decision_marks_that_order_once() -> None:
    """The lane marks an order after an exception: attention with a change, and no second one for the same fault."""
    from statemachine.effects.attention import mark_failed

    story = Story().to_open()
    event = story.event("checkout.source_provided", {"source_id": "sim-card-1"})
    assert story.order is not None
    marked = mark_failed(story.order, event, "the order contradicts itself", now=story.now)
    assert marked is not None
    assert marked.order.attention == ("checkout.source_provided failed: the order contradicts itself",)
    assert marked.order.sequence == story.order.sequence + 1
    assert mark_failed(marked.order, event, "the order contradicts itself", now=story.now) is None


def test_a_refusal_leaves_no_trace() -> None:
    """The event was refused; the order is the one it was."""
    story = Story().to_placed()
    before = story.order
    assert isinstance(story.request(), Refused)
    assert story.order is before


def test_a_parked_event_that_breaks_an_assumption_does_not_spoil_the_one_that_woke_it() -> None:
    """The good event moves the order; the parked one is a dead letter ``failed``, with attention, and holds the order."""
    import msgspec

    story = Story()
    story.request()
    story.tell("checkout.source_provided", "e-bad", source_id="sim-card-1")
    assert story.order is not None
    entry = story.order.parked[0]
    broken = msgspec.structs.replace(entry, record=msgspec.structs.replace(entry.record, value=b"of another version"))
    story.order = msgspec.structs.replace(story.order, parked=(broken,))
    story.answer()
    assert story.state == "checkout_open"
    assert [(one.reason, one.cause.type) for one in story.set_aside] == [("failed", "checkout.source_provided")]
    assert story.attention == ["checkout.source_provided failed: value: is not JSON at column 1"]
    assert story.order.held is not None
    assert isinstance(story.tell("checkout.source_provided", "e-bad", source_id="sim-card-1"), Repeated)
    assert isinstance(
        story.act("released"), Moved
    )  # this version still cannot read it: what is no event holds nobody up
    assert [one.reason for one in story.set_aside] == ["failed", "undecodable"]
    assert msgspec.json.decode(encode_snapshot(story.order))["held"] is None
    assert isinstance(story.tell("checkout.source_provided", "e-bad", source_id="sim-card-1"), Moved)


def test_a_parked_event_for_an_order_that_contradicts_itself_is_set_aside_by_its_own_name() -> None:
    """Its cause is read from its record; a fault without words of ours is told by its kind only."""
    import msgspec

    from statemachine import decide as deciding
    from statemachine.order.decision import Effect
    from statemachine.order.order import ParkedEvent

    story = Story().to_open()
    story.tell("order.placed", "e-1", terms_accepted=True)
    story.tell("checkout.source_provided", source_id="sim-card-1")
    assert story.order is not None
    outcome = story.river.answer(story.commands.popleft())
    ids = msgspec.structs.replace(story.order.digital_river, checkout_id=None)
    story.order = msgspec.structs.replace(story.order, digital_river=ids)
    story.outcome(outcome)
    assert story.state == "checkout_ready"
    assert [(one.reason, one.cause.id) for one in story.set_aside] == [("failed", "e-1")]
    assert story.attention == ["order.placed failed: a checkout is ready but has no id"]
    entry = ParkedEvent("order.placed", story.now, b"12345678", story.set_aside[0].record)
    effects: list[Effect] = []
    deciding._hold_again(story.order, entry, ZeroDivisionError("5 / 0"), effects, story.now, story.policy)
    assert "ZeroDivisionError" in str(effects[0])
    assert "5 / 0" not in str(effects)


def test_a_placement_waits_for_a_source_that_is_being_replaced() -> None:
    """The shopper chose anew: the order is placed with the new source or not at all."""
    story = Story().to_ready()
    story.tell("checkout.source_provided", source_id="sim-unknown-2")
    assert isinstance(story.tell("order.placed", terms_accepted=True), Parked)
    story.answer()
    assert story.state == "checkout_open"
    assert not story.river.orders
    story.tell("checkout.source_provided", source_id="sim-card-3")
    story.answer()
    assert story.state == "submitted"


def test_a_cancel_of_what_is_not_open_is_refused() -> None:
    """Unknown lines, more than is open, nothing left: each with its words, and nothing is asked."""
    story = Story().to_placed()
    asked = len(story.asked)
    story.refuses(story.tell("order.cancel_requested", items=units(l9=1)), "a line that the order does not have")
    story.refuses(story.tell("order.cancel_requested", items=units(l1=3)), "more units")
    story.ship("s-1", l1=2)
    story.refuses(story.tell("order.cancel_requested"), "no unit is open any more")
    assert len(story.asked) == asked + 1


def test_a_cancellation_id_of_the_warehouse_stands_for_one_content() -> None:
    """The same id with other units is refused."""
    story = Story().to_placed()
    story.tell("fulfillment.cancelled", items=units(l1=1), cancellation_id="w-1")
    story.refuses(story.tell("fulfillment.cancelled", items=units(l1=2), cancellation_id="w-1"), "other content")


def test_a_raised_age_limit_does_not_keep_a_deadline_firing() -> None:
    """The deadline was set under the old limit: what it was set for goes, the rest waits longer."""
    story = Story()
    story.tell("order.placed", terms_accepted=True)
    story.policy = Policy(parked_max_age=timedelta(days=14))
    story.tell("order.payment_returned")
    story.fire("expire")
    assert [one.cause.type for one in story.set_aside] == ["order.placed"]
    assert story.order is not None
    assert [entry.type for entry in story.order.parked] == ["order.payment_returned"]
    assert story.order.deadlines[0].due > story.now + timedelta(days=6)


def test_nothing_is_kept_of_an_awaited_order_once_nothing_waits_in_it_and_nobody_has_to_look() -> None:
    """Then there is nothing to keep; a requested order is never empty."""
    order = new_order(OrderId("A-1"), BEGIN)
    assert has_nothing_to_keep(order)
    assert not has_nothing_to_keep(msgspec.structs.replace(order, attention=("look",)))
    story = Story()
    story.tell("order.placed", terms_accepted=True)
    assert story.order is not None
    assert not has_nothing_to_keep(story.order)
    story.fire("expire")
    assert has_nothing_to_keep(story.order)
    story.request()
    assert not has_nothing_to_keep(story.order)


def test_a_cancellation_before_placing_is_known_by_its_id() -> None:
    """Told again under another event id it is the same fact, in the order that it has ended."""
    story = Story().to_open()
    assert isinstance(story.tell("order.cancel_requested", cancellation_id="c-1"), Moved)
    assert isinstance(story.tell("order.cancel_requested", cancellation_id="c-1"), Repeated)
