"""Schemas of what orderflow writes, from the types that its encoders write."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, get_args

import msgspec

from orderflow.contracts.outbound_words import OUTBOUND_WORDS, TYPE_WORDS, Said
from orderflow.contracts.schema import REF, Schema, cleaned, ref
from producers.dead_letters import LetterHeaders
from producers.encoding import ORDERS_SOURCE, EventRefused
from statemachine.effects.change_types import Change
from statemachine.messages.envelope import CloudEvent
from statemachine.order.snapshot_types import Snapshot
from statemachine.sku import Sku

_Struct = type[msgspec.Struct]
STATE_CHANGED: Final = "order.state_changed"
EVENT_REFUSED: Final = "order.event_refused"
#: What the outbound messages are made of.
ROOTS: Final[tuple[_Struct, ...]] = (Change, EventRefused, Snapshot, Sku, LetterHeaders)
#: The member whose content is the worker's own.
INTERNAL: Final = "internal"
_SAYS_NOTHING: Final = Said("")


def structs() -> dict[str, _Struct]:
    """All types that outbound messages are made of, by name."""
    found: dict[str, _Struct] = {}
    waiting = list(ROOTS)
    while waiting:
        struct = waiting.pop()
        if struct.__name__ not in found:
            found[struct.__name__] = struct
            for field in msgspec.structs.fields(struct):
                if field.encode_name != INTERNAL:
                    waiting += _inside(field.type)
    return found


def _inside(kind: Any) -> Iterator[_Struct]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for part in getattr(kind, "__args__", ()):
        yield from _inside(part)


def data_schemas() -> dict[str, Schema]:
    """The schemas of all outbound data, and of their parts, by the name of the type."""
    found: dict[str, Schema] = {}
    for name, struct in structs().items():
        _, parts = msgspec.json.schema_components([struct], ref_template=REF + "{name}")
        found[name] = _told(struct, cleaned(parts[name]))
    return dict(sorted(found.items()))


def _told(struct: _Struct, schema: Schema) -> Schema:
    """The schema with what the type's encoder promises: which members are always there, and what they mean."""
    words = OUTBOUND_WORDS.get(struct.__name__, {})
    omits = struct.__struct_config__.omit_defaults
    always: list[str] = []
    for field in msgspec.structs.fields(struct):
        name, said = field.encode_name, words.get(field.encode_name, _SAYS_NOTHING)
        part = {"type": "object"} if name == INTERNAL else schema["properties"][name]
        left_out = field.default is msgspec.UNSET or (omits and not field.required)
        if not left_out:
            always.append(name)
        elif field.default is None:
            part = _without_null(part)
        if datetime in (field.type, *get_args(field.type)):
            part = _as_time(part)
        schema["properties"][name] = cleaned({**part, **said.schema, "description": said.text})
    said_of_type = TYPE_WORDS.get(struct.__name__)
    if said_of_type is not None:
        schema["description"] = said_of_type
    return (
        {**schema, "required": always}
        if always
        else {name: part for name, part in schema.items() if name != "required"}
    )


def _as_time(schema: Schema) -> Schema:
    """The schema of a time, which may be null: the library says no more than that it is text."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [_as_time(part) for part in schema["anyOf"]]}
    return {**schema, "format": "date-time"} if schema.get("type") == "string" else schema


def _without_null(schema: Schema) -> Schema:
    """The schema of a member that is left out rather than null."""
    kinds = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    return kinds[0] if len(kinds) == 1 else {**schema, "anyOf": kinds} if kinds else schema


def event_schema(kind: str, data: str) -> Schema:
    """The whole record value: a CloudEvent of orderflow."""
    said = {
        "id": "the same on a replay",
        "source": "the part of orderflow that says it",
        "type": "what happened",
        "subject": "id of the order, the key of the record",
        "time": "when the worker decided",
        "data": "the data",
        "datacontenttype": "always application/json",
        "specversion": "version of CloudEvents",
    }
    given: dict[str, Schema] = {
        "source": {"const": ORDERS_SOURCE},
        "type": {"const": kind},
        "time": {"type": "string", "format": "date-time"},
        "data": ref(data),
        "datacontenttype": {"const": "application/json"},
        "specversion": {"const": "1.0"},
    }
    names = [field.encode_name for field in msgspec.structs.fields(CloudEvent)]
    return {
        "type": "object",
        "properties": {
            name: {**given.get(name, {"type": "string", "minLength": 1}), "description": said.get(name, "")}
            for name in names
        },
        "required": names,
    }
