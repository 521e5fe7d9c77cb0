"""Why bytes are not the JSON that they should be, as one line for a person: the place and the rule, never a value.

``explain.py`` does the same for the data of an event, once that is known to be JSON.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: Encodings other than UTF-8 that a file or a record may begin with.
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")

#: msgspec's names of kinds -> words.
_KINDS: Final[dict[str, str]] = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
    "datetime": "a time of RFC 3339",
}
_BOUNDS: Final[dict[str, str]] = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}

_AT: Final = re.compile(r" - at `\$\.?([A-Za-z0-9_.\[\]]*)`\Z")
_BYTE: Final = re.compile(r"\(byte (\d+)\)")
_EXPECTED: Final = re.compile(r"Expected `([^`]+)`(?: (>=|<=|>|<) ([0-9.]+))?")
_MISSING: Final = re.compile(r"Object missing required field `([^`]+)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `([^`]+)`")


def json_fault(error: msgspec.MsgspecError | UnicodeDecodeError, data: bytes, *, own_names: bool = False) -> str:
    """What is wrong with ``data``, for which msgspec raised ``error``; such as ``end.books: must be an object``.

    ``own_names``: whoever reads this has written ``data``, so a member that is not known may be named.
    """
    if data.startswith(_BYTE_ORDER_MARK):
        return "begins with a byte order mark; it must be UTF-8 without one"
    if data.startswith(_UTF16_MARKS):
        return "is not UTF-8 but UTF-16"
    try:
        data.decode()
    except UnicodeDecodeError as fault:
        return f"is not UTF-8 at {_position(data, fault.start)}"
    if isinstance(error, msgspec.ValidationError):
        return _shape_fault(str(error), own_names=own_names)
    if not data.strip():
        return "is empty"
    byte = _BYTE.search(str(error))
    if byte is None:
        return "is not JSON: it ends too early"
    beyond = "trailing" in str(error)  # of characters behind the JSON, msgspec names the second
    return f"is not JSON at {_position(data, int(byte[1]) - beyond)}"


def _position(data: bytes, at: int) -> str:
    """Where byte ``at`` stands, both counted from 1; the line only where there are several."""
    line, column = data.count(b"\n", 0, at) + 1, at - data.rfind(b"\n", 0, at)
    return f"line {line}, column {column}" if b"\n" in data.strip() else f"column {column}"


def _shape_fault(text: str, *, own_names: bool) -> str:
    found = _AT.search(text)
    place = found[1].replace("[...]", "") if found else ""
    missing, unknown = _MISSING.match(text), _UNKNOWN.match(text)
    if missing:
        return f"{_joined(place, missing[1])}: is missing"
    if unknown and own_names:
        return f"{_joined(place, unknown[1])}: is not known"
    words = "has a member that is not known" if unknown else _rule(text)
    return f"{place}: {words}" if place else words


def _joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _rule(text: str) -> str:
    """The rule that a value of the wrong kind or size breaks; never msgspec's own text where it quotes the value."""
    expected = _EXPECTED.match(text)
    if expected is None:
        return "is not allowed"
    kinds, comparison, bound = expected.groups()
    if comparison is not None:
        return f"must be {_BOUNDS[comparison]} {bound}"
    words = [_KINDS.get(kind.strip(), kind.strip()) for kind in kinds.split("|")]
    return f"must be {' or '.join(words)}"
