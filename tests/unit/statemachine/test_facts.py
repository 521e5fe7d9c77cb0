"""What Digital River reports by itself, with its traps."""

from __future__ import annotations

import msgspec
import pytest

from statemachine.messages.facts import (
    ChargeOperation,
    Fact,
    RemoteCharge,
    RemoteDocument,
    RemoteFulfillment,
    RemoteFulfillmentItem,
)
from statemachine.messages.ids import ChargeId, FulfillmentId, RemoteItemId, RemoteOrderId
from statemachine.order.decision import Moved, Repeated
from tests.unit.statemachine.story import Story


def shipped(method: str = "card") -> Story:
    """Everything shipped, nothing captured yet."""
    story = Story().to_placed(method=method)
    story.ship()
    story.answer()
    story.report()
    return story


def test_a_webhook_before_the_answer_moves_the_order_once() -> None:
    """order.accepted while placing: identified by its checkout; the answer later says nothing new."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    outcome = story.river.answer(story.commands.popleft())
    story.report()
    assert story.state == "submitted"
    assert isinstance(story.outcome(outcome), Repeated)


def test_a_webhook_without_a_checkout_is_known_by_upstream_id_only_while_placing() -> None:
    """UpstreamId is not unique: alone it counts only while the answer is awaited."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    outcome = story.river.answer(story.commands.popleft())
    assert outcome.order is not None
    bare = msgspec.structs.replace(outcome.order, checkout_id=None)
    story.fact(Fact(type="order.accepted", order=bare))
    assert story.state == "submitted"
    other = msgspec.structs.replace(bare, dr_order_id="another", state="cancelled")
    assert isinstance(story.fact(Fact(type="order.cancelled", order=other)), Repeated)


def test_facts_about_an_earlier_order_never_move_the_current_one() -> None:
    """A redirect failed, a new checkout was paid: late webhooks of the first order are noted."""
    story = Story()
    first = story.to_second_order()
    story.answer()
    assert story.state == "submitted"
    paid = story.last["sequence"]
    story.river.facts.clear()
    story.river.release_payment(first)
    for _, fact in story.river.facts:
        story.fact(fact)
        assert isinstance(story.fact(fact, "again"), Repeated)
    assert (story.state, story.last["sequence"], story.last["changed"]) == ("submitted", paid + 1, ["attention"])
    # two authorisations are held now, and only a person can give one back
    assert story.attention == ["an earlier order at Digital River was accepted; money may be held or taken there"]


def test_an_earlier_order_that_holds_no_money_concerns_nobody() -> None:
    """A redirect failed, a new checkout was paid: that the first order was cancelled is no news."""
    story = Story()
    first = story.to_second_order()
    story.answer()
    before = story.last
    gone = msgspec.structs.replace(story.river.orders[first].view(), state="cancelled", charges=())
    story.fact(Fact(type="order.cancelled", dr_order_id=first, order=gone))
    assert (story.state, story.attention, story.last) == ("submitted", [], before)


def test_an_order_that_was_not_placed_here_calls_a_person() -> None:
    """Digital River has an order for our checkout that nobody placed through us."""
    story = Story().to_ready()
    placed = Story().to_placed()
    assert story.order is not None
    remote = msgspec.structs.replace(
        placed.river.orders[placed.dr_order_id].view(), checkout_id=story.order.digital_river.checkout_id
    )
    story.fact(Fact(type="order.accepted", order=remote))
    assert story.state == "checkout_ready"
    assert story.order.attention == ("Digital River has an order for a checkout that was not placed here",)


def test_captured_true_with_a_failed_capture_is_not_captured() -> None:
    """Only complete captures count; a failed one calls a person until Digital River's retry succeeds."""
    story = shipped("card_capture_fail")
    story.river.tick()
    story.report()
    assert story.order is not None
    assert (story.state, story.order.payment, story.order.amounts.captured) == ("fulfilled", "capture_failed", 0)
    assert story.attention == ["capture failed"]
    assert story.order.shipments[0].capture == "failed"
    story.river.recover(story.dr_order_id)
    story.report()
    assert (story.state, story.order.payment, story.order.amounts.captured) == ("complete", "captured", 2200)
    assert story.attention == []


