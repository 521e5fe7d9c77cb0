"""The bad records: what is wrong with each, and what the lane must say about it."""

from __future__ import annotations

import json
import random
import re
import uuid
from dataclasses import dataclass
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from producers.topics import INPUT_BYTES_MAX, Topic
from statemachine.errors import Reason
from tests.orders.lane import Given, RawHeaders, event, given, key_on
from tests.unit.statemachine.story import cart

#: In every bad record that can hold it; nothing that the lane says about a record may quote it.
CANARY = "canary-4711"


@dataclass(frozen=True)
class Bad:
    """A bad record, and what must come of it."""

    name: str
    record: Given
    reason: Reason
    #: Part of the line that a person reads.
    words: str
    #: The value is too large to be written again and may be left out.
    value_left_out: bool = False

    @property
    def reported(self) -> bool:
        """The service that sent it is told by ``order.event_refused``: its key is an order id, and the event is at fault."""
        is_order_id = re.fullmatch(rb"[A-Za-z0-9._-]{1,128}", self.record.key or b"") is not None
        return is_order_id and self.reason in ("refused", "invalid", "undecodable")


def _key() -> str:
    return f"bad-{uuid.uuid4().hex[:8]}"


def _cart(**changes: Any) -> dict[str, Any]:
    return {**cart(), "browser_ip": "203.0.113.7", "email": f"{CANARY}@example.org", **changes}


def _item(**changes: Any) -> dict[str, Any]:
    return {**cart()["items"][0], **changes}


def _checkout(name: str, words: str, reason: Reason = "invalid", **changes: Any) -> Bad:
    return Bad(name, given("checkout.requested", _key(), _cart(**changes)), reason, words)


def _raw(
    name: str,
    value: bytes | None,
    words: str,
    *,
    reason: Reason = "undecodable",
    headers: RawHeaders = (),
    key: bytes | None = b"bad-raw",
    topic: Topic = Topic.ORDER_EVENTS,
) -> Bad:
    return Bad(name, Given(topic, key, value, headers), reason, words)


def _without(name: str) -> bytes:
    whole = json.loads(event("order.placed", "bad-raw", {"terms_accepted": True, "note": CANARY}))
    return json.dumps({key: value for key, value in whole.items() if key != name}).encode()


def _placed(order_id: str, **more: Any) -> bytes:
    return event("order.placed", order_id, {"terms_accepted": True, "note": CANARY}, **more)


def _envelopes() -> list[Bad]:
    """No CloudEvent, or a broken one."""
    key = _key()
    garbage = random.Random(3).randbytes(900_000)
    return [
        _raw("not JSON", f"hello {CANARY}".encode(), "value: is not JSON"),
        _raw("an empty value", b"", "value: is empty"),
        _raw("no value", None, "value: is empty"),
        _raw("neither key nor value", None, "key: must be", reason="invalid", key=None),
        _raw("JSON that is not an object", b'["' + CANARY.encode() + b'"]', "not a CloudEvent: must be an object"),
        _raw("no CloudEvent", json.dumps({"order": CANARY}).encode(), "not a CloudEvent: specversion must be 1.0"),
        _raw("an old CloudEvent", _placed("bad-raw", specversion="0.3"), "specversion must be 1.0"),
        _raw("no id", _without("id"), "not a CloudEvent: id is missing"),
        _raw("no source", _without("source"), "not a CloudEvent: source is missing"),
        _raw("no type", _without("type"), "not a CloudEvent: type is missing"),
        _raw("no data", _without("data"), "data: is missing", reason="invalid"),
        _raw("a type that is a number", _placed("bad-raw", type=4711), "not a CloudEvent: type: must be a string"),
        _raw(
            "an id with a line feed", _placed("bad-raw", event_id="a\nb"), "id: must have no control", reason="invalid"
        ),
        _raw("garbage of 900 KB", garbage, "value: is not"),
        _raw("UTF-16", _placed("bad-raw").decode().encode("utf-16"), "value: is not UTF-8"),
        _raw("a byte order mark", b"\xef\xbb\xbf" + _placed("bad-raw"), "value: begins with a byte order mark"),
        _raw(
            "a broken letter in a field that nobody reads",
            _placed(key, note="?").replace(b'"?"', b'"\xff"'),
            "value: is not UTF-8",
            key=key.encode(),
        ),
        _raw("half a surrogate pair", _placed("bad-raw", note="\ud800"), "value: is not JSON"),
        _raw("lists in lists in lists", b"[" * 100_000 + b"]" * 100_000, "not a CloudEvent: must be an object"),
        _raw(
            "a field of 100,000 nested lists",
            _placed("bad-raw", note=0).replace(b'"note": 0', b'"note": ' + b"[" * 100_000 + b"]" * 100_000),
            "value: is nested too deeply",
        ),
        _raw(
            "data of 500 nested lists",
            event("order.placed", "bad-raw", {"note": 0}).replace(b'{"note": 0}', b"[" * 500 + b"]" * 500),
            "data: is nested too deeply",
            reason="invalid",
        ),
    ]


