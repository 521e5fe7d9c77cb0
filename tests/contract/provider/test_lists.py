"""The simulator's lists: every documented parameter narrows, in each form that clients send, and no other is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlencode

import msgspec
import pytest

from orderflow.simulator.resources.call import Route
from orderflow.simulator.server import ROUTES
from orderflow.simulator.state.filters import Kind, Parameter
from tests.contract.provider.bench import Bench, cart_with, fulfil, refund

KEY: Final = {"Authorization": "Bearer sk_test_simulator"}
LISTS: Final = {route.path: route for route in ROUTES if any(one.kind is Kind.LIMIT for one in route.parameters)}
PAGING: Final = ("limit", "startingAfter", "endingBefore")
FAR, LONG_AGO = "2100-01-01T00:00:00Z", "2000-01-01T00:00:00Z"

Query = Mapping[str, object]


async def _ask(bench: Bench, path: str, query: Query | None = None) -> tuple[int, dict[str, object]]:
    url = bench.url + path + (f"?{urlencode(query, doseq=True)}" if query else "")
    async with bench.session.get(url, headers=KEY) as answer:
        return answer.status, msgspec.json.decode(await answer.read(), type=dict[str, object])


async def _rows(bench: Bench, path: str, query: Query | None = None) -> list[dict[str, object]]:
    status, body = await _ask(bench, path, {"limit": "100", **(query or {})})
    assert status == 200, (path, query, body)
    return msgspec.convert(body["data"], list[dict[str, object]])


async def _ids(bench: Bench, path: str, query: Query) -> set[object]:
    return {row["id"] for row in await _rows(bench, path, query)}


async def _post(bench: Bench, path: str, body: Mapping[str, object]) -> dict[str, object]:
    async with bench.session.post(bench.url + path, data=msgspec.json.encode(body), headers=KEY) as answer:
        assert answer.status < 300, await answer.text()
        return msgspec.json.decode(await answer.read(), type=dict[str, object])


async def _fill(bench: Bench) -> None:
    """A world with an order in each state, and everything that a filter can ask for."""
    sku = {"name": "n", "taxCode": "4323.310_A", "countryOfOrigin": "US", "eccn": "EAR99"}
    await _post(bench, "/skus", {**sku, "id": "s-1", "partNumber": "P-1", "hsCode": "8471.60", "skuGroupId": "g-1"})
    await _post(bench, "/customers", {"id": "c-1", "email": "c@example.org", "requestToBeForgotten": True})
    for number, method in enumerate(("card_review_blocked", "card_review_held", "wire_held", "wire_unpaid", "card")):
        await bench.placed(f"A-{number}", method)
    await bench.advance(120)
    for number in range(3):
        order = await bench.placed(f"B-{number}", cart=cart_with(locale="de_DE"))
        await bench.call(fulfil(f"B-{number}", order, (3, 0)))
        if number == 2:
            await bench.advance(120)
            await bench.call(refund(order, amount=100))
            body = {"orderId": order.dr_order_id, "items": [{"itemId": order.items[0].item_id, "quantity": 3}]}
            made = await _post(bench, "/returns", {**body, "reason": "worn"})
            await _post(bench, f"/returns/{made['id']}", {"state": "accepted"})
            await bench.advance(120)
    failing = await bench.placed("C-1", "card_refund_fail")
    await bench.call(fulfil("C-1", failing, (3, 0)))
    await bench.advance(120)
    body = {"orderId": failing.dr_order_id, "currency": "USD", "reason": "late"}
    await _post(bench, "/refunds", {**body, "items": [{"itemId": failing.items[0].item_id, "quantity": 1}]})
    await bench.advance(120)
    address = {"line1": "1 Test Rd", "city": "Minneapolis", "state": "MN", "postalCode": "55401", "country": "US"}
    party = {"name": "Pat Doe", "address": address}
    item = {"skuId": "s-1", "price": 5, "quantity": 1, "subscriptionInfo": {"subscriptionId": "sub-1"}}
    checkout = {
        "currency": "USD", "email": "pat@example.org", "items": [item], "shipTo": party, "billTo": party,
        "shipFrom": {"address": {"country": "US", "postalCode": "55344"}}, "shippingChoice": {"amount": 1},
        "customerId": "c-1", "applicationId": "app-1", "browserIp": "203.0.113.9", "locale": "en_US",
        "chargeType": "merchant_initiated", "customerType": "business", "upstreamId": "D-1", "sourceId": "sim-card-D-1",
    }  # fmt: skip
    placed = await _post(bench, "/checkouts", checkout)
    order_made = await _post(bench, "/orders", {"checkoutId": placed["id"]})
    lines = msgspec.convert(order_made["items"], list[dict[str, object]])
    shipped = {"orderId": order_made["id"], "items": [{"itemId": lines[0]["id"], "quantity": 1}]}
    await _post(bench, "/fulfillments", {**shipped, "trackingCompany": "UPS", "trackingNumber": "1Z-1"})
    [invoice] = await _rows(bench, "/events", {"type": "order.invoice.created", "limit": "1"})
    data = msgspec.convert(invoice["data"], dict[str, dict[str, object]])
    link = {"fileId": data["object"]["fileId"], "expiresTime": "2099-01-01T00:00:00Z"}
    await _post(bench, "/file-links", link)
    mine = {"file": "eA==", "fileName": "a.png", "title": "Mine", "purpose": "tax_document_customer_upload"}
    await _post(bench, "/files", mine)


def _value(row: dict[str, object], name: str) -> object:
    """What an answer shows of the value that a filter is about."""
    items = msgspec.convert(row.get("items", []), list[dict[str, object]])
    if name == "skuId":
        return next((item["skuId"] for item in items), None)
    if name == "subscriptionId":
        return "sub-1" if row.get("upstreamId") == "D-1" else None
    outer, _, inner = name.rpartition(".")
    for transitions in (outer,) if outer else ("stateTransitions",):
        states = row.get(transitions)
        if isinstance(states, dict) and inner in states:
            return states[inner]
    if name == "amount" and "amount" not in row:
        return sum(float(str(item["amount"])) for item in items) or None
    return row.get({"ids": "id", "upstreamIds": "upstreamId", "types": "type"}.get(name, name))


def _hits(parameter: Parameter, value: object) -> Iterator[Query]:
    """Queries that find what has ``value``."""
    name = parameter.name
    match parameter.kind:
        case Kind.NAMES:
            yield from ({name: [value, "x"]}, {name: f"x,{value}"}, {f"{name}[]": ["x", value]}, {f"{name}[0]": value})
        case Kind.FLAG:
            yield from ({name: str(value).lower()}, {name: int(bool(value))})
        case Kind.TIME | Kind.AMOUNT:
            yield {name: value}
            yield from ({f"{name}[{operator}]": value} for operator in ("eq", "gte", "lte"))
            yield {f"{name}[gt]": LONG_AGO if parameter.kind is Kind.TIME else "-1"}
            yield {f"{name}[lt]": FAR if parameter.kind is Kind.TIME else "99999"}
        case _:
            yield {name: value}


def _misses(parameter: Parameter, value: object) -> Iterator[Query]:
    """Queries that find nothing that has ``value``."""
    name = parameter.name
    match parameter.kind:
        case Kind.FLAG:
            yield {name: str(not value).lower()}
        case Kind.TIME | Kind.AMOUNT:
            yield from ({f"{name}[gt]": value}, {f"{name}[lt]": value})
        case Kind.EXACT_AMOUNT:
            yield {name: "12345.67"}
        case _:
            yield {name: "no-such-value"}


def test_all_documented_list_parameters_are_there() -> None:
    """Law: 104 are documented for orders and goods, 7 for links, 10 for files, 4 for groups; ``ids`` of events is ours."""
    documented = sum(len(route.parameters) for path, route in LISTS.items() if path != "/webhooks")
    assert (len(LISTS) >= 8, documented) == (True, 126)


@pytest.mark.parametrize("route", LISTS.values(), ids=lambda route: route.path)
async def test_each_parameter_narrows_its_list(bench: Bench, route: Route) -> None:
    """Law: what has the value is found in every form of asking for it, and what has another value is not."""
    await _fill(bench)
    rows = await _rows(bench, route.path)
    for parameter in route.parameters:
        if parameter.name in PAGING or route.path == "/webhooks":
            continue
        found = [(row["id"], _value(row, parameter.name)) for row in rows]
        row_id, value = next((pair for pair in found if pair[1] is not None), (None, None))
        assert value is not None, f"nothing to find with {parameter.name}"
        for query in _hits(parameter, value):
            assert row_id in await _ids(bench, route.path, query), query
        for query in _misses(parameter, value):
            assert row_id not in await _ids(bench, route.path, query), query


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("query", "code", "parameter"),
    [
        ("colour=red", "unknown_parameter", "colour"),
        ("0=a&1=b", "unknown_parameter", "0"),
        ("limit[gt]=1", "unknown_parameter", "limit[gt]"),
        ("limit=0", "invalid_parameter", "limit"),
        ("limit=101", "invalid_parameter", "limit"),
        ("limit=ten", "invalid_parameter", "limit"),
        ("startingAfter=a&startingAfter=b", "invalid_parameter", "startingAfter"),
    ],
)
async def test_what_a_list_does_not_take_is_refused(
    bench: Bench, path: str, query: str, code: str, parameter: str
) -> None:
    """Law: 400 with the documented body, which names the parameter: nothing is ignored in silence."""
    status, body = await _ask(bench, f"{path}?{query}")
    assert (status, body["type"]) == (400, "bad_request")
    error = msgspec.convert(body["errors"], list[dict[str, str]])[0]
    assert (error["code"], error["parameter"], bool(error["message"])) == (code, parameter, True)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("createdTime[since]=2020-01-01T00:00:00Z", "unknown_parameter"),
        ("createdTime=yesterday", "invalid_parameter"),
        ("totalAmount[gt]=much", "invalid_parameter"),
        ("totalAmount=NaN", "invalid_parameter"),
        ("refundedAmount[gt]=1", "unknown_parameter"),
        ("state=a&state=b", "invalid_parameter"),
        ("expand=true", "unknown_parameter"),
    ],
)
async def test_a_filter_that_cannot_be_read_is_refused(bench: Bench, query: str, code: str) -> None:
    """Law: an operator that does not exist and a value of a wrong kind are no empty list."""
    status, body = await _ask(bench, f"/orders?{query}")
    assert status == 400
    assert msgspec.convert(body["errors"], list[dict[str, str]])[0]["code"] == code


async def test_a_page_follows_an_item_that_no_longer_fits(bench: Bench) -> None:
    """Law: the next page is there although the cursor's item changed its state in between."""
    first, second = await bench.placed("A-1", "wire_held"), await bench.placed("A-2", "wire_held")
    await bench.admin(f"orders/{second.dr_order_id}/payment", {"received": True})
    query = {"state": "pending_payment", "startingAfter": second.dr_order_id}
    assert await _ids(bench, "/orders", query) == {first.dr_order_id}


