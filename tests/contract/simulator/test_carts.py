"""What a cart may say and how the answer repeats it: products, parties, discounts, shipping; and orders without a checkout."""

from __future__ import annotations

from typing import Any

import pytest

from orderflow.simulator import SimulatorOptions
from orderflow.simulator.carts.tax_codes import DIGITAL, DIGITAL_BEFORE, PHYSICAL, PHYSICAL_BEFORE
from tests.contract.provider.bench import Bench, events, open_bench
from tests.contract.simulator.asking import ADDRESS, PARTY, Json, ask, cart, made, ordered, refused

DETAILS: Json = {
    "id": "p-1",
    "skuGroupId": "wireless-keyboards",
    "name": "Keyboard",
    "countryOfOrigin": "US",
    "weight": 1.5,
    "weightUnit": "kg",
}


def without(member: str) -> Json:
    """The address without one member."""
    return {"name": "Pat Doe", "address": {name: value for name, value in ADDRESS.items() if name != member}}


def sku(**members: object) -> Json:
    """A SKU; None leaves a member out."""
    body = {"name": "n", "taxCode": "P0000000", "countryOfOrigin": "US", "eccn": "EAR99", **members}
    return {name: value for name, value in body.items() if value is not None}


async def test_a_discount_comes_back_as_numbers_with_its_quantity(bench: Bench) -> None:
    """Law: amounts are JSON numbers; without a quantity the discount is for the whole line."""
    items = [
        {"skuId": "kb-01", "quantity": 3, "price": 10, "discount": {"amountOff": 2.5}},
        {"skuId": "kb-01", "quantity": 3, "price": 10, "discount": {"percentOff": 10, "quantity": 1}},
    ]
    checkout = await made(bench, "/checkouts", cart(items=items))
    assert [item["discount"] for item in checkout["items"]] == [
        {"amountOff": 2.5, "quantity": 3},
        {"percentOff": 10.0, "quantity": 1},
    ]
    assert checkout["totalDiscount"] == 8.5
    changed = (await ask(bench, "POST", f"/checkouts/{checkout['id']}", {"locale": "de_DE"}))[1]
    assert changed["items"][0]["discount"] == {"amountOff": 2.5, "quantity": 3}


@pytest.mark.parametrize("inclusive", [False, True])
async def test_shipping_is_shown_in_full_and_its_discount_apart(bench: Bench, inclusive: bool) -> None:
    """Law: ``shippingChoice.amount`` and ``totalShipping`` stay gross; the total and its tax are of what is left."""
    body = cart(shippingChoice={"amount": 8.0}, shippingDiscount={"percentOff": 25}, taxInclusive=inclusive)
    checkout = await made(bench, "/checkouts", body)
    assert checkout["totalDiscount"] == 2.0
    assert checkout["shippingChoice"]["amount"] == checkout["totalShipping"]
    if not inclusive:
        assert (checkout["totalShipping"], checkout["subtotal"], checkout["totalTax"]) == (8.0, 36.0, 2.89)
    parts = [*(item["amount"] for item in checkout["items"]), checkout["totalShipping"], -2.0, checkout["totalTax"]]
    assert round(sum(parts), 2) == checkout["totalAmount"]


@pytest.mark.parametrize("members", [{"sourceId": ""}, {"customerId": ""}])
async def test_an_empty_id_is_none(bench: Bench, members: Json) -> None:
    """Law: Digital River's own connector sends ``"sourceId": ""`` in every create and update."""
    checkout = await made(bench, "/checkouts", cart(**members))
    assert "customerId" not in checkout
    status, changed = await ask(bench, "POST", f"/checkouts/{checkout['id']}", members)
    assert (status, changed["payment"]["sources"]) == (200, [])


async def test_product_details_are_always_in_the_answer(bench: Bench) -> None:
    """Law: those of the SKU, or as they were given; also in the order."""
    items = [{"skuId": "kb-01", "quantity": 1, "price": 10}, {"productDetails": DETAILS, "quantity": 2, "price": 3}]
    order = await ordered(bench, cart(items=items))
    of_sku, given = order["items"]
    assert of_sku["skuId"] == "kb-01"
    assert of_sku["productDetails"] == {
        "id": "kb-01",
        "name": "Keyboard",
        "countryOfOrigin": "US",
        "weight": 20.0,
        "weightUnit": "oz",
    }
    assert "skuId" not in given
    assert given["productDetails"] == DETAILS


