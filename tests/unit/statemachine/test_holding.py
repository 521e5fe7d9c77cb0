"""A held order: what comes waits in the order of its arrival, and nothing overtakes, however the hold began."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from statemachine import decide as deciding
from statemachine.decide import decide
from statemachine.effects.effects import EFFECTS
from statemachine.errors import InvariantBroken
from statemachine.holding import hold_failed
from statemachine.machines import ORDER
from statemachine.messages.commands import CreateFulfillment
from statemachine.messages.decoding import decode
from statemachine.messages.events import Event
from statemachine.order.decision import Moved, Parked, Refused, Repeated
from statemachine.order.order import EVENT_FAILED, failed_event
from statemachine.order.policy import Policy
from statemachine.order.snapshot import decode_snapshot, encode_snapshot
from statemachine.order.standing import Hold
from statemachine.tables.machine import build_machine
from statemachine.waits.deadlines import deadline_event
from statemachine.waits.expiring import has_nothing_to_keep
from tests.unit.statemachine.story import Story, cart, units


def snapshot(story: Story) -> dict[str, Any]:
    """The order's snapshot as anybody reads it."""
    assert story.order is not None
    made: dict[str, Any] = msgspec.json.decode(encode_snapshot(story.order))
    return made


def fails(story: Story, kind: str, data: dict[str, Any], event_id: str) -> Event:
    """An event comes in whose decision fails by a fault of ours, as the lane reports it."""
    event = story.event(kind, data, event_id)
    story.now += timedelta(seconds=1)
    held = hold_failed(story.order, event, "internal error (KeyError)", now=story.now, policy=story.policy)
    story._keep(story.order, held)
    return event


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """A fault that can be repaired: ``order.placed`` fails while ``broken["placed"]``."""
    fault = {"placed": True}
    ask = EFFECTS["ask_place_order"]

    def faulty(draft: Any) -> None:
        if fault["placed"]:
            raise KeyError("personal data")
        ask(draft)

    from statemachine.effects.guards import GUARDS

    machine = build_machine(ORDER, GUARDS, {**EFFECTS, "ask_place_order": faulty})
    monkeypatch.setattr(deciding._machine, "events", machine.events)  # of the compiled build, too
    return fault


def test_a_hold_says_who_and_why_in_change_and_snapshot() -> None:
    """``held`` is public, and null when nobody holds the order."""
    story = Story().to_ready()
    assert snapshot(story)["held"] is None
    assert isinstance(story.act("held"), Moved)
    held = {"since": "2031-03-04T10:00:05Z", "actor": "pat@host", "reason": "a test"}
    assert snapshot(story)["held"] == held
    assert story.last["changed"] == ["held"]
    assert story.last["held"] == held
    assert (story.last["actor"], story.last["reason"]) == ("pat@host", "a test")
    assert story.last["cause"]["type"] == "operator.held"
    assert isinstance(story.act("held"), Repeated)
    assert isinstance(story.act("released"), Moved)
    assert story.last["held"] is None
    assert snapshot(story)["held"] is None
    assert isinstance(story.act("released"), Repeated)


def test_a_change_that_no_operator_made_names_none() -> None:
    """Old readers see what they always saw."""
    story = Story().to_ready()
    assert not {"actor", "reason", "held", "redelivered", "dropped"} & story.last.keys()


