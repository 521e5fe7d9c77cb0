"""Records in, events out: what is taken, and what each bad input is told."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from typing import Any

import msgspec
import pytest

from statemachine.errors import DecodeError
from statemachine.messages.decoding import cause_of, decode
from statemachine.messages.envelope import Record
from statemachine.messages.events import REGISTRY, CancelRequested, Cart, OrderPlaced, SkuUpserted
from statemachine.messages.facts import Fact, Outcome
from statemachine.messages.ids import CommandId
from tests.unit.statemachine.story import cart, record, units


def refusal(made: Record) -> DecodeError:
    """The error that ``made`` brings."""
    with pytest.raises(DecodeError) as raised:
        decode(made)
    assert "\n" not in raised.value.detail
    return raised.value


def with_item(**changes: Any) -> dict[str, Any]:
    """A cart whose only line is changed."""
    made = cart()
    made["items"][0] |= changes
    return made


def test_a_structured_event_is_read() -> None:
    """The usual CloudEvent: all attributes, coordinates, and the data as its model."""
    event = decode(record("checkout.requested", cart(), subject="A-1", time="2031-03-04T10:11:12Z", unknown="ignored"))
    assert (event.type, event.id, event.source, event.order_id) == ("checkout.requested", "e-1", "/shop", "A-1")
    assert isinstance(event.data, Cart)
    assert event.cause.topic == "checkout-events"
    assert event.time is not None


def test_a_binary_event_is_read() -> None:
    """Attributes in ce_ headers, the data as the value."""
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"e-1"),
        ("ce_source", b"/shop"),
        ("ce_type", b"order.placed"),
        ("ce_time", b"2031-03-04T10:11:12Z"),
        ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    )
    event = decode(Record("order-events", 3, 7, b"A-1", b'{"terms_accepted": true}', headers))
    assert isinstance(event.data, OrderPlaced)
    assert (event.cause.partition, event.cause.offset) == (3, 7)


@pytest.mark.parametrize(
    ("headers", "value", "reason"),
    [
        ((("ce_specversion", b"1.0"), ("ce_id", b"\xff")), b"{}", "undecodable"),
        ((("ce_specversion", b"1.0"),), b"{}", "undecodable"),
        ((("ce_specversion", b"1.0"), ("ce_time", b"yesterday")), b"{}", "undecodable"),
        ((("ce_specversion", b"1.0"),), b"{", "undecodable"),
        ((("ce_specversion", b"1.0"),), b'{"a":1} b', "undecodable"),
        ((("ce_specversion", b"1.0"), ("ce_id", None)), b"{}", "undecodable"),
        ((("ce_specversion", b"1.0"),), b"[" * 100_000, "undecodable"),
    ],
)
def test_a_broken_binary_event_is_undecodable(
    headers: tuple[tuple[str, bytes | None], ...], value: bytes, reason: str
) -> None:
    """Binary mode is held to the same rules."""
    assert refusal(Record("order-events", 0, 0, b"A-1", value, headers)).reason == reason


@pytest.mark.parametrize(
    "value",
    [None, b"", b"not JSON", b"\xff\xfe", b"[" * 100_000, b'{"data":' + b"[" * 100_000, b"1", b"null", b"x" * 900_000],
)
def test_what_is_not_a_json_object_is_undecodable(value: bytes | None) -> None:
    """Garbage of any size is one line in a dead letter."""
    assert refusal(Record("order-events", 0, 0, b"A-1", value)).reason == "undecodable"


@pytest.mark.parametrize(
    "envelope",
    [
        {},
        {"specversion": "0.3"},
        {"specversion": "1.0", "id": "e"},
        {"specversion": 1},
        {"specversion": "1.0", "id": 7},
    ],
)
def test_json_without_a_cloudevent_is_undecodable(envelope: dict[str, Any]) -> None:
    """An object is not yet an event."""
    error = refusal(Record("order-events", 0, 0, b"A-1", msgspec.json.encode(envelope)))
    assert error.reason == "undecodable"
    assert "CloudEvent" in error.detail


@pytest.mark.parametrize("key", [None, b"", b"a b", b"a" * 129, "ä".encode(), b"a\n"])
def test_a_key_that_is_not_an_order_id_is_invalid(key: bytes | None) -> None:
    """The key is 1 to 128 bytes of A-Z a-z 0-9 . _ and a hyphen."""
    error = refusal(msgspec.structs.replace(record("order.placed", {"terms_accepted": True}), key=key))
    assert (error.reason, error.detail[:4]) == ("invalid", "key:")


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"subject": "A-2"}, "subject: must equal the record's key"),
        ({"id": ""}, "id: must have 1 to 255 characters"),
        ({"source": "s" * 256}, "source: must have 1 to 255 characters"),
        ({"id": "a\nb"}, "id: must have no control characters"),
        ({"subject": 7}, "subject: must equal the record's key"),
    ],
)
def test_a_bad_attribute_is_named(attributes: dict[str, Any], words: str) -> None:
    """The detail says which attribute and which rule."""
    error = refusal(record("order.placed", {"terms_accepted": True}, **attributes))
    assert (error.reason, error.detail) == ("invalid", words)


@pytest.mark.parametrize(
    ("kind", "topic"),
    [
        ("order.exploded", "order-events"),
        ("order.placed", "checkout-events"),
        ("sku.upserted", "order-events"),
        ("sku.upserted", "orderflow.inbox"),
    ],
)
def test_a_type_that_the_topic_does_not_have_is_refused(kind: str, topic: str) -> None:
    """Unknown types are refused, and so are types on a topic of others."""
    assert refusal(record(kind, {}, topic=topic)).reason == "refused"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "data: is missing; send {} to mean the whole order"),
        ({name: value for name, value in cart().items() if name != "locale"}, "data.locale: is missing"),
        (with_item(quantity=0), "data.items[0].quantity: must be at least 1"),
        (with_item(quantity=-3), "data.items[0].quantity: must be at least 1"),
        (with_item(quantity=10**30), "data.items[0].quantity: must be at most 1000000"),
        (with_item(quantity=True), "data.items[0].quantity: must be a whole number"),
        (with_item(quantity=1.5), "data.items[0].quantity: must be a whole number"),
        (with_item(price=8.0), "data.items[0].price: must be a string"),
        (with_item(price="8.0"), "data.items[0].price: must have exactly the digits of the currency"),
        (
            with_item(price="-8.00"),
            "data.items[0].price: must be a plain decimal string, without sign, exponent or space",
        ),
        (
            with_item(discount={"amount": "1"}),
            "data.items[0].discount.amount: must have exactly the digits of the currency",
        ),
        (with_item(discount={}), "data.items[0].discount: needs either amount or percent"),
        (
            with_item(discount={"percent": "110"}),
            "data.items[0].discount.percent: must be a decimal string from 0 to 100",
        ),
        (cart(currency="XXX"), "data.currency: must be a currency of ISO 4217"),
        (cart(currency="usd"), "data.currency: must be a currency code of three upper-case letters"),
        (cart(items=[]), "data.items: must have 1 or more entries"),
        (cart(("1", 1, "1.00"), ("1", 1, "1.00")), "data.items: each line must be unique"),
        (cart(customer={"kind": "registered"}), "data.customer.id: is missing"),
        (cart(customer={"kind": "pirate"}), "data.customer: kind must be one of 'guest', 'registered'"),
        (cart(customer={"kind": "registered", "id": "x" * 41}), "data.customer.id: must have at most 40 characters"),
        (cart(email="nobody"), "data.email: must be an e-mail address"),
        (cart(metadata={"pat@example.org": 1.5}), "data.metadata: must be a string (and 2 more)"),
        (cart(ship_from={"country": "US"}), "data: ship_to, ship_from and shipping go together"),
        (cart(discount={"amount": "1"}), "data.discount.amount: must have exactly the digits of the currency"),
    ],
)
def test_bad_data_is_reported_in_one_line_that_names_the_place(data: Any, words: str) -> None:
    """Each bad input of a cart has a reason that a person understands, and no value in it."""
    error = refusal(record("checkout.requested", data))
    assert (error.reason, error.detail) == ("invalid", words)


def test_shipping_money_has_the_currency_s_digits() -> None:
    """Every amount of the cart is held to the digits."""
    goods = cart(
        ship_to=cart()["bill_to"],
        ship_from={"country": "US"},
        shipping={"amount": "5", "description": "d", "service_level": "SG"},
    )
    assert "data.shipping.amount: must have exactly" in refusal(record("checkout.requested", goods)).detail
    goods["shipping"] |= {"amount": "5.00", "discount": {"amount": "1"}}
    assert "data.shipping.discount.amount: must have exactly" in refusal(record("checkout.requested", goods)).detail
    goods["shipping"] |= {"discount": {"percent": "12.5"}}
    assert decode(record("checkout.requested", goods)).type == "checkout.requested"


@pytest.mark.parametrize("accepted", [False, 1, "true", None])
def test_an_order_without_acceptance_is_refused(accepted: object) -> None:
    """terms_accepted is true, and nothing else will do."""
    error = refusal(record("order.placed", {"terms_accepted": accepted}))
    assert error.reason == "refused"
    assert "accept the terms" in error.detail


MISSING = "data: is missing; send {} to mean the whole order"


def test_absent_data_never_stands_for_anything_but_that_it_happened() -> None:
    """A cancel or refund without data is not a cancel or refund of all: only what needs no data goes without."""
    value = b'{"specversion":"1.0","id":"e","source":"/s","type":"%s"%s}'
    for more in (b"", b',"data":null', b',"data":""', b',"data_base64":null', b',"data_base64":""'):
        for topic, kinds in REGISTRY.items():
            for kind in kinds:
                for where in (topic, "orderflow.inbox") if topic != "catalog-events" else (topic,):
                    made = Record(where, 0, 0, b"A-1", value % (kind.encode(), more))
                    if kind in ("order.payment_returned", "sku.removed"):
                        assert decode(made).type == kind
                    else:
                        error = refusal(made)
                        assert (error.reason, error.detail) == ("invalid", MISSING)


def test_an_empty_object_means_all_where_all_can_be_meant() -> None:
    """Who means all says so."""
    event = decode(record("order.cancel_requested", {}))
    assert isinstance(event.data, CancelRequested)
    assert event.data.items is None
    assert decode(record("checkout.abandoned", {})).type == "checkout.abandoned"


def encoded(kind: str, value: bytes | str, **more: Any) -> Record:
    """A record whose data is in ``data_base64``: bytes are encoded, a text is what the sender made of them."""
    text = value if isinstance(value, str) else b64encode(value).decode()
    envelope = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": kind, "data_base64": text, **more}
    topic = next((topic for topic, kinds in REGISTRY.items() if kind in kinds), "orderflow.inbox")
    return Record(topic, 0, 0, b"A-1", msgspec.json.encode(envelope))


@pytest.mark.parametrize("kind", ["order.cancel_requested", "fulfillment.cancelled"])
def test_data_base64_is_read_like_data(kind: str) -> None:
    """Official SDKs send bytes so: one unit that is cancelled is not all of them."""
    data = {"items": units(l1=1)}
    event, same = decode(encoded(kind, msgspec.json.encode(data))), decode(record(kind, data))
    assert (event.data, event.payload) == (same.data, same.payload)


def test_a_cart_in_data_base64_travels_on_as_json() -> None:
    """What Digital River is asked for is the cart, whichever way it came."""
    made = encoded("checkout.requested", msgspec.json.encode(cart()), datacontenttype="application/json", data=None)
    event = decode(made)
    assert isinstance(event.data, Cart)
    assert event.payload is not None
    assert msgspec.json.decode(event.payload) == cart()


def test_an_outcome_in_data_base64_is_read() -> None:
    """The inbox is held to the same rules."""
    outcome = Outcome(command_id=CommandId("c"), command="refresh_order", attempt=1, result="confirmed")
    made = encoded("digitalriver.order_read", msgspec.json.encode(outcome))
    assert decode(made).data == outcome


@pytest.mark.parametrize(
    ("data", "more", "words"),
    [
        (b"{}", {"data": {}}, "data and data_base64: an event has only one of them"),
        (b"", {"data": {}}, "data and data_base64: an event has only one of them"),
        ("pat@example.org", {}, "data_base64: is not Base64"),
        ("e30", {}, "data_base64: is not Base64"),
        ("\u00e9", {}, "data_base64: is not Base64"),
        (b"", {"data_base64": 7}, "data_base64: is not Base64"),
        (b"\xff{}", {}, "data_base64: is not UTF-8 at column 1"),
        (b"pat@example.org", {}, "data_base64: is not JSON at column 1"),
        (b"{} {}", {}, "data_base64: is not JSON at column 4"),
        (b"[" * 100_000, {}, "data_base64: is nested too deeply"),
    ],
)
def test_data_base64_that_cannot_be_read_is_undecodable(data: bytes | str, more: dict[str, Any], words: str) -> None:
    """Both at once, or bytes that are not JSON: nobody guesses which was meant."""
    error = refusal(encoded("order.cancel_requested", data, **more))
    assert (error.reason, error.detail) == ("undecodable", words)


@pytest.mark.parametrize("value", [None, b"", b"null", b"{}"])
def test_a_binary_event_may_go_without_data_too(value: bytes | None) -> None:
    """No value, an empty one and null all say that there is none."""
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"e-1"),
        ("ce_source", b"/shop"),
        ("ce_type", b"order.payment_returned"),
    )
    assert decode(Record("order-events", 0, 0, b"A-1", value, headers)).type == "order.payment_returned"
    placed = (*headers[:3], ("ce_type", b"order.placed"))
    if value != b"{}":
        assert refusal(Record("order-events", 0, 0, b"A-1", value, placed)).detail == MISSING


def test_data_that_is_null_is_absent() -> None:
    """As in the events of most libraries."""
    assert decode(record("order.payment_returned", None)).type == "order.payment_returned"
    assert refusal(record("order.placed", None)).detail == MISSING


@pytest.mark.parametrize("kind", [b"application/cloudevents+json", b"Application/CloudEvents; charset=UTF-8"])
def test_the_content_type_tells_a_structured_event(kind: bytes) -> None:
    """Some senders repeat the attributes in headers: what the content type says holds."""
    made = record("checkout.requested", cart())
    headers = (("content-type", kind), ("ce_specversion", b"1.0"), ("ce_id", b"another"))
    event = decode(Record(made.topic, 0, 0, made.key, made.value, headers))
    assert (event.type, event.id) == ("checkout.requested", "e-1")


def test_optional_members_of_a_cart_may_be_null() -> None:
    """Null is as good as absent, for each of them."""
    optional = {name: None for name, field in Cart.model_fields.items() if not field.is_required()}
    assert isinstance(decode(record("checkout.requested", cart() | optional)).data, Cart)


def test_lines_are_named_once() -> None:
    """A shipment, cancel or return names each line once, so that nobody has to guess a sum."""
    twice = [*units(l1=1), *units(l1=2)]
    for kind, data in (
        ("fulfillment.shipped", {"shipment_id": "s"}),
        ("order.cancel_requested", {}),
        ("order.return_requested", {"return_id": "r"}),
    ):
        assert refusal(record(kind, {**data, "items": twice})).detail == "data.items: each line must be named once"


def test_a_refund_has_one_style() -> None:
    """Lines go with neither an amount nor a part."""
    data = {"refund_id": "r", "items": [{"line": "1"}], "amount": "1.00"}
    assert "items go with neither" in refusal(record("order.refund_requested", data)).detail


def test_a_forwarded_record_keeps_its_origin() -> None:
    """A record forwarded through the inbox is checked against its own topic, and its cause has its first coordinates."""
    made = record("order.placed", {"terms_accepted": True}, topic="orderflow.inbox")
    event = decode(msgspec.structs.replace(made, headers=(("orderflow-origin", b"order-events/5/42"), ("trace", b""))))
    assert (event.cause.topic, event.cause.partition, event.cause.offset) == ("order-events", 5, 42)
    strange = msgspec.structs.replace(made, headers=(("orderflow-origin", b"checkout-events/5/42"),))
    assert refusal(strange).reason == "refused"


@pytest.mark.parametrize("origin", [b"", b"orders/1/2", b"order-events/x/2", b"order-events/1"])
def test_a_broken_origin_is_invalid(origin: bytes) -> None:
    """Only a public topic, a partition and an offset are an origin."""
    made = record("order.placed", {"terms_accepted": True}, topic="orderflow.inbox")
    assert refusal(msgspec.structs.replace(made, headers=(("orderflow-origin", origin),))).reason == "invalid"


def test_only_a_fact_comes_from_a_webhook() -> None:
    """Its cause has the webhook's coordinates; a public event that names them is made up."""
    made = record("digitalriver.order.accepted", {"type": "order.accepted"}, topic="orderflow.inbox")
    headers = (("orderflow-origin", b"dr-webhooks/3/17"),)
    cause = decode(msgspec.structs.replace(made, headers=headers)).cause
    assert (cause.topic, cause.partition, cause.offset) == ("dr-webhooks", 3, 17)
    public = record("order.placed", {"terms_accepted": True}, topic="orderflow.inbox")
    assert "of a public topic" in refusal(msgspec.structs.replace(public, headers=headers)).detail


