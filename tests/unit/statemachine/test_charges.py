"""Charges, captures and voids: reports in any order, several captures of one parcel, money in orders that have ended."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations
from typing import Any

import msgspec
import pytest

from statemachine.messages.events import Event
from statemachine.messages.facts import (
    ChargeOperation,
    Fact,
    RemoteCharge,
    RemoteDocument,
    RemoteFulfillment,
    RemoteFulfillmentItem,
    RemoteRefund,
    RemoteReturn,
)
from statemachine.messages.ids import (
    ChargeId,
    FulfillmentId,
    RemoteItemId,
    RemoteOrderId,
    RemoteRefundId,
    RemoteReturnId,
)
from statemachine.order.decision import Decision, Moved, Parked, Repeated
from statemachine.order.snapshot import encode_snapshot
from tests.unit.statemachine.story import Story, cart, units

TWO_LINES = (("1", 1, "10.00"), ("2", 1, "10.00"))


def charge(
    story: Story, state: str, total: int = 2200, **operations: Iterable[tuple[str | None, str, int, str]]
) -> Fact:
    """A report of the order's one charge; ``captures`` and ``cancels``: (id, state, amount, fulfilment)."""
    given: dict[str, Any] = {
        kind: tuple(
            ChargeOperation(how, amount, id=name, fulfillment_id=FulfillmentId(parcel) if parcel else None)
            for name, how, amount, parcel in rows
        )
        for kind, rows in operations.items()
    }
    remote = RemoteCharge(ChargeId("cha-1"), state, total, dr_order_id=story.dr_order_id, **given)
    return Fact(type=f"order.charge.{state}", dr_order_id=story.dr_order_id, charge=remote)


def paper_charge(story: Story) -> ChargeId:
    """The id under which Digital River on paper keeps the charge."""
    found = story.river.orders[story.dr_order_id].charge()
    assert found is not None
    return found.charge_id


def comparable(story: Story) -> dict[str, Any]:
    """The order less what tells only when and by which way it came here."""
    assert story.order is not None
    document: dict[str, Any] = msgspec.json.decode(encode_snapshot(story.order))
    for name in ("updated", "sequence", "deadlines"):
        del document[name]
    del document["internal"]["seen"]
    document["internal"].pop("look", None)
    document["attention"].sort()
    return document


def in_every_order(begin: Story, events: tuple[Event, ...]) -> list[Story]:
    """The story gone on with by ``events`` in each of their orders; all must end the same."""
    ends = []
    for chosen in permutations(events):
        story = Story(river=begin.river)
        story.order, story.now = begin.order, begin.now
        story.published = dict(begin.published)
        for event in chosen:
            story.take(event)
        ends.append(story)
    assert len({msgspec.json.encode(comparable(story)) for story in ends}) == 1, "another order of reports, another end"
    return ends


def test_a_charge_cancelled_before_the_answer_to_the_cancel_cancels_the_order() -> None:
    """What came before what it belongs to is kept, not thrown away as old."""
    story = Story().to_placed()
    mark = paper_charge(story)
    story.tell("order.cancel_requested")
    answer = story.river.answer(story.commands.popleft())
    remote = RemoteCharge(mark, "cancelled", 2200, dr_order_id=story.dr_order_id)
    cancelled = Fact(type="order.charge.cancelled", dr_order_id=story.dr_order_id, charge=remote)
    events = (story.event("digitalriver.fulfillment_created", answer), story.event("digitalriver.x", cancelled))
    assert [(one.state, one.last["payment"]) for one in in_every_order(story, events)] == [("cancelled", "voided")] * 2


def test_a_charge_complete_before_the_answer_to_the_shipment_completes_the_order() -> None:
    """The charge's end is told once; the shipment that it belongs to is known later."""
    story = Story().to_placed()
    mark = paper_charge(story)
    story.ship()
    answer = story.river.answer(story.commands.popleft())
    assert answer.fulfillment is not None
    capture = ChargeOperation("complete", 2200, id="cap-1", fulfillment_id=answer.fulfillment.fulfillment_id)
    remote = RemoteCharge(mark, "complete", 2200, dr_order_id=story.dr_order_id, captures=(capture,))
    bare = msgspec.structs.replace(remote, captures=())
    events = (
        story.event("digitalriver.fulfillment_created", answer),
        story.event("digitalriver.x", Fact(type="order.charge.capture.complete", charge=remote)),
        story.event("digitalriver.y", Fact(type="order.charge.complete", charge=bare)),
    )
    ends = in_every_order(story, events)
    assert {(one.state, one.last["payment"], tuple(one.attention)) for one in ends} == {("complete", "captured", ())}


