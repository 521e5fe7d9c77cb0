"""Refunds, returns and disputes, by the provider against the simulator: what it is told, and that nothing is made twice."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest

from statemachine.errors import DigitalRiverError, TransportFailure, Unavailable
from statemachine.messages.commands import (
    AcceptReturn,
    Command,
    CreateReturn,
    Inquire,
    RefundCommandItem,
    ReturnItem,
)
from statemachine.messages.facts import Outcome, RemoteOrder, RemoteRefund
from statemachine.messages.ids import CommandId, LineId, OrderId, RemoteReturnId
from tests.contract.provider.bench import Bench, facts, fulfil, refund

KEY = {"Authorization": "Bearer sk_test_simulator"}

FAULTS = [("drop_after_effect", TransportFailure), ("error_after_effect", Unavailable)]


async def captured(bench: Bench, order_id: str = "A-1", method: str = "card", *, units: int = 3) -> RemoteOrder:
    """An order of 3 units (32.41 with tax, and 5.40 of shipping), of which ``units`` are shipped and captured."""
    order = await bench.placed(order_id, method)
    if method == "wire":
        await bench.advance(61)
        order = await bench.read(order)
    await bench.call(fulfil(order_id, order, (units, 0)))
    await bench.advance(61)
    return await bench.read(order)


def returning(order: RemoteOrder, units: int, return_id: str = "t-1") -> CreateReturn:
    """The command that asks for a return."""
    return CreateReturn(
        command_id=CommandId(f"{return_id}-command"),
        order_id=OrderId("A-1"),
        dr_order_id=order.dr_order_id,
        currency="USD",
        return_id=return_id,
        items=(ReturnItem(LineId("1"), order.items[0].item_id, units),),
    )


def accepting(order: RemoteOrder, dr_return_id: str) -> AcceptReturn:
    """The command that accepts a return."""
    return AcceptReturn(
        command_id=CommandId("accept"),
        order_id=OrderId("A-1"),
        dr_order_id=order.dr_order_id,
        currency="USD",
        dr_return_id=RemoteReturnId(dr_return_id),
        return_id="t-1",
    )


@pytest.mark.parametrize(
    ("asked", "line", "kind", "amount"),
    [
        (1260, None, None, 1260),
        (None, None, None, 3781),
        (None, (1, None), None, 1080),
        (None, (None, 500), None, 500),
        (None, None, "shipping", 540),
        (None, None, "tax", 281),
    ],
)
async def test_a_refund_is_asked_for_in_each_style_and_paid_later(
    bench: Bench,
    asked: int | None,
    line: tuple[int | None, int | None] | None,
    kind: Literal["shipping", "tax"] | None,
    amount: int,
) -> None:
    """Law: pending at once, succeeded by a webhook, in the books only then."""
    order = await captured(bench)
    items = () if line is None else (RefundCommandItem(LineId("1"), order.items[0].item_id, *line),)
    outcome = await bench.call(refund(order, amount=asked, items=items, kind=kind))
    assert outcome.refund is not None
    reported = outcome.refund
    over = sum(item.amount for item in reported.items) if items else reported.amount
    assert (reported.state, over, reported.refunded, reported.refund_id) == ("pending", amount, 0, "r-1")
    assert not items or reported.amount is None, "a refund by items has no amount of its own"
    assert reported.command_id == "r-1-command"
    assert (await bench.books("A-1"))["refunded"] == "0.00"
    await bench.advance(61)
    (end,) = await facts(bench, "refund.complete")
    assert end.dr_order_id == order.dr_order_id
    assert end.created is not None
    assert end.refund is not None
    assert (end.refund.dr_refund_id, end.refund.state, end.refund.refunded) == (
        reported.dr_refund_id,
        "succeeded",
        amount,
    )
    books = await bench.books("A-1")
    assert (books["refunds"], books["refunded"]) == (1, f"{amount / 100:.2f}")
    (refunded,) = await facts(bench, "order.refunded")
    assert refunded.order is not None
    assert (refunded.order.state, refunded.order.refunded) == ("complete", amount)
    assert refunded.order.available_to_refund == 3781 - amount
    assert refunded.order.charges[0].refunds[0].state == "complete"
    (memo,) = await facts(bench, "order.credit_memo.created")
    assert memo.document is not None


async def test_a_refund_before_a_completed_capture_is_refused(bench: Bench) -> None:
    """Law: nothing is available, also while the capture is pending."""
    order = await bench.placed("A-1")
    for _ in range(2):
        outcome = await bench.call(refund(order))
        assert outcome.result == "rejected"
        assert outcome.problem is not None
        assert (outcome.problem.code, outcome.problem.status) == ("invalid_parameter", 400)
        await bench.call(fulfil("A-1", order, (3, 0)))


async def test_more_than_what_is_left_is_refused(bench: Bench) -> None:
    """Law: pending refunds are taken already; of the order, and of a line."""
    order = await captured(bench)
    assert (await bench.call(refund(order, amount=3000))).result == "confirmed"
    assert (await bench.call(refund(order, "r-2", amount=782))).result == "rejected"
    line = RefundCommandItem(LineId("1"), order.items[0].item_id, amount=3242)
    assert (await bench.call(refund(order, "r-3", items=(line,)))).result == "rejected"
    assert (await bench.call(refund(order, "r-4", amount=781))).result == "confirmed"


async def test_a_card_that_fails_refunds_fails_them_and_gives_the_money_back_to_what_is_left(bench: Bench) -> None:
    """Law: pending, then failed with a reason; it may be asked again."""
    order = await captured(bench, method="card_refund_fail")
    await bench.call(refund(order))
    await bench.advance(61)
    (failed,) = await facts(bench, "refund.failed")
    assert failed.refund is not None
    assert (failed.refund.state, failed.refund.refunded) == ("failed", 0)
    assert failed.refund.failure_reason is not None
    assert (await bench.books("A-1"))["refunds"] == 0
    assert (await bench.read(order)).charges[0].refunds[0].state == "failed"
    await bench.admin("orders/A-1/method", {"method": "card"})
    assert (await bench.call(refund(order, "r-2"))).result == "confirmed"
    await bench.advance(61)
    assert (await bench.books("A-1"))["refunded"] == "37.81"


async def test_a_wire_asks_the_shopper_for_an_account(bench: Bench) -> None:
    """Law: a token with its date; then paid, or expired."""
    order = await captured(bench, method="wire")
    await bench.call(refund(order, amount=1000))
    await bench.call(refund(order, "r-2", amount=500))
    await bench.advance(61)
    asked = await facts(bench, "refund.pending_information")
    refunds = [fact.refund for fact in asked if fact.refund is not None]
    assert [one.state for one in refunds] == ["pending_information"] * 2
    assert all(one.token and one.token_expires for one in refunds)
    await bench.advance(31 * 86_400)
    expired = await facts(bench, "refund.failed")
    assert [fact.refund.state for fact in expired if fact.refund is not None] == ["expired"] * 2
    await bench.call(refund(order, "r-3", amount=700))
    await bench.advance(61)
    await bench.admin("orders/A-1/refunds", {"end": "succeeded"})
    assert (await bench.books("A-1"))["refunded"] == "7.00"


async def _left_open(bench: Bench, command: Command, fault: str, error: type[DigitalRiverError]) -> Outcome:
    """Carry ``command`` out with its answer spoiled, then find it by a look and by an inquiry."""
    await bench.faults(**{fault: 1.0})
    with pytest.raises(error):
        await bench.call(command)
    await bench.faults(**{fault: 0.0})
    found = await bench.provider.look(command)
    assert found is not None
    assert (found.result, found.command_id, found.tries) == ("confirmed", command.command_id, 0)
    inquiry = Inquire(
        command_id=CommandId("inquiry"), order_id=OrderId("A-1"), about=msgspec.Raw(msgspec.json.encode(command))
    )
    reported = await bench.call(inquiry)
    assert (reported.result, reported.command_id, reported.inquired_by) == ("confirmed", command.command_id, "inquiry")
    assert (reported.refund, reported.returned) == (found.refund, found.returned)
    return found


@pytest.mark.parametrize(("fault", "error"), FAULTS)
async def test_a_refund_whose_answer_was_lost_is_found(
    bench: Bench, fault: str, error: type[DigitalRiverError]
) -> None:
    """Law: found by its command id among the order's refunds, and there is one."""
    order = await captured(bench)
    await bench.call(refund(order, "r-0", amount=100))
    found = await _left_open(bench, refund(order, amount=200), fault, error)
    assert found.refund is not None
    assert (found.refund.amount, found.refund.refund_id) == (200, "r-1")
    await bench.advance(61)
    assert (await bench.books("A-1"))["refunds"] == 2
    assert await bench.provider.look(refund(order, "r-9")) is None


