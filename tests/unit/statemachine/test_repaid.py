"""Refunds and returns together: no unit is paid back twice, and no accepted return is forgotten."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from statemachine.messages.facts import Fact, RemoteRefund, RemoteRefundItem, RemoteReturn, RemoteReturnItem
from statemachine.messages.ids import RemoteItemId, RemoteRefundId, RemoteReturnId
from statemachine.order.decision import Moved, Refused, Repeated
from tests.unit.statemachine.story import Story, units
from tests.unit.statemachine.test_refunds import amount, captured, refunds
from tests.unit.statemachine.test_returns import asked, returns

NOT_PAID_BACK = "return t-1 is not paid back: Digital River accepted it, and no refund of it has come"
CONTESTED = (
    "return t-1 is not accepted: some of its lines were paid back since it was requested; "
    "withdraw it, and refund what is still owed"
)


def receive(story: Story, return_id: str = "t-1", **quantities: int) -> Any:
    """The warehouse has units of a return, and Digital River answers what follows."""
    decision = story.tell("fulfillment.return_received", return_id=return_id, items=units(**quantities))
    story.answer()
    return decision


def refund(story: Story, refund_id: str = "r-1", **data: Any) -> Any:
    """A refund is asked for, answered and paid."""
    decision = story.tell("order.refund_requested", refund_id=refund_id, **data)
    story.answer()
    story.river.pay_back()
    story.report()
    return decision


def pay(story: Story, refund_id: str, *items: tuple[str, int, int], over: int | None = None, **more: Any) -> None:
    """Digital River reports a refund of its own: of lines (line, units, money) or over an amount."""
    of = tuple(RemoteRefundItem(RemoteItemId(f"7005003003{line}"), quantity, money) for line, quantity, money in items)
    reported = RemoteRefund(
        RemoteRefundId(refund_id), more.pop("state", "pending"), story.dr_order_id, over, items=of, **more
    )
    story.fact(Fact(type="refund.pending", dr_order_id=story.dr_order_id, refund=reported))


@pytest.mark.parametrize("stage", ["asked", "open", "accepted", "paid"])
def test_units_of_a_return_are_not_left_to_refund(stage: str) -> None:
    """Asked, open, accepted or paid back: its units are taken, the others are not; of the money the same."""
    story = captured(("1", 2, "10.00"), ("2", 1, "10.00"))
    story.tell("order.return_requested", return_id="t-1", items=units(l1=1))
    if stage != "asked":
        story.answer()
    if stage in ("accepted", "paid"):
        story.river.pays_back_returns = stage == "paid"
        receive(story, l1=1)
    if stage == "paid":
        story.river.pay_back()
        story.report()
    story.refuses(story.tell("order.refund_requested", refund_id="r-1", items=[{"line": "1", "quantity": 2}]), "left")
    decision = story.tell("order.refund_requested", refund_id="r-2")
    assert isinstance(decision, Moved)
    assert story.order is not None
    assert {one.refund_id: one.taken for one in story.order.refunds}["r-2"] == 2200
    story.refuses(story.tell("order.refund_requested", refund_id="r-3", items=[{"line": "1", "quantity": 1}]), "left")


def test_a_refund_of_an_accepted_return_is_refused() -> None:
    """Digital River pays it back already."""
    story = asked(captured(("1", 1, "10.00"), ("2", 1, "10.00")), l1=1)
    receive(story, l1=1)
    for items in ([{"line": "1"}], [{"line": "1", "quantity": 1}]):
        story.refuses(story.tell("order.refund_requested", refund_id="r-1", items=items), "nothing of the line is left")
    assert isinstance(refund(story, "r-2"), Moved), "all that is left is the other line"
    story.river.pay_back()
    story.report()
    assert amount(story, "refunded") == "22.00"


def test_the_rest_of_the_order_is_what_returns_leave() -> None:
    """All that is left to refund does not take the money of a return on its way."""
    story = asked(captured(("1", 2, "10.00"), ("2", 1, "10.00")), l1=2)
    refund(story, "r-1")
    assert refunds(story) == {"r-1": ("succeeded", "11.00")}
    story.refuses(story.tell("order.refund_requested", refund_id="r-2"), "exceeds what is left")
    receive(story, l1=2)
    story.river.pay_back()
    story.report()
    assert amount(story, "refunded") == "33.00"
    assert story.attention == []


def test_a_return_whose_line_was_paid_back_meanwhile_calls_a_person() -> None:
    """Nobody can tell whether it was the returned unit that was paid back: it is not accepted, and nothing is paid twice."""
    story = asked(captured(("1", 2, "10.00"), ("2", 1, "10.00")), l1=1, l2=1)
    receive(story, l1=1)
    refund(story, "r-1", items=[{"line": "1", "quantity": 1}])
    commands = len(story.asked)
    receive(story, l2=1)
    assert len(story.asked) == commands
    assert returns(story) == {"t-1": "requested"}
    assert story.attention == [CONTESTED]
    assert amount(story, "refunded") == "11.00"


def test_money_of_a_returned_line_that_was_paid_back_meanwhile_calls_a_person() -> None:
    """An amount of the line is as good as its units: what is left of it does not pay for the return."""
    story = asked(captured(("1", 2, "10.00")), l1=2)
    assert isinstance(
        story.tell("order.refund_requested", refund_id="r-0", items=[{"line": "1", "amount": "9.00"}]), Refused
    )
    pay(story, "re_1", ("1", 0, 900), state="succeeded")
    receive(story, l1=2)
    assert story.attention == ["refunds at Digital River that orderflow did not request: re_1", CONTESTED]


def test_a_refund_before_the_return_does_not_keep_the_other_units_from_coming_back() -> None:
    """One unit was paid back, the other one is returned: it is accepted."""
    story = captured(("1", 2, "10.00"))
    refund(story, "r-1", items=[{"line": "1", "quantity": 1}])
    story.refuses(
        story.tell("order.return_requested", return_id="t-0", items=units(l1=2)), "already being returned or refunded"
    )
    asked(story, l1=1)
    receive(story, l1=1)
    story.river.pay_back()
    story.report()
    assert returns(story) == {"t-1": "accepted"}
    assert amount(story, "refunded") == "22.00"
    assert story.attention == []


def test_a_refund_that_failed_meanwhile_does_not_hinder() -> None:
    """Its units were not paid back."""
    story = asked(captured(("1", 2, "10.00")), l1=1)
    story.tell("order.refund_requested", refund_id="r-1", items=[{"line": "1", "quantity": 1}])
    story.outcome(story.river.rejected(story.commands.popleft(), "invalid_parameter", 400))
    receive(story, l1=1)
    assert returns(story) == {"t-1": "accepted"}


def test_an_accepted_return_whose_refund_does_not_come_calls_a_person() -> None:
    """After the refund's wait; the reason goes with the refund."""
    story = Story()
    story.river.pays_back_returns = False
    story.to_complete()
    asked(story, l1=2)
    receive(story, l1=2)
    assert story.order is not None
    (deadline,) = story.order.deadlines
    assert (deadline.name, deadline.due) == ("return", story.now + story.policy.refund_wait)
    story.fire("return")
    assert story.attention == [NOT_PAID_BACK]
    assert story.order.deadlines == ()
    pay(story, "re_1", ("1", 2, 2200))
    assert story.attention == []


