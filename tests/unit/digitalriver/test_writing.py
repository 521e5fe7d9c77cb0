"""Bodies of requests: exact money, our ids, and discounts as Digital River understands them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec
import pytest

from orderflow.digitalriver import writing
from orderflow.sandbox.defaults import ADDRESS
from statemachine.errors import DecodeError
from statemachine.messages.commands import CreateFulfillment, CreateRefund, FulfillmentItem, RefundCommandItem, Tracking
from statemachine.messages.ids import CommandId, LineId, OrderId, RemoteItemId, RemoteOrderId
from tests.contract.provider.bench import cart_with, create


def _body(cart: Mapping[str, object]) -> str:
    command = create("A-1", cart, command_id="cmd-1")
    return writing.encode(writing.checkout_body(writing.cart_of(command), command)).decode()


def _item(**members: object) -> dict[str, object]:
    item = {"line": "1", "sku_id": "kb-01", "quantity": 3, "price": "27.01", **members}
    sent: dict[str, object] = msgspec.json.decode(_body(cart_with(items=[item])))["items"][0]
    return sent


def test_money_is_a_json_number_with_the_digits_it_was_given() -> None:
    """Law: ``27.01`` leaves as ``27.01``, ``5.00`` as ``5.00``, never as a binary double's text."""
    body = _body(cart_with(items=[{"line": "1", "sku_id": "a", "quantity": 1, "price": "27.01"}]))
    assert '"price":27.01' in body
    assert '"amount":5.00' in body


def test_the_order_and_the_command_travel_with_the_checkout() -> None:
    """Law: order id as ``upstreamId``, command id in the metadata beside the merchant's own, line id on the line."""
    body = msgspec.json.decode(_body(cart_with(metadata={"campaign": "x", "command_id": "theirs"})))
    assert body["upstreamId"] == "A-1"
    assert body["metadata"] == {"campaign": "x", "command_id": "cmd-1"}
    assert body["items"][0]["metadata"] == {"line": "1"}


@pytest.mark.parametrize(
    ("discount", "expected"),
    [
        (None, {"price": 27.01}),
        ({"percent": "10"}, {"price": 27.01, "discount": {"percentOff": 10}}),
        ({"amount": "0.00"}, {"price": 27.01}),
        ({"percent": "0"}, {"price": 27.01}),
        # 3.00 off three units is 1.00 a unit.
        ({"amount": "3.00"}, {"price": 27.01, "discount": {"amountOff": 1.0, "quantity": 3}}),
        # 1.00 off three units is not a price per unit: 81.03 - 1.00.
        ({"amount": "1.00"}, {"aggregatePrice": 80.03}),
        ({"amount": "81.03"}, {"price": 27.01, "discount": {"amountOff": 27.01, "quantity": 3}}),
    ],
)
def test_a_discount_of_a_line_comes_off_exactly_once(discount: object, expected: dict[str, object]) -> None:
    """Law: ours is for the whole line, theirs is per unit; the line's price after it is the same to the cent."""
    item = _item(discount=discount) if discount else _item()
    assert {name: value for name, value in item.items() if name in ("price", "aggregatePrice", "discount")} == expected


def test_a_discount_above_the_price_is_left_to_digital_river_to_refuse() -> None:
    """Law: no price below zero is made up."""
    assert "aggregatePrice" not in _item(discount={"amount": "100.00"})


