"""Captures and cancels: one for each line of a fulfilment, exact to the cent, and what says which fulfilment made them."""

from __future__ import annotations

from typing import Any

import pytest

from orderflow.simulator import SimulatorOptions
from statemachine.messages.commands import RereadOrder
from statemachine.messages.ids import CommandId, OrderId, RemoteOrderId
from tests.contract.provider.bench import Bench, events, facts, open_bench
from tests.contract.simulator.asking import Json, ask, cart, made, ordered

LINES = [
    {"skuId": "kb-01", "quantity": 3, "price": 3.33},
    {"skuId": "kb-01", "quantity": 2, "price": 0.99},
    {"skuId": "kb-01", "quantity": 1, "price": 7.77},
]


async def fulfil(bench: Bench, order: Json, *units: tuple[int, int, int]) -> Json:
    """A fulfilment: which line, how many are shipped, how many cancelled."""
    items = [
        {"itemId": order["items"][at]["id"], "quantity": shipped, "cancelQuantity": cancelled}
        for at, shipped, cancelled in units
    ]
    return await made(bench, "/fulfillments", {"orderId": order["id"], "items": items})


def cents(operations: list[Json], state: str = "complete") -> int:
    """The money of those that ended so."""
    return sum(round(one["amount"] * 100) for one in operations if one["state"] == state)


@pytest.mark.parametrize(
    "steps",
    [
        [((0, 3, 0), (1, 2, 0), (2, 1, 0))],
        [((0, 1, 0), (1, 1, 0)), ((0, 2, 0), (1, 1, 0), (2, 1, 0))],
        [((0, 1, 1), (1, 0, 2)), ((0, 0, 1), (2, 1, 0))],
        [((0, 0, 3), (1, 0, 2), (2, 0, 1))],
    ],
)
async def test_each_line_has_its_own_operation_and_they_add_up(bench: Bench, steps: Any) -> None:
    """Law: one capture or cancel for each line of a fulfilment; together they are the total, whatever the parts."""
    order = await ordered(bench, cart(items=LINES, discount={"amountOff": 1.01}, shippingDiscount={"percentOff": 33}))
    for units in steps:
        await fulfil(bench, order, *units)
        await bench.advance(60)
    charge = (await ask(bench, "GET", f"/orders/{order['id']}"))[1]["payment"]["charges"][0]
    captures, cancels = charge.get("captures", []), charge.get("cancels", [])
    assert len(captures) == sum(shipped > 0 for units in steps for _, shipped, _ in units)
    assert len(cancels) == sum(cancelled > 0 for units in steps for _, _, cancelled in units)
    assert cents(captures) + cents(cancels) == round(order["totalAmount"] * 100)
    books = await bench.books("A-1")
    assert books["captures"] == sum(any(shipped for _, shipped, _ in units) for units in steps)
    assert books["cancels"] == sum(any(cancelled for _, _, cancelled in units) for units in steps)
    assert (books["captured"], books["cancelled"]) == (
        f"{cents(captures) / 100:.2f}",
        f"{cents(cancels) / 100:.2f}",
    )


async def test_only_a_charge_by_itself_names_the_fulfilment(bench: Bench) -> None:
    """Law: inside an order no capture has a ``fulfillmentId``; in the charge, its events and the fulfilment it is found."""
    order = await ordered(bench, cart(items=LINES))
    fulfilment = await fulfil(bench, order, (0, 1, 1), (1, 2, 0))
    inside = (await ask(bench, "GET", f"/orders/{order['id']}"))[1]["payment"]["charges"][0]
    assert all("fulfillmentId" not in one for one in (*inside["captures"], *inside["cancels"]))
    charge = (await ask(bench, "GET", f"/charges/{inside['id']}"))[1]
    operations = [*charge["captures"], *charge["cancels"]]
    assert {one["fulfillmentId"] for one in operations} == {fulfilment["id"]}
    whole = (await ask(bench, "GET", f"/fulfillments/{fulfilment['id']}"))[1]
    assert whole["chargeOperationIds"] == [one["id"] for one in operations]
    told = await events(bench, "fulfillment.created", "order.charge.capture.pending")
    assert [event["type"] for event in told] == ["fulfillment.created", *["order.charge.capture.pending"] * 2]
    assert told[0]["data"]["object"]["chargeOperationIds"] == whole["chargeOperationIds"]  # type: ignore[index]  # JSON


async def test_a_switch_names_the_fulfilment_inside_an_order_too() -> None:
    """Law: off unless it is asked for; an order keeps what held when it was placed."""
    async with open_bench(SimulatorOptions(port=0, rate=0, capture_delay=60.0, order_fulfillment_ids=True)) as bench:
        order = await ordered(bench, cart(items=LINES))
        fulfilment = await fulfil(bench, order, (0, 1, 1), (1, 2, 0))
        inside = (await ask(bench, "GET", f"/orders/{order['id']}"))[1]["payment"]["charges"][0]
        assert {one["fulfillmentId"] for one in (*inside["captures"], *inside["cancels"])} == {fulfilment["id"]}


async def test_a_fulfilment_is_captured_in_the_books_once_all_its_lines_are(bench: Bench) -> None:
    """Law: money counts line by line, the fulfilment when the last one is through."""
    order = await ordered(bench, cart(items=LINES), "card_capture_stuck")
    await fulfil(bench, order, (0, 1, 0), (1, 2, 0))
    await bench.advance(60)
    assert (await bench.books("A-1"))["captures"] == 0


async def test_a_reread_order_knows_which_fulfilment_each_capture_is_for(bench: Bench) -> None:
    """Law: without one webhook, a shipment is known to be captured: the charge is asked, since the order does not say it."""
    order = await ordered(bench, cart(items=LINES))
    first, second = (
        await fulfil(bench, order, (0, 1, 0), (1, 2, 0)),
        await fulfil(bench, order, (2, 0, 1)),
    )
    reread = RereadOrder(
        command_id=CommandId("c"),
        order_id=OrderId("A-1"),
        dr_order_id=RemoteOrderId(order["id"]),
        checkout_id=None,
        currency="USD",
    )
    outcome = await bench.call(reread)
    assert outcome.order is not None
    charge = outcome.order.charges[0]
    assert [one.fulfillment_id for one in charge.captures] == [first["id"]] * 2
    assert [one.fulfillment_id for one in charge.cancels] == [second["id"]]
    assert [one.fulfillment_id for one in outcome.fulfillments] == [first["id"], second["id"]]


async def test_each_capture_is_told_when_it_ends(bench: Bench) -> None:
    """Law: two lines are two events; both captures have ended when the first is told."""
    order = await ordered(bench, cart(items=LINES))
    await fulfil(bench, order, (0, 1, 0), (1, 2, 0))
    await bench.advance(60)
    told = await facts(bench, "order.charge.capture.complete")
    assert [[one.state for one in fact.charge.captures] for fact in told if fact.charge is not None] == [
        ["complete", "complete"],
        ["complete", "complete"],
    ]
