"""Record in, event out: CloudEvents 1.0 in structured or binary mode, checked against the one registry.

The envelope is read by msgspec, with ``data`` left as it is; then the data alone is validated by the model of its type.
Whatever bytes come in, the result is an ``Event`` or a ``DecodeError`` whose detail is one line that a person understands,
names the place and never quotes a value: values may be personal data.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Final

import msgspec
from msgspec.structs import replace
from pydantic import TypeAdapter, ValidationError

from statemachine.errors import DecodeError
from statemachine.messages.envelope import Cause, Headers, ReadEnvelope, Record
from statemachine.messages.events import INBOX, NEED_NO_DATA, REGISTRY, Event
from statemachine.messages.explain import explain
from statemachine.messages.facts import OUTCOME_TYPES, Fact, Outcome
from statemachine.messages.field_types import Model
from statemachine.messages.ids import OrderId
from statemachine.messages.json_faults import json_fault
from statemachine.messages.operator_events import OPERATOR_EVENTS, REDELIVERED, Act, EventName, OperatorAct, Redelivered
from statemachine.messages.times import read_time
from statemachine.refusals import OwnCode

#: Header that the lane adds when it forwards a record through the inbox: topic/partition/offset of its first arrival.
ORIGIN_HEADER: Final = "orderflow-origin"
#: The topic of raw webhooks, whose facts arrive through the inbox.
WEBHOOKS: Final = "dr-webhooks"
CATALOGUE: Final = "catalog-events"

#: An upper bound of money in major units.
MAJOR_MAX: Final = 10**13

ID_MAX: Final = 255
SOURCE_MAX: Final = 255
TYPE_MAX: Final = 128

_KEY = re.compile(rb"[A-Za-z0-9._-]{1,128}\Z")
_ORIGIN = re.compile(rb"([a-z.-]{1,64})/([0-9]{1,9})/([0-9]{1,18})\Z")
#: CloudEvents 1.0, "String": no control characters; ours also keep them out of joined names (``identity.py``).
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_WEBHOOK_PREFIX: Final = "digitalriver."

_envelope_decoder = msgspec.json.Decoder(ReadEnvelope)
_outcome_decoder = msgspec.json.Decoder(Outcome)
_fact_decoder = msgspec.json.Decoder(Fact)

# Built once: building an adapter costs a thousand times its use.
_ADAPTERS: Final[dict[type[Model], TypeAdapter[Model]]] = {
    model: TypeAdapter(model)
    for model in (*(model for types in REGISTRY.values() for model in types.values()), *OPERATOR_EVENTS.values())
}
_ANY_TOPIC: Final[dict[str, type[Model]]] = {
    **{name: model for topic, types in REGISTRY.items() if topic != CATALOGUE for name, model in types.items()},
    **OPERATOR_EVENTS,
}
#: Topics whose records can be delivered to an order again.
_REDELIVERABLE: Final = (*(topic for topic in REGISTRY if topic != CATALOGUE), INBOX)
_NOTHING: Final = msgspec.Raw(b"{}")
#: Data that counts as no data, like a missing member.
_EMPTY: Final = frozenset((b"null", b'""'))
_OUTCOME_TYPES: Final = frozenset(
    [name for by_result in OUTCOME_TYPES.values() for name in by_result.values()]
    + ["digitalriver.command_unknown", "digitalriver.command_absent", "digitalriver.order_declined"]
)


def decode(record: Record) -> Event:
    """The event in ``record``, whose topic is the contract's name without a prefix.

    Raises:
        DecodeError: ``undecodable`` when there is no CloudEvent in it, ``refused`` for a type that the topic does not have,
            ``invalid`` when a key, an attribute or the data breaks the contract.
    """
    order_id = order_id_in(record)
    if order_id is None:
        raise DecodeError("invalid", "key: must be 1 to 128 bytes of A-Z a-z 0-9 . _ -", "record.key_unsound")
    envelope = _envelope_of(record)
    kind, event_id, source = _attributes(envelope)
    _check_context(envelope, order_id)
    topic, cause = _origin(record, kind, event_id, source)
    if topic == CATALOGUE and order_id in (".", ".."):
        raise DecodeError(
            "invalid", "key: must not be . or .., which are relative paths in a URL", "record.key_unsound"
        )
    payload = _payload(envelope)
    if payload is None:
        if kind not in NEED_NO_DATA:
            raise DecodeError("invalid", "data: is missing; send {} to mean the whole order", "record.data_missing")
        payload = _NOTHING
    event = Event(
        type=kind,
        id=event_id,
        source=source,
        order_id=order_id,
        time=read_time(envelope.time),
        data=_data(topic, kind, payload),
        cause=cause,
        record=record,
        payload=payload,
    )
    return _with_act(event) if isinstance(event.data, OperatorAct) else event


def _with_act(event: Event) -> Event:
    """The event of an operator; that of a record which is delivered again is the event in the record."""
    data = event.data
    assert isinstance(data, OperatorAct)
    if not isinstance(data, Redelivered):
        return replace(event, act=Act(data.actor, data.reason))
    again = decode(_redelivered_record(data, event.order_id))
    act = Act(data.actor, data.reason, EventName(again.type, again.id, again.source))
    return replace(again, cause=event.cause, record=event.record, act=act)


def _redelivered_record(data: Redelivered, order_id: OrderId) -> Record:
    record = data.inner()
    if record.topic not in _REDELIVERABLE:
        raise DecodeError(
            "invalid", f"data.topic: must be one of {', '.join(_REDELIVERABLE)}", "redelivery.topic_unsound"
        )
    if record.key != order_id.encode():
        raise DecodeError("invalid", "data.key: must be the record's key", "redelivery.key_differs")
    if record.topic == INBOX and _type_in(record) == REDELIVERED:
        raise DecodeError(
            "invalid", "data.value: is itself a record that was delivered again", "redelivery.redelivered_twice"
        )
    return record


def _type_in(record: Record) -> str:
    """The type of the event in ``record``; empty when it cannot be read."""
    cause = cause_of(record)
    return "" if cause is None else cause.type


def redelivered_in(record: Record) -> tuple[Record, Act] | None:
    """The record that ``record`` delivers again, as it first came in, and whose act that is; None when it delivers none.

    A record that cannot be read, or that is not allowed to be delivered again, delivers none.
    """
    if record.topic != INBOX or _type_in(record) != REDELIVERED:
        return None
    try:
        payload = _payload(_envelope_of(record))
        data = _data(INBOX, REDELIVERED, payload or _NOTHING)
        assert isinstance(data, Redelivered)
        return _redelivered_record(data, OrderId((record.key or b"").decode("ascii"))), Act(data.actor, data.reason)
    except DecodeError:
        return None


def order_id_in(record: Record) -> OrderId | None:
    """The order id that is the record's key; None when it is not one."""
    key = record.key
    return OrderId(key.decode("ascii")) if key is not None and _KEY.match(key) else None


