"""Returns: made at Digital River, accepted when all of it was received, paid back by refunds of its own."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from statemachine.messages.facts import Fact, RemoteReturn, RemoteReturnItem
from statemachine.messages.ids import RemoteItemId, RemoteReturnId
from statemachine.order.decision import Moved, Parked, Repeated
from statemachine.order.snapshot import encode_snapshot
from tests.unit.statemachine.story import Story, units
from tests.unit.statemachine.test_refunds import captured, refunds


def returns(story: Story) -> dict[str, str]:
    """State of each return, as the public snapshot has it."""
    assert story.order is not None
    found = msgspec.json.decode(encode_snapshot(story.order))["returns"]
    return {one["return_id"]: one["state"] for one in found}


def returned(story: Story, line: str = "1") -> int:
    """Returned units of a line."""
    assert story.order is not None
    return next(one.returned for one in story.order.lines if one.line == line)


def asked(story: Story, return_id: str = "t-1", **quantities: int) -> Story:
    """A return that Digital River knows."""
    assert isinstance(story.tell("order.return_requested", return_id=return_id, items=units(**quantities)), Moved)
    story.answer()
    story.report()
    return story


def test_a_whole_return_ends_in_returned() -> None:
    """Requested, received, accepted; Digital River pays it back and says itself that the order is returned."""
    story = asked(captured(), l1=2)
    assert returns(story) == {"t-1": "requested"}
    assert isinstance(story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=2)), Moved)
    story.answer()
    assert returns(story) == {"t-1": "accepted"}
    assert returned(story) == 2
    story.report()
    story.river.pay_back()
    story.report()
    assert story.state == "returned"
    assert [state for state, _ in refunds(story).values()] == ["succeeded"]
    assert story.order is not None
    assert story.order.amounts.refunded == 2200
    assert story.attention == []
    assert story.order.deadlines == ()


def test_a_return_of_a_part_leaves_the_order_complete() -> None:
    """Only Digital River's state makes an order returned."""
    story = asked(captured(), l1=1)
    story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=1))
    story.answer()
    story.river.pay_back()
    story.report()
    assert (story.state, returned(story)) == ("complete", 1)


def test_a_return_is_accepted_only_when_all_of_it_was_received() -> None:
    """Receipts add up over lines; the same one under another event id adds nothing."""
    story = asked(captured(("1", 2, "10.00"), ("2", 1, "5.00")), l1=2, l2=1)
    commands = len(story.asked)
    receipt: dict[str, Any] = {"return_id": "t-1", "receipt_id": "p-1", "items": units(l1=2)}
    assert isinstance(story.tell("fulfillment.return_received", **receipt), Moved)
    assert isinstance(story.tell("fulfillment.return_received", **receipt), Repeated)
    assert len(story.asked) == commands
    assert isinstance(story.tell("fulfillment.return_received", return_id="t-1", items=units(l2=1)), Moved)
    assert len(story.asked) == commands + 1
    story.answer()
    assert returns(story) == {"t-1": "accepted"}
    assert isinstance(story.tell("fulfillment.return_received", return_id="t-1", items=units(l2=1)), Repeated)


def test_a_receipt_before_the_return_is_known_waits() -> None:
    """Before it was requested, and before Digital River has said how it calls it."""
    story = captured()
    assert isinstance(story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=2)), Parked)
    story.tell("order.return_requested", return_id="t-1", items=units(l1=2))
    assert returns(story) == {"t-1": "requested"}
    story.answer()
    assert returns(story) == {"t-1": "accepted"}


@pytest.mark.parametrize("items", [units(l1=3), units(l2=1)])
def test_a_receipt_that_does_not_fit_is_refused(items: list[dict[str, object]]) -> None:
    """More units than are to come, or a line that is not in the return."""
    story = asked(captured(("1", 3, "10.00"), ("2", 1, "5.00")), l1=2)
    story.refuses(story.tell("fulfillment.return_received", return_id="t-1", items=items), "the return does not have")


def test_a_return_before_shipping_waits_and_more_than_that_is_refused() -> None:
    """Parked as long as the goods may still leave; never more than were ordered."""
    story = Story().to_placed()
    assert isinstance(story.tell("order.return_requested", return_id="t-1", items=units(l1=2)), Parked)
    story.refuses(story.tell("order.return_requested", return_id="t-2", items=units(l1=3)), "than were ordered")
    story.refuses(story.tell("order.return_requested", return_id="t-3", items=units(l9=1)), "does not have")
    story.ship()
    story.answer()
    assert returns(story) == {"t-1": "requested"}
    story.refuses(story.tell("order.return_requested", return_id="t-4", items=units(l1=1)), "already being returned")


