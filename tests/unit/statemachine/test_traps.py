"""The traps of Digital River's documentation and data, each by its name (docs/digital-river.md, "Known traps").

Those about refunds, returns and disputes are in their own files.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from statemachine.messages.facts import ChargeOperation, Fact, RemoteFulfillment, RemoteFulfillmentItem, RemoteOrder
from statemachine.messages.ids import CommandId, FulfillmentId, RemoteItemId, RemoteOrderId
from statemachine.order.decision import Moved, Repeated
from statemachine.order.order import Deadline
from tests.unit.statemachine.story import Story, cart, units
from tests.unit.statemachine.test_refunds import amount, captured


def placing() -> Story:
    """An order whose placement is on its way; Digital River has it already."""
    story = Story().to_ready()
    story.tell("order.placed", terms_accepted=True)
    return story


def report_order(story: Story, state: str, kind: str = "order.updated", **more: Any) -> Any:
    """Digital River says that its order is in ``state``."""
    (order,) = story.river.orders.values()
    order.state = state
    remote: RemoteOrder = msgspec.structs.replace(order.view(), **more)
    return story.fact(Fact(type=kind, dr_order_id=order.dr_order_id, order=remote))


def heard_of() -> Story:
    """An order in ``placing`` of which Digital River knows, though nobody has heard its answer."""
    story = placing()
    story.river.answer(story.commands.popleft())
    story.river.facts.clear()
    return story


def test_an_order_refunded_that_is_partial_returns_nothing() -> None:
    """8.1.3: the event's name says refunded, its state still complete."""
    story = captured()
    report_order(story, "complete", "order.refunded", refunded=100)
    assert (story.state, amount(story, "refunded")) == ("complete", "0.00")


def test_an_order_refunded_whose_state_is_returned_is_returned() -> None:
    """8.1.3: only the state says so."""
    story = captured()
    report_order(story, "returned", "order.refunded")
    assert story.state == "returned"


def test_captured_true_with_a_failed_capture_is_a_failed_capture() -> None:
    """8.2: the nested state counts, never the flag or the running total."""
    story = Story().to_placed(method="card_capture_fail")
    story.ship()
    story.answer()
    story.river.tick()
    story.report()
    report_order(story, "fulfilled", captured=2200)
    assert story.order is not None
    assert (story.order.payment, amount(story, "captured")) == ("capture_failed", "0.00")
    assert story.state == "fulfilled"


@pytest.mark.parametrize(
    "kinds", [["order.charge.failed"], ["order.cancelled"], ["order.charge.failed", "order.cancelled"]]
)
@pytest.mark.parametrize("backwards", [False, True])
def test_an_unpaid_wire_is_reported_by_either_event_or_both(kinds: list[str], backwards: bool) -> None:
    """8.1.4: in any order, once or twice, the same end, and no unit left open."""
    story = Story().to_placed(method="wire")
    (order,) = story.river.orders.values()
    order.session_state = "failed"
    for kind in [*(reversed(kinds) if backwards else kinds), *kinds]:
        report_order(story, "cancelled" if kind == "order.cancelled" else "pending_payment", kind)
    assert story.order is not None
    assert (story.state, story.order.payment, story.line()) == ("cancelled", "failed", (2, 0, 2))
    assert story.attention == []


def test_an_early_order_complete_waits_for_its_captures() -> None:
    """8.1, 5.4: the event's name comes before its state."""
    story = Story().to_placed()
    story.ship()
    story.answer()
    report_order(story, "fulfilled", "order.complete")
    assert story.state == "fulfilled"
    report_order(story, "complete", "order.complete")
    assert story.state == "complete"


@pytest.mark.parametrize("fraud_state", [None, "in_review", "blocked"])
def test_a_fraud_state_never_moves_the_order(fraud_state: str | None) -> None:
    """8.1.1: pending payments and complete orders have none, and it goes on after the state was decided."""
    story = Story().to_placed()
    report_order(story, "accepted", fraud_state=fraud_state)
    assert (story.state, story.attention) == ("submitted", [])


def test_a_placement_that_answers_blocked_is_blocked() -> None:
    """8.1.6: 201 with a state that the documentation does not list; no unit is left open."""
    story = placing()
    outcome = story.river.answer(story.commands.popleft())
    assert outcome.order is not None
    story.outcome(msgspec.structs.replace(outcome, order=msgspec.structs.replace(outcome.order, state="blocked")))
    assert (story.state, story.line()) == ("blocked", (2, 0, 2))


