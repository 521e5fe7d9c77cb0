"""What an operator does to an order: read it again, acknowledge, move it along its edges, see to commands that were given up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from statemachine.checker import check
from statemachine.errors import DecodeError
from statemachine.messages.commands import Inquire, name_of
from statemachine.messages.decoding import decode, redelivered_in
from statemachine.messages.envelope import Record
from statemachine.messages.facts import ChargeOperation, Fact, Outcome, RemoteCharge
from statemachine.messages.ids import ChargeId
from statemachine.messages.operator_events import OPERATOR_EVENT_TYPES, OPERATOR_EVENTS
from statemachine.order.decision import Moved, Parked, Refused, Repeated
from statemachine.order.order import Deadline, OpenCommand, State
from statemachine.order.policy import Policy
from statemachine.order.states import ALL, BEFORE_PLACING
from statemachine.tables.life_cycle import RULES
from statemachine.tables.rules import OPERATOR_MOVE
from tests.unit.statemachine.river import River
from tests.unit.statemachine.story import Story, record, units
from tests.unit.statemachine.test_refunds import captured, refunds
from tests.unit.statemachine.test_returns import asked as return_asked
from tests.unit.statemachine.test_returns import returns
from tests.unit.statemachine.test_table import order_in

ACT = {"actor": "pat@host", "reason": "a test"}


def given_up(story: Story, name: str) -> OpenCommand:
    """The open command ``name``, given up: nothing is done about it any more."""
    assert story.order is not None
    command = next(one for one in story.order.commands if one.name == name)
    stuck = msgspec.structs.replace(command, step="stuck", due=None)
    left = tuple(stuck if one is command else one for one in story.order.commands)
    attention = f"{name}: its outcome at Digital River could not be determined"
    deadlines = tuple(one for one in story.order.deadlines if one.name != "inquire")
    story.order = msgspec.structs.replace(story.order, commands=left, attention=(attention,), deadlines=deadlines)
    story.published["attention"] = [attention]
    return stuck


# Where they are read


@pytest.mark.parametrize("kind", [*OPERATOR_EVENTS])
def test_an_operator_s_event_comes_through_the_inbox_only(kind: str) -> None:
    """A sender of a public topic cannot make one, nor forward one."""
    for topic, headers in (("order-events", ()), ("orderflow.inbox", (("orderflow-origin", b"order-events/0/1"),))):
        made = msgspec.structs.replace(record(kind, {**ACT, "to": "x"}, topic=topic), headers=headers)
        with pytest.raises(DecodeError, match="is not known on order-events"):
            decode(made)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"reason": "x"}, "data.actor: is missing"),
        ({"actor": "x"}, "data.reason: is missing"),
        ({"actor": "", "reason": "x"}, "data.actor: must have at least 1"),
        ({"actor": "x", "reason": "y" * 201}, "data.reason: must have at most 200"),
        ({**ACT, "atention": ["x"]}, "did you mean attention"),
    ],
)
def test_an_act_names_its_actor_and_reason_and_nothing_unknown(data: dict[str, Any], words: str) -> None:
    """A misspelt member would do more than was meant."""
    with pytest.raises(DecodeError, match=words):
        decode(record("operator.acknowledged", data))


def redelivery(**more: Any) -> Record:
    """A record of the inbox that delivers another one again."""
    data: dict[str, Any] = {
        **ACT,
        "topic": "order-events",
        "partition": 0,
        "offset": 7,
        "key": "QS0x",
        "value": None,
        "headers": [],
    }
    return record("operator.redelivered", data | more)


@pytest.mark.parametrize(
    ("more", "reason", "words"),
    [
        ({"topic": "catalog-events"}, "invalid", "data.topic: must be one of checkout-events"),
        ({"key": "QS0y"}, "invalid", "data.key: must be the record's key"),
        ({"key": None}, "invalid", "data.key: must be the record's key"),
        ({"key": "?"}, "invalid", "data.key: is not Base64"),
        ({"headers": [["h", "?"]]}, "invalid", r"data.headers\[0\]: is not Base64"),
        ({}, "undecodable", "value: is empty"),
        ({"value": "e30="}, "undecodable", "not a CloudEvent"),
    ],
)
def test_a_redelivery_that_cannot_be_is_told_like_the_record_in_it(
    more: dict[str, Any], reason: str, words: str
) -> None:
    """The fault is the inner record's where there is one."""
    with pytest.raises(DecodeError, match=words) as raised:
        decode(redelivery(**more))
    assert raised.value.reason == reason