@pytest.mark.parametrize(
    ("member", "value", "expected"),
    [
        ("skuGroupId", None, (400, "missing_parameter", "skuGroupId", "An item of type sku is missing a skuGroupId parameter.")),
        ("countryOfOrigin", None, (400, "missing_parameter", "countryOfOrigin", "must not be null")),
        ("countryOfOrigin", "KP", (400, "invalid_parameter", "countryOfOrigin", "'KP' is not a valid Country of Origin.")),
        ("name", None, (400, "missing_parameter", "name", "A parameter is missing.")),
    ],
)  # fmt: skip
async def test_product_details_need_what_is_documented(bench: Bench, member: str, value: object, expected: Any) -> None:
    """Law: refused in the documented words."""
    details = {name: part for name, part in {**DETAILS, member: value}.items() if part is not None}
    items = [{"productDetails": details, "quantity": 1, "price": 1}]
    assert await refused(bench, "POST", "/checkouts", cart(items=items)) == expected


async def test_a_sku_in_a_group_needs_only_a_name(bench: Bench) -> None:
    """Law: the group has the tax code, the export class and the origin."""
    assert (await ask(bench, "PUT", "/skus/g-1", {"name": "n", "skuGroupId": "g"}))[0] == 201
    assert (await ask(bench, "PUT", "/skus/g-2", {"name": "n"}))[0] == 400
    checkout = await made(bench, "/checkouts", cart(items=[{"skuId": "g-1", "quantity": 1, "price": 1}]))
    assert checkout["items"][0]["productDetails"] == {"id": "g-1", "skuGroupId": "g", "name": "n"}
    for query, found in (("", [{"id": "g", "alias": "g"}]), ("?ids=g,h", [{"id": "g", "alias": "g"}]), ("?ids=h", [])):
        assert (await ask(bench, "GET", f"/sku-groups{query}"))[1]["data"] == found


def test_there_are_58_documented_tax_codes() -> None:
    """Law: no code is both, and the list that is documented last has 58."""
    assert len(PHYSICAL | DIGITAL) == len(PHYSICAL) + len(DIGITAL) == 58
    assert not (PHYSICAL | PHYSICAL_BEFORE) & (DIGITAL | DIGITAL_BEFORE)


@pytest.mark.parametrize(
    ("members", "physical"),
    [
        ({"taxCode": "4323.310_A"}, True),
        ({"taxCode": "P0000000"}, True),
        ({"taxCode": "PC040133"}, True),
        ({"taxCode": "DC020500", "weight": 1}, False),
        ({"taxCode": "4512.100"}, False),
        ({"taxCode": "unheard of"}, False),
        ({"taxCode": "unheard of", "weight": 1}, True),
    ],
)
async def test_the_tax_code_says_what_is_physical(bench: Bench, members: Json, physical: bool) -> None:
    """Law: by the code; a weight decides only for a code that nobody has documented."""
    assert (await ask(bench, "PUT", "/skus/s-1", sku(**members)))[1]["physical"] is physical


@pytest.mark.parametrize(
    ("member", "parameter"),
    [
        ("line1", "address.line1"),
        ("city", "shipTo.address.city"),
        ("state", "shipTo.address.state"),
        ("postalCode", "shipTo.address.postalCode"),
        ("country", "shipTo.address.country"),
    ],
)
async def test_the_destination_of_physical_goods_is_checked_at_once(bench: Bench, member: str, parameter: str) -> None:
    """Law: a create and an update refuse it; digital goods take it."""
    expected = (400, "missing_parameter", parameter, "A parameter is missing.")
    assert await refused(bench, "POST", "/checkouts", cart(shipTo=without(member))) == expected
    checkout = await made(bench, "/checkouts", cart())
    path = f"/checkouts/{checkout['id']}"
    assert await refused(bench, "POST", path, {"shipTo": without(member)}) == expected
    assert (await ask(bench, "GET", path))[1]["shipTo"] == PARTY
    await ask(bench, "PUT", "/skus/d-1", sku(taxCode="DC020500"))
    digital = cart(shipTo=without(member), items=[{"skuId": "d-1", "price": 1}])
    if member != "country":
        await made(bench, "/checkouts", digital)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"email": None}, ("order_create_failed", "email")),
        ({"shipTo": {"address": ADDRESS}}, ("missing_parameter", "shipping.name")),
        ({"shipTo": None}, ("missing_parameter", "shipTo.address.country")),
        ({"shipFrom": None}, ("missing_parameter", "shipFrom.address")),
        ({"shippingChoice": None}, ("invalid_shipping_choice", "shippingChoice")),
        ({"billTo": {"address": ADDRESS}}, ("missing_parameter", "billTo.name")),
    ],
)
async def test_an_order_says_what_its_checkout_lacks(bench: Bench, changes: Json, expected: tuple[str, str]) -> None:
    """Law: the documented code and parameter, and the checkout stays usable."""
    checkout = await made(bench, "/checkouts", cart(**changes, sourceId="sim-card-1"))
    found = await refused(bench, "POST", "/orders", {"checkoutId": checkout["id"]})
    assert (found[0], found[1:3]) == (400, expected)
    await ask(bench, "POST", f"/checkouts/{checkout['id']}", cart(items=None))
    assert (await ask(bench, "POST", "/orders", {"checkoutId": checkout["id"]}))[0] == 201