def test_what_is_only_kept_makes_a_snapshot_and_no_change() -> None:
    """A change has news for a reader; that a charge has ended, while its units are on their way, is none yet."""
    story = Story().to_placed()
    mark = paper_charge(story)
    story.tell("order.cancel_requested")
    changes = len(story.changes)
    remote = RemoteCharge(mark, "cancelled", 2200, dr_order_id=story.dr_order_id)
    decision = story.fact(Fact(type="order.charge.cancelled", charge=remote))
    assert isinstance(decision, Moved)
    assert (decision.effects, len(story.changes)) == ((), changes)


@pytest.mark.parametrize("states", list(permutations(("cancelled", "complete", "failed"))))
def test_reports_of_a_charge_that_contradict_each_other_end_the_same_in_any_order(states: tuple[str, ...]) -> None:
    """Each state has a rank of its own, as those of orders have."""
    story = Story().to_placed()
    mark = paper_charge(story)
    for state in states:
        remote = RemoteCharge(mark, state, 2200, dr_order_id=story.dr_order_id)
        story.fact(Fact(type=f"order.charge.{state}", charge=remote))
    assert story.order is not None
    assert [one.state for one in story.order.charges] == ["complete"]


def placing() -> Story:
    """The placement is asked for and not answered."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    return story


def early_facts(dr_order_id: RemoteOrderId) -> list[Fact]:
    """One report of each kind about an order at Digital River that is not known here yet."""
    remote = RemoteCharge(ChargeId("cha-9"), "capturable", 2200, dr_order_id=dr_order_id)
    document = RemoteDocument("file-1", "customer_invoice", dr_order_id)
    refund = RemoteRefund(RemoteRefundId("re-1"), "pending", dr_order_id, 100)
    parcel = RemoteFulfillment(
        FulfillmentId("ful-9"), dr_order_id, (RemoteFulfillmentItem(RemoteItemId("not-ours"), 1),)
    )
    returned = RemoteReturn(RemoteReturnId("ret-9"), "created", dr_order_id)
    return [
        Fact(type="fulfillment.created", fulfillment=parcel),
        Fact(type="return.created", returned=returned),
        Fact(type="order.charge.capturable", charge=remote),
        Fact(type="order.invoice.created", dr_order_id=dr_order_id, document=document),
        Fact(type="refund.pending", refund=refund),
        Fact(type="order.chargeback", dr_order_id=dr_order_id, amount=100),
    ]


def test_reports_before_the_order_s_id_is_known_wait_for_it() -> None:
    """The placement's answer was lost: what Digital River says of its order meanwhile is parked, then absorbed."""
    story = placing()
    answer = story.river.answer(story.commands.popleft())
    assert answer.order is not None
    for fact in early_facts(answer.order.dr_order_id):
        assert isinstance(story.fact(fact), Parked)
    story.outcome(answer)
    assert story.order is not None
    assert story.state == "submitted"
    assert len(story.order.charges) == 2
    assert [one.file_id for one in story.order.documents] == ["file-1"]
    assert [one.taken for one in story.order.refunds] == [100]
    assert story.order.amounts.charged_back == 100
    assert story.order.voids == ("ful-9",)  # of units that the order does not have
    assert [one.remote_id for one in story.order.returns] == ["ret-9"]
    assert (story.order.parked, story.set_aside) == ((), [])


def test_reports_about_an_earlier_order_do_not_wait() -> None:
    """They are known to be about another order; parking them would only fill this one."""
    story = Story()
    first = story.to_second_order()
    for fact in early_facts(first):
        assert isinstance(story.fact(fact), Repeated)


def test_reports_while_placing_do_not_wait_once_the_order_s_id_is_known() -> None:
    """Digital River told its order in a state that is not known here: the placement goes on, and so do its reports."""
    story = placing()
    answer = story.river.answer(story.commands.popleft())
    assert answer.order is not None
    story.fact(Fact(type="order.updated", order=msgspec.structs.replace(answer.order, state="new_to_us")))
    assert story.state == "placing"
    assert not any(isinstance(story.fact(fact), Parked) for fact in early_facts(answer.order.dr_order_id))


