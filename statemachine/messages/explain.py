"""Why data was refused, as one line for a person and a code: the place and the rule, never the value.

An unknown field is named only where it is plausibly a misspelling: any other name may be an address or the name of a person.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from statemachine.errors import DecodeError, Reason
from statemachine.messages.field_types import RuleBroken
from statemachine.refusals import OwnCode

#: pydantic's error type -> words; ``{...}`` are keys of its context, all of them bounds or names of ours.
_WORDS: Final[dict[str, str]] = {
    "missing": "is missing",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have at most {max_length} entries",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "union_tag_not_found": "must have a kind",
    "union_tag_invalid": "kind must be one of {expected_tags}",
    "json_invalid": "is not JSON",
}

#: pydantic's error type -> the code; those of types that are not here are of another kind than they must be.
_CODES: Final[dict[str, OwnCode]] = {
    "missing": "data.missing_field",
    "extra_forbidden": "data.unknown_field",
    "string_pattern_mismatch": "data.wrong_format",
    "string_too_short": "data.wrong_length",
    "string_too_long": "data.wrong_length",
    "too_short": "data.wrong_length",
    "too_long": "data.wrong_length",
    "greater_than_equal": "data.out_of_range",
    "less_than_equal": "data.out_of_range",
    "literal_error": "data.unknown_choice",
    "union_tag_not_found": "data.missing_field",
    "union_tag_invalid": "data.unknown_choice",
    "json_invalid": "data.nested_too_deeply",
}

#: What a pattern stands for, by the field that has it.
_FORMATS: Final[dict[str, str]] = {
    "currency": "must be a currency code of three upper-case letters",
    "country": "must be a country code of two upper-case letters",
    "country_of_origin": "must be a country code of two upper-case letters",
    "locale": "must be a locale such as en_US",
    "email": "must be an e-mail address",
    "sku_id": "must be 1 to 128 characters of A-Z a-z 0-9 . _ -",
    "percent": "must be a decimal string from 0 to 100",
    "weight": "must be a plain decimal string",
}

#: An unknown field may be named when it looks like this and is close to a known one.
_WORD: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: An unknown field may be named in any case when it looks like this: no address, no number, no sentence.
_PLAUSIBLE: Final = re.compile(r"[A-Za-z_]{1,24}")
#: How close a name must be to that of a field, from 0 to 1, to be suggested.
_NEAR: Final = 0.75

#: Tags of unions and branches of pydantic, which are not fields of ours.
_NOT_FIELDS: Final = frozenset({"guest", "registered", "[key]", "str", "int", "bool"})


def explain(error: ValidationError, model: type[BaseModel]) -> DecodeError:
    """Why the data are no ``model``: the first fault, and how many more there are."""
    faults = error.errors(include_url=False, include_input=False)
    # A list all of whose entries are bad is also reported as too short, which would only confuse.
    real = [one for one in faults if one["type"] != "too_short" or len(faults) == 1] or faults
    # A misspelt field is reported rather than the field that is missing because of it.
    fault = next((one for one in real if one["type"] == "extra_forbidden"), real[0])
    unknown = fault["type"] == "extra_forbidden"
    place = _place(fault["loc"][:-1] if unknown else fault["loc"])
    context = {name: str(value) for name, value in fault.get("ctx", {}).items()}
    kind = fault["type"]
    if kind == "value_error":
        words = context.get("error", "is not allowed")
    elif kind == "string_pattern_mismatch":
        field = next((part for part in reversed(fault["loc"]) if isinstance(part, str)), "")
        words = _FORMATS.get(field, "must be a plain decimal string, without sign, exponent or space")
    elif kind == "json_invalid" and "recursion" in context.get("error", ""):
        words = "is nested too deeply"
    else:
        words = _WORDS.get(kind, "is not allowed").format_map(context)
    if unknown:
        detail = f"{place}{_unknown(fault['loc'], model)}"
    else:
        # A rule between fields names its place itself: "items[0].price: must ...".
        detail = f"{place}.{words}" if place == "data" and ": " in words else f"{place}: {words}"
    more = len(real) - 1
    # The event itself is valid; an order without acceptance is refused.
    unaccepted = place == "data.terms_accepted"
    reason: Reason = "refused" if unaccepted else "invalid"
    code: OwnCode = "placement.terms_not_accepted" if unaccepted else _code_of(fault)
    return DecodeError(reason, f"{detail} (and {more} more)" if more else detail, code)


def _code_of(fault: ErrorDetails) -> OwnCode:
    broken = fault.get("ctx", {}).get("error")
    if isinstance(broken, RuleBroken):
        return broken.code
    return _CODES.get(fault["type"], "data.wrong_kind")


def _place(parts: tuple[int | str, ...]) -> str:
    place = "data"
    for part in parts:
        if isinstance(part, int):
            place += f"[{part}]"
        elif part not in _NOT_FIELDS:
            place += f".{part}"
        if part == "metadata":  # its keys are values of the sender
            break
    return place


def _unknown(parts: Sequence[int | str], model: type[BaseModel]) -> str:
    """The text after the place of an unknown field."""
    name = str(parts[-1])
    near = difflib.get_close_matches(name, _model_at(parts[:-1], model).model_fields, n=1, cutoff=_NEAR)
    if near and _WORD.fullmatch(name):
        return f".{name}: is not a field of this event; did you mean {near[0]}?"
    if _PLAUSIBLE.fullmatch(name):
        return f".{name}: is not a field of this event"
    return ": has a field that this event does not have"


def _model_at(parts: Sequence[int | str], model: type[BaseModel]) -> type[BaseModel]:
    """The model at a place inside of ``model``."""
    for part in parts:
        if isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation) or model
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The first model that a field's type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((one for one in map(_model_in, get_args(annotation)) if one is not None), None)
