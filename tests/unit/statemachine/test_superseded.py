"""What is not wanted any more: a source, a checkout or a refresh that a later one took the place of is never asked for again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from statemachine.errors import InvariantBroken
from statemachine.messages.commands import AttachSource, Command, CreateCheckout, DeleteCheckout, name_of
from statemachine.messages.facts import Outcome, Problem
from statemachine.order.decision import Moved, Parked, Repeated
from tests.unit.statemachine.story import Story, cart


def without_answer(command: Command) -> Outcome:
    """What the command lane says when it could not find out."""
    return Outcome(command_id=command.command_id, command=name_of(command), attempt=command.attempt, result="unknown")


def given_up(story: Story) -> None:
    """The commands in the queue, and every inquiry about them, stay without an answer."""
    assert story.order is not None
    while story.commands:
        story.outcome(without_answer(story.commands.popleft()))
        if any(one.name == "inquire" for one in story.order.deadlines):
            story.fire("inquire")


def test_a_source_whose_place_another_took_is_never_attached_again() -> None:
    """The shopper pays with what was chosen last, though the first attach proves to have had no effect."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    story.outcome(without_answer(story.commands.popleft()))
    story.tell("checkout.source_provided", source_id="sim-wire-2")
    story.answer()
    assert story.state == "checkout_ready"
    story.fire("inquire")
    story.answer()
    assert story.order is not None
    assert (story.order.commands, story.attention) == ((), [])
    assert [one.name for one in story.order.deadlines] == ["abandon"]
    story.tell("order.placed", terms_accepted=True)
    story.answer()
    assert [one.method for one in story.river.checkouts.values()] == ["wire"]


def test_a_source_that_waits_to_be_asked_again_is_forgotten_for_a_later_one() -> None:
    """It had no effect, so there is nothing to find out."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    first = story.commands.popleft()
    story.outcome(Outcome(command_id=first.command_id, command="attach_source", attempt=1, result="absent"))
    story.tell("checkout.source_provided", source_id="sim-card-2")
    assert story.order is not None
    assert [one.name for one in story.order.deadlines] == ["abandon", "inquire"]
    assert [one.command_id for one in story.order.commands] == [story.commands[0].command_id]


def test_a_source_that_was_given_up_does_not_hold_up_the_order() -> None:
    """The later source is there: what became of the first one, nobody needs to know."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    given_up(story)
    assert story.attention == ["attach_source: its outcome at Digital River could not be determined"]
    story.tell("checkout.source_provided", source_id="sim-card-2")
    story.answer()
    assert (story.state, story.attention) == ("checkout_ready", [])
    assert isinstance(story.tell("order.placed", terms_accepted=True), Moved)
    assert story.state == "placing"


def test_what_became_of_a_source_that_is_not_wanted_calls_no_person() -> None:
    """Given up in silence, because another one has taken its place."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    story.outcome(without_answer(story.commands.popleft()))
    story.tell("checkout.source_provided", source_id="sim-card-2")
    story.answer()
    while story.order is not None and any(one.name == "inquire" for one in story.order.deadlines):
        story.fire("inquire")
        given_up(story)
    assert story.order is not None
    assert (story.state, story.order.commands, story.attention) == ("checkout_ready", (), [])


def test_an_earlier_source_that_was_attached_late_gives_way_to_the_latest() -> None:
    """Digital River acted on the first request after the second: the look-up shows it, and the latest is attached again."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-wire-1")
    late = story.commands.popleft()
    story.outcome(without_answer(late))
    story.tell("checkout.source_provided", source_id="sim-card-2")
    story.answer()
    story.fire("inquire")
    story.commands.clear()
    story.outcome(msgspec.structs.replace(story.river.answer(late), inquired_by="the inquiry"))
    (again,) = story.commands
    assert isinstance(again, AttachSource)
    assert (again.source_id, again.attempt) == ("sim-card-2", 1)
    story.tell("order.placed", terms_accepted=True)
    assert story.state == "checkout_ready", "not before it is attached"
    story.answer()
    assert story.state == "submitted"
    assert [one.method for one in story.river.checkouts.values()] == ["card"]


