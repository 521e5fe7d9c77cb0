"""Refunds and returns as Digital River's JSON. See ``rendering.py``."""

from __future__ import annotations

from orderflow.simulator.resources.rendering import charge_refund_json, major
from orderflow.simulator.state.clock import stamp
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.records import Refund, Return


def refund_json(refund: Refund) -> Json:
    """A refund: what was asked for, and what was paid back, which is 0 while it is pending."""
    order = refund.order
    digits, paid = order.checkout.price.digits, refund.state == "succeeded"
    body: Json = {
        "id": refund.id,
        "createdTime": stamp(refund.created),
        "orderId": order.id,
        "currency": order.checkout.price.currency,
        # Digital River's samples of refunds by items have amounts there and none of their own.
        **({} if refund.lines else {"amount": major(refund.amount, digits)}),
        "refundedAmount": major(refund.amount if paid else 0, digits),
        "items": [
            {
                "itemId": item.line.id,
                "skuId": item.line.priced.sku_id,
                "amount": major(item.amount, digits),
                "refundedAmount": major(item.amount if paid else 0, digits),
                **({} if item.quantity is None else {"quantity": item.quantity}),
                **({} if item.kind is None else {"type": item.kind}),
            }
            for item in refund.lines
        ],
        "state": refund.state,
        "metadata": refund.metadata,
        "liveMode": False,
    }
    for name, value in (("type", refund.kind), ("reason", refund.reason), ("failureReason", refund.failure_reason)):
        if value is not None:
            body[name] = value
    if refund.token is not None:
        body["tokenInformation"] = {"token": refund.token, "expiresTime": refund.token_expires}
    if order.charge is not None:
        body["charges"] = [
            {
                "id": order.charge.id,
                "captured": bool(order.charge.captures),
                "refunded": True,
                "refunds": [charge_refund_json(refund.operation, digits)],
                "sourceId": order.charge.source_id,
            }
        ]
    return body


def return_json(made: Return) -> Json:
    """A return, with the refunds that Digital River made for it."""
    body: Json = {
        "id": made.id,
        "createdTime": stamp(made.created),
        "orderId": made.order.id,
        "currency": made.order.checkout.price.currency,
        "items": [
            {
                "itemId": item.line.id,
                "skuId": item.line.priced.sku_id,
                "quantity": item.quantity,
                "amount": major(item.line.price_of(item.quantity), made.order.checkout.price.digits),
                "quantityAccepted": item.accepted,
                "state": "accepted" if item.accepted == item.quantity else "created",
            }
            for item in made.lines
        ],
        "state": made.state,
        "metadata": made.metadata,
        "liveMode": False,
    }
    if made.refund_ids:
        body["refundIds"] = made.refund_ids
    if made.reason is not None:
        body["reason"] = made.reason
    return body
