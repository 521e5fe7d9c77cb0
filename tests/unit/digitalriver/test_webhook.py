"""Digital River's events as facts: told apart by shape, unknown types skipped, rubbish refused with a reason."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.digitalriver.webhook import KNOWN_TYPES, NEEDED_TYPES, key_of, read_webhook
from orderflow.simulator.webhooks import CORE_TYPES
from statemachine.errors import DecodeError
from statemachine.messages.facts import Fact

ORDER: dict[str, object] = {
    "id": "9001",
    "checkoutId": "c-1",
    "upstreamId": "A-1",
    "currency": "USD",
    "totalAmount": 37.81,
    "state": "accepted",
    "stateTransitions": {},
}
CHARGE: dict[str, object] = {"id": "ch", "orderId": "9001", "currency": "USD", "amount": 37.81, "state": "capturable"}


def _event(kind: str, body: object) -> bytes:
    return msgspec.json.encode({"id": "evt-1", "type": kind, "data": {"object": body}, "liveMode": False})


def _fact(kind: str, body: object) -> Fact:
    read = read_webhook(_event(kind, body))
    assert read is not None
    assert read[0] == "evt-1"
    return read[1]


@pytest.mark.parametrize(
    "kind", ["order.accepted", "order.charge.failed", "order.charge.reauth.failed", "order.updated"]
)
def test_an_object_without_an_order_id_is_an_order(kind: str) -> None:
    """Law: two charge events hold an order; its shape says so."""
    fact = _fact(kind, ORDER)
    assert (fact.type, fact.dr_order_id, fact.checkout_id, fact.upstream_id) == (kind, "9001", "c-1", "A-1")
    assert fact.order is not None
    assert fact.order.total == 3781


@pytest.mark.parametrize("kind", ["order.charge.capture.complete", "order.charge.failed", "order.charge.refund.failed"])
def test_an_object_with_an_order_id_is_a_charge(kind: str) -> None:
    """Law: the charge knows its order, and its money."""
    capture = {"id": "x", "amount": 25.21, "state": "complete", "fulfillmentId": "ful_1"}
    fact = _fact(kind, {**CHARGE, "captures": [capture]})
    assert fact.dr_order_id == "9001"
    assert fact.order is None
    assert fact.charge is not None
    assert (fact.charge.captures[0].amount, fact.charge.captures[0].fulfillment_id) == (2521, "ful_1")


def test_a_fulfilment_brings_the_order_id_of_its_details() -> None:
    """Law: a fulfilment correlates without a read, and maps its items to our lines."""
    body = {
        "id": "ful_1",
        "orderId": "9001",
        "items": [{"itemId": "i1", "quantity": 2, "cancelQuantity": 0}],
        "metadata": {"command_id": "cmd-1"},
        "orderDetails": {**ORDER, "items": [{"id": "i1", "metadata": {"line": "L1"}}]},
    }
    fact = _fact("fulfillment.created", body)
    assert (fact.dr_order_id, fact.upstream_id, fact.checkout_id) == ("9001", "A-1", "c-1")
    assert fact.fulfillment is not None
    assert (fact.fulfillment.command_id, fact.fulfillment.items[0].line) == ("cmd-1", "L1")


def test_documents_and_chargebacks_are_read() -> None:
    """Law: the small objects give what they have, and a chargeback is a positive amount."""
    invoice = _fact(
        "order.invoice.created", {"id": "f1", "fileId": "f1", "orderId": "9001", "purpose": "customer_invoice"}
    )
    assert invoice.document is not None
    assert (invoice.document.file_id, invoice.dr_order_id) == ("f1", "9001")
    memo = _fact("order.credit_memo.created", {"id": "f2", "orderId": "9001"})
    assert memo.document is not None
    assert memo.document.purpose == "customer_credit_memo"
    assert _fact("order.chargeback", {"orderId": "9001", "amount": -12.5, "currency": "USD"}).amount == 1250
    named = _fact("order.chargeback", {"id": "st-1", "orderId": "9001", "amount": 12.5, "currency": "eur"})
    assert (named.chargeback_id, named.amount, named.currency) == ("st-1", 1250, "EUR")
    ours = _fact(
        "order.chargeback", {"orderId": "9001", "orderUpstreamId": "A-1", "lineItemId": "7005", "skuId": "kb-01"}
    )
    assert (ours.dr_order_id, ours.upstream_id) == ("9001", "A-1")
    bare = _fact("order.chargeback", {"orderId": "9001", "amount": -12.5})
    assert (bare.amount, str(bare.major)) == (None, "12.5")  # the order's currency, which is not told here
    unknown = _fact("order.chargeback", {"orderId": "9001"})
    assert (unknown.amount, unknown.major) == (None, None)


@pytest.mark.parametrize(
    "kind", ["checkout.created", "customer.updated", "sku.created", "source.chargeable", "order.brand_new"]
)
def test_types_without_use_are_skipped(kind: str) -> None:
    """Law: Digital River adds types at any time; they are None, whatever they hold."""
    assert read_webhook(_event(kind, {"anything": 1})) is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "undecodable"),
        (b"not json", "undecodable"),
        (b"[]", "invalid"),
        (b"{}", "invalid"),
        (b'{"id":1,"type":"order.accepted","data":{"object":{}}}', "invalid"),
        (_event("order.accepted", {"id": "9001"}), "invalid"),
        (_event("order.accepted", {**ORDER, "currency": "XXX"}), "invalid"),
        (_event("order.charge.capture.complete", {**CHARGE, "currency": None}), "invalid"),
    ],
)
def test_what_is_not_an_event_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    """Law: a dead letter says why, and quotes nothing."""
    with pytest.raises(DecodeError) as caught:
        read_webhook(body)
    assert caught.value.reason == reason
    assert "9001" not in caught.value.detail


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_an_event_or_a_reason(body: bytes) -> None:
    """Law: no bytes at all make another error than ``DecodeError``."""
    with contextlib.suppress(DecodeError):
        read_webhook(body)
    key_of(body)


@pytest.mark.parametrize(
    ("body", "key"),
    [(_event("order.accepted", ORDER), "9001"), (_event("order.charge.pending", CHARGE), "9001"), (b"{", None)],
)
def test_events_of_one_order_share_a_key(body: bytes, key: str | None) -> None:
    """Law: an order and its charge go to the same partition."""
    assert key_of(body) == key


def test_a_webhook_that_is_nested_too_deeply_is_not_an_event() -> None:
    """Whatever bytes come in, the result is a fact or a reason; the record's key is none then."""
    deep = b"[" * 100_000 + b"]" * 100_000
    for body in (
        b'{"id": "e", "type": "order.accepted", "data": {"object": %s}}' % deep,
        b'{"id": "e", "type": "order.accepted", "extra": %s, "data": {"object": {}}}' % deep,
    ):
        with pytest.raises(DecodeError):
            read_webhook(body)
        assert key_of(body) is None


def test_the_needed_types_are_those_of_the_core_subscription_with_their_other_spellings() -> None:
    """What is needed is read, and a usual account has webhooks of it."""
    spellings = {
        "fulfillment.create",
        "order.charge.capture.completed",
        "order.charge.refund.completed",
        "refund.succeeded",
    }
    assert NEEDED_TYPES <= KNOWN_TYPES
    assert CORE_TYPES | spellings == NEEDED_TYPES