def test_a_redelivery_is_never_delivered_again_itself() -> None:
    """The record in it is what a dead letter has."""
    from base64 import b64encode

    inner = redelivery()
    assert inner.value is not None
    outer = redelivery(topic="orderflow.inbox", value=b64encode(inner.value).decode())
    with pytest.raises(DecodeError, match="is itself a record"):
        decode(outer)
    assert redelivered_in(outer) is None


def test_the_record_in_a_redelivery_comes_out_byte_for_byte() -> None:
    """With its first coordinates and headers; other records have none in them."""
    again = redelivered_in(redelivery(value="AP8=", headers=[["trace", "AA=="], ["none", None]]))
    assert again is not None
    inner, act = again
    assert inner == Record("order-events", 0, 7, b"A-1", b"\x00\xff", (("trace", b"\x00"), ("none", None)))
    assert (act.actor, act.reason) == ("pat@host", "a test")
    assert redelivered_in(record("operator.held", ACT)) is None
    assert redelivered_in(record("order.placed", {"terms_accepted": True})) is None
    assert redelivered_in(msgspec.structs.replace(redelivery(), value=b"no event")) is None


# Every state has its answer

#: Columns as in ``ALL``: m(oved), s(ame), r(efused), for an order that is not held.
EXPECTED = {
    "operator.held": "r" + "m" * 16,
    "operator.released": "s" * 17,
    "operator.refreshed": "r" + "m" * 16,
    "operator.acknowledged": "s" * 17,
    "operator.command_retried": "r" * 17,
    "operator.command_dropped": "r" * 17,
}


@pytest.mark.parametrize("kind", list(EXPECTED))
def test_every_act_has_its_answer_in_every_state(kind: str) -> None:
    """One letter for each cell."""
    answers = ""
    for state in ALL:
        story = Story()
        story.order = order_in(state)
        if state in BEFORE_PLACING or state == "declined":
            story.order = msgspec.structs.replace(story.order, placed=True)
        command = {"command_id": "c-1"} if "command" in kind else {}
        event = story.event(kind, {**ACT, **command})
        from statemachine.decide import decide

        decision = decide(story.order, event, now=story.now)
        answers += {"Moved": "m", "Parked": "p", "Repeated": "s", "Refused": "r"}[type(decision).__name__]
    assert answers == EXPECTED[kind]


def test_every_act_is_expected_somewhere() -> None:
    """The list above, and the edges below, leave none out."""
    assert sorted([*EXPECTED, OPERATOR_MOVE]) == sorted(OPERATOR_EVENT_TYPES)


#: Every edge for operators. One more needs a reason in the table, and a test of its money and units here.
EDGES = {
    ("checkout_pending", "abandoned"), ("checkout_open", "abandoned"), ("checkout_ready", "abandoned"),
    ("checkout_rejected", "abandoned"), ("placing", "checkout_rejected"), ("pending_payment", "cancelled"),
    ("fulfilled", "complete"), ("complete", "returned"), ("disputed", "submitted"), ("disputed", "fulfilled"),
    ("disputed", "complete"), ("disputed", "returned"),
}  # fmt: skip


def test_the_edges_for_operators_are_these_and_each_has_its_reason() -> None:
    """An edge without a reason does not pass the checker."""
    edges = [rule for rule in RULES if rule.trigger == OPERATOR_MOVE and rule.verdict == "move"]
    assert {(source, rule.target) for rule in edges for source in rule.sources} == EDGES
    bare = tuple(msgspec.structs.replace(rule, detail="") if rule in edges else rule for rule in RULES)
    assert "operator.moved: an edge for operators to returned without a reason" in check(bare)


@pytest.mark.parametrize("state", ALL)
def test_no_order_moves_where_no_edge_leads(state: State) -> None:
    """Every other state is refused, and so is a word that is none."""
    for to in (*ALL, "nowhere"):
        if (state, to) in EDGES:
            continue
        story = Story()
        story.order = order_in(state)
        if state == "disputed":
            story.order = msgspec.structs.replace(story.order, disputed_from="submitted")
        decision = story.act("moved", to=to)
        assert isinstance(decision, Repeated if to == state else Refused), to