def test_what_comes_for_a_held_order_is_decided_in_the_order_of_its_arrival() -> None:
    """Platform, warehouse, Digital River's answers and reports: all wait, none is lost, none overtakes."""
    story = Story().to_ready()
    story.tell("order.placed", "e-placed", terms_accepted=True)
    story.act("held")
    changes, asked = len(story.changes), len(story.asked)
    story.answer()  # the answer to the placement, which was on its way
    story.ship("s-1", l1=1)
    while story.river.facts:
        story.fact(story.river.facts.pop(0)[1])
    story.ship("s-2", l1=1)
    assert all(isinstance(one, Parked) for one in story.decisions[-4:])
    assert (len(story.changes), len(story.asked)) == (changes, asked)
    assert [one["type"] for one in snapshot(story)["parked"]][:2] == [
        "digitalriver.order_placed",
        "fulfillment.shipped",
    ]
    assert story.state == "placing"
    assert isinstance(story.ship("s-2", l1=1), Parked)
    story.act("released")
    causes = [one["cause"]["type"] for one in story.changes[changes:]]
    assert causes[0] == "operator.released"
    assert [one for one in causes if not one.startswith("digitalriver.order.")] == [
        "operator.released",
        "digitalriver.order_placed",
    ]
    shipped = [one.shipment_id for one in story.asked[asked:] if isinstance(one, CreateFulfillment)]
    assert shipped == ["s-1", "s-2"]
    assert story.state == "submitted"
    assert story.order is not None
    assert story.order.queue == ()
    story.answer()
    assert story.line() == (2, 2, 0)


def test_an_event_that_waits_in_a_held_order_is_known() -> None:
    """The same event again changes nothing, during the hold and after it."""
    story = Story().to_open()
    story.act("held")
    assert isinstance(story.tell("checkout.source_provided", "e-1", source_id="sim-card-1"), Parked)
    assert isinstance(story.tell("checkout.source_provided", "e-1", source_id="sim-card-1"), Repeated)
    story.act("released")
    assert isinstance(story.tell("checkout.source_provided", "e-1", source_id="sim-card-1"), Repeated)


def test_what_is_too_early_at_the_release_is_parked_as_if_it_came_then() -> None:
    """Its age begins at the release; what is known or refused goes as it would have."""
    story = Story().to_open()
    story.tell("fulfillment.shipped", "early", shipment_id="s-1", items=units(l1=1))
    story.act("held")
    story.tell("order.placed", "e-placed", terms_accepted=True)
    story.tell("checkout.requested", "again", **cart())
    story.tell("order.payment_returned", "nothing")
    story.now += timedelta(days=30)
    story.act("released")
    assert story.order is not None
    assert [(one.type, one.arrived) for one in story.order.parked] == [
        ("fulfillment.shipped", story.decisions[4].order.parked[0].arrived),  # type: ignore[union-attr]
        ("order.placed", story.now),
    ]
    assert [(one.reason, one.cause.id) for one in story.set_aside] == [("refused", "again")]
    # refused: it may be sent again; the other is remembered, since it was applied
    assert isinstance(story.tell("checkout.requested", "again", **cart()), Refused)
    assert isinstance(story.tell("order.payment_returned", "nothing"), Repeated)


def test_a_refusal_with_attention_after_a_release_calls_a_person() -> None:
    """Goods may be gone: as without the hold."""
    story = Story().to_placed()
    story.act("held")
    story.ship("s-1", l1=3)
    story.act("released")
    assert story.attention == ["fulfillment.shipped was refused: more units were shipped than are open"]
    assert [one.reason for one in story.set_aside] == ["refused"]


def test_no_deadline_fires_while_an_order_is_held() -> None:
    """After the release they fire: what is due is due."""
    story = Story().to_open()
    story.act("held")
    assert story.order is not None
    (deadline,) = story.order.deadlines
    story.now = deadline.due
    assert isinstance(story.take(deadline_event(story.order, deadline)), Repeated)
    assert story.state == "checkout_open"
    story.act("released")
    assert isinstance(story.fire("abandon"), Moved)
    assert story.state == "abandoned"


def test_parked_events_of_a_held_order_wait_too() -> None:
    """An operator's move wakes nothing that would ask a command: the release does."""
    story = Story().to_complete()
    story.river.orders[story.dr_order_id].state = "dispute"
    story.fact(story.river.dispute(story.dr_order_id, 1, "order.dispute", state="dispute"))
    story.tell("order.refund_requested", refund_id="r-1", amount="1.00")
    story.act("held")
    asked = len(story.asked)
    assert isinstance(story.act("moved", to="complete"), Moved)
    assert len(story.asked) == asked
    story.act("released")
    assert [type(one).__name__ for one in story.asked[asked:]] == ["CreateRefund"]


