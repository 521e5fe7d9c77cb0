"""Requests to the simulator as a client sends them that orderflow did not write."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.contract.provider.bench import Bench

KEY = {"Authorization": "Bearer sk_test_simulator"}
Json = dict[str, Any]

ADDRESS: Json = {"line1": "1 Test Rd", "city": "Minneapolis", "postalCode": "55401", "state": "MN", "country": "US"}
PARTY: Json = {"name": "Pat Doe", "address": ADDRESS}


def cart(**changes: object) -> Json:
    """The body of a checkout: three units of 10.00 with 5.00 shipping, 37.81 in all."""
    body: Json = {
        "currency": "USD",
        "email": "pat@example.org",
        "upstreamId": "A-1",
        "shipFrom": {"address": {"country": "US", "postalCode": "55344"}},
        "shipTo": PARTY,
        "billTo": PARTY,
        "shippingChoice": {"amount": 5, "description": "standard", "serviceLevel": "SG"},
        "items": [{"skuId": "kb-01", "quantity": 3, "price": 10}],
    }
    return {name: value for name, value in {**body, **changes}.items() if value is not None}


async def ask(bench: Bench, method: str, path: str, body: object = None) -> tuple[int, Json]:
    """The status and the object of an answer."""
    data = None if body is None else msgspec.json.encode(body)
    async with bench.session.request(method, bench.url + path, data=data, headers=KEY) as answer:
        content = await answer.read()
        return answer.status, msgspec.json.decode(content, type=Json) if content else {}


async def made(bench: Bench, path: str, body: object) -> Json:
    """What a create made."""
    status, answer = await ask(bench, "POST", path, body)
    assert status == 201, answer
    return answer


async def refused(bench: Bench, method: str, path: str, body: object) -> tuple[int, str, str | None, str | None]:
    """Status, code, parameter and message of a refusal."""
    status, answer = await ask(bench, method, path, body)
    assert status >= 400, answer
    first = answer["errors"][0]
    return status, first["code"], first.get("parameter"), first.get("message")


async def ordered(bench: Bench, body: Json | None = None, method: str = "card") -> Json:
    """An order that was placed with a source of its own."""
    checkout = await made(bench, "/checkouts", body or cart())
    status, answer = await ask(bench, "POST", f"/checkouts/{checkout['id']}/sources/sim-{method}-{checkout['id']}")
    assert status == 200, answer
    return await made(bench, "/orders", {"checkoutId": checkout["id"]})
