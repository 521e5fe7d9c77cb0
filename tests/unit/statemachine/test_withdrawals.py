"""A return that does not come any more is withdrawn: ``order.return_requested`` with no items."""

from __future__ import annotations

import pytest

from statemachine.messages.facts import Fact, RemoteReturn, RemoteReturnItem
from statemachine.messages.ids import RemoteItemId, RemoteReturnId
from statemachine.order.decision import Decision, Moved, Parked, Repeated
from tests.unit.statemachine.story import Story, units
from tests.unit.statemachine.test_refunds import captured
from tests.unit.statemachine.test_repaid import CONTESTED, receive, refund
from tests.unit.statemachine.test_returns import asked, returned, returns


def withdraw(story: Story, return_id: str = "t-1") -> Decision:
    """Nothing of the return is coming any more."""
    return story.tell("order.return_requested", return_id=return_id, items=[])


def test_a_withdrawn_return_gives_its_units_back() -> None:
    """They may be refunded, and nobody waits for them; Digital River, which knows no such thing, is not asked."""
    story = asked(captured(), l1=2)
    commands = len(story.asked)
    assert isinstance(withdraw(story), Moved)
    assert returns(story) == {"t-1": "withdrawn"}
    assert len(story.asked) == commands
    assert story.order is not None
    assert story.order.deadlines == ()
    assert isinstance(withdraw(story), Repeated)
    assert isinstance(story.tell("order.return_requested", return_id="t-1", items=units(l1=2)), Repeated)
    assert isinstance(refund(story, "r-1", items=[{"line": "1"}]), Moved)
    assert story.attention == []


def test_the_units_of_a_withdrawn_return_may_come_back_in_another_one() -> None:
    """The shopper keeps one of two after all."""
    story = asked(captured(), l1=2)
    withdraw(story)
    asked(story, "t-2", l1=1)
    receive(story, "t-2", l1=1)
    assert returns(story) == {"t-1": "withdrawn", "t-2": "accepted"}
    assert returned(story) == 1


def test_a_part_of_a_return_is_paid_back_once_the_rest_is_withdrawn() -> None:
    """What keeps a return from being accepted is settled by its end."""
    story = asked(captured(("1", 2, "10.00"), ("2", 1, "10.00")), l1=1, l2=1)
    receive(story, l1=1)
    refund(story, "r-1", items=[{"line": "1", "quantity": 1}])
    receive(story, l2=1)
    assert story.attention == [CONTESTED]
    withdraw(story)
    assert story.attention == []
    refund(story, "r-2", items=[{"line": "2"}])
    assert story.order is not None
    assert story.order.amounts.refunded == 2200


def test_what_was_said_of_a_return_goes_with_it() -> None:
    """That it is overdue, or was not accepted."""
    story = asked(captured(), l1=2)
    story.fire("return")
    receive(story, l1=1)
    story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=1))
    story.outcome(story.river.rejected(story.commands.popleft(), "invalid_parameter", 409))
    assert len(story.attention) == 2
    withdraw(story)
    assert story.attention == []


def test_a_return_that_is_accepted_or_about_to_be_cannot_be_withdrawn() -> None:
    """Digital River pays it back."""
    story = asked(captured(), l1=2)
    story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=2))
    story.refuses(withdraw(story), "can no longer be withdrawn")
    story.answer()
    story.refuses(withdraw(story), "can no longer be withdrawn")
    assert returns(story) == {"t-1": "accepted"}


@pytest.mark.parametrize("before", ["requested", "answered"])
def test_a_return_may_be_withdrawn_before_digital_river_has_answered(before: str) -> None:
    """And its withdrawal may come before the request: it waits. The answer changes nothing more."""
    story = captured()
    if before == "requested":
        assert isinstance(withdraw(story), Parked)
    story.tell("order.return_requested", return_id="t-1", items=units(l1=2))
    if before == "answered":
        withdraw(story)
    assert returns(story) == {"t-1": "withdrawn"}
    story.answer()
    story.report()
    assert returns(story) == {"t-1": "withdrawn"}
    assert story.order is not None
    assert story.order.returns[0].remote_id is not None
    assert (story.order.parked, story.order.commands) == ((), ())


def test_a_withdrawn_return_that_digital_river_refuses_is_dropped_without_a_word() -> None:
    """Nothing was wanted of it any more."""
    story = captured()
    story.tell("order.return_requested", return_id="t-1", items=units(l1=2))
    withdraw(story)
    story.outcome(story.river.rejected(story.commands.popleft(), "quantity_too_large", 409))
    assert (returns(story), story.attention) == ({}, [])


def test_a_receipt_of_a_withdrawn_return_is_refused_and_calls_a_person() -> None:
    """The goods are there, and nobody pays for them by itself."""
    story = asked(captured(), l1=2)
    withdraw(story)
    story.refuses(receive(story, l1=2), "the return was withdrawn")
    assert story.attention == [
        "fulfillment.return_received was refused: the return was withdrawn, but units of it arrived"
    ]


def test_a_withdrawn_return_that_digital_river_accepts_calls_a_person() -> None:
    """Somebody accepted it there: it counts, and its units are not paid back twice."""
    story = asked(captured(), l1=2)
    withdraw(story)
    (made,) = story.river.orders[story.dr_order_id].returns.values()
    reported = RemoteReturn(
        made.dr_return_id, "accepted", story.dr_order_id, (RemoteReturnItem(RemoteItemId("70050030031"), 2),)
    )
    story.fact(Fact(type="return.accepted", dr_order_id=story.dr_order_id, returned=reported))
    assert returns(story) == {"t-1": "accepted"}
    assert story.attention == ["Digital River accepted return t-1, which was withdrawn: it will refund it"]
    assert story.order is not None
    assert [one.name for one in story.order.deadlines] == ["return"]
    story.refuses(story.tell("order.refund_requested", refund_id="r-1", items=[{"line": "1"}]), "left")


def test_a_withdrawn_return_is_accepted_under_the_id_that_is_reported_then() -> None:
    """Its own report may be the first that names it."""
    story = captured()
    story.tell("order.return_requested", return_id="t-1", items=units(l1=2))
    withdraw(story)
    reported = RemoteReturn(
        RemoteReturnId("ret_1"),
        "accepted",
        story.dr_order_id,
        (RemoteReturnItem(RemoteItemId("70050030031"), 2),),
        return_id="t-1",
    )
    story.fact(Fact(type="return.accepted", dr_order_id=story.dr_order_id, returned=reported))
    assert story.order is not None
    assert [(one.state, one.remote_id) for one in story.order.returns] == [("accepted", "ret_1")]


def test_a_withdrawn_return_in_an_unknown_state_calls_a_person() -> None:
    """It stays withdrawn."""
    story = asked(captured(), l1=2)
    withdraw(story)
    (made,) = story.river.orders[story.dr_order_id].returns.values()
    reported = RemoteReturn(made.dr_return_id, "lost", story.dr_order_id)
    story.fact(Fact(type="return.updated", dr_order_id=story.dr_order_id, returned=reported))
    assert returns(story) == {"t-1": "withdrawn"}
    assert story.attention == ["Digital River reports an unknown state of return t-1"]


def test_a_withdrawal_waits_like_its_request() -> None:
    """Before the goods have left, both wait, and both are carried out in their order."""
    story = Story().to_placed()
    assert isinstance(story.tell("order.return_requested", return_id="t-1", items=units(l1=2)), Parked)
    assert isinstance(withdraw(story), Parked)
    story.ship()
    story.answer()
    assert returns(story) == {"t-1": "withdrawn"}
    assert story.order is not None
    assert story.order.parked == ()
