"""A simulator in a thread of its own, as a server beside the commands of a test, and requests to it."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from orderflow.simulator import SimulatorOptions, serve_simulator
from tests.cli.in_thread import in_thread


@contextlib.contextmanager
def simulator_in_thread(options: SimulatorOptions) -> Iterator[str]:
    """Its address, while the context lasts."""
    with in_thread(lambda: serve_simulator(options)) as (simulator, _):
        yield simulator.url


def request(url: str, method: str, path: str, body: object = None) -> Any:
    """The JSON of a successful answer."""
    asked = urllib.request.Request(  # noqa: S310  # a simulator of the test
        url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": "Bearer sk_test_simulator", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:  # noqa: S310
            content = answer.read()
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {path}: {error.code} {error.read()[:300]!r}") from error
    return json.loads(content) if content else None


_ADDRESS = {
    "name": "Pat Doe",
    "address": {"line1": "1 Test Rd", "city": "Minneapolis", "state": "MN", "postalCode": "55401", "country": "US"},
}
SKU = {"name": "Mug", "eccn": "EAR99", "taxCode": "4323.310_A", "countryOfOrigin": "US"}


def make_order(url: str, upstream_id: str, source: str = "card") -> dict[str, Any]:
    """An order of two mugs, through SKU, checkout and source."""
    request(url, "PUT", "/skus/mug", SKU)
    checkout = {
        "currency": "USD",
        "upstreamId": upstream_id,
        "email": "pat@example.org",
        "billTo": _ADDRESS,
        "shipTo": _ADDRESS,
        "shipFrom": {"address": {"country": "US"}},
        "shippingChoice": {"amount": 4.95, "description": "parcel", "serviceLevel": "SG"},
        "items": [{"skuId": "mug", "quantity": 2, "price": 9.5}],
    }
    made = request(url, "POST", "/checkouts", checkout)
    request(url, "POST", f"/checkouts/{made['id']}", {"sourceId": f"sim-{source}-{upstream_id}"})
    order: dict[str, Any] = request(url, "POST", "/orders", {"checkoutId": made["id"], "upstreamId": upstream_id})
    return order


def ship(url: str, order: dict[str, Any], quantity: int = 2) -> Any:
    """A fulfilment of the order's only line."""
    items = [{"itemId": order["items"][0]["id"], "quantity": quantity}]
    return request(url, "POST", "/fulfillments", {"orderId": order["id"], "items": items})
