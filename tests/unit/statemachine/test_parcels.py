"""Goods that left and that nobody would pay for: what a dispute held up is captured after it, all else calls a person."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec
import pytest

from statemachine.drafts.fulfilling import FULFILLMENT_REFUSED, PARCEL_DROPPED, REFUSED_MAX
from statemachine.messages.commands import CreateFulfillment
from statemachine.messages.facts import Fact
from statemachine.messages.ids import RemoteOrderId
from statemachine.order.decision import Moved, Repeated
from statemachine.order.snapshot import encode_snapshot
from tests.unit.statemachine.story import Story, units
from tests.unit.statemachine.test_traps import report_order


def in_flight(*items: tuple[str, int, str]) -> tuple[Story, CreateFulfillment]:
    """An order whose parcel is on its way to Digital River."""
    story = Story().to_placed(*items)
    story.river.facts.clear()
    story.tell("fulfillment.shipped", "e-ship", shipment_id="s-1", items=units(l1=2))
    command = story.commands.popleft()
    assert isinstance(command, CreateFulfillment)
    return story, command


def refuse(story: Story, command: CreateFulfillment) -> None:
    """Digital River ships nothing of an order that is disputed."""
    story.outcome(story.river.rejected(command, "order_not_submitted", 409))


def reports(story: Story, command: CreateFulfillment) -> dict[str, Callable[[], object]]:
    """What comes in about a parcel that met a dispute."""
    begin = story.river.dispute(story.dr_order_id, 1, "order.dispute", state="dispute")
    end = story.river.dispute(story.dr_order_id, 5, "order.dispute.resolved", state="accepted")
    return {
        "refused": lambda: refuse(story, command),
        "begin": lambda: story.fact(begin),
        "end": lambda: story.fact(end),
    }


@pytest.mark.parametrize("order", list(itertools.permutations(["refused", "begin", "end"])))
def test_what_left_before_a_dispute_is_captured_after_its_end(order: tuple[str, ...]) -> None:
    """In whatever order the refusal and the reports come in: asked once more, under its own id, and nobody is called."""
    story, command = in_flight()
    for name in order:
        reports(story, command)[name]()
    assert (story.state, story.attention) == ("submitted", [])
    (again,) = story.commands
    assert again == msgspec.structs.replace(command, attempt=2)
    assert isinstance(story.tell("fulfillment.shipped", "e-more", shipment_id="s-1", items=units(l1=2)), Repeated)
    story.answer()
    story.river.tick()
    story.report()
    assert (story.state, story.line(), story.attention) == ("complete", (2, 2, 0), [])
    assert len(story.river.orders[story.dr_order_id].captures) == 1


def test_all_orders_of_the_reports_end_in_the_same_bytes() -> None:
    """Less what tells only when and by which way the order came here."""
    ends = set()
    for order in itertools.permutations(["refused", "begin", "end"]):
        story, command = in_flight()
        for name in order:
            reports(story, command)[name]()
        story.answer()
        assert story.order is not None
        document = msgspec.json.decode(encode_snapshot(story.order))
        for name in ("updated", "sequence", "deadlines"):
            del document[name]
        del document["internal"]["seen"]
        document["internal"].pop("dispute_began", None)  # an end that comes first leaves nothing of its begin to tell
        ends.add(msgspec.json.encode(document))
    assert len(ends) == 1


def test_a_cancel_that_met_a_dispute_is_asked_again_too() -> None:
    """The shopper's wish holds when the dispute is over."""
    story = Story().to_placed()
    story.tell("order.cancel_requested", items=units(l1=1), cancellation_id="c-1")
    command = story.commands.popleft()
    assert isinstance(command, CreateFulfillment)
    for name in ("begin", "refused", "end"):
        reports(story, command)[name]()
    story.answer()
    assert (story.line(), story.attention) == ((2, 0, 1), [])
    assert isinstance(story.tell("order.cancel_requested", items=units(l1=1), cancellation_id="c-1"), Repeated)