async def test_events_are_found_by_a_wildcard(bench: Bench) -> None:
    """Law: ``*`` stands for any text, a name without it for itself; ``type`` and ``types`` together are refused."""
    await bench.placed("A-1")
    kinds = {row["type"] for row in await _rows(bench, "/events")}
    for pattern, expected in {
        "order.*": {kind for kind in kinds if str(kind).startswith("order.")},
        "*.created": {kind for kind in kinds if str(kind).endswith(".created")},
        "order.accepted": {"order.accepted"},
        "order.accepte": set(),
        "orderxaccepted": set(),
        "*": kinds,
    }.items():
        assert {row["type"] for row in await _rows(bench, "/events", {"type": pattern})} == expected, pattern
    both = {"types": ["order.accepted", "checkout.created"]}
    assert {row["type"] for row in await _rows(bench, "/events", both)} == set(both["types"])
    assert (await _ask(bench, "/events", {"type": "a", **both}))[0] == 400
    assert (await _ask(bench, "/events", {"types": ",".join(f"a.{number}" for number in range(20))}))[0] == 400


async def test_events_reach_back_thirty_days(bench: Bench) -> None:
    """Law: what is older is not listed; the shown time of an event is a bound that finds it."""
    await bench.placed("A-1")
    old = await _rows(bench, "/events")
    await bench.advance(30 * 86_400 - 60)
    await bench.placed("A-2")
    newest = (await _rows(bench, "/events"))[0]
    assert len(await _rows(bench, "/events")) > len(old)
    bound = {"createdTime[gte]": newest["createdTime"], "createdTime[lte]": newest["createdTime"]}
    assert await _ids(bench, "/events", bound) == {newest["id"]}
    await bench.advance(120)
    kept = await _rows(bench, "/events")
    assert kept
    assert {row["id"] for row in kept}.isdisjoint(row["id"] for row in old)


async def test_an_order_is_expanded_on_request(bench: Bench) -> None:
    """Law: ``expand`` adds what the product is: whether it is physical, and its metadata (documented)."""
    order = await bench.placed("A-1")

    async def details(query: Query) -> Mapping[str, object]:
        status, body = await _ask(bench, f"/orders/{order.dr_order_id}", query)
        assert status == 200
        found = msgspec.convert(body["items"], list[dict[str, object]])[0].get("productDetails", {})
        return msgspec.convert(found, dict[str, object])

    for yes in ("true", "1"):
        assert (await details({"expand": yes}))["physical"] is True
    assert "metadata" not in await details({"expand": "false"})
    assert (await _ask(bench, f"/orders/{order.dr_order_id}", {"expand": "perhaps"}))[0] == 400
