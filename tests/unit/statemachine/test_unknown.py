"""Commands without an answer: inquired after, asked again, given up, never guessed."""

from __future__ import annotations

import msgspec
import pytest

from statemachine.messages.commands import CreateFulfillment, Inquire, PlaceOrder
from statemachine.messages.facts import Outcome, Problem
from statemachine.messages.ids import CommandId
from statemachine.order.decision import Repeated
from tests.unit.statemachine.story import Story, cart


def unknown(story: Story) -> Outcome:
    """The outcome of the next command in the queue when no usable answer came."""
    command = story.commands.popleft()
    return Outcome(command_id=command.command_id, command="place_order", attempt=command.attempt, result="unknown")


def placing() -> Story:
    """An order whose placement is on its way."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    return story


def test_a_placement_that_took_effect_is_found_by_an_inquiry() -> None:
    """The answer was lost after the effect: the look-up finds the order, and there is only one."""
    story = placing()
    story.river.answer(story.commands[0])
    story.river.facts.clear()
    story.outcome(unknown(story))
    story.fire("inquire")
    assert isinstance(story.commands[0], Inquire)
    story.answer()
    assert story.state == "submitted"
    assert len(story.river.orders) == 1
    assert story.order is not None
    assert story.order.commands == ()


def test_a_placement_without_effect_is_asked_again_under_its_id() -> None:
    """absent: the same command_id with the next attempt, not before a late effect would have shown."""
    story = placing()
    story.outcome(unknown(story))
    story.fire("inquire")
    story.answer()
    assert story.state == "submitted"
    first, second = [command for command in story.asked if isinstance(command, PlaceOrder)]
    assert (second.command_id, second.attempt) == (first.command_id, 2)


def test_an_early_absence_waits_for_a_late_effect() -> None:
    """A command is not asked again before HTTP timeout and 30 seconds have passed since it was asked."""
    story = placing()
    command = story.commands.popleft()
    absent = Outcome(command_id=command.command_id, command="place_order", attempt=1, result="absent")
    story.outcome(absent)
    assert not story.commands
    assert story.order is not None
    assert [one.name for one in story.order.deadlines] == ["ask_again"]
    story.fire("ask_again")
    assert [command.attempt for command in story.commands] == [2]
    assert isinstance(story.outcome(msgspec.structs.replace(absent, tries=1)), Repeated)


def test_silence_is_inquired_after_once_and_then_calls_a_person() -> None:
    """The command waits in Kafka: one inquiry behind it, then attention, and never a second command."""
    story = placing()
    story.fire("inquire")
    assert [type(command).__name__ for command in story.commands] == ["PlaceOrder", "Inquire"]
    story.fire("inquire")
    assert story.order is not None
    assert story.attention == ["place_order: no answer from Digital River yet"]
    assert story.order.deadlines == ()
    story.answer()
    assert story.state == "submitted"
    assert story.attention == []
    assert len(story.river.orders) == 1


def test_an_inquiry_that_finds_nothing_out_is_repeated_with_growing_waits_and_given_up() -> None:
    """What stays unknown is reported, never guessed."""
    story = placing()
    story.outcome(unknown(story))
    waits = []
    while story.order is not None and story.order.deadlines:
        due = story.order.deadlines[0].due
        waits.append((due - story.now).total_seconds())
        story.fire("inquire")
        inquiry = story.commands.popleft()
        story.outcome(Outcome(command_id=inquiry.command_id, command="inquire", attempt=1, result="unknown"))
    assert waits == [120, 240, 480, 960, 1920]
    assert story.order is not None
    assert story.order.attention == ("place_order: its outcome at Digital River could not be determined",)
    assert story.state == "placing"


def test_a_webhook_resolves_a_placement_that_was_given_up() -> None:
    """order.accepted proves the placement: the command is closed and the attention settled."""
    story = placing()
    command = story.commands.popleft()
    outcome = story.river.answer(command)
    story.fire("inquire")
    story.fire("inquire")
    story.report()
    assert story.order is not None
    assert (story.state, story.order.commands, story.order.attention) == ("submitted", (), ())
    assert isinstance(story.outcome(outcome), Repeated)


def test_a_command_that_never_takes_effect_is_given_up() -> None:
    """After its last attempt a person is called."""
    story = placing()
    while story.order is not None and not story.order.attention:
        command = next(one for one in story.asked[::-1] if isinstance(one, PlaceOrder))
        story.now += story.policy.ask_again_wait
        story.commands.clear()
        story.outcome(
            Outcome(command_id=command.command_id, command="place_order", attempt=command.attempt, result="absent")
        )
    assert story.order is not None
    assert story.order.attention == ("place_order: asked 5 times without effect",)


def test_at_most_one_inquiry_of_an_order_is_open() -> None:
    """Two silent shipments: one inquiry, the other waits for it."""
    story = Story().to_placed()
    story.ship("s-1", l1=1)
    story.ship("s-2", l1=1)
    story.fire("inquire")
    story.fire("inquire")
    assert sum(isinstance(command, Inquire) for command in story.commands) == 1
    story.answer()
    assert story.state == "fulfilled"
    assert story.order is not None
    assert len(story.order.shipments) == 2


def test_an_unknown_answer_before_its_inquiry_is_answered_waits_for_it() -> None:
    """The inquiry is on its way already: no second one."""
    story = placing()
    story.fire("inquire")
    story.outcome(unknown(story))
    story.answer()
    assert story.state == "submitted"
    assert sum(isinstance(command, Inquire) for command in story.asked) == 1


def forbidden(story: Story, *, had_no_effect: bool = True) -> Outcome:
    """The outcome of the next command in the queue when Digital River answers 403."""
    problem = Problem(code="forbidden", status=403) if had_no_effect else None
    return msgspec.structs.replace(unknown(story), status=403, problem=problem)


def test_a_forbidden_command_calls_a_person_and_is_asked_again_for_as_long_as_it_takes() -> None:
    """403 holds that command only: nothing is lost, and once the key has its rights the order goes on without a person's help."""
    story = placing()
    for attempt in range(1, 12):
        assert story.commands[0].attempt == attempt
        story.outcome(forbidden(story))
        assert story.attention == ["place_order: Digital River forbids it (HTTP 403): check the rights of the key"]
        assert (story.state, len(story.commands)) == ("placing", 0)
        story.fire("ask_again")
    story.answer()
    assert (story.state, story.attention, len(story.river.orders)) == ("submitted", [], 1)