def test_an_earlier_source_that_is_confirmed_while_the_latest_is_on_its_way_changes_nothing() -> None:
    """Digital River works in order: the latest comes after it."""
    story = Story().to_ready()
    story.tell("checkout.source_provided", source_id="sim-card-2")
    story.tell("checkout.source_provided", source_id="sim-card-3")
    first, second = story.commands
    story.commands.clear()
    story.outcome(story.river.answer(first))
    assert not story.commands
    story.outcome(story.river.answer(second))
    assert story.order is not None
    assert (story.state, list(story.commands), story.order.commands) == ("checkout_ready", [], ())


def test_a_source_of_a_replaced_checkout_does_not_concern_the_new_one() -> None:
    """Its attach is confirmed late: nothing is attached again."""
    story = Story().to_ready()
    story.tell("checkout.source_provided", source_id="sim-card-2")
    late = story.commands.popleft()
    confirmed = story.river.answer(late)
    story.tell("checkout.updated", **cart())
    story.answer()
    story.tell("checkout.source_provided", source_id="sim-card-3")
    story.answer()
    assert story.state == "checkout_ready"
    story.outcome(confirmed)
    assert not story.commands


@pytest.mark.parametrize(
    ("kind", "data"),
    [("order.cancel_requested", {}), ("checkout.abandoned", {}), ("checkout.updated", cart(("1", 1, "9.00")))],
)
def test_a_checkout_that_waits_for_its_goods_is_not_made_once_it_is_not_wanted(kind: str, data: dict[str, Any]) -> None:
    """No checkout is made for an order that ended, and the cart, personal data, is kept no longer."""
    story = Story()
    story.request()
    first = story.commands.popleft()
    problem = Problem("not_found", "SKU not found.")
    refused = Outcome(command_id=first.command_id, command="create_checkout", attempt=1, result="rejected", status=404)
    story.outcome(msgspec.structs.replace(refused, unknown_sku=True, problem=problem))
    story.tell(kind, **data)
    assert story.order is not None
    assert all(one.command_id != first.command_id for one in story.order.commands)
    assert all(one.name != "ask_again" for one in story.order.deadlines)
    story.answer()
    asked = [one for one in story.asked if isinstance(one, CreateCheckout)]
    assert [one.command_id for one in asked].count(first.command_id) == 1


def test_a_checkout_whose_outcome_is_not_known_is_still_found_out_after_a_cancel() -> None:
    """What it made must be deleted, so it stays open."""
    story = Story()
    story.request()
    made = story.commands.popleft()
    story.river.answer(made)
    story.outcome(without_answer(made))
    story.tell("order.cancel_requested")
    story.fire("inquire")
    story.answer()
    assert any(isinstance(one, DeleteCheckout) for one in story.asked)
    assert all(one.deleted for one in story.river.checkouts.values())


def test_a_checkout_that_was_given_up_stays_a_matter_for_a_person() -> None:
    """It may be there, and only a person can find it now."""
    story = Story()
    story.request()
    given_up(story)
    assert len(story.attention) == 1
    story.tell("order.cancel_requested")
    assert story.order is not None
    assert [(one.step, one.wanted) for one in story.order.commands] == [("stuck", False)]
    assert len(story.attention) == 1


def test_a_refresh_that_was_given_up_is_not_in_the_way_of_another() -> None:
    """The shopper comes back from the bank's page once more."""
    story = Story().to_placed(method="redirect")
    story.tell("order.payment_returned")
    given_up(story)
    assert story.attention == ["refresh_order: its outcome at Digital River could not be determined"]
    assert isinstance(story.tell("order.payment_returned"), Moved)
    assert [name_of(one) for one in story.commands] == ["refresh_order"]
    assert story.attention == []
    assert isinstance(story.tell("order.payment_returned"), Repeated)