def test_a_held_order_is_settled_by_its_release_only() -> None:
    """Settling may ask commands: shipments that were refused during a dispute go out again after the release."""
    story = Story().to_placed()
    story.ship("s-1", l1=1)
    order = story.river.orders[story.dr_order_id]
    order.state = "dispute"
    story.answer()  # refused: Digital River is in dispute
    story.fact(story.river.dispute(story.dr_order_id, 1, "order.dispute", state="dispute"))
    story.act("held")
    story.act("moved", to="submitted")
    assert not story.commands
    story.act("released")
    assert [type(one).__name__ for one in story.commands] == ["CreateFulfillment"]


def test_an_awaited_order_can_be_held_and_stays_awaited() -> None:
    """Events before the cart: the hold ends with everything decided, and the sequence of changes goes on."""
    story = Story()
    story.tell("order.placed", terms_accepted=True)
    assert isinstance(story.act("held"), Moved)
    assert (story.state, story.last["sequence"], story.last["from"]) == ("awaited", 1, "awaited")
    story.request()
    story.act("released")
    assert story.state == "checkout_pending"
    assert [one["sequence"] for one in story.changes] == [1, 2, 3]
    assert story.order is not None
    assert [one.type for one in story.order.parked] == ["order.placed"]


def test_an_order_that_nobody_has_heard_of_is_not_held() -> None:
    """A misspelt id makes no order."""
    story = Story()
    story.refuses(story.act("held"), "nothing is known")
    assert story.order is None
    story.refuses(story.act("refreshed"), "nothing is known")
    assert isinstance(story.act("released"), Repeated)
    assert isinstance(story.act("acknowledged"), Repeated)


def test_an_awaited_order_that_made_a_change_or_is_held_is_kept() -> None:
    """A tombstone would let the sequence begin anew."""
    story = Story()
    story.tell("order.placed", terms_accepted=True)
    story.act("held")
    assert story.order is not None
    bare = msgspec.structs.replace(story.order, parked=(), sequence=0)
    assert not has_nothing_to_keep(bare)
    assert not has_nothing_to_keep(msgspec.structs.replace(bare, held=None, sequence=1))
    assert has_nothing_to_keep(msgspec.structs.replace(bare, held=None))
    queue = story.order.parked
    assert not has_nothing_to_keep(msgspec.structs.replace(bare, held=None, queue=queue))


def test_the_queue_is_bounded_and_says_what_it_has_no_room_for() -> None:
    """A dead letter too_large, with attention, also for what no one else would be called about."""
    story = Story(policy=Policy(parked_max=2)).to_ready()
    story.tell("order.placed", terms_accepted=True)
    story.act("held")
    story.tell("order.refund_requested", "r-1", refund_id="r-1", amount="1.00")
    story.tell("order.refund_requested", "r-2", refund_id="r-2", amount="1.00")
    refused = story.tell("order.refund_requested", "r-3", refund_id="r-3", amount="1.00")
    assert story.refuses(refused, "the order is held and already has 2 events waiting").reason == "too_large"
    assert story.attention == ["order.refund_requested was refused: the order is held and already has 2 events waiting"]
    assert isinstance(story.tell("order.refund_requested", "r-4", refund_id="r-4", amount="1.00"), Refused)
    story.answer()
    assert isinstance(story.decisions[-1], Parked), "an answer to a command has room of its own"