@pytest.mark.parametrize(("fault", "error"), FAULTS)
async def test_a_return_and_its_acceptance_whose_answers_were_lost_are_found(
    bench: Bench, fault: str, error: type[DigitalRiverError]
) -> None:
    """Law: found by command id, and by reading the return; accepting again says that it is so."""
    order = await captured(bench)
    assert await bench.provider.look(returning(order, 3)) is None
    found = await _left_open(bench, returning(order, 3), fault, error)
    assert found.returned is not None
    assert (found.returned.state, found.returned.return_id) == ("created", "t-1")
    command = accepting(order, found.returned.dr_return_id)
    assert await bench.provider.look(command) is None
    accepted = await _left_open(bench, command, fault, error)
    assert accepted.returned is not None
    assert accepted.returned.state == "accepted"
    again = await bench.call(command)
    assert again.result == "confirmed"
    await bench.advance(61)
    books = await bench.books("A-1")
    assert (books["returns"], books["refunds"]) == (1, 1)


async def test_a_whole_return_is_refunded_and_the_order_is_returned(bench: Bench) -> None:
    """Law: the refund is reported before the return that caused it, under its own id; only the state says returned."""
    order = await captured(bench)
    outcome = await bench.call(returning(order, 3))
    assert outcome.returned is not None
    await bench.call(accepting(order, outcome.returned.dr_return_id))
    reported = await facts(bench, "refund.pending", "return.accepted")
    first, second = reported
    assert first.refund is not None
    assert ([item.amount for item in first.refund.items], first.refund.refund_id) == ([3241], None)
    assert second.returned is not None
    assert second.returned.dr_refund_ids == (), "only the answer names them"
    assert second.dr_order_id == order.dr_order_id
    assert (await bench.read(order)).state == "complete"
    await bench.advance(61)
    assert (await bench.read(order)).state == "returned"
    (refunded,) = await facts(bench, "order.refunded")
    assert refunded.order is not None
    assert refunded.order.state == "returned"


