"""Digital River's figures and ours: where they differ a person is told both, and nobody once they agree again."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations
from typing import Any

import msgspec
import pytest

from statemachine.messages.facts import Fact, RemoteCharge, RemoteDocument, RemoteRefund
from statemachine.messages.ids import ChargeId, RemoteOrderId, RemoteRefundId
from statemachine.order.decision import Parked, Repeated
from tests.unit.statemachine.story import Story, units


def report_order(story: Story, state: str, kind: str = "order.updated", **more: Any) -> Any:
    """Digital River says that its order is in ``state``."""
    (order,) = story.river.orders.values()
    order.state = state
    remote = msgspec.structs.replace(order.view(), **more)
    return story.fact(Fact(type=kind, dr_order_id=order.dr_order_id, order=remote))


def refunded(story: Story, state: str, amount: int | None, paid: int = 0, refund_id: str | None = None) -> Fact:
    """A report of the refund ``re_1``."""
    remote = RemoteRefund(RemoteRefundId("re_1"), state, story.dr_order_id, amount, refunded=paid, refund_id=refund_id)
    return Fact(type=f"refund.{state}", dr_order_id=story.dr_order_id, refund=remote)


def test_money_paid_back_there_that_no_refund_here_explains_calls_a_person_until_one_does() -> None:
    """order.refunded may come before the refund that it counts; both orders end in the same bytes."""
    ends = set()
    for first in (True, False):
        story = Story().to_complete()
        if first:
            report_order(story, "complete", "order.refunded", refunded=500)
            assert story.attention == [
                "more was paid back at Digital River than the refunds known here: 5.00 of 0.00",
            ]
        story.fact(refunded(story, "succeeded", 500, 500))
        if not first:
            report_order(story, "complete", "order.refunded", refunded=500)
        assert story.order is not None
        assert (story.order.amounts.refunded, story.order.remote_refunded) == (500, 0)
        ends.add(story.order.attention)
    assert ends == {("refunds at Digital River that orderflow did not request: re_1",)}


def test_a_smaller_figure_that_comes_late_does_not_hide_what_is_not_explained() -> None:
    """Reports come in any order; the largest stands."""
    story = Story().to_complete()
    report_order(story, "complete", "order.refunded", refunded=900)
    report_order(story, "complete", "order.refunded", refunded=300)
    assert story.attention == ["more was paid back at Digital River than the refunds known here: 9.00 of 0.00"]
    story.fact(refunded(story, "succeeded", 400, 400))
    assert story.attention == [
        "more was paid back at Digital River than the refunds known here: 9.00 of 4.00",
        "refunds at Digital River that orderflow did not request: re_1",
    ]


def test_an_authorisation_below_the_order_calls_a_person_until_the_rest_is_authorised() -> None:
    """What is captured can never be more."""
    story = Story().to_placed()
    charge = story.river.orders[story.dr_order_id].charge()
    assert charge is not None
    small = RemoteCharge(ChargeId("cha-2"), "capturable", 500, dr_order_id=story.dr_order_id)
    story.fact(Fact(type="order.charge.capturable", charge=small))
    assert story.attention == []  # two charges, more than enough
    other = Story().to_ready()
    other.tell("order.placed", terms_accepted=True)
    answer = other.river.answer(other.commands.popleft())
    assert answer.order is not None
    low = tuple(msgspec.structs.replace(one, amount=500) for one in answer.order.charges)
    other.outcome(msgspec.structs.replace(answer, order=msgspec.structs.replace(answer.order, charges=low)))
    assert other.attention == ["less is authorised than the order costs: 5.00 of 22.00"]
    more = RemoteCharge(ChargeId("cha-2"), "capturable", 1700, dr_order_id=other.dr_order_id)
    other.fact(Fact(type="order.charge.capturable", charge=more))
    assert other.attention == []


def test_other_units_there_than_were_ordered_call_a_person() -> None:
    """Nothing is shipped on a misunderstanding without somebody knowing."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    answer = story.river.answer(story.commands.popleft())
    assert answer.order is not None
    items = tuple(msgspec.structs.replace(one, quantity=1) for one in answer.order.items)
    story.outcome(msgspec.structs.replace(answer, order=msgspec.structs.replace(answer.order, items=items)))
    assert story.attention == ["Digital River has 1 units of a line of which 2 were ordered"]


def test_a_refund_that_paid_back_another_amount_than_was_asked_calls_a_person() -> None:
    """The money there counts, and both figures are told."""
    story = Story().to_complete()
    story.tell("order.refund_requested", refund_id="r1", amount="10.00")
    story.commands.clear()
    story.fact(refunded(story, "succeeded", 1000, 100, "r1"))
    assert story.order is not None
    assert story.order.amounts.refunded == 100
    assert story.attention == ["refund r1 is 1.00 at Digital River, 10.00 was requested"]