def test_a_charge_that_is_processing_is_tolerated() -> None:
    """8.1.5: in one document and not in another."""
    story = captured()
    charge = story.river.orders[story.dr_order_id].charge()
    assert charge is not None
    late = msgspec.structs.replace(charge, state="processing")
    assert isinstance(story.fact(Fact(type="order.charge.processing", charge=late)), Repeated)


def test_the_captured_amount_of_the_order_is_never_believed() -> None:
    """8.2: it counts captures that are pending."""
    story = Story().to_placed()
    story.ship()
    story.answer()
    report_order(story, "fulfilled", captured=2200)
    assert amount(story, "captured") == "0.00"


def test_two_lines_of_one_sku_are_told_apart_by_their_items() -> None:
    """8.2: never by SKU."""
    story = Story().to_ready(("1", 1, "10.00"), ("2", 2, "10.00"))
    for checkout in story.river.checkouts.values():
        checkout.lines = [(line, "the same", quantity, price) for line, _, quantity, price in checkout.lines]
    story.tell("order.placed", terms_accepted=True)
    story.answer()
    story.ship("s-1", l2=1)
    story.answer()
    assert (story.line("1"), story.line("2")) == ((1, 0, 0), (2, 1, 0))


def test_a_void_that_is_reported_before_its_fulfilment_cancels_nothing_yet() -> None:
    """The money's report comes first: units are counted by the fulfilment's."""
    story = Story().to_placed()
    story.tell("order.cancel_requested")
    answer = story.river.answer(story.commands.popleft())
    story.river.tick()
    facts = [fact for _, fact in story.river.facts if fact.charge is not None]
    story.river.facts.clear()
    for fact in facts:
        story.fact(fact)
    assert story.state == "submitted"
    story.outcome(answer)
    assert (story.state, story.line()) == ("cancelled", (2, 0, 2))


def test_a_repeated_pending_payment_keeps_the_redirect_waiting() -> None:
    """The payment is not lost as long as nothing says so."""
    story = Story().to_placed(method="redirect")
    for number in range(2):
        report_order(story, "pending_payment", f"order.pending_payment{number}")
    assert story.state == "pending_payment"


@pytest.mark.parametrize("state", ["accepted", "fulfilled", "complete", "returned"])
def test_a_state_without_its_predecessors_is_taken_for_what_it_implies(state: str) -> None:
    """Any state may arrive first (docs/digital-river.md, "Orders and fraud review").

    The order was accepted; what we have not shipped calls a person.
    """
    story = heard_of()
    report_order(story, state)
    assert story.state == "submitted"
    assert bool(story.attention) == (state != "accepted")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("submitted", "blocked"), ("fulfilled", "blocked"), ("fulfilled", "cancelled"), ("complete", "cancelled")],
)
def test_what_never_happens_moves_nothing_and_calls_a_person(ours: str, theirs: str) -> None:
    """Never legal at Digital River (docs/digital-river.md, "Orders and fraud review")."""
    story = Story().to_placed()
    if ours != "submitted":
        story.ship()
        story.answer()
    if ours == "complete":
        story.river.tick()
        story.report()
    report_order(story, theirs)
    assert story.state == ours
    assert story.attention == [f"Digital River says that its order is {theirs}, here it is {ours}"]


def test_a_blocked_order_that_is_accepted_after_all_calls_a_person() -> None:
    """A final state never moves."""
    story = Story().to_placed(method="card_review")
    story.river.block(story.dr_order_id)
    story.report()
    assert (story.state, story.line()) == ("blocked", (2, 0, 2))
    (order,) = story.river.orders.values()
    accepted = msgspec.structs.replace(order.view(), state="blocked")
    assert isinstance(story.fact(Fact(type="order.blocked", order=accepted), "again"), Repeated)
    assert story.order is not None
    story.order = msgspec.structs.replace(story.order, remote_state=None)  # as if the block had been told by nobody
    report_order(story, "accepted")
    assert story.state == "blocked"
    assert story.attention == ["Digital River says that its order is accepted, here it is blocked"]


