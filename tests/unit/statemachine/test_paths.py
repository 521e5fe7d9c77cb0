"""The usual ways of an order, from the cart to the last capture."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from statemachine.messages.commands import (
    AttachSource,
    CreateCheckout,
    CreateFulfillment,
    DeleteCheckout,
    PlaceOrder,
    RefreshOrder,
)
from statemachine.order.decision import Moved, Parked, Repeated
from tests.unit.statemachine.story import Story, units


def asked(story: Story) -> list[str]:
    """Names of all commands asked so far."""
    return [type(command).__name__ for command in story.asked]


def test_a_guest_s_order_goes_from_the_cart_to_complete() -> None:
    """The happy path: one command of each kind, and the money to the cent."""
    story = Story().to_complete()
    assert [change["to"] for change in story.changes] == [
        "checkout_pending", "checkout_open", "checkout_ready", "placing", "submitted", "fulfilled", "complete",
    ]  # fmt: skip
    assert asked(story) == [one.__name__ for one in (CreateCheckout, AttachSource, PlaceOrder, CreateFulfillment)]
    assert story.order is not None
    assert story.order.amounts.captured == story.order.amounts.total == 2200
    assert story.order.payment == "captured"
    assert story.order.deadlines == ()
    assert story.order.attention == ()


def test_a_registered_customer_s_id_is_kept() -> None:
    """The Customer's id is Digital River's and public; the e-mail is nowhere."""
    story = Story()
    story.request(customer={"kind": "registered", "id": "cust-77"})
    created = story.river.answer(story.commands.popleft())
    from msgspec.structs import replace

    story.outcome(replace(created, customer_id="cust-77"))
    assert story.last["digital_river"]["customer_id"] == "cust-77"


def test_the_quote_and_the_session_go_into_checkout_open() -> None:
    """The shopper reviews entity, tax and total; the secret is in the change and never in the order."""
    from statemachine.order.snapshot import encode_snapshot

    story = Story().to_open()
    assert story.last["quote"]["total"] == "22.00"
    assert story.last["quote"]["selling_entity"] == {"id": "C5_INC-ENTITY", "name": "DR globalTech Inc."}
    assert story.last["quote"]["items"][0] == {
        "line": "1", "amount": "20.00", "tax": "2.00", "duties": "0.00", "fees": "0.00", "importer_tax": "0.00",
    }  # fmt: skip
    assert story.last["payment_session"]["client_secret"] == "secret of the session"
    assert story.order is not None
    assert b"secret" not in encode_snapshot(story.order)


def test_an_attached_source_may_change_the_quote() -> None:
    """Digital River fills in the payer's address, and tax follows it."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-card-1")
    answer = story.river.answer(story.commands.popleft())
    assert answer.checkout is not None
    dearer = msgspec.structs.replace(answer.checkout, total=answer.checkout.total + 7, tax=answer.checkout.tax + 7)
    before = story.changes[-1]["amounts"]
    story.outcome(msgspec.structs.replace(answer, checkout=dearer))
    assert story.state == "checkout_ready"
    assert "amounts" in story.last["changed"]
    after = story.last["amounts"]
    assert Decimal(after["total"]) - Decimal(before["total"]) == Decimal("0.07")
    assert Decimal(after["tax"]) - Decimal(before["tax"]) == Decimal("0.07")


def test_personal_data_leaves_the_order_with_the_command() -> None:
    """The cart is kept while create_checkout is open and no longer."""
    from statemachine.order.snapshot import encode_snapshot

    story = Story()
    story.request()
    assert story.order is not None
    assert b"pat@example.org" in encode_snapshot(story.order)
    story.answer()
    assert b"pat@example.org" not in encode_snapshot(story.order)
    assert not any("pat@example.org" in str(change) for change in story.changes)


def test_a_wire_waits_for_its_funds() -> None:
    """placing, pending_payment with instructions, submitted by the webhook; the client secret is never kept."""
    story = Story().to_placed(method="wire")
    assert story.state == "pending_payment"
    assert story.last["next_action"] == {
        "kind": "show_payment_instructions", "source_id": "source", "source_client_secret": "secret of the source",
    }  # fmt: skip
    assert story.last["payment"] == "pending"
    story.river.release_payment(story.dr_order_id)
    story.report()
    assert story.state == "submitted"
    assert story.order is not None
    assert story.order.payment == "authorized"


def test_an_unpaid_wire_is_cancelled() -> None:
    """The funds never come: cancelled, payment failed, nothing open."""
    for state in ("cancelled", "pending_payment"):
        story = Story().to_placed(method="wire")
        story.river.fail_payment(story.dr_order_id, state)
        story.report()
        assert story.order is not None
        assert (story.state, story.order.payment) == ("cancelled", "failed")


def test_a_redirect_that_succeeds_is_found_by_a_refresh() -> None:
    """The shopper is back: the order is refreshed, once at a time."""
    story = Story().to_placed(method="redirect")
    assert story.last["next_action"] == {"kind": "redirect", "url": "https://bank.example/pay"}
    story.river.release_payment(story.dr_order_id)
    story.river.facts.clear()  # the webhook is lost
    story.tell("order.payment_returned")
    assert isinstance(story.commands[0], RefreshOrder)
    assert isinstance(story.tell("order.payment_returned"), Repeated)
    story.answer()
    assert story.state == "submitted"


def test_a_redirect_that_fails_is_a_decline() -> None:
    """The shopper may try again with a new checkout."""
    for state in ("cancelled", "pending_payment"):
        story = Story().to_placed(method="redirect")
        story.river.fail_payment(story.dr_order_id, state)
        story.report()
        assert story.order is not None
        assert (story.state, story.order.payment) == ("declined", "failed")


