"""One order from the cart to the money, over HTTP, and what the books say of it."""

from __future__ import annotations

import pytest

from statemachine.messages.commands import DeleteCheckout, RefreshOrder
from statemachine.messages.ids import CommandId, OrderId, RemoteOrderId
from tests.contract.provider.bench import CART, Bench, attach, cart_with, create, fulfil, place


async def test_a_checkout_is_quoted_to_the_cent(bench: Bench) -> None:
    """Law: tax, shipping and total are the documented sample's, and the parts add up to the total."""
    outcome = await bench.call(create("A-1"))

    assert (outcome.result, outcome.status, outcome.tries) == ("confirmed", 201, 1)
    assert outcome.request_id
    checkout = outcome.checkout
    assert checkout is not None
    assert (checkout.total, checkout.tax, checkout.shipping) == (3781, 281, 500)
    assert [(line.line, line.amount, line.tax) for line in checkout.lines] == [("1", 3000, 241)]
    assert checkout.selling_entity is not None
    assert checkout.session is not None
    assert (checkout.session.state, checkout.session.remaining) == ("requires_source", 3781)
    assert checkout.session.client_secret


async def test_an_attached_source_leaves_nothing_to_fund(bench: Bench) -> None:
    """Law: the outcome of an attach is the checkout as it is afterwards."""
    checkout = await bench.ready_checkout("A-1")

    assert checkout.source_ids == ("sim-card-A-1",)
    assert checkout.session is not None
    assert (checkout.session.state, checkout.session.remaining) == ("requires_confirmation", 0)


async def test_a_refused_source_brings_the_checkout_as_it_is(bench: Bench) -> None:
    """Law: the shopper is back at the quote, so the refusal carries it, with the session that takes another source."""
    checkout = await bench.ready_checkout("A-1")
    outcome = await bench.call(attach("A-1", checkout.checkout_id, "sim-unheard-2"))
    assert outcome.result == "rejected"
    assert outcome.checkout is not None
    assert (outcome.checkout.checkout_id, outcome.checkout.total) == (checkout.checkout_id, 3781)
    assert outcome.checkout.session is not None
    assert outcome.checkout.session.client_secret


async def test_a_refusal_stands_when_the_checkout_is_gone(bench: Bench) -> None:
    """Law: reading it is a service to the shopper, no condition."""
    outcome = await bench.call(attach("A-1", "no-such-checkout", "sim-card-2"))
    assert (outcome.result, outcome.checkout) == ("rejected", None)


async def test_an_order_is_authorised_captured_and_complete(bench: Bench) -> None:
    """Law: money is captured only after shipping, and the order closes when it is in."""
    order = await bench.placed("A-1")
    assert (order.state, order.total, order.captured) == ("accepted", 3781, 0)
    assert [(item.line, item.quantity) for item in order.items] == [("1", 3)]
    assert [charge.state for charge in order.charges] == ["capturable"]

    shipped = await bench.call(fulfil("A-1", order, (3, 0)))
    assert shipped.fulfillment is not None
    assert shipped.fulfillment.items[0].line == "1"
    assert (await bench.read(order)).state == "fulfilled"
    assert (await bench.books("A-1"))["captures"] == 0

    await bench.advance(60)
    after = await bench.read(order)
    assert (after.state, after.captured, after.available_to_refund) == ("complete", 3781, 3781)
    assert await bench.books("A-1") == {
        "checkouts": 1,
        "orders": 1,
        "captures": 1,
        "cancels": 0,
        "refunds": 0,
        "returns": 0,
        "authorized": "37.81",
        "captured": "37.81",
        "cancelled": "0.00",
        "refunded": "0.00",
    }


async def test_partial_captures_add_up_and_the_last_takes_the_rest(bench: Bench) -> None:
    """Law: two of three units are 25.21 of 37.81, the last one is 12.60, and no cent is lost."""
    order = await bench.placed("A-1")

    await bench.call(fulfil("A-1", order, (2, 0), command_id="s1"))
    await bench.advance(60)
    between = await bench.read(order)
    assert (between.state, between.captured) == ("accepted", 2521)

    await bench.call(fulfil("A-1", order, (1, 0), command_id="s2"))
    await bench.advance(60)
    after = await bench.read(order)
    assert (after.state, after.captured) == ("complete", 3781)
    assert [capture.amount for capture in after.charges[0].captures] == [2521, 1260]
    assert (await bench.books("A-1"))["captures"] == 2


async def test_what_was_not_shipped_is_cancelled_and_the_rest_captured(bench: Bench) -> None:
    """Law: captured and cancelled together are what was authorised."""
    order = await bench.placed("A-1")

    await bench.call(fulfil("A-1", order, (2, 1)))
    await bench.advance(60)

    after = await bench.read(order)
    assert (after.state, after.captured, after.cancelled) == ("complete", 2521, 1260)
    books = await bench.books("A-1")
    assert (books["captures"], books["cancels"], books["captured"], books["cancelled"]) == (1, 1, "25.21", "12.60")


async def test_a_full_cancel_ends_when_the_void_is_done(bench: Bench) -> None:
    """Law: an order is cancelled when its charge is, not when it was asked for."""
    order = await bench.placed("A-1")

    await bench.call(fulfil("A-1", order, (0, 3)))
    assert (await bench.read(order)).state == "accepted"
    await bench.advance(60)

    after = await bench.read(order)
    assert (after.state, after.cancelled, after.captured) == ("cancelled", 3781, 0)


async def test_a_wire_is_pending_until_its_funds_arrive(bench: Bench) -> None:
    """Law: nothing is charged before the money is there; the shopper is told how to pay."""
    order = await bench.placed("A-1", "wire")
    assert order.state == "pending_payment"
    assert order.charges == ()
    assert order.session is not None
    action = order.session.next_action
    assert action is not None
    assert action.kind == "show_payment_instructions"
    assert action.source_id == "sim-wire-A-1"
    assert action.source_client_secret

    await bench.advance(60)

    after = await bench.read(order)
    assert (after.state, after.charges[0].state) == ("accepted", "capturable")


