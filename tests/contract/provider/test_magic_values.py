"""Digital River's magic values: each card number and last name has its effect (docs/digital-river.md, "Magic test values")."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import pytest

from orderflow.sandbox.defaults import ADDRESS
from orderflow.simulator.resources.orders import FUNDS_WAIT_SECONDS
from orderflow.simulator.state.methods import CARDS, LAST_NAMES
from statemachine.messages.commands import RefreshOrder
from statemachine.messages.facts import Outcome, RemoteOrder
from statemachine.messages.ids import CommandId, OrderId
from tests.contract.provider.bench import (
    Bench,
    attach,
    cart_with,
    create,
    events,
    facts,
    fulfil,
    place,
    refund,
)

DAY: Final = 86_400

CARD_STORIES: Final = {
    **dict.fromkeys(
        [
            *("4444222233331111", "5466160000000008", "343456789012341", "6011987698769876", "3528987698769879"),
            *("30345678901235", "6226220000000009", "5454545454545454", "4917610000000000"),
        ],
        "paid",
    ),
    "4000000000003295": "not_created",
    "4000000000003600": "declined",
    "4000000000004103": "capture_fails",
    "4000000000004442": "cancel_fails",
    "4000000000004111": "refund_fails",
    "4485951788521565": "capture_fails_later",
    "4556602564240839": "refund_fails_later",
    "4024007120579635": "capture_stuck",
    "4000000000000028": "capture_stuck",
}

_WALLET: Final = {"SourceCreationFail": "not_created", "ChargeCreationFail": "declined", "RefundFail": "refund_fails"}
_RECEIVER: Final = {
    "SourceCreationFail": "not_created",
    "SourceFailWithDelay": "unpaid",
    "RefundFailWhileCreation": "refund_fails",
    "RefundFailAfterPaymentInfo": "refund_asks_then_fails",
}
NAME_STORIES: Final = {
    "googlepay": {
        "SourceFail": "source_failed",
        "ChargeFail": "declined",
        "CaptureFail": "capture_fails",
        "CancelFail": "cancel_fails",
        "RefundFail": "refund_fails",
        "SCATest": "paid",
        "SCATestFail": "declined",
    },
    "paypal": _WALLET,
    "klarna": _WALLET,
    "sepa": {
        "SourceFail": "not_created",
        "SourceFailAfterRedirect": "source_fails_after_redirect",
        "ChargeFail": "declined",
        "ChargeFailedAfterPending": "charge_fails_later",
        "ChargeRemainPending": "charge_stuck",
        "RefundFail": "refund_fails",
        "RefundFailedAfterPending": "refund_fails_later",
    },
    "alipay": {
        "authFail": "not_created",
        "authFailAfterRedirect": "charge_fails_after_redirect",
        "refundFail": "refund_fails",
    },
    "wire": _RECEIVER,
    "konbini": _RECEIVER,
}

#: Digital River's type and flow of each family.
FAMILIES: Final = {
    "card_5466160000000008": ("creditCard", "standard", "chargeable"),
    "googlepay": ("googlePay", "standard", "chargeable"),
    "paypal": ("payPal", "redirect", "pending_redirect"),
    "klarna": ("klarnaCredit", "redirect", "pending_redirect"),
    "sepa": ("directDebit", "redirect", "pending_redirect"),
    "alipay": ("alipay", "redirect", "pending_redirect"),
    "wire": ("wireTransfer", "receiver", "pending_funds"),
    "konbini": ("konbini", "receiver", "pending_funds"),
}


class Play(NamedTuple):
    """One story: the bench, the method, and who pays with it."""

    bench: Bench
    method: str
    last_name: str

    async def attach(self) -> Outcome:
        """A checkout that the source is attached to, or is refused."""
        cart = cart_with(bill_to={**ADDRESS, "name": f"Ada Mae {self.last_name}"})
        created = await self.bench.call(create("A-1", cart))
        assert created.checkout is not None
        return await self.bench.call(attach("A-1", created.checkout.checkout_id, f"sim-{self.method}-1"))

    async def place(self) -> Outcome:
        """An order, or its refusal."""
        attached = await self.attach()
        assert attached.result == "confirmed", attached.problem
        assert attached.checkout is not None
        return await self.bench.call(place("A-1", attached.checkout.checkout_id))

    async def refresh(self, order: RemoteOrder) -> RemoteOrder:
        """The order once the shopper is back from the redirect."""
        command = RefreshOrder(
            command_id=CommandId("r"), order_id=OrderId("A-1"), dr_order_id=order.dr_order_id, currency="USD"
        )
        outcome = await self.bench.call(command)
        assert outcome.order is not None
        return outcome.order

    async def accepted(self) -> RemoteOrder:
        """An order whose money is held: the shopper is back, or has paid in."""
        placed = await self.place()
        assert placed.order is not None, placed.problem
        order = placed.order
        if order.state == "pending_payment":
            assert order.session is not None
            if order.session.state == "pending_redirect":
                return await self.refresh(order)
            await self.bench.advance(60)
        return await self.bench.read(order)

    async def complete(self) -> RemoteOrder:
        """An order that is shipped and paid."""
        order = await self.accepted()
        assert (await self.bench.call(fulfil("A-1", order, (3, 0)))).result == "confirmed"
        await self.bench.advance(60)
        order = await self.bench.read(order)
        assert (order.state, order.captured) == ("complete", 3781)
        return order

    async def pending(self) -> RemoteOrder:
        """An order whose charge is pending after the shopper's return."""
        placed = await self.place()
        assert placed.order is not None
        order = await self.refresh(placed.order)
        assert (order.state, [charge.state for charge in order.charges]) == ("pending_payment", ["pending"])
        assert order.session is not None
        assert (order.session.state, order.session.next_action) == ("pending", None)
        assert (await self.bench.books("A-1"))["authorized"] == "0.00"
        return order


