"""The rest of the simulator's resources: updates, replaced and detached sources, lists, and what people outside decide."""

from __future__ import annotations

import msgspec
import pytest

from tests.contract.provider.bench import Bench, attach, create, place

KEY = {"Authorization": "Bearer sk_test_simulator"}


async def _ask(bench: Bench, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
    data = None if body is None else msgspec.json.encode(body)
    async with bench.session.request(method, bench.url + path, data=data, headers=KEY) as answer:
        content = await answer.read()
        return answer.status, msgspec.json.decode(content, type=dict[str, object]) if content else {}


def _rows(body: dict[str, object]) -> list[object]:
    rows = body["data"]
    assert isinstance(rows, list)
    return [row["id"] for row in rows]


async def _checkout_id(bench: Bench, order_id: str = "A-1") -> str:
    created = await bench.call(create(order_id))
    assert created.checkout is not None
    return created.checkout.checkout_id


async def test_an_update_prices_anew_and_keeps_the_lines(bench: Bench) -> None:
    """Law: a new destination changes the tax; lines, quantities and prices cannot be changed (documented)."""
    checkout_id = await _checkout_id(bench)
    address = {"line1": "1 Test Rd", "city": "Berlin", "postalCode": "10115", "country": "DE"}
    status, body = await _ask(
        bench, "POST", f"/checkouts/{checkout_id}", {"shipTo": {"name": "Pat", "address": address}}
    )
    assert (status, body["totalTax"], body["totalAmount"]) == (200, 6.65, 41.65)
    items = body["items"]
    assert isinstance(items, list)
    assert items[0]["metadata"] == {"line": "1"}
    refused, error = await _ask(
        bench, "POST", f"/checkouts/{checkout_id}", {"items": [{"id": items[0]["id"], "price": 1}]}
    )
    assert (refused, "unknown_parameter" in str(error)) == (400, True)


async def test_a_replaced_or_detached_source_is_cancelled_for_good(bench: Bench) -> None:
    """Law: a single-use source that leaves a checkout cannot come back."""
    checkout_id = await _checkout_id(bench)
    for source_id in ("sim-card-1", "sim-card-1", "sim-card-2"):
        assert (await bench.call(attach("A-1", checkout_id, source_id))).result == "confirmed"
    assert (await bench.call(attach("A-1", checkout_id, "sim-card-1"))).status == 409
    assert (await _ask(bench, "DELETE", f"/checkouts/{checkout_id}/sources/sim-card-2"))[0] == 204
    assert (await _ask(bench, "DELETE", f"/checkouts/{checkout_id}/sources/sim-card-2"))[0] == 409
    assert (await _ask(bench, "GET", "/sources/sim-card-2"))[1]["state"] == "cancelled"


async def test_a_source_pays_for_one_order(bench: Bench) -> None:
    """Law: a consumed source is refused on another checkout."""
    order = await bench.placed("A-1")
    assert order.checkout_id is not None
    outcome = await bench.call(attach("A-2", await _checkout_id(bench, "A-2"), "sim-card-A-1"))
    assert outcome.problem is not None
    assert outcome.problem.code == "source_not_chargeable"


async def test_lists_filter_by_what_they_are_asked(bench: Bench) -> None:
    """Law: each filter narrows, together they narrow further, newest first."""
    first, second = await bench.placed("A-1"), await bench.placed("A-2", "wire")
    ids = {
        "/orders": [second.dr_order_id, first.dr_order_id],
        "/orders?limit=1": [second.dr_order_id],
        "/orders?upstreamIds=A-1": [first.dr_order_id],
        "/orders?upstreamIds=A-1,A-2&state=pending_payment": [second.dr_order_id],
        f"/orders?ids={first.dr_order_id}": [first.dr_order_id],
        f"/orders?checkoutId={first.checkout_id}&upstreamIds=A-2": [],
        "/orders?createdTime[gte]=2100-01-01T00:00:00Z": [],
        f"/checkouts?ids={first.checkout_id}": [first.checkout_id],
        "/checkouts?upstreamIds=A-2": [second.checkout_id],
        "/skus?ids=kb-01": ["kb-01"],
    }
    for path, expected in ids.items():
        assert _rows((await _ask(bench, "GET", path))[1]) == expected, path


async def test_an_orders_upstream_id_can_be_changed(bench: Bench) -> None:
    """Law: the only changes that an order takes are upstream id and metadata, and lists follow."""
    order = await bench.placed("A-1")
    body = {"upstreamId": "B-1", "metadata": {"x": "y"}, "email": "other@example.org"}
    status, changed = await _ask(bench, "POST", f"/orders/{order.dr_order_id}", body)
    assert (status, changed["upstreamId"], changed["email"]) == (200, "B-1", "pat@example.org")
    assert _rows((await _ask(bench, "GET", "/orders?upstreamIds=B-1"))[1]) == [order.dr_order_id]
    assert _rows((await _ask(bench, "GET", "/orders?upstreamIds=A-1"))[1]) == []


@pytest.mark.parametrize(
    ("method", "action", "body", "state"),
    [
        ("wire", "payment", {"received": True}, "accepted"),
        ("wire", "payment", {"received": False}, "cancelled"),
        ("redirect", "payment", {"received": True}, "accepted"),
        ("card_review", "review", {"passed": False}, "blocked"),
        ("card_review_blocked", "review", {"passed": True}, "accepted"),
        ("card_review_held", "review", {"passed": True}, "accepted"),
        ("wire_held", "payment", {"received": True}, "accepted"),
    ],
)
async def test_people_outside_decide_before_the_clock_does(
    bench: Bench, method: str, action: str, body: dict[str, object], state: str
) -> None:
    """Law: a decision by hand holds; what the clock had planned changes it no more."""
    order = await bench.placed("A-1", method)
    assert await bench.admin(f"orders/{order.dr_order_id}/{action}", body) == {"state": state}
    await bench.advance(120)
    assert (await bench.read(order)).state == state


@pytest.mark.parametrize(
    ("email", "state"),
    [("holdpass@fraud.com", "accepted"), ("holdblock@fraud.com", "blocked"), ("block@fraud.com", None)],
)
async def test_the_test_shoppers_force_a_fraud_result(bench: Bench, email: str, state: str | None) -> None:
    """Law: the e-mails of Digital River's own test cases behave as there."""
    created = await bench.call(create("A-1"))
    assert created.checkout is not None
    checkout_id = created.checkout.checkout_id
    await _ask(bench, "POST", f"/checkouts/{checkout_id}", {"email": email, "sourceId": "sim-card-1"})
    outcome = await bench.call(place("A-1", checkout_id))
    if state is None:
        assert outcome.problem is not None
        assert (outcome.status, outcome.problem.code) == (409, "fraud_block")
        return
    assert outcome.order is not None
    assert outcome.order.state == "in_review"
    await bench.advance(60)
    assert (await bench.read(outcome.order)).state == state


async def test_the_clock_refuses_to_go_back(bench: Bench) -> None:
    """Law: a bad move is refused and nothing falls due."""
    for advance in (-1, "soon", 1e12):
        async with bench.session.post(f"{bench.url}/_admin/clock", json={"advance_s": advance}) as answer:
            assert answer.status == 400


@pytest.mark.parametrize(("method", "state"), [("card_review_held", "in_review"), ("wire_held", "pending_payment")])
async def test_a_held_order_waits_for_people(bench: Bench, method: str, state: str) -> None:
    """Law: whatever the delays are, the clock decides nothing for a day: a story may take its time."""
    order = await bench.placed("A-1", method)
    assert order.state == state
    await bench.advance(86_400)
    assert (await bench.read(order)).state == state