def test_a_checkout_that_nobody_wants_is_abandoned_and_deleted() -> None:
    """Nothing was placed; a held order asks nothing, so it must be released first."""
    story = Story().to_open()
    story.act("held")
    story.refuses(story.act("moved", to="abandoned"), "release it first")
    story.refuses(story.act("moved", to="complete"), "no edge")
    story.act("released")
    story.act("moved", to="abandoned")
    assert story.state == "abandoned"
    assert [name_of(one) for one in story.commands] == ["delete_checkout"]
    assert (story.last["actor"], story.last["cause"]["type"]) == ("pat@host", "operator.moved")


def test_a_placement_that_was_given_up_makes_room_for_another_checkout() -> None:
    """Not before it was given up, and never when an order is known; an order that shows up after all calls a person."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    story.refuses(story.act("moved", to="checkout_rejected"), "still being asked or looked up")
    outcome = story.river.answer(story.commands.popleft())
    given_up(story, "place_order")
    assert story.order is not None
    known = msgspec.structs.replace(story.order.digital_river, order_id="dr-1")
    unsure, story.order = story.order, msgspec.structs.replace(story.order, digital_river=known)
    story.refuses(story.act("moved", to="checkout_rejected"), "still being asked or looked up")
    story.order = unsure
    story.refuses(story.act("moved", to="complete"), "no edge")
    assert isinstance(story.act("moved", to="checkout_rejected"), Moved)
    assert (story.state, story.order.commands, story.attention) == ("checkout_rejected", (), [])
    story.outcome(outcome)
    assert story.state == "checkout_rejected"
    assert story.attention == ["Digital River says that its order is accepted, here it is checkout_rejected"]


def test_a_wire_that_never_came_is_cancelled_with_all_its_units() -> None:
    """Money that comes after all is a contradiction, and no refund is lost over it."""
    story = Story().to_placed(method="wire")
    assert story.state == "pending_payment"
    story.refuses(story.act("moved", to="complete"), "no edge")
    assert isinstance(story.act("moved", to="cancelled"), Moved)
    assert (story.state, story.line(), story.last["payment"]) == ("cancelled", (2, 0, 2), "failed")
    assert story.order is not None
    assert story.order.remote_state == "pending_payment", "Digital River did not say that it cancelled"
    story.river.release_payment(story.dr_order_id)
    story.report()
    assert story.attention == ["Digital River says that its order is accepted, here it is cancelled"]


def test_an_order_whose_money_is_held_is_not_cancelled_by_a_move() -> None:
    """The money would stay with Digital River, and nobody would look."""
    story = Story().to_placed(method="wire")
    held = RemoteCharge(ChargeId("ch-1"), "capturable", 2200, dr_order_id=story.dr_order_id)
    story.fact(Fact(type="order.charge.capturable", dr_order_id=story.dr_order_id, charge=held))
    story.refuses(story.act("moved", to="cancelled"), "holds or took money")


def fulfilled(capture: str = "complete") -> Story:
    """An order whose captures ended as told, but whose sums do not add up to its charge."""
    story = Story(river=River()).to_placed()
    story.ship()
    story.answer()
    order = story.river.orders[story.dr_order_id]
    order.captures = [msgspec.structs.replace(one, state=capture, amount=one.amount - 500) for one in order.captures]
    story.fact(Fact(type="order.charge.captured", dr_order_id=story.dr_order_id, charge=order.charge()))
    assert story.state == "fulfilled"
    return story


def test_an_order_whose_money_has_stopped_is_closed_with_what_was_captured() -> None:
    """Amounts stay what Digital River reported, and the difference calls a person."""
    story = fulfilled()
    assert story.order is not None
    amounts = story.order.amounts
    assert isinstance(story.act("moved", to="complete"), Moved)
    assert (story.state, story.order.amounts, story.last["payment"]) == ("complete", amounts, "captured")
    assert story.order.remote_state != "complete"


@pytest.mark.parametrize("capture", ["pending", "failed"])
def test_an_order_whose_money_moves_is_not_closed(capture: str) -> None:
    """A capture that fails or is pending may still be repeated."""
    story = fulfilled(capture)
    story.refuses(story.act("moved", to="complete"), "pending or has failed")


def test_an_order_with_a_parcel_whose_capture_is_not_known_is_not_closed() -> None:
    """Nothing is claimed that was not reported."""
    story = Story().to_placed()
    story.ship()
    story.answer()
    assert story.order is not None
    assert [one.capture for one in story.order.shipments] == ["pending"]
    story.order = msgspec.structs.replace(story.order, charges=())
    story.refuses(story.act("moved", to="complete"), "pending or has failed")


def test_an_order_of_which_all_came_back_is_returned() -> None:
    """Every shipped unit, and not one before."""
    story = return_asked(captured(), l1=2)
    story.refuses(story.act("moved", to="returned"), "not every unit")
    story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=2))
    story.answer()
    story.refuses(story.act("moved", to="fulfilled"), "no edge")
    assert isinstance(story.act("moved", to="returned"), Moved)
    assert story.state == "returned"
    # a dispute ends there, too, although Digital River's order never was returned
    story.fact(story.river.dispute(story.dr_order_id, 1, "order.dispute", state="dispute"))
    assert story.state == "disputed"
    story.fact(story.river.dispute(story.dr_order_id, 2, "order.dispute.resolved", state="complete"))
    assert story.state == "returned"


def test_an_order_of_which_nothing_was_shipped_is_not_returned() -> None:
    """Nothing can come back."""
    story = captured()
    assert story.order is not None
    lines = tuple(msgspec.structs.replace(one, shipped=0, cancelled=one.ordered) for one in story.order.lines)
    story.order = msgspec.structs.replace(story.order, lines=lines)
    story.refuses(story.act("moved", to="returned"), "not every unit")


@pytest.mark.parametrize("state", ["submitted", "fulfilled", "complete", "returned"])
def test_a_dispute_ends_where_it_began(state: State) -> None:
    """And nowhere else; an older report of its begin counts no more."""
    story = captured() if state != "submitted" else Story().to_placed()
    assert story.order is not None
    story.order = msgspec.structs.replace(story.order, state=state, deadlines=(), remote_state=None)
    begin = story.river.dispute(story.dr_order_id, 1, "order.dispute", state="dispute")
    story.fact(begin, "begin")
    assert story.state == "disputed"
    for other in ("submitted", "fulfilled", "complete", "returned"):
        if other != state:
            story.refuses(story.act("moved", to=other), "no edge")
    amounts, lines = story.order.amounts, story.order.lines
    story.now += timedelta(days=400)
    story.act("held")  # so that nothing is settled: this is the move alone
    assert isinstance(story.act("moved", to=state), Moved)
    assert (story.state, story.order.amounts, story.order.lines) == (state, amounts, lines)
    assert story.order.disputed_from is None
    story.act("released")
    before = story.state
    story.fact(begin, "begin again")
    assert story.state == before


def test_a_later_end_of_a_dispute_is_not_forgotten() -> None:
    """Its time, by Digital River's clock, stays the newest."""
    story = captured()
    story.fact(story.river.dispute(story.dr_order_id, 1, "order.dispute", state="dispute"))
    assert story.order is not None
    later = story.now + timedelta(days=1)
    story.order = msgspec.structs.replace(story.order, dispute_ended=later)
    story.act("moved", to="complete")
    assert story.order.dispute_ended == later


