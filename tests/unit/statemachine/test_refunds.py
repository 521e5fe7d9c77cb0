"""Refunds: asked once, never above what is left, told by Digital River in any order."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from statemachine.decide import decide
from statemachine.errors import InvariantBroken
from statemachine.messages.facts import ChargeOperation, Fact, RemoteRefund, RemoteRefundItem
from statemachine.messages.ids import RemoteOrderId, RemoteRefundId
from statemachine.order.decision import Moved, Parked, Repeated
from statemachine.order.order import Order
from statemachine.order.snapshot import encode_snapshot
from tests.unit.statemachine.story import Story, units

NOT_REQUESTED = "refunds at Digital River that orderflow did not request: "


def refunds(story: Story) -> dict[str, tuple[str, str | None]]:
    """State and amount of each refund, as the public snapshot has them."""
    assert story.order is not None
    found = msgspec.json.decode(encode_snapshot(story.order))["refunds"]
    return {one["refund_id"]: (one["state"], one.get("amount")) for one in found}


def amount(story: Story, name: str) -> str:
    """One of the order's amounts, as the public snapshot has it."""
    assert story.order is not None
    return str(msgspec.json.decode(encode_snapshot(story.order))["amounts"][name])


def captured(*items: tuple[str, int, str], method: str = "card") -> Story:
    """A complete order."""
    story = Story().to_placed(*items, method=method)
    story.ship("s-1", **{f"l{line}": quantity for line, quantity, _ in items or (("1", 2, ""),)})
    story.answer()
    story.river.tick()
    story.report()
    return story


def test_a_refund_is_asked_answered_and_paid() -> None:
    """requested, pending, succeeded; the money is counted when it is paid back."""
    story = captured()
    assert isinstance(story.tell("order.refund_requested", refund_id="r-1", amount="5.00"), Moved)
    assert refunds(story) == {"r-1": ("requested", "5.00")}
    story.answer()
    assert refunds(story) == {"r-1": ("pending", "5.00")}
    assert amount(story, "refunded") == "0.00"
    story.report()
    story.river.pay_back()
    story.report()
    assert refunds(story) == {"r-1": ("succeeded", "5.00")}
    assert amount(story, "refunded") == "5.00"
    assert story.state == "complete", "a refund, even of all, does not make a return"
    assert story.attention == []
    assert story.order is not None
    assert story.order.deadlines == ()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"amount": "3.00"}, "3.00"),
        ({}, "33.00"),
        ({"items": [{"line": "1", "quantity": 1}]}, "11.00"),
        ({"items": [{"line": "1"}]}, "22.00"),
        ({"items": [{"line": "1", "amount": "1.50"}, {"line": "2", "quantity": 1}]}, "12.50"),
    ],
)
def test_each_style_of_request_is_carried_out(data: dict[str, Any], expected: str) -> None:
    """An amount, lines by units or money, or all that is left."""
    story = captured(("1", 2, "10.00"), ("2", 1, "10.00"))
    story.tell("order.refund_requested", refund_id="r-1", **data)
    story.answer()
    story.river.pay_back()
    story.report()
    assert refunds(story) == {"r-1": ("succeeded", expected)}
    assert amount(story, "refunded") == expected