async def test_a_return_of_more_than_was_shipped_is_refused(bench: Bench) -> None:
    """Law: 409, also when earlier returns have taken the units."""
    order = await captured(bench)
    assert (await bench.call(returning(order, 2))).result == "confirmed"
    outcome = await bench.call(returning(order, 2, "t-2"))
    assert outcome.problem is not None
    assert (outcome.problem.code, outcome.problem.status) == ("quantity_too_large", 409)
    unknown = await bench.call(accepting(order, "ret_unknown"))
    assert unknown.result == "rejected"


async def test_an_order_in_dispute_takes_nothing_and_goes_back(bench: Bench) -> None:
    """A chargeback leaves less, its fee is an amount of nothing (docs/digital-river.md, "Disputes and chargebacks")."""
    order = await captured(bench)
    await bench.admin("orders/A-1/dispute", {"action": "open"})
    assert (await bench.read(order)).state == "dispute"
    refused = await bench.call(refund(order, amount=100))
    assert refused.problem is not None
    assert (refused.problem.status, refused.problem.parameter) == (400, "order")
    returned = await bench.call(returning(order, 1))
    assert returned.problem is not None
    assert (returned.problem.status, returned.problem.parameter) == (409, "order")
    await bench.admin("orders/A-1/dispute", {"action": "chargeback", "amount": "12.00"})
    assert [fact.amount for fact in await facts(bench, "order.chargeback")] == [1200, 0]
    await bench.admin("orders/A-1/dispute", {"action": "resolve", "as_accepted": True})
    opened, ended = await facts(bench, "order.dispute", "order.dispute.resolved")
    assert opened.order is not None
    assert ended.order is not None
    assert (opened.order.state, ended.order.state) == ("dispute", "accepted")
    assert opened.created is not None
    assert ended.created is not None
    assert opened.created < ended.created
    now = await bench.read(order)
    assert (now.state, now.available_to_refund) == ("complete", 2581)
    assert (await bench.call(refund(order, amount=2582))).result == "rejected"
    assert (await bench.call(refund(order, "r-2", amount=2581))).result == "confirmed"


async def test_a_fulfilment_on_an_authorisation_that_ran_out_is_refused(bench: Bench) -> None:
    """Law: 409, the order stays accepted, and only the event's type tells."""
    order = await bench.placed("A-1", "card_reauth_fail")
    outcome = await bench.call(fulfil("A-1", order, (3, 0)))
    assert outcome.problem is not None
    assert (outcome.problem.status, outcome.problem.code) == (409, "payment_authorization_failed")
    (reported,) = await facts(bench, "order.charge.reauth.failed")
    assert reported.order is not None
    assert reported.order.state == "accepted"


async def test_money_in_refunds_is_rounded_to_minor_units(bench: Bench) -> None:
    """Law: doubles are read as the decimals that they print."""
    order = await captured(bench)
    outcome = await bench.call(refund(order, amount=2161))
    assert isinstance(outcome.refund, RemoteRefund)
    assert outcome.refund.amount == 2161