def test_the_inbox_takes_outcomes_facts_and_public_types() -> None:
    """Answers, webhooks, reads of our own, and what an operator writes."""
    outcome = Outcome(command_id=CommandId("c"), command="refresh_order", attempt=1, result="confirmed")
    assert isinstance(decode(record("digitalriver.order_read", outcome)).data, Outcome)
    assert isinstance(decode(record("digitalriver.order_read", Fact(type="order_read"))).data, Fact)
    assert isinstance(decode(record("digitalriver.order.accepted", Fact(type="order.accepted"))).data, Fact)
    assert isinstance(
        decode(record("order.placed", {"terms_accepted": True}, topic="orderflow.inbox")).data, OrderPlaced
    )
    assert refusal(record("digitalriver.order_placed", {"command_id": 7})).reason == "invalid"
    assert refusal(record("digitalriver.order.accepted", {"type": 7})).reason == "invalid"


@pytest.mark.parametrize("value", ["pat", "x'pat'y", "'pat", "pat'", "pat - at `$.pat`", "'pat' - at `$.pat`"])
def test_no_part_of_an_enum_s_value_is_quoted(value: str) -> None:
    """Details never quote values, of Digital River neither: a quotation mark in one ends nothing."""
    bad = {"command_id": "c", "command": "refresh_order", "attempt": 1, "result": value}
    assert refusal(record("digitalriver.order_placed", bad)).detail == "data.result: is not allowed"