@pytest.mark.parametrize("state", ["awaited", "checkout_open", "checkout_ready", "submitted", "shipped"])
def test_a_refund_before_the_first_completed_capture_waits(state: str) -> None:
    """Parked however early it comes, carried out with the capture."""
    story = Story()
    if state == "checkout_open":
        story.to_open()
    elif state == "checkout_ready":
        story.to_ready()
    elif state != "awaited":
        story.to_placed()
    if state == "shipped":
        story.ship()
        story.answer()
    assert isinstance(story.tell("order.refund_requested", refund_id="r-1", amount="5.00"), Parked)
    if state == "awaited":
        story.to_placed()
    elif state == "checkout_open":
        story.tell("checkout.source_provided", source_id="sim-card-1")
        story.answer()
    if state in ("checkout_open", "checkout_ready"):
        story.tell("order.placed", terms_accepted=True)
        story.answer()
    if state != "shipped":
        story.ship()
        story.answer()
    assert refunds(story) == {}
    story.river.tick()
    story.report()
    assert refunds(story)["r-1"][0] == "pending"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"amount": "22.01"}, "exceeds what is left"),
        ({"amount": "0.00"}, "must be above 0"),
        ({"amount": "5"}, "decimals of the order's currency"),
        ({"items": [{"line": "1", "amount": "5.0"}]}, "decimals of the order's currency"),
        ({"items": [{"line": "9"}]}, "a line that the order does not have"),
        ({"items": [{"line": "1", "quantity": 3}]}, "exceeds what is left"),
        ({"items": [{"line": "1", "quantity": 1}, {"line": "1", "quantity": 2}]}, "exceeds what is left"),
        ({"items": [{"line": "1", "quantity": 1, "amount": "22.01"}]}, "exceeds what is left"),
    ],
)
def test_a_refund_that_cannot_be_is_refused_with_its_reason(data: dict[str, Any], words: str) -> None:
    """Nothing is asked of Digital River, and the same id may be used again with other content."""
    story = captured()
    asked = len(story.asked)
    story.refuses(story.tell("order.refund_requested", refund_id="r-1", **data), words)
    assert len(story.asked) == asked
    assert isinstance(story.tell("order.refund_requested", refund_id="r-1", amount="22.00"), Moved)


def test_what_is_on_its_way_back_is_not_left() -> None:
    """Requested and pending refunds take their money and their units at once."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", items=[{"line": "1", "quantity": 1}])
    story.refuses(
        story.tell("order.refund_requested", refund_id="r-2", items=[{"line": "1", "quantity": 2}]), "is left"
    )
    story.refuses(story.tell("order.refund_requested", refund_id="r-3", amount="11.01"), "is left")
    assert isinstance(story.tell("order.refund_requested", refund_id="r-4"), Moved)
    story.refuses(story.tell("order.refund_requested", refund_id="r-5"), "is left")
    story.refuses(
        story.tell("order.refund_requested", refund_id="r-6", items=[{"line": "1", "amount": "1.00"}]), "left"
    )
    story.answer()
    story.river.pay_back()
    story.report()
    assert amount(story, "refunded") == "22.00"
    story.refuses(story.tell("order.refund_requested", refund_id="r-7", items=[{"line": "1"}]), "exceeds what is left")


def test_a_line_that_is_refunded_by_units_has_nothing_left() -> None:
    """All units of the line were paid back, others are left."""
    story = captured(("1", 2, "10.00"), ("2", 1, "10.00"))
    story.tell("order.refund_requested", refund_id="r-1", items=[{"line": "1"}])
    story.refuses(
        story.tell("order.refund_requested", refund_id="r-2", items=[{"line": "1"}]), "nothing of the line is left"
    )


def test_a_refund_id_is_a_fact() -> None:
    """Again with the same content under another event id: nothing. With other content: refused."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    assert isinstance(story.tell("order.refund_requested", refund_id="r-1", amount="5.00"), Repeated)
    story.refuses(
        story.tell("order.refund_requested", refund_id="r-1", amount="6.00"), "already used with other content"
    )


def test_a_failed_refund_is_asked_again_under_a_new_id() -> None:
    """A person is called until it was asked again; its money is left again."""
    story = captured(method="card_refund_fail")
    story.tell("order.refund_requested", refund_id="r-1")
    story.answer()
    story.river.pay_back()
    story.report()
    assert refunds(story) == {"r-1": ("failed", "22.00")}
    assert story.attention == ["a refund failed: r-1; ask again under a new refund_id"]
    assert story.order is not None
    assert story.order.deadlines == ()
    assert isinstance(story.tell("order.refund_requested", refund_id="r-1"), Repeated)
    assert isinstance(story.tell("order.refund_requested", refund_id="r-2"), Moved)
    assert story.attention == []
    story.river.orders[story.dr_order_id].checkout.method = "card"
    story.answer()
    story.river.pay_back()
    story.report()
    assert refunds(story) == {"r-1": ("failed", "22.00"), "r-2": ("succeeded", "22.00")}
    assert amount(story, "refunded") == "22.00"