def test_the_waits_of_a_forbidden_command_grow_to_an_hour() -> None:
    """A key without rights is not hammered."""
    story = placing()
    waits = []
    for _ in range(8):
        story.outcome(forbidden(story))
        assert story.order is not None
        [deadline] = story.order.deadlines
        waits.append((deadline.due - story.order.updated).total_seconds() / 60)
        story.fire("ask_again")
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_a_forbidden_look_up_calls_a_person_and_is_inquired_after() -> None:
    """The command may have run before: it is not taken for one without effect."""
    story = placing()
    story.river.answer(story.commands[0])
    story.river.facts.clear()
    story.outcome(forbidden(story, had_no_effect=False))
    assert story.attention == ["place_order: Digital River forbids it (HTTP 403): check the rights of the key"]
    story.fire("inquire")
    story.answer()
    assert (story.state, story.attention, len(story.river.orders)) == ("submitted", [], 1)


def test_an_unwanted_command_that_is_forbidden_is_forgotten() -> None:
    """Nothing was made, so there is nothing to delete."""
    story = Story()
    story.tell("checkout.requested", **cart())
    command = story.commands.popleft()
    story.tell("checkout.abandoned")
    problem = Problem(code="forbidden", status=403)
    story.outcome(
        Outcome(
            command_id=command.command_id,
            command="create_checkout",
            attempt=1,
            result="unknown",
            status=403,
            problem=problem,
        )
    )
    assert story.order is not None
    assert (story.order.commands, len(story.commands)) == ((), 0)


