"""The base of all inbound event data, and the types of their fields; all are bounded, so that a snapshot is too.

Beside each rule that a validator here holds stands the same rule for JSON Schema, as far as JSON Schema can say it.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    WithJsonSchema,
)

from statemachine.messages.ids import CheckoutId, LineId
from statemachine.messages.money import MONEY_PATTERN
from statemachine.refusals import OwnCode


class RuleBroken(ValueError):
    """A rule beyond a field's type does not hold; ``code`` is that of the refusal."""

    def __init__(self, words: str, code: OwnCode) -> None:
        super().__init__(words)
        self.code: OwnCode = code


class Model(BaseModel):
    """What all inbound data have in common."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class ExactModel(Model):
    """Data in which every field must be known, because ignoring a misspelt one would ask for more than was meant."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _percent_text(value: object) -> object:
    """The contract names no type for a percentage: a JSON number is read as its decimal string."""
    return str(value) if type(value) in (int, float) else value


#: A control character of any kind, which no path takes.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _path_part(text: str) -> str:
    """An id that becomes a part of an address at Digital River: ``.`` and ``..`` would lead to another one."""
    if text in (".", ".."):
        raise RuleBroken("must not be . or .., which are relative paths in a URL", "data.path_unsound")
    if _CONTROL.search(text):
        raise RuleBroken("must have no control characters", "data.path_unsound")
    return text


#: ``_path_part`` for JSON Schema.
_NOT_RELATIVE: Final[dict[str, JsonValue]] = {"enum": [".", ".."]}
_PATH_PART = Field(json_schema_extra={"not": {"anyOf": [_NOT_RELATIVE, {"pattern": r"[\x00-\x1f\x7f-\x9f]"}]}})

#: What ``b64decode(..., validate=True)`` takes.
BASE64_PATTERN: Final = r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
#: Of lists: that lines differ by their ``line`` is more than JSON Schema can say; that the whole entries differ follows.
ONCE = Field(json_schema_extra={"uniqueItems": True})
#: White space of Unicode, which ``\\s`` is not in every kind of regular expression.
_SPACE: Final = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
EMAIL_PATTERN: Final = f"^[^@{_SPACE}]+@[^@{_SPACE}]+$"

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=128)]
LineName = Annotated[LineId, StringConstraints(min_length=1, max_length=128)]
CheckoutName = Annotated[CheckoutId, StringConstraints(min_length=1, max_length=128)]
SkuId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,128}$"), AfterValidator(_path_part), _PATH_PART]
Email = Annotated[str, StringConstraints(pattern=EMAIL_PATTERN, max_length=254)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=255)]
LongText = Annotated[str, StringConstraints(max_length=2048)]
#: Digital River takes reasons of at most 64 characters.
ShortReasonText = Annotated[str, StringConstraints(max_length=64)]
ReasonText = Annotated[str, StringConstraints(max_length=255)]
Money = Annotated[str, StringConstraints(pattern=MONEY_PATTERN)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Locale = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(?:[_-][A-Z]{2})?$")]
PERCENT_PATTERN: Final = r"^(?:100(?:\.0{1,2})?|[1-9]?[0-9](?:\.[0-9]{1,2})?)$"
Percent = Annotated[
    str,
    BeforeValidator(_percent_text),
    StringConstraints(pattern=PERCENT_PATTERN),
    # The decimals of a number cannot be said: in binary, 0.07 is no multiple of 0.01.
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": PERCENT_PATTERN}, {"type": "number", "minimum": 0, "maximum": 100}]}
    ),
]
#: More units of one line than anybody ships, fewer than overflow anything.
Quantity = Annotated[int, Field(ge=1, le=1_000_000)]
Weight = Annotated[str, StringConstraints(pattern=r"^(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,6})?$")]
#: Digital River takes 20 pairs, keys of 40 and values of 500 characters; one pair is ours, ``command_id``.
Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=40)],
        Annotated[str, StringConstraints(max_length=500)] | bool | int,
    ],
    Field(max_length=19),
]
#: Digital River allows 40 characters.
CustomerId = Annotated[str, StringConstraints(min_length=1, max_length=40), AfterValidator(_path_part), _PATH_PART]
SourceId = Annotated[Identifier, AfterValidator(_path_part), _PATH_PART]
