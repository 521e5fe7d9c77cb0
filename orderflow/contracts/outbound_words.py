"""What the members of outbound messages mean, by type and member, and what their values look like where the type does not say."""

from __future__ import annotations

from typing import Any, Final, get_args

import msgspec

from statemachine.order.order import DEFINITION, DeadlineName
from statemachine.waits.looking import LOOK


class Said(msgspec.Struct, frozen=True):
    """The description of a member, what its schema adds to its type, and a value for examples."""

    text: str
    schema: dict[str, Any] = {}
    example: Any = msgspec.UNSET


#: Amounts that come out: more digits than any amount that is taken, for sums.
MONEY_OUT_PATTERN: Final = r"^(?:0|[1-9][0-9]*)(?:\.[0-9]{1,4})?$"
_MONEY_OUT: Final = {"pattern": MONEY_OUT_PATTERN}
_COUNT: Final = {"minimum": 0}
_POSITIVE: Final = {"minimum": 1}
_NO_DATA: Final[dict[str, Any]] = {}


def _money(text: str, example: str = "0.00") -> Said:
    return Said(f"{text}: a decimal string in major units with exactly the digits of the currency", _MONEY_OUT, example)


_ORDER: Final = Said("id of the order, the key of the record", _NO_DATA, "A-1001")
_LINE: Final = Said("your id of the line", _NO_DATA, "1")
_ATTENTION: Final = Said("reasons why a person should look at the order; empty when all is well", {"maxItems": 20}, [])
_CODE: Final = Said("Digital River's code; not for shoppers", _NO_DATA, "invalid_parameter")
_MESSAGE: Final = Said("Digital River's text; may be shown to a shopper", _NO_DATA, "Invalid address.")
_UNITS: Final = {
    "ordered": "ordered",
    "shipped": "shipped",
    "cancelled": "cancelled",
    "returned": "returned, among the shipped",
}

#: An order that was sent whole, and of which something was paid back.
_PAID: Final = {
    "currency": "USD",
    "total": "27.01",
    "tax": "1.88",
    "captured": "27.01",
    "cancelled": "0.00",
    "refunded": "9.50",
    "charged_back": "0.00",
}
_SHIPPED_LINE: Final = {
    "line": "1",
    "sku_id": "mug-blue",
    "ordered": 2,
    "shipped": 2,
    "cancelled": 0,
    "returned": 0,
    "amount": "25.13",
    "tax": "1.88",
}
#: A look at Digital River is a deadline of the worker's own.
_PUBLIC_DEADLINES: Final = sorted(name for name in get_args(DeadlineName) if name != LOOK)