TIMES = {
    "2031-03-04T10:00:01Z": "2031-03-04T10:00:01Z",
    "2031-03-04t10:00:01z": "2031-03-04T10:00:01Z",
    "2031-03-04 10:00:01Z": "2031-03-04T10:00:01Z",
    "2031-03-04T10:00:01.123456789Z": "2031-03-04T10:00:01.123457Z",
    "2031-03-04T12:00:01+02:00": "2031-03-04T10:00:01Z",
    "2031-03-04T10:00:01-00:00": "2031-03-04T10:00:01Z",
    "2016-12-31T23:59:60Z": "2017-01-01T00:00:00Z",
    "2016-12-31T23:59:60.5Z": "2017-01-01T00:00:00.5Z",
    "2016-12-31T15:59:60-08:00": "2017-01-01T00:00:00Z",
}
NO_TIMES: tuple[object, ...] = (
    "", "soon", "2031-03-04T10:00:01", "2016-12-31T23:59:60", "2031-03-04T10:00Z", "2031-02-29T10:00:01Z",
    "2031-03-04T24:00:00Z", "2031-03-04T10:00:61Z", "9999-12-31T23:59:60Z", "2031-03-04T12:00:01+02:00[Europe/Paris]",
    1930557601, {}, None,
)  # fmt: skip


