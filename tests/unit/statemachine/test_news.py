"""A change has news for a reader; what only the worker needs makes a snapshot and takes no sequence. What a snapshot tells."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from statemachine.messages.commands import Inquire
from statemachine.messages.facts import Outcome, Problem
from statemachine.order.decision import Moved, StateChange
from statemachine.order.snapshot import decode_snapshot, encode_snapshot
from statemachine.order.standing import KeptProblem
from tests.unit.statemachine.story import Story, cart
from tests.unit.statemachine.test_snapshot import SNAPSHOTS, document


def kept(story: Story) -> KeptProblem | None:
    """The problem in the order's snapshot."""
    assert story.order is not None
    return story.order.problem


def unknown(story: Story, *, took_effect: bool = False) -> None:
    """The outcome of the oldest command without one is not known."""
    command = story.commands.popleft()
    if took_effect:
        story.river.answer(command)
    rejected = story.river.rejected(command, "lost", 500)
    story.outcome(msgspec.structs.replace(rejected, result="unknown", problem=None))


def test_what_only_asks_a_command_takes_no_sequence() -> None:
    """A shipment is news once Digital River confirms it; the sequence has no gap between."""
    story = Story().to_placed()
    assert story.order is not None
    sequence, commands = story.order.sequence, len(story.asked)
    shipped = story.ship()
    assert isinstance(shipped, Moved)
    assert not any(isinstance(one, StateChange) for one in shipped.effects)
    assert (story.order.sequence, len(story.asked)) == (sequence, commands + 1)
    unknown(story, took_effect=True)
    assert story.order.sequence == sequence
    assert document(story)["updated"] == story.now.isoformat().replace("+00:00", "Z")
    story.fire("inquire")
    story.answer()
    assert (story.last["sequence"], story.last["changed"]) == (
        sequence + 1,
        ["state", "payment", "lines", "shipments"],
    )


def test_deadlines_that_make_no_change_have_ids_of_their_own() -> None:
    """Inquiry after inquiry without news: the sequence stays, and no command has the id of another."""
    story = Story().to_placed()
    story.ship()
    assert story.order is not None
    sequence, causes = story.order.sequence, []
    unknown(story)
    for _ in range(4):
        story.fire("inquire")
        causes.append(story.order.quiet)
        unknown(story)
    inquiries = [one.command_id for one in story.asked if isinstance(one, Inquire)]
    assert len(set(inquiries)) == len(inquiries) == 4
    assert story.order.sequence == sequence
    assert causes == sorted(set(causes))


def test_what_an_operator_did_is_news_even_when_nothing_public_changed() -> None:
    """Who and why stand in the change."""
    story = Story().to_placed()
    story.act("refreshed")
    assert (story.last["changed"], story.last["actor"], story.last["reason"]) == ([], "pat@host", "a test")


def test_a_snapshot_tells_when_the_order_was_requested_and_placed() -> None:
    """Both are times of decisions; a new cart takes the placement back, not the request."""
    story = Story()
    story.request()
    requested = story.now
    assert (document(story)["requested"], document(story)["placed"]) == ("2031-03-04T10:00:01Z", None)
    story.answer()
    story.tell("checkout.source_provided", source_id="sim-card_declined-1")
    story.answer()
    story.tell("order.placed", terms_accepted=True)
    placed = story.now
    assert story.order is not None
    assert (story.order.requested_at, story.order.placed_at) == (requested, placed)
    story.answer()
    assert story.state == "declined"
    story.tell("checkout.updated", **cart())
    assert (story.order.requested_at, story.order.placed_at) == (requested, None)


def test_lines_have_the_prices_of_the_latest_quote() -> None:
    """Absent before there is one, and again with a new cart."""
    story = Story()
    story.request(("1", 2, "10.00"), ("2", 1, "5.00"))
    assert ["amount" in line or "tax" in line for line in document(story)["lines"]] == [False, False]
    story.answer()
    assert [(line["amount"], line["tax"]) for line in document(story)["lines"]] == [("20.00", "2.00"), ("5.00", "0.50")]
    assert story.last["lines"] == document(story)["lines"]
    story.tell("checkout.updated", **cart())
    assert "amount" not in document(story)["lines"][0]


def test_a_shipment_tells_what_was_captured_for_it() -> None:
    """Absent until its capture is complete."""
    story = Story().to_placed(("1", 2, "10.00"), ("2", 1, "5.00"))
    story.ship("s-1", l1=2)
    story.answer()
    assert [one.get("captured") for one in document(story)["shipments"]] == [None]
    story.river.tick()
    story.report()
    story.ship("s-2", l2=1)
    story.answer()
    assert {one["shipment_id"]: one.get("captured") for one in document(story)["shipments"]} == {
        "s-1": "22.00",
        "s-2": None,
    }


