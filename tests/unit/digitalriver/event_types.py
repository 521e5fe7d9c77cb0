"""Every type of event that Digital River documents, with an invented sample of each, and what becomes of it here.

The names are those of the documentation's list, old spellings included; the samples are made here.
"""

from __future__ import annotations

from typing import Final

Json = dict[str, object]

_MOMENT: Final = "2031-03-04T10:11:12Z"

CHARGE: Final[Json] = {
    "id": "ch-1", "createdTime": _MOMENT, "currency": "USD", "amount": 37.81, "state": "capturable", "orderId": "9001",
    "captured": True, "refunded": False, "sourceId": "src-1", "type": "customer_initiated", "liveMode": False,
    "captures": [{"id": "cap-1", "createdTime": _MOMENT, "amount": 25.21, "state": "complete"}],
}  # fmt: skip
ORDER: Final[Json] = {
    "id": "9001", "checkoutId": "chk-1", "upstreamId": "A-1", "createdTime": _MOMENT, "currency": "USD",
    "totalAmount": 37.81, "totalTax": 2.81, "state": "accepted", "stateTransitions": {"accepted": _MOMENT},
    "items": [{"id": "70", "skuId": "kb-01", "quantity": 3, "amount": 30.0, "state": "created"}], "liveMode": False,
    "payment": {"charges": [{name: part for name, part in CHARGE.items() if name != "orderId"}], "sources": []},
}  # fmt: skip
FULFILLMENT: Final[Json] = {
    "id": "ful_1", "createdTime": _MOMENT, "orderId": "9001", "liveMode": False,
    "items": [{"itemId": "70", "skuId": "kb-01", "quantity": 2, "cancelQuantity": 1}],
    "orderDetails": {name: part for name, part in ORDER.items() if name != "payment"},
}  # fmt: skip
REFUND: Final[Json] = {
    "id": "re_1", "createdTime": _MOMENT, "orderId": "9001", "currency": "USD", "state": "pending",
    "refundedAmount": 0.0, "items": [{"itemId": "70", "skuId": "kb-01", "amount": 10.0, "quantity": 1}],
}  # fmt: skip
RETURN: Final[Json] = {
    "id": "ret_1", "createdTime": _MOMENT, "orderId": "9001", "currency": "USD", "state": "created",
    "items": [{"itemId": "70", "skuId": "kb-01", "quantity": 1, "quantityAccepted": 0, "amount": 10.8}],
}  # fmt: skip
DOCUMENT: Final[Json] = {"id": "file-1", "fileId": "file-1", "orderId": "9001", "purpose": "customer_invoice"}
CHARGEBACK: Final[Json] = {
    "id": "st-1", "orderId": "9001", "orderUpstreamId": "A-1", "amount": -12.0, "currency": "USD", "skuId": "kb-01",
    "type": "fraud_chargeback", "lineItemId": "70", "liveMode": False,
}  # fmt: skip
#: What is not about an order needs only to be an object.
OTHER: Final[Json] = {"id": "x-1", "createdTime": _MOMENT, "liveMode": False}


def _named(prefix: str, names: str, sample: Json) -> dict[str, Json]:
    return {f"{prefix}{name}": sample for name in names.split()}


#: The types that are read into a fact about an order.
READ: Final[dict[str, Json]] = {
    **_named(
        "order.",
        "created submitted accepted pending_payment review_opened review_closed blocked cancelled fulfilled complete"
        " refunded updated dispute dispute.resolved charge.failed charge.reauth.failed",
        ORDER,
    ),
    **_named(
        "order.charge.",
        "created pending capturable processing complete completed cancelled capture.created capture.pending"
        " capture.complete capture.completed capture.failed cancel.pending cancel.pending_information cancel.complete"
        " cancel.failed refund.created refund.pending refund.complete refund.completed refund.failed",
        CHARGE,
    ),
    **_named("order.", "invoice.created credit_memo.created", DOCUMENT),
    "order.chargeback": CHARGEBACK,
    **_named("fulfillment.", "created create", FULFILLMENT),
    **_named("refund.", "created pending pending_information complete succeeded failed updated", REFUND),
    **_named("return.", "created accepted updated", RETURN),
}

#: The types that are skipped: about carts, catalogue, payments before an order, billing, logistics and accounts.
SKIPPED: Final[dict[str, Json]] = {
    **_named("checkout.", "created updated deleted", OTHER),
    **_named("checkout_session.order.", "created create", ORDER),
    **_named("source.", "created chargeable", OTHER),
    **_named(
        "customer.",
        "created updated deleted source.created source.deleted tax_identifier.created invoice_attribute.created",
        OTHER,
    ),
    **_named("sku.", "created updated deleted", OTHER),
    **_named("fulfillment_order.", "pending shipped backordered cancelled", {**OTHER, "orderId": "9001"}),
    **_named("fulfillment_cancellation.", "created accepted rejected", OTHER),
    **_named("fulfillment_return.", "created pending accepted rejected", OTHER),
    **_named("invoice.", "created open paid payment_failed uncollectible updated void", OTHER),
    **_named("", "sales_transaction.created payout.created", {**OTHER, "orderId": "9001", "amount": 1.0}),
    **_named("subscription.", "created updated deleted", OTHER),
    **_named("plan.", "created updated deleted", OTHER),
    **_named("tax_identifier.", "verified not_valid", OTHER),
    **_named("fee.", "created updated deleted", OTHER),
    **_named("", "fileLink.created location.created manufacturer.created fulfiller.created", OTHER),
    **_named("", "global_returns.created logistics_return.received account.update.completed", OTHER),
}