@pytest.mark.parametrize(
    ("reported", "items", "is_settled"),
    [
        (1100, [{"line": "1", "quantity": 1}], True),
        (1101, [{"line": "1", "quantity": 1}], True),  # the lost cent
        (1100, [{"line": "1", "quantity": 2}], False),
        (1100, [{"line": "1", "amount": "11.00"}], False),
        (500, [{"line": "1", "quantity": 1}], False),
    ],
)
def test_a_failed_refund_of_digital_rivers_own_is_settled_by_asking_for_its_units(
    reported: int, items: list[dict[str, Any]], is_settled: bool
) -> None:
    """A return's refund names units and money, a request names units: it is the same debt. What is another stays owed."""
    story = captured()
    assert story.order is not None
    of_line = RemoteRefundItem(story.order.items[0].item_id, 1, reported)
    failed = RemoteRefund(RemoteRefundId("re_1"), "failed", story.dr_order_id, reported, items=(of_line,))
    story.fact(Fact(type="refund.failed", dr_order_id=story.dr_order_id, refund=failed))
    assert story.attention == ["a refund failed: re_1; ask again under a new refund_id"]
    assert isinstance(story.tell("order.refund_requested", refund_id="r-1", items=items), Moved)
    assert (story.attention == []) is is_settled


def test_a_refund_that_digital_river_refuses_has_failed() -> None:
    """The change carries its problem; what it took is left again."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1")
    story.outcome(story.river.rejected(story.commands.popleft(), "invalid_parameter", 400))
    assert refunds(story) == {"r-1": ("failed", None)}
    assert story.last["problem"]["code"] == "invalid_parameter"
    assert story.attention == ["a refund failed: r-1; ask again under a new refund_id"]
    assert isinstance(story.tell("order.refund_requested", refund_id="r-2"), Moved)


def test_a_push_payment_asks_the_shopper_for_an_account() -> None:
    """The token is in the one change that tells it, in no snapshot; its date is the deadline, which calls a person."""
    story = Story().to_placed(method="wire")
    story.river.release_payment(story.dr_order_id)
    story.report()
    story.ship()
    story.answer()
    story.river.tick()
    story.report()
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    story.answer()
    story.river.pay_back()
    story.report()
    assert story.last["refunds"] == [
        {
            "refund_id": "r-1",
            "state": "pending_information",
            "amount": "5.00",
            "token": "secret",
            "token_expires": "2031-05-04T10:00:00Z",
        }
    ]
    assert story.order is not None
    assert b"secret" not in encode_snapshot(story.order)
    assert [(one.name, one.due.isoformat()) for one in story.order.deadlines] == [
        ("refund", "2031-05-04T10:00:00+00:00")
    ]
    story.fire("refund")
    assert story.attention == ["refund r-1 is overdue: pending_information for longer than expected"]
    assert story.order.deadlines == ()
    story.river.pay_back()
    story.report()
    assert refunds(story) == {"r-1": ("succeeded", "5.00")}
    assert story.attention == []


def test_a_refund_made_at_digital_river_goes_by_its_id() -> None:
    """By hand, or for a return: it counts, and what it takes is not left."""
    story = captured()
    made = RemoteRefund(RemoteRefundId("re_1"), "succeeded", story.dr_order_id, 2000, refunded=2000)
    story.fact(Fact(type="refund.complete", dr_order_id=story.dr_order_id, refund=made))
    assert refunds(story) == {"re_1": ("succeeded", "20.00")}
    story.refuses(story.tell("order.refund_requested", refund_id="r-1", amount="2.01"), "is left")
    foreign = msgspec.structs.replace(made, dr_refund_id="re_2", dr_order_id="another")
    assert isinstance(story.fact(Fact(type="refund.complete", refund=foreign)), Repeated)


def test_the_webhook_may_be_faster_than_the_answer() -> None:
    """Then the answer changes nothing, and nothing is left open."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    outcome = story.river.answer(story.commands.popleft())
    story.river.pay_back()
    story.report()
    assert story.order is not None
    assert story.order.commands == ()
    assert isinstance(story.outcome(outcome), Repeated)
    assert refunds(story) == {"r-1": ("succeeded", "5.00")}