# Attention


def test_reasons_are_taken_off_one_by_one_or_all() -> None:
    """By their text, exactly; what is not there changes nothing."""
    story = Story().to_placed()
    assert story.order is not None
    story.order = msgspec.structs.replace(story.order, attention=("one", "two", "three"))
    assert isinstance(story.act("acknowledged", attention=["four"]), Repeated)
    story.act("acknowledged", attention=["two", "four"])
    assert story.attention == ["one", "three"]
    assert (story.last["changed"], story.last["actor"]) == (["attention"], "pat@host")
    story.act("acknowledged")
    assert story.attention == []
    assert isinstance(story.act("acknowledged"), Repeated)


def test_what_follows_from_money_stays_acknowledged_until_its_figures_change() -> None:
    """A new one comes back by itself, the same one does not."""
    story = fulfilled()
    story.act("moved", to="complete")
    order = story.river.orders[story.dr_order_id]
    order.charge_state = "complete"
    story.fact(Fact(type="order.charge.captured", dr_order_id=story.dr_order_id, charge=order.charge()))
    (reason,) = story.attention
    assert reason.startswith("the order is closed with less captured")
    story.act("acknowledged")
    assert story.attention == []
    story.tell("order.refund_requested", refund_id="r-1", amount="1.00")
    assert story.attention == [], "the same reason came back"
    order.captures = [msgspec.structs.replace(one, amount=one.amount - 100) for one in order.captures]
    order.captures.append(msgspec.structs.replace(order.captures[0], id="other", amount=50))
    story.fact(Fact(type="order.charge.captured", dr_order_id=story.dr_order_id, charge=order.charge()))
    assert len(story.attention) == 1
    assert story.attention != [reason]
    assert story.order is not None
    assert reason not in story.order.acknowledged


