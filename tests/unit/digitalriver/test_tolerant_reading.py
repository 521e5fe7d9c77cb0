"""The client reads what Digital River's documents allow: new values, absent and null members, and the shapes of both versions."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from orderflow.digitalriver import reading, wire
from orderflow.digitalriver.connection import Answer
from orderflow.digitalriver.decoding import Decoder
from orderflow.digitalriver.webhook import read_webhook
from statemachine.messages.facts import Fact, RemoteOrder

CHARGE = {
    "id": "ch-1", "createdTime": "2031-03-04T10:11:11Z", "currency": "USD", "amount": 37.81, "state": "capturable",
    "captured": True, "captures": [{"id": "cap-1", "amount": 25.21, "state": "complete"}], "refunded": False,
    "sourceId": "src-1", "type": "customer_initiated",
}  # fmt: skip
ORDER = {
    "id": "9001", "checkoutId": "chk-1", "currency": "USD", "totalAmount": 37.81, "totalTax": 2.81, "state": "accepted",
    "items": [{"id": "70", "skuId": "kb-01", "quantity": 3, "amount": 30.0, "metadata": {"line": "1"}}],
}  # fmt: skip

#: ``2021-12-13`` and all versions from 2021-03-23 on.
NEWER = {**ORDER, "payment": {"charges": [CHARGE], "sources": [{"id": "src-1", "type": "creditCard"}]}}
#: Versions before: payments at the top.
OLDER = {**ORDER, "charges": [CHARGE], "sources": [{"id": "src-1"}], "paymentSessionId": "ses-1"}


def _order(body: Mapping[str, object]) -> RemoteOrder:
    return reading.order_of(Decoder(wire.Order).decode(msgspec.json.encode(body)))


def _fact(kind: str, body: Mapping[str, object]) -> Fact:
    read = read_webhook(msgspec.json.encode({"id": "e-1", "type": kind, "data": {"object": body}}))
    assert read is not None
    return read[1]


def test_an_order_of_either_version_reads_the_same() -> None:
    """Law: before 2021-03-23 charges and sources were at the top, since then they are under ``payment``."""
    assert _order(OLDER) == _order(NEWER)
    assert _order(OLDER).charges[0].captures[0].amount == 2521
    assert _fact("order.accepted", OLDER) == _fact("order.accepted", NEWER)


def test_a_checkout_of_either_version_reads_the_same() -> None:
    """Law: whether a source is attached is known in both."""
    decoder = Decoder(wire.Checkout)
    both = [reading.checkout_of(decoder.decode(msgspec.json.encode(body))) for body in (OLDER, NEWER)]
    assert both[0] == both[1]
    assert both[0].source_ids == ("src-1",)


@pytest.mark.parametrize(
    "members",
    [
        {"state": "on_hold"},
        {"fraudState": "under_watch"},
        {"items": [{"id": "70", "quantity": 3, "state": "backordered"}]},
        {"payment": {"charges": [{**CHARGE, "state": "escrowed", "type": "recurring"}]}},
        {"payment": {"charges": [{**CHARGE, "captures": [{"amount": 1.0, "state": "queued"}]}]}},
        {"payment": {"sources": [{"id": "s", "type": "newPay", "state": "sleeping"}]}},
        {"payment": {"session": {"id": "s", "state": "requires_thought", "nextAction": {"action": "think"}}}},
        {"customerType": "robot", "chargeType": "gift", "shippingChoice": {"shippingTerms": "EXW"}},
    ],
)
def test_a_value_that_is_new_is_read(members: Mapping[str, object]) -> None:
    """Law: values may be added at any time (documented); what they mean is for the tables to say."""
    assert _order({**NEWER, **members}).dr_order_id == "9001"
    assert _fact("order.accepted", {**NEWER, **members}).dr_order_id == "9001"


def _emptied(body: Mapping[str, object], name: str) -> dict[str, object]:
    return {**body, name: None}


@pytest.mark.parametrize(
    "name",
    [
        "totalTax", "totalFees", "totalDuty", "totalImporterTax", "totalShipping", "upstreamId", "customerId", "items",
        "payment", "shippingChoice", "discount", "shippingDiscount", "sellingEntity", "metadata", "fraudState",
        "capturedAmount", "cancelledAmount", "refundedAmount", "availableToRefundAmount", "cancelReason", "checkoutId",
        "stateTransitions", "importerOfRecordTax",
    ],
)  # fmt: skip
def test_null_is_absent(name: str) -> None:
    """Law: the document lets many members be null; an order reads as if the member was not there."""
    absent = {one: part for one, part in NEWER.items() if one != name}
    assert _order(_emptied(NEWER, name)) == _order(absent)
    assert _fact("order.accepted", _emptied(NEWER, name)) == _fact("order.accepted", absent)


@pytest.mark.parametrize("name", ["id", "state", "currency", "totalAmount"])
def test_what_is_needed_may_not_be_null(name: str) -> None:
    """Law: an order is not guessed."""
    with pytest.raises(msgspec.ValidationError):
        _order(_emptied(NEWER, name))


def test_amounts_beside_a_null_keep_their_digits() -> None:
    """Law: the second look reads numbers as decimals too, never as doubles."""
    content = (
        b'{"id": "1", "currency": "USD", "state": "accepted", "upstreamId": null, "refundedAmount": null,'
        b' "totalAmount": 53.769999999999996, "totalTax": 0.0049999999999999999}'
    )
    order = reading.order_of(Decoder(wire.Order).decode(content))
    assert (order.total, order.tax) == (5377, 0)


def test_nulls_deep_inside_are_absent() -> None:
    """Law: also in lines, captures and refund items, where the document allows them."""
    line = {"id": "70", "quantity": 3, "tax": None, "metadata": {"line": "1", "note": None}, "state": None}
    charge = {**CHARGE, "captures": [{"amount": 1.0, "state": "complete", "failureCode": None, "id": None}]}
    order = _order({**NEWER, "items": [line], "payment": {"charges": [charge], "session": None}})
    assert order.items[0].line == "1"
    item = {"itemId": "70", "amount": None, "refundedAmount": None, "quantity": None, "percent": None}
    refund = {"id": "re_1", "state": "pending", "currency": "USD", "orderId": "9001", "refundedAmount": None}
    fact = _fact("refund.pending", {**refund, "items": [item], "tokenInformation": None})
    assert fact.refund is not None
    assert fact.refund.items[0].refunded == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"type": "conflict", "errors": [{"code": "brand_new"}]}, "brand_new"),
        ({"type": "teapot", "errors": []}, "teapot"),
        ({"errors": [{"description": "d"}]}, "unknown_error"),
        ({"type": None, "errors": [{"code": None, "message": "m", "parameter": None}]}, "unknown_error"),
        ({"type": "conflict", "errors": None}, "conflict"),
        ({}, "unknown_error"),
    ],
)
def test_a_refusal_of_any_kind_is_a_refusal(body: Mapping[str, object], code: str) -> None:
    """Law: codes and types are open, and all members may be missing."""
    refusal = reading.refusal_of(Answer(409, msgspec.json.encode(body), None), "POST /orders")
    assert reading.problem_of(refusal, 409).code == code


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("return.created", {"id": "ret_1", "state": "lost", "items": [{"itemId": "70", "quantity": 1}]}),
        ("refund.failed", {"id": "re_1", "state": "vanished", "currency": "USD", "type": "gift"}),
        ("fulfillment.created", {"id": "ful_1", "orderId": "9001"}),
        ("fulfillment.created", {"id": "ful_1", "orderId": "9001", "orderDetails": {"state": "on_hold"}}),
        ("order.charge.capture.complete", {"id": "ch-1", "state": "new", "orderId": "9001", "currency": "USD"}),
        ("order.chargeback", {"orderId": "9001"}),
        ("order.invoice.created", {"orderId": "9001", "id": "f-1"}),
    ],
)
def test_the_least_that_an_event_may_have_is_read(kind: str, body: Mapping[str, object]) -> None:
    """Law: only ids, and the state of what has one, are needed."""
    assert _fact(kind, body).type == kind
