"""Bodies of Digital River's requests, made out of commands. Pure.

Money leaves as the exact decimal of the contract's string (``27.01``, never ``27.009999999999998``). Digital River's line
discount ``amountOff`` is per unit, ours is for the whole line: it is split when it divides into minor units, else the line
goes out as its net ``aggregatePrice``, which is exact too but shows no discount on Digital River's invoice.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec
from pydantic import ValidationError

from orderflow.digitalriver.reading import COMMAND_KEY, LINE_KEY, REFUND_KEY, RETURN_KEY
from statemachine.errors import DecodeError
from statemachine.messages.commands import CreateCheckout, CreateFulfillment, CreateRefund, CreateReturn
from statemachine.messages.events import Address, Cart, CartItem, Discount, Origin
from statemachine.messages.money import format_money, parse_money

Json = dict[str, object]

#: Decimals as JSON numbers with the digits that they were given.
_encoder = msgspec.json.Encoder(decimal_format="number")

#: Names of ``sku.upserted`` and of Digital River; ``weight`` is a decimal string here and a number there.
_SKU_NAMES: Final = {
    "name": "name",
    "tax_code": "taxCode",
    "country_of_origin": "countryOfOrigin",
    "eccn": "eccn",
    "description": "description",
    "image": "image",
    "url": "url",
    "hs_code": "hsCode",
    "part_number": "partNumber",
    "weight_unit": "weightUnit",
    "metadata": "metadata",
}


def encode(body: Json) -> bytes:
    """The JSON of a body."""
    return _encoder.encode(body)


def cart_of(command: CreateCheckout) -> Cart:
    """The cart of a command, by the one definition of the message.

    Raises:
        DecodeError: Not a cart: the record of ``dr-commands`` was not written by an order lane.
    """
    try:
        return Cart.model_validate_json(bytes(command.cart))
    except ValidationError:
        raise DecodeError(
            "invalid", "the cart of a create_checkout command is not a cart", "command.content_unsound"
        ) from None


def customer_body(cart: Cart, customer_id: str, command_id: str) -> Json:
    """``POST /customers`` for a registered shopper, under the id that the platform gave."""
    body: Json = {
        "id": customer_id,
        "email": cart.email,
        "locale": _locale(cart.locale),
        "type": cart.customer_type or "individual",
        "metadata": {COMMAND_KEY: command_id},
    }
    return body


def checkout_body(cart: Cart, command: CreateCheckout) -> Json:
    """``POST /checkouts``: all goes here, values sent later beside ``checkoutId`` in ``POST /orders`` are ignored."""
    body: Json = {
        "currency": cart.currency,
        "email": cart.email,
        "locale": _locale(cart.locale),
        "upstreamId": command.order_id,
        "chargeType": "customer_initiated",
        "customerType": cart.customer_type or "individual",
        "taxInclusive": bool(cart.tax_inclusive),
        "billTo": {**_party(cart.bill_to), "email": cart.email},
        "items": [_item(item, cart.currency) for item in cart.items],
        "metadata": {**(cart.metadata or {}), COMMAND_KEY: command.command_id},
    }
    if cart.customer.kind == "registered":
        body["customerId"] = cart.customer.id
    if cart.ship_to is not None:
        body["shipTo"] = _party(cart.ship_to)
    if cart.ship_from is not None:
        body["shipFrom"] = _party(cart.ship_from)
    if cart.shipping is not None:
        body["shippingChoice"] = {
            "amount": Decimal(cart.shipping.amount),
            "description": cart.shipping.description,
            "serviceLevel": cart.shipping.service_level,
        }
        _set(body, "shippingDiscount", _discount(cart.shipping.discount))
    _set(body, "discount", _discount(cart.discount))
    if cart.organization is not None:
        # Digital River takes an organisation by its id; its name goes with the billing address.
        _set(body, "organization", {"id": cart.organization.id} if cart.organization.id else None)
        if cart.organization.name:
            body["billTo"] = {**_party(cart.bill_to), "email": cart.email, "organization": cart.organization.name}
    if cart.tax_identifier_ids:
        body["taxIdentifiers"] = [{"id": identifier} for identifier in cart.tax_identifier_ids]
    _set(body, "browserIp", cart.browser_ip)
    return body


def fulfillment_body(command: CreateFulfillment) -> Json:
    """``POST /fulfillments``: lines by item id, because two lines may share a SKU."""
    items: list[Json] = []
    for item in command.items:
        entry: Json = {"itemId": item.item_id}
        if item.quantity:
            entry["quantity"] = item.quantity
        if item.cancel_quantity:
            entry["cancelQuantity"] = item.cancel_quantity
        items.append(entry)
    body: Json = {"orderId": command.dr_order_id, "items": items, "metadata": {COMMAND_KEY: command.command_id}}
    _set(body, "shipmentId", command.shipment_id)
    if command.tracking is not None:
        _set(body, "trackingCompany", command.tracking.company)
        _set(body, "trackingNumber", command.tracking.number)
        _set(body, "trackingUrl", command.tracking.url)
    return body


def refund_body(command: CreateRefund) -> Json:
    """``POST /refunds`` in exactly one style: by lines, by amount, or all that is left (100 percent)."""
    body: Json = {
        "orderId": command.dr_order_id,
        "currency": command.currency,
        "metadata": {COMMAND_KEY: command.command_id, REFUND_KEY: command.refund_id},
    }
    if command.items:
        items: list[Json] = []
        for item in command.items:
            entry: Json = {"itemId": item.item_id}
            _set(entry, "quantity", item.quantity)
            if item.amount is not None:
                entry["amount"] = Decimal(format_money(item.amount, command.currency))
            else:
                entry["percent"] = 100  # of these units: Digital River knows their share to the cent
            items.append(entry)
        body["items"] = items
    elif command.amount is not None:
        body["amount"] = Decimal(format_money(command.amount, command.currency))
    else:
        body["percent"] = 100
    _set(body, "type", command.kind)
    _set(body, "reason", command.reason)
    return body


def return_body(command: CreateReturn) -> Json:
    """``POST /returns``."""
    body: Json = {
        "orderId": command.dr_order_id,
        "items": [{"itemId": item.item_id, "quantity": item.quantity} for item in command.items],
        "metadata": {COMMAND_KEY: command.command_id, RETURN_KEY: command.return_id},
    }
    _set(body, "reason", command.reason)
    return body


def sku_body(sku: Mapping[str, object]) -> Json:
    """``PUT /skus/{id}`` out of the data of ``sku.upserted``."""
    body: Json = {theirs: sku[ours] for ours, theirs in _SKU_NAMES.items() if sku.get(ours) is not None}
    weight = sku.get("weight")
    if weight is not None:
        body["weight"] = Decimal(str(weight))
    return body


def _item(item: CartItem, currency: str) -> Json:
    body: Json = {"skuId": item.sku_id, "quantity": item.quantity, "metadata": {LINE_KEY: item.line}}
    discount = item.discount
    if discount is None or discount.amount is None:
        body["price"] = Decimal(item.price)
        _set(body, "discount", _discount(discount))
        return body
    off = parse_money(discount.amount, currency)
    if off % item.quantity == 0:
        body["price"] = Decimal(item.price)
        if off:
            body["discount"] = {
                "amountOff": Decimal(format_money(off // item.quantity, currency)),
                "quantity": item.quantity,
            }
        return body
    net = parse_money(item.price, currency) * item.quantity - off
    # A discount above the line's price cannot be expressed as a price; Digital River refuses it by its own rule.
    if net < 0:
        body["price"] = Decimal(item.price)
        body["discount"] = {"amountOff": Decimal(discount.amount), "quantity": item.quantity}
    else:
        body["aggregatePrice"] = Decimal(format_money(net, currency))
    return body


def _discount(discount: Discount | None) -> Json | None:
    """A discount of the order or the shipping; one of nothing is left out, Digital River refuses zero."""
    if discount is None:
        return None
    name, text = ("amountOff", discount.amount) if discount.amount is not None else ("percentOff", discount.percent)
    value = Decimal(text or 0)
    return {name: value} if value else None


def _party(party: Address | Origin) -> Json:
    address: Json = {"country": party.country}
    _set(address, "line1", party.line1)
    _set(address, "line2", party.line2)
    _set(address, "city", party.city)
    _set(address, "state", party.state)
    _set(address, "postalCode", party.postal_code)
    body: Json = {"address": address}
    _set(body, "name", party.name)
    _set(body, "phone", party.phone)
    return body


def _locale(locale: str) -> str:
    """Digital River writes locales with an underscore."""
    return locale.replace("-", "_")


def _set(body: Json, name: str, value: object | None) -> None:
    """Absent means not set: Digital River's JSON has no nulls."""
    if value is not None:
        body[name] = value