def test_an_order_cancelled_while_it_is_in_review_is_cancelled() -> None:
    """Not documented, but to be tolerated: nobody here asked for it, so a person is called."""
    story = Story().to_placed(method="card_review")
    assert story.state == "in_review"
    report_order(story, "cancelled")
    assert (story.state, story.line()) == ("cancelled", (2, 0, 2))
    assert story.attention == ["Digital River cancelled the order by itself"]


def test_what_waited_when_the_order_was_abandoned_is_refused() -> None:
    """Steps that can never come true any more: each is told to its sender, and may be sent again."""
    story = Story()
    story.request()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    story.tell("order.placed", terms_accepted=True)
    story.tell("checkout.abandoned")
    assert story.state == "abandoned"
    assert [(one.cause.type, one.reason) for one in story.set_aside] == [
        ("checkout.source_provided", "refused"),
        ("order.placed", "refused"),
    ]
    assert story.order is not None
    assert story.order.parked == ()


def test_a_checkout_that_is_not_wanted_any_more_is_not_tried_again() -> None:
    """Refused for an unknown SKU, but the cart was replaced meanwhile."""
    story = Story()
    story.request()
    old = story.commands.popleft()
    story.tell("checkout.updated", **cart(("1", 1, "10.00")))
    story.outcome(story.river.rejected(old, "invalid_parameter", 400, unknown_sku=True))
    assert story.order is not None
    assert [one.name for one in story.order.commands] == ["create_checkout"]
    assert story.order.commands[0].command_id != old.command_id


def test_a_source_on_a_checkout_of_another_currency_pays_for_nothing() -> None:
    """The quote is unsound: back to the shopper."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    outcome = story.river.answer(story.commands.popleft())
    assert outcome.checkout is not None
    foreign = msgspec.structs.replace(outcome.checkout, currency="EUR")
    story.outcome(msgspec.structs.replace(outcome, checkout=foreign))
    assert story.state == "checkout_open"


def test_a_capture_above_the_authorisation_is_reported_with_its_figures() -> None:
    """Money that does not add up is never silent."""
    story = captured()
    charge = story.river.orders[story.dr_order_id].charge()
    assert charge is not None
    more = ChargeOperation("complete", 500, "another capture", FulfillmentId("ful_other"))
    told_charge = msgspec.structs.replace(charge, captures=(*charge.captures, more))
    assert isinstance(story.fact(Fact(type="order.charge.capture.complete", charge=told_charge)), Moved)
    figures = "27.00 captured and 0.00 given back of 22.00"
    assert story.attention == [f"more was captured and given back than was authorised: {figures}"]


def test_a_part_that_is_cancelled_after_a_part_was_shipped_ends_fulfilled() -> None:
    """Shipped one, cancelled one: captured and voided in part, complete in the end."""
    story = Story().to_placed()
    story.ship(l1=1)
    story.answer()
    story.tell("order.cancel_requested", items=units(l1=1))
    story.answer()
    assert story.state == "fulfilled"
    story.river.tick()
    story.report()
    assert (story.state, story.line()) == ("complete", (2, 1, 1))


@pytest.mark.parametrize(("code", "status"), [("failed-request", 409), ("invalid_parameter", 400)])
def test_a_placement_refused_after_the_order_went_on_is_reported_and_moves_nothing(code: str, status: int) -> None:
    """Digital River contradicts itself: what it confirmed otherwise stands."""
    story = placing()
    assert story.order is not None
    # as if a webhook had left the command open
    overdue = Deadline("overdue", story.now + timedelta(days=7))
    story.order = msgspec.structs.replace(story.order, state="submitted", deadlines=(overdue,))
    story.outcome(story.river.rejected(story.commands.popleft(), code, status))
    assert story.state == "submitted"
    assert story.last["problem"]["code"] == code


def test_a_source_refused_on_a_checkout_that_was_replaced_is_reported_and_moves_nothing() -> None:
    """The new checkout is being created; the change says what became of the old source."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    attach = story.commands.popleft()
    story.tell("checkout.updated", **cart(("1", 1, "10.00")))
    story.outcome(story.river.rejected(attach, "invalid_source", 400))
    assert story.state == "checkout_pending"
    assert story.last["problem"]["code"] == "invalid_source"