def test_reports_of_a_refund_in_any_order_end_the_same() -> None:
    """The answer and each webhook, in each order, with one of them twice."""
    ends = set()
    for order in itertools.permutations(range(4)):
        story = captured()
        story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
        answer = story.river.answer(story.commands.popleft())
        story.river.pay_back()
        facts = [fact for _, fact in story.river.facts]
        assert [fact.type for fact in facts] == ["refund.pending", "refund.complete", "order.refunded"]
        story.river.facts.clear()
        for number in order:
            if number == 3:
                story.outcome(answer)
            else:
                story.fact(facts[number], f"event {number}")
                story.fact(facts[number], f"event {number}")
        assert story.order is not None
        ends.add(encode_snapshot(_timeless(story.order)))
    assert len(ends) == 1


def _timeless(order: Order) -> Order:
    """Without what tells only when and in which order things came."""
    return msgspec.structs.replace(order, seen=b"", sequence=0, updated=order.updated.replace(minute=0, second=0))


@pytest.mark.parametrize("first", ["failed", "expired"])
def test_a_refund_said_to_have_failed_and_succeeded_calls_a_person(first: str) -> None:
    """Money that went out counts, whichever report comes first."""
    for order in ((first, "succeeded"), ("succeeded", first)):
        story = captured()
        for state in order:
            reported = RemoteRefund(
                RemoteRefundId("re_1"), state, story.dr_order_id, 510, refunded=500 if state == "succeeded" else 0
            )
            story.fact(Fact(type="refund.updated", dr_order_id=story.dr_order_id, refund=reported))
        assert refunds(story) == {"re_1": ("succeeded", "5.00")}
        assert sorted(story.attention) == [
            "Digital River reported refund re_1 both as succeeded and as failed",
            "refund re_1 is 5.00 at Digital River, 5.10 was requested",
            "refunds at Digital River that orderflow did not request: re_1",
        ]


def test_a_refund_in_an_unknown_state_calls_a_person() -> None:
    """It exists, so it takes its money."""
    story = captured()
    reported = RemoteRefund(RemoteRefundId("re_1"), "thinking", story.dr_order_id, 500)
    story.fact(Fact(type="refund.updated", dr_order_id=story.dr_order_id, refund=reported))
    assert refunds(story) == {"re_1": ("pending", "5.00")}
    assert story.attention == ["Digital River reports an unknown state of refund re_1", f"{NOT_REQUESTED}re_1"]
    assert story.order is not None
    assert [one.name for one in story.order.deadlines] == ["refund"]
    known = msgspec.structs.replace(reported, dr_refund_id="re_2", state="pending")
    story.fact(Fact(type="refund.pending", dr_order_id=story.dr_order_id, refund=known))
    again = msgspec.structs.replace(known, state="thinking")
    story.fact(Fact(type="refund.updated", dr_order_id=story.dr_order_id, refund=again))
    assert story.attention[1:] == [
        f"{NOT_REQUESTED}re_1, re_2",
        "Digital River reports an unknown state of refund re_2",
    ]


