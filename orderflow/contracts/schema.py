"""Small parts that the schemas are made of, and what is done with every schema that a library made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

#: A JSON Schema, or a part of one.
Schema = dict[str, Any]

REF: Final = "#/$defs/"
#: What the libraries write and no validator needs.
_NOISE: Final = frozenset({"title", "default", "discriminator"})
#: Where a name is one of a member, and not a keyword.
_BY_NAME: Final = frozenset({"properties", "$defs", "patternProperties"})
#: Ends of a line. ``$`` is the end of the text in JSON Schema; in Python and Java it also stands before a last end of line.
_LINE_ENDS: Final = "[\n\r\x85\u2028\u2029]"
#: A control character, as in the decoder.
CONTROL: Final = r"[\x00-\x1f\x7f-\x9f]"
#: The key of a record, as in the decoder.
KEY_PATTERN: Final = "^[A-Za-z0-9._-]{1,128}$"


def ref(name: str) -> Schema:
    """A reference to a schema of this name."""
    return {"$ref": f"{REF}{name}"}


def without_line_ends(schema: Schema) -> Schema:
    """The schema of a text with an anchored pattern, exact in every kind of regular expression."""
    ends: Schema = {"pattern": _LINE_ENDS}
    there = schema.get("not")
    return {**schema, "not": ends if there is None else {"anyOf": [*there.get("anyOf", [there]), ends]}}


def cleaned(schema: Any) -> Any:
    """The schema without noise, its descriptions in plain Markdown, its anchored patterns exact."""
    if isinstance(schema, list):
        return [cleaned(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found: Schema = {}
    for name, part in schema.items():
        if name in _NOISE:
            continue
        if name in _BY_NAME:
            found[name] = {member: cleaned(inner) for member, inner in part.items()}
        elif name == "description":
            found[name] = " ".join(part.replace("``", "`").split())
        else:
            found[name] = cleaned(part)
    pattern = found.get("pattern", "")
    return without_line_ends(found) if pattern.startswith("^") and pattern.endswith("$") else found


def references(schema: Any) -> Iterator[str]:
    """The names of the schemas that are referred to."""
    if isinstance(schema, list):
        for part in schema:
            yield from references(part)
    elif isinstance(schema, dict):
        target = schema.get("$ref")
        if isinstance(target, str):
            yield target.removeprefix(REF)
        for part in schema.values():
            yield from references(part)


def needed(schema: Schema, definitions: dict[str, Schema]) -> dict[str, Schema]:
    """The definitions that a schema refers to, directly or by way of others, by name."""
    found: dict[str, Schema] = {}
    waiting = list(references(schema))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = definitions[name]
            waiting += references(definitions[name])
    return dict(sorted(found.items()))


_NULL: Final[Schema] = {"type": "null"}


def given(*names: str) -> Schema:
    """The object has all of these members, and none of them is null."""
    return {"properties": {name: {"not": _NULL} for name in names}, "required": list(names)}


def left_out(*names: str) -> Schema:
    """Each of these members is absent or null."""
    return {"properties": dict.fromkeys(names, _NULL)}