def test_a_failed_void_leaves_the_order_open_with_attention() -> None:
    """All units are cancelled, but the authorisation stands: not cancelled until it is given back."""
    story = Story().to_placed(method="card_cancel_fail")
    story.tell("order.cancel_requested")
    story.answer()
    story.river.tick()
    story.report()
    assert story.order is not None
    assert (story.state, story.order.payment, story.order.attention) == ("submitted", "void_failed", ("void failed",))
    story.river.recover(story.dr_order_id)
    story.report()
    assert (story.state, story.order.payment, story.order.attention) == ("cancelled", "voided", ())


def test_an_early_order_complete_waits_for_what_is_still_open_here() -> None:
    """order.complete before the answer to the shipment: complete only once the units are known."""
    story = Story().to_placed()
    story.ship()
    command = story.commands.popleft()
    outcome = story.river.answer(command)
    story.river.tick()
    facts = [fact for _, fact in story.river.facts if fact.type == "order.complete"]
    story.river.facts.clear()
    story.fact(facts[0])
    assert story.state == "submitted"
    story.outcome(outcome)
    assert story.state == "complete"
    assert story.order is not None
    assert story.order.shipments[0].capture == "complete"


def test_an_order_complete_whose_state_is_older_does_not_complete() -> None:
    """The type is a hint; the state in the object counts."""
    story = shipped()
    remote = story.river.orders[story.dr_order_id].view()
    assert isinstance(story.fact(Fact(type="order.complete", order=remote)), Repeated)
    assert story.state == "fulfilled"


def test_older_facts_never_take_an_order_back() -> None:
    """accepted, pending_payment and an older capture after the end change nothing."""
    story = Story().to_complete()
    remote = story.river.orders[story.dr_order_id].view()
    for state in ("accepted", "pending_payment", "in_review", "fulfilled"):
        older = msgspec.structs.replace(remote, state=state)
        assert isinstance(story.fact(Fact(type=f"order.{state}", order=older)), Repeated)
    charge = remote.charges[0]
    pending = msgspec.structs.replace(charge, captures=(msgspec.structs.replace(charge.captures[0], state="pending"),))
    assert isinstance(story.fact(Fact(type="order.charge.capture.pending", charge=pending)), Repeated)


def test_a_lost_cent_does_not_hold_an_order_up() -> None:
    """Captures that miss the authorisation by a minor unit per line are all there is."""
    story = shipped()
    remote = story.river.orders[story.dr_order_id]
    capture = msgspec.structs.replace(remote.captures[0], state="complete", amount=2199)
    remote.captures[:] = [capture]
    story.river.report_charge(remote, "order.charge.capture.complete")
    story.report()
    assert story.state == "complete"


def test_a_cancel_by_digital_river_itself_calls_a_person() -> None:
    """Nobody here asked for it."""
    story = Story().to_placed()
    remote = msgspec.structs.replace(story.river.orders[story.dr_order_id].view(), state="cancelled")
    story.fact(Fact(type="order.cancelled", order=remote))
    assert story.order is not None
    assert (story.state, story.line()) == ("cancelled", (2, 0, 2))
    assert story.order.attention == ("Digital River cancelled the order by itself",)


def test_a_cancel_confirmed_by_webhook_before_the_answer_counts_once() -> None:
    """order.cancelled, then the answer, then the fulfilment's webhook: one cancel."""
    story = Story().to_placed()
    story.tell("order.cancel_requested")
    outcome = story.river.answer(story.commands.popleft())
    story.river.tick()
    ended = next(fact for _, fact in story.river.facts if fact.type == "order.cancelled")
    created = next(fact for _, fact in story.river.facts if fact.type == "fulfillment.created")
    story.fact(ended)
    assert story.order is not None
    assert (story.state, story.order.attention) == ("cancelled", ())
    assert isinstance(story.outcome(outcome), Repeated)
    assert isinstance(story.fact(created), Repeated)
    assert story.line() == (2, 0, 2)


def test_a_fulfilment_that_was_not_asked_for_counts_and_calls_a_person() -> None:
    """Somebody shipped at Digital River's dashboard: its word counts."""
    story = Story().to_placed()
    foreign = RemoteFulfillment(
        FulfillmentId("ful_x"), story.dr_order_id, (RemoteFulfillmentItem(RemoteItemId("70050030031"), 1),)
    )
    story.fact(Fact(type="fulfillment.created", fulfillment=foreign))
    assert story.order is not None
    assert story.line() == (2, 1, 0)
    assert story.order.attention == ("a fulfilment at Digital River that orderflow did not request",)
    over = msgspec.structs.replace(
        foreign, fulfillment_id="ful_y", items=(RemoteFulfillmentItem(RemoteItemId("70050030031"), 5),)
    )
    story.fact(Fact(type="fulfillment.created", fulfillment=over))
    assert story.line() == (2, 2, 0)
    assert "Digital River shipped or cancelled more units of a line than were ordered: 6 of 2" in story.order.attention