def test_a_failed_capture_that_was_acknowledged_comes_back_when_it_fails_anew() -> None:
    """While it is the same fault it stays off; once it was overcome, the next one is new."""
    story = Story().to_placed(method="card_capture_fail")
    story.ship()
    story.answer()
    story.river.tick()
    story.report()
    assert "capture failed" in story.attention
    story.act("acknowledged")
    story.tell("order.return_requested", return_id="t-1", items=units(l1=1))
    charge = story.river.orders[story.dr_order_id].view().charges[0]
    story.fact(Fact(type="order.charge.capture.failed", dr_order_id=story.dr_order_id, charge=charge), "again")
    assert story.attention == []
    assert story.order is not None
    assert list(story.order.acknowledged) == ["capture failed"]
    story.river.recover(story.dr_order_id)
    story.report()
    assert list(story.order.acknowledged) == []


def test_a_failed_capture_that_was_acknowledged_stays_off_when_another_one_is_reported() -> None:
    """The report is news, and its failed capture is the one that a person knows."""
    story = Story().to_placed(method="card_capture_fail")
    story.ship()
    story.answer()
    story.river.tick()
    story.report()
    story.act("acknowledged")
    charge = story.river.orders[story.dr_order_id].view().charges[0]
    more = (*charge.captures, ChargeOperation("complete", 1, id="another"))
    charge = msgspec.structs.replace(charge, captures=more)
    assert isinstance(
        story.fact(Fact(type="order.charge.capture.complete", dr_order_id=story.dr_order_id, charge=charge)), Moved
    )
    assert "capture failed" not in story.attention


def test_acknowledged_reasons_are_bounded() -> None:
    """As many as an order has reasons."""
    story = Story(policy=Policy(attention_max=3)).to_placed()
    for name in "abcde":
        assert story.order is not None
        story.published.pop("attention", None)
        story.order = msgspec.structs.replace(story.order, attention=(name,))
        story.act("acknowledged")
    assert story.order is not None
    assert story.order.acknowledged == ("c", "d", "e")
    story.order = msgspec.structs.replace(story.order, attention=("d",))
    story.published.pop("attention", None)
    story.act("acknowledged")
    assert story.order.acknowledged == ("c", "e", "d")


# Reading everything again


def lost_everything() -> Story:
    """An order of whose parcels, refunds and returns no report came."""
    story = captured()
    story.tell("order.return_requested", return_id="t-1", items=units(l1=1))
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    for command in list(story.commands):
        story.river.answer(command)
    story.commands.clear()
    story.river.facts.clear()
    return story


def test_a_refresh_reads_order_parcels_refunds_and_returns() -> None:
    """All of it in one change, as if each had been reported; the commands that they answer are closed."""
    story = lost_everything()
    assert isinstance(story.act("refreshed"), Moved)
    assert [name_of(one) for one in story.commands] == ["reread_order"]
    assert isinstance(story.act("refreshed"), Repeated)
    story.answer()
    assert refunds(story) == {"r-1": ("pending", "5.00")}
    assert returns(story) == {"t-1": "requested"}
    assert story.order is not None
    assert [one.remote_id is not None for one in story.order.returns] == [True]
    assert story.order.commands == ()
    assert story.attention == []


def test_a_refresh_finds_parcels_and_the_state() -> None:
    """A shipment whose answer and webhook were lost."""
    story = Story().to_placed()
    story.ship()
    story.river.answer(story.commands.popleft())
    story.river.tick()
    story.river.facts.clear()
    story.act("refreshed")
    story.answer()
    assert story.line() == (2, 2, 0)
    assert story.state == "complete"