def test_reports_that_waited_for_an_order_that_was_never_made_are_dropped() -> None:
    """The placement was declined: what waited says nothing of this order."""
    story = placing()
    command = story.commands.popleft()
    for fact in early_facts(RemoteOrderId("do-unknown")):
        story.fact(fact)
    story.outcome(story.river.rejected(command, "failed-request", 409))
    assert story.order is not None
    assert (story.state, story.order.parked, story.set_aside, story.order.charges) == ("declined", (), [], ())


def two_captures(*states: str, charge_state: str = "capturable", parcel: str | None = None) -> tuple[Story, Fact]:
    """A parcel of two lines at Digital River, and the report of its captures, one for each line, in ``states``."""
    story = Story().to_placed(*TWO_LINES)
    mark = paper_charge(story)
    story.ship(l1=1, l2=1)
    story.answer()
    assert story.order is not None
    name = story.order.shipments[0].fulfillment_id if parcel is None else parcel
    fact = charge(story, charge_state, captures=[(f"cap-{n}", state, 1100, name) for n, state in enumerate(states)])
    assert fact.charge is not None
    return story, msgspec.structs.replace(fact, charge=msgspec.structs.replace(fact.charge, charge_id=mark))


def shown(story: Story) -> tuple[str, str, int, str, list[str]]:
    """State, payment, captured, the parcel's capture and attention."""
    order = story.order
    assert order is not None
    return order.state, order.payment, order.amounts.captured, order.shipments[0].capture, story.attention


@pytest.mark.parametrize("parcel", [None, ""])
def test_a_failed_capture_is_not_hidden_by_another_of_the_same_parcel(parcel: str | None) -> None:
    """Digital River captures line by line; inside an order its captures do not name their fulfilment."""
    story, fact = two_captures("complete", "failed", parcel=parcel)
    if parcel == "":
        order = story.river.orders[story.dr_order_id].view()
        assert fact.charge is not None
        fact = Fact(type="order.updated", order=msgspec.structs.replace(order, charges=(fact.charge,)))
    story.fact(fact)
    capture = "pending" if parcel == "" else "failed"  # whose capture it was is not told
    assert shown(story) == ("fulfilled", "capture_failed", 1100, capture, ["capture failed"])


def test_a_parcel_is_captured_when_all_its_captures_are() -> None:
    """One of two is not enough, in either order of the reports."""
    story, half = two_captures("complete", "pending")
    story.fact(half)
    assert shown(story) == ("fulfilled", "capturing", 1100, "pending", [])
    assert half.charge is not None
    captures = tuple(msgspec.structs.replace(one, state="complete") for one in half.charge.captures)
    story.fact(Fact(type="x", charge=msgspec.structs.replace(half.charge, captures=captures)))
    assert shown(story) == ("complete", "captured", 2200, "complete", [])


@pytest.mark.parametrize("by", ["capture", "charge", "order"])
def test_a_failed_capture_is_made_good_by_itself_its_charge_or_its_order(by: str) -> None:
    """And by nothing else; then nobody is called any more."""
    story, fact = two_captures("complete", "failed")
    story.fact(fact)
    assert fact.charge is not None
    if by == "capture":
        captures = tuple(msgspec.structs.replace(one, state="complete") for one in fact.charge.captures)
        story.fact(Fact(type="x", charge=msgspec.structs.replace(fact.charge, captures=captures)))
    elif by == "charge":
        again = ChargeOperation("complete", 1100, id="cap-again", fulfillment_id=fact.charge.captures[0].fulfillment_id)
        captures = (*fact.charge.captures, again)
        story.fact(Fact(type="x", charge=msgspec.structs.replace(fact.charge, state="complete", captures=captures)))
    else:
        order = story.river.orders[story.dr_order_id].view()
        story.fact(Fact(type="order.complete", order=msgspec.structs.replace(order, state="complete", charges=())))
    state, payment, captured, capture, attention = shown(story)
    assert (state, payment, capture, attention) == ("complete", "captured", "complete", [])
    assert captured == (1100 if by == "order" else 2200)


def test_a_later_capture_of_the_same_parcel_makes_nothing_good_while_the_charge_is_open() -> None:
    """It may be another line's."""
    story, fact = two_captures("failed")
    story.fact(fact)
    assert fact.charge is not None
    other = ChargeOperation("complete", 1100, id="cap-8", fulfillment_id=fact.charge.captures[0].fulfillment_id)
    story.fact(Fact(type="x", charge=msgspec.structs.replace(fact.charge, captures=(*fact.charge.captures, other))))
    assert shown(story)[1:] == ("capture_failed", 1100, "failed", ["capture failed"])


