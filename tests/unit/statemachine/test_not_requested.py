"""What Digital River has and nobody here asked for: a refund made by hand, a return of another system. Told, never silent."""

from __future__ import annotations

import msgspec
import pytest

from statemachine.aftersale.repaid import units_taken
from statemachine.messages.facts import Fact, RemoteRefund, RemoteReturn, RemoteReturnItem
from statemachine.messages.ids import RemoteItemId, RemoteRefundId, RemoteReturnId
from tests.unit.statemachine.story import Story, units
from tests.unit.statemachine.test_refunds import NOT_REQUESTED, captured
from tests.unit.statemachine.test_repaid import pay, receive
from tests.unit.statemachine.test_returns import asked, returns

RETURNS = "returns at Digital River that orderflow did not request: "


def refund(story: Story, refund_id: str, state: str = "pending") -> RemoteRefund:
    """A refund without our metadata."""
    return RemoteRefund(RemoteRefundId(refund_id), state, story.dr_order_id, 100)


def report(story: Story, one: RemoteRefund | RemoteReturn) -> None:
    """Digital River tells it in a webhook."""
    if isinstance(one, RemoteRefund):
        story.fact(Fact(type="refund.updated", dr_order_id=story.dr_order_id, refund=one))
    else:
        story.fact(Fact(type="return.updated", dr_order_id=story.dr_order_id, returned=one))


@pytest.mark.parametrize("by", ["a webhook", "a read"])
def test_a_refund_that_nobody_asked_for_is_told_by_its_id(by: str) -> None:
    """The shopper's money moves without a word from here."""
    story = captured()
    made = refund(story, "re_1")
    story.river.report_refund(story.river.orders[story.dr_order_id], made, "refund.pending")
    if by == "a webhook":
        story.report()
    else:
        story.river.facts.clear()
        story.act("refreshed")
        story.answer()
    assert story.attention == [f"{NOT_REQUESTED}re_1"]
    assert story.last["attention"] == story.attention


def test_a_refund_that_came_to_nothing_is_told_as_failed_only() -> None:
    """No money moved."""
    story = captured()
    report(story, refund(story, "re_1"))
    report(story, refund(story, "re_1", "failed"))
    assert story.attention == ["a refund failed: re_1; ask again under a new refund_id"]


def test_what_a_person_has_seen_comes_back_with_the_next_one_only() -> None:
    """Acknowledged, the same refund is told no more."""
    story = captured()
    report(story, refund(story, "re_1"))
    story.act("acknowledged")
    report(story, refund(story, "re_1", "pending_information"))
    assert story.attention == []
    report(story, refund(story, "re_2"))
    assert story.attention == [f"{NOT_REQUESTED}re_1, re_2"]


def test_many_refunds_take_one_line() -> None:
    """Five are named."""
    story = captured()
    for number in range(6):
        report(story, refund(story, f"re_{number}"))
    assert story.attention[-1] == f"{NOT_REQUESTED}re_0, re_1, re_2, re_3, re_4 and 1 more"


@pytest.mark.parametrize("first", ["refund", "return"])
def test_the_refund_of_an_accepted_return_is_expected(first: str) -> None:
    """Whichever is reported first."""
    story = captured(("1", 2, "10.00"))
    story.river.pays_back_returns = False
    asked(story, l1=1)
    if first == "return":
        receive(story, l1=1)
    pay(story, "re_1", ("1", 1, 1100))
    if first == "refund":
        assert story.attention == [f"{NOT_REQUESTED}re_1"], "nothing is to be paid back yet"
        (made,) = story.river.orders[story.dr_order_id].returns.values()
        report(story, msgspec.structs.replace(made, state="accepted"))
    assert story.attention == []