def test_room_is_kept_for_what_digital_river_answers() -> None:
    """Senders may not fill the snapshot so far that an answer is lost; more than all of it is refused."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    story.act("held")
    story.policy = Policy(held_bytes_max=3000, answers_bytes=2500)
    reason = "x" * 250
    assert isinstance(story.tell("order.cancel_requested", reason=reason), Refused)
    story.answer()
    assert isinstance(story.decisions[-1], Parked)
    story.policy = Policy(held_bytes_max=100, answers_bytes=0)
    assert isinstance(story.fact(story.river.facts.pop(0)[1]), Refused)


def test_a_new_cart_that_has_no_room_at_the_release_is_a_dead_letter() -> None:
    """As if it came then."""
    story = Story().to_open()
    story.act("held")
    story.tell("checkout.updated", **cart(("1", 1, "1.00")))
    story.policy = Policy(held_bytes_max=10)
    story.act("released")
    assert [one.reason for one in story.set_aside] == ["too_large"]
    assert story.state == "checkout_open"


def test_an_event_that_fails_holds_its_order_and_nothing_overtakes() -> None:
    """It is first in the queue; after the repair it goes on in order."""
    story = Story().to_ready()
    fails(story, "order.placed", {"terms_accepted": True}, "e-placed")
    made = snapshot(story)
    reason = "order.placed failed: internal error (KeyError)"
    assert (made["held"]["actor"], made["held"]["reason"]) == ("orderflow", reason)
    assert story.attention == [reason]
    assert story.last["changed"] == ["attention", "held"]
    assert isinstance(story.tell("order.placed", "e-placed", terms_accepted=True), Repeated)
    story.ship("s-1", l1=2)
    assert story.order is not None
    entry = failed_event(story.order)
    assert entry is not None
    assert (entry.type, [one.type for one in story.order.queue]) == (
        "order.placed",
        ["order.placed", "fulfillment.shipped"],
    )
    story.act("released")
    assert story.state == "placing"
    assert story.attention == []
    assert story.set_aside == []
    assert [one.type for one in story.order.parked] == ["fulfillment.shipped"]
    story.answer()
    assert story.line() == (2, 2, 0)


def test_the_first_event_of_an_order_that_fails_makes_an_awaited_order_that_is_held() -> None:
    """Else what comes after it would overtake it."""
    story = Story()
    fails(story, "checkout.requested", cart(), "e-cart")
    assert (story.state, story.last["sequence"]) == ("awaited", 1)
    story.tell("checkout.source_provided", source_id="sim-card-1")
    story.act("released")
    assert story.state == "checkout_pending"
    story.answer()
    assert story.state == "checkout_ready"


def test_an_event_that_fails_again_holds_again_without_a_second_letter(broken: dict[str, bool]) -> None:
    """A release without a repair changes nothing but two lines in the history."""
    story = Story().to_ready()
    fails(story, "order.placed", {"terms_accepted": True}, "e-placed")
    story.ship("s-1", l1=2)
    for _ in range(2):
        story.act("released")
        assert story.order is not None
        assert story.order.held is not None
        assert story.order.failed == EVENT_FAILED
        assert [one.type for one in story.order.queue] == ["order.placed", "fulfillment.shipped"]
    assert story.set_aside == []
    assert story.attention == ["order.placed failed: KeyError"]
    broken["placed"] = False
    story.act("released")
    story.answer()
    assert story.line() == (2, 2, 0)
    assert story.attention == []


def test_a_queued_event_that_fails_at_the_release_holds_the_order_again(broken: dict[str, bool]) -> None:
    """What was decided before it stands; it gets its dead letter, the others wait on."""
    story = Story().to_open()
    story.act("held")
    story.tell("checkout.source_provided", source_id="sim-card-1")
    story.act("released")
    story.answer()
    story.act("held")
    story.tell("order.payment_returned", "first")
    story.tell("order.placed", "second", terms_accepted=True)
    story.ship("s-1", l1=2)
    story.act("released")
    assert [(one.reason, one.cause.id) for one in story.set_aside] == [("failed", "second")]
    assert story.order is not None
    assert story.order.held is not None
    assert story.order.held.actor == "orderflow"
    assert [one.type for one in story.order.queue] == ["order.placed", "fulfillment.shipped"]
    assert "personal" not in str(story.changes)
    broken["placed"] = False
    story.act("released")
    assert story.state == "placing"


def test_a_parked_event_that_fails_when_it_is_woken_holds_the_order(broken: dict[str, bool]) -> None:
    """It is first in the queue, before what comes later."""
    story = Story().to_open()
    story.tell("order.placed", "e-placed", terms_accepted=True)
    story.tell("checkout.source_provided", source_id="sim-card-1")
    story.answer()
    assert story.state == "checkout_ready"
    assert [(one.reason, one.cause.id) for one in story.set_aside] == [("failed", "e-placed")]
    assert story.order is not None
    assert failed_event(story.order) is not None
    assert story.order.parked == ()
    broken["placed"] = False
    story.act("released")
    assert story.state == "placing"


def test_the_failed_event_can_be_dropped_by_its_name() -> None:
    """The release says which: another one that fails meanwhile is never dropped by mistake."""
    story = Story().to_ready()
    event = fails(story, "order.placed", {"terms_accepted": True}, "e-placed")
    story.ship("s-1", l1=1)
    story.refuses(story.act("released", drop={"id": "e-other", "source": "/shop"}), "not the one that failed")
    story.refuses(story.act("released", drop={"id": "e-placed", "source": "/other"}), "not the one that failed")
    story.act("released", drop={"id": event.id, "source": event.source})
    assert story.state == "checkout_ready"
    assert story.order is not None
    assert story.order.held is None
    assert story.order.failed is None
    assert story.attention == []
    released = next(one for one in story.changes if one["cause"]["type"] == "operator.released")
    assert released["dropped"] == {"type": "order.placed", "id": "e-placed", "source": "/shop"}
    assert [one.type for one in story.order.parked] == ["fulfillment.shipped"]
    # its dead letter can be sent again
    assert isinstance(story.tell("order.placed", "e-placed", terms_accepted=True), Moved)


def test_nothing_is_dropped_from_an_order_whose_events_did_not_fail() -> None:
    """A hold by a person has no failed event."""
    story = Story().to_ready()
    story.act("held")
    story.tell("order.placed", "e-placed", terms_accepted=True)
    story.refuses(story.act("released", drop={"id": "e-placed", "source": "/shop"}), "not the one that failed")


def test_a_deadline_that_fails_holds_its_order_and_fires_again_after_the_release() -> None:
    """It stays: an order must not lose the end of its wait to a fault of ours."""
    story = Story().to_open()
    assert story.order is not None
    event = deadline_event(story.order, story.order.deadlines[0])
    held = hold_failed(story.order, event, "internal error (KeyError)", now=story.now, policy=story.policy)
    story._keep(story.order, held)
    assert str(story.order.failed) == "abandon"
    assert story.attention == ["deadline abandon failed: internal error (KeyError)"]
    assert failed_event(story.order) is None
    story.act("released")
    assert story.attention == []
    assert not story.order.failed
    story.fire("abandon")
    assert story.state == "abandoned"


def test_a_deadline_that_fails_can_be_dropped() -> None:
    """Only that one, by the name that it has as an event."""
    story = Story().to_open()
    assert story.order is not None
    event = deadline_event(story.order, story.order.deadlines[0])
    held = hold_failed(story.order, event, "internal error (KeyError)", now=story.now, policy=story.policy)
    story._keep(story.order, held)
    story.refuses(story.act("released", drop={"id": "inquire:5", "source": event.source}), "not the one that failed")
    story.refuses(story.act("released", drop={"id": event.id, "source": "/shop"}), "not the one that failed")
    story.act("released", drop={"id": event.id, "source": event.source})
    assert story.order.deadlines == ()
    assert story.last["dropped"] == "abandon"
    assert story.attention == ["deadline abandon was dropped: what it ends has no end of its own any more"]
    assert story.order.failed is None


def test_an_operator_s_act_that_fails_is_not_queued() -> None:
    """Nothing has to follow it: it is a dead letter, and the order goes on."""
    story = Story().to_open()
    event = story.event("operator.acknowledged", {"actor": "pat@host", "reason": "a test"})
    held = hold_failed(story.order, event, "internal error (KeyError)", now=story.now, policy=story.policy)
    assert held.order.held is None
    assert held.order.queue == ()
    assert held.order.attention == ("operator.acknowledged failed: internal error (KeyError)",)


def test_a_queued_act_that_fails_is_a_dead_letter_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh that waited: the order is not held for it."""
    story = Story().to_placed()
    story.act("held")
    story.act("refreshed")
    story.ship("s-1", l1=1)

    def faulty(_: Any) -> None:
        raise InvariantBroken("of a test")

    from statemachine.effects.guards import GUARDS

    machine = build_machine(ORDER, GUARDS, {**EFFECTS, "ask_reread": faulty})
    monkeypatch.setattr(deciding._machine, "events", machine.events)
    story.act("released")
    assert [one.reason for one in story.set_aside] == ["failed"]
    assert story.attention == ["operator.refreshed failed: of a test"]
    assert story.order is not None
    assert story.order.held is None
    assert [type(one).__name__ for one in story.commands] == ["CreateFulfillment"]