async def _paid(play: Play) -> None:
    await play.complete()


async def _not_created(play: Play) -> None:
    """The browser never had a source: 404, and none is there later."""
    refused = await play.attach()
    assert refused.problem is not None
    assert (refused.status, refused.problem.code) == (404, "not_found")
    assert await _source(play.bench, play.method) is None


async def _source_failed(play: Play) -> None:
    """There is a source, but it cannot be charged."""
    refused = await play.attach()
    assert refused.problem is not None
    assert (refused.status, refused.problem.code) == (409, "source_not_chargeable")
    source = await _source(play.bench, play.method)
    assert source is not None
    assert source["state"] == "failed"


async def _declined(play: Play) -> None:
    refused = await play.place()
    assert refused.problem is not None
    assert (refused.status, refused.problem.code) == (409, "failed-request")
    assert (await play.bench.books("A-1"))["orders"] == 0


async def _source_fails_after_redirect(play: Play) -> None:
    assert (await _cancelled_after_redirect(play)).charges == ()
    source = await _source(play.bench, play.method)
    assert source is not None
    assert source["state"] == "failed"


async def _charge_fails_after_redirect(play: Play) -> None:
    order = await _cancelled_after_redirect(play)
    assert [(charge.state, charge.failure_code) for charge in order.charges] == [("failed", "failed-request")]


async def _cancelled_after_redirect(play: Play) -> RemoteOrder:
    placed = await play.place()
    assert placed.order is not None
    assert placed.order.state == "pending_payment"
    order = await play.refresh(placed.order)
    assert order.state == "cancelled"
    assert len(await facts(play.bench, "order.charge.failed")) == 1
    assert (await play.bench.books("A-1"))["authorized"] == "0.00"
    return order


async def _charge_fails_later(play: Play) -> None:
    order = await play.pending()
    await play.bench.advance(60)
    after = await play.bench.read(order)
    assert (after.state, after.charges[0].state, after.charges[0].failure_code) == (
        "cancelled",
        "failed",
        "failed-request",
    )
    assert (await play.bench.books("A-1"))["authorized"] == "0.00"


async def _charge_stuck(play: Play) -> None:
    order = await play.pending()
    await play.bench.advance(FUNDS_WAIT_SECONDS - DAY)
    assert (await play.bench.read(order)).state == "pending_payment"
    await play.bench.advance(DAY)
    assert (await play.bench.read(order)).state == "cancelled"