def test_our_refund_whose_webhook_comes_first_and_without_our_id_is_ours_once_it_is_answered() -> None:
    """Its answer names it."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", amount="1.00")
    answer = story.river.answer(story.commands.popleft())
    assert answer.refund is not None
    report(story, msgspec.structs.replace(answer.refund, refund_id=None, command_id=None))
    story.outcome(answer)
    assert story.attention == []


def test_a_return_that_nobody_asked_for_is_taken_and_told() -> None:
    """Its refund is then no surprise; the reason stays until a person has seen it."""
    story = captured(("1", 2, "10.00"))
    items = (RemoteReturnItem(RemoteItemId("70050030031"), 1),)
    made = RemoteReturn(RemoteReturnId("ret_1"), "created", story.dr_order_id, items)
    report(story, made)
    assert (returns(story), story.attention) == ({"ret_1": "requested"}, [f"{RETURNS}ret_1"])
    report(story, msgspec.structs.replace(made, state="accepted"))
    pay(story, "re_1", ("1", 1, 1100))
    assert story.attention == [f"{RETURNS}ret_1"]
    story.act("acknowledged")
    pay(story, "re_1", ("1", 1, 1100), state="succeeded")
    assert (returns(story), story.attention) == ({"ret_1": "accepted"}, [])


def test_a_return_of_ours_is_not_told() -> None:
    """Neither by its webhook nor by its answer."""
    story = captured(("1", 2, "10.00"))
    story.tell("order.return_requested", return_id="t-1", items=units(l1=1))
    story.answer()
    story.report()
    assert story.attention == []


@pytest.mark.parametrize("state", ["created", "accepted"])
def test_our_return_whose_webhook_comes_first_and_without_our_id_is_ours(state: str) -> None:
    """Nobody is called meanwhile; its answer names it, and it goes on where the webhook left it, its units counted once."""
    story = captured(("1", 2, "10.00"))
    story.tell("order.return_requested", return_id="t-1", items=units(l1=1))
    answer = story.river.answer(story.commands.popleft())
    assert answer.returned is not None
    report(story, msgspec.structs.replace(answer.returned, return_id=None, command_id=None, state=state))
    assert story.attention == []
    story.outcome(answer)
    assert (returns(story), story.attention) == ({"t-1": "requested" if state == "created" else "accepted"}, [])
    assert story.order is not None
    assert units_taken(story.order).returned == {"1": 1}


def test_a_refund_of_others_is_told_once_ours_is_answered() -> None:
    """That ours is on its way hides nothing for long."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", amount="1.00")
    report(story, refund(story, "re_9"))
    assert story.attention == []
    story.answer()
    assert story.attention == [f"{NOT_REQUESTED}re_9"]


def test_our_return_is_known_by_its_command_too() -> None:
    """Metadata may name the command only."""
    story = captured(("1", 2, "10.00"))
    story.tell("order.return_requested", return_id="t-1", items=units(l1=1))
    answer = story.river.answer(story.commands.popleft())
    assert answer.returned is not None
    report(story, msgspec.structs.replace(answer.returned, return_id=None))
    assert (returns(story), story.attention) == ({"t-1": "requested"}, [])


def test_our_return_that_is_being_accepted_under_the_id_of_digital_river_is_ours_once_that_is_answered() -> None:
    """The open command is about the return of that id; until its answer a person sees both."""
    story = captured(("1", 2, "10.00"))
    story.tell("order.return_requested", return_id="t-1", items=units(l1=1))
    answer = story.river.answer(story.commands.popleft())
    assert answer.returned is not None
    remote_id = answer.returned.dr_return_id
    report(story, msgspec.structs.replace(answer.returned, return_id=None, command_id=None))
    story.tell("fulfillment.return_received", return_id=remote_id, items=units(l1=1))
    story.outcome(answer)
    assert returns(story) == {remote_id: "requested", "t-1": "requested"}
    assert story.attention == [f"{RETURNS}{remote_id}"]
    story.answer()
    assert (returns(story), story.attention) == ({"t-1": "accepted"}, [])