def test_a_failed_event_without_room_is_only_in_its_letter() -> None:
    """The order holds all the same, and says so."""
    story = Story().to_ready()
    event = story.event("order.placed", {"terms_accepted": True}, "e-placed")
    for policy, room in ((story.policy, False), (Policy(held_bytes_max=10), True)):
        held = hold_failed(story.order, event, "of a test", now=story.now, policy=policy, room=room)
        assert held.order.held is not None
        assert held.order.queue == ()
        assert held.order.failed is None
        assert "only its dead letter has it" in held.order.attention[-1]


def test_a_fault_of_an_order_that_is_held_already_leaves_its_hold() -> None:
    """Who held it, and why, stays."""
    story = Story().to_ready()
    story.act("held")
    event = story.event("order.placed", {"terms_accepted": True}, "e-placed")
    held = hold_failed(story.order, event, "of a test", now=story.now, policy=story.policy)
    assert held.order.held is not None
    assert held.order.held.actor == "pat@host"


def test_a_held_order_survives_its_snapshot() -> None:
    """Queue, failed event and hold; and a queue that is longer than what is parked is no snapshot."""
    story = Story().to_open()
    story.tell("order.placed", "early", terms_accepted=True)
    fails(story, "checkout.source_provided", {"source_id": "sim-card-1"}, "e-1")
    assert story.order is not None
    assert (len(story.order.parked), len(story.order.queue), story.order.failed) == (1, 1, EVENT_FAILED)
    assert isinstance(story.order.held, Hold)
    encoded = encode_snapshot(story.order)
    assert decode_snapshot(encoded) == story.order
    made = msgspec.json.decode(encoded)
    made["internal"]["queued"] = 3
    with pytest.raises(InvariantBroken):
        decode_snapshot(msgspec.json.encode(made))