def test_units_that_were_cancelled_cannot_come_back() -> None:
    """A return of more than was shipped, when nothing can be shipped any more."""
    story = Story().to_placed()
    story.ship(l1=1)
    story.tell("order.cancel_requested")
    story.answer()
    story.river.tick()
    story.report()
    assert story.state == "complete"
    story.refuses(story.tell("order.return_requested", return_id="t-1", items=units(l1=2)), "than were ordered")


def test_a_return_id_is_a_fact() -> None:
    """Again with the same content: nothing. With other content: refused."""
    story = asked(captured(), l1=1)
    assert isinstance(story.tell("order.return_requested", return_id="t-1", items=units(l1=1)), Repeated)
    story.refuses(story.tell("order.return_requested", return_id="t-1", items=units(l1=2)), "other content")


def test_a_return_that_digital_river_refuses_may_be_asked_again() -> None:
    """It is dropped, a person is called, and the same id is welcome."""
    story = captured()
    story.tell("order.return_requested", return_id="t-1", items=units(l1=2))
    story.outcome(story.river.rejected(story.commands.popleft(), "quantity_too_large", 409))
    assert returns(story) == {}
    assert story.last["problem"]["code"] == "quantity_too_large"
    assert story.attention == ["Digital River refused return t-1"]
    asked(story, l1=2)
    assert returns(story) == {"t-1": "requested"}
    assert story.attention == []


def test_an_acceptance_that_digital_river_refuses_may_be_tried_again() -> None:
    """The receipts are forgotten: the warehouse reports them again."""
    story = asked(captured(), l1=2)
    story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=2))
    story.outcome(story.river.rejected(story.commands.popleft(), "invalid_parameter", 409))
    assert returns(story) == {"t-1": "requested"}
    assert story.attention == ["Digital River did not accept return t-1; report its receipt again"]
    assert isinstance(story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=2)), Moved)
    assert story.attention == []
    story.answer()
    assert returns(story) == {"t-1": "accepted"}


def test_reports_of_a_return_in_any_order_end_the_same() -> None:
    """The refund may be reported before the return that caused it; each report may come first, and twice."""
    ends = set()
    for order in itertools.permutations(range(4)):
        story = captured()
        story.tell("order.return_requested", return_id="t-1", items=units(l1=2))
        story.answer()
        story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=2))
        answer = story.river.answer(story.commands.popleft())
        facts = [fact for _, fact in story.river.facts]
        assert [fact.type for fact in facts] == ["return.created", "refund.pending", "return.accepted"]
        story.river.facts.clear()
        for number in order:
            for _ in range(2):
                if number == 3:
                    story.outcome(answer)
                else:
                    story.fact(facts[number], f"event {number}")
        story.river.pay_back()
        story.report()
        assert story.order is not None
        assert story.order.commands == ()
        ends.add((story.state, returned(story), str(returns(story)), str(list(refunds(story).values()))))
    assert ends == {("returned", 2, "{'t-1': 'accepted'}", "[('succeeded', '22.00')]")}


def test_a_return_made_at_digital_river_goes_by_its_id() -> None:
    """By hand: its units come back, and are not asked for again."""
    story = captured()
    made = RemoteReturn(
        RemoteReturnId("ret_1"), "created", story.dr_order_id, (RemoteReturnItem(RemoteItemId("70050030031"), 1),)
    )
    story.fact(Fact(type="return.created", dr_order_id=story.dr_order_id, returned=made))
    assert returns(story) == {"ret_1": "requested"}
    assert story.order is not None
    assert [one.name for one in story.order.deadlines] == ["return"]
    story.refuses(story.tell("order.return_requested", return_id="t-1", items=units(l1=2)), "already being returned")
    story.fact(Fact(type="return.accepted", returned=msgspec.structs.replace(made, state="accepted")))
    assert (returns(story), returned(story)) == ({"ret_1": "accepted"}, 1)
    foreign = msgspec.structs.replace(made, dr_return_id="ret_2", dr_order_id="another")
    assert isinstance(story.fact(Fact(type="return.created", returned=foreign)), Repeated)


def test_a_return_in_an_unknown_state_calls_a_person() -> None:
    """Digital River may add states at any time."""
    story = captured()
    reported = RemoteReturn(
        RemoteReturnId("ret_1"), "lost", story.dr_order_id, (RemoteReturnItem(RemoteItemId("70050030031"), 2),)
    )
    story.fact(Fact(type="return.updated", dr_order_id=story.dr_order_id, returned=reported))
    assert returns(story) == {"ret_1": "requested"}
    assert story.attention == [
        "Digital River reports an unknown state of return ret_1",
        "returns at Digital River that orderflow did not request: ret_1",
    ]
    assert story.order is not None
    assert [one.name for one in story.order.deadlines] == ["return"]
    story.refuses(story.tell("order.return_requested", return_id="t-1", items=units(l1=1)), "already being returned")