def test_captures_of_two_equal_lines_without_ids_are_two() -> None:
    """Same fulfilment, same amount, no id: still one for each line; told again they are the same two."""
    story, fact = two_captures("complete", "complete")
    assert fact.charge is not None
    nameless = tuple(msgspec.structs.replace(one, id=None) for one in fact.charge.captures)
    report = Fact(type="x", charge=msgspec.structs.replace(fact.charge, captures=nameless))
    story.fact(report)
    story.fact(report)
    assert shown(story) == ("complete", "captured", 2200, "complete", [])


def part_shipped_part_cancelled() -> tuple[Story, str, str]:
    """One of two units shipped and one cancelled; the fulfilments of both."""
    story = Story().to_placed()
    story.ship(l1=1)
    story.answer()
    story.tell("order.cancel_requested")
    story.answer()
    assert story.order is not None
    story.river.facts.clear()
    return story, story.order.shipments[0].fulfillment_id, story.order.voids[0]


def test_a_void_that_failed_and_was_made_good_leaves_a_captured_order() -> None:
    """Another void gave the money back and the charge is complete: nothing is being voided any more."""
    story, shipped, voided = part_shipped_part_cancelled()
    mark = paper_charge(story)
    captures = (ChargeOperation("complete", 1100, id="k", fulfillment_id=FulfillmentId(shipped)),)
    failed = ChargeOperation("failed", 1100, id="v", fulfillment_id=FulfillmentId(voided))
    good = ChargeOperation("complete", 1100, id="v2", fulfillment_id=FulfillmentId(voided))
    remote = RemoteCharge(mark, "capturable", 2200, story.dr_order_id, captures=captures, cancels=(failed,))
    story.fact(Fact(type="order.charge.cancel.failed", charge=remote))
    assert story.order is not None
    assert (story.state, story.order.payment, story.attention) == ("fulfilled", "void_failed", ["void failed"])
    remote = msgspec.structs.replace(remote, state="complete", cancels=(failed, good))
    story.fact(Fact(type="order.charge.complete", charge=remote))
    assert (story.state, story.order.payment, story.attention) == ("complete", "captured", [])


@pytest.mark.parametrize("voided", ["by its state", "by its voids"])
def test_an_authorisation_that_ended_with_units_open_calls_a_person(voided: str) -> None:
    """The warehouse must not go on shipping what nobody will pay for."""
    story = Story().to_placed()
    mark = paper_charge(story)
    void = ChargeOperation("complete", 2200, id="v", fulfillment_id=FulfillmentId("ful-x"))
    state, voids = ("cancelled", ()) if voided == "by its state" else ("capturable", (void,))
    remote = RemoteCharge(mark, state, 2200, dr_order_id=story.dr_order_id, cancels=voids)
    story.fact(Fact(type="order.charge.cancelled", charge=remote))
    assert story.order is not None
    assert (story.state, story.order.payment) == ("submitted", "voided")
    assert story.attention == ["units are open whose authorisation has ended, captured is 0.00 of 22.00"]
    renewed = RemoteCharge(ChargeId("cha-new"), "capturable", 2200, dr_order_id=story.dr_order_id)
    story.fact(Fact(type="order.charge.capturable", charge=renewed))
    assert (story.order.payment, story.attention) == ("authorized", [])


def test_a_parcel_on_its_way_to_an_order_whose_authorisation_ended_calls_a_person() -> None:
    """Units in flight are not paid for either; units that are being cancelled need no money."""
    shipping, cancelling = Story().to_placed(), Story().to_placed()
    shipping.ship()
    cancelling.tell("order.cancel_requested")
    for story in (shipping, cancelling):
        remote = RemoteCharge(paper_charge(story), "cancelled", 2200, dr_order_id=story.dr_order_id)
        story.fact(Fact(type="order.charge.cancelled", charge=remote))
    assert shipping.attention == ["units are open whose authorisation has ended, captured is 0.00 of 22.00"]
    assert cancelling.attention == []