async def _unpaid(play: Play) -> None:
    placed = await play.place()
    assert placed.order is not None
    assert placed.order.state == "pending_payment"
    await play.bench.advance(60)
    after = await play.bench.read(placed.order)
    assert (after.state, after.charges) == ("cancelled", ())


async def _capture_fails(play: Play) -> None:
    """Failed when the request is answered, without having been pending."""
    order = await play.accepted()
    await play.bench.call(fulfil("A-1", order, (3, 0)))
    after = await play.bench.read(order)
    assert (after.state, after.charges[0].captures[0].state) == ("fulfilled", "failed")
    assert await facts(play.bench, "order.charge.capture.pending") == []
    assert (await play.bench.books("A-1"))["captures"] == 0


async def _capture_fails_later(play: Play) -> None:
    order = await play.accepted()
    await play.bench.call(fulfil("A-1", order, (3, 0)))
    assert (await play.bench.read(order)).charges[0].captures[0].state == "pending"
    await play.bench.advance(60)
    assert (await play.bench.read(order)).charges[0].captures[0].state == "failed"


async def _capture_stuck(play: Play) -> None:
    order = await play.accepted()
    await play.bench.call(fulfil("A-1", order, (3, 0)))
    await play.bench.advance(90 * DAY)
    after = await play.bench.read(order)
    assert (after.state, after.charges[0].captures[0].state) == ("fulfilled", "pending")


async def _cancel_fails(play: Play) -> None:
    order = await play.accepted()
    await play.bench.call(fulfil("A-1", order, (0, 3)))
    after = await play.bench.read(order)
    assert (after.state, after.cancelled, after.charges[0].cancels[0].state) == ("accepted", 0, "failed")


async def _refund_fails(play: Play) -> None:
    """The answer to the request says that it failed; nobody is asked for an account."""
    outcome = await play.bench.call(refund(await play.complete()))
    assert outcome.result == "confirmed"
    assert outcome.refund is not None
    assert (outcome.refund.state, outcome.refund.refunded) == ("failed", 0)
    assert outcome.refund.failure_reason is not None
    await play.bench.advance(60)
    assert await facts(play.bench, "refund.pending", "refund.pending_information", "refund.complete") == []
    assert (await play.bench.books("A-1"))["refunds"] == 0


async def _refund_fails_later(play: Play) -> None:
    outcome = await play.bench.call(refund(await play.complete()))
    assert outcome.refund is not None
    assert outcome.refund.state == "pending"
    await play.bench.advance(60)
    (failed,) = await facts(play.bench, "refund.failed")
    assert failed.refund is not None
    assert failed.refund.state == "failed"


async def _refund_asks_then_fails(play: Play) -> None:
    await play.bench.call(refund(await play.complete()))
    await play.bench.advance(60)
    assert len(await facts(play.bench, "refund.pending_information")) == 1
    answer = await play.bench.admin("orders/A-1/refunds", {"end": "succeeded"})
    assert list(msgspec.convert(answer["refunds"], dict[str, str]).values()) == ["failed"]
    assert (await play.bench.books("A-1"))["refunded"] == "0.00"


STORIES: Final = {
    "paid": _paid,
    "not_created": _not_created,
    "source_failed": _source_failed,
    "declined": _declined,
    "source_fails_after_redirect": _source_fails_after_redirect,
    "charge_fails_after_redirect": _charge_fails_after_redirect,
    "charge_fails_later": _charge_fails_later,
    "charge_stuck": _charge_stuck,
    "unpaid": _unpaid,
    "capture_fails": _capture_fails,
    "capture_fails_later": _capture_fails_later,
    "capture_stuck": _capture_stuck,
    "cancel_fails": _cancel_fails,
    "refund_fails": _refund_fails,
    "refund_fails_later": _refund_fails_later,
    "refund_asks_then_fails": _refund_asks_then_fails,
}


async def _source(bench: Bench, method: str) -> dict[str, object] | None:
    """The source as ``GET /sources/{id}`` tells it."""
    headers = {"Authorization": "Bearer sk_test_simulator"}
    async with bench.session.get(f"{bench.url}/sources/sim-{method}-1", headers=headers) as answer:
        if answer.status == 404:
            return None
        return msgspec.json.decode(await answer.read(), type=dict[str, object])