def test_a_checkout_that_digital_river_keeps_is_reported_once() -> None:
    """A checkout that is not wanted any more and cannot be deleted: nothing waits for it."""
    story = Story().to_open()
    story.tell("checkout.abandoned")
    story.outcome(story.river.rejected(story.commands.popleft(), "not_found", 404))
    assert story.last["problem"]["code"] == "not_found"
    assert story.order is not None
    assert story.order.commands == ()


def test_an_accepted_return_that_is_not_reported_closes_its_command() -> None:
    """An answer off contract calls a person and leaves nothing open."""
    story = captured()
    story.tell("order.return_requested", return_id="t-1", items=units(l1=2))
    story.answer()
    story.tell("fulfillment.return_received", return_id="t-1", items=units(l1=2))
    story.outcome(msgspec.structs.replace(story.river.answer(story.commands.popleft()), returned=None))
    assert story.attention == ["Digital River confirmed a return, but its answer has none"]


def test_a_pending_payment_without_a_session_asks_nothing_of_the_shopper_until_a_report_does() -> None:
    """8.1.7: absent, not null. The answer that tells the redirect comes second, and a failed redirect is still a decline."""
    story = Story().to_ready(method="redirect")
    story.tell("order.placed", terms_accepted=True)
    answer = story.river.answer(story.commands.popleft())
    story.river.facts.clear()
    report_order(story, "pending_payment", session=None)
    assert story.state == "pending_payment"
    assert "next_action" not in story.last
    story.outcome(answer)
    assert (story.state, story.last["next_action"]["kind"]) == ("pending_payment", "redirect")
    story.river.fail_payment(story.dr_order_id)
    story.report()
    assert story.state == "declined"


def test_a_refresh_refused_after_the_payment_was_reported_calls_nobody() -> None:
    """A webhook was faster."""
    story = Story().to_placed(method="redirect")
    story.tell("order.payment_returned")
    refresh = story.commands.popleft()
    report_order(story, "accepted")
    story.outcome(story.river.rejected(refresh, "not_found", 404))
    assert (story.state, story.attention) == ("submitted", [])


def test_a_fulfilment_of_another_order_is_left_alone() -> None:
    """Never by the key alone."""
    story = Story().to_placed()
    made = RemoteFulfillment(
        FulfillmentId("ful_9"), RemoteOrderId("another"), (RemoteFulfillmentItem(RemoteItemId("70050030031"), 1),)
    )
    assert isinstance(story.fact(Fact(type="fulfillment.created", fulfillment=made)), Repeated)


def test_a_fulfilment_of_a_command_that_is_not_open_any_more_counts_without_attention() -> None:
    """It carries our command id, so somebody here asked for it."""
    story = Story().to_placed()
    made = RemoteFulfillment(
        FulfillmentId("ful_9"),
        story.dr_order_id,
        (RemoteFulfillmentItem(RemoteItemId("70050030031"), 1),),
        command_id=CommandId("of long ago"),
    )
    story.fact(Fact(type="fulfillment.created", dr_order_id=story.dr_order_id, fulfillment=made))
    assert (story.line(), story.attention) == ((2, 1, 0), [])


def test_an_order_that_costs_nothing_has_no_capture_to_wait_for() -> None:
    """Nothing is captured, so its parcels are as captured as they will be."""
    story = Story().to_placed(("1", 1, "0.00"))
    story.ship(l1=1)
    story.answer()
    assert story.order is not None
    assert [one.capture for one in story.order.shipments] == ["complete"]


def test_a_part_that_was_given_back_is_not_being_given_back_once_its_money_is_counted() -> None:
    """The report of the void still has the charge capturable: captures and voids together are all of it."""
    story = Story().to_placed()
    story.ship(l1=1)
    story.answer()
    story.tell("order.cancel_requested")
    story.answer()
    charge = story.river.orders[story.dr_order_id].charge()
    assert charge is not None
    captured = tuple(msgspec.structs.replace(one, state="complete") for one in charge.captures)
    voided = tuple(msgspec.structs.replace(one, state="complete") for one in charge.cancels)
    told_charge = msgspec.structs.replace(charge, state="capturable", captures=captured, cancels=voided)
    story.fact(Fact(type="order.charge.cancel.complete", charge=told_charge))
    assert story.order is not None
    assert (story.state, story.order.payment) == ("complete", "captured")