def _with_time(time: object, *, binary: bool) -> Record:
    made = record("order.placed", {"terms_accepted": True}, time=time)
    if not binary:
        return made
    attributes = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "order.placed", "time": str(time)}
    headers = tuple((f"ce_{name}", text.encode()) for name, text in attributes.items())
    return Record(made.topic, 0, 0, made.key, b'{"terms_accepted": true}', headers)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("time", TIMES)
def test_every_time_of_rfc_3339_is_read(time: str, binary: bool) -> None:
    """Any offset, any fraction, lower case letters; a leap second is the second after it."""
    assert decode(_with_time(time, binary=binary)).time == datetime.fromisoformat(TIMES[time])


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("time", NO_TIMES)
def test_a_time_that_is_none_leaves_the_event_readable(time: object, binary: bool) -> None:
    """No attribute that an event can go without costs the event."""
    event = decode(_with_time(time, binary=binary))
    assert (event.type, event.time) == ("order.placed", None)


def test_no_other_optional_attribute_makes_an_event_unreadable() -> None:
    """Of whatever kind, in either mode: the extensions of others are theirs."""
    more: dict[str, Any] = {"datacontenttype": 7, "dataschema": {}, "traceparent": []}
    assert decode(record("order.placed", {"terms_accepted": True}, **more)).type == "order.placed"
    made = _with_time("soon", binary=True)
    headers = (*made.headers, ("ce_traceparent", b"\xff"), ("ce_dataschema", None))
    assert decode(msgspec.structs.replace(made, headers=headers)).type == "order.placed"