def refused_for_a_sku(story: Story) -> None:
    """The checkout is refused because Digital River does not know a SKU yet."""
    command = story.commands.popleft()
    problem = Problem("not_found", "SKU sku-1 does not exist", status=404)
    story.outcome(
        Outcome(
            command_id=command.command_id,
            command="create_checkout",
            attempt=command.attempt,
            result="rejected",
            problem=problem,
            unknown_sku=True,
        )
    )


def test_an_order_that_waits_for_a_sku_says_so_until_it_goes_on() -> None:
    """The reason is in its snapshot; each refusal is also told in a change."""
    story = Story()
    story.request()
    refused_for_a_sku(story)
    assert (story.state, story.last["changed"]) == ("checkout_pending", ["problem"])
    assert document(story)["problem"] == {
        "code": "not_found",
        "message": "SKU sku-1 does not exist",
        "about": "create_checkout",
    }
    story.fire("ask_again")
    assert kept(story) is not None
    story.answer()
    assert (story.state, kept(story)) == ("checkout_open", None)


def test_a_refused_source_is_overcome_by_another_one() -> None:
    """Neither a new attempt nor anything else overcomes it."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    story.outcome(story.river.rejected(story.commands.popleft(), "invalid_source", 400))
    problem = kept(story)
    assert problem is not None
    assert (problem.code, problem.about) == ("invalid_source", "attach_source")
    story.tell("checkout.source_provided", source_id="sim-card-2")
    assert kept(story) == problem
    story.answer()
    assert (story.state, kept(story)) == ("checkout_ready", None)


def test_a_refused_shipment_is_overcome_by_one_that_is_confirmed() -> None:
    """The order stays where it is; its snapshot loses the problem without a change about it alone."""
    story = Story().to_placed(("1", 2, "10.00"))
    story.ship("s-1", l1=1)
    story.outcome(story.river.rejected(story.commands.popleft(), "invalid", 400))
    problem = kept(story)
    assert problem is not None
    assert problem.about == "create_fulfillment"
    story.ship("s-2", l1=2)
    assert kept(story) == problem
    story.answer()
    assert kept(story) is None


def test_an_order_that_ends_keeps_its_problem() -> None:
    """An end overcomes nothing: who looks later sees why."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    story.outcome(story.river.rejected(story.commands.popleft(), "invalid_source", 400))
    story.tell("checkout.abandoned")
    assert (story.state, kept(story) is None) == ("abandoned", False)


def test_a_failed_capture_is_a_problem_until_it_is_made_good() -> None:
    """It is about the charge, which no command of ours captures."""
    story = Story().to_placed(method="card_capture_fail")
    story.ship()
    story.answer()
    story.river.tick()
    story.report()
    assert story.order is not None
    assert story.order.payment == "capture_failed"
    problem = kept(story)
    assert problem is not None
    assert problem.about == "charge"


@pytest.mark.parametrize("name", ["awaited", "complete"])
def test_a_recorded_snapshot_of_definition_5_gets_the_prices_that_are_known(name: str) -> None:
    """Written by the code of that time, which had neither prices of lines nor captures of shipments; times are not known."""
    recorded = (SNAPSHOTS / f"definition-5-{name}.json").read_bytes()
    order = decode_snapshot(recorded)
    now: dict[str, Any] = msgspec.json.decode(encode_snapshot(order))
    then = msgspec.json.decode(recorded)
    assert (then.pop("definition"), now.pop("definition")) == (5, 6)
    assert [now.pop(one) for one in ("requested", "placed", "problem")] == [None, None, None]
    if name == "complete":
        assert [(line.pop("amount"), line.pop("tax")) for line in now["lines"]] == [("20.00", "2.00")]
        assert [one.pop("captured") for one in now["shipments"]] == ["22.00"]
    assert now == then
    assert decode_snapshot(encode_snapshot(order)) == order


def test_a_line_of_definition_5_without_a_reported_price_gets_none() -> None:
    """Nor does a shipment whose captures are not known."""
    made = msgspec.json.decode((SNAPSHOTS / "definition-5-complete.json").read_bytes())
    made["internal"]["items"][0][2:4] = [None, 0]
    made["internal"]["charges"] = []
    order = decode_snapshot(msgspec.json.encode(made))
    assert [line.amount for line in order.lines] == [msgspec.UNSET]
    assert [one.captured for one in order.shipments] == [msgspec.UNSET]


def test_looks_between_quiet_decisions_have_ids_of_their_own() -> None:
    """A look takes no sequence and is not counted as quiet; what is decided between two of them is."""
    story = Story().to_placed()
    story.ship()
    assert story.order is not None
    story.fire("reconcile")
    unknown(story)
    story.now += timedelta(days=1)
    story.fire("reconcile")
    ids = [one.command_id for one in story.asked]
    assert len(set(ids)) == len(ids)