async def test_a_return_of_what_was_refunded_before_is_returned_without_another_refund(bench: Bench) -> None:
    """Law: fully returned is ``returned``, whoever paid it back (docs/digital-river.md, "Returns")."""
    order = await captured(bench)
    assert (await bench.call(refund(order))).result == "confirmed"
    await bench.advance(61)
    outcome = await bench.call(returning(order, 3))
    assert outcome.returned is not None
    accepted = await bench.call(accepting(order, outcome.returned.dr_return_id))
    assert accepted.returned is not None
    assert accepted.returned.dr_refund_ids == ()
    assert (await bench.read(order)).state == "returned"
    reported = await facts(bench, "order.refunded")
    assert [fact.order.state for fact in reported if fact.order is not None] == ["complete", "returned"]


async def test_a_return_is_not_accepted_in_a_dispute_and_what_was_paid_back_in_it_counts_after_it(bench: Bench) -> None:
    """Law: a dispute freezes other operations; a refund that was on its way ends, and the order is returned afterwards."""
    order = await captured(bench)
    one = await bench.call(returning(order, 1))
    rest = await bench.call(returning(order, 2, "t-2"))
    assert one.returned is not None
    assert rest.returned is not None
    await bench.call(accepting(order, one.returned.dr_return_id))
    await bench.call(accepting(order, rest.returned.dr_return_id))
    third = await bench.call(returning(order, 1, "t-3"))
    assert third.result == "rejected"
    await bench.admin("orders/A-1/dispute", {"action": "open"})
    await bench.advance(61)
    assert (await bench.read(order)).state == "dispute"
    await bench.admin("orders/A-1/dispute", {"action": "resolve"})
    assert (await bench.read(order)).state == "returned"


async def test_a_return_waits_for_the_end_of_a_dispute(bench: Bench) -> None:
    """Law: 409, as for every operation on an order in dispute."""
    order = await captured(bench)
    outcome = await bench.call(returning(order, 1))
    assert outcome.returned is not None
    await bench.admin("orders/A-1/dispute", {"action": "open"})
    refused = await bench.call(accepting(order, outcome.returned.dr_return_id))
    assert refused.problem is not None
    assert (refused.problem.status, refused.problem.parameter) == (409, "order")


@pytest.mark.parametrize(
    ("path", "body", "status", "parameter"),
    [
        ("/refunds", {"orderId": "1", "currency": "USD", "amount": 1}, 400, "order"),
        ("/refunds", {"currency": "USD", "percent": 50, "type": "tax"}, 400, "percentRequested"),
        ("/returns", {"items": [{"itemId": "ITEM", "quantity": 9}]}, 409, "items[0].qty"),
        ("/returns", {"items": [{"skuId": "nothing", "quantity": 1}]}, 400, "items[0].skuId"),
        ("/returns", {"items": [{"skuId": "SKU", "quantity": 1}]}, 201, None),
        ("/refunds", {"currency": "USD", "items": [{"itemId": "ITEM", "quantity": 9, "percent": 100}]}, 400, "items[0].quantity"),
    ],
)  # fmt: skip
async def test_requests_are_refused_in_the_documented_words(
    bench: Bench, path: str, body: dict[str, object], status: int, parameter: str | None
) -> None:
    """A line of a return goes by its id or its SKU (docs/digital-river.md, "Returns")."""
    order = await captured(bench)
    (item,) = order.items
    text = msgspec.json.encode({"orderId": order.dr_order_id, **body}).decode()
    text = text.replace("ITEM", item.item_id).replace("SKU", item.sku_id or "")
    async with bench.session.post(bench.url + path, data=text, headers=KEY) as answer:
        reported = msgspec.json.decode(await answer.read(), type=dict[str, object])
    assert answer.status == status
    if parameter is not None:
        errors = reported["errors"]
        assert isinstance(errors, list)
        assert [error["parameter"] for error in errors] == [parameter]


async def test_a_refund_of_units_is_asked_for_as_all_of_their_price(bench: Bench) -> None:
    """Law: the documented body of a refund by line: units and 100 percent, of these units."""
    order = await captured(bench)
    (item,) = order.items
    body = {
        "orderId": order.dr_order_id,
        "currency": "USD",
        "items": [{"itemId": item.item_id, "quantity": 1, "percent": 100}],
    }
    async with bench.session.post(bench.url + "/refunds", json=body, headers=KEY) as answer:
        reported = await answer.json()
        assert (answer.status, [one["amount"] for one in reported["items"]], "amount" in reported) == (
            201,
            [10.8],
            False,
        )
