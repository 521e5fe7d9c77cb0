"""Digital River's objects in our words: cents, lines, states, and the traps of its wire format."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from orderflow.digitalriver import reading, wire
from orderflow.digitalriver.connection import Answer
from statemachine.errors import OffContract
from statemachine.messages.facts import Outcome
from statemachine.messages.ids import CommandId


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("27.01", "USD", 2701),
        ("53.769999999999996", "USD", 5377),
        ("0.005", "USD", 1),
        ("33.0", "JPY", 33),
        ("1.2345", "BHD", 1235),
        ("1e2", "usd", 10_000),
    ],
)
def test_doubles_become_minor_units_rounded_half_up(text: str, currency: str, minor: int) -> None:
    """Law: the text of the number decides, with the digits of the currency."""
    assert reading.minor_units(msgspec.json.decode(text.encode(), type=Decimal), currency) == minor


def test_an_unknown_currency_is_off_contract() -> None:
    """Law: an amount without known digits is never guessed."""
    with pytest.raises(OffContract):
        reading.minor_units(Decimal(1), "XXX")


def _order(**members: object) -> wire.Order:
    body = {"id": "9001", "currency": "USD", "totalAmount": 10.0, "state": "accepted", **members}
    return msgspec.json.decode(msgspec.json.encode(body), type=wire.Order)


def test_absent_members_are_not_set() -> None:
    """Law: only identifiers, state, currency and total are required."""
    order = reading.order_of(_order())
    assert (order.total, order.captured, order.fraud_state, order.session) == (1000, 0, None, None)


def test_the_secret_of_an_order_s_session_goes_no_further() -> None:
    """Law: DigitalRiver.js needs that of a checkout; what an order's shopper must do has secrets of its own."""
    action = {"action": "show_payment_instructions", "data": {"sourceId": "s", "sourceClientSecret": "s_secret"}}
    session = {"id": "ses", "state": "pending_funds", "clientSecret": "hidden", "nextAction": action}
    order = reading.order_of(_order(payment={"session": session}))
    assert order.session is not None
    assert order.session.client_secret is None
    assert order.session.next_action is not None
    assert order.session.next_action.source_client_secret == "s_secret"


def test_a_failed_capture_is_a_failed_capture() -> None:
    """Law: ``captured: true`` is not read; the nested state is."""
    charge = {
        "id": "c",
        "state": "capturable",
        "amount": 10.0,
        "captured": True,
        "captures": [{"id": "x", "amount": 10.0, "state": "failed", "failureCode": "failed-request"}],
    }
    order = reading.order_of(_order(payment={"charges": [charge]}))
    capture = order.charges[0].captures[0]
    assert (capture.state, capture.amount, capture.failure_code) == ("failed", 1000, "failed-request")


def test_lines_are_found_by_metadata_and_else_by_their_sku_when_it_is_alone() -> None:
    """Law: an item without our line keeps its SKU only when no other item is like it."""
    items = [
        {"id": "1", "skuId": "a", "quantity": 1, "metadata": {"line": "L1"}},
        {"id": "2", "skuId": "b", "quantity": 1},
        {"id": "3", "skuId": "c", "quantity": 1},
        {"id": "4", "skuId": "c", "quantity": 1},
    ]
    order = reading.order_of(_order(items=items))
    assert [(item.line, item.sku_id) for item in order.items] == [("L1", "a"), (None, "b"), (None, None), (None, None)]


def test_a_checkouts_parts_add_up_to_its_total() -> None:
    """Law: total = lines + shipping + taxes - discount, also with a discount of the order."""
    body = {
        "id": "c",
        "currency": "USD",
        "totalAmount": 31.0,
        "totalTax": 2.0,
        "items": [{"id": "1", "amount": 30.0, "metadata": {"line": "1"}}],
        "shippingChoice": {"amount": 5.0},
        "sellingEntity": {},
    }
    checkout = reading.checkout_of(msgspec.json.decode(msgspec.json.encode(body), type=wire.Checkout))
    assert checkout.discount == 600
    assert checkout.lines[0].amount + checkout.shipping + checkout.tax - checkout.discount == checkout.total
    assert checkout.selling_entity is None


def test_disclosures_travel_as_they_came() -> None:
    """Law: whatever Digital River discloses survives the way through an outcome; absent stays absent."""
    body = b'{"id":"c","currency":"USD","totalAmount":1.0,"disclosures":{"disclosures":[{"type":"termsOfSale"}]}}'
    outcome = Outcome(
        command_id=CommandId("c"),
        command="create_checkout",
        attempt=1,
        result="confirmed",
        checkout=reading.checkout_of(msgspec.json.decode(body, type=wire.Checkout)),
    )
    again = msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome)
    assert again.checkout is not None
    assert again.checkout.disclosures == msgspec.Raw(b'{"disclosures":[{"type":"termsOfSale"}]}')
    bare = msgspec.json.decode(b'{"id":"c","currency":"USD","totalAmount":1.0}', type=wire.Checkout)
    assert reading.checkout_of(bare).disclosures is msgspec.UNSET


def _refusal(body: bytes) -> wire.Refusal:
    return reading.refusal_of(Answer(409, body, "r"), "POST /x")


