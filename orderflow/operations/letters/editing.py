"""The edit of a letter's record: members of the event by path, or the whole value. Pure.

A path is what a letter's detail calls a place: ``data.lines[0].price``. Without ``data`` or an attribute of CloudEvents in
front it is a place in the data.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from statemachine.messages.envelope import Headers, Record
from statemachine.messages.identity import name_id

#: Header of an edited record: the paths, with commas between.
EDITED_HEADER: Final = "orderflow-edited"
#: Header of an edited record: its letter.
LETTER_HEADER: Final = "orderflow-letter"

_ATTRIBUTES: Final = ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data")
_PART: Final = re.compile(r"\.?([^.\[\]]+)|\[(\d{1,4})\]")
#: Where an event's id is in binary mode.
_ID_HEADER: Final = "ce_id"


class EditRefused(ValueError):
    """The edit is not possible; the message says why and quotes no value of the record."""


class Edit(msgspec.Struct, frozen=True):
    """What to change. ``value``: the whole value, instead of ``sets`` and ``unsets``; ``key``: another key."""

    sets: tuple[tuple[str, str], ...] = ()
    unsets: tuple[str, ...] = ()
    value: bytes | None = None
    key: str | None = None


def edited(record: Record, edit: Edit, *, letter: str) -> tuple[Record, tuple[str, ...]]:
    """The edited record, as a new event, and the paths that differ.

    The new id is the same for the same edit of the same letter: an edit that is sent twice is one event.

    Raises:
        EditRefused: The record is no JSON object, or a path leads nowhere.
    """
    binary = any(name == "ce_specversion" for name, _ in record.headers)
    value, paths = (edit.value, ("value",)) if edit.value is not None else _changed(record, edit, binary=binary)
    key = record.key
    if edit.key is not None and edit.key.encode() != key:
        key, paths = edit.key.encode(), (*paths, "key")
    if not paths:
        raise EditRefused("nothing would be changed")
    new_id = name_id("edited", letter, (key or b"").hex(), (value or b"").hex())
    headers: Headers = tuple(one for one in record.headers if one[0] not in (EDITED_HEADER, LETTER_HEADER))
    if binary:
        headers = tuple((name, new_id.encode() if name == _ID_HEADER else content) for name, content in headers)
    else:
        value = _with_id(value, new_id)
    headers = (*headers, (LETTER_HEADER, letter.encode()), (EDITED_HEADER, ",".join(paths).encode()))
    return Record(record.topic, record.partition, record.offset, key, value, headers), paths


def _changed(record: Record, edit: Edit, *, binary: bool) -> tuple[bytes | None, tuple[str, ...]]:
    """The value after the edit of its members."""
    if not edit.sets and not edit.unsets:
        return record.value, ()
    document = _object(record.value)
    event = {"data": document} if binary else document
    paths = []
    for path, text in edit.sets:
        parts = read_path(path)
        if binary and parts[0] != "data":
            raise EditRefused(f"{path}: attributes of an event in binary mode are headers, which are not edited")
        _set(event, parts, text, path)
        paths.append(_path_text(parts))
    for path in edit.unsets:
        parts = read_path(path)
        _unset(event, parts, path)
        paths.append(_path_text(parts))
    return msgspec.json.encode(event["data"] if binary else event), tuple(dict.fromkeys(paths))


def _object(value: bytes | None) -> dict[str, Any]:
    try:
        return msgspec.json.decode(value or b"", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise EditRefused("the value is no JSON object: give the whole value with --file") from None


def _with_id(value: bytes | None, new_id: str) -> bytes:
    event = _object(value)
    return msgspec.json.encode({**event, "id": new_id})


def read_path(path: str) -> tuple[str | int, ...]:
    """The parts of a path, from the event on.

    Raises:
        EditRefused: It is none.
    """
    parts: list[str | int] = []
    at = 0
    while at < len(path):
        found = _PART.match(path, at)
        if found is None or (at == 0) != (not path[at:].startswith((".", "["))):
            raise EditRefused(f"{path}: is no path such as data.lines[0].price")
        parts.append(int(found[2]) if found[1] is None else found[1])
        at = found.end()
    if not parts:
        raise EditRefused("a path is empty; it is such as data.lines[0].price")
    return tuple(parts) if parts[0] in _ATTRIBUTES else ("data", *parts)


def _path_text(parts: Sequence[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")


def _holder(event: Any, parts: Sequence[str | int], path: str, *, make: bool) -> Any:
    """What the last part of a path is a member of."""
    at = event
    for part, after in itertools.pairwise(parts):
        if make and isinstance(at, dict) and isinstance(part, str) and at.get(part) is None:
            at[part] = [] if isinstance(after, int) else {}
        at = _member(at, part, path)
    return at


def _member(at: Any, part: str | int, path: str) -> Any:
    if isinstance(part, int) and isinstance(at, list) and part < len(at):
        return at[part]
    if isinstance(part, str) and isinstance(at, dict) and part in at:
        return at[part]
    raise EditRefused(f"{path}: the record has no such place")


def _set(event: Any, parts: Sequence[str | int], text: str, path: str) -> None:
    at, last = _holder(event, parts, path, make=True), parts[-1]
    if isinstance(last, int):
        if not isinstance(at, list) or last > len(at):
            raise EditRefused(f"{path}: the record has no such place")
        before = at[last] if last < len(at) else None
        at[last : last + 1] = [_value(text, before)]
    elif isinstance(at, dict):
        at[last] = _value(text, at.get(last))
    else:
        raise EditRefused(f"{path}: the record has no such place")


def _value(text: str, before: object) -> object:
    """``text`` as JSON, or as the text that it is; a text stays one unless quotes say otherwise: amounts are texts."""
    if isinstance(before, str) and not text.startswith('"'):
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text


def _unset(event: Any, parts: Sequence[str | int], path: str) -> None:
    at, last = _holder(event, parts, path, make=False), parts[-1]
    _member(at, last, path)
    del at[last]