async def test_a_redirect_is_settled_by_a_refresh(bench: Bench) -> None:
    """Law: a refresh after the shopper's return tells whether the payment went through."""
    for method, state in (("redirect", "accepted"), ("redirect_failed", "cancelled")):
        order_id = f"A-{method}"
        order = await bench.placed(order_id, method)
        assert order.session is not None
        assert order.session.next_action is not None
        assert order.session.next_action.kind == "redirect"
        refresh = RefreshOrder(
            command_id=CommandId("r"), order_id=OrderId(order_id), dr_order_id=order.dr_order_id, currency="USD"
        )
        outcome = await bench.call(refresh)
        assert outcome.order is not None
        assert outcome.order.state == state


async def test_a_review_passes_or_blocks(bench: Bench) -> None:
    """Law: a held order waits, then is accepted, or blocked with its charge cancelled and nothing counted as cancelled."""
    good, bad = await bench.placed("A-1", "card_review"), await bench.placed("A-2", "card_review_blocked")
    assert (good.state, good.fraud_state, bad.state) == ("in_review", "review_opened", "in_review")

    await bench.advance(60)

    assert (await bench.read(good)).state == "accepted"
    blocked = await bench.read(bad)
    assert (blocked.state, blocked.cancelled, blocked.charges[0].state) == ("blocked", 0, "cancelled")


@pytest.mark.parametrize("method", ["card_declined"])
async def test_a_decline_burns_the_checkout(bench: Bench, method: str) -> None:
    """Law: 409 is a decline without an order, and the same checkout never makes one."""
    checkout = await bench.ready_checkout("A-1", method)

    outcome = await bench.call(place("A-1", checkout.checkout_id))
    assert (outcome.result, outcome.status) == ("rejected", 409)
    assert outcome.problem is not None
    assert outcome.problem.code == "failed-request"

    again = await bench.call(attach("A-1", checkout.checkout_id, "sim-card-other"))
    assert again.result == "rejected"
    assert (await bench.call(place("A-1", checkout.checkout_id))).status == 409
    assert (await bench.books("A-1"))["orders"] == 0


async def test_a_failed_capture_leaves_the_order_fulfilled_until_the_card_is_healed(bench: Bench) -> None:
    """Law: a failed capture is not a capture in the books; Digital River tries again and may succeed."""
    order = await bench.placed("A-1", "card_capture_fail")
    await bench.call(fulfil("A-1", order, (3, 0)))
    await bench.advance(60)

    failed = await bench.read(order)
    assert (failed.state, failed.captured) == ("fulfilled", 0)
    assert [capture.state for capture in failed.charges[0].captures] == ["failed"]
    assert (await bench.books("A-1"))["captures"] == 0

    await bench.admin("sources/sim-card_capture_fail-A-1", {"method": "card"})
    await bench.advance(86_400)
    assert (await bench.read(order)).state == "complete"
    assert (await bench.books("A-1"))["captures"] == 1


async def test_a_failed_void_leaves_the_order_open(bench: Bench) -> None:
    """Law: a cancel that the bank refuses cancels nothing."""
    order = await bench.placed("A-1", "card_cancel_fail")
    await bench.call(fulfil("A-1", order, (0, 3)))
    await bench.advance(60)

    after = await bench.read(order)
    assert (after.state, after.cancelled, after.charges[0].cancels[0].state) == ("accepted", 0, "failed")


async def test_a_returning_shopper_is_the_same_customer(bench: Bench) -> None:
    """Law: ``already_exists`` counts as created, and the checkout belongs to the customer."""
    cart = cart_with(customer={"kind": "registered", "id": "cust-77"})
    first, second = await bench.call(create("A-1", cart)), await bench.call(create("A-2", cart))

    assert (first.result, first.customer_id, first.tries) == ("confirmed", "cust-77", 2)
    assert (second.result, second.customer_id) == ("confirmed", "cust-77")


async def test_an_unwanted_checkout_is_deleted_once_and_gone_twice(bench: Bench) -> None:
    """Law: deleting what is gone counts as done."""
    created = await bench.call(create("A-1"))
    assert created.checkout is not None
    delete = DeleteCheckout(
        command_id=CommandId("d"), order_id=OrderId("A-1"), checkout_id=created.checkout.checkout_id
    )

    assert await bench.provider.look(delete) is None
    assert (await bench.call(delete)).result == "confirmed"
    found = await bench.provider.look(delete)
    assert found is not None
    assert found.result == "confirmed"
    assert (await bench.call(delete)).result == "confirmed"


async def test_only_unknown_skus_make_a_refusal_worth_waiting_for(bench: Bench) -> None:
    """Law: ``unknown_sku`` is true when nothing else is wrong, and false otherwise."""
    strange = [{"line": "1", "sku_id": "new-1", "quantity": 1, "price": "1.00"}]
    outcome = await bench.call(create("A-1", cart_with(items=strange)))
    assert (outcome.result, outcome.unknown_sku) == ("rejected", True)

    bad_postal = {**CART, "ship_to": {**dict(CART["ship_to"]), "postal_code": "x"}}  # type: ignore[call-overload]  # a mapping
    outcome = await bench.call(create("A-2", bad_postal))
    assert (outcome.result, outcome.unknown_sku) == ("rejected", False)


async def test_an_order_nobody_knows_is_none(bench: Bench) -> None:
    """Law: a read of an unknown order is None, not an error."""
    assert await bench.provider.read_order(RemoteOrderId("1")) is None
