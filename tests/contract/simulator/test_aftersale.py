"""Refunds, returns, disputes and chargebacks as Digital River's clients ask for them and are told of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from orderflow.digitalriver.webhook import read_webhook
from tests.contract.provider.bench import Bench, events
from tests.contract.simulator.asking import Json, ask, cart, made, ordered, refused
from tests.contract.simulator.test_operations import fulfil


async def captured(bench: Bench, *, lines: int = 1, method: str = "card") -> Json:
    """An order of three units a line that was shipped and captured."""
    items = [{"skuId": "kb-01", "quantity": 3, "price": 3.33}] * lines
    order = await ordered(bench, cart(items=items), method)
    await fulfil(bench, order, *((at, 3, 0) for at in range(lines)))
    await bench.advance(60)
    return order


def of(order: Json, *items: Json, **members: object) -> Json:
    """The body of a refund or a return of lines."""
    named = [{"itemId": order["items"][item.pop("at", 0)]["id"], **item} for item in map(dict, items)]
    return {"orderId": order["id"], "currency": "USD", **({"items": named} if named else {}), **members}


async def test_a_refund_by_items_has_its_amounts_there(bench: Bench) -> None:
    """Law: no top-level amount; that of the whole order has one, and may be sent as text."""
    order = await captured(bench)
    by_items = await made(bench, "/refunds", of(order, {"quantity": "2", "percent": 100}))
    assert "amount" not in by_items
    assert [item["amount"] for item in by_items["items"]] == [7.19]
    by_amount = await made(bench, "/refunds", of(order, amount="1.50"))
    assert (by_amount["amount"], by_amount["items"]) == (1.5, [])


async def test_the_shipping_of_a_line_is_paid_back_apart(bench: Bench) -> None:
    """Law: an item of the type ``shipping`` is its own money, and no more than there is of it."""
    order = await captured(bench)
    refund = await made(bench, "/refunds", of(order, {"quantity": 3, "percent": 50, "type": "shipping"}))
    assert [(item["amount"], item["type"]) for item in refund["items"]] == [(2.7, "shipping")]
    expected = "The requested refund amount is greater than the available amount."
    again = of(order, {"quantity": 3, "percent": 100, "type": "shipping"})
    assert await refused(bench, "POST", "/refunds", again) == (400, "invalid_parameter", "amountRequested", expected)
    whole = of(order, type="shipping", percent=100)
    assert (await made(bench, "/refunds", whole))["amount"] == 2.7
    assert (await made(bench, "/refunds", of(order, {"quantity": 3, "percent": 100})))["items"][0]["amount"] == 10.79


async def test_the_metadata_of_a_refund_can_be_changed(bench: Bench) -> None:
    """Law: merged and told; what else is named is refused, and changes nothing."""
    order = await captured(bench)
    refund = await made(bench, "/refunds", of(order, percent=100, metadata={"a": "1"}))
    both = {"metadata": {"c": "3"}, "amount": 9}
    found = await refused(bench, "POST", f"/refunds/{refund['id']}", both)
    assert found[:3] == (400, "unknown_parameter", "amount")
    status, changed = await ask(bench, "POST", f"/refunds/{refund['id']}", {"metadata": {"b": "2"}})
    assert (status, changed) == (200, {**refund, "metadata": {"a": "1", "b": "2"}})
    assert [event["data"]["object"] for event in await events(bench, "refund.updated")] == [changed]  # type: ignore[index]  # JSON
    found = await refused(bench, "POST", "/refunds/re_x", {"metadata": {}})
    assert found == (404, "not_found", "id", "Refund 're_x' not found.")


async def accept(bench: Bench, back: Json, *units: tuple[int, int]) -> Json:
    """Accept units of a return: which of its lines, how many."""
    items = [
        {"itemId": back["items"][at]["itemId"], "quantity": str(count), "state": "accepted"} for at, count in units
    ]
    status, answer = await ask(bench, "POST", f"/returns/{back['id']}", {"items": items})
    assert status == 200, answer
    return answer


async def test_a_return_has_a_refund_for_each_shipment_that_came_back(bench: Bench) -> None:
    """Law: nothing until all of it is there; then one refund for what came together, adding up to the lines' price."""
    order = await captured(bench, lines=2)
    back = await made(bench, "/returns", of(order, {"quantity": 3}, {"at": 1, "quantity": 1}))
    assert "refundIds" not in back
    assert (await accept(bench, back, (0, 1)))["state"] == "created"
    assert (await ask(bench, "GET", f"/refunds?orderId={order['id']}"))[1]["data"] == []
    assert (await accept(bench, back, (1, 1)))["state"] == "created"
    whole = await accept(bench, back, (0, 2))
    assert whole["state"] == "accepted"
    refunds = (await ask(bench, "GET", f"/refunds?orderId={order['id']}"))[1]["data"]
    assert [refund["id"] for refund in reversed(refunds)] == whole["refundIds"]
    amounts = [[item["amount"] for item in refund["items"]] for refund in reversed(refunds)]
    assert amounts == [[3.6], [3.6], [7.19]]
    told = await events(bench, "refund.pending", "return.accepted")
    assert [event["type"] for event in told] == [*["refund.pending"] * 3, "return.accepted"]
    assert all("refundIds" not in event["data"]["object"] for event in told)  # type: ignore[index]  # JSON