@pytest.mark.parametrize(
    ("kind", "data", "place"),
    [
        ("order.refund_requested", {"refund_id": "r", "amout": "5.00"}, "data.amout"),
        ("order.refund_requested", {"refundid": "r", "amount": "5.00"}, "data.refundid"),
        ("order.refund_requested", {"refund_id": "r", "items": [{"line": "1", "qty": 1}]}, "data.items[0].qty"),
        ("order.cancel_requested", {"lines": units(l1=1), "cancellation_id": "c"}, "data.lines"),
        ("order.cancel_requested", {"items": [{"line": "1", "quantity": 1, "all": 1}]}, "data.items[0].all"),
    ],
)
def test_a_misspelt_member_of_a_cancel_or_refund_is_invalid_by_name(kind: str, data: Any, place: str) -> None:
    """Left out, it would ask for more than was meant."""
    for made in (record(kind, data), record(kind, data, topic="orderflow.inbox")):
        error = refusal(made)
        assert error.reason == "invalid"
        assert error.detail.startswith(f"{place}: is not a field of this event")


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        ({"refund_id": "r", "amout": "5"}, "data.amout: is not a field of this event; did you mean amount?"),
        ({"refund_id2": "r"}, "data.refund_id2: is not a field of this event; did you mean refund_id? (and 1 more)"),
        (
            {"refund_id": "r", "items": [{"line": "1", "quantitiy_of_it": 1}]},
            "data.items[0].quantitiy_of_it: is not a field of this event",
        ),
        ({"refund_id": "r", "sum_in_cents": 5}, "data.sum_in_cents: is not a field of this event"),
    ],
)
def test_who_misspelt_a_member_is_told_which_one_may_be_meant(data: Any, detail: str) -> None:
    """The name that is near to it, where there is one at that place."""
    assert refusal(record("order.refund_requested", data)).detail == detail