def test_a_refresh_finds_an_order_whose_placement_was_given_up() -> None:
    """By its checkout."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    story.river.answer(story.commands.popleft())
    story.river.facts.clear()
    given_up(story, "place_order")
    story.act("refreshed")
    story.answer()
    assert story.state == "submitted"
    assert story.order is not None
    assert story.order.commands == ()


def test_a_refresh_of_what_digital_river_does_not_have_says_so() -> None:
    """The placement never arrived: the change carries the problem, and the order stays."""
    story = Story().to_ready()
    story.refuses(story.act("refreshed"), "none was placed")
    story.tell("order.placed", terms_accepted=True)
    story.commands.clear()
    story.act("refreshed")
    story.answer()
    assert story.state == "placing"
    assert story.last["problem"]["code"] == "not_found"
    assert story.order is not None
    assert [one.name for one in story.order.commands] == ["place_order"]


def test_a_refresh_that_was_given_up_can_be_asked_for_again() -> None:
    """The new one replaces it."""
    story = Story().to_placed()
    story.act("refreshed")
    given_up(story, "reread_order")
    story.commands.clear()
    assert isinstance(story.act("refreshed"), Moved)
    assert [name_of(one) for one in story.commands] == ["reread_order"]
    story.answer()
    assert story.order is not None
    assert story.order.commands == ()


def test_an_answer_without_an_order_calls_a_person() -> None:
    """Nothing is guessed."""
    story = Story().to_placed()
    story.act("refreshed")
    command = story.commands.popleft()
    story.outcome(Outcome(command_id=command.command_id, command="reread_order", attempt=1, result="confirmed"))
    assert story.attention == ["Digital River confirmed a command, but its answer has no order"]


# Commands that were given up


def test_a_command_that_was_given_up_is_looked_up_before_it_is_asked_again() -> None:
    """It may have run: an inquiry first, then the next attempt with the same id."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    story.commands.clear()
    stuck = given_up(story, "place_order")
    assert isinstance(story.act("command_retried", command_id=stuck.command_id), Moved)
    assert story.attention == []
    assert [type(one) for one in story.commands] == [Inquire]
    story.answer()
    story.fire("ask_again")
    story.answer()
    assert story.state == "submitted"
    assert len(story.river.orders) == 1


def test_a_retried_command_gets_all_its_inquiries_and_attempts_again() -> None:
    """Those before do not count."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    story.commands.clear()
    stuck = given_up(story, "place_order")
    assert story.order is not None
    worn = msgspec.structs.replace(stuck, attempt=5, inquiries=5)
    story.order = msgspec.structs.replace(story.order, commands=(worn,))
    story.act("command_retried", command_id=stuck.command_id)
    (again,) = story.order.commands
    assert (again.inquiries, again.excused, again.step) == (1, 5, "unknown")


def test_a_reason_stays_while_another_command_of_the_kind_is_given_up() -> None:
    """It is about that one, too."""
    story = Story().to_placed()
    story.ship("s-1", l1=1)
    story.ship("s-2", l1=1)
    first = given_up(story, "create_fulfillment")
    assert story.order is not None
    both = tuple(msgspec.structs.replace(one, step="stuck", due=None) for one in story.order.commands)
    story.order = msgspec.structs.replace(story.order, commands=both)
    story.act("command_retried", command_id=first.command_id)
    assert len(story.attention) == 1


def test_only_a_command_that_was_given_up_is_retried_or_dropped() -> None:
    """One that is under way is not touched."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    assert story.order is not None
    open_id = story.order.commands[0].command_id
    for kind in ("command_retried", "command_dropped"):
        for command_id in (open_id, "another"):
            story.refuses(story.act(kind, command_id=command_id), "no command with this id that was given up")


def test_a_dropped_checkout_leaves_the_order_open_for_another_cart() -> None:
    """It waits for the shopper again."""
    story = Story()
    story.request()
    story.commands.clear()
    stuck = given_up(story, "create_checkout")
    story.act("command_dropped", command_id=stuck.command_id)
    assert (story.state, story.attention) == ("checkout_rejected", [])
    assert story.order is not None
    assert story.order.commands == ()
    assert [one.name for one in story.order.deadlines] == ["abandon"]


def test_a_dropped_checkout_that_nobody_wanted_any_more_moves_nothing() -> None:
    """Another cart has replaced it."""
    story = Story()
    story.request()
    story.tell("checkout.updated", **msgspec.json.decode(story.order.commands[0].payload)["cart"])  # type: ignore[union-attr]
    assert story.order is not None
    old, new = story.order.commands
    assert (old.wanted, new.wanted) == (False, True)
    stuck = given_up(story, "create_checkout")
    assert stuck.command_id == old.command_id
    story.act("command_dropped", command_id=old.command_id)
    assert story.state == "checkout_pending"
    assert [one.command_id for one in story.order.commands] == [new.command_id]