@pytest.mark.parametrize("named", [True, False])
def test_a_return_waits_until_its_own_refund_is_known(named: bool) -> None:
    """Two returns of like units, one refund: it is the named one's, else one of them goes on waiting."""
    story = captured(("1", 2, "10.00"))
    story.river.pays_back_returns = False
    for return_id in ("t-1", "t-2"):
        asked(story, return_id, l1=1)
        receive(story, return_id, l1=1)
    assert story.order is not None
    second = story.order.returns[1]
    assert second.remote_id is not None
    pay(story, "re_1", ("1", 1, 1100))
    if named:
        reported = RemoteReturn(
            second.remote_id, "accepted", story.dr_order_id, dr_refund_ids=(RemoteRefundId("re_1"),)
        )
        story.fact(Fact(type="return.updated", dr_order_id=story.dr_order_id, returned=reported))
        assert isinstance(story.fact(Fact(type="return.updated", returned=reported), "again"), Repeated)
    waiting = [one.return_id for one in story.order.returns if one.due is not None]
    assert waiting == (["t-1"] if named else ["t-2"]) or (named and waiting == [])
    pay(story, "re_2", ("1", 1, 1100))
    assert [one.due for one in story.order.returns] == [None, None]


def test_a_return_may_be_paid_back_by_several_refunds_or_by_one_without_lines() -> None:
    """One for each line, or one over what the units cost."""
    story = captured(("1", 1, "10.00"), ("2", 2, "5.00"))
    story.river.pays_back_returns = False
    asked(story, l1=1, l2=1)
    receive(story, l1=1, l2=1)
    pay(story, "re_1", ("1", 1, 1100))
    pay(story, "re_2", ("2", 1, 550))
    story.refuses(story.tell("order.refund_requested", refund_id="r-1", items=[{"line": "2", "quantity": 2}]), "left")
    assert isinstance(refund(story, "r-2", items=[{"line": "2", "quantity": 1}]), Moved)
    other = captured(("1", 1, "10.00"), ("2", 1, "5.00"))
    other.river.pays_back_returns = False
    asked(other, l1=1)
    receive(other, l1=1)
    pay(other, "re_0", over=300)
    assert other.order is not None
    assert [one.name for one in other.order.deadlines] == ["refund", "return"], "that is another debt"
    pay(other, "re_1", over=1101)
    assert [one.name for one in other.order.deadlines] == ["refund"]