def test_units_without_a_price_are_paid_for_by_their_number() -> None:
    """Digital River told no price of any line: half of the units cost half of the order."""
    story = Story().to_placed(("1", 2, "10.00"))
    story.tell("order.cancel_requested", items=units(l1=1))
    story.answer()
    assert story.order is not None
    items = tuple(msgspec.structs.replace(item, amount=None, tax=0) for item in story.order.items)
    story.order = msgspec.structs.replace(story.order, items=items)
    captures = (ChargeOperation("complete", 500, id="k", fulfillment_id=FulfillmentId("ful-x")),)
    remote = RemoteCharge(paper_charge(story), "complete", 2200, dr_order_id=story.dr_order_id, captures=captures)
    story.fact(Fact(type="order.charge.complete", charge=remote))
    assert "units are open whose authorisation has ended, captured is 5.00 of 22.00" in story.attention


@pytest.mark.parametrize(("captured", "calls"), [(2200, False), (1100, False), (1000, True)])
def test_a_charge_that_ended_with_enough_captured_calls_nobody(captured: int, calls: bool) -> None:
    """Some methods capture all at once; what is cancelled needs no money, what is still to leave does."""
    story = Story().to_placed(("1", 2, "10.00"))
    mark = paper_charge(story)
    if captured < 2200:
        story.tell("order.cancel_requested", items=units(l1=1))
        story.answer()
    captures = (ChargeOperation("complete", captured, id="k", fulfillment_id=FulfillmentId("ful-x")),)
    remote = RemoteCharge(mark, "complete", 2200, dr_order_id=story.dr_order_id, captures=captures)
    story.fact(Fact(type="order.charge.complete", charge=remote))
    assert any(reason.startswith("units are open") for reason in story.attention) is calls


def test_charges_that_all_failed_are_reported_as_failed() -> None:
    """An accepted order whose charge failed afterwards has no money, and says so."""
    story = Story().to_placed()
    remote = RemoteCharge(paper_charge(story), "failed", 2200, dr_order_id=story.dr_order_id)
    story.fact(Fact(type="order.charge.failed", charge=remote))
    assert story.order is not None
    assert story.order.payment == "failed"
    assert story.attention == ["less is authorised than the order costs: 0.00 of 22.00"]


def late_wire() -> Story:
    """An unpaid wire was cancelled; then its money came after all."""
    story = Story().to_placed(method="wire")
    story.river.fail_payment(story.dr_order_id)
    story.report()
    assert story.state == "cancelled"
    captures = (ChargeOperation("complete", 2200, id="c"),)
    story.river.orders[story.dr_order_id].captures.extend(captures)
    remote = RemoteCharge(ChargeId("cha-9"), "complete", 2200, dr_order_id=story.dr_order_id, captures=captures)
    story.fact(Fact(type="order.charge.capture.complete", charge=remote))
    return story


def test_money_captured_in_an_order_that_has_ended_calls_a_person_until_it_is_paid_back() -> None:
    """The shopper paid for nothing: a refund is possible, and ends the call."""
    story = late_wire()
    assert story.order is not None
    reason = "the order has ended, and captured is more than was paid back: "
    assert (story.order.payment, story.order.amounts.captured) == ("captured", 2200)
    assert story.attention == [f"{reason}0.00 of 22.00"]
    assert isinstance(_refund(story, "r1", amount="2.00"), Moved)
    _pay_back(story)
    assert story.attention == [f"{reason}2.00 of 22.00"]
    assert isinstance(_refund(story, "r2"), Moved)
    _pay_back(story)
    assert (story.state, story.order.amounts.refunded, story.attention) == ("cancelled", 2200, [])
    story.refuses(_refund(story, "r3"), "the request exceeds what is left to refund")


def test_a_refund_in_an_order_that_ended_unpaid_is_refused_for_that_reason() -> None:
    """Whatever it would have cost."""
    unpaid = Story().to_placed(method="wire")
    unpaid.river.fail_payment(unpaid.dr_order_id)
    unpaid.report()
    early = Story().to_open()
    early.tell("order.cancel_requested")
    gone = Story().to_open()
    gone.tell("checkout.abandoned")
    for story in (unpaid, early, gone):
        story.refuses(_refund(story, "r1"), "the order has ended; nothing was captured")