@pytest.mark.parametrize("held", [False, True])
def test_a_dropped_placement_needs_another_checkout(held: bool) -> None:
    """It is never placed twice; also on a held order, because nothing is asked."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    story.commands.clear()
    stuck = given_up(story, "place_order")
    if held:
        story.act("held")
    story.act("command_dropped", command_id=stuck.command_id)
    assert story.state == "checkout_rejected"
    assert not story.commands
    assert story.order is not None
    assert story.order.commands == ()


def test_a_dropped_placement_of_an_order_that_went_on_moves_nothing() -> None:
    """Only ``placing`` waits for it."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    story.commands.clear()
    stuck = given_up(story, "place_order")
    assert story.order is not None
    wait = Deadline("overdue", story.now + timedelta(days=7))
    story.order = msgspec.structs.replace(story.order, state="submitted", deadlines=(wait,))
    story.act("command_dropped", command_id=stuck.command_id)
    assert story.state == "submitted"
    assert story.order.commands == ()


def test_units_of_a_dropped_shipment_are_open_again() -> None:
    """The same shipment_id may be reported again, with other content, too; if the first took effect it is counted."""
    story = Story().to_placed()
    story.ship("s-1", l1=2)
    outcome = story.river.answer(story.commands.popleft())
    story.river.facts.clear()
    stuck = given_up(story, "create_fulfillment")
    story.act("command_dropped", command_id=stuck.command_id)
    assert isinstance(story.ship("s-1", l1=1), Moved)
    story.outcome(outcome)
    assert story.line() == (2, 2, 0)


def test_a_dropped_refund_has_failed() -> None:
    """It takes nothing of what is left; when it was paid after all, it counts."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    outcome = story.river.answer(story.commands.popleft())
    stuck = given_up(story, "create_refund")
    story.act("command_dropped", command_id=stuck.command_id)
    assert refunds(story) == {"r-1": ("failed", "5.00")}
    assert story.order is not None
    assert story.order.commands == ()
    story.river.facts.clear()
    paid = msgspec.structs.replace(outcome.refund, state="succeeded", refunded=500)  # type: ignore[type-var]
    story.fact(Fact(type="refund.complete", dr_order_id=story.dr_order_id, refund=paid))
    assert refunds(story) == {"r-1": ("succeeded", "5.00")}
    assert story.order is not None
    assert story.order.amounts.refunded == 500


def test_a_dropped_return_was_never_asked_for() -> None:
    """The same return_id may be sent again, with other content."""
    story = captured()
    story.tell("order.return_requested", return_id="t-1", items=units(l1=1))
    story.commands.clear()
    stuck = given_up(story, "create_return")
    story.act("command_dropped", command_id=stuck.command_id)
    assert returns(story) == {}
    assert story.order is not None
    assert story.order.commands == ()
    assert isinstance(story.tell("order.return_requested", return_id="t-1", items=units(l1=2)), Moved)


def test_a_dropped_acceptance_calls_for_the_receipt_again() -> None:
    """As when Digital River does not accept the return."""
    story = return_asked(captured(), l1=2)
    story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=2))
    story.commands.clear()
    stuck = given_up(story, "accept_return")
    story.act("command_dropped", command_id=stuck.command_id)
    assert story.order is not None
    assert story.order.commands == ()
    assert any("report its receipt again" in one for one in story.attention)


def test_any_other_command_is_simply_given_up() -> None:
    """A source, a deletion, a refresh: nothing is owed for them."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    story.commands.clear()
    stuck = given_up(story, "attach_source")
    story.act("command_dropped", command_id=stuck.command_id)
    assert (story.state, story.attention) == ("checkout_open", [])
    assert story.order is not None
    assert story.order.commands == ()


def test_a_refresh_and_a_retry_of_a_held_order_wait() -> None:
    """They ask commands, and a held order asks none."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    story.commands.clear()
    stuck = given_up(story, "place_order")
    story.act("held")
    assert isinstance(story.act("refreshed"), Parked)
    assert isinstance(story.act("command_retried", command_id=stuck.command_id), Parked)
    assert isinstance(story.act("acknowledged"), Moved)
    assert not story.commands
    story.act("released")
    assert [name_of(one) for one in story.commands] == ["reread_order", "inquire"]
