"""Whatever a request holds, the simulator answers in a documented way: it refuses what it cannot give back.

The answers are looked at by the fixture of this folder, as those of all tests are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
import pytest

from tests.contract.provider.bench import Bench, fulfil

KEY: Final = {"Authorization": "Bearer sk_test_simulator"}

#: One value of each kind, and texts and numbers that are out of bounds.
WRONG: Final[tuple[object, ...]] = (
    None,
    "",
    "x",
    "x" * 1000,
    True,
    0,
    -1,
    10**30,
    1.5,
    [],
    [1],
    ["x"],
    {},
    {"x": {}},
    [{}],
)

ADDRESS: Final = {
    "line1": "1 Test Rd", "line2": "2", "city": "Minneapolis", "state": "MN", "postalCode": "55401", "country": "US",
}  # fmt: skip
PARTY: Final = {
    "name": "Pat Doe", "phone": "1", "email": "pat@example.org", "organization": "o", "address": ADDRESS,
    "additionalAddressInfo": {"division": "d"},
}  # fmt: skip
SKU: Final = {
    "id": "s-1", "name": "n", "taxCode": "4323.310_A", "countryOfOrigin": "US", "eccn": "EAR99", "description": "d",
    "image": "i", "url": "u", "hsCode": "8471.60", "partNumber": "p", "manufacturerId": "m", "skuGroupId": "g",
    "itemBreadcrumb": "b", "weight": 1.5, "weightUnit": "oz", "managedFulfillment": "DRGlobalFulfillment",
    "metadata": {"a": "b", "c": 1, "d": True},
}  # fmt: skip
CUSTOMER: Final = {
    "id": "c-1", "email": "pat@example.org", "shipping": PARTY, "type": "business", "locale": "en_US", "enabled": True,
    "requestToBeForgotten": False, "defaultSourceId": "0d1f7a52-52a4-4b43-8f55-5e6f5f0f0a11", "metadata": {"a": "b"},
}  # fmt: skip
CHECKOUT: Final = {
    "currency": "USD", "email": "pat@example.org", "locale": "en_US", "browserIp": "203.0.113.9", "applicationId": "a",
    "customerId": "c-0", "customerType": "individual", "chargeType": "customer_initiated", "language": "en",
    "upstreamId": "A-1", "taxInclusive": False, "taxIdentifiers": [{"id": "t"}], "organization": {"id": "o"},
    "invoiceAttributeId": "i", "purchaseLocation": {"country": "US", "state": "MN", "postalCode": "55401"},
    "discount": {"percentOff": 10}, "shippingDiscount": {"amountOff": 1}, "shipTo": PARTY, "billTo": PARTY,
    "shipFrom": {"address": {"country": "US", "postalCode": "55344"}}, "metadata": {"a": "b"},
    "shippingChoice": {"id": "x", "amount": 5.0, "description": "d", "serviceLevel": "SG", "shippingTerms": "DDP"},
    "items": [
        {
            "skuId": "kb-01", "quantity": 2, "price": 10.0, "discount": {"amountOff": 1, "quantity": 1},
            "shipFrom": {"address": {"country": "US"}}, "metadata": {"a": "b"},
            "subscriptionInfo": {"subscriptionId": "s", "autoRenewal": True},
        }
    ],
}  # fmt: skip


def _spoilt(body: object) -> Iterator[object]:
    """The body with one part of it replaced by something else, for all parts and values."""
    if isinstance(body, dict):
        for name, part in body.items():
            for value in WRONG:
                yield {**body, name: value}
            for spoilt in _spoilt(part):
                yield {**body, name: spoilt}
    elif isinstance(body, list):
        for spoilt in _spoilt(body[0]):
            yield [spoilt, *body[1:]]


async def _send(bench: Bench, method: str, path: str, body: object) -> tuple[int, bytes]:
    async with bench.session.request(method, bench.url + path, data=msgspec.json.encode(body), headers=KEY) as answer:
        return answer.status, await answer.read()


async def _good(bench: Bench, method: str, path: str, body: object) -> Mapping[str, object]:
    status, content = await _send(bench, method, path, body)
    assert status < 300, content
    return msgspec.json.decode(content, type=dict[str, object])


async def _all_are_answered(bench: Bench, method: str, path: str, body: object) -> None:
    assert (await _send(bench, method, path, body))[0] < 300
    for spoilt in _spoilt(body):
        status, content = await _send(bench, method, path, spoilt)
        assert status < 500, (spoilt, content)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/skus/s-1", SKU),
        ("POST", "/customers", CUSTOMER),
        ("POST", "/customers/c-0", {**CUSTOMER, "id": "c-0"}),
        ("POST", "/checkouts", CHECKOUT),
        ("POST", "/checkouts/CHECKOUT", {name: part for name, part in CHECKOUT.items() if name != "items"}),
        ("POST", "/orders/ORDER", {"upstreamId": "B-1", "metadata": {"a": "b"}, "requestToBeForgotten": True}),
        ("POST", "/fulfillments/FULFILLMENT", {"trackingCompany": "c", "trackingNumber": "n", "trackingUrl": "u"}),
        ("POST", "/refunds", {"orderId": "ORDER", "currency": "USD", "amount": 0.01, "reason": "r", "metadata": {}}),
        (
            "POST",
            "/refunds",
            {"orderId": "ORDER", "currency": "USD", "items": [{"itemId": "ITEM", "quantity": 1, "percent": 0.5}]},
        ),
        (
            "POST",
            "/files",
            {
                "file": "eA==",
                "fileName": "a.pdf",
                "purpose": "customer_invoice",
                "title": "t",
                "linkExpiresTime": "2099-01-01T00:00:00Z",
            },
        ),
        ("POST", "/returns", {"orderId": "ORDER", "items": [{"itemId": "ITEM", "quantity": 1}], "reason": "r"}),
        (
            "POST",
            "/fulfillments",
            {
                "orderId": "SECOND",
                "items": [{"itemId": "LINE", "quantity": 1, "cancelQuantity": 1}],
                "shipmentId": "s",
                "metadata": {"a": "b"},
            },
        ),
    ],
)
async def test_no_request_has_an_answer_that_is_not_documented(
    bench: Bench, method: str, path: str, body: object
) -> None:
    """Law: a part that is absent, of another kind or out of bounds gives a refusal, or an answer of the documented shape."""
    await _good(bench, "POST", "/customers", {**CUSTOMER, "id": "c-0"})
    order, second = await bench.placed("A-1"), await bench.placed("A-2")
    checkout = await _good(bench, "POST", "/checkouts", CHECKOUT)
    shipped = await bench.call(fulfil("A-1", order, (3, 0)))
    assert shipped.fulfillment is not None
    await bench.advance(120)
    names = {
        "ORDER": order.dr_order_id,
        "SECOND": second.dr_order_id,
        "ITEM": order.items[0].item_id,
        "LINE": second.items[0].item_id,
        "CHECKOUT": str(checkout["id"]),
        "FULFILLMENT": shipped.fulfillment.fulfillment_id,
    }
    text = msgspec.json.encode([path, body]).decode()
    for name, value in names.items():
        text = text.replace(f'"{name}"', f'"{value}"').replace(f"/{name}", f"/{value}")
    path, body = msgspec.json.decode(text)
    await _all_are_answered(bench, method, path, body)