def test_more_captured_than_authorised_calls_a_person() -> None:
    """Never silence about money: both figures."""
    story = shipped()
    charge = RemoteCharge(ChargeId("c4a26e00"), "processing", 2200, dr_order_id=story.dr_order_id)
    extra = (ChargeOperation("complete", 9900, "cap-x", FulfillmentId("ful_x")),)
    story.fact(Fact(type="order.charge.capture.complete", charge=msgspec.structs.replace(charge, captures=extra)))
    assert story.order is not None
    assert any("99.00 captured" in reason for reason in story.order.attention)


def test_an_authorisation_that_is_not_the_quote_calls_a_person() -> None:
    """The total at placement is compared with what the shopper accepted."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    outcome = story.river.answer(story.commands.popleft())
    assert outcome.order is not None
    dearer = msgspec.structs.replace(outcome, order=msgspec.structs.replace(outcome.order, total=9999))
    story.outcome(dearer)
    assert story.order is not None
    assert story.order.attention == ("the order at Digital River costs 99.99, the quote was 22.00",)


def test_a_quote_in_another_currency_is_rejected() -> None:
    """The checkout is deleted, a person is called."""
    story = Story()
    story.request()
    outcome = story.river.answer(story.commands.popleft())
    assert outcome.checkout is not None
    story.outcome(msgspec.structs.replace(outcome, checkout=msgspec.structs.replace(outcome.checkout, currency="EUR")))
    story.answer()
    assert story.state == "checkout_rejected"
    assert story.order is not None
    assert len(story.order.attention) == 1
    assert all(checkout.deleted for checkout in story.river.checkouts.values())


def test_lines_are_found_without_metadata_when_they_are_told_apart() -> None:
    """By SKU and quantity; lines that cannot be matched call a person."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    outcome = story.river.answer(story.commands.popleft())
    assert outcome.order is not None
    items = tuple(msgspec.structs.replace(item, line=None) for item in outcome.order.items)
    story.outcome(msgspec.structs.replace(outcome, order=msgspec.structs.replace(outcome.order, items=items)))
    assert story.order is not None
    assert story.order.items[0].item_id == "70050030031"
    other = Story().to_ready()
    other.tell("order.placed", terms_accepted=True)
    strange = tuple(msgspec.structs.replace(item, sku_id="?") for item in items)
    outcome = other.river.answer(other.commands.popleft())
    assert outcome.order is not None
    other.outcome(msgspec.structs.replace(outcome, order=msgspec.structs.replace(outcome.order, items=strange)))
    assert other.order is not None
    assert other.order.attention == ("the lines of the order at Digital River are not the lines of the cart",)


def test_documents_are_kept_once() -> None:
    """An invoice twice is one invoice."""
    story = Story().to_complete()
    document = RemoteDocument("file-1", "customer_invoice", story.dr_order_id)
    assert isinstance(story.fact(Fact(type="order.invoice.created", document=document)), Moved)
    assert story.last["documents"] == [{"file_id": "file-1", "purpose": "customer_invoice"}]
    assert isinstance(story.fact(Fact(type="order.invoice.created", document=document)), Repeated)
    foreign = msgspec.structs.replace(document, dr_order_id="another", file_id="file-2")
    assert isinstance(story.fact(Fact(type="order.invoice.created", document=foreign)), Repeated)


def test_a_state_that_is_not_known_calls_a_person() -> None:
    """States that Digital River may add at any time."""
    story = Story().to_complete()
    remote = msgspec.structs.replace(story.river.orders[story.dr_order_id].view(), state="on_holiday")
    story.fact(Fact(type="order.updated", order=remote))
    assert story.order is not None
    assert story.state == "complete"
    assert len(story.order.attention) == 1
    assert "holiday" not in story.order.attention[0]


def test_facts_without_a_use_change_nothing() -> None:
    """A type without an object is counted and skipped."""
    story = Story().to_complete()
    assert isinstance(story.fact(Fact(type="source.chargeable")), Repeated)


def test_facts_about_an_order_that_was_never_requested_are_refused() -> None:
    """Someone else's order under a key of ours."""
    known = Story().to_complete()
    story = Story()
    fact = Fact(type="order.accepted", order=known.river.orders[known.dr_order_id].view())
    refused = story.refuses(story.fact(fact), "no order with this id")
    assert refused.reason == "unroutable"
    assert story.order is None