def test_reports_of_a_parcel_of_two_lines_end_the_same_in_every_order() -> None:
    """The answer, each capture by itself, the failed one made good, the order: 120 orders of reports, one end."""
    story = Story().to_placed(*TWO_LINES)
    mark = paper_charge(story)
    story.ship(l1=1, l2=1)
    answer = story.river.answer(story.commands.popleft())
    assert answer.fulfillment is not None
    name = answer.fulfillment.fulfillment_id

    def report(state: str, *captures: tuple[str, str]) -> Event:
        rows = tuple(ChargeOperation(how, 1100, id=which, fulfillment_id=name) for which, how in captures)
        remote = RemoteCharge(mark, state, 2200, dr_order_id=story.dr_order_id, captures=rows)
        return story.event("digitalriver.x", Fact(type="order.charge", charge=remote))

    order = story.river.orders[story.dr_order_id].view()
    bare = Fact(type="order.fulfilled", order=msgspec.structs.replace(order, state="fulfilled", charges=()))
    ends = in_every_order(
        story,
        (
            story.event("digitalriver.fulfillment_created", answer),
            report("capturable", ("a", "complete"), ("b", "pending")),
            report("capturable", ("a", "complete"), ("b", "failed")),
            report("complete", ("a", "complete"), ("b", "complete")),
            story.event("digitalriver.y", bare),
        ),
    )
    assert len(ends) == 120
    assert all(shown(one) == ("complete", "captured", 2200, "complete", []) for one in ends)


def _pay_back(story: Story) -> None:
    """A wire is paid back once the shopper has named an account."""
    story.answer()
    for _ in range(2):
        story.river.pay_back()
        story.report()


def _refund(story: Story, refund_id: str, **data: Any) -> Decision:
    return story.tell("order.refund_requested", refund_id=refund_id, **data)


EARLIER = "an earlier order at Digital River was accepted; money may be held or taken there"
KEPT = "the order has ended, and captured is more than was paid back: 0.00 of 22.00"


def declined(captured: int = 0) -> Story:
    """A redirect that failed; with ``captured``, money came after all."""
    story = Story().to_placed(method="redirect")
    story.river.fail_payment(story.dr_order_id)
    story.report()
    assert story.state == "declined"
    if captured:
        late_capture(story, captured)
    return story


def late_capture(story: Story, amount: int = 2200) -> None:
    """Money is captured for an order that has ended."""
    captures = (ChargeOperation("complete", amount, id="late"),)
    story.river.orders[story.dr_order_id].captures.extend(captures)
    remote = RemoteCharge(ChargeId("cha-9"), "complete", amount, dr_order_id=story.dr_order_id, captures=captures)
    story.fact(Fact(type="order.charge.capture.complete", charge=remote))


def buy_anew(story: Story) -> None:
    """The shopper takes another checkout, pays by card, and the order is shipped and captured."""
    story.tell("checkout.updated", **cart())
    story.answer()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    story.answer()
    story.tell("order.placed", terms_accepted=True)
    story.answer()
    story.river.facts.clear()
    story.ship()
    story.answer()
    story.river.tick()
    story.report()


@pytest.mark.parametrize("end", ["declined", "abandoned", "blocked"])
def test_money_captured_in_any_order_of_which_nothing_is_delivered_calls_a_person(end: str) -> None:
    """However it ended; and it can be paid back as a whole or by amount, not by lines that were never shipped."""
    if end == "blocked":
        story = Story().to_placed(method="card_review")
        story.river.block(story.dr_order_id)
        story.report()
        story.river.facts.clear()
        late_capture(story)
    else:
        story = declined(2200)
        if end == "abandoned":
            story.fire("abandon")
    assert (story.state, story.attention) == (end, [KEPT])
    lines = _refund(story, "r0", items=[{"line": "1", "quantity": 1}])
    story.refuses(lines, "no line was shipped")
    assert isinstance(_refund(story, "r1"), Moved)


def test_a_refund_for_a_declined_order_never_pays_back_the_next_one() -> None:
    """It is asked for at once, of the order that it is about; the new order's money is its own."""
    story = declined(2200)
    assert isinstance(_refund(story, "r1", amount="22.00"), Moved)
    asked = story.asked[-1]
    assert getattr(asked, "dr_order_id", None) == story.dr_order_id
    for _ in range(2):
        story.answer()
        story.river.pay_back()
        story.report()
    assert (story.state, story.attention) == ("declined", [])
    buy_anew(story)
    assert story.order is not None
    assert (story.state, story.order.amounts.captured, story.order.amounts.refunded) == ("complete", 2200, 0)
    assert (story.order.refunds, story.attention) == ((), [])