def test_while_the_dispute_lasts_nobody_is_called_for_what_waits_for_its_end() -> None:
    """Also when the refusal was told first; the parcel's units can be nothing else meanwhile."""
    for names in (["begin", "refused"], ["refused", "begin"]):
        story, command = in_flight()
        for name in names:
            reports(story, command)[name]()
        assert (story.state, story.attention, list(story.commands)) == ("disputed", [], [])


def test_what_digital_river_refuses_after_the_dispute_as_well_calls_a_person() -> None:
    """It is asked again once, not for ever."""
    story, command = in_flight()
    for name in ("begin", "refused", "end"):
        reports(story, command)[name]()
    again = story.commands.popleft()
    assert isinstance(again, CreateFulfillment)
    refuse(story, again)
    assert story.attention == [f"{FULFILLMENT_REFUSED}shipment; its units are open again"]
    assert not story.commands
    reports(story, again)["end"]()
    assert not story.commands


def test_a_refusal_without_a_dispute_is_for_a_person() -> None:
    """As ever: the units are open again, and the warehouse may report the parcel anew."""
    story, command = in_flight()
    refuse(story, command)
    assert story.attention == [f"{FULFILLMENT_REFUSED}shipment; its units are open again"]
    assert isinstance(story.ship("s-1", l1=2), Moved)
    for name in ("begin", "end"):
        reports(story, command)[name]()
    assert len(story.commands) == 1, "the new report took the place of what was refused"
    story.answer()
    assert story.attention == []


def test_a_parcel_whose_units_went_another_way_before_the_dispute_ended_calls_a_person() -> None:
    """It is never asked for beyond what is open: the same units are not captured twice."""
    story, command = in_flight()
    refuse(story, command)
    story.ship("s-2", l1=1)
    story.answer()
    for name in ("begin", "end"):
        reports(story, command)[name]()
    assert not story.commands
    assert story.attention == [
        f"{FULFILLMENT_REFUSED}shipment before a dispute; its units were shipped or cancelled otherwise"
    ]


def test_of_several_refusals_only_those_before_the_dispute_s_end_are_asked_again() -> None:
    """One was refused after an earlier dispute: a person has it."""
    story, command = in_flight(("1", 4, "10.00"))
    for name in ("begin", "refused", "end"):
        reports(story, command)[name]()
    again = story.commands.popleft()
    assert isinstance(again, CreateFulfillment)
    story.ship("s-2", l1=1)
    late = story.commands.popleft()
    assert isinstance(late, CreateFulfillment)
    refuse(story, again)
    assert story.order is not None
    story.order = msgspec.structs.replace(
        story.order, commands=tuple(msgspec.structs.replace(one, dispute_ended=None) for one in story.order.commands)
    )
    refuse(story, late)
    assert [one.command_id for one in story.commands] == [late.command_id]
    assert story.attention == [f"{FULFILLMENT_REFUSED}shipment; its units are open again"]


def test_an_older_version_s_command_without_its_content_is_asked_again_all_the_same() -> None:
    """What is not remembered of it cannot be told apart, and nothing is made up."""
    story, command = in_flight()
    assert story.order is not None
    story.order = msgspec.structs.replace(story.order, facts=b"")
    for name in ("begin", "refused", "end"):
        reports(story, command)[name]()
    assert [one.command_id for one in story.commands] == [command.command_id]
    assert story.order.facts == b""


def test_an_order_keeps_only_so_many_refusals() -> None:
    """Each has called a person; its snapshot stays bounded."""
    story = Story().to_placed()
    for number in range(REFUSED_MAX + 3):
        story.ship(f"s-{number}", l1=1)
        command = story.commands.popleft()
        assert isinstance(command, CreateFulfillment)
        refuse(story, command)
    assert story.order is not None
    assert len(story.order.refused) == REFUSED_MAX
    assert len(story.attention) == 1