def test_two_refunds_at_digital_river_for_one_of_ours_call_a_person() -> None:
    """Never silently one: money may have gone out twice."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    story.answer()
    twin = RemoteRefund(RemoteRefundId("re_twin"), "pending", story.dr_order_id, 500, refund_id="r-1")
    story.fact(Fact(type="refund.pending", dr_order_id=story.dr_order_id, refund=twin))
    assert refunds(story) == {"r-1": ("pending", "5.00"), "re_twin": ("pending", "5.00")}
    assert story.attention == ["Digital River has more than one refund for r-1", f"{NOT_REQUESTED}re_twin"]


def test_more_back_than_captured_is_reported_with_its_figures_and_settles() -> None:
    """The refund's report may come before the capture's: attention, until the figures fit."""
    story = Story().to_placed()
    story.ship()
    story.answer()
    early = RemoteRefund(RemoteRefundId("re_1"), "succeeded", story.dr_order_id, 2200, refunded=2200)
    story.fact(Fact(type="refund.complete", dr_order_id=story.dr_order_id, refund=early))
    above = "more went back than was captured: 22.00 refunded and 0.00 charged back of 0.00"
    assert story.attention == [above, f"{NOT_REQUESTED}re_1"]
    story.river.tick()
    story.report()
    assert story.attention == [f"{NOT_REQUESTED}re_1"]
    assert (amount(story, "refunded"), amount(story, "captured")) == ("22.00", "22.00")


def test_charge_refunds_are_never_counted_beside_refunds() -> None:
    """Aggregated under other ids, they are the same money again."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    story.answer()
    story.river.pay_back()
    story.report()
    charge = story.river.orders[story.dr_order_id].charge()
    assert charge is not None
    reported = msgspec.structs.replace(charge, refunds=(ChargeOperation("complete", 500),))
    story.fact(Fact(type="order.charge.refund.complete", dr_order_id=story.dr_order_id, charge=reported))
    assert amount(story, "refunded") == "5.00"


def test_the_lost_cent_does_not_stop_the_last_refund() -> None:
    """Digital River's shares drift by a minor unit per line: the last line is asked for whole all the same."""
    story = captured(("1", 3, "10.00"), ("2", 1, "10.00"))
    drifted = RemoteRefund(RemoteRefundId("re_1"), "succeeded", story.dr_order_id, 1101, refunded=1101)
    story.fact(Fact(type="refund.complete", dr_order_id=story.dr_order_id, refund=drifted))
    assert isinstance(story.tell("order.refund_requested", refund_id="r-1", items=[{"line": "1"}]), Moved)


def test_a_refund_that_takes_too_long_calls_a_person_once() -> None:
    """The deadline is fired once and is settled by the end."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    story.answer()
    story.report()
    story.fire("refund")
    assert story.attention == ["refund r-1 is overdue: pending for longer than expected"]
    story.river.pay_back()
    story.report()
    assert story.attention == []


def test_a_refund_whose_outcome_is_not_known_is_inquired_after() -> None:
    """Never asked twice: the look-up finds it."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    story.river.answer(story.commands.popleft())
    story.river.facts.clear()
    story.fire("inquire")
    story.answer()
    assert refunds(story) == {"r-1": ("pending", "5.00")}
    assert len(story.river.orders[story.dr_order_id].refunds) == 1


def test_a_confirmed_refund_that_tells_nothing_calls_a_person() -> None:
    """An answer off contract."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    outcome = msgspec.structs.replace(story.river.answer(story.commands.popleft()), refund=None)
    story.outcome(outcome)
    assert story.attention == ["Digital River confirmed a refund, but its answer has none"]


@pytest.mark.parametrize("of", ["shipping", "tax", "duty"])
def test_a_part_of_the_total_is_asked_for_as_such(of: str) -> None:
    """Of shipping, tax or duty only Digital River knows how much there is."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", of=of)
    command = msgspec.json.decode(msgspec.json.encode(story.commands[0]))
    assert (command["kind"], command.get("amount")) == (of, None)
    assert refunds(story) == {"r-1": ("requested", None)}


