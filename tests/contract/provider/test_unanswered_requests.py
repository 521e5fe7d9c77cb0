"""Requests that are not answered: those that take effect after their client gave up, and those that never do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from orderflow.simulator import SimulatorOptions, serve_simulator
from statemachine.errors import TransportFailure
from statemachine.messages.ids import RemoteOrderId
from tests.contract.provider.bench import SKU, Bench, open_bench, place, refund

#: Seconds of the simulator's clock: only moving it lets a late request take effect within a test.
LATE = 40.0


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A provider that gives up soon."""
    async with open_bench(timeout_seconds=0.4) as opened:
        yield opened


async def _gives_up(bench: Bench, order_id: str) -> None:
    """Ask for the order of a ready checkout, and get no answer."""
    checkout = await bench.ready_checkout(order_id)
    await bench.faults(late_effect=1.0, late_effect_s=LATE)
    with pytest.raises(TransportFailure) as caught:
        await bench.call(place(order_id, checkout.checkout_id))
    assert caught.value.sent
    await bench.faults(late_effect=0.0)


async def test_a_late_request_takes_effect_once_after_its_client_gave_up(bench: Bench) -> None:
    """Law: no answer and no effect at first, then one effect, though its connection is long gone."""
    await _gives_up(bench, "A-1")
    assert (await bench.books("A-1"))["orders"] == 0
    await bench.advance(LATE - 2)
    assert (await bench.books("A-1"))["orders"] == 0
    await bench.advance(2)
    assert (await bench.books("A-1"))["orders"] == 1
    await bench.advance(86_400)
    assert (await bench.books("A-1"))["orders"] == 1


async def test_who_asks_again_before_a_late_effect_has_it_twice(bench: Bench) -> None:
    """Law: the late effect comes whatever the client does: a refund that was asked again meanwhile is paid twice."""
    order = await bench.placed("A-1")
    async with bench.session.post(
        f"{bench.url}/fulfillments",
        headers={"Authorization": "Bearer sk_test_simulator"},
        json={"orderId": order.dr_order_id, "items": [{"itemId": order.items[0].item_id, "quantity": 3}]},
    ) as answer:
        assert answer.status == 201
    await bench.advance(60)
    await bench.faults(late_effect=1.0, late_effect_s=LATE)
    with pytest.raises(TransportFailure):
        await bench.call(refund(order, amount=500))
    await bench.faults(late_effect=0.0)
    assert (await bench.call(refund(order, amount=500))).result == "confirmed"
    await bench.advance(LATE + 60)
    book = await bench.books("A-1")
    assert (book["refunds"], book["refunded"]) == (2, "10.00")


async def test_a_client_that_waits_is_left_without_an_answer_too(bench: Bench) -> None:
    """Law: the connection is held until the effect, then closed without a byte; what the answer said can be looked up."""
    checkout = await bench.ready_checkout("A-1")
    await bench.faults(late_effect=1.0, late_effect_s=0.3)
    headers = {"Authorization": "Bearer sk_test_simulator"}
    body = {"checkoutId": checkout.checkout_id}
    began = time.monotonic()
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await bench.session.post(f"{bench.url}/orders", headers=headers, json=body)
    assert time.monotonic() - began >= 0.25
    found = await bench.provider.look(place("A-1", checkout.checkout_id))
    assert found is not None
    assert found.result == "confirmed"


async def test_what_is_late_is_not_taken_back_by_the_switches(bench: Bench) -> None:
    """Law: it was taken; ``down``, another rate and a shut gate are for requests that come after it."""
    await _gives_up(bench, "A-1")
    await bench.faults(down=True)
    await bench.admin("gates", {"method": "POST", "path": "/orders", "point": "after"})
    await bench.advance(LATE)
    assert (await bench.books("A-1"))["orders"] == 1


async def test_a_gate_before_a_late_request_holds_it_before_its_delay(bench: Bench) -> None:
    """Law: behind the gate it is not taken yet; its delay begins when it goes on, at the rate that holds then."""
    checkout = await bench.ready_checkout("A-1")
    await bench.admin("gates", {"method": "POST", "path": "/orders", "point": "before"})
    with pytest.raises(TransportFailure):
        await bench.call(place("A-1", checkout.checkout_id))
    await bench.faults(late_effect=1.0, late_effect_s=LATE)
    await bench.admin("gates/open", {})
    await asyncio.sleep(0.1)
    assert (await bench.books("A-1"))["orders"] == 0
    await bench.advance(LATE)
    assert (await bench.books("A-1"))["orders"] == 1


