"""The simulator as a server: its refusals, its gates, and the rules of its resources, seen from outside."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from orderflow.digitalriver import writing
from statemachine.errors import Unavailable
from statemachine.messages.ids import RemoteOrderId
from tests.contract.provider.bench import Bench, allow, cart_with, create, fulfil, place

KEY = {"Authorization": "Bearer sk_test_simulator"}


async def _ask(bench: Bench, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, object]]:
    async with bench.session.request(method, bench.url + path, data=body, headers=KEY) as answer:
        assert answer.headers["x-dr-requestid"]
        content = await answer.read()
        return answer.status, msgspec.json.decode(content, type=dict[str, object]) if content else {}


def _code(body: dict[str, object]) -> object:
    errors = body["errors"]
    assert isinstance(errors, list)
    return errors[0].get("code")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nowhere", None, 404, "not_found"),
        ("PATCH", "/orders", b"{}", 405, "method_not_allowed"),
        ("POST", "/orders", b"not json", 400, "invalid_format"),
        ("POST", "/orders", b"[]", 400, "invalid_format"),
        ("POST", "/orders", b"{}", 400, "missing_parameter"),
        ("POST", "/orders", b'{"checkoutId":"x"}', 404, "not_found"),
        ("POST", "/checkouts", b'{"currency":"USD"}', 400, "missing_parameter"),
        ("POST", "/checkouts", b'{"currency":"XXX","items":[]}', 400, "invalid_parameter"),
        ("POST", "/fulfillments", b'{"orderId":"1","items":[{}]}', 400, "not_found"),
        (
            "PUT",
            "/skus/a%20b",
            b'{"name":"n","taxCode":"t","countryOfOrigin":"US","eccn":"E"}',
            400,
            "invalid_parameter",
        ),
        ("PUT", "/skus/a", b'{"name":"n","taxCode":"t","countryOfOrigin":"KP","eccn":"E"}', 400, "invalid_parameter"),
        ("PUT", "/skus/a", b'{"name":"n"}', 400, "missing_parameter"),
        ("GET", "/orders?limit=0", None, 400, "invalid_parameter"),
        ("GET", "/events?type=a&types=b", None, 400, "invalid_parameter"),
    ],
)
async def test_refusals_have_digital_rivers_body(
    bench: Bench, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    """Law: status, type and the first error's code are the documented ones."""
    answered, answer = await _ask(bench, method, path, body)
    assert (answered, _code(answer)) == (status, code)
    assert answer["type"]


async def test_a_sku_is_created_then_updated(bench: Bench) -> None:
    """Law: ``PUT`` answers 201 for a new SKU and 200 for a known one; deleting it twice is harmless for the provider."""
    body = b'{"name":"n","taxCode":"t","countryOfOrigin":"US","eccn":"EAR99"}'
    assert (await _ask(bench, "PUT", "/skus/s1", body))[0] == 201
    assert (await _ask(bench, "PUT", "/skus/s1", body))[0] == 200
    assert (await bench.provider.delete_sku("s1", allow)).problem is None
    assert (await bench.provider.delete_sku("s1", allow)).problem is None
    refused = await bench.provider.put_sku("s1", {"name": "n"}, allow)
    assert refused.problem is not None
    assert refused.problem.code == "missing_parameter"


async def test_as_much_metadata_fits_as_a_cart_may_have(bench: Bench) -> None:
    """Law: 20 pairs with ours among them."""
    fits = await bench.call(create("A-1", cart_with(metadata={f"k{number}": "v" for number in range(19)})))
    assert fits.result == "confirmed"


async def test_too_much_metadata_is_refused(bench: Bench) -> None:
    """Law: one pair more than 20 is a refusal that leaves nothing behind."""
    sku = {"name": "Thing", "taxCode": "4323.310_A", "countryOfOrigin": "US", "eccn": "EAR99"}
    more = {**sku, "metadata": {f"k{number}": "v" for number in range(21)}}
    status, body = await _ask(bench, "PUT", "/skus/too-much", msgspec.json.encode(more))
    assert (status, _code(body)) == (400, "too_many_metadata_pairs")
    status, _ = await _ask(bench, "GET", "/skus/too-much")
    assert status == 404


async def test_a_consumed_checkout_names_its_order(bench: Bench) -> None:
    """Law: the documented 404 with ``orderId``."""
    order = await bench.placed("A-1")
    status, body = await _ask(bench, "POST", "/orders", msgspec.json.encode({"checkoutId": order.checkout_id}))
    assert (status, _code(body)) == (404, "not_found")
    assert order.dr_order_id in str(body)