def test_money_of_a_declined_order_is_not_forgotten_by_a_new_checkout() -> None:
    """Captured there, paid again here: a person is called for as long as nobody has looked."""
    story = declined(2200)
    buy_anew(story)
    assert story.state == "complete"
    assert story.attention == [EARLIER]


@pytest.mark.parametrize("reported", ["before the new checkout", "after it", "as a capture", "in an order that ended"])
def test_a_late_approval_of_a_declined_order_is_not_forgotten(reported: str) -> None:
    """The shopper approved the first payment after all and paid a second time, in whatever order that is told."""
    story = declined()
    first = story.dr_order_id
    remote = story.river.orders[first].view()
    approved = Fact(type="order.accepted", order=msgspec.structs.replace(remote, state="accepted"))
    if reported == "before the new checkout":
        story.fact(approved)
    buy_anew(story)
    captures = (ChargeOperation("complete", 2200, id="late"),)
    charge = RemoteCharge(ChargeId("cha-9"), "complete", 2200, dr_order_id=first, captures=captures)
    if reported == "after it":
        story.fact(approved)
    elif reported == "as a capture":
        story.fact(Fact(type="order.charge.capture.complete", charge=charge))
    elif reported == "in an order that ended":
        ended = msgspec.structs.replace(remote, state="cancelled", charges=(charge,))
        story.fact(Fact(type="order.updated", order=ended))
    assert (story.state, story.attention) == ("complete", [EARLIER])


def test_the_fulfilment_of_a_capture_is_kept_whenever_it_is_reported() -> None:
    """Inside an order a capture does not name its fulfilment; its own report does, and may come before the answer."""
    story = Story().to_placed()
    mark = paper_charge(story)
    story.ship(l1=1)
    answer = story.river.answer(story.commands.popleft())
    assert answer.fulfillment is not None
    bare = ChargeOperation("complete", 1100, id="cap-1")
    named = msgspec.structs.replace(bare, fulfillment_id=answer.fulfillment.fulfillment_id)
    remote = RemoteCharge(mark, "capturable", 2200, dr_order_id=story.dr_order_id, captures=(named,))
    order = story.river.orders[story.dr_order_id].view()
    inside = (msgspec.structs.replace(remote, captures=(bare,)),)
    events = (
        story.event("digitalriver.x", Fact(type="order.updated", order=msgspec.structs.replace(order, charges=inside))),
        story.event("digitalriver.y", Fact(type="order.charge.capture.complete", charge=remote)),
        story.event("digitalriver.fulfillment_created", answer),
    )
    for end in in_every_order(story, events):
        assert end.order is not None
        assert (end.order.payment, [one.capture for one in end.order.shipments]) == ("authorized", ["complete"])


def test_a_void_that_is_reported_as_pending_for_ever_does_not_outlast_its_charge() -> None:
    """The charge is complete, so nothing is pending any more, whatever the last report of the void said."""
    story, shipped, voided = part_shipped_part_cancelled()
    mark = paper_charge(story)
    captures = (ChargeOperation("complete", 1100, id="k", fulfillment_id=FulfillmentId(shipped)),)
    pending = (ChargeOperation("pending", 1100, id="v", fulfillment_id=FulfillmentId(voided)),)
    remote = RemoteCharge(mark, "complete", 2200, story.dr_order_id, captures=captures, cancels=pending)
    story.fact(Fact(type="order.charge.complete", charge=remote))
    assert story.order is not None
    assert (story.state, story.order.payment) == ("complete", "captured")


def test_what_digital_river_says_it_paid_back_counts_in_every_order_of_reports() -> None:
    """A pending refund explains it only until it fails."""
    story = Story().to_complete()
    order = story.river.orders[story.dr_order_id].view()
    refund = RemoteRefund(RemoteRefundId("re-9"), "pending", story.dr_order_id, 500)
    events = (
        story.event("digitalriver.x", Fact(type="order.refunded", order=msgspec.structs.replace(order, refunded=500))),
        story.event("digitalriver.y", Fact(type="refund.pending", refund=refund)),
        story.event(
            "digitalriver.z", Fact(type="refund.failed", refund=msgspec.structs.replace(refund, state="failed"))
        ),
    )
    for end in in_every_order(story, events):
        assert "more was paid back at Digital River than the refunds known here: 5.00 of 0.00" in end.attention
