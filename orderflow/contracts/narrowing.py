"""Where a schema allows less than another: of what is read, the later than the earlier; of what is written, the other way round.

It knows the keywords that the contract's schemas have. What it cannot compare it takes for narrower unless it is the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from orderflow.contracts.schema import Schema

#: Limits from below and from above, and what they are limits of.
_LOWEST: Final = {"minLength": "characters", "minItems": "entries", "minProperties": "members", "minimum": ""}
_HIGHEST: Final = {"maxLength": "characters", "maxItems": "entries", "maxProperties": "members", "maximum": ""}
#: Keywords that only describe.
_WORDS: Final = frozenset({"description", "examples", "title", "$comment", "contentEncoding", "contentMediaType"})
_RULES: Final = ("anyOf", "oneOf", "not")
_UNBOUNDED: Final = float("inf")
_JSON_TYPES: Final = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


class Fault(msgspec.Struct, frozen=True):
    """A place in a message, and what is no longer so there."""

    place: str
    what: str


def resolved(schema: Any, document: dict[str, Any]) -> Any:
    """What a reference, alone or with words beside it, stands for."""
    while isinstance(schema, dict):
        target, beside = schema.get("$ref"), {}
        parts = schema.get("allOf", [])
        if target is None and len(parts) == 1 and "$ref" in parts[0]:
            target, beside = parts[0]["$ref"], {name: part for name, part in schema.items() if name != "allOf"}
        if target is None:
            break
        found: Any = document
        for step in target.removeprefix("#/").split("/"):
            found = found[step]
        schema = {**found, **beside}
    return schema


def _bare(schema: Any) -> Any:
    """The schema without words."""
    if isinstance(schema, list):
        return [_bare(part) for part in schema]
    if isinstance(schema, dict):
        return {
            name: _bare(part) for name, part in schema.items() if name not in _WORDS or not isinstance(part, str | list)
        }
    return schema


def _text(schema: Any) -> str:
    return json.dumps(_bare(schema), sort_keys=True)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _values(schema: Schema) -> list[Any] | None:
    """The only values that are allowed; None when values are not listed."""
    if "const" in schema:
        return [schema["const"]]
    found: list[Any] | None = schema.get("enum")
    return found


def _types(schema: Schema) -> frozenset[str]:
    """The JSON types that are allowed; empty when the type does not matter."""
    values = _values(schema)
    if values is not None:
        return frozenset(_JSON_TYPES.get(type(value), "object") for value in values)
    named = schema.get("type", ())
    return frozenset([named] if isinstance(named, str) else named)


def _is_union(schema: Schema) -> bool:
    return ("anyOf" in schema or "oneOf" in schema) and not {"type", "enum", "const", "properties"} & set(schema)


class Narrowing:
    """Compares schemas of an earlier document with those of a later one, for messages that are read or written."""

    def __init__(self, earlier: dict[str, Any], now: dict[str, Any], *, inbound: bool) -> None:
        self._earlier = earlier
        self._now = now
        self._inbound = inbound

    def faults(self, old: Schema, new: Schema, place: str) -> Iterator[Fault]:
        """Where ``new`` breaks those who keep to ``old``."""
        old_ones, new_ones = self._branches(old, self._earlier), self._branches(new, self._now)
        if len(old_ones) == len(new_ones) == 1:
            yield from self._compare(old_ones[0], new_ones[0], place)
            return
        for branch in old_ones if self._inbound else new_ones:
            pairs = [(branch, one) for one in new_ones] if self._inbound else [(one, branch) for one in old_ones]
            found = [list(self._compare(one, other, place)) for one, other in pairs if self._alike(one, other)]
            if not found:
                kind = " or ".join(sorted(_types(branch))) or "any value"
                yield Fault(place, f"may not be {kind} any more" if self._inbound else f"may be {kind} now")
            elif all(found):
                yield from min(found, key=len)

    @staticmethod
    def _alike(one: Schema, other: Schema) -> bool:
        mine, theirs = _types(one), _types(other)
        return not mine or not theirs or bool(mine & theirs)

    @staticmethod
    def _branches(schema: Schema, document: dict[str, Any]) -> list[Schema]:
        schema = resolved(schema, document)
        if not _is_union(schema):
            return [schema]
        inside: list[Schema] = schema.get("anyOf") or schema["oneOf"]
        return [branch for part in inside for branch in Narrowing._branches(part, document)]

    def _compare(self, old: Schema, new: Schema, place: str) -> Iterator[Fault]:
        wide, tight = (old, new) if self._inbound else (new, old)
        yield from self._of_values(wide, tight, place)
        yield from self._of_limits(wide, tight, place)
        yield from self._of_forms(wide, tight, place)
        yield from self._of_members(old, new, place)
        yield from self._of_entries(old, new, place)
        yield from self._of_conditions(wide, tight, place)

    def _of_values(self, wide: Schema, tight: Schema, place: str) -> Iterator[Fault]:
        allowed, asked = _values(tight), _values(wide)
        kinds, wanted = _types(tight), _types(wide)
        if "number" in kinds:
            kinds |= {"integer"}
        if kinds and not wanted:
            yield Fault(place, "is limited to a kind of value now" if self._inbound else "may be any kind of value now")
        elif kinds and not wanted <= kinds:
            lost = " or ".join(sorted(wanted - kinds))
            yield Fault(place, f"may not be {lost} any more" if self._inbound else f"may be {lost} now")
        elif allowed is not None and asked is None:
            yield Fault(place, "takes only listed values now" if self._inbound else "may be any value now")
        elif allowed is not None and asked is not None:
            for value in asked:
                if value not in allowed:
                    shown = _shown(value)
                    yield Fault(place, f"may not be {shown} any more" if self._inbound else f"may be {shown} now")

    def _of_limits(self, wide: Schema, tight: Schema, place: str) -> Iterator[Fault]:
        if _values(wide) is not None:
            return
        for name, unit in _LOWEST.items():
            lowest = tight.get(name, -_UNBOUNDED)
            if lowest > wide.get(name, 0 if unit else -_UNBOUNDED):
                yield Fault(place, self._limit("at least" if self._inbound else "less than", lowest, unit))
        for name, unit in _HIGHEST.items():
            highest = tight.get(name, _UNBOUNDED)
            if highest < wide.get(name, _UNBOUNDED):
                yield Fault(place, self._limit("at most" if self._inbound else "more than", highest, unit))

    def _limit(self, words: str, limit: float, unit: str) -> str:
        verb = f"{'must' if self._inbound else 'may'} {'have' if unit else 'be'}"
        return f"{verb} {words} {limit}{' ' if unit else ''}{unit} now"

    def _of_forms(self, wide: Schema, tight: Schema, place: str) -> Iterator[Fault]:
        if _values(wide) is not None:
            return
        changed = [
            name for name in ("pattern", "format", "multipleOf") if name in tight and tight[name] != wide.get(name)
        ]
        for name in changed:
            had = "has another form" if name in wide else "is bound to a form" if self._inbound else "has no fixed form"
            yield Fault(place, f"{had} now ({name})")
        if tight.get("uniqueItems") and not wide.get("uniqueItems"):
            yield Fault(place, "may not have equal entries any more" if self._inbound else "may have equal entries now")
        if changed:
            return  # what else is said of a form goes with it
        for rule in _RULES:
            if rule in tight and not _is_union(tight) and _text(tight[rule]) != _text(wide.get(rule)):
                yield Fault(place, f"has a further rule ({rule})" if self._inbound else f"has a rule less ({rule})")

    def _of_members(self, old: Schema, new: Schema, place: str) -> Iterator[Fault]:
        olds, news = old.get("properties", {}), new.get("properties", {})
        for name, part in olds.items():
            if name in news:
                yield from self.faults(part, news[name], _member(place, name))
            else:
                yield Fault(_member(place, name), "is not read any more" if self._inbound else "does not come any more")
        before, after = old.get("required", ()), new.get("required", ())
        wide, tight = (before, after) if self._inbound else (after, before)
        for name in tight:
            if name not in wide and (name in news or self._inbound):
                yield Fault(_member(place, name), "must be there now" if self._inbound else "may be absent now")
        yield from self._of_others(old, new, place)

    def _of_others(self, old: Schema, new: Schema, place: str) -> Iterator[Fault]:
        """Members that are not listed, and names."""
        before, after = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from self.faults(before, after, _member(place, "*"))
        elif self._inbound and before is not False and after is False:
            yield Fault(place, "unknown members are refused now")
        elif isinstance(after if self._inbound else before, dict):
            yield Fault(
                place, "its other members are bound now" if self._inbound else "its other members may be anything now"
            )
        if "propertyNames" in old or "propertyNames" in new:
            yield from self.faults(_or_any(old, "propertyNames"), _or_any(new, "propertyNames"), _member(place, "name"))

    def _of_entries(self, old: Schema, new: Schema, place: str) -> Iterator[Fault]:
        before, after = old.get("items"), new.get("items")
        if isinstance(before, list) and isinstance(after, list):
            for at, (one, other) in enumerate(zip(before, after, strict=False)):
                yield from self.faults(one, other, f"{place}[{at}]")
        elif isinstance(before, dict) and isinstance(after, dict):
            yield from self.faults(before, after, f"{place}[]")
        elif before != after and (after if self._inbound else before) is not None:
            yield Fault(place, "its entries are bound now" if self._inbound else "its entries may be anything now")

    def _of_conditions(self, wide: Schema, tight: Schema, place: str) -> Iterator[Fault]:
        """What holds for single values of a member, such as the digits of a currency; only for values that both have."""
        rules, others = _conditions(tight), _conditions(wide)
        for (member, value), texts in rules.items():
            listed = _values(wide.get("properties", {}).get(member, {}))
            if (listed is None or value in listed) and not texts <= others.get((member, value), frozenset()):
                what = f"when {member} is {_shown(value)}"
                yield Fault(place, f"has a further rule {what}" if self._inbound else f"has a rule less {what}")


def _conditions(schema: Schema) -> dict[tuple[str, Any], frozenset[str]]:
    """The rules that hold when a member has a value: by the member and the value."""
    found: dict[tuple[str, Any], frozenset[str]] = {}
    for part in schema.get("allOf", ()):
        for member, listed in part.get("if", {}).get("properties", {}).items():
            for value in _values(listed) or ():
                found[member, value] = found.get((member, value), frozenset()) | {_text(part.get("then"))}
    return found


def _or_any(schema: Schema, name: str) -> Schema:
    found: Schema = schema.get(name, {})
    return found


def _member(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
