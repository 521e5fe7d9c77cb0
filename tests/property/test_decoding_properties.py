"""Any bytes are an event or a DecodeError, never another exception."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from statemachine.errors import DecodeError
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Record
from statemachine.messages.events import REGISTRY, Event
from tests.unit.statemachine.story import cart

TOPICS = [*REGISTRY, "orderflow.inbox"]
KINDS = [kind for kinds in REGISTRY.values() for kind in kinds]
OTHERS = [
    "digitalriver.order_placed",
    "digitalriver.order.accepted",
    "digitalriver.order_read",
    "digitalriver.order_declined",
    "nonsense",
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud800", "0.10", "USD"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def decoded(record: Record) -> Event | DecodeError:
    """The event or the reason; any other exception fails the test."""
    result: Event | DecodeError
    try:
        result = decode(record)
    except DecodeError as error:
        result = error
    if isinstance(result, DecodeError):
        assert result.detail
        assert "\n" not in result.detail
    else:
        msgspec.json.encode((result.id, result.source, result.type, result.cause))
    return result


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(TOPICS),
    st.none() | st.binary(max_size=140),
    st.none() | st.binary(max_size=300),
    st.lists(
        st.tuples(
            st.sampled_from(["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "orderflow-origin"]),
            st.binary(max_size=20),
        ),
        max_size=4,
    ),
)
def test_any_bytes_are_an_event_or_a_reason(
    topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    """Law: decode is total over records."""
    decoded(Record(topic, 0, 0, key, value, tuple(headers)))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(TOPICS), st.sampled_from(KINDS + OTHERS), JSON, st.text(max_size=4))
def test_any_data_of_any_type_is_an_event_or_a_reason(topic: str, kind: str, data: Any, event_id: str) -> None:
    """Law: a sound envelope around any JSON, NaN and lone surrogates included."""
    value = json.dumps({"specversion": "1.0", "id": event_id, "source": "/s", "type": kind, "data": data}).encode()
    decoded(Record(topic, 0, 0, b"A-1", value))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_cart_with_anything_anywhere_is_an_event_or_a_reason(data: st.DataObject) -> None:
    """Law: one field of a sound cart replaced by any JSON; the reason names no value."""
    made = cart(metadata={"a": "b"}, discount={"amount": "1.00"}, organization={"id": "o"})
    spot: Any = made
    while isinstance(spot, dict | list) and spot:
        key = data.draw(st.sampled_from(sorted(spot) if isinstance(spot, dict) else range(len(spot))))
        if not isinstance(spot[key], dict | list) or not spot[key] or data.draw(st.booleans()):
            spot[key] = data.draw(JSON)
            break
        spot = spot[key]
    value = json.dumps(
        {"specversion": "1.0", "id": "e", "source": "/s", "type": "checkout.requested", "data": made}
    ).encode()
    result = decoded(Record("checkout-events", 0, 0, b"A-1", value))
    if isinstance(result, DecodeError):
        assert "pat@example.org" not in result.detail