def test_no_magic_value_is_without_its_story() -> None:
    """The simulator knows the documented values, and no others."""
    assert CARDS.keys() == CARD_STORIES.keys()
    known = {(family, name) for family, names in LAST_NAMES.items() for name in names}
    assert known == {(family, name) for family, names in NAME_STORIES.items() for name in names}


@pytest.mark.parametrize(("number", "story"), CARD_STORIES.items())
async def test_a_card_behaves_by_its_number(bench: Bench, number: str, story: str) -> None:
    """Law: the number decides, whatever stands after it, and whoever pays with it."""
    await STORIES[story](Play(bench, f"card_{number}", "RefundFail"))


@pytest.mark.parametrize(
    ("family", "last_name", "story"),
    [(family, name, story) for family, names in NAME_STORIES.items() for name, story in names.items()],
)
async def test_a_source_behaves_by_its_owners_last_name(bench: Bench, family: str, last_name: str, story: str) -> None:
    """Law: whom the checkout bills is the owner, and the last word of the name decides."""
    await STORIES[story](Play(bench, family, last_name))


@pytest.mark.parametrize(("method", "shape"), FAMILIES.items())
async def test_a_source_says_what_it_is_and_whose(bench: Bench, method: str, shape: tuple[str, str, str]) -> None:
    """Law: Digital River's type, flow and state, and the owner that the browser library would have sent."""
    await Play(bench, method, "Brook").attach()
    source = await _source(bench, method)
    assert source is not None
    assert (source["type"], source["flow"], source["state"]) == shape
    assert source["owner"] == {
        "firstName": "Ada Mae",
        "lastName": "Brook",
        "email": "pat@example.org",
        "address": {
            "line1": "1 Test Rd",
            "city": "Minneapolis",
            "state": "MN",
            "postalCode": "55401",
            "country": "US",
        },
    }
    card = {"brand": "Mastercard", "expirationMonth": 7, "expirationYear": 2035, "lastFourDigits": "0008"}
    assert source.get("creditCard") == (card if method.startswith("card") else None)


@pytest.mark.parametrize("method", [name for name in FAMILIES if not name.startswith("card")])
async def test_an_ordinary_shopper_pays_with_every_method(bench: Bench, method: str) -> None:
    """Law: a name that is magic for another family is not magic here."""
    await Play(bench, method, "captureFail").complete()


async def test_a_number_that_is_not_a_test_card_makes_no_source(bench: Bench) -> None:
    """Law: the card field of the browser refuses it, so nobody ever has its source."""
    for number in ("4111111111111111", "400000000000360", ""):
        await _not_created(Play(bench, f"card_{number}", "Brook"))


async def test_a_challenge_that_was_not_passed_leaves_a_source_that_cannot_be_used(bench: Bench) -> None:
    """Law: ``requires_action`` is neither attached nor ordered with; another source still pays."""
    play = Play(bench, "card_3ds_failed", "Brook")
    refused = await play.attach()
    assert refused.problem is not None
    assert (refused.status, refused.problem.code) == (409, "source_not_chargeable")
    source = await _source(bench, play.method)
    assert source is not None
    assert source["state"] == "requires_action"
    assert refused.checkout is not None
    unfunded = await bench.call(place("A-1", refused.checkout.checkout_id))
    assert unfunded.problem is not None
    assert (unfunded.status, unfunded.problem.code) == (400, "order_submit_failed")
    again = await bench.call(attach("A-1", refused.checkout.checkout_id, "sim-card-2"))
    assert again.result == "confirmed"


async def test_a_challenge_that_is_passed_later_makes_the_source_chargeable(bench: Bench) -> None:
    """Law: what waits for the shopper only waits; once the challenge is passed, the same source pays."""
    play = Play(bench, "card_3ds_failed", "Brook")
    refused = await play.attach()
    assert refused.checkout is not None
    await bench.admin("sources/sim-card_3ds_failed-1", {"method": "card"})
    assert [event["type"] for event in await events(bench, "source.chargeable")] == ["source.chargeable"]
    again = await bench.call(attach("A-1", refused.checkout.checkout_id, "sim-card_3ds_failed-1"))
    assert again.result == "confirmed"
    assert (await bench.call(place("A-1", refused.checkout.checkout_id))).result == "confirmed"