def test_a_refused_placement_other_than_a_decline_rejects_the_checkout() -> None:
    """Another 4xx: checkout_rejected with the problem; a new cart helps."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    story.outcome(story.river.rejected(story.commands.popleft(), "order_submit_failed", 400))
    assert (story.state, story.last["problem"]["code"]) == ("checkout_rejected", "order_submit_failed")
    story.refuses(story.tell("order.placed", terms_accepted=True), "already")


def test_a_refused_refresh_calls_a_person() -> None:
    """How the payment ended can then only be told by a webhook."""
    story = Story().to_placed(method="redirect")
    story.tell("order.payment_returned")
    story.outcome(story.river.rejected(story.commands.popleft(), "not_found", 404))
    assert story.order is not None
    assert (story.state, len(story.order.attention)) == ("pending_payment", 1)


def test_a_source_that_does_not_pay_for_all_is_reported() -> None:
    """Attached, but something is left to fund."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    outcome = story.river.answer(story.commands.popleft())
    assert outcome.checkout is not None
    assert outcome.checkout.session is not None
    short = msgspec.structs.replace(outcome.checkout.session, remaining=100)
    story.outcome(msgspec.structs.replace(outcome, checkout=msgspec.structs.replace(outcome.checkout, session=short)))
    assert (story.state, story.last["problem"]["code"]) == ("checkout_open", "not_funded")


@pytest.mark.parametrize("state", ["fulfilled", "complete", "blocked"])
def test_a_placement_answered_by_a_state_that_nobody_asked_for_calls_a_person(state: str) -> None:
    """201 blocked is blocked; an order that is further than it can be is submitted, with attention."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    outcome = story.river.answer(story.commands.popleft())
    assert outcome.order is not None
    story.outcome(msgspec.structs.replace(outcome, order=msgspec.structs.replace(outcome.order, state=state)))
    assert story.order is not None
    assert story.state == ("blocked" if state == "blocked" else "submitted")
    assert len(story.order.attention) == (0 if state == "blocked" else 1)


def test_a_refused_renewal_of_the_authorisation_calls_a_person() -> None:
    """order.charge.reauth.failed carries an order that is still accepted: only the type tells."""
    story = Story().to_placed()
    remote = story.river.orders[story.dr_order_id].view()
    story.fact(Fact(type="order.charge.reauth.failed", order=remote))
    assert story.order is not None
    assert (story.state, story.order.payment) == ("submitted", "reauth_failed")
    assert len(story.attention) == 1


def test_an_order_at_digital_river_in_another_currency_calls_a_person() -> None:
    """The figures cannot be compared, so none is told."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    outcome = story.river.answer(story.commands.popleft())
    assert outcome.order is not None
    story.outcome(msgspec.structs.replace(outcome, order=msgspec.structs.replace(outcome.order, currency="JPY")))
    assert story.attention == ["the order at Digital River is in another currency than the quote"]


def test_a_confirmation_without_its_object_calls_a_person() -> None:
    """Off contract: nothing is guessed, nothing is asked a second time."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    outcome = story.river.answer(story.commands.popleft())
    story.outcome(msgspec.structs.replace(outcome, order=None))
    assert (story.state, len(story.attention)) == ("placing", 1)
    placed = Story().to_placed()
    placed.ship()
    outcome = placed.river.answer(placed.commands.popleft())
    placed.outcome(msgspec.structs.replace(outcome, fulfillment=None))
    assert placed.attention == ["Digital River confirmed a fulfilment, but its answer has none"]
    pending = Story()
    pending.request()
    outcome = pending.river.answer(pending.commands.popleft())
    pending.outcome(msgspec.structs.replace(outcome, checkout=None))
    assert (pending.state, len(pending.attention)) == ("checkout_rejected", 1)


def test_a_source_attached_without_a_session_does_not_make_the_checkout_ready() -> None:
    """Funded is what the session says; without one it is not said. The change into checkout_open has the quote."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    outcome = story.river.answer(story.commands.popleft())
    assert outcome.checkout is not None
    story.outcome(msgspec.structs.replace(outcome, checkout=msgspec.structs.replace(outcome.checkout, session=None)))
    assert story.state == "checkout_open"
    assert "quote" in story.last
    assert "payment_session" not in story.last
    story.tell("checkout.source_provided", source_id="sim-card-1")
    outcome = story.river.answer(story.commands.popleft())
    assert outcome.checkout is not None
    story.outcome(msgspec.structs.replace(outcome, checkout=msgspec.structs.replace(outcome.checkout, currency="JPY")))
    assert "quote" not in story.last