OUTBOUND_WORDS: Final[dict[str, dict[str, Said]]] = {
    "Change": {
        "order_id": _ORDER,
        "sequence": Said("from 1 for each order, without gap and repeat", _POSITIVE, 7),
        "from": Said("state before the change", _NO_DATA, "placing"),
        "to": Said("state after the change; the same when only something beside it changed", _NO_DATA, "submitted"),
        "changed": Said(
            "names of the members that changed; each comes with its new value", _NO_DATA, ["state", "payment"]
        ),
        "payment": Said("what has become of the payment", _NO_DATA, "authorized"),
        "amounts": Said("the amounts of the order"),
        "cause": Said("the event that led to the change"),
        "digital_river": Said("ids of the order at Digital River"),
        "attention": _ATTENTION,
        "state": Said("the same as `to`, when the state changed", _NO_DATA, "submitted"),
        "lines": Said("all lines, when one of them changed"),
        "shipments": Said("all shipments, when one of them changed"),
        "refunds": Said("all refunds, when one of them changed"),
        "returns": Said("all returns, when one of them changed"),
        "documents": Said("all documents, when there are more of them"),
        "quote": Said("what the order will cost; into `checkout_open`, and whenever the quote is another one"),
        "payment_session": Said("what DigitalRiver.js needs; beside `quote`. Secret"),
        "next_action": Said("what the shopper must do; into `pending_payment`. Secret"),
        "problem": Said("why Digital River refused"),
        "held": Said("since when the order is held, by whom and why; null when it was released"),
        "actor": Said("the operator who caused the change"),
        "reason": Said("why the operator did it"),
        "redelivered": Said(
            "the event in the record that an operator delivered again; `cause` is the operator's event"
        ),
        "dropped": Said("the failed event that a release dropped, or the name of the failed deadline"),
    },
    "AmountsText": {
        "currency": Said('ISO 4217; null before the first cart, and all amounts are "0"', _NO_DATA, "USD"),
        "total": _money("sum of the order after discounts, with tax", "27.01"),
        "tax": _money("tax in `total`", "1.88"),
        "captured": _money("captured so far"),
        "cancelled": _money("cancelled so far"),
        "refunded": _money("paid back so far"),
        "charged_back": _money("lost in disputes"),
    },
    "Cause": {
        "type": Said("type of the event; of a deadline orderflow.deadline", _NO_DATA, "digitalriver.order_placed"),
        "id": Said("id of the event", _NO_DATA, "8601c2a2-8df5-54f5-8896-40027710edef.1:1"),
        "source": Said("source of the event", _NO_DATA, "orderflow/commands"),
        "topic": Said(
            "topic in which the event first came in; absent for a deadline, as are the next two",
            _NO_DATA,
            "orderflow.inbox",
        ),
        "partition": Said("partition in which the event first came in", _COUNT, 3),
        "offset": Said("offset at which the event first came in", _COUNT, 812),
    },
    "RefusedCause": {
        "topic": Said("topic in which the record first came in, without the prefix", _NO_DATA, "fulfillment-events"),
        "partition": Said("partition in which the record first came in", _COUNT, 3),
        "offset": Said("offset at which the record first came in", _COUNT, 812),
        "type": Said(
            "type of the event; absent when it cannot be told, as are the next two", _NO_DATA, "fulfillment.shipped"
        ),
        "id": Said("id of the event", _NO_DATA, "P-1-shipped"),
        "source": Said("source of the event", _NO_DATA, "/warehouse"),
    },
    "RemoteIds": {
        "checkout_id": Said("the current checkout", _NO_DATA, "51e149ef-3a86-45cc-8f51-d666c3ecedaa"),
        "order_id": Said("Digital River's order", _NO_DATA, "185963850336"),
        "customer_id": Said("Digital River's customer"),
    },
    "Line": {
        "line": _LINE,
        "sku_id": Said("id of the SKU", _NO_DATA, "mug-blue"),
        **{name: Said(f"units {text}", _COUNT, 2 * (name == "ordered")) for name, text in _UNITS.items()},
        "amount": _money("price of the line after its discount, without tax", "25.13"),
        "tax": _money("tax of the line", "1.88"),
    },
    "Shipment": {
        "shipment_id": Said(
            "the warehouse's id; null when Digital River made the fulfilment by itself", _NO_DATA, "P-1"
        ),
        "fulfillment_id": Said("Digital River's id", _NO_DATA, "ful_1"),
        "capture": Said("state of the capture of this shipment", _NO_DATA, "complete"),
        "captured": _money("captured for this shipment", "27.01"),
    },
    "RefundText": {
        "refund_id": Said("your id of the refund, or Digital River's", _NO_DATA, "R-1"),
        "state": Said("state of the refund", _NO_DATA, "succeeded"),
        "amount": _money("amount of the refund, once it is known", "9.50"),
    },
    "RefundChange": {
        "refund_id": Said("your id of the refund, or Digital River's"),
        "state": Said("state of the refund"),
        "amount": _money("amount of the refund, once it is known"),
        "token": Said("with it the shopper names an account, when the refund becomes `pending_information`. Secret"),
        "token_expires": Said("when the token ends, as Digital River says it"),
    },
    "ReturnView": {
        "return_id": Said("your id of the return, or Digital River's", _NO_DATA, "RT-1"),
        "state": Said("state of the return", _NO_DATA, "requested"),
    },
    "Document": {
        "file_id": Said("id of the file at Digital River", _NO_DATA, "file_1"),
        "purpose": Said("kind of document, in Digital River's words", _NO_DATA, "customer_invoice"),
    },
    "Quote": {
        "currency": Said("ISO 4217"),
        "items": Said("the lines of the quote"),
        "shipping": _money("shipping after its discount, without tax"),
        "tax": _money("all tax"),
        "duties": _money("customs duties"),
        "fees": _money("regulatory fees"),
        "importer_tax": _money("tax that the importer pays"),
        "discount": _money("discount of the whole order"),
        "total": _money("sum of all after discounts"),
        "selling_entity": Said("who sells: show the terms of sale that belong to its `id`"),
        "disclosures": Said("disclosures as Digital River gave them"),
    },
    "QuotedItem": {
        "line": _LINE,
        "amount": _money("price of the line after its discount, without tax"),
        "tax": _money("tax of the line"),
        "duties": _money("duties of the line"),
        "fees": _money("fees of the line"),
        "importer_tax": _money("importer's tax of the line"),
    },
    "QuotingEntity": {"id": Said("Digital River's id of the selling entity"), "name": Said("its name, if known")},
    "PaymentSession": {
        "id": Said("Digital River's id of the payment session"),
        "client_secret": Said("secret for DigitalRiver.js; in the change only, never in `orders`"),
    },
    "NextAction": {
        "kind": Said("what the shopper must do"),
        "url": Said("where to send the shopper, when `kind` is redirect"),
        "source_id": Said("the source whose payment instructions to show"),
        "source_client_secret": Said("secret with which the instructions can be read"),
    },
    "ShownProblem": {"code": _CODE, "message": _MESSAGE},
    "KeptProblem": {
        "code": _CODE,
        "message": _MESSAGE,
        "about": Said("the command that was refused, or charge when a capture, void or charge failed"),
    },
    "Hold": {
        "since": Said("when the hold began"),
        "actor": Said("who holds the order; orderflow when an event failed", _NO_DATA, "mia"),
        "reason": Said("why", _NO_DATA, "asked by the shop"),
    },
    "EventName": {
        "type": Said("type of the event"),
        "id": Said("id of the event"),
        "source": Said("source of the event"),
    },
    "EventRefused": {
        "order_id": _ORDER,
        "cause": Said("the refused event"),
        "reason": Said("why the event was refused", _NO_DATA, "refused"),
        "code": Said("stable name of the rule that refused the event", _NO_DATA, "shipment.above_open"),
        "detail": Said(
            "why, in one line for a person; quotes no value", _NO_DATA, "more units were shipped than are open"
        ),
    },
    "Snapshot": {
        "order_id": _ORDER,
        "state": Said("state of the order", _NO_DATA, "complete"),
        "sequence": Said("of the latest change; 0 before the first", _COUNT, 11),
        "requested": Said("when the first cart came; null before"),
        "placed": Said("when the order was placed; null before"),
        "payment": Said("what has become of the payment", _NO_DATA, "captured"),
        "amounts": Said("the amounts of the order", _NO_DATA, _PAID),
        "lines": Said("the lines; empty before the first cart", _NO_DATA, [_SHIPPED_LINE]),
        "shipments": Said("the shipments that Digital River has confirmed"),
        "refunds": Said("the refunds, without their tokens"),
        "returns": Said("the returns"),
        "documents": Said("invoices and credit memos"),
        "digital_river": Said("ids of the order at Digital River"),
        "deadlines": Said("what happens by itself, and when", _NO_DATA, []),
        "parked": Said("events that came too early and wait in the order", _NO_DATA, []),
        "attention": _ATTENTION,
        "definition": Said("version of this document", _POSITIVE, DEFINITION),
        "updated": Said("when the order last changed"),
        "internal": Said("the worker's; may change at any time", _NO_DATA, {}),
        "held": Said("since when the order is held, by whom and why; null when it is not", _NO_DATA, None),
        "problem": Said(
            "the last refusal of Digital River, until it is overcome; null when there is none", _NO_DATA, None
        ),
    },
    "Deadline": {"name": Said("what happens", {"enum": _PUBLIC_DEADLINES}, "overdue"), "due": Said("when it happens")},
    "ParkedView": {
        "type": Said("type of the event", _NO_DATA, "fulfillment.shipped"),
        "since": Said("when the event came"),
    },
    "Sku": {
        "sku_id": Said("id of the SKU, the key of the record", _NO_DATA, "mug-blue"),
        "state": Said("what Digital River knows about the SKU", _NO_DATA, "known"),
        "updated": Said("when the state was found out"),
        "problem": Said("why Digital River refused the last change"),
        "internal": Said("the worker's; may change at any time"),
    },
    "Problem": {
        "code": _CODE,
        "message": _MESSAGE,
        "parameter": Said("the field that Digital River names"),
        "status": Said("HTTP status of the refusal"),
    },
    "LetterHeaders": {
        "orderflow-reason": Said("why the record was set aside", _NO_DATA, "invalid"),
        "orderflow-detail": Said("why, in one line for a person; quotes no value", _NO_DATA, "data.items: is missing"),
        "orderflow-topic": Said(
            "topic in which the record first came in, without the prefix", _NO_DATA, "order-events"
        ),
        "orderflow-partition": Said("partition in which the record first came in", {"pattern": "^[0-9]{1,10}$"}, "3"),
        "orderflow-offset": Said("offset at which the record first came in", {"pattern": "^[0-9]{1,19}$"}, "812"),
        "orderflow-at": Said("when the record was set aside", {"format": "date-time"}, "2031-03-04T10:11:13.120Z"),
        "orderflow-redelivered": Said(
            "how often an operator had the record decided again; absent when nobody did", {"pattern": "^[0-9]{1,6}$"}
        ),
    },
}

#: What types are, where their docstrings are for those who work on orderflow.
TYPE_WORDS: Final[dict[str, str]] = {
    "Cause": "The event that led to something, and where it first came in.",
    "Change": "One change of one order.",
    "EventName": "What identifies an event, and its type.",
    "PaymentSession": "What DigitalRiver.js needs.",
    "ParkedView": "An event that came too early and waits in its order.",
    "Problem": "A refusal of Digital River.",
    "RefundText": "A refund.",
    "RefundChange": "A refund in a change.",
    "RemoteIds": "Ids of the order at Digital River.",
    "ReturnView": "A return.",
    "Sku": "What Digital River knows about a SKU.",
    "Snapshot": "The latest state of an order.",
}
