"""An example of each inbound message's data. Tests hold each against its schema and against the decoder."""

from __future__ import annotations

from typing import Any, Final

_HOME: Final = {
    "name": "Mia Lund",
    "line1": "12 Harbor Street",
    "city": "Minneapolis",
    "state": "MN",
    "postal_code": "55401",
    "country": "US",
}
_CART: Final[dict[str, Any]] = {
    "currency": "USD",
    "locale": "en_US",
    "email": "mia@example.com",
    "customer": {"kind": "guest"},
    "bill_to": _HOME,
    "ship_to": _HOME,
    "ship_from": {"country": "US", "city": "Austin", "state": "TX", "postal_code": "78701"},
    "shipping": {"amount": "4.95", "description": "parcel", "service_level": "SG"},
    "items": [
        {"line": "1", "sku_id": "mug-blue", "quantity": 2, "price": "9.50", "discount": {"percent": "10"}},
        {"line": "2", "sku_id": "teapot-1l", "quantity": 1, "price": "34.00", "discount": {"amount": "4.00"}},
    ],
    "browser_ip": "203.0.113.7",
    "metadata": {"channel": "web", "gift": False},
}
_ONE: Final = [{"line": "1", "quantity": 1}]
_ACT: Final = {"actor": "mia", "reason": "asked by the shop"}

#: By event type.
INBOUND_EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "checkout.requested": _CART,
    "checkout.updated": {**_CART, "customer": {"kind": "registered", "id": "shopper-7"}},
    "checkout.source_provided": {"source_id": "sim-card-A-1001", "checkout_id": "51e149ef-3a86-45cc-8f51-d666c3ecedaa"},
    "checkout.abandoned": {"reason": "left the shop"},
    "order.placed": {"terms_accepted": True},
    "order.payment_returned": {},
    "order.cancel_requested": {"items": _ONE, "cancellation_id": "C-7", "reason": "changed my mind"},
    "order.refund_requested": {"refund_id": "R-1", "amount": "9.50", "reason": "scratched"},
    "order.return_requested": {"return_id": "RT-1", "items": _ONE, "reason": "does not fit"},
    "fulfillment.shipped": {
        "shipment_id": "P-1",
        "items": [{"line": "1", "quantity": 2}],
        "tracking": {"company": "UPS", "number": "1ZP-1"},
    },
    "fulfillment.cancelled": {"items": _ONE, "cancellation_id": "C-8", "reason": "broken"},
    "fulfillment.return_received": {"return_id": "RT-1", "items": _ONE, "receipt_id": "B-1"},
    "sku.upserted": {
        "name": "Blue mug",
        "tax_code": "4323.310_A",
        "country_of_origin": "US",
        "eccn": "EAR99",
        "weight": "0.4",
        "weight_unit": "kg",
    },
    "sku.removed": {},
    "operator.held": _ACT,
    "operator.released": {**_ACT, "drop": {"id": "A-1001-placed", "source": "/storefront"}},
    "operator.refreshed": _ACT,
    "operator.acknowledged": _ACT,
    "operator.moved": {**_ACT, "to": "submitted"},
    "operator.command_retried": {**_ACT, "command_id": "0a3fe8f2-6a53-5d5e-8f5b-3f2f8d3f9f11"},
    "operator.command_dropped": {**_ACT, "command_id": "0a3fe8f2-6a53-5d5e-8f5b-3f2f8d3f9f11"},
    "operator.redelivered": {
        **_ACT,
        "topic": "order-events",
        "partition": 3,
        "offset": 812,
        "key": "QS0xMDAx",
        "value": (
            "eyJzcGVjdmVyc2lvbiI6ICIxLjAiLCAiaWQiOiAiQS0xMDAxLXBsYWNlZCIsICJzb3VyY2UiOiAiL3N0b3JlZnJvbnQiLCAidHlwZSI6ICJv"
            "cmRlci5wbGFjZWQiLCAiZGF0YSI6IHsidGVybXNfYWNjZXB0ZWQiOiB0cnVlfX0="
        ),
        "headers": [["traceparent", "MDAtMQ=="]],
    },
}
