"""What the members of inbound messages mean, by type and member. Limits are not repeated here: the types have them."""

from __future__ import annotations

from typing import Final

_LINE: Final = "your id of the line, unique in the order"
_UNITS: Final = "units of the line"
_CHECKOUT: Final = "the Digital River checkout that is meant; the current one when absent"
_ADDRESS: Final = {
    "name": "of the person or the company",
    "line1": "street and number",
    "line2": "further line of the street address",
    "city": "city or town",
    "state": "state or province, as Digital River expects it for the country",
    "postal_code": "postal code; Digital River refuses physical goods without one",
    "country": "ISO 3166-1 alpha-2, upper case",
    "phone": "phone number",
}
_ACT: Final = {"actor": "who does it", "reason": "why"}
_COMMAND: Final = {**_ACT, "command_id": "the command that was given up"}

INBOUND_WORDS: Final[dict[str, dict[str, str]]] = {
    "Cart": {
        "currency": "ISO 4217, upper case; the same for all amounts of the order",
        "locale": "language and country of the shopper, such as en_US, en-US or en",
        "email": "e-mail address of the shopper",
        "customer": "guest or registered",
        "bill_to": "billing address",
        "items": "the lines, each `line` once",
        "ship_to": "shipping address, without which no order of physical goods is placed; goes together with `ship_from` and "
        "`shipping`",
        "ship_from": "where the goods come from; goes together with `ship_to` and `shipping`",
        "shipping": "how the goods travel; goes together with `ship_to` and `ship_from`",
        "discount": "off the whole order",
        "tax_inclusive": "whether prices include tax; false when absent",
        "customer_type": "individual or business",
        "organization": "the business that buys",
        "tax_identifier_ids": "ids of tax identifiers at Digital River",
        "browser_ip": "IP address of the shopper's browser",
        "metadata": "pairs of your own that travel to Digital River",
    },
    "CartItem": {
        "line": _LINE,
        "sku_id": "id of the SKU, the key of its event in `catalog-events`",
        "quantity": "units",
        "price": "price of one unit",
        "discount": "off the whole line",
    },
    "Discount": {"amount": "money off", "percent": "per cent off, with at most two decimals"},
    "GuestCustomer": {"kind": "a shopper without an account"},
    "RegisteredCustomer": {
        "kind": "a shopper with an account",
        "id": "your id of the shopper; becomes the Customer's id at Digital River",
    },
    "Address": _ADDRESS,
    "Origin": _ADDRESS,
    "Shipping": {
        "amount": "price of the shipping",
        "description": "name of the shipping method, for people",
        "service_level": "Digital River's service level, such as SG",
        "discount": "off the shipping",
    },
    "Organization": {"id": "id of the business at Digital River", "name": "name of the business"},
    "SourceProvided": {
        "source_id": "id of the payment source that DigitalRiver.js returned in the browser, another one for each order; "
        "the simulator takes sim-card-<anything>",
        "checkout_id": _CHECKOUT,
    },
    "CheckoutAbandoned": {"reason": "why the shopper left, for people"},
    "OrderPlaced": {
        "terms_accepted": "the shopper accepted the terms of sale of the selling entity",
        "checkout_id": _CHECKOUT,
    },
    "PaymentReturned": {"checkout_id": _CHECKOUT},
    "CancelRequested": {
        "items": "what is cancelled; all that is still open when absent",
        "cancellation_id": "your id of the cancellation",
        "reason": "why, for people",
    },
    "CancelItem": {"line": _LINE, "quantity": _UNITS},
    "RefundRequested": {
        "refund_id": "your id of the refund; a new one after a refund has failed",
        "amount": "money to pay back; not with `items`",
        "items": "lines to pay back; not with `amount` or `of`. Without items and amount: all that is left",
        "of": "limits the refund to this part of the total; not with `items`",
        "reason": "why; goes to Digital River",
    },
    "RefundItem": {
        "line": _LINE,
        "quantity": "units to pay back; all that is left of the line without quantity and amount",
        "amount": "money to pay back for the line",
    },
    "ReturnRequested": {
        "return_id": "your id of the return",
        "items": "what will come back, each line once; empty withdraws the return",
        "reason": "why; goes to Digital River",
    },
    "LineQuantity": {"line": _LINE, "quantity": _UNITS},
    "Shipped": {
        "shipment_id": "the warehouse's id of the parcel; the same id with the same content is the same parcel",
        "items": "what is in the parcel, each line once",
        "tracking": "where the parcel can be followed",
    },
    "ShipmentTracking": {
        "company": "name of the carrier",
        "number": "tracking number",
        "url": "page of the carrier for this parcel",
    },
    "FulfillmentCancelled": {
        "items": "what cannot be delivered, each line once",
        "cancellation_id": "the warehouse's id of the cancellation",
        "reason": "why, for people",
    },
    "ReturnReceived": {
        "return_id": "the id of the return request",
        "items": "what came back, each line once",
        "receipt_id": "the warehouse's id of the parcel; without it only the event id tells two parcels apart",
    },
    "SkuUpserted": {
        "name": "name of the product",
        "tax_code": "Digital River's tax code",
        "country_of_origin": "ISO 3166-1 alpha-2, upper case",
        "eccn": "export control classification number, such as EAR99",
        "description": "description of the product",
        "image": "URL of a picture",
        "url": "URL of the product page",
        "hs_code": "harmonised system code",
        "part_number": "manufacturer's part number",
        "weight": "weight of one unit in `weight_unit`, as a decimal string",
        "weight_unit": "unit of `weight`",
        "metadata": "pairs of your own that travel to Digital River",
    },
    "SkuRemoved": {},
    "Held": _ACT,
    "Released": {**_ACT, "drop": "the failed event that is left out"},
    "DroppedEvent": {"id": "id of the failed event", "source": "source of the failed event"},
    "Refreshed": _ACT,
    "Acknowledged": {**_ACT, "attention": "the reasons to take off, word for word; all when absent"},
    "MoveRequested": {**_ACT, "to": "the state that the edge for operators leads to"},
    "CommandRetried": _COMMAND,
    "CommandDropped": _COMMAND,
    "Redelivered": {
        **_ACT,
        "topic": "topic of the record, without the prefix of the settings",
        "partition": "partition in which the record first came in",
        "offset": "offset at which the record first came in",
        "key": "key of the record in Base64; the same as that of the operator's event",
        "value": "value of the record in Base64",
        "headers": "headers of the record: a name, and the content in Base64 or null",
        "letter": "the dead letter that the record is from, as partition-offset",
        "action": "the bulk action that delivers the record again",
    },
}