def _keys() -> list[Bad]:
    """Keys that are not an order id, or that are another one's."""
    words = "key: must be 1 to 128 bytes of A-Z a-z 0-9 . _ -"
    value = event("order.placed", "bad-raw", {"terms_accepted": True})
    bad = [
        _raw(name, value, words, reason="invalid", key=key)
        for name, key in (
            ("no key", None),
            ("an empty key", b""),
            ("a key with a space", b"canary 4711"),
            ("a key of 129 bytes", b"k" * 129),
            ("a key that ends in a line feed", b"bad-raw\n"),
            ("a key that is not text", b"\xff\xfe\x00"),
        )
    ]
    other = "subject: must equal the record's key"
    return [*bad, _raw("a key and a subject that differ", _placed(CANARY), other, reason="invalid")]


def _types() -> list[Bad]:
    """Types that are not this topic's."""
    return [
        Bad(
            "an unknown type",
            Given(Topic.ORDER_EVENTS, b"bad-raw", event("order.teleported", "bad-raw", {"note": CANARY})),
            "refused",
            "type: is not known on order-events",
        ),
        Bad(
            "a type of another topic",
            Given(Topic.FULFILLMENT_EVENTS, b"bad-raw", _placed("bad-raw")),
            "refused",
            "type: order.placed does not belong on fulfillment-events; send it to order-events",
        ),
        Bad(
            "an outcome from outside",
            Given(Topic.ORDER_EVENTS, b"bad-raw", event("digitalriver.order_placed", "bad-raw", {"note": CANARY})),
            "refused",
            "type: is not known on order-events",
        ),
        Bad(
            "a deadline from outside",
            Given(Topic.INBOX, b"bad-raw", event("orderflow.deadline", "bad-raw", {"name": "abandon"})),
            "refused",
            "type: is not known on orderflow.inbox",
        ),
    ]


def _carts() -> list[Bad]:
    """Carts that break the contract."""
    lines = [_item(), _item()]
    return [
        Bad(
            "a missing field",
            given("checkout.requested", _key(), {k: v for k, v in _cart().items() if k != "email"}),
            "invalid",
            "data.email: is missing",
        ),
        _checkout("no lines", "data.items: must have 1 or more entries", items=[]),
        _checkout("a negative quantity", "data.items[0].quantity: must be at least 1", items=[_item(quantity=-2)]),
        _checkout("a quantity of zero", "data.items[0].quantity: must be at least 1", items=[_item(quantity=0)]),
        _checkout("half a unit", "data.items[0].quantity: must be a whole number", items=[_item(quantity=1.5)]),
        _checkout("a quantity in words", "data.items[0].quantity: must be a whole number", items=[_item(quantity="2")]),
        _checkout("money as a number", "data.items[0].price: must be a string", items=[_item(price=10.0)]),
        _checkout("money with a sign", "data.items[0].price: must be a plain decimal", items=[_item(price="-1.00")]),
        _checkout("money with an exponent", "data.items[0].price: must be a plain decimal", items=[_item(price="1e2")]),
        _checkout(
            "money with another currency's digits",
            "data.items[0].price: must have exactly the digits of the currency",
            currency="JPY",
        ),
        _checkout("an unknown currency", "data.currency: must be a currency of ISO 4217", currency="XQQ"),
        _checkout("a currency in lower case", "data.currency: must be a currency code", currency="usd"),
        _checkout("one line twice", "data.items: each line must be unique", items=lines),
        _checkout("an e-mail address that is none", "data.email: must be an e-mail address", email=CANARY),
        _checkout(
            "a country in words",
            "data.bill_to.country: must be a country code",
            bill_to={**cart()["bill_to"], "country": CANARY},
        ),
        _checkout("metadata in fractions", "data.metadata: must be", metadata={CANARY: 1.5}),
        _checkout(
            "half of what shipping needs", "ship_to, ship_from and shipping go together", ship_from={"country": "US"}
        ),
        Bad(
            "data that are null",
            given("checkout.requested", _key(), None),
            "invalid",
            "data: is missing",
        ),
    ]


def _terms() -> list[Bad]:
    """Orders without the shopper's acceptance."""
    words = "data.terms_accepted: must be true"
    return [
        Bad(name, given("order.placed", _key(), {"terms_accepted": accepted}), "refused", words)
        for name, accepted in (
            ("terms that were not accepted", False),
            ("terms accepted by 1", 1),
            ("by words", "true"),
        )
    ]