@pytest.mark.parametrize(
    "name",
    [
        "pat@example.org",
        "",
        "a b",
        "a\nb",
        "x" * 65,
        "Main_Street_12_Minneapolis_55401",
        "Ada_Lovelace_of_Minneapolis",
        "reason\n",
        "items@",
        "5551234567",
    ],
)
def test_a_member_s_name_that_may_be_personal_is_not_reported(name: str) -> None:
    """A name of the sender's own may be anything; only what is plausibly a misspelling is named."""
    error = refusal(record("order.cancel_requested", {name: 1}))
    assert (error.reason, error.detail) == ("invalid", "data: has a field that this event does not have")
    inside = refusal(record("order.cancel_requested", {"items": [{"line": "1", "quantity": 1, name: 1}]}))
    assert inside.detail == "data.items[0]: has a field that this event does not have"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("checkout.source_provided", {"source_id": "s", "colour": 1}),
        ("order.placed", {"terms_accepted": True, "colour": 1}),
        ("order.payment_returned", {"colour": 1}),
        ("order.return_requested", {"return_id": "r", "items": [{"line": "1", "quantity": 1, "colour": 1}]}),
        ("fulfillment.shipped", {"shipment_id": "s", "items": [{"line": "1", "quantity": 1, "colour": 1}]}),
        ("fulfillment.cancelled", {"items": [{"line": "1", "quantity": 1, "colour": 1}], "colour": 1}),
    ],
)
def test_unknown_members_of_all_other_types_are_ignored(kind: str, data: Any) -> None:
    """A platform may say more than we read."""
    assert decode(record(kind, data)).type == kind