async def test_the_delay_is_counted_from_when_the_answer_was_due(bench: Bench) -> None:
    """Law: what ``slow_ms`` adds comes before it."""
    checkout = await bench.ready_checkout("A-1")
    await bench.faults(late_effect=1.0, late_effect_s=0.3, slow_ms=300)
    began = time.monotonic()
    with pytest.raises(TransportFailure):
        await bench.call(place("A-1", checkout.checkout_id))
    async with asyncio.timeout(5):
        while (await bench.books("A-1"))["orders"] == 0:  # noqa: ASYNC110  # the simulator tells nobody
            await asyncio.sleep(0.01)
    assert time.monotonic() - began >= 0.55


async def test_a_late_request_that_is_refused_then_has_no_effect(bench: Bench) -> None:
    """Law: it meets the world as it is when it takes effect: the checkout was ordered meanwhile, so there is one order."""
    checkout = await bench.ready_checkout("A-1")
    await bench.faults(late_effect=1.0, late_effect_s=LATE)
    with pytest.raises(TransportFailure):
        await bench.call(place("A-1", checkout.checkout_id))
    await bench.faults(late_effect=0.0)
    assert (await bench.call(place("A-1", checkout.checkout_id))).result == "confirmed"
    await bench.advance(LATE)
    assert (await bench.books("A-1"))["orders"] == 1


async def test_reads_are_never_late(bench: Bench) -> None:
    """Law: only what writes has an effect to be late with."""
    await _gives_up(bench, "A-1")
    await bench.faults(late_effect=1.0, late_effect_s=LATE)
    assert await bench.provider.read_order(RemoteOrderId("900100000009")) is None


async def test_an_unanswered_request_has_no_effect_ever(bench: Bench) -> None:
    """Law: held without an answer, for reads too, and nothing happens."""
    checkout = await bench.ready_checkout("A-1")
    await bench.faults(unanswered=1.0)
    with pytest.raises(TransportFailure):
        await bench.call(place("A-1", checkout.checkout_id))
    with pytest.raises(TransportFailure):
        await bench.provider.read_order(RemoteOrderId("1"))
    await bench.faults(unanswered=0.0)
    await bench.advance(86_400)
    assert (await bench.books("A-1"))["orders"] == 0


@pytest.mark.parametrize("fault", ["late_effect", "unanswered"])
async def test_a_simulator_that_stops_does_not_wait_for_held_requests(fault: str) -> None:
    """Law: their connections are closed at once, and nothing takes effect afterwards."""
    headers = {"Authorization": "Bearer sk_test_simulator"}
    async with aiohttp.ClientSession() as session:
        async with serve_simulator(SimulatorOptions(port=0, rate=0)) as served:
            async with session.post(f"{served.url}/_admin/faults", json={fault: 1.0}) as answer:
                assert answer.status == 200
            held = asyncio.ensure_future(session.put(f"{served.url}/skus/S-1", headers=headers, json=dict(SKU)))
            await asyncio.sleep(0.2)
            assert not held.done()
            began = time.monotonic()
        assert time.monotonic() - began < 0.9  # the shutdown's own limit is 1 s
        with pytest.raises(aiohttp.ClientError):
            await held


@pytest.mark.parametrize("wrong", [{"late_effect": 1.5}, {"late_effect_s": -1}, {"unanswered": -0.1}])
async def test_a_rate_above_one_and_a_negative_time_are_refused(bench: Bench, wrong: dict[str, float]) -> None:
    """Law: 400, and the faults stay as they were."""
    async with bench.session.post(f"{bench.url}/_admin/faults", json=wrong) as answer:
        assert answer.status == 400
    async with bench.session.get(f"{bench.url}/_admin/faults") as answer:
        faults = await answer.json()
    assert (faults["late_effect"], faults["late_effect_s"], faults["unanswered"]) == (0.0, 45.0, 0.0)