def test_a_chargeback_leaves_less_to_refund() -> None:
    """The bank took it: it is told apart from refunds; a chargeback of nothing is its fee."""
    story = captured()
    fee = Fact(type="order.chargeback", dr_order_id=story.dr_order_id, amount=0)
    assert isinstance(story.fact(fee), Repeated)
    taken = Fact(type="order.chargeback", dr_order_id=story.dr_order_id, amount=1000)
    story.fact(taken)
    assert amount(story, "charged_back") == "10.00"
    assert story.attention == []
    story.refuses(story.tell("order.refund_requested", refund_id="r-1", amount="12.01"), "is left")
    story.fact(Fact(type="order.chargeback", dr_order_id=story.dr_order_id, amount=1300), "another event")
    assert story.attention == ["more went back than was captured: 0.00 refunded and 23.00 charged back of 22.00"]
    other = Fact(type="order.chargeback", dr_order_id=RemoteOrderId("another"), amount=1)
    assert isinstance(story.fact(other, "a third event"), Repeated)


def test_a_refund_of_an_order_that_has_ended_is_refused() -> None:
    """Nothing was captured, and nothing will be: also one that waited."""
    story = Story().to_placed()
    assert isinstance(story.tell("order.refund_requested", refund_id="r-1"), Parked)
    story.tell("order.cancel_requested", items=units(l1=2))
    story.answer()
    story.river.tick()
    story.report()
    assert story.state == "cancelled"
    assert [one.detail for one in story.set_aside] == ["the order has ended; nothing was captured"]
    story.refuses(story.tell("order.refund_requested", refund_id="r-2"), "the order has ended")


@pytest.mark.parametrize(("state", "due"), [("pending_information", "refund"), ("expired", None), ("failed", None)])
def test_a_refund_may_first_be_heard_of_in_any_state(state: str, due: str | None) -> None:
    """Its amount is known, it waits or it does not, and one that came to nothing calls a person."""
    story = captured()
    reported = RemoteRefund(RemoteRefundId("re_1"), state, story.dr_order_id, 500)
    story.fact(Fact(type="refund.updated", dr_order_id=story.dr_order_id, refund=reported))
    assert refunds(story) == {"re_1": (state, "5.00")}
    assert story.order is not None
    assert [one.name for one in story.order.deadlines] == ([] if due is None else [due])
    failed = "a refund failed: re_1; ask again under a new refund_id"
    assert story.attention == [f"{NOT_REQUESTED}re_1" if due else failed]


def test_a_refund_that_expires_waits_no_longer() -> None:
    """The shopper never named an account."""
    story = captured()
    for state in ("pending_information", "expired"):
        reported = RemoteRefund(RemoteRefundId("re_1"), state, story.dr_order_id, 500)
        story.fact(Fact(type="refund.updated", dr_order_id=story.dr_order_id, refund=reported))
    assert story.order is not None
    assert story.order.deadlines == ()


def test_each_refund_is_overdue_for_itself() -> None:
    """Two waits: the first is fired, the second goes on."""
    story = captured()
    for number, expires in enumerate(["2031-05-04T10:00:00Z", "2031-06-04T10:00:00Z"]):
        reported = RemoteRefund(
            RemoteRefundId(f"re_{number}"), "pending_information", story.dr_order_id, 500, token_expires=expires
        )
        story.fact(Fact(type="refund.pending_information", dr_order_id=story.dr_order_id, refund=reported))
    story.fire("refund")
    overdue = "refund re_0 is overdue: pending_information for longer than expected"
    assert story.attention == [f"{NOT_REQUESTED}re_0, re_1", overdue]
    assert story.order is not None
    assert [one.due.month for one in story.order.deadlines] == [6]


@pytest.mark.parametrize("expires", [None, "some day", "2031-05-04T10:00:00"])
def test_a_token_without_a_date_waits_as_long_as_the_settings_say(expires: str | None) -> None:
    """90 days: no date, none that can be read, or one without a zone."""
    story = captured()
    reported = RemoteRefund(
        RemoteRefundId("re_1"), "pending_information", story.dr_order_id, 500, token="secret", token_expires=expires
    )
    story.fact(Fact(type="refund.pending_information", dr_order_id=story.dr_order_id, refund=reported))
    assert story.order is not None
    (deadline,) = story.order.deadlines
    assert deadline.due == story.now + story.policy.refund_information_wait


