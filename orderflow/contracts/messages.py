"""The public messages: what each is called, where it travels, who sends and reads it, its schemas and an example."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from orderflow.contracts import inbound, outbound
from orderflow.contracts.inbound_examples import INBOUND_EXAMPLES
from orderflow.contracts.outbound_words import OUTBOUND_WORDS
from orderflow.contracts.schema import REF, Schema, ref
from producers.topics import TOPICS, Topic
from statemachine.messages.decoding import CATALOGUE
from statemachine.messages.events import INBOX, REGISTRY
from statemachine.messages.field_types import Model
from statemachine.messages.operator_events import OPERATOR_EVENTS

#: Seen from orderflow: what it receives, senders must keep to; what it sends, readers rely on.
Direction = Literal["receive", "send"]

_SOURCES: Final = {
    "checkout-events": "/storefront",
    "order-events": "/storefront",
    "fulfillment-events": "/warehouse",
    "catalog-events": "/catalogue",
    INBOX: "orderflow/operator",
}
_TIME: Final = "2031-03-04T10:11:12Z"
_ID: Final = "0a3fe8f2-6a53-5d5e-8f5b-3f2f8d3f9f11"
#: Where refusals go: a topic of their own, where there is one.
_REFUSALS: Final = next(
    (topic.value for topic in Topic if topic.value == "order-event-refusals"), Topic.ORDER_STATE_CHANGES.value
)


class Message(msgspec.Struct, frozen=True):
    """One kind of record. ``name`` is the event's type, or the topic of records that are no events."""

    name: str
    topic: str
    direction: Direction
    said: str
    value: Schema
    #: A record value that is valid; absent where the value is somebody else's.
    example: Any = msgspec.UNSET
    #: Headers by name, their contents as text; absent where they do not matter.
    headers: Schema | None = None
    #: The name of the schema of the data, for events.
    data: str | None = None


class Contract(msgspec.Struct, frozen=True):
    """All messages, and the schemas that they refer to by name."""

    messages: tuple[Message, ...]
    definitions: dict[str, Schema]

    def named(self, name: str) -> Message:
        """The message of this name."""
        return next(message for message in self.messages if message.name == name)


def key_words(topic: str) -> str:
    """What the key of a record of this topic is."""
    return TOPICS[Topic(topic)].key


@lru_cache(maxsize=1)
def contract() -> Contract:
    """The contract that this version keeps. It is made once: nobody may change what is in it."""
    read, written = inbound.data_schemas(), outbound.data_schemas()
    return Contract((*_received(read), *_sent(written)), {**read, **written})


def _received(schemas: dict[str, Schema]) -> list[Message]:
    by_topic: dict[str, Mapping[str, type[Model]]] = {**REGISTRY, INBOX: OPERATOR_EVENTS}
    found = []
    for topic, models in by_topic.items():
        for kind, model in models.items():
            data, key = INBOUND_EXAMPLES[kind], "mug-blue" if topic == CATALOGUE else "A-1001"
            envelope = {"specversion": "1.0", "id": f"{key}-{kind}", "source": _SOURCES[topic], "type": kind}
            example = {**envelope, "subject": key, "time": _TIME, "datacontenttype": "application/json", "data": data}
            said = schemas[model.__name__]["description"]
            schema = {"description": said, **inbound.event_schema(topic, kind, model)}
            found.append(Message(kind, topic, "receive", said, schema, example, None, model.__name__))
    return [*found, _webhook()]


def _webhook() -> Message:
    said = "Digital River's event as it was received, byte for byte."
    signature: Schema = {"type": "string", "description": "the header as Digital River sent it"}
    headers: Schema = {"type": "object", "properties": {"DigitalRiver-Signature": signature}}
    value: Schema = {"type": "object", "description": f"{said} Digital River's documentation describes it."}
    return Message("digitalriver.webhook", Topic.DR_WEBHOOKS.value, "receive", said, value, headers=headers)


def _sent(schemas: dict[str, Schema]) -> list[Message]:
    events = (
        (outbound.STATE_CHANGED, Topic.ORDER_STATE_CHANGES.value, "Change", "An event changed an order."),
        (outbound.EVENT_REFUSED, _REFUSALS, "EventRefused", "An event was refused; for the service that sent it."),
    )
    found = [
        Message(name, topic, "send", said, _event(name, said, data), _event_of(name, data, schemas), None, data)
        for name, topic, data, said in events
    ]
    for topic, data, said in (
        (
            Topic.ORDERS.value,
            "Snapshot",
            "The latest state of an order; the latest record of a key is the one that holds.",
        ),
        (Topic.SKUS.value, "Sku", "What Digital River knows about a SKU."),
    ):
        example = example_of(schemas[data], data, schemas)
        found.append(Message(topic, topic, "send", said, {**ref(data), "description": said}, example, None, data))
    return [*found, _dead_letter()]


def _dead_letter() -> Message:
    said = "A record that was set aside: key, value and headers as they came, and headers that say why."
    name, value = Topic.DEAD_LETTERS.value, {"description": "the value as it came"}
    return Message(name, name, "send", said, value, headers=ref("LetterHeaders"))


def _event(name: str, said: str, data: str) -> Schema:
    return {"description": said, **outbound.event_schema(name, data)}


def _event_of(name: str, data: str, schemas: dict[str, Schema]) -> dict[str, Any]:
    envelope = {
        "id": _ID,
        "source": "orderflow/orders",
        "type": name,
        "subject": "A-1001",
        "time": "2031-03-04T10:11:13.120Z",
    }
    content = example_of(schemas[data], data, schemas)
    return {**envelope, "data": content, "datacontenttype": "application/json", "specversion": "1.0"}


def example_of(schema: Schema, name: str, schemas: dict[str, Schema]) -> Any:
    """A value of an outbound type: its members that are always there, and those for which the words have an example."""
    words = OUTBOUND_WORDS.get(name, {})
    value: dict[str, Any] = {}
    for member, part in schema["properties"].items():
        example = words[member].example if member in words else msgspec.UNSET
        if example is not msgspec.UNSET:
            value[member] = example
        elif member in schema.get("required", ()):
            value[member] = _plain(part, schemas)
    return value


def _plain(schema: Schema, schemas: dict[str, Schema]) -> Any:
    """A value of a schema for which nobody has chosen one."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        return example_of(schemas[name], name, schemas)
    if "anyOf" in schema:
        return _plain(schema["anyOf"][0], schemas)
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("format") == "date-time":
        return "2031-03-04T10:11:13.120Z"
    if schema.get("type") == "array":
        return [_plain(schema["items"], schemas)]
    return {"integer": 1, "object": {}, "boolean": True}.get(schema.get("type", ""), "text")
