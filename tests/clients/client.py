"""A client of Digital River's API in Python, on requests: a small library as a merchant would write it, and one order's life.

It knows nothing of orderflow. It is started as a process: ``python client.py URL KEY NAME``; what it saw is JSON on stdout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import requests

Body = dict[str, Any]


class ApiError(Exception):
    """A refusal: the status, and the first of its errors."""

    def __init__(self, status: int, body: Body) -> None:
        first = body["errors"][0]
        super().__init__(first["message"])
        self.seen = [status, body["type"], first.get("code"), first.get("parameter")]


class DigitalRiver:
    """The API: a session with its headers."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.headers.update({"Authorization": f"Bearer {key}", "DigitalRiver-Version": "2021-12-13"})

    def call(self, method: str, path: str, body: Body | None = None, **query: object) -> Body:
        """Send one request; lists among the parameters are exploded, as requests does."""
        answer = self._session.request(method, self.url + path, json=body, params=_flat(query), timeout=10)
        found: Body = answer.json() if answer.content else {}
        if not answer.ok:
            raise ApiError(answer.status_code, found)
        return found


def _flat(query: Mapping[str, object]) -> dict[str, Any]:
    """Deep objects and booleans as OpenAPI writes them."""
    flat: dict[str, Any] = {}
    for name, value in query.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}[{operator}]": part for operator, part in value.items()}
        else:
            flat[name] = str(value).lower() if isinstance(value, bool) else value
    return flat


def refused(call: Any, *arguments: Any, **query: object) -> list[object]:
    """What a call is refused with."""
    try:
        call(*arguments, **query)
    except ApiError as error:
        return error.seen
    return ["not refused"]


def _goods(**members: object) -> Body:
    return {"taxCode": "4323.310_A", "countryOfOrigin": "US", "eccn": "EAR99", **members}


def _checkout(sku: str, customer: str, upstream_id: str) -> Body:
    address = {"line1": "1 Test Rd", "city": "Minneapolis", "state": "MN", "postalCode": "55401", "country": "US"}
    party = {"name": "Pat Doe", "email": "pat@example.org", "address": address}
    return {
        "currency": "USD",
        "email": "pat@example.org",
        "customerId": customer,
        "upstreamId": upstream_id,
        "billTo": party,
        "shipTo": party,
        "shipFrom": {"address": {"country": "US", "postalCode": "55344"}},
        "shippingChoice": {"amount": 5, "description": "standard", "serviceLevel": "SG"},
        "items": [{"skuId": sku, "quantity": 3, "price": 10}],
    }


def live(river: DigitalRiver, name: str) -> Body:
    """The life of an order: SKU, customer, checkout, source, order, fulfilments, refund, return; then lists and errors."""
    sku, customer = f"sku-{name}", f"customer-{name}"
    keyboard = _goods(name="Keyboard", weight=1.5, weightUnit="lb", metadata={"colour": "black"})
    river.call("PUT", f"/skus/{sku}", keyboard)
    river.call("POST", "/customers", {"id": customer, "email": "pat@example.org"})
    checkout = river.call("POST", "/checkouts", _checkout(sku, customer, name))
    source = river.call("POST", f"/checkouts/{checkout['id']}/sources/sim-card-{name}")
    placed = river.call("POST", "/orders", {"checkoutId": checkout["id"]})
    order, item = placed["id"], placed["items"][0]["id"]
    expanded = river.call("GET", f"/orders/{order}", expand=True)["items"][0]["productDetails"]
    for quantity in (2, 1):
        shipped = {"orderId": order, "items": [{"itemId": item, "quantity": quantity}], "trackingNumber": "1Z"}
        river.call("POST", "/fulfillments", shipped)
    charge = river.call("GET", f"/charges/{placed['payment']['charges'][0]['id']}")
    refund = river.call("POST", "/refunds", {"orderId": order, "currency": "USD", "amount": 1.25, "reason": "late"})
    back = river.call("POST", "/returns", {"orderId": order, "items": [{"itemId": item, "quantity": 3}]})
    accepted = river.call("POST", f"/returns/{back['id']}", {"state": "accepted"})
    final = river.call("GET", f"/orders/{order}")
    return {
        "total": placed["totalAmount"],
        "source": source["state"],
        "placed": placed["state"],
        "expanded": [expanded["physical"], expanded["metadata"]],
        "captures": [len(charge["captures"]), round(sum(one["amount"] for one in charge["captures"]), 2)],
        "refund": refund["orderId"] == order,
        "return": accepted["state"],
        "final": [final["state"], final["refundedAmount"]],
        **_lists(river, sku, order, name),
        **_errors(river, checkout["id"], order, item),
    }


def _lists(river: DigitalRiver, sku: str, order: str, name: str) -> Body:
    other = river.call("POST", "/skus", _goods(id=f"other-{name}", name="Mouse"))["id"]

    def found(path: str, **query: Any) -> list[Body]:
        data: list[Body] = river.call("GET", path, **query)["data"]
        return data

    def ids(value: object) -> list[str]:
        return sorted(one["id"] for one in found("/skus", ids=value))

    first = river.call("GET", "/events", limit=2, type="order.*")
    following = found("/events", limit=2, type="order.*", startingAfter=first["data"][-1]["id"])
    return {
        "refunds": len(found("/refunds", orderId=order, state="succeeded")),
        "exploded": ids([sku, other]) == sorted([sku, other]),
        "commas": ids(f"{sku},{other}") == sorted([sku, other]),
        "one": ids([sku]) == [sku],
        "since": [
            len(found("/orders", upstreamIds=[name], createdTime={"gte": since}))
            for since in ("2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
        ],
        "amounts": len(found("/orders", upstreamIds=name, totalAmount={"gt": 30, "lt": 40})),
        "pages": [len(first["data"]), first["hasMore"], first["data"][0]["id"] != following[0]["id"]],
    }


def _errors(river: DigitalRiver, checkout: str, order: str, item: str) -> Body:
    again = {"orderId": order, "items": [{"itemId": item, "quantity": 1}]}
    return {
        "consumed": refused(river.call, "POST", "/orders", {"checkoutId": checkout}),
        "unknown": refused(river.call, "GET", "/orders", colour="red"),
        "missing": refused(river.call, "GET", "/orders/nowhere"),
        "method": refused(river.call, "DELETE", f"/orders/{order}"),
        "shipped": refused(river.call, "POST", "/fulfillments", again),
        "key": refused(DigitalRiver(river.url, "wrong").call, "GET", "/orders")[:1],
    }


if __name__ == "__main__":
    url, key, name = sys.argv[1:]
    sys.stdout.write(json.dumps(live(DigitalRiver(url, key), name)))
