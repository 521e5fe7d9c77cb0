"""Objects of the simulator's state as JSON, and back.

An object whose class has a field ``id`` is kept once, and everybody else has its number: two that share it share it again after
a restart. Other dataclasses and named tuples are part of whoever has them. Classes are those of ``orderflow.simulator.state``
only. Fields go by name: one that a file does not have yet gets its default.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

_PACKAGE: Final = "orderflow.simulator.state."
#: The member that marks what JSON has no word for; an object of JSON with that member is marked itself.
_MARK: Final = "$"

#: By class; looked up for each object that is written.
_FIELDS: Final[dict[Any, tuple[str, ...]]] = {}


class UnknownContent(Exception):
    """A file has a class, a field or a mark that this version does not know; ``what`` names it."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def text_of(value: object) -> str:
    """JSON, in ASCII: strings of requests may be no Unicode."""
    return json.dumps(value, separators=(",", ":"))


def has_identity(value: object) -> bool:
    """Whether ``value`` is kept once, under a number of its own."""
    kind: Any = type(value)
    return dataclasses.is_dataclass(kind) and "id" in _fields(kind)


def _fields(kind: Any) -> tuple[str, ...]:
    """The names of the fields of a dataclass or a named tuple; none of any other class."""
    known = _FIELDS.get(kind)
    if known is None:
        is_ours = dataclasses.is_dataclass(kind)
        names = [field.name for field in dataclasses.fields(kind)] if is_ours else getattr(kind, "_fields", ())
        known = _FIELDS[kind] = tuple(names)
    return known


@lru_cache(None)
def _class_name(kind: Any) -> str:
    if not kind.__module__.startswith(_PACKAGE):
        raise TypeError(
            f"{kind.__module__}.{kind.__qualname__} is no class of the simulator's state: it cannot be kept"
        )
    return f"{kind.__module__.removeprefix(_PACKAGE)}.{kind.__qualname__}"


@lru_cache(None)
def _class_named(name: str) -> Any:
    module, _, qualname = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(_PACKAGE + module), qualname)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownContent(f"class {name}") from error
    if not isinstance(found, type) or not _fields(found):
        raise UnknownContent(f"class {name}")
    return found


class ObjectEncoder:
    """Makes JSON of values; ``refer`` gives the number of an object that has an identity."""

    def __init__(self, refer: Callable[[object], int]) -> None:
        self._refer = refer

    def members(self, value: object) -> dict[str, object]:
        """An object that has an identity, with all of its fields."""
        kind: Any = type(value)
        return {_MARK: _class_name(kind), **{name: self.encode(getattr(value, name)) for name in _fields(kind)}}

    def encode(self, value: object) -> object:
        """Any value.

        Raises:
            TypeError: It is of a class that cannot be kept.
        """
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list):
            return [self.encode(one) for one in value]
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, Decimal):
            return {_MARK: "decimal", "value": str(value)}
        if isinstance(value, bytes):
            return {_MARK: "bytes", "value": b64encode(value).decode()}
        if has_identity(value):
            return {_MARK: "ref", "value": self._refer(value)}
        kind: Any = type(value)
        if _fields(kind):
            return {_MARK: "value", "value": self.members(value)}
        if isinstance(value, tuple | frozenset | set):
            return {_MARK: type(value).__name__, "value": [self.encode(one) for one in value]}
        raise TypeError(f"{type(value).__qualname__} cannot be kept in a state file")

    def _mapping(self, value: Mapping[Any, object]) -> object:
        if _MARK not in value and all(isinstance(key, str) for key in value):
            return {key: self.encode(one) for key, one in value.items()}
        return {_MARK: "mapping", "value": [[self.encode(key), self.encode(one)] for key, one in value.items()]}


class ObjectDecoder:
    """Makes objects of JSON; those with an identity exist from the beginning, and are filled one by one."""

    def __init__(self, contents: Mapping[int, Mapping[str, Any]]) -> None:
        """``contents`` are the objects with an identity, by their numbers."""
        self._contents = contents
        self.objects: dict[int, Any] = {}
        for number, content in contents.items():
            kind = _class_named(content[_MARK])
            self.objects[number] = kind.__new__(kind)
        #: The numbers that were asked for.
        self.referred: set[int] = set()

    def fill(self) -> None:
        """Fill all objects that are referred to by what was decoded before, and by each other; drop the rest."""
        filled: set[int] = set()
        while todo := self.referred - filled:
            for number in todo:
                filled.add(number)
                content, made = self._contents[number], self.objects[number]
                for name, value in self._members(type(made), content).items():
                    object.__setattr__(made, name, value)
        self.objects = {number: made for number, made in self.objects.items() if number in filled}

    def decode(self, value: Any) -> Any:
        """Any value.

        Raises:
            UnknownContent: This version does not know it.
        """
        if isinstance(value, list):
            return [self.decode(one) for one in value]
        if not isinstance(value, dict):
            return value
        mark = value.get(_MARK)
        if mark is None:
            return {key: self.decode(one) for key, one in value.items()}
        return self._marked(mark, value["value"])

    def _marked(self, mark: str, value: Any) -> Any:
        match mark:
            case "ref":
                if value not in self.objects:
                    raise UnknownContent(f"object {value}")
                self.referred.add(value)
                return self.objects[value]
            case "value":
                kind = _class_named(value[_MARK])
                return kind(**self._members(kind, value))
            case "decimal":
                return Decimal(value)
            case "bytes":
                return b64decode(value)
            case "mapping":
                return {self.decode(key): self.decode(one) for key, one in value}
            case "tuple":
                return tuple(self.decode(one) for one in value)
            case "frozenset":
                return frozenset(self.decode(one) for one in value)
            case "set":
                return {self.decode(one) for one in value}
            case _:
                raise UnknownContent(f"mark {mark}")

    def _members(self, kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of an object, with defaults for those that the file does not have."""
        names = _fields(kind)
        unknown = content.keys() - {*names, _MARK}
        if unknown:
            raise UnknownContent(f"fields of {content[_MARK]}")
        found = {name: self.decode(content[name]) for name in names if name in content}
        return {**_defaults(kind, (name for name in names if name not in content)), **found}


def _defaults(kind: type, names: Iterable[str]) -> dict[str, Any]:
    found = {}
    for name in names:
        if dataclasses.is_dataclass(kind):
            field = next(field for field in dataclasses.fields(kind) if field.name == name)
            if field.default_factory is not dataclasses.MISSING:
                found[name] = field.default_factory()
                continue
            default = field.default
        else:
            default = getattr(kind, "_field_defaults", {}).get(name, dataclasses.MISSING)
        if default is dataclasses.MISSING:
            raise UnknownContent(f"{kind.__qualname__} without {name}")
        found[name] = default
    return found
