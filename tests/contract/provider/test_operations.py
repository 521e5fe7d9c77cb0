"""What the simulator serves, and how it answers to what it does not."""

from __future__ import annotations

from typing import Final

import msgspec
import pytest

from orderflow.simulator.server import ROUTES
from tests.architecture.test_docs_reference import DOCUMENTED_OPERATIONS
from tests.contract.provider import document
from tests.contract.provider.bench import Bench

needs_document = pytest.mark.skipif(not document.is_there(), reason=document.MISSING)

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


@needs_document
def test_the_operations_are_those_of_the_document() -> None:
    """Law: each takes exactly the documented parameters; ``ids`` of events is ours."""
    known = document.document()
    assert len(known.operations) == DOCUMENTED_OPERATIONS
    for route in ROUTES:
        ours = {"ids"} if route.path == "/events" else set()
        assert {one.name for one in route.parameters} == known.parameters(route.method, route.path) | ours, route.path
    lists = [path for method, path in known.operations if (method, path) in document.SERVED and method == "GET"]
    documented = sum(len(known.parameters("GET", path)) for path in lists if "{" not in path and path != "/webhooks")
    assert documented >= 104


@needs_document
async def test_what_the_document_has_and_nobody_serves_is_refused(bench: Bench) -> None:
    """Law: 404 or 405 with the documented body, for each of them, and no error of the simulator's own."""
    served = {(method, document.plain(path)) for method, path in document.SERVED}
    others = [found for found in document.document().operations if found not in served]
    assert len(others) > 50
    for method, path in others:
        url = bench.url + path.replace("{}", "x-1")
        async with bench.session.request(method, url, headers=KEY, data=b"{}") as answer:
            assert answer.status in (404, 405), (method, path)
            assert msgspec.json.decode(await answer.read(), type=dict[str, object])["errors"]
