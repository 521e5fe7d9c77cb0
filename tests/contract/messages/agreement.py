"""The two who judge a record: the schema of its type, and the decoder of the workers."""

from __future__ import annotations

import json
from typing import Any, Final

from jsonschema import Draft202012Validator

from orderflow.contracts.documents import schema_files
from orderflow.contracts.messages import contract
from orderflow.contracts.schema import REF
from statemachine.errors import DecodeError
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Headers, Record

SCHEMAS: Final = schema_files(contract())


def _inlined(schema: Any, parts: dict[str, Any]) -> Any:
    """The schema without references, which take most of a validator's time."""
    if isinstance(schema, list):
        return [_inlined(part, parts) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _inlined(part, parts) for name, part in schema.items() if name not in {"$ref", "$defs"}}
    return {**_inlined(parts[schema["$ref"].removeprefix(REF)], parts), **found} if "$ref" in schema else found


VALIDATORS: Final = {
    name.removesuffix(".json"): Draft202012Validator(_inlined(schema, schema.get("$defs", {})))
    for name, schema in SCHEMAS.items()
}
EXAMPLES: Final = [
    (message.topic, message.example)
    for message in contract().messages
    if message.direction == "receive" and isinstance(message.example, dict)
]


def schema_takes(topic: str, event: Any) -> bool:
    """Whether a message of the topic has this value: one whose schema has the event's type."""
    kind = event.get("type") if isinstance(event, dict) else None
    names = [one.name for one in contract().messages if one.topic == topic and one.direction == "receive"]
    return isinstance(kind, str) and kind in names and bool(VALIDATORS[kind].is_valid(event))


def decoder_says(topic: str, value: bytes, *, key: str, headers: Headers = ()) -> str:
    """Why a worker refuses the record; empty when it takes it."""
    try:
        decode(Record(topic, 0, 0, key.encode(), value, headers))
    except DecodeError as error:
        return f"{error.reason}: {error.detail}"
    return ""


def key_of(topic: str, event: Any) -> str:
    """A key that goes with the event: its subject, or any."""
    subject = event.get("subject") if isinstance(event, dict) else None
    if isinstance(subject, str) and VALIDATORS["order.placed"].is_valid(
        {
            "specversion": "1.0",
            "id": "1",
            "source": "s",
            "type": "order.placed",
            "subject": subject,
            "data": {"terms_accepted": True},
        }
    ):
        return subject
    return "A-1001"


def verdicts(topic: str, event: Any) -> tuple[bool, str]:
    """What the schema says, and what the decoder."""
    return schema_takes(topic, event), decoder_says(topic, json.dumps(event).encode(), key=key_of(topic, event))