def test_units_whose_return_was_not_paid_back_may_be_refunded_again() -> None:
    """Digital River's own refund failed, a person is called, and asking for the units settles it."""
    story = Story().to_placed(method="card_refund_fail")
    story.ship()
    story.answer()
    story.river.tick()
    story.report()
    asked(story, l1=2)
    receive(story, l1=2)
    story.river.pay_back()
    story.report()
    assert len(story.attention) == 1
    assert "a refund failed: re_" in story.attention[0]
    story.river.orders[story.dr_order_id].checkout.method = "card"
    assert isinstance(refund(story, "r-1", items=[{"line": "1", "quantity": 2}]), Moved)
    assert story.attention == []
    assert amount(story, "refunded") == "22.00"
    story.refuses(story.tell("order.refund_requested", refund_id="r-2", items=[{"line": "1"}]), "left")


def test_a_failed_refund_of_a_return_without_lines_leaves_all_of_its_units() -> None:
    """It was over all of them."""
    story = captured(("1", 1, "10.00"), ("2", 1, "5.00"))
    story.river.pays_back_returns = False
    asked(story, l1=1)
    receive(story, l1=1)
    pay(story, "re_1", over=1100, state="failed")
    assert isinstance(refund(story, "r-1", items=[{"line": "1"}]), Moved)


def test_a_return_of_what_cost_nothing_or_is_paid_back_whole_waits_for_no_refund() -> None:
    """Digital River has nothing to pay."""
    story = captured(("1", 1, "10.00"), ("2", 1, "0.00"))
    asked(story, l2=1)
    receive(story, l2=1)
    assert story.order is not None
    assert story.order.deadlines == ()
    whole = captured(("1", 1, "10.00"))
    pay(whole, "re_1", over=1100, state="succeeded", refunded=1100)
    asked(whole, l1=1)
    reported = RemoteReturn(
        RemoteReturnId("ret_9"),
        "accepted",
        whole.dr_order_id,
        (RemoteReturnItem(RemoteItemId("70050030031"), 1),),
        return_id="t-9",
    )
    whole.fact(Fact(type="return.accepted", dr_order_id=whole.dr_order_id, returned=reported))
    assert whole.order is not None
    assert [one.return_id for one in whole.order.returns if one.due is not None] == ["t-1"]