def test_a_charge_of_another_order_is_left_alone() -> None:
    """Known by its order's id, or not at all."""
    story = Story().to_placed()
    charge = RemoteCharge(
        ChargeId("other"),
        "complete",
        2200,
        captures=(ChargeOperation("complete", 2200, "cap", FulfillmentId("ful")),),
        dr_order_id=RemoteOrderId("?"),
    )
    assert isinstance(story.fact(Fact(type="order.charge.complete", charge=charge)), Repeated)


def test_a_capture_without_a_fulfilment_id_gets_it_from_a_later_report() -> None:
    """captures[].fulfillmentId is on the wire since 2022 only; operations without an id are told apart by what they have."""
    story = shipped()
    assert story.order is not None
    fulfillment_id = story.order.shipments[0].fulfillment_id
    charge = RemoteCharge(ChargeId("c"), "processing", 2200, dr_order_id=story.dr_order_id)

    def report(*captures: ChargeOperation) -> None:
        story.fact(
            Fact(type="order.charge.capture.complete", charge=msgspec.structs.replace(charge, captures=captures))
        )

    report(ChargeOperation("complete", 1200, "cap-1"), ChargeOperation("complete", 1000))
    assert [(one.capture, story.order.amounts.captured) for one in story.order.shipments] == [("pending", 2200)]
    report(ChargeOperation("complete", 1200, "cap-1", fulfillment_id))
    assert [(one.capture, story.order.amounts.captured) for one in story.order.shipments] == [("complete", 2200)]


def test_a_webhook_with_its_upstream_order_closes_an_inquired_shipment() -> None:
    """A fulfilment told without items is the one that was asked for."""
    story = Story().to_placed()
    story.ship("s-1", l1=1)
    outcome = story.river.answer(story.commands.popleft())
    assert outcome.fulfillment is not None
    story.outcome(msgspec.structs.replace(outcome, fulfillment=msgspec.structs.replace(outcome.fulfillment, items=())))
    assert story.line() == (2, 1, 0)


def test_a_complete_order_is_captured_even_when_its_charges_are_not_reported() -> None:
    """order.complete without charges: complete is Digital River's word for all of them."""
    story = shipped()
    bare = msgspec.structs.replace(story.river.orders[story.dr_order_id].view(), state="complete", charges=())
    story.fact(Fact(type="order.complete", order=bare))
    assert story.order is not None
    assert (story.state, story.order.payment) == ("complete", "captured")


def test_a_complete_charge_completes_the_captures_that_it_does_not_name() -> None:
    """A charge is complete only when every capture is."""
    story = Story().to_placed()
    story.ship()
    story.answer()
    charge = story.river.orders[story.dr_order_id].charge()
    assert charge is not None
    reported = msgspec.structs.replace(charge, state="complete", captures=(ChargeOperation("complete", 2200, "cap-1"),))
    story.fact(Fact(type="order.charge.complete", charge=reported))
    assert story.order is not None
    assert (story.state, story.order.payment) == ("complete", "captured")
    assert [one.capture for one in story.order.shipments] == ["complete"]


def test_an_order_is_cancelled_by_its_charge_when_the_order_s_webhook_is_lost() -> None:
    """All units cancelled and the authorisation given back: that is cancelled, whoever says it."""
    story = Story().to_placed()
    story.tell("order.cancel_requested")
    story.answer()
    story.river.tick()
    for fact in [fact for _, fact in story.river.facts if fact.charge is not None]:
        story.fact(fact)
    assert story.order is not None
    assert (story.state, story.order.payment) == ("cancelled", "voided")


def test_a_cancel_by_digital_river_after_a_shipment_calls_a_person() -> None:
    """Goods are gone: the order stays where it is."""
    story = Story().to_placed()
    story.ship("s-1", l1=1)
    story.answer()
    remote = msgspec.structs.replace(story.river.orders[story.dr_order_id].view(), state="cancelled")
    story.fact(Fact(type="order.cancelled", order=remote))
    assert story.state == "submitted"
    assert story.attention == ["Digital River says that its order is cancelled, here it is submitted"]
    assert story.line() == (2, 1, 0)