async def test_lines_may_be_shipped_from_places_of_their_own(bench: Bench) -> None:
    """Law: a line's ``shipFrom`` stands for the checkout's, comes back, and can be changed; a bad one names its line."""
    own = {"address": {"country": "DE", "postalCode": "10115"}}
    items = [{"skuId": "kb-01", "quantity": 1, "price": 10, "shipFrom": own}]
    checkout = await made(bench, "/checkouts", cart(items=items, shipFrom=None, sourceId="sim-card-1"))
    assert checkout["items"][0]["shipFrom"] == own
    other = {"address": {"country": "FR"}}
    line = {"id": checkout["items"][0]["id"], "shipFrom": other}
    changed = (await ask(bench, "POST", f"/checkouts/{checkout['id']}", {"items": line}))[1]
    assert changed["items"][0]["shipFrom"] == other
    order = await made(bench, "/orders", {"checkoutId": checkout["id"]})
    assert order["items"][0]["shipFrom"] == other
    bad = [{**items[0], "shipFrom": {"address": {"line1": "x"}}}]
    found = await refused(bench, "POST", "/checkouts", cart(items=bad))
    assert found[:3] == (400, "missing_parameter", "items[0].shipFrom.address.country")


async def test_whom_a_checkout_bills_is_its_sources_owner_when_it_does_not_say(bench: Bench) -> None:
    """Law: ``billTo`` is filled in by the primary source; one that was given stands."""
    checkout = await made(bench, "/checkouts", cart(billTo=None))
    assert "billTo" not in checkout
    await ask(bench, "POST", f"/checkouts/{checkout['id']}/sources/sim-card-1")
    filled = (await ask(bench, "GET", f"/checkouts/{checkout['id']}"))[1]
    assert filled["billTo"] == {"name": "Pat Doe", "email": "pat@example.org", "address": ADDRESS}
    order = await made(bench, "/orders", {"checkoutId": checkout["id"]})
    assert order["billTo"] == filled["billTo"]
    given = {**PARTY, "name": "Ada Bill"}
    assert (await ordered(bench, cart(billTo=given)))["billTo"] == given
    await ask(bench, "PUT", "/skus/d-1", sku(taxCode="DC020500"))
    nameless = cart(billTo=None, shipTo=None, shippingChoice=None, items=[{"skuId": "d-1", "price": 1}])
    assert (await ordered(bench, nameless))["billTo"]["name"] == "Sam Shopper"


async def test_an_order_can_be_made_without_a_checkout(bench: Bench) -> None:
    """Law: the body is a cart with its source; no checkout of it can be seen, and a bad cart makes nothing."""
    order = await made(bench, "/orders", cart(sourceId="sim-card-1"))
    assert (order["state"], order["totalAmount"], order["upstreamId"]) == ("accepted", 37.81, "A-1")
    assert "checkoutId" not in order
    assert (await ask(bench, "GET", "/checkouts?upstreamIds=A-1"))[1]["data"] == []
    assert (await ask(bench, "GET", "/orders?upstreamIds=A-1"))[1]["data"][0]["id"] == order["id"]
    books = await bench.books("A-1")
    assert (books["checkouts"], books["orders"]) == (0, 1)
    assert await events(bench, "checkout.created") == []
    found = await refused(bench, "POST", "/orders", cart())
    assert found == (400, "order_submit_failed", None, "Payment session status is invalid.")


async def test_a_changed_upstream_id_is_the_one_that_a_checkout_is_found_by(bench: Bench) -> None:
    """Law: the index moves with it, in the list and in the order that comes of it."""
    checkout = await made(bench, "/checkouts", cart(upstreamId=None))
    for upstream_id in ("B-1", "B-2"):
        await ask(bench, "POST", f"/checkouts/{checkout['id']}", {"upstreamId": upstream_id, "sourceId": "sim-card-1"})
    assert (await ask(bench, "GET", "/checkouts?upstreamIds=B-1"))[1]["data"] == []
    assert (await ask(bench, "GET", "/checkouts?upstreamIds=B-2"))[1]["data"][0]["id"] == checkout["id"]
    assert (await made(bench, "/orders", {"checkoutId": checkout["id"]}))["upstreamId"] == "B-2"