@pytest.mark.parametrize("sku_id", [".", ".."])
def test_a_sku_id_that_is_another_address_is_refused_when_it_comes(sku_id: str) -> None:
    """Of the catalogue and of a cart: at Digital River it would be a part of an address."""
    sku = {"name": "n", "tax_code": "t", "country_of_origin": "US", "eccn": "EAR99"}
    for made in (record("sku.upserted", sku, key=sku_id), record("sku.removed", {}, key=sku_id)):
        error = refusal(made)
        assert (error.reason, error.detail[:4]) == ("invalid", "key:")
    error = refusal(record("checkout.requested", with_item(sku_id=sku_id)))
    assert (error.reason, error.detail[:30]) == ("invalid", "data.items[0].sku_id: must not")
    assert decode(record("sku.removed", {}, key="...")).order_id == "..."
    assert decode(record("order.placed", {"terms_accepted": True}, key=sku_id)).order_id == sku_id


@pytest.mark.parametrize("value", [".", "..", "a\x00b", "a\nb", "\x7f"])
def test_an_id_that_becomes_part_of_an_address_is_held_to_it(value: str) -> None:
    """A customer's and a source's: neither may name another place."""
    for made in (
        record("checkout.requested", cart(customer={"kind": "registered", "id": value})),
        record("checkout.source_provided", {"source_id": value}),
    ):
        error = refusal(made)
        assert error.reason == "invalid"
        assert error.detail.startswith(("data.customer.id: must ", "data.source_id: must "))


@pytest.mark.parametrize("value", ["a/b", "../orders", "a?x=1", "a#b", "a%2Fb", "\u00fcn\u00ef", "a b", "..."])
def test_any_other_customer_id_is_taken(value: str) -> None:
    """They are opaque; what an address cannot hold is escaped."""
    assert decode(record("checkout.requested", cart(customer={"kind": "registered", "id": value}))).order_id == "A-1"


@pytest.mark.parametrize(
    ("fact", "place"),
    [
        ('{"type": "order.dispute", "created": "2031-03-04T10:00:00"}', "data.created"),
        ('{"type": "order.chargeback", "major": "NaN"}', "data.major"),
        ('{"type": "order.chargeback", "major": "-Infinity"}', "data.major"),
        ('{"type": "order.chargeback", "major": 1e30}', "data.major"),
        ('{"type": "order.chargeback", "amount": 1e30}', "data.amount"),
    ],
)
def test_what_no_order_can_hold_is_invalid_with_its_place(fact: str, place: str) -> None:
    """A time without zone cannot be ordered, and no order has that much money: the letter says where."""
    value = '{"specversion":"1.0","id":"e","source":"/digitalriver","type":"digitalriver.%s","data":%s}'
    kind = msgspec.json.decode(fact)["type"]
    error = refusal(Record("orderflow.inbox", 0, 0, b"A-1", (value % (kind, fact)).encode()))
    assert error.reason == "invalid"
    assert error.detail.startswith(f"{place}: ")