def test_a_discount_of_the_whole_order_is_in_no_line() -> None:
    """Lines add up to more than the order cost: a refund of one is estimated by its share of what was paid."""
    story = captured(("1", 1, "10.00"), ("2", 1, "10.00"))
    assert story.order is not None
    story.order = msgspec.structs.replace(
        story.order, amounts=msgspec.structs.replace(story.order.amounts, total=1100, captured=1100)
    )
    assert isinstance(story.tell("order.refund_requested", refund_id="r-1", items=[{"line": "1"}]), Moved)
    assert isinstance(story.tell("order.refund_requested", refund_id="r-2", items=[{"line": "2"}]), Moved)
    assert [refund.taken for refund in story.order.refunds] == [550, 550]


def test_money_without_digital_river_s_lines_is_a_fault() -> None:
    """Captured, but Digital River never named the lines: nothing is guessed."""
    story = captured()
    assert story.order is not None
    story.order = msgspec.structs.replace(story.order, items=())
    for kind, data in (
        ("order.refund_requested", {"refund_id": "r-1", "items": [{"line": "1", "quantity": 1}]}),
        ("order.return_requested", {"return_id": "t-1", "items": units(l1=1)}),
    ):
        with pytest.raises(InvariantBroken, match="ids of"):
            decide(story.order, story.event(kind, data), now=story.now)


def test_a_token_that_comes_with_a_later_report_is_reported_then_and_once() -> None:
    """The first report named none: without the later one the shopper could never be paid back."""
    story = captured()
    first = RemoteRefund(RemoteRefundId("re_1"), "pending_information", story.dr_order_id, 500)
    story.fact(Fact(type="refund.pending_information", dr_order_id=story.dr_order_id, refund=first))
    expires = "2031-05-04T10:00:00Z"
    named = msgspec.structs.replace(first, token="secret", token_expires=expires)
    story.fact(Fact(type="refund.pending_information", dr_order_id=story.dr_order_id, refund=named), "w-2")
    (refund,) = story.last["refunds"]
    assert (refund["token"], refund["token_expires"]) == ("secret", expires)
    assert story.order is not None
    assert [one.due.isoformat() for one in story.order.deadlines] == ["2031-05-04T10:00:00+00:00"]
    assert b"secret" not in encode_snapshot(story.order)
    again = Fact(type="refund.pending_information", dr_order_id=story.dr_order_id, refund=named)
    assert isinstance(story.fact(again, "w-3"), Repeated)


@pytest.mark.parametrize(("reason", "code"), [("account_closed", "account_closed"), (None, "refund_failed")])
def test_a_refund_that_fails_later_carries_a_problem(reason: str | None, code: str) -> None:
    """As one that is refused at once does."""
    story = captured()
    story.tell("order.refund_requested", refund_id="r-1", amount="5.00")
    story.answer()
    (refund,) = story.river.orders[story.dr_order_id].refunds.values()
    failed = msgspec.structs.replace(refund, state="failed", failure_reason=reason)
    story.fact(Fact(type="refund.failed", dr_order_id=story.dr_order_id, refund=failed))
    assert story.last["problem"]["code"] == code


def test_a_part_that_is_asked_for_again_settles_the_one_that_failed() -> None:
    """How much the shipping was, only Digital River knows: it is the same debt, and another part is another one."""
    story = captured()
    failed = RemoteRefund(RemoteRefundId("re_1"), "failed", story.dr_order_id, 500, kind="shipping")
    story.fact(Fact(type="refund.failed", dr_order_id=story.dr_order_id, refund=failed))
    assert len(story.attention) == 1
    story.tell("order.refund_requested", refund_id="r-1", of="tax")
    assert len(story.attention) == 1
    story.tell("order.refund_requested", refund_id="r-2", of="shipping")
    assert story.attention == []