def test_an_event_without_a_record_cannot_be_queued() -> None:
    """A dead letter has to repeat its record."""
    story = Story().to_open()
    story.act("held")
    event = msgspec.structs.replace(story.event("order.placed", {"terms_accepted": True}), record=None)
    with pytest.raises(InvariantBroken):
        decide(story.order, event, now=story.now)


def test_a_redelivered_record_is_decided_as_if_it_had_come_now() -> None:
    """The change names the operator and the event; the event itself is remembered, too."""
    story = Story().to_ready()
    event = story.event("order.placed", {"terms_accepted": True}, "e-placed")
    assert event.record is not None
    assert isinstance(story.redeliver(event.record, "again"), Moved)
    assert story.state == "placing"
    cause = story.last["cause"]
    assert (cause["type"], cause["id"]) == ("operator.redelivered", "again")
    assert (story.last["actor"], story.last["reason"]) == ("pat@host", "a test")
    assert story.last["redelivered"] == {"type": "order.placed", "id": "e-placed", "source": "/shop"}
    assert isinstance(story.take(event), Repeated)
    assert isinstance(story.redeliver(event.record, "once more"), Repeated)


def test_a_record_that_was_applied_changes_nothing_when_it_is_redelivered() -> None:
    """The same fact, whoever brings it."""
    story = Story().to_ready()
    event = story.event("order.placed", {"terms_accepted": True}, "e-placed")
    story.take(event)
    assert event.record is not None
    assert isinstance(story.redeliver(event.record), Repeated)