def test_nan_is_not_json() -> None:
    """As a number it is in no JSON."""
    value = (
        b'{"specversion":"1.0","id":"e","source":"/d","type":"digitalriver.order.chargeback",'
        b'"data":{"type":"order.chargeback","major":NaN}}'
    )
    assert refusal(Record("orderflow.inbox", 0, 0, b"A-1", value)).reason == "undecodable"


def test_a_sku_is_read() -> None:
    """The catalogue's topic has types of its own, keyed by the SKU."""
    data = {
        "name": "Keyboard",
        "tax_code": "4323.310_A",
        "country_of_origin": "US",
        "eccn": "EAR99",
        "weight": "1.4",
        "weight_unit": "kg",
    }
    event = decode(record("sku.upserted", data, key="kb-01"))
    assert isinstance(event.data, SkuUpserted)
    assert event.order_id == "kb-01"


@pytest.mark.parametrize(
    ("key", "value"), [(None, b"{}"), (b"", b"{}"), (b"\xff", b"{}"), (b"A-1", b"not JSON"), (b"A-1", b"{}")]
)
def test_what_cannot_be_reported_has_no_cause(key: bytes | None, value: bytes) -> None:
    """A refused record without a usable key or envelope: nobody can be told."""
    assert cause_of(Record("order-events", 0, 0, key, value)) is None


@pytest.mark.parametrize("more", [{"subject": "another"}, {"subject": 1}, {"data": {}}])
def test_whoever_sent_a_refused_event_can_be_told(more: dict[str, Any]) -> None:
    """Its type, id and source are sound, whatever else is wrong."""
    made = record("order.placed", more.pop("data", {"terms_accepted": True}), event_id="e-7", **more)
    assert refusal(made).reason in {"invalid", "refused"}
    cause = cause_of(made)
    assert cause is not None
    assert (cause.type, cause.id, cause.source) == ("order.placed", "e-7", "/shop")


def test_data_that_is_nested_too_deeply_is_refused() -> None:
    """Sound JSON, and more than anybody would send."""
    deep: Any = 1
    for _ in range(250):
        deep = {"a": deep}
    made = refusal(record("order.placed", {"terms_accepted": True, "deep": deep}))
    assert (made.reason, made.detail) == ("invalid", "data: is nested too deeply")


def test_a_name_in_any_script_is_read() -> None:
    """JSON is UTF-8."""
    data = cart()
    data["bill_to"] = {**data["bill_to"], "name": "Zo\u00eb \u674e"}
    made = record("checkout.requested", data)
    assert made.value is not None
    assert not made.value.isascii()
    assert isinstance(decode(made).data, Cart)


@pytest.mark.parametrize("percent", ["12.5", 12.5, 10, "100", "100.00", 0])
def test_a_percentage_is_read_from_a_string_and_from_a_number(percent: object) -> None:
    """The contract names its type for money only."""
    event = decode(record("checkout.requested", with_item(discount={"percent": percent})))
    assert isinstance(event.data, Cart)
    discount = event.data.items[0].discount
    assert discount is not None
    assert discount.percent == str(percent)


@pytest.mark.parametrize("percent", ["100.01", "100.99", 101, -1, 12.345, True, 1e300])
def test_a_percentage_above_a_hundred_is_none(percent: object) -> None:
    """Digital River would refuse the whole checkout for it."""
    with pytest.raises(DecodeError, match="percent"):
        decode(record("checkout.requested", with_item(discount={"percent": percent})))


@pytest.mark.parametrize("data", [{}, {"terms_accepted": False}, {"terms_accepted": None}, {"terms_accepted": "true"}])
def test_anything_but_the_acceptance_of_the_terms_is_refused(data: dict[str, object]) -> None:
    """The event is sound, but nobody accepted: refused, not invalid, also when it is left out."""
    with pytest.raises(DecodeError) as caught:
        decode(record("order.placed", data))
    assert caught.value.reason == "refused"
