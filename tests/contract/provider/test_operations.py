"""What the simulator serves, and how it answers to what it does not."""

from __future__ import annotations

from typing import Final

import msgspec
import pytest

from tests.contract.provider.bench import Bench

KEY: Final = {"Authorization": "Bearer sk_test_simulator"}


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/invoices", 404, None),
        ("POST", "/tax-identifiers", 404, None),
        ("GET", "/charges", 404, None),
        ("GET", "/orders/1/tracking", 404, None),
        ("POST", "/checkouts/store-credits", 404, None),
        ("DELETE", "/orders/1", 405, {"GET", "POST"}),
        ("PUT", "/orders", 405, {"GET", "POST"}),
        ("POST", "/events", 405, {"GET"}),
        ("DELETE", "/fulfillments/1", 405, {"GET", "POST"}),
    ],
)
async def test_what_is_not_served_is_refused_as_documented(
    bench: Bench, method: str, path: str, status: int, allow: set[str] | None
) -> None:
    """Law: an unknown path is 404, another method of a known one 405 with those that are allowed, each with an error body."""
    async with bench.session.request(method, bench.url + path, headers=KEY, data=b"{}") as answer:
        body = msgspec.json.decode(await answer.read(), type=dict[str, object])
        allowed = answer.headers.get("Allow")
    kind = "not_found" if status == 404 else "method_not_allowed"
    assert (answer.status, body["type"]) == (status, kind)
    assert msgspec.convert(body["errors"], list[dict[str, str]])[0]["code"] == kind
    assert (None if allowed is None else set(allowed.split(","))) == allow