def test_a_redelivered_record_that_is_too_early_is_parked_with_its_operator() -> None:
    """It is tried under its own type, and its change says who brought it."""
    story = Story().to_open()
    event = story.event("order.placed", {"terms_accepted": True}, "e-placed")
    assert event.record is not None
    assert isinstance(story.redeliver(event.record, "again"), Parked)
    assert snapshot(story)["parked"][0]["type"] == "order.placed"
    assert isinstance(story.take(event), Repeated)
    story.tell("checkout.source_provided", source_id="sim-card-1")
    story.answer()
    changed = next(one for one in story.changes if one["to"] == "placing")
    assert changed["cause"]["type"] == "operator.redelivered"
    assert changed["actor"] == "pat@host"


def test_a_record_redelivered_to_a_held_order_queues_behind() -> None:
    """Also when it is an act that would be applied at once."""
    story = Story().to_ready()
    story.act("held")
    story.ship("s-1", l1=2)
    event = story.event("order.placed", {"terms_accepted": True}, "e-placed")
    release = story.event("operator.released", {"actor": "pat@host", "reason": "a test"}, "e-release")
    assert event.record is not None
    assert release.record is not None
    assert isinstance(story.redeliver(event.record, "again"), Parked)
    assert isinstance(story.take(event), Repeated)
    assert isinstance(story.redeliver(release.record), Parked)
    story.act("released")
    assert story.state == "placing"
    story.answer()
    assert story.line() == (2, 2, 0)


def test_a_redelivered_record_that_fails_holds_with_itself_first() -> None:
    """Both marks are remembered: neither the event nor the operator's is taken twice."""
    story = Story().to_ready()
    inner = story.event("order.placed", {"terms_accepted": True}, "e-placed")
    assert inner.record is not None
    story.redeliver(msgspec.structs.replace(inner.record, topic="order-events"), "x")
    fresh = Story().to_ready()
    event = fresh.event("operator.redelivered", msgspec.json.decode(story_data(inner.record)), "again")
    held = hold_failed(fresh.order, event, "of a test", now=fresh.now, policy=fresh.policy)
    assert isinstance(decide(held.order, event, now=fresh.now), Repeated)
    assert isinstance(decide(held.order, inner, now=fresh.now), Repeated)
    assert held.order.held is not None
    assert held.order.queue[0].type == "order.placed"


def story_data(record: Any) -> bytes:
    """The data of an event that redelivers ``record``."""
    taken: list[Event] = []
    story = Story()
    story.take = taken.append  # type: ignore[method-assign, assignment]  # a listening ear
    story.redeliver(record)
    assert taken[0].record is not None
    data: object = msgspec.json.decode(taken[0].record.value or b"")["data"]
    return msgspec.json.encode(data)


def test_decoding_a_parked_redelivery_gives_the_same_event() -> None:
    """The operator's record is what the order keeps."""
    story = Story().to_open()
    event = story.event("order.placed", {"terms_accepted": True}, "e-placed")
    assert event.record is not None
    story.redeliver(event.record, "again")
    assert story.order is not None
    again = decode(story.order.parked[0].record)
    assert (again.type, again.id, again.cause.type) == ("order.placed", "e-placed", "operator.redelivered")
