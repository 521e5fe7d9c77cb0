"""The contract as a page for people."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from orderflow.contracts.client_words import CLIENT_RULES, PAYMENT_WORDS, STATE_WORDS
from orderflow.contracts.messages import Contract, Message, contract, key_words
from orderflow.contracts.outbound_words import MONEY_OUT_PATTERN
from orderflow.contracts.schema import REF, Schema, needed
from orderflow.contracts.unsaid import UNSAID
from statemachine.messages.field_types import BASE64_PATTERN, EMAIL_PATTERN, PERCENT_PATTERN
from statemachine.messages.money import MONEY_PATTERN

_LIMITS: Final = (
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minimum", "at least {}"),
    ("maximum", "at most {}"),
    ("minItems", "at least {} entries"),
    ("maxItems", "at most {} entries"),
    ("maxProperties", "at most {} pairs"),
)
#: Forms that words say better than their pattern.
_FORMS: Final = {
    MONEY_PATTERN: "money: `9.50` in USD, `950` in JPY",
    MONEY_OUT_PATTERN: "money",
    BASE64_PATTERN: "Base64",
    PERCENT_PATTERN: "decimal from 0 to 100",
    EMAIL_PATTERN: "one `@`, no white space",
}
_COLUMNS: Final = 118
#: A list of values is shown up to this length.
_VALUES_MAX: Final = 24


def page() -> str:
    """All of the contract in Markdown."""
    whole = contract()
    lines = [
        "# Messages",
        "",
        "Every record that other services send to orderflow or read from it, generated from the types with which the worker",
        "reads and writes. The same as documents for programs: JSON Schemas (2020-12) in `contracts/schemas`, one for",
        "each message, and an [AsyncAPI 3 document](../../contracts/asyncapi.json). `orderflow contracts write DIR` writes them,",
        "`orderflow contracts check DIR` names what breaks since the version in DIR. [Events](events.md) says what the messages",
        "mean, and when.",
        "",
        "This page is generated: `python -m tests.architecture.test_contracts`.",
        "",
        "A sender keeps to these schemas; a reader can rely on them, and reads past members that it does not know.",
        "Inbound events are CloudEvents in structured mode, with the record below as the value, or in binary mode, with",
        "[these headers](../../contracts/schemas/binary-headers.json) and the data as the value. An event has at least",
        "`specversion`, `id`, `source`, `type` and, but for `order.payment_returned` and `sku.removed`, `data` or `data_base64`.",
        "",
        "## What a client does",
        "",
        *(_wrapped(f"- {rule}", "  ") for rule in CLIENT_RULES),
        "",
        "[Kafka clients](../how-to/use-a-kafka-client.md) has the settings of single clients, and programs.",
        "",
        "## What a schema cannot say",
        "",
        "The worker also holds these rules:",
        "",
        *(_wrapped(f"- {rule}", "  ") for rule in UNSAID.values()),
        "",
        "## What you send",
        "",
        *_listed(whole, "receive"),
        "## What you read",
        "",
        *_listed(whole, "send"),
        "## Words of an order",
        "",
        "[The machines](machines.md#order) shows which state follows which.",
        "",
        *_table("state", STATE_WORDS),
        *_table("payment", PAYMENT_WORDS),
        "## Objects",
        "",
        *_objects(whole),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _wrapped(text: str, indent: str = "") -> str:
    """Prose in lines that fit beside code; a link is never broken."""
    return textwrap.fill(text, _COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _table(name: str, words: Mapping[str, str]) -> Iterator[str]:
    yield from (f"| `{name}` | meaning |", "|---|---|")
    yield from (f"| `{value}` | {meaning} |" for value, meaning in words.items())
    yield ""


def _listed(whole: Contract, direction: str) -> Iterator[str]:
    messages = [message for message in whole.messages if message.direction == direction]
    for topic in dict.fromkeys(message.topic for message in messages):
        yield from (f"### {topic}", "", f"Key: {key_words(topic)}.", "")
        for message in messages:
            if message.topic == topic:
                yield from _message(message)


def _message(message: Message) -> Iterator[str]:
    shown = f"Data: [{message.data}](#{message.data.lower()})." if message.data else ""
    if message.headers is not None and "$ref" in message.headers:
        name = message.headers["$ref"].removeprefix(REF)
        shown = f"Headers: [{name}](#{name.lower()})."
    schema = f"[Schema](../../contracts/schemas/{message.name}.json)."
    yield from (_wrapped(f"**`{message.name}`**: {message.said} {shown} {schema}"), "")
    if isinstance(message.example, dict):
        yield from ("```json", json.dumps(message.example, ensure_ascii=False), "```", "")


def _objects(whole: Contract) -> Iterator[str]:
    for direction in ("receive", "send"):
        names: dict[str, Schema] = {}
        for message in whole.messages:
            if message.direction == direction:
                names |= needed({"parts": [message.value, message.headers]}, whole.definitions)
        for name, schema in sorted(names.items()):
            yield from _object(name, schema)


def _object(name: str, schema: Schema) -> Iterator[str]:
    yield from (f"### {name}", "", _wrapped(schema.get("description", "")), "")
    if schema.get("additionalProperties") is False:
        yield from ("Unknown members are refused.", "")
    if not schema.get("properties"):
        yield from ("It has no members.", "")
        return
    yield from ("| member | value | meaning |", "|---|---|---|")
    for member, part in schema["properties"].items():
        mark = "" if member in schema.get("required", ()) else "?"
        yield f"| `{member}`{mark} | {value_words(part)} | {part.get('description', '')} |"
    yield ""


def value_words(schema: Schema) -> str:
    """What a value may be, in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return _enumerated(schema["enum"])
    for union in ("anyOf", "oneOf"):
        if union in schema and "type" not in schema:
            parts = [value_words(part) for part in schema[union]]
            return ("; or " if any("," in part for part in parts) else " or ").join(parts)
    return ", ".join([_kind(schema), *_limits(schema)])


def _enumerated(values: list[Any]) -> str:
    if len(values) > _VALUES_MAX:
        return f"one of {len(values)} codes, see the schema"
    return ", ".join(f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`" for value in values)


def _kind(schema: Schema) -> str:
    kind = schema.get("type", "any value")
    if kind == "array":
        entries = schema.get("items")
        words = value_words(entries) if entries else ""
        return f"list of ({words})" if "," in words else f"list of {words}" if words else "list"
    return "time, RFC 3339" if schema.get("format") == "date-time" else str(kind)


def _limits(schema: Schema) -> Iterator[str]:
    exact = schema.get("minItems") == schema.get("maxItems")
    if exact and "minItems" in schema:
        yield f"exactly {schema['minItems']:,} entries"
    for name, words in _LIMITS:
        one = name in {"minLength", "minItems"} and schema.get(name) == 1
        if name in schema and not one and not (exact and name in {"minItems", "maxItems"}):
            yield words.format(f"{schema[name]:,}")
    if "propertyNames" in schema:
        yield f"names: {', '.join(_limits(schema['propertyNames']))}"
        yield f"values: ({value_words(schema['additionalProperties'])})"
    if schema.get("minLength") == 1 or schema.get("minItems") == 1:
        yield "not empty"
    pattern = schema.get("pattern")
    if pattern is not None:
        yield _FORMS.get(pattern) or f"`{pattern.replace('|', chr(92) + '|')}`"