async def test_an_update_takes_a_currency(bench: Bench) -> None:
    """Law: the same figures in another currency, with its digits."""
    checkout = await made(bench, "/checkouts", cart())
    changed = (await ask(bench, "POST", f"/checkouts/{checkout['id']}", {"currency": "JPY"}))[1]
    assert (changed["currency"], changed["totalAmount"]) == ("JPY", 37.0)
    found = await refused(bench, "POST", f"/checkouts/{checkout['id']}", {"currency": "YEM"})
    assert found == (409, "invalid_parameter", "currency", "'YEM' is not a valid currency.")
    found = await refused(bench, "POST", f"/checkouts/{checkout['id']}", {"currency": "PAB"})
    assert found == (409, "currency_unactivated", "currency", "Currency 'PAB' is not activated.")


async def test_what_is_not_sold_is_a_conflict(bench: Bench) -> None:
    """Law: a currency that is none, and a country that nothing is sold to; the former with the documented type."""
    status, answer = await ask(bench, "POST", "/checkouts", cart(currency="YEM"))
    assert (status, answer["type"], answer["errors"][0]["code"]) == (409, "bad_request", "invalid_parameter")
    north = {"name": "Pat", "address": {**ADDRESS, "country": "KP"}}
    found = await refused(bench, "POST", "/checkouts", cart(shipTo=north))
    assert found == (409, "country_unsupported", "country", "Country 'KP' is not supported.")


async def test_a_detached_source_does_not_come_back(bench: Bench) -> None:
    """Law: it is cancelled for good, and the session says why."""
    checkout = await made(bench, "/checkouts", cart(sourceId="sim-card-1"))
    path = f"/checkouts/{checkout['id']}/sources/sim-card-1"
    assert (await ask(bench, "DELETE", path))[0] == 204
    expected = (409, "source_status_invalid_for_session", None, "The source status is invalid for this session.")
    assert await refused(bench, "POST", path, None) == expected
    other = await made(bench, "/checkouts", cart())
    assert await refused(bench, "POST", f"/checkouts/{other['id']}/sources/sim-card-1", None) == expected


async def test_nothing_left_to_pay_needs_no_source(bench: Bench) -> None:
    """Law: a session whose remaining amount is 0.0 can be ordered as it is."""
    checkout = await made(bench, "/checkouts", cart(discount={"percentOff": 100}, shippingChoice={"amount": 0}))
    session = checkout["payment"]["session"]
    assert (session["amountRemainingToBeContributed"], session["state"]) == (0.0, "requires_confirmation")
    assert (await made(bench, "/orders", {"checkoutId": checkout["id"]}))["state"] == "accepted"


@pytest.mark.parametrize("first", ["order-fraud-failure", "fraud_block"])
async def test_a_refusal_for_fraud_has_both_codes(first: Any) -> None:
    """Law: the option says which one comes first, for readers of one."""
    async with open_bench(SimulatorOptions(port=0, rate=0, fraud_code=first)) as bench:
        checkout = await made(bench, "/checkouts", cart(email="block@fraud.com", sourceId="sim-card-1"))
        status, answer = await ask(bench, "POST", "/orders", {"checkoutId": checkout["id"]})
    codes = [error["code"] for error in answer["errors"]]
    assert (status, codes[0], sorted(codes)) == (409, first, ["fraud_block", "order-fraud-failure"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"discount": {"amountOff": 0}}, (400, "invalid_discount_amount", "discount", "The value 0.0 is not permitted.")),
        (
            {"discount": {"percentOff": 0}},
            (400, "invalid_discount_percent", "discount", "The value must be an integer between 0.01 and 100.00 inclusive."),
        ),
        ({"shippingChoice": {"description": "x"}}, (400, "internal_error", None, "Client must provide shipping Cost")),
        (
            {"billTo": {**PARTY, "address": {**ADDRESS, "postalCode": "x"}}},
            (400, "invalid_parameter", "address.postalCode", "A required address parameter, postal code, is invalid."),
        ),
        (
            {"billTo": {**PARTY, "address": {**ADDRESS, "state": "XX"}}},
            (400, "invalid_parameter", "address.state", "A required address parameter, state/province, is invalid."),
        ),
    ],
)  # fmt: skip
async def test_a_cart_is_refused_in_the_documented_words(bench: Bench, changes: Json, expected: Any) -> None:
    """Law: code, parameter and message."""
    assert await refused(bench, "POST", "/checkouts", cart(**changes)) == expected