def test_everything_optional_has_its_place() -> None:
    """Law: each member of the contract's cart arrives under Digital River's name."""
    cart = cart_with(
        customer={"kind": "registered", "id": "cust-1"},
        locale="pt-BR",
        discount={"percent": "5.5"},
        tax_inclusive=True,
        customer_type="business",
        organization={"id": "org-1", "name": "ACME"},
        tax_identifier_ids=["t-1"],
        browser_ip="198.51.100.7",
        shipping={"amount": "5.00", "description": "s", "service_level": "SG", "discount": {"amount": "1.00"}},
        bill_to={**ADDRESS, "line2": "b", "phone": "+1"},
    )
    body = msgspec.json.decode(_body(cart))
    assert body["customerId"] == "cust-1"
    assert body["locale"] == "pt_BR"
    assert body["discount"] == {"percentOff": 5.5}
    assert body["taxInclusive"] is True
    assert body["customerType"] == "business"
    assert body["organization"] == {"id": "org-1"}
    assert body["taxIdentifiers"] == [{"id": "t-1"}]
    assert body["browserIp"] == "198.51.100.7"
    assert body["shippingDiscount"] == {"amountOff": 1}
    assert body["billTo"]["address"]["line2"] == "b"
    assert (body["billTo"]["phone"], body["billTo"]["organization"]) == ("+1", "ACME")
    assert body["shipFrom"] == {"address": {"country": "US", "postalCode": "55344"}}


def test_what_is_absent_is_not_sent() -> None:
    """Law: no nulls; a cart of digital goods has no shipping members."""
    body = _body(cart_with(ship_to=None, ship_from=None, shipping=None))
    assert "null" not in body
    assert "ship" not in body


def test_a_fulfilment_names_lines_by_item_and_carries_the_command() -> None:
    """Law: shipped and cancelled units of one line stand together, zero is left out."""
    command = CreateFulfillment(
        command_id=CommandId("cmd-1"),
        order_id=OrderId("A-1"),
        dr_order_id=RemoteOrderId("9001"),
        currency="USD",
        items=(
            FulfillmentItem(LineId("1"), RemoteItemId("i1"), 2, 1),
            FulfillmentItem(LineId("2"), RemoteItemId("i2"), 1),
        ),
        shipment_id="s-1",
        tracking=Tracking(company="ACME", number="T1", url="https://t.example"),
    )
    assert writing.fulfillment_body(command) == {
        "orderId": "9001",
        "items": [{"itemId": "i1", "quantity": 2, "cancelQuantity": 1}, {"itemId": "i2", "quantity": 1}],
        "metadata": {"command_id": "cmd-1"},
        "shipmentId": "s-1",
        "trackingCompany": "ACME",
        "trackingNumber": "T1",
        "trackingUrl": "https://t.example",
    }


def test_a_refund_of_units_asks_for_all_of_their_price() -> None:
    """Each line in one style: units with 100 percent, or an amount."""
    items = (
        RefundCommandItem(LineId("1"), RemoteItemId("i-1"), quantity=2),
        RefundCommandItem(LineId("2"), RemoteItemId("i-2"), amount=500),
    )
    command = CreateRefund(
        command_id=CommandId("c-1"),
        order_id=OrderId("A-1"),
        dr_order_id=RemoteOrderId("9"),
        currency="USD",
        refund_id="r-1",
        items=items,
    )
    assert writing.refund_body(command)["items"] == [
        {"itemId": "i-1", "quantity": 2, "percent": 100},
        {"itemId": "i-2", "amount": Decimal("5.00")},
    ]


def test_a_sku_is_translated_with_its_weight_as_a_number() -> None:
    """Law: the four required fields and the optional ones under Digital River's names, nothing else."""
    sku = {
        "name": "n",
        "tax_code": "t",
        "country_of_origin": "BR",
        "eccn": "E",
        "weight": "1.40",
        "weight_unit": "kg",
        "x": 1,
    }
    assert writing.encode(writing.sku_body(sku)) == (
        b'{"name":"n","taxCode":"t","countryOfOrigin":"BR","eccn":"E","weightUnit":"kg","weight":1.40}'
    )


def test_a_command_without_a_cart_is_a_bad_record() -> None:
    """Law: a record that no order lane wrote is a dead letter, and nothing of it is quoted."""
    with pytest.raises(DecodeError) as caught:
        writing.cart_of(create("A-1", {"email": "pat@example.org"}))
    assert "pat" not in str(caught.value)
