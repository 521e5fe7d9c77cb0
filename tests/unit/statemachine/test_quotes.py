"""What the order costs and what the shopper has seen of it: an order is never placed at a total that nobody has seen."""

from __future__ import annotations

import msgspec
import pytest

from statemachine.messages.commands import AttachSource, PlaceOrder
from statemachine.messages.facts import Outcome
from statemachine.order.decision import Moved, Parked
from tests.unit.statemachine.story import Story


def attached(story: Story, *, dearer: int, tax: int | None = None, remaining: int = 0) -> Outcome:
    """Digital River's answer to the source that is being attached, with a total that is ``dearer``."""
    answer = story.river.answer(story.commands.popleft())
    checkout = answer.checkout
    assert checkout is not None
    assert checkout.session is not None
    session = msgspec.structs.replace(checkout.session, remaining=remaining)
    tax = checkout.tax + (dearer if tax is None else tax)
    changed = msgspec.structs.replace(checkout, total=checkout.total + dearer, tax=tax, session=session)
    return msgspec.structs.replace(answer, checkout=changed)


def waiting_placement(**more: str) -> Story:
    """An order whose placement waits for the source that is being attached."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    assert isinstance(story.tell("order.placed", "e-placed", terms_accepted=True, **more), Parked)
    return story


@pytest.mark.parametrize("dearer", [7900, -100])
def test_an_order_is_never_placed_at_a_total_that_nobody_has_seen(dearer: int) -> None:
    """The new quote goes out, and the placement that waited is refused, so that it is asked for again."""
    story = waiting_placement()
    story.outcome(attached(story, dearer=dearer))
    assert (story.state, len(story.commands)) == ("checkout_ready", 0)
    total = f"{(2200 + dearer) / 100:.2f}"
    assert (story.last["quote"]["total"], story.last["amounts"]["total"]) == (total, total)
    assert story.last["payment_session"]["client_secret"]
    (aside,) = story.set_aside
    assert (aside.reason, aside.cause.id) == ("refused", "e-placed")
    assert "the total changed" in aside.detail
    assert story.order is not None
    assert story.order.parked == ()
    assert isinstance(story.tell("order.placed", "e-seen", terms_accepted=True), Moved)
    assert [type(one) for one in story.commands] == [PlaceOrder]


def test_the_acceptance_of_another_total_never_counts_however_often_it_comes() -> None:
    """Senders deliver at least once: the same event is not a second acceptance."""
    story = waiting_placement()
    story.outcome(attached(story, dearer=100))
    story.refuses(story.tell("order.placed", "e-placed", terms_accepted=True), "the total changed")
    assert story.state == "checkout_ready"
    assert not story.commands


def test_a_placement_goes_on_when_only_the_split_of_its_total_changes() -> None:
    """The shopper accepted that total; the quote is told again with its new tax."""
    story = waiting_placement()
    story.outcome(attached(story, dearer=0, tax=10))
    assert story.state == "placing"
    assert story.changes[-2]["quote"]["tax"] == "2.10"
    assert story.set_aside == []


def test_a_source_that_does_not_pay_for_a_new_total_tells_it_and_refuses_what_accepted_the_old_one() -> None:
    """Back at the quote, and the placement that waited stands for another one."""
    story = waiting_placement()
    story.outcome(attached(story, dearer=100, remaining=100))
    assert (story.state, story.last["quote"]["total"]) == ("checkout_open", "23.00")
    assert [one.reason for one in story.set_aside] == ["refused"]


def test_a_source_that_replaces_another_may_change_the_total_too() -> None:
    """A placement that was sent for the first source's total waits for the second, and is refused with it."""
    story = Story().to_ready()
    story.tell("checkout.source_provided", source_id="sim-card-2")
    assert isinstance(story.commands[0], AttachSource)
    assert isinstance(story.tell("order.placed", terms_accepted=True), Parked)
    story.outcome(attached(story, dearer=1))
    assert [one.reason for one in story.set_aside] == ["refused"]
    assert (story.state, story.river.orders) == ("checkout_ready", {})