@pytest.mark.parametrize("state", ["cancelled"])
def test_a_parcel_whose_command_is_dropped_calls_a_person(state: str) -> None:
    """Digital River cancels the order while a parcel and a cancel are on their way: goods are gone, nobody will pay."""
    story, command = in_flight(("1", 3, "10.00"))
    story.tell("order.cancel_requested")
    cancel = story.commands.popleft()
    assert isinstance(cancel, CreateFulfillment)
    report_order(story, state, f"order.{state}")
    assert (story.state, story.attention) == ("cancelled", [PARCEL_DROPPED])
    refuse(story, command)
    refuse(story, cancel)
    assert story.attention == [PARCEL_DROPPED]


def test_a_cancel_whose_command_is_dropped_is_answered_by_that() -> None:
    """Nothing left: nobody need look."""
    story = Story().to_placed()
    story.tell("order.cancel_requested")
    report_order(story, "cancelled", "order.cancelled")
    assert (story.state, story.attention) == ("cancelled", [])


def test_a_parcel_that_was_refused_is_not_forgotten_when_its_units_are_cancelled() -> None:
    """That no unit is open any more says nothing about the goods that left."""
    story, command = in_flight()
    refuse(story, command)
    report_order(story, "cancelled", "order.cancelled")
    assert story.state == "cancelled"
    assert story.attention[0] == f"{FULFILLMENT_REFUSED}shipment; its units are open again"


def test_a_parcel_that_was_refused_is_settled_when_it_is_shipped_under_another_name() -> None:
    """All of its units are shipped, by Digital River's word."""
    story, command = in_flight()
    refuse(story, command)
    story.ship("s-2", l1=2)
    story.answer()
    assert (story.line(), story.attention) == ((2, 2, 0), [])


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("ships", [False, True])
def test_two_fulfilments_for_one_command_call_a_person(ships: bool, backwards: bool) -> None:
    """The command took effect twice, whichever of the two is reported first; each of them again changes nothing."""
    story = Story().to_placed(("1", 3, "10.00"))
    story.river.facts.clear()
    if ships:
        story.ship("s-1", l1=1)
    else:
        story.tell("order.cancel_requested", items=units(l1=1))
    answer = story.river.answer(story.commands.popleft())
    assert answer.fulfillment is not None
    twin = msgspec.structs.replace(answer.fulfillment, fulfillment_id="ful_twin")
    webhook = Fact(type="fulfillment.created", dr_order_id=story.dr_order_id, fulfillment=twin)
    if backwards:
        story.fact(webhook)
        assert story.attention == []
        same = Fact(type="fulfillment.created", dr_order_id=story.dr_order_id, fulfillment=answer.fulfillment)
        story.fact(same)
    else:
        story.outcome(answer)
        assert story.attention == []
        story.fact(webhook)
        assert isinstance(story.fact(webhook, "the same, redelivered"), Repeated)
    assert story.attention == [
        "Digital River has two fulfilments for one command; units may be captured or cancelled twice"
    ]
    assert story.line() == ((3, 2, 0) if ships else (3, 0, 2))


def test_one_fulfilment_for_each_of_two_commands_calls_nobody() -> None:
    """Two parcels."""
    story = Story().to_placed()
    story.ship("s-1", l1=1)
    story.ship("s-2", l1=1)
    story.answer()
    story.report()
    assert (story.line(), story.attention) == ((2, 2, 0), [])


def test_two_orders_for_one_checkout_call_a_person() -> None:
    """The placement took effect twice; which of them is ours does not change by it."""
    story = Story().to_placed()
    (order,) = story.river.orders.values()
    twin = msgspec.structs.replace(order.view(), dr_order_id="another")
    for _ in range(2):
        story.fact(Fact(type="order.accepted", dr_order_id=RemoteOrderId("another"), order=twin))
    assert story.attention == ["Digital River has two orders for one checkout; money may be held or taken twice"]
    assert (story.state, story.dr_order_id) == ("submitted", order.dr_order_id)
