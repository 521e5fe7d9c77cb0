"""Schemas of what orderflow reads, from the models and the limits of the decoder."""

from __future__ import annotations

from typing import Any, Final

from pydantic.json_schema import models_json_schema

from orderflow.contracts.inbound_words import INBOUND_WORDS
from orderflow.contracts.schema import CONTROL, KEY_PATTERN, Schema, cleaned, given, left_out, ref, without_line_ends
from statemachine.messages.decoding import CATALOGUE, ID_MAX, SOURCE_MAX, TYPE_MAX
from statemachine.messages.events import NEED_NO_DATA, REGISTRY, Cart, Discount, RefundRequested
from statemachine.messages.field_types import BASE64_PATTERN, Model
from statemachine.messages.money import MONEY_PATTERN, currencies_with
from statemachine.messages.operator_events import OPERATOR_EVENTS

#: How many digits a currency has at most.
_DIGITS: Final = range(5)
_PHYSICAL: Final = ("ship_to", "ship_from", "shipping")
#: What the validators of whole models hold, for JSON Schema.
_RULES: Final[dict[type[Model], Schema]] = {
    Cart: {"anyOf": [left_out(*_PHYSICAL), given(*_PHYSICAL)]},
    Discount: {"oneOf": [given("amount"), given("percent")]},
    RefundRequested: {"anyOf": [left_out("items"), left_out("amount", "of")]},
}
#: Data that counts as no data.
_NO_DATA: Final = [None, ""]


def key_schema(topic: str) -> Schema:
    """The key of a record of this topic."""
    schema = without_line_ends({"type": "string", "pattern": KEY_PATTERN})
    if topic == CATALOGUE:
        schema["not"] = {"anyOf": [schema["not"], {"enum": [".", ".."]}]}
    return schema


def data_schemas() -> dict[str, Schema]:
    """The schemas of the data of all inbound events, and of their parts, by the name of the model."""
    models: list[type[Model]] = [*(model for types in REGISTRY.values() for model in types.values())]
    models += OPERATOR_EVENTS.values()
    found = models_json_schema([(model, "validation") for model in dict.fromkeys(models)])[1]["$defs"]
    schemas: dict[str, Schema] = cleaned(found)
    for name, schema in schemas.items():
        for member, part in schema.get("properties", {}).items():
            part["description"] = INBOUND_WORDS[name][member]
    for ruled, rule in _RULES.items():
        schemas[ruled.__name__] |= rule
    _say_currencies(schemas)
    return schemas


def _say_currencies(schemas: dict[str, Schema]) -> None:
    """The currencies that a cart can have, and for each how many digits its amounts have."""
    cart = schemas[Cart.__name__]
    codes = {digits: list(currencies_with(digits)) for digits in _DIGITS}
    said = cart["properties"]["currency"]["description"]
    cart["properties"]["currency"] = {
        "type": "string",
        "enum": sorted(code for some in codes.values() for code in some),
        "description": said,
    }
    cart["allOf"] = [
        {
            "if": {"properties": {"currency": {"enum": some}}, "required": ["currency"]},
            "then": _amounts(cart, schemas, _with_digits(digits)),
        }
        for digits, some in codes.items()
        if some
    ]


def _with_digits(digits: int) -> str:
    point = rf"\.[0-9]{{{digits}}}" if digits else ""
    return MONEY_PATTERN.replace(r"(?:\.[0-9]{1,4})?", point)


def _amounts(schema: Schema, schemas: dict[str, Schema], pattern: str) -> Schema:
    """A schema that gives every amount of money in ``schema`` this pattern; empty when there is none."""
    if "$ref" in schema:
        return _amounts(schemas[schema["$ref"].rpartition("/")[2]], schemas, pattern)
    if schema.get("pattern") == MONEY_PATTERN:
        return {"pattern": pattern}
    if "items" in schema:
        inner = _amounts(schema["items"], schemas, pattern)
        return {"items": inner} if inner else {}
    if "properties" in schema:
        found = {name: _amounts(part, schemas, pattern) for name, part in schema["properties"].items()}
        given_ones = {name: part for name, part in found.items() if part}
        return {"properties": given_ones} if given_ones else {}
    # A pattern says nothing about null, nor do properties: a member that may be null needs no branch of its own.
    inside = [_amounts(part, schemas, pattern) for part in schema.get("anyOf", ())]
    return next((part for part in inside if part), {})


def _attribute(said: str, most: int) -> Schema:
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": most,
        "not": {"pattern": CONTROL},
        "description": said,
    }


def event_schema(topic: str, kind: str, model: type[Model]) -> Schema:
    """The whole record value in structured mode: a CloudEvent of this type with its data."""
    data: Schema = ref(model.__name__)
    data_64 = without_line_ends({"type": "string", "minLength": 1, "pattern": BASE64_PATTERN})
    schema: Schema = {
        "type": "object",
        "properties": {
            "specversion": {"const": "1.0", "description": "version of CloudEvents"},
            "id": _attribute("names the fact together with `source`: the same pair again changes nothing", ID_MAX),
            "source": _attribute("the service that says it", SOURCE_MAX),
            "type": {"const": kind, "maxLength": TYPE_MAX, "description": "what happened"},
            "subject": {
                "anyOf": [key_schema(topic), {"type": "null"}],
                "description": "the same as the key of the record",
            },
            "time": {"description": "when it happened, as in RFC 3339; what is not a valid time is ignored"},
            "datacontenttype": {"description": "application/json; not looked at"},
            "data": {**data, "description": "the data"},
            "data_base64": {
                "anyOf": [data_64, {"type": "null"}],
                "contentEncoding": "base64",
                "contentMediaType": "application/json",
                "description": "the data as Base64 of its JSON, instead of `data`",
            },
        },
        "required": ["specversion", "id", "source", "type"],
    }
    if kind in NEED_NO_DATA:
        schema["properties"]["data"] = {"anyOf": [data, {"enum": _NO_DATA}], "description": "the data; may be absent"}
        schema["properties"]["data_base64"]["anyOf"][0].pop("minLength")
        schema["anyOf"] = [left_out("data"), left_out("data_base64")]
    else:
        schema["properties"]["data"] = {"anyOf": [data, {"type": "null"}], "description": "the data"}
        schema["oneOf"] = [_only("data", "data_base64"), _only("data_base64", "data")]
    return schema


def _only(one: str, other: str) -> Schema:
    there: dict[str, Any] = given(one)
    return {"properties": {**there["properties"], **left_out(other)["properties"]}, "required": there["required"]}


def binary_headers_schema(topics: list[str]) -> Schema:
    """The headers of CloudEvents' binary mode, which all events of these topics can have instead of an envelope."""
    return {
        "type": "object",
        "description": f"Headers of an event in CloudEvents' binary mode, on {', '.join(topics)}; the value is the data alone.",
        "properties": {
            "ce_specversion": {"const": "1.0", "description": "version of CloudEvents"},
            "ce_id": _attribute("as `id`", ID_MAX),
            "ce_source": _attribute("as `source`", SOURCE_MAX),
            "ce_type": _attribute("as `type`", TYPE_MAX),
            "ce_subject": {"type": "string", "description": "as `subject`"},
            "ce_time": {"type": "string", "description": "as `time`"},
            "content-type": {
                "type": "string",
                "not": {
                    "pattern": "^[aA][pP][pP][lL][iI][cC][aA][tT][iI][oO][nN]/[cC][lL][oO][uU][dD][eE][vV][eE][nN][tT][sS]"
                },
                "description": "application/json; a value that begins with application/cloudevents means structured mode",
            },
        },
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type"],
    }