def test_a_refusal_is_read_leniently() -> None:
    """Law: no type, ``description`` for ``message``, no errors at all: still a problem with a code."""
    fraud = b'{"errors":[{"code":"order-fraud-failure"},{"code":"fraud_block"}]}'
    assert reading.problem_of(_refusal(fraud), 409).code == "fraud_block"
    described = reading.problem_of(_refusal(b'{"errors":[{"code":"c","description":"d"}]}'), 409)
    assert (described.code, described.message, described.status) == ("c", "d", 409)
    assert reading.problem_of(_refusal(b'{"type":"conflict"}'), 409).code == "conflict"
    assert reading.problem_of(_refusal(b"{}"), 409).code == "unknown_error"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"errors": 1}'])
def test_a_refusal_that_is_not_digital_rivers_is_off_contract(body: bytes) -> None:
    """Law: when something between us answers, whether it took effect is not known."""
    with pytest.raises(OffContract):
        _refusal(body)


@pytest.mark.parametrize(
    ("errors", "unknown"),
    [
        ([{"code": "not_found", "parameter": "items[0].skuId"}], True),
        ([{"code": "invalid_parameter", "parameter": "skuId"}], True),
        (
            [
                {"code": "not_found", "parameter": "items[0].skuId"},
                {"code": "missing_parameter", "parameter": "billTo"},
            ],
            False,
        ),
        ([{"code": "not_found", "parameter": "customerId"}], False),
        ([{"code": "not_found"}], False),
        ([], False),
    ],
)
def test_only_unknown_skus_are_worth_waiting_for(errors: list[dict[str, str]], unknown: bool) -> None:
    """Law: true when every error is about a SKU, and there is one."""
    refusal = msgspec.json.decode(msgspec.json.encode({"errors": errors}), type=wire.Refusal)
    assert reading.only_unknown_skus(refusal) is unknown


@pytest.mark.parametrize("amount", [-0.01, -5, 1e14])
def test_an_amount_below_nothing_or_above_all_money_is_off_contract(amount: float) -> None:
    """Law: it is never counted, and never breaks what counts."""
    line = {"id": "1", "amount": amount}
    operation = {"id": "cap", "amount": amount, "state": "complete"}
    for members in (
        {"totalAmount": amount},
        {"totalTax": amount},
        {"capturedAmount": amount},
        {"items": [line]},
        {"payment": {"charges": [{"id": "ch", "state": "complete", "amount": amount}]}},
        {"payment": {"charges": [{"id": "ch", "state": "complete", "captures": [operation]}]}},
        {"payment": {"charges": [{"id": "ch", "state": "complete", "cancels": [operation]}]}},
    ):
        with pytest.raises(OffContract, match="amount"):
            reading.order_of(_order(**members))


def test_a_session_may_be_funded_beyond_its_amount() -> None:
    """Law: the one figure that may be below nothing."""
    order = reading.order_of(_order(payment={"session": {"id": "ses", "amountRemainingToBeContributed": -1.5}}))
    assert order.session is not None
    assert order.session.remaining == -150


@pytest.mark.parametrize("shape", [wire.Line, wire.FulfillmentItem, wire.RefundItem, wire.ReturnItem])
def test_a_count_below_nothing_is_off_contract(shape: type[msgspec.Struct]) -> None:
    """Law: units are counted from 0."""
    body = {"id": "1", "itemId": "1", "quantity": -1}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(body), type=shape)
    msgspec.json.decode(msgspec.json.encode({**body, "quantity": 0}), type=shape)


def test_money_is_reported_with_its_currency() -> None:
    """Law: a charge by its own, else by its order's; a refund by its own."""
    order = reading.order_of(
        _order(payment={"charges": [{"id": "a", "state": "x"}, {"id": "b", "state": "x", "currency": "jpy"}]})
    )
    assert [charge.currency for charge in order.charges] == ["USD", "JPY"]
    body = {"id": "re", "state": "pending", "currency": "eur", "items": [{"itemId": "1", "amount": 5.0, "quantity": 1}]}
    refund = reading.refund_of(msgspec.json.decode(msgspec.json.encode(body), type=wire.Refund))
    assert (refund.currency, refund.amount, [item.amount for item in refund.items]) == ("EUR", None, [500])


@pytest.mark.parametrize(
    ("members", "discount"),
    [
        ({}, 0),
        ({"discount": {"amountOff": 5.0}}, 500),
        ({"discount": {"amountOff": 5.0}, "totalShipping": 0.0}, 0),
        # the shipping is told in full though it was discounted by 2.00: the lines bear the rest
        ({"discount": {"amountOff": 3.0}, "shippingDiscount": {"amountOff": 2.0}}, 300),
        ({"discount": {"percentOff": 10}, "shippingDiscount": {"amountOff": 2.0}}, 200),
        ({"shippingDiscount": {"amountOff": 5.0}}, 0),
    ],
)
def test_the_lines_bear_the_order_s_discount_and_not_the_shipping_s(members: dict[str, object], discount: int) -> None:
    """Law: what the total has lost beside its parts, less what the shipping has."""
    items = [{"id": "1", "amount": 20.0, "tax": {"amount": 1.0}}]
    body = {"totalAmount": 21.0, "totalTax": 1.0, "totalShipping": 5.0, "items": items, **members}
    assert reading.order_of(_order(**body)).discount == discount