def test_a_shopper_who_declines_at_the_page_may_try_again() -> None:
    """Until the shopper is back, pending_redirect says nothing; after the refresh it says that there was no approval."""
    story = Story().to_placed(method="redirect")
    story.river.report(story.river.orders[story.dr_order_id], "order.updated")
    story.report()
    assert story.state == "pending_payment"
    story.tell("order.payment_returned")
    story.answer()
    assert story.order is not None
    assert (story.state, story.order.payment, story.attention) == ("declined", "failed", [])
    story.river.fail_payment(story.dr_order_id)
    story.report()
    assert (story.state, story.attention) == ("declined", [])


def test_a_shopper_who_approves_after_all_calls_a_person() -> None:
    """The money is held at Digital River for an order that was given up here."""
    story = Story().to_placed(method="redirect")
    story.tell("order.payment_returned")
    story.answer()
    story.river.release_payment(story.dr_order_id)
    story.report()
    assert story.state == "declined"
    assert len(story.attention) == 1


def test_a_review_ends_either_way() -> None:
    """in_review leads to submitted or blocked."""
    story = Story().to_placed(method="card_review")
    assert story.order is not None
    assert (story.state, story.order.payment) == ("in_review", "authorized")
    story.river.release_payment(story.dr_order_id)
    story.report()
    assert story.state == "submitted"
    blocked = Story().to_placed(method="card_review")
    blocked.river.block(blocked.dr_order_id)
    blocked.report()
    assert blocked.state == "blocked"
    assert blocked.order is not None
    assert blocked.order.payment == "voided"


def test_two_shipments_are_two_captures() -> None:
    """Each parcel has its own fulfilment and capture; in between the order stays submitted."""
    story = Story().to_placed(("1", 3, "10.00"), ("2", 1, "5.00"))
    story.ship("s-1", l1=2)
    story.answer()
    story.river.tick()
    story.report()
    assert story.order is not None
    assert (story.state, story.order.payment) == ("submitted", "authorized")
    story.ship("s-2", l1=1, l2=1)
    story.answer()
    assert (story.state, story.order.payment) == ("fulfilled", "capturing")
    story.river.tick()
    story.report()
    assert story.state == "complete"
    assert [(one.shipment_id, one.capture) for one in story.order.shipments] == [
        ("s-1", "complete"),
        ("s-2", "complete"),
    ]
    assert story.order.amounts.captured == story.order.amounts.total == 3850


def test_a_decline_then_a_new_checkout_with_another_source() -> None:
    """409: declined with the problem; checkout.updated makes a new checkout, which is paid."""
    story = Story().to_placed(method="card_declined")
    assert story.state == "declined"
    assert story.last["problem"]["code"] == "failed-request"
    assert story.last["payment"] == "failed"
    from tests.unit.statemachine.story import cart

    story.tell("checkout.updated", **cart())
    story.answer()
    assert story.last["payment"] == "none"
    story.tell("checkout.source_provided", source_id="sim-card-2")
    story.answer()
    story.tell("order.placed", terms_accepted=True)
    story.answer()
    assert story.state == "submitted"
    assert any(isinstance(command, DeleteCheckout) for command in story.asked)


def test_early_events_are_carried_out_in_order_once_it_is_their_time() -> None:
    """All of the platform's events before Digital River's first answer: nothing is lost, each is carried out in its turn."""
    story = Story()
    assert isinstance(story.tell("fulfillment.shipped", shipment_id="s-1", items=units(l1=2)), Parked)
    assert isinstance(story.tell("order.placed", terms_accepted=True), Parked)
    assert isinstance(story.tell("checkout.source_provided", source_id="sim-card-1"), Parked)
    assert story.changes == []
    assert isinstance(story.request(), Moved)
    story.answer()
    assert story.state == "fulfilled"
    causes = [change["cause"]["type"] for change in story.changes]
    assert [cause for cause in causes if not cause.startswith("digitalriver")] == [
        "checkout.requested", "order.placed",
    ]  # fmt: skip
    assert asked(story) == [one.__name__ for one in (CreateCheckout, AttachSource, PlaceOrder, CreateFulfillment)]


@pytest.mark.parametrize("field", ["source_id"])
def test_a_second_source_replaces_the_first(field: str) -> None:
    """Two sources on their way: the later one decides, and the order is placed only after its answer."""
    story = Story().to_open()
    story.tell("checkout.source_provided", **{field: "sim-card-1"})
    story.tell("checkout.source_provided", **{field: "sim-wire-2"})
    story.outcome(story.river.answer(story.commands.popleft()))
    assert story.state == "checkout_open"
    assert isinstance(story.tell("order.placed", terms_accepted=True), Parked)
    story.answer()
    assert story.state == "pending_payment"


def test_a_refused_source_is_reported_and_another_one_is_welcome() -> None:
    """Back in checkout_open with the problem."""
    story = Story().to_open()
    story.tell("checkout.source_provided", source_id="sim-unknown-1")
    story.answer()
    assert story.state == "checkout_open"
    assert story.last["problem"]["code"] == "source_not_found"
    story.tell("checkout.source_provided", source_id="sim-card-1")
    story.answer()
    assert story.state == "checkout_ready"


def test_an_idle_order_is_small() -> None:
    """At most a kilobyte for an ordinary order at rest, and what was added for readers since."""
    from statemachine.order.snapshot import encode_snapshot

    story = Story().to_complete()
    assert story.order is not None
    times = ',"requested":"2031-03-04T10:00:01Z","placed":"2031-03-04T10:00:05Z"'
    added = f',"held":null,"problem":null{times},"amount":"20.00","tax":"2.00","captured":"22.00"'
    assert len(encode_snapshot(story.order)) <= 1024 + len(added)