def test_a_source_of_which_an_older_version_kept_no_id_is_not_attached_again() -> None:
    """A snapshot from before the id was kept: what is attached there, a person may see at the checkout."""
    story = Story().to_ready()
    story.tell("checkout.source_provided", source_id="sim-card-2")
    story.tell("checkout.source_provided", source_id="sim-card-3")
    first, second = story.commands
    story.commands.clear()
    story.outcome(story.river.answer(second))
    assert story.order is not None
    story.order = msgspec.structs.replace(story.order, source_id=None)
    story.outcome(story.river.answer(first))
    assert not story.commands


def test_a_checkout_without_an_id_takes_no_source() -> None:
    """An order that contradicts itself is set aside, never acted on."""
    story = Story().to_open()
    assert story.order is not None
    story.order = msgspec.structs.replace(
        story.order, digital_river=msgspec.structs.replace(story.order.digital_river, checkout_id=None)
    )
    with pytest.raises(InvariantBroken):
        story.tell("checkout.source_provided", source_id="sim-card-1")


def test_a_return_from_an_earlier_payment_never_declines_the_next_order() -> None:
    """The page that the shopper came back by is loaded again while the next checkout is made: it stands for nothing then."""
    story = Story().to_placed(method="redirect")
    story.tell("order.payment_returned")
    story.answer()
    assert story.state == "declined"
    story.tell("checkout.updated", **cart())
    assert isinstance(story.tell("order.payment_returned", "the page, loaded again"), Repeated)
    story.answer()
    assert isinstance(story.tell("order.payment_returned", "and again"), Repeated)
    story.tell("checkout.source_provided", source_id="sim-redirect-2")
    story.answer()
    assert isinstance(story.tell("order.payment_returned", "and again, now ready"), Repeated)
    story.tell("order.placed", terms_accepted=True)
    story.answer()
    assert (story.state, story.commands) == ("pending_payment", type(story.commands)())
    story.tell("order.payment_returned")
    assert [name_of(one) for one in story.commands] == ["refresh_order"]


def test_a_shopper_who_is_back_before_the_placement_is_answered_is_not_forgotten() -> None:
    """It stands for the order that is being placed: refreshed once that is known to be pending."""
    story = Story().to_ready(method="redirect")
    story.tell("order.placed", terms_accepted=True)
    assert isinstance(story.tell("order.payment_returned"), Parked)
    story.outcome(story.river.answer(story.commands.popleft()))
    assert [name_of(one) for one in story.commands] == ["refresh_order"]


def test_what_waited_for_a_placement_that_failed_goes_with_it() -> None:
    """The return was from that payment: the next one has its own."""
    story = Story().to_ready(method="card_declined")
    story.tell("order.placed", terms_accepted=True)
    assert isinstance(story.tell("order.payment_returned"), Parked)
    story.answer()
    assert story.order is not None
    assert (story.state, story.order.parked, story.set_aside) == ("declined", (), [])


def test_a_return_that_names_its_checkout_stands_for_no_other() -> None:
    """Whoever names it is told apart even while the next order is being paid."""
    story = Story().to_placed(method="redirect")
    assert story.order is not None
    first = story.order.digital_river.checkout_id
    story.tell("order.payment_returned", checkout_id=first)
    story.answer()
    assert story.state == "declined"
    story.tell("checkout.updated", **cart())
    story.answer()
    story.tell("checkout.source_provided", source_id="sim-redirect-2")
    story.answer()
    story.tell("order.placed", terms_accepted=True)
    assert isinstance(story.tell("order.payment_returned", checkout_id=first), Repeated)
    story.answer()
    assert isinstance(story.tell("order.payment_returned", checkout_id=first), Repeated)
    assert isinstance(story.tell("order.payment_returned", checkout_id="nobody's"), Repeated)
    story.tell("order.payment_returned", checkout_id=story.order.digital_river.checkout_id)
    assert [name_of(one) for one in story.commands] == ["refresh_order"]


def test_an_early_return_of_an_older_version_s_snapshot_is_dropped() -> None:
    """It was kept where it stands for nothing: the order that comes next is not refreshed for it."""
    story = Story()
    assert isinstance(story.tell("order.payment_returned"), Parked)
    story.request()
    assert story.order is not None
    assert (story.order.parked, story.set_aside) == ((), [])