def test_an_unwanted_command_without_effect_is_forgotten() -> None:
    """Nothing was made, so nothing is asked again and nothing is deleted."""
    story = Story()
    story.request()
    story.tell("order.cancel_requested")
    command = story.commands.popleft()
    story.outcome(Outcome(command_id=command.command_id, command="create_checkout", attempt=1, result="absent"))
    assert story.order is not None
    assert story.order.commands == ()
    assert story.order.deadlines == ()
    assert not story.commands


@pytest.mark.parametrize("webhook_first", [True, False])
def test_a_shipment_is_counted_once_whoever_tells_it_first(webhook_first: bool) -> None:
    """The outcome, the webhook and the look-up of one fulfilment are one fact."""
    story = Story().to_placed()
    story.ship("s-1", l1=1)
    command = story.commands.popleft()
    assert isinstance(command, CreateFulfillment)
    outcome = story.river.answer(command)
    if webhook_first:
        story.report()
        assert isinstance(story.outcome(outcome), Repeated)
    else:
        story.outcome(outcome)
        story.report()
    assert story.line() == (2, 1, 0)
    assert story.order is not None
    assert [(one.shipment_id, one.capture) for one in story.order.shipments] == [("s-1", "pending")]
    assert story.order.commands == ()


def test_the_outcome_of_a_command_that_is_not_open_changes_nothing() -> None:
    """Not ours, or answered long ago."""
    story = Story().to_open()
    assert isinstance(
        story.outcome(Outcome(command_id=CommandId("?"), command="attach_source", attempt=1, result="confirmed")),
        Repeated,
    )


def test_a_reason_stays_as_long_as_it_holds_for_another_command_of_the_kind() -> None:
    """Two sources are being attached and one has no answer: the answer of the other settles nothing."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    silent = story.commands.popleft()
    story.fire("inquire")
    story.commands.clear()
    story.fire("inquire")
    assert story.attention == ["attach_source: no answer from Digital River yet"]
    story.tell("checkout.source_provided", source_id="sim-card-2")
    story.answer()
    assert story.attention == ["attach_source: no answer from Digital River yet"]
    story.outcome(story.river.answer(silent))
    assert story.attention == []


def test_only_the_command_whose_time_has_come_is_asked_again() -> None:
    """Two parcels are on their way; one of the calls has not taken effect."""
    story = Story().to_placed()
    story.ship("s-1", l1=1)
    first = story.commands.popleft()
    story.ship("s-2", l1=1)
    absent = Outcome(command_id=first.command_id, command="create_fulfillment", attempt=1, result="absent")
    story.outcome(absent)
    story.commands.clear()
    story.fire("ask_again")
    assert [(one.command_id, one.attempt) for one in story.commands] == [(first.command_id, 2)]


@pytest.mark.parametrize("times", [1, 5, 9])
def test_attempts_that_were_forbidden_do_not_count_as_without_effect(times: int) -> None:
    """The key has its rights again and one call has no answer: the order asks again, however long it was held."""
    story = placing()
    for _ in range(times):
        story.outcome(forbidden(story))
        story.fire("ask_again")
    story.outcome(unknown(story))
    story.fire("inquire")
    inquiry = story.commands.popleft()
    assert story.order is not None
    command = story.order.commands[0]
    story.outcome(
        Outcome(
            command_id=command.command_id,
            command="place_order",
            attempt=command.attempt,
            result="absent",
            inquired_by=inquiry.command_id,
        )
    )
    assert [one.step for one in story.order.commands if one.name == "place_order"] != ["stuck"]
    assert not any("without effect" in reason for reason in story.attention)