async def test_more_than_is_to_come_is_not_accepted(bench: Bench) -> None:
    """Law: all or nothing of a request."""
    order = await captured(bench, lines=2)
    back = await made(bench, "/returns", of(order, {"quantity": 3}, {"at": 1, "quantity": 1}))
    items = [{"itemId": item["itemId"], "quantity": 2, "state": "accepted"} for item in back["items"]]
    expected = (409, "quantity_too_large", "items[1].qty", "Return quantity is larger than order quantity")
    assert await refused(bench, "POST", f"/returns/{back['id']}", {"items": items}) == expected
    assert (await ask(bench, "GET", f"/returns/{back['id']}"))[1]["items"][0]["quantityAccepted"] == 0


@pytest.mark.parametrize("kind", [None, "non_fraud_chargeback"])
async def test_a_chargeback_says_whose_it_is(bench: Bench, kind: str | None) -> None:
    """Law: the order by both ids, the line, the kind; the lane finds our order without asking."""
    order = await captured(bench)
    body = {"action": "chargeback", "amount": "5.00", **({"type": kind} if kind else {})}
    await bench.admin(f"orders/{order['id']}/dispute", {"action": "open"})
    await bench.admin(f"orders/{order['id']}/dispute", body)
    told = await events(bench, "order.chargeback")
    taken: Any = told[0]["data"]
    line = order["items"][0]
    assert {name: taken["object"][name] for name in ("type", "orderId", "orderUpstreamId", "lineItemId", "skuId")} == {
        "type": kind or "fraud_chargeback",
        "orderId": order["id"],
        "orderUpstreamId": "A-1",
        "lineItemId": line["id"],
        "skuId": "kb-01",
    }
    assert (taken["object"]["amount"], taken["object"]["liveMode"]) == (5.0, False)
    read = read_webhook(msgspec.json.encode(told[0]))
    assert read is not None
    assert (read[1].upstream_id, read[1].amount) == ("A-1", 500)


async def test_a_dispute_refuses_in_the_documented_words(bench: Bench) -> None:
    """Law: code, parameter and message of each request that a dispute refuses."""
    order = await captured(bench)
    await bench.admin(f"orders/{order['id']}/dispute", {"action": "open"})
    detail = "{} cannot be performed while there is a dispute on the order."
    assert await refused(bench, "POST", "/refunds", of(order, percent=100)) == (
        (400, "invalid_parameter", "order", detail.format("A refund"))
    )
    assert await refused(bench, "POST", "/returns", of(order, {"quantity": 1})) == (
        (409, "invalid_parameter", "order", detail.format("A return"))
    )
    items = {"orderId": order["id"], "items": [{"itemId": order["items"][0]["id"], "quantity": 1}]}
    assert await refused(bench, "POST", "/fulfillments", items) == (
        (409, "order_not_submitted", "orderId", f"Order '{order['id']}' has not been submitted.")
    )


async def test_an_authorisation_that_ran_out_is_refused_as_in_the_sample(bench: Bench) -> None:
    """Law: without a type, with a description in place of a message."""
    order = await ordered(bench, method="card_reauth_fail")
    items = [{"itemId": order["items"][0]["id"], "quantity": 1}]
    status, answer = await ask(bench, "POST", "/fulfillments", {"orderId": order["id"], "items": items})
    assert (status, list(answer)) == (409, ["errors"])
    assert sorted(answer["errors"][0]) == ["code", "description", "parameter"]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"percent": 100, "currency": "EUR"}, ("currency", "Currency EUR is not supported.")),
        ({"amount": 999}, ("amountRequested", "The requested refund amount is greater than the available amount.")),
        ({"percent": 50, "type": "tax"}, ("percentRequested", "Only full tax refunds are supported.")),
    ],
)
async def test_a_refund_is_refused_in_the_documented_words(bench: Bench, members: Json, expected: Any) -> None:
    """Law: 400 with the documented parameter and message."""
    order = await captured(bench)
    found = await refused(bench, "POST", "/refunds", of(order, **members))
    assert found == (400, "invalid_parameter", *expected)


@pytest.mark.parametrize("percent", [None, 40, 100])
async def test_a_chargeback_that_is_triggered_takes_what_is_left(bench: Bench, percent: int | None) -> None:
    """Law: an event without an amount has what is captured and not paid back; with nothing left there is no such event."""
    order = await captured(bench)
    left = order["totalAmount"]
    if percent is not None:
        left -= (await made(bench, "/refunds", of(order, percent=percent)))["amount"]
    asked = {"type": "order.chargeback", "send": False}
    async with bench.session.post(f"{bench.url}/_admin/events", json=asked) as answer:
        shown = await answer.json()
    if left:
        assert shown["event"]["data"]["object"]["amount"] == pytest.approx(left)
    else:
        assert (answer.status, "nothing is left" in shown["error"]) == (400, True)