def cause_of(record: Record) -> Cause | None:
    """The event in a record that ``decode`` refused, to report it to its sender; None when it cannot be identified."""
    if order_id_in(record) is None:
        return None
    try:
        kind, event_id, source = _attributes(_envelope_of(record))
        return _origin(record, kind, event_id, source)[1]
    except DecodeError:
        return None


def _envelope_of(record: Record) -> ReadEnvelope:
    value = record.value
    # msgspec validates only the strings that it decodes, but an order keeps the whole record of a parked event.
    if value is not None and not value.isascii():
        _check_utf8(value, "value")
    if record.headers and _is_binary(record.headers):
        return _binary_envelope(record, value or b"")
    if value is None:
        raise DecodeError("undecodable", "value: is empty", "record.empty")
    try:
        return _envelope_decoder.decode(value)
    except msgspec.ValidationError as error:
        raise DecodeError(
            "undecodable", f"not a CloudEvent: {json_fault(error, value)}", "record.not_a_cloudevent"
        ) from None
    except RecursionError:
        raise DecodeError("undecodable", "value: is nested too deeply", "record.nested_too_deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError("undecodable", f"value: {json_fault(error, value)}", _json_code(value)) from None


def _payload(envelope: ReadEnvelope) -> msgspec.Raw | None:
    """The event's data as JSON; None when it has none."""
    data = None if isinstance(envelope.data, msgspec.UnsetType) or bytes(envelope.data) == b"null" else envelope.data
    encoded = envelope.data_base64
    if encoded is not None:
        if data is not None:
            raise DecodeError("undecodable", "data and data_base64: an event has only one of them", "record.data_twice")
        data = _decoded_payload(encoded)
    return None if data is None or bytes(data) in _EMPTY else data


def _decoded_payload(encoded: object) -> msgspec.Raw | None:
    """The JSON whose bytes are in ``data_base64`` (CloudEvents' JSON format, section 3.1); None for no bytes at all."""
    try:
        value = b64decode(encoded if isinstance(encoded, str) else "?", validate=True)
    except ValueError:
        raise DecodeError("undecodable", "data_base64: is not Base64", "record.data_base64_unsound") from None
    _check_utf8(value, "data_base64")
    return _json_of(value, "data_base64")


def _json_of(value: bytes, place: str) -> msgspec.Raw | None:
    """``value`` as JSON; None when it is empty."""
    try:
        return msgspec.json.decode(value, type=msgspec.Raw) if value else None
    except RecursionError:
        raise DecodeError("undecodable", f"{place}: is nested too deeply", "record.nested_too_deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError("undecodable", f"{place}: {json_fault(error, value)}", _json_code(value)) from None


def _json_code(value: bytes) -> OwnCode:
    """The code for UTF-8 that is not JSON."""
    return "record.not_json" if value.strip() else "record.empty"


def _is_binary(headers: Headers) -> bool:
    """Whether the attributes are in the headers: ``content-type`` decides (CloudEvents' Kafka binding, section 3)."""
    binary = False
    for name, value in headers:
        if name.lower() == "content-type" and (value or b"").lower().startswith(b"application/cloudevents"):
            return False
        binary = binary or name == "ce_specversion"
    return binary


def _check_utf8(value: bytes, place: str) -> None:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise DecodeError("undecodable", f"{place}: {json_fault(error, value)}", "record.not_utf8") from None


#: Attributes that identify the event.
_REQUIRED: Final = frozenset({"specversion", "id", "source", "type"})


def _binary_envelope(record: Record, value: bytes) -> ReadEnvelope:
    """The envelope of CloudEvents' binary mode: attributes in ``ce_`` headers, the data as the record's value."""
    attributes: dict[str, str] = {}
    for name, raw in record.headers:
        if name.startswith("ce_"):
            try:
                attributes[name[3:]] = (raw or b"").decode("utf-8")
            except UnicodeDecodeError:
                attributes[name[3:]] = ""
            if name[3:] in _REQUIRED and not attributes[name[3:]]:
                detail = f"not a CloudEvent: {name} is empty, or is not UTF-8"
                raise DecodeError("undecodable", detail, "record.attribute_missing")
    data = _json_of(value, "value")
    return ReadEnvelope(
        specversion=attributes.get("specversion", msgspec.UNSET),
        id=attributes.get("id", msgspec.UNSET),
        source=attributes.get("source", msgspec.UNSET),
        type=attributes.get("type", msgspec.UNSET),
        subject=attributes.get("subject"),
        time=attributes.get("time"),
        data=msgspec.UNSET if data is None else data,
    )


def _attributes(envelope: ReadEnvelope) -> tuple[str, str, str]:
    """Type, id and source, which identify the event even when something else is wrong with it."""
    if envelope.specversion != "1.0":
        raise DecodeError("undecodable", "not a CloudEvent: specversion must be 1.0", "record.not_a_cloudevent")
    kind = _attribute("type", envelope.type, TYPE_MAX)
    event_id = _attribute("id", envelope.id, ID_MAX)
    return kind, event_id, _attribute("source", envelope.source, SOURCE_MAX)


def _check_context(envelope: ReadEnvelope, order_id: OrderId) -> None:
    if envelope.subject is not None and envelope.subject != order_id:
        raise DecodeError("invalid", "subject: must equal the record's key", "record.subject_differs")


def _attribute(name: str, value: str | msgspec.UnsetType, length_max: int) -> str:
    if isinstance(value, msgspec.UnsetType):
        raise DecodeError("undecodable", f"not a CloudEvent: {name} is missing", "record.attribute_missing")
    if not 1 <= len(value) <= length_max:
        raise DecodeError("invalid", f"{name}: must have 1 to {length_max} characters", "record.attribute_unsound")
    if _CONTROL.search(value):
        raise DecodeError("invalid", f"{name}: must have no control characters", "record.attribute_unsound")
    return value


def _origin(record: Record, kind: str, event_id: str, source: str) -> tuple[str, Cause]:
    """The topic whose event types apply, and the cause; of a forwarded record, those of its first arrival."""
    topic = record.topic
    if topic == INBOX:
        for name, raw in reversed(record.headers):
            if name == ORIGIN_HEADER:  # the last one was added by the lane; a sender may have set earlier ones
                found = _ORIGIN.match(raw or b"")
                first = "" if found is None else found[1].decode()
                if found is None or not (first in REGISTRY or _is_webhook(first, kind)):
                    detail = f"{ORIGIN_HEADER}: must be topic/partition/offset of a public topic"
                    raise DecodeError("invalid", detail, "record.origin_unsound")
                cause = Cause(kind, event_id, source, first, int(found[2]), int(found[3]))
                return (topic if first == WEBHOOKS else first), cause
    return topic, Cause(kind, event_id, source, topic, record.partition, record.offset)


def _is_webhook(topic: str, kind: str) -> bool:
    return topic == WEBHOOKS and kind.startswith(_WEBHOOK_PREFIX)


def _data(topic: str, kind: str, payload: msgspec.Raw) -> Model | Outcome | Fact:
    if topic == INBOX:
        if kind.startswith(_WEBHOOK_PREFIX):
            return _digital_river_data(kind, payload)
        model = _ANY_TOPIC.get(kind)
    else:
        model = REGISTRY.get(topic, {}).get(kind)
    if model is None:
        raise _misplaced(topic, kind)
    try:
        return _ADAPTERS[model].validate_json(bytes(payload))
    except ValidationError as error:
        raise explain(error, model) from None


def _misplaced(topic: str, kind: str) -> DecodeError:
    """Why the topic has no such type; a type of another topic is ours, so that it may be named."""
    home = next((name for name, types in REGISTRY.items() if kind in types), None)
    if home is None:
        return DecodeError("refused", f"type: is not known on {topic}", "record.unknown_type")
    detail = f"type: {kind} does not belong on {topic}; send it to {home}"
    return DecodeError("refused", detail, "record.wrong_topic")


def _digital_river_data(kind: str, payload: msgspec.Raw) -> Outcome | Fact:
    """An outcome or a fact. ``digitalriver.order_read`` may be either: a read of our own has no command."""
    outcome_first = kind in _OUTCOME_TYPES
    try:
        if outcome_first:
            try:
                return _outcome_decoder.decode(payload)
            except msgspec.ValidationError:
                if kind != "digitalriver.order_read":
                    raise
        fact = _fact_decoder.decode(payload)
    except msgspec.ValidationError as error:  # it is JSON: the envelope was decoded
        raise DecodeError("invalid", _in_data(json_fault(error, bytes(payload))), "digitalriver.data_unsound") from None
    if fact.major is not None and not (fact.major.is_finite() and abs(fact.major) <= MAJOR_MAX):
        detail = "data.major: is not an amount of money, or larger than any"
        raise DecodeError("invalid", detail, "digitalriver.amount_unsound")
    return fact


def _in_data(fault: str) -> str:
    """A fault of the data, with its place in the event."""
    return f"data.{fault}" if ": " in fault else f"data: {fault}"