def test_a_placement_for_a_checkout_that_is_still_to_come_stays() -> None:
    """It was never about this total."""
    story = waiting_placement(checkout_id="a later one")
    story.outcome(attached(story, dearer=100))
    assert story.order is not None
    assert [entry.type for entry in story.order.parked] == ["order.placed"]
    assert story.set_aside == []


def test_what_else_waits_for_the_source_is_not_refused() -> None:
    """Only an acceptance is of a total; what this version reads no more has its own turn."""
    story = waiting_placement()
    story.tell("fulfillment.shipped", shipment_id="s-1", items=[{"line": "1", "quantity": 1}])
    assert story.order is not None
    placed, shipped = story.order.parked
    old = msgspec.structs.replace(placed, record=msgspec.structs.replace(placed.record, value=b"{}"), mark=b"12345678")
    story.order = msgspec.structs.replace(story.order, parked=(placed, shipped, old), seen=story.order.seen + old.mark)
    story.outcome(attached(story, dearer=100))
    assert [one.reason for one in story.set_aside] == ["refused", "failed"]
    assert [entry.type for entry in story.order.parked] == ["fulfillment.shipped"]


def free() -> Story:
    """An order that costs nothing, whose checkout Digital River has made."""
    story = Story()
    story.request(("1", 1, "0.00"))
    story.answer()
    return story


def test_a_checkout_with_nothing_to_fund_is_ready_once_its_quote_is_known() -> None:
    """The quote is told as ever; the shopper sees no payment form, and no source is waited for."""
    story = free()
    opened, ready = story.changes[-2:]
    assert (opened["from"], opened["to"], opened["quote"]["total"]) == ("checkout_pending", "checkout_open", "0.00")
    assert opened["payment_session"]["client_secret"]
    assert (ready["from"], ready["to"], ready["changed"]) == ("checkout_open", "checkout_ready", ["state"])
    assert opened["cause"] == ready["cause"]
    assert story.order is not None
    assert [one.name for one in story.order.deadlines] == ["abandon"]


@pytest.mark.parametrize("early", [False, True])
def test_a_free_order_is_placed_and_submitted(early: bool) -> None:
    """Whether the placement comes before the quote or after it."""
    story = Story()
    story.request(("1", 1, "0.00"))
    if early:
        assert isinstance(story.tell("order.placed", terms_accepted=True), Parked)
    story.answer()
    if not early:
        story.tell("order.placed", terms_accepted=True)
    story.answer()
    assert story.order is not None
    assert (story.state, story.attention, story.order.parked) == ("submitted", [], ())
    assert not [one for one in story.asked if isinstance(one, AttachSource)]
    story.ship(l1=1)
    story.answer()
    story.report()
    (order,) = story.river.orders.values()
    order.state = "complete"
    story.river.report(order, "order.complete")
    story.report()
    assert (story.state, story.order.payment, story.attention) == ("complete", "captured", [])


def test_a_free_checkout_whose_source_is_refused_is_ready_all_the_same() -> None:
    """A source that nobody needs is in nobody's way; the refusal is told."""
    story = free()
    story.tell("checkout.source_provided", source_id="sim-unknown-1")
    assert isinstance(story.tell("order.placed", terms_accepted=True), Parked)
    command = story.commands.popleft()
    answer = story.river.rejected(command, "source_not_chargeable", 409)
    checkout = story.river.checkouts[command.checkout_id] if isinstance(command, AttachSource) else None
    assert checkout is not None
    story.outcome(msgspec.structs.replace(answer, checkout=checkout.view()))
    assert [one["to"] for one in story.changes[-3:]] == ["checkout_open", "checkout_ready", "placing"]
    assert story.changes[-3]["problem"]["code"] == "source_not_chargeable"


def test_a_checkout_that_costs_something_waits_for_its_source() -> None:
    """However little."""
    story = Story().to_open(("1", 1, "0.01"))
    assert story.state == "checkout_open"