def test_a_known_return_in_an_unknown_state_calls_a_person() -> None:
    """It goes on as it was."""
    story = asked(captured(), l1=2)
    (made,) = story.river.orders[story.dr_order_id].returns.values()
    reported = msgspec.structs.replace(made, state="lost")
    story.fact(Fact(type="return.updated", dr_order_id=story.dr_order_id, returned=reported))
    assert returns(story) == {"t-1": "requested"}
    assert story.attention == ["Digital River reports an unknown state of return t-1"]


def test_a_return_that_does_not_come_back_calls_a_person() -> None:
    """The wait ends once; what happens then settles it."""
    story = asked(captured(), l1=2)
    story.fire("return")
    assert story.attention == ["return t-1 is overdue: not all of it was received in time"]
    assert story.order is not None
    assert story.order.deadlines == ()
    story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=2))
    story.answer()
    assert story.attention == []


def test_a_return_or_its_acceptance_without_an_answer_is_inquired_after() -> None:
    """Never asked twice: the look-up finds it, or finds that it is not there."""
    story = captured()
    story.tell("order.return_requested", return_id="t-1", items=units(l1=2))
    story.river.answer(story.commands.popleft())
    story.river.facts.clear()
    story.fire("inquire")
    story.answer()
    assert len(story.river.orders[story.dr_order_id].returns) == 1
    story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=2))
    story.commands.clear()  # the acceptance never reaches Digital River
    story.fire("inquire")
    story.answer()
    assert returns(story) == {"t-1": "accepted"}


def test_a_confirmed_return_that_tells_nothing_calls_a_person() -> None:
    """An answer off contract."""
    story = captured()
    story.tell("order.return_requested", return_id="t-1", items=units(l1=2))
    story.outcome(msgspec.structs.replace(story.river.answer(story.commands.popleft()), returned=None))
    assert story.attention == ["Digital River confirmed a return, but its answer has none"]


def test_units_count_as_returned_only_once_they_are_shipped() -> None:
    """An accepted return may be reported before the fulfilment that shipped its units."""
    story = Story().to_placed()
    reported = RemoteReturn(
        RemoteReturnId("ret_1"), "accepted", story.dr_order_id, (RemoteReturnItem(RemoteItemId("70050030031"), 2),)
    )
    story.fact(Fact(type="return.accepted", dr_order_id=story.dr_order_id, returned=reported))
    assert returned(story) == 0
    story.ship()
    story.answer()
    assert returned(story) == 2


def test_a_return_of_an_order_that_has_ended_is_refused() -> None:
    """Nothing was shipped."""
    story = Story().to_ready()
    story.tell("order.cancel_requested")
    story.refuses(story.tell("order.return_requested", return_id="t-1", items=units(l1=1)), "nothing was shipped")
    story.refuses(story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=1)), "nothing was shipped")


def test_each_return_is_overdue_for_itself() -> None:
    """Two waits: the first is fired, the second goes on."""
    story = asked(captured(), l1=1)
    asked(story, "t-2", l1=1)
    story.fire("return")
    assert story.attention == ["return t-1 is overdue: not all of it was received in time"]
    assert story.order is not None
    assert [one.name for one in story.order.deadlines] == ["return"]


def test_a_return_is_accepted_when_what_it_pays_back_was_captured() -> None:
    """Digital River pays back what is there when it accepts the return, and nothing later: so the receipt waits."""
    story = Story().to_placed(("1", 2, "10.00"), ("2", 1, "5.00"))
    story.ship("s-1", l1=2)
    story.answer()
    story.tell("order.return_requested", return_id="t-1", items=units(l1=2))
    story.answer()
    assert isinstance(story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=2)), Parked)
    story.river.tick()
    story.report()
    assert returns(story) == {"t-1": "accepted"}
    (refund,) = story.river.orders[story.dr_order_id].refunds.values()
    assert story.river.orders[story.dr_order_id].over(refund) == 2200


def test_a_return_that_what_was_captured_pays_for_does_not_wait_for_another_parcel() -> None:
    """The second parcel is not captured yet."""
    story = Story().to_placed(("1", 2, "10.00"), ("2", 1, "5.00"))
    story.ship("s-1", l1=2)
    story.answer()
    story.river.tick()
    story.report()
    story.ship("s-2", l2=1)
    story.answer()
    story.tell("order.return_requested", return_id="t-1", items=units(l1=2))
    story.answer()
    assert isinstance(story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=2)), Moved)
    story.answer()
    story.report()
    story.tell("order.return_requested", return_id="t-2", items=units(l2=1))
    story.answer()
    assert isinstance(story.tell("fulfillment.return_received", return_id="t-2", items=units(l2=1)), Parked)