async def test_more_than_is_open_cannot_be_shipped(bench: Bench) -> None:
    """Law: refused as a whole, and nothing moves; a fulfilled order takes no more."""
    order = await bench.placed("A-1")
    over = await bench.call(fulfil("A-1", order, (4, 0), command_id="over"))
    assert over.problem is not None
    assert over.problem.code == "invalid_quantity_amount"
    both = await bench.call(fulfil("A-1", order, (2, 2), command_id="both"))
    assert both.result == "rejected"
    await bench.call(fulfil("A-1", order, (3, 0), command_id="all"))
    late = await bench.call(fulfil("A-1", order, (1, 0), command_id="late"))
    assert late.problem is not None
    assert (late.problem.code, late.status) == ("order_fulfilled", 409)


async def test_an_unpaid_order_cannot_be_shipped(bench: Bench) -> None:
    """Law: 409 ``order_not_submitted`` until it is accepted."""
    order = await bench.placed("A-1", "wire")
    early = await bench.call(fulfil("A-1", order, (1, 0)))
    assert early.problem is not None
    assert (early.problem.code, early.status) == ("order_not_submitted", 409)


async def test_an_order_needs_a_source_and_a_shipping_choice(bench: Bench) -> None:
    """Law: these refusals leave the checkout usable."""
    created = await bench.call(create("A-1"))
    assert created.checkout is not None
    unfunded = await bench.call(place("A-1", created.checkout.checkout_id))
    assert unfunded.problem is not None
    assert (unfunded.problem.code, unfunded.status) == ("order_submit_failed", 400)

    command = create("A-2")
    body = writing.checkout_body(writing.cart_of(command), command)
    del body["shippingChoice"]
    _, checkout = await _ask(bench, "POST", "/checkouts", writing.encode({**body, "sourceId": "sim-card-A-2"}))
    unshipped = await bench.call(place("A-2", str(checkout["id"])))
    assert unshipped.problem is not None
    assert unshipped.problem.code == "invalid_shipping_choice"


async def test_a_source_of_an_unknown_method_is_not_found(bench: Bench) -> None:
    """Law: only ``sim-`` sources of a known method come into being."""
    created = await bench.call(create("A-1"))
    assert created.checkout is not None
    for source_id in ("sim-gold-1", "src-1"):
        status, body = await _ask(bench, "POST", f"/checkouts/{created.checkout.checkout_id}/sources/{source_id}")
        assert (status, _code(body)) == (404, "not_found")


async def test_an_order_of_nothing_to_pay_completes_without_a_charge(bench: Bench) -> None:
    """Law: no source, no charge, no capture; the order still ends."""
    free = cart_with(
        items=[{"line": "1", "sku_id": "kb-01", "quantity": 1, "price": "0.00"}],
        shipping={"amount": "0.00", "description": "s", "service_level": "SG"},
    )
    created = await bench.call(create("A-1", free))
    assert created.checkout is not None
    outcome = await bench.call(place("A-1", created.checkout.checkout_id))
    assert outcome.order is not None
    await bench.call(fulfil("A-1", outcome.order, (1, 0)))
    assert (await bench.read(outcome.order)).state == "complete"


async def test_a_gate_holds_a_request_whose_effect_has_happened(bench: Bench) -> None:
    """Law: sent, done, not answered, until the gate opens; others pass."""
    checkout = await bench.ready_checkout("A-1")
    await bench.admin("gates", {"method": "POST", "path": "/orders", "point": "after"})
    call = asyncio.get_running_loop().create_task(bench.call(place("A-1", checkout.checkout_id)))
    async with asyncio.timeout(5):
        while (await bench.books("A-1"))["orders"] == 0:
            continue
    assert not call.done()
    assert await bench.provider.look(place("A-1", checkout.checkout_id)) is not None
    assert await bench.admin("gates/open", {}) == {"released": 1}
    assert (await call).result == "confirmed"


async def test_faults_merge_and_say_what_they_are(bench: Bench) -> None:
    """Law: partial updates keep the rest; 429 of the fault is as real as the limit's."""
    await bench.faults(error_before_effect=1.0)
    await bench.faults(slow_ms=1)
    with pytest.raises(Unavailable):
        await bench.provider.read_order(RemoteOrderId("1"))
    async with bench.session.get(f"{bench.url}/_admin/faults") as answer:
        faults = msgspec.json.decode(await answer.read())
    assert (faults["error_before_effect"], faults["slow_ms"], faults["down"]) == (1.0, 1, False)
    async with bench.session.post(f"{bench.url}/_admin/faults", json={"nonsense": 1}) as answer:
        assert answer.status == 400


async def test_money_of_other_currencies_has_their_digits(bench: Bench) -> None:
    """Law: the books print amounts as the contract does, also without minor units."""
    cart = cart_with(
        currency="JPY",
        items=[{"line": "1", "sku_id": "kb-01", "quantity": 1, "price": "3300"}],
        shipping={"amount": "500", "description": "s", "service_level": "SG"},
    )
    order = await bench.placed("A-1", cart=cart)
    assert order.total == 3800 + order.tax
    assert (await bench.books("A-1"))["authorized"] == str(order.total)