def test_an_order_overdue_here_that_is_further_there_says_so() -> None:
    """Complete at Digital River, nothing shipped here: told with its figures, and again when the authorisation is old."""
    story = Story().to_placed()
    report_order(story, "complete", "order.complete")
    open_units = "Digital River closed its order with units open here: 2 of 2"
    assert (story.state, story.attention) == ("submitted", [open_units])
    story.fire("overdue")
    overdue = "overdue: submitted for longer than expected; Digital River says complete"
    assert story.attention == [open_units, overdue]


@pytest.mark.parametrize(
    ("fact", "counted"),
    [
        ({"amount": 1250}, "12.50"),
        ({"major": Decimal("12.5")}, "12.50"),
        ({"major": Decimal("12.505")}, "12.51"),
        ({"amount": 0}, "0.00"),
        ({"major": Decimal("0.0")}, "0.00"),
    ],
)
def test_a_chargeback_counts_in_the_order_s_currency_unless_it_is_the_fee(fact: dict[str, Any], counted: str) -> None:
    """Documented are the order and the amount only; an amount of 0 is the fee."""
    story = Story().to_complete()
    story.fact(Fact(type="order.chargeback", dr_order_id=story.dr_order_id, **fact))
    assert story.order is not None
    assert f"{story.order.amounts.charged_back / 100:.2f}" == counted
    assert story.attention == []


def test_a_chargeback_without_an_amount_calls_a_person() -> None:
    """Money is gone, nobody says how much."""
    story = Story().to_complete()
    story.fact(Fact(type="order.chargeback", dr_order_id=story.dr_order_id))
    assert story.attention == ["Digital River reports a chargeback without its amount"]


def test_a_chargeback_of_an_order_without_a_cart_counts_nothing() -> None:
    """An earlier order of the same id, or a mistake: there is no currency to count in."""
    story = Story()
    story.request()
    assert isinstance(
        story.fact(Fact(type="order.chargeback", dr_order_id=RemoteOrderId("900"), major=Decimal(1))), Repeated
    )


@pytest.mark.parametrize("kind", ["charge", "order"])
def test_a_failed_charge_ends_a_wire_whatever_carries_it(kind: str) -> None:
    """order.charge.failed with the charge, or with an order that is still pending and has no charges."""
    story = Story().to_placed(method="wire")
    assert story.state == "pending_payment"
    if kind == "charge":
        charge = RemoteCharge(ChargeId("cha-1"), "failed", 2200, dr_order_id=story.dr_order_id)
        story.fact(Fact(type="order.charge.failed", dr_order_id=story.dr_order_id, charge=charge))
    else:
        report_order(story, "pending_payment", "order.charge.failed", charges=())
    assert story.order is not None
    assert (story.state, story.order.payment) == ("cancelled", "failed")


def test_a_charge_that_fails_after_the_order_was_submitted_moves_nothing() -> None:
    """Only a pending payment is lost by it."""
    story = Story().to_placed()
    charge = RemoteCharge(ChargeId("cha-9"), "failed", 2200, dr_order_id=story.dr_order_id)
    story.fact(Fact(type="order.charge.failed", dr_order_id=story.dr_order_id, charge=charge))
    assert story.state == "submitted"


def test_a_refund_asked_before_the_captures_of_a_closed_order_are_reported_waits_for_them() -> None:
    """order.complete may be faster than the capture: too early, not too much."""
    story = Story().to_placed()
    story.ship()
    story.answer()
    report_order(story, "complete", "order.complete", charges=())
    assert (story.state, story.order and story.order.amounts.captured) == ("complete", 0)
    assert isinstance(story.tell("order.refund_requested", refund_id="r1", amount="1.00"), Parked)
    story.river.tick()
    story.report()
    assert story.order is not None
    assert story.order.parked == ()
    assert [one.refund_id for one in story.order.refunds] == ["r1"]


def test_the_order_of_lines_is_not_content() -> None:
    """The same shipment, refund and return with their lines the other way round are the same."""
    story = Story().to_placed(("1", 2, "10.00"), ("2", 1, "5.00"))
    story.ship("s-1", l1=1, l2=1)
    assert isinstance(story.ship("s-1", l2=1, l1=1), Repeated)
    story.answer()
    story.ship("s-2", l1=1)
    story.answer()
    story.river.tick()
    story.report()
    story.tell("order.refund_requested", refund_id="r1", items=units(l1=1, l2=1))
    assert isinstance(story.tell("order.refund_requested", refund_id="r1", items=units(l2=1, l1=1)), Repeated)
    assert story.attention == []