async def test_a_shopper_who_declines_on_the_page_may_still_come_back(bench: Bench) -> None:
    """Law: a refresh changes nothing; the time limit ends it (documented: the source stays ``pending_redirect``)."""
    play = Play(bench, "redirect_declined", "Brook")
    placed = await play.place()
    assert placed.order is not None
    order = await play.refresh(placed.order)
    assert order.session is not None
    assert (order.state, order.session.state) == ("pending_payment", "pending_redirect")
    source = await _source(bench, play.method)
    assert source is not None
    assert source["state"] == "pending_redirect"
    await bench.advance(FUNDS_WAIT_SECONDS)
    assert (await bench.read(order)).state == "cancelled"


async def test_a_pending_charge_is_held_once_the_money_comes(bench: Bench) -> None:
    """Law: there is one charge, before and after."""
    order = await Play(bench, "sepa", "ChargeRemainPending").pending()
    await bench.admin("orders/A-1/payment", {"received": True})
    after = await bench.read(order)
    assert (after.state, [charge.state for charge in after.charges]) == ("accepted", ["capturable"])
    assert after.charges[0].charge_id == order.charges[0].charge_id
    assert (await bench.books("A-1"))["authorized"] == "37.81"


async def test_a_card_number_may_be_given_to_an_order_by_hand(bench: Bench) -> None:
    """Law: ``/_admin`` takes each name that a source id may hold, and no other."""
    order = await bench.placed("A-1", "card")
    await bench.admin("orders/A-1/method", {"method": "card_4000000000004103"})
    await bench.call(fulfil("A-1", order, (3, 0)))
    assert (await bench.read(order)).charges[0].captures[0].state == "failed"
    for name in ("card_4111111111111111", "gold"):
        async with bench.session.post(f"{bench.url}/_admin/orders/A-1/method", json={"method": name}) as answer:
            assert answer.status == 400


async def test_a_return_of_a_card_that_fails_refunds_ends_with_a_failed_refund(bench: Bench) -> None:
    """Law: a refund that Digital River makes by itself fails like one that was asked for."""
    order = await Play(bench, "card_4000000000004111", "Brook").complete()
    headers = {"Authorization": "Bearer sk_test_simulator"}
    body = {"orderId": order.dr_order_id, "items": [{"itemId": order.items[0].item_id, "quantity": 3}]}
    async with bench.session.post(f"{bench.url}/returns", json=body, headers=headers) as answer:
        returned = msgspec.json.decode(await answer.read())
    async with bench.session.post(
        f"{bench.url}/returns/{returned['id']}", json={"state": "accepted"}, headers=headers
    ) as answer:
        assert answer.status == 200
    await bench.advance(60)
    (failed,) = await facts(bench, "refund.failed")
    assert failed.refund is not None
    assert [item.amount for item in failed.refund.items] == [3241]
    assert (await bench.books("A-1"))["refunded"] == "0.00"


@pytest.mark.parametrize(("email", "state"), [("holdpass@fraud.com", "accepted"), ("holdblock@fraud.com", "blocked")])
async def test_the_owners_email_forces_a_review_too(bench: Bench, email: str, state: str) -> None:
    """Law: the e-mail of whom the source belongs to counts, whatever the checkout's is."""
    play = Play(bench, "card", "Brook")
    created = await bench.call(create("A-1"))
    assert created.checkout is not None
    headers = {"Authorization": "Bearer sk_test_simulator"}
    address = {"line1": "1 Test Rd", "city": "Minneapolis", "state": "MN", "postalCode": "55401", "country": "US"}
    bill_to = {"name": "Ada Brook", "email": email, "address": address}
    url = f"{bench.url}/checkouts/{created.checkout.checkout_id}"
    body = {"billTo": bill_to, "sourceId": f"sim-{play.method}-1"}
    async with bench.session.post(url, json=body, headers=headers) as answer:
        assert answer.status == 200
    outcome = await bench.call(place("A-1", created.checkout.checkout_id))
    assert outcome.order is not None
    assert outcome.order.state == "in_review"
    await bench.advance(60)
    assert (await bench.read(outcome.order)).state == state
