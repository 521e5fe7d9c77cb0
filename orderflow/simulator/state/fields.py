"""Reading request bodies: members of a JSON object with Digital River's refusals for what is missing or of a wrong kind.

Numbers were parsed as decimals. Quantities are taken as integers and as strings of digits, both occur in Digital River's samples.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, cast

from orderflow.simulator.state.refusal import ApiError, invalid, missing

Json = dict[str, object]

_NUMBER: Final = re.compile(r"\d{1,15}(\.\d{1,10})?", re.ASCII)

METADATA_PAIRS_MAX: Final = 20
METADATA_KEY_MAX: Final = 40
METADATA_VALUE_MAX: Final = 500


def text(body: Json, name: str, path: str = "", *, length_max: int = 500) -> str | None:
    """A string, or None when it is not there."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > length_max:
        raise invalid(path + name)
    return value


def given_text(body: Json, name: str) -> str | None:
    """A string; None also for the empty one, which a published connector sends for what is not set."""
    return text(body, name) or None


def required_text(body: Json, name: str, path: str = "") -> str:
    """A string with at least one sign."""
    value = text(body, name, path)
    if not value:
        raise missing(path + name)
    return value


def obj(body: Json, name: str, path: str = "") -> Json | None:
    """An object, or None when it is not there."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid(path + name)
    return cast("Json", value)


def objects(body: Json, name: str, path: str = "") -> list[Json]:
    """A list of at least one object."""
    value = body.get(name)
    if value is None:
        raise missing(path + name)
    if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
        raise invalid(path + name)
    return cast("list[Json]", value)


def decimal(body: Json, name: str, path: str = "") -> Decimal | None:
    """A finite number, also as text as in Digital River's samples of refunds, or None when it is not there."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise invalid(path + name)
    return Decimal(value)


def quantity(body: Json, name: str, path: str, *, least: int) -> int | None:
    """A whole number of units, or None when it is not there."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ApiError(400, "invalid_quantity_amount", "The quantity is not valid.", path + name)
    return value


def minor(amount: Decimal, digits: int) -> int:
    """Minor units, rounded half up."""
    return round_half_up(amount.scaleb(digits))


def round_half_up(value: Decimal) -> int:
    """The nearest whole number, halves away from zero."""
    return int(value.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def metadata(body: Json) -> Json:
    """``metadata`` within the documented limits; empty when it is not there."""
    pairs = obj(body, "metadata")
    if pairs is None:
        return {}
    if len(pairs) > METADATA_PAIRS_MAX:
        raise ApiError(400, "too_many_metadata_pairs", "At most 20 metadata pairs are allowed.", "metadata")
    for key, value in pairs.items():
        if not key or len(key) > METADATA_KEY_MAX:
            raise ApiError(400, "invalid_metadata_key", "A metadata key is too long.", "metadata")
        if not isinstance(value, str | bool | int) or len(str(value)) > METADATA_VALUE_MAX:
            raise ApiError(400, "invalid_metadata_value", "A metadata value is not valid.", "metadata")
    return pairs