def _binary() -> list[Bad]:
    """CloudEvents in binary mode that are none."""
    good: RawHeaders = (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"b-1"),
        ("ce_source", b"/shop"),
        ("ce_type", b"order.placed"),
    )
    value = json.dumps({"terms_accepted": True, "note": CANARY}).encode()

    def bad(name: str, words: str, change: tuple[str, bytes | None], body: bytes = value) -> Bad:
        headers = (*(header for header in good if header[0] != change[0]), change, ("trace", None), ("trace", b"\x00"))
        return _raw(f"binary mode, {name}", body, words, headers=headers)

    return [
        Bad(
            "binary mode, no id",
            Given(Topic.ORDER_EVENTS, b"bad-raw", value, tuple(one for one in good if one[0] != "ce_id")),
            "undecodable",
            "not a CloudEvent: id is missing",
        ),
        bad("an id that is null", "ce_id is empty, or is not UTF-8", ("ce_id", None)),
        bad("a version that is null", "ce_specversion is empty, or is not UTF-8", ("ce_specversion", None)),
        bad("a header that is not UTF-8", "ce_source is empty, or is not UTF-8", ("ce_source", b"\xff")),
        bad("a value that is not JSON", "value: is not JSON", ("x", None), CANARY.encode()),
        Bad(
            "binary mode, no value",
            Given(Topic.ORDER_EVENTS, b"bad-raw", b"", (*good, ("trace", None))),
            "invalid",
            "data: is missing",
        ),
        Bad(
            "binary mode, terms that were not accepted",
            Given(Topic.ORDER_EVENTS, b"bad-raw", b'{"terms_accepted":false}', (*good, ("trace", None))),
            "refused",
            "data.terms_accepted: must be true",
        ),
    ]


def _inbox() -> list[Bad]:
    """What should never be in the inbox."""
    stray = key_on(1, "stray")
    bogus = (("orderflow-origin", CANARY.encode()),)
    return [
        Bad(
            "misrouted in the inbox",
            Given(Topic.INBOX, stray.encode(), _placed(stray), partition=0),
            "misrouted",
            "must use murmur2",
        ),
        Bad(
            "an origin that is none",
            Given(Topic.INBOX, b"bad-raw", _placed("bad-raw"), bogus),
            "invalid",
            "orderflow-origin: must be topic/partition/offset",
        ),
        Bad(
            "an origin that is null",
            Given(Topic.INBOX, b"bad-raw", _placed("bad-raw"), (("orderflow-origin", None),)),
            "invalid",
            "orderflow-origin: must be topic/partition/offset",
        ),
        Bad(
            "an outcome without a command",
            Given(Topic.INBOX, b"bad-raw", event("digitalriver.order_placed", "bad-raw", {"result": CANARY})),
            "invalid",
            "data.result: is not allowed",
        ),
    ]


def _batch_bytes(record: Given) -> int:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 8_000_000)
    builder.append(0, timestamp=0, key=record.key, value=record.value, headers=list(record.headers))
    return int(builder.size())


def largest(headers: RawHeaders = (), *, seed: int = 5) -> Given:
    """A record of random bytes in a batch of exactly the largest size that the topic takes."""
    record = Given(Topic.CHECKOUT_EVENTS, b"bad-raw", b"", headers)
    room = INPUT_BYTES_MAX - _batch_bytes(record._replace(value=b"x" * 1_000_000)) + 1_000_000
    record = record._replace(value=random.Random(seed).randbytes(room))
    assert _batch_bytes(record) == INPUT_BYTES_MAX
    return record


def _sizes() -> list[Bad]:
    """Records at the limit."""
    zeros = Given(Topic.CHECKOUT_EVENTS, b"bad-raw", b"0" * 3_000_000, (("trace", b"z"),), compression="gzip")
    digits = random.Random(7).randbytes(900_000).hex().encode()
    dense = Given(Topic.CHECKOUT_EVENTS, b"bad-raw", digits, (("trace", None),), compression="gzip")
    words = "value: is not"
    return [
        Bad("the largest record", largest(), "undecodable", words),
        Bad(
            "the largest record with headers",
            largest((("h", b"v" * 9_000),), seed=6),
            "undecodable",
            words,
        ),
        Bad("3 MB that compress well", zeros, "undecodable", "value: "),
        Bad("1.8 MB that compress by half", dense, "undecodable", "left out", value_left_out=True),
    ]


def bad_records() -> list[Bad]:
    """All of them. None needs an order to be there."""
    return [*_envelopes(), *_keys(), *_types(), *_carts(), *_terms(), *_binary(), *_inbox(), *_sizes()]
