"""Digital River's OpenAPI document, where this machine has it: ``ORDERFLOW_TEST_OPENAPI`` is its path.

It is not ours, so nothing of it is in this repository. OpenAPI 3.0 has the keywords of JSON Schema draft 4, its boolean
``exclusiveMinimum`` included, and ``nullable`` beside them.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from jsonschema import Draft4Validator, FormatChecker

from orderflow.simulator.server import ROUTES

VARIABLE: Final = "ORDERFLOW_TEST_OPENAPI"
MISSING: Final = f"{VARIABLE} does not name Digital River's OpenAPI document"

Json = dict[str, object]

#: Statuses that the documentation's pages have and the document lacks: a source that cannot be attached, a consumed checkout.
ON_PAGES: Final = {("POST", "/checkouts/{id}/sources/{sourceId}", 409), ("POST", "/orders", 404)}
SERVED: Final = {(route.method, route.path) for route in ROUTES}

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_IN_BRACES: Final = re.compile(r"\{[^}]*\}")


def is_there() -> bool:
    """Whether the document can be read."""
    return bool(os.environ.get(VARIABLE)) and Path(os.environ[VARIABLE]).is_file()


def plain(path: str) -> str:
    """A path without the names of its parts."""
    return _IN_BRACES.sub("{}", path)


class Document:
    """The document, as validators of answers."""

    def __init__(self, content: bytes) -> None:
        self._root = msgspec.json.decode(content, type=Json)
        # an enumeration with a placeholder for any date
        schemas: Any = self._root.get("components", {})
        if "Webhook" in schemas.get("schemas", {}):
            schemas["schemas"]["Webhook"]["properties"]["apiVersion"].pop("enum", None)
        self._schemas = _draft4(self._root["components"])
        self.operations: dict[tuple[str, str], Json] = {}
        for path, item in _object(self._root["paths"]).items():
            for method, operation in _object(item).items():
                if method in _METHODS:
                    self.operations[method.upper(), plain(path)] = _object(operation)
        self._validators: dict[tuple[str, str, int], Draft4Validator | None] = {}

    def parameters(self, method: str, path: str) -> set[str]:
        """The names of an operation's query parameters."""
        found = msgspec.convert(self.operations[method, plain(path)].get("parameters", []), list[Json])
        return {str(one["name"]) for one in found if one["in"] == "query"}

    def problems(self, method: str, path: str, status: int, body: object) -> Iterator[str]:
        """What is wrong with an answer; nothing for one of an operation that the document does not have."""
        operation = self.operations.get((method, plain(path)))
        if operation is None:
            return
        responses = _object(operation["responses"])
        # A page of the documentation, or what is not served: an error as all others.
        elsewhere = (method, path, status) in ON_PAGES or (status == 404 and (method, path) not in SERVED)
        response = responses.get(str(status)) or (responses["400"] if elsewhere else None)
        if response is None:
            yield f"{method} {path}: the status {status} is not documented"
            return
        validator = self._validator(method, path, status, _object(response))
        if validator is None:
            if body is not None:
                yield f"{method} {path} {status}: a body where there is none"
            return
        for error in validator.iter_errors(body):
            yield f"{method} {path} {status}: {error.json_path}: {error.message[:200]}"

    def _validator(self, method: str, path: str, status: int, response: Json) -> Draft4Validator | None:
        key = (method, path, status)
        if key not in self._validators:
            content = _object(response.get("content", {})).get("application/json")
            schema = None if content is None else _draft4(_object(content)["schema"])
            self._validators[key] = (
                None
                if schema is None
                else Draft4Validator({"allOf": [schema], "components": self._schemas}, format_checker=_formats())
            )
        return self._validators[key]


@cache
def document() -> Document:
    """The document of this machine."""
    return Document(Path(os.environ[VARIABLE]).read_bytes())


@cache
def _formats() -> FormatChecker:
    """The formats that the document uses for texts."""
    checker = FormatChecker(formats=())
    for name, read in (("date-time", _time), ("date", date.fromisoformat), ("uuid", uuid.UUID), ("email", _email)):
        checker.checks(name, raises=ValueError)(_when_text(read))
    return checker


def _when_text(read: object) -> object:
    """A check of a format: it is about texts only."""

    def check(value: object) -> bool:
        if isinstance(value, str) and callable(read):
            read(value)
        return True

    return check


def _time(value: str) -> datetime:
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError("a time without its zone")
    return found


def _email(value: str) -> str:
    if "@" not in value:
        raise ValueError("not an address")
    return value


def _draft4(value: object) -> object:
    """The same schema in JSON Schema's words: what may be null says so in its type."""
    if isinstance(value, list):
        return [_draft4(part) for part in value]
    if not isinstance(value, dict):
        return value
    found = {name: _draft4(part) for name, part in value.items() if name not in ("example", "examples", "description")}
    if value.get("nullable") is True and isinstance(value.get("type"), str):
        found["type"] = [value["type"], "null"]
        if isinstance(value.get("enum"), list):
            found["enum"] = [*value["enum"], None]
    return found


def _object(value: object) -> Json:
    return msgspec.convert(value, Json)