def test_two_parcels_of_a_return_with_the_same_content_both_count() -> None:
    """They are two facts, by their event ids: the return is whole."""
    story = asked(captured(), l1=2)
    receive(story, l1=1)
    assert returns(story) == {"t-1": "requested"}
    receive(story, l1=1)
    assert returns(story) == {"t-1": "accepted"}
    assert isinstance(receive(story, l1=1), Repeated)


def test_a_receipt_id_names_one_parcel() -> None:
    """Again under another event id it adds nothing; with other content it is refused; another one counts."""
    story = asked(captured(("1", 3, "10.00")), l1=3)

    def parcel(receipt_id: str, quantity: int) -> Any:
        return story.tell(
            "fulfillment.return_received", return_id="t-1", receipt_id=receipt_id, items=units(l1=quantity)
        )

    assert isinstance(parcel("p-1", 1), Moved)
    assert isinstance(parcel("p-1", 1), Repeated)
    story.refuses(parcel("p-1", 2), "this receipt_id was already used with other content")
    assert isinstance(parcel("p-2", 1), Moved)
    assert isinstance(parcel("p-3", 1), Moved)
    story.outcome(story.river.rejected(story.commands.popleft(), "invalid_parameter", 409))
    assert isinstance(parcel("p-1", 3), Moved), "the receipts were forgotten, so that they can be reported again"
    story.answer()
    assert returns(story) == {"t-1": "accepted"}


def test_a_return_is_paid_back_whatever_is_reported_first() -> None:
    """The refund, the acceptance by webhook and the answer, in any order: the same order in the end."""
    ends = set()
    for first in ("refund", "return", "answer"):
        story = asked(captured(("1", 2, "10.00")), l1=1)
        story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=1))
        answer = story.river.answer(story.commands.popleft())
        reported = {"refund": story.river.facts[0][1], "return": story.river.facts[1][1]}
        story.river.facts.clear()
        for name in (first, *(one for one in ("refund", "return", "answer") if one != first)):
            if name == "answer":
                story.outcome(answer)
            else:
                story.fact(reported[name], name)
        assert story.order is not None
        ends.add(msgspec.json.encode([msgspec.structs.replace(one, due=None) for one in story.order.returns]))
        assert [one.due for one in story.order.returns] == [None]
        story.refuses(
            story.tell("order.refund_requested", refund_id="r-1", items=[{"line": "1", "quantity": 2}]), "left"
        )
    assert len(ends) == 1


def test_what_was_said_against_a_return_goes_when_digital_river_accepts_it() -> None:
    """Somebody accepted it there after all: it counts, and the question is answered."""
    story = asked(captured(("1", 2, "10.00"), ("2", 1, "10.00")), l1=1)
    refund(story, "r-1", items=[{"line": "1", "quantity": 1}])
    receive(story, l1=1)
    assert story.attention == [CONTESTED]
    (made,) = story.river.orders[story.dr_order_id].returns.values()
    reported = msgspec.structs.replace(made, state="accepted")
    story.fact(Fact(type="return.accepted", dr_order_id=story.dr_order_id, returned=reported))
    assert (returns(story), story.attention) == ({"t-1": "accepted"}, [])


def test_a_return_may_be_accepted_before_its_request_is_answered() -> None:
    """The webhook is the first that names it."""
    story = captured()
    story.tell("order.return_requested", return_id="t-1", items=units(l1=2))
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


def test_a_return_made_and_accepted_at_digital_river_waits_for_its_refund_too() -> None:
    """Nobody here asked for it, and still the shopper's money must come, or a person is called."""
    story = captured(("1", 2, "10.00"))
    items = (RemoteReturnItem(RemoteItemId("70050030031"), 1, accepted=1),)
    remote = RemoteReturn(RemoteReturnId("ret-9"), "accepted", story.dr_order_id, items=items)
    story.fact(Fact(type="return.accepted", dr_order_id=story.dr_order_id, returned=remote))
    story.fire("return")
    assert any("is not paid back" in reason for reason in story.attention)