def test_a_receipt_of_a_return_with_its_lines_the_other_way_round_counts_once() -> None:
    """Else half a return would be accepted, and refunded, whole."""
    story = Story().to_placed(("1", 2, "10.00"), ("2", 2, "5.00"))
    story.ship("s-1", l1=2, l2=2)
    story.answer()
    story.river.tick()
    story.report()
    story.tell("order.return_requested", return_id="b1", items=units(l1=2, l2=2))
    story.answer()
    story.tell("fulfillment.return_received", return_id="b1", receipt_id="p-1", items=units(l1=1, l2=1))
    again = story.tell("fulfillment.return_received", return_id="b1", receipt_id="p-1", items=units(l2=1, l1=1))
    assert isinstance(again, Repeated)
    assert not story.commands


def test_more_of_a_line_than_is_left_of_it_is_refused() -> None:
    """By amount, twice, or above what it cost; the other line's money is not this one's."""
    story = Story().to_placed(("1", 1, "10.00"), ("2", 1, "10.00"))
    story.ship(l1=1, l2=1)
    story.answer()
    story.river.tick()
    story.report()
    story.tell("order.refund_requested", refund_id="r1", items=[{"line": "1", "amount": "11.00"}])
    again = story.tell("order.refund_requested", refund_id="r2", items=[{"line": "1", "amount": "0.50"}])
    story.refuses(again, "left to refund")
    above = story.tell("order.refund_requested", refund_id="r3", items=[{"line": "2", "amount": "20.00"}])
    story.refuses(above, "left to refund")
    story.refuses(story.tell("order.refund_requested", refund_id="r4", items=units(l1=1)), "left to refund")
    assert story.order is not None
    story.tell("order.refund_requested", refund_id="r5", items=units(l2=1))
    assert [one.refund_id for one in story.order.refunds] == ["r1", "r5"]


def test_a_failed_refund_is_settled_only_by_asking_for_the_same_again() -> None:
    """What another refund pays back is another debt."""
    story = Story().to_complete()
    story.tell("order.refund_requested", refund_id="r1", amount="3.00")
    story.commands.clear()
    story.fact(refunded(story, "failed", 300, 0, "r1"))
    failed = ["a refund failed: r1; ask again under a new refund_id"]
    assert story.attention == failed
    story.tell("order.refund_requested", refund_id="r2", amount="4.00")
    assert story.attention == failed
    story.tell("order.refund_requested", refund_id="r3", amount="3.00")
    assert story.attention == []


def test_shipments_voids_and_documents_in_any_order_end_in_the_same_bytes() -> None:
    """They are lists for a reader, not a record of what was told first."""
    first = Story().to_placed(("1", 3, "10.00"))
    for number in (1, 2):
        first.ship(f"s-{number}", l1=1)
    first.tell("fulfillment.cancelled", items=units(l1=1))
    for _ in range(3):
        first.answer()
    facts = [fact for _, fact in first.river.facts if fact.fulfillment is not None]
    facts += [
        Fact(
            type="order.invoice.created",
            dr_order_id=first.dr_order_id,
            document=RemoteDocument(f"file-{number}", "customer_invoice", first.dr_order_id),
        )
        for number in (2, 1)
    ]
    assert len(facts) == 5
    ends = set()
    for order in permutations(facts):
        story = Story().to_placed(("1", 3, "10.00"))
        for number in (1, 2):
            story.ship(f"s-{number}", l1=1)
        story.tell("fulfillment.cancelled", items=units(l1=1))
        for fact in order:
            story.fact(fact)
        assert story.order is not None
        ends.add((story.order.shipments, story.order.voids, story.order.documents))
    assert len(ends) == 1


def test_a_document_of_no_order_is_not_added_to_one_that_was_not_placed() -> None:
    """Two ids that are both missing are not the same id."""
    story = Story().to_open()
    document = RemoteDocument("file-1", "customer_invoice")
    assert isinstance(story.fact(Fact(type="order.invoice.created", document=document)), Repeated)


def test_a_refused_source_brings_the_quote_and_its_session_again() -> None:
    """Into checkout_open: what the shopper reviews, and what takes another source."""
    story = Story().to_ready()
    story.tell("checkout.source_provided", source_id="sim-card_declined-2")
    command = story.commands.popleft()
    checkout = story.river.checkouts[story.order.digital_river.checkout_id or ""].view() if story.order else None
    refused = msgspec.structs.replace(story.river.rejected(command, "source_invalid", 400), checkout=checkout)
    story.outcome(refused)
    assert (story.state, story.last["problem"]["code"]) == ("checkout_open", "source_invalid")
    assert story.last["quote"]["total"] == "22.00"
    assert story.last["payment_session"]["id"]


def test_a_declined_order_takes_a_new_cart_but_is_not_abandoned_by_its_shopper() -> None:
    """The contract's one exception is checkout.updated; time abandons it."""
    story = Story().to_ready(method="card_declined")
    story.tell("order.placed", terms_accepted=True)
    story.answer()
    assert story.state == "declined"
    story.refuses(story.tell("checkout.abandoned"), "cannot be abandoned")
