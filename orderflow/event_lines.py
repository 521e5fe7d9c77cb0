"""One record of an events file, as ``orderflow events send`` takes it, ``orderflow decide`` reads it and scenarios contain it.

A line holds every record exactly: bytes that are no text are written as Base64, headers that repeat as a list.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, Final, TypeAlias

import msgspec

from producers.topics import INPUTS, Topic
from statemachine.messages.envelope import Headers, Record
from statemachine.messages.json_faults import json_fault

#: Topics that may be written by hand: the inputs, and the inbox, to which operators write records again.
WRITABLE: Final = frozenset({*INPUTS, Topic.INBOX})

#: What a line says wrong by itself: only its author reads it, and it quotes no value.
_OWN_FAULTS: Final = (
    "needs exactly one of value and value_base64",
    "needs exactly one of key and key_base64",
    "is not Base64",
)


class Base64Bytes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes that are no UTF-8 text."""

    base64: str


#: A header's value: text, bytes, or null, which Kafka allows.
HeaderValue: TypeAlias = str | Base64Bytes | None


def fault_of(error: msgspec.DecodeError | UnicodeDecodeError, text: bytes) -> str:
    """Why ``text`` is not a line of an events file; quotes nothing of it."""
    said = str(error)
    if "unknown field" in said:
        return "has another member than topic, key, headers and value"
    own = next((fault for fault in _OWN_FAULTS if fault in said), None)
    return own or json_fault(error, text)


class EventLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of an events file. ``value``: an object is written as compact JSON, a string as its UTF-8 bytes.

    ``value_base64`` and ``key_base64`` stand for bytes that are no UTF-8 text. ``headers`` is an object, or a list of pairs
    where a name repeats.
    """

    topic: str
    key: str | msgspec.UnsetType | None = msgspec.UNSET
    value: dict[str, Any] | str | msgspec.UnsetType | None = msgspec.UNSET
    headers: dict[str, HeaderValue] | list[tuple[str, HeaderValue]] = {}
    key_base64: str | msgspec.UnsetType = msgspec.UNSET
    value_base64: str | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        """One key, one value, and Base64 that can be read."""
        if (self.value is msgspec.UNSET) == (self.value_base64 is msgspec.UNSET):
            raise ValueError("needs exactly one of value and value_base64")
        if (self.key is msgspec.UNSET) == (self.key_base64 is msgspec.UNSET):
            raise ValueError("needs exactly one of key and key_base64")
        try:
            self.encoded()
            self.encoded_key()
            self.encoded_headers()
        except ValueError:
            raise ValueError("is not Base64") from None

    def encoded(self) -> bytes | None:
        """The record's value."""
        if isinstance(self.value_base64, str):
            return b64decode(self.value_base64, validate=True)
        if self.value is None or isinstance(self.value, msgspec.UnsetType):
            return None
        return self.value.encode() if isinstance(self.value, str) else msgspec.json.encode(self.value)

    def encoded_key(self) -> bytes | None:
        """The record's key."""
        if isinstance(self.key_base64, str):
            return b64decode(self.key_base64, validate=True)
        return self.key.encode() if isinstance(self.key, str) else None

    def encoded_headers(self) -> Headers:
        """The record's headers in their order."""
        pairs = self.headers.items() if isinstance(self.headers, dict) else self.headers
        return tuple((name, _header_bytes(value)) for name, value in pairs)

    def record(self, offset: int) -> Record:
        """The record that the line becomes, as the pure code sees it."""
        return Record(self.topic, 0, offset, self.encoded_key(), self.encoded(), self.encoded_headers())


def line_of(record: Record) -> dict[str, object]:
    """The line that writes ``record`` again, byte for byte; its partition follows from its key again."""
    line: dict[str, object] = {"topic": record.topic}
    key = None if record.key is None else _text(record.key)
    if record.key is None or key is not None:
        line["key"] = key
    else:
        line["key_base64"] = b64encode(record.key).decode()
    if record.headers:
        pairs = [(name, _header_value(value)) for name, value in record.headers]
        repeats = len({name for name, _ in pairs}) < len(pairs)
        line["headers"] = pairs if repeats else dict(pairs)
    if record.value is None:
        line["value"] = None
    elif (document := _same_document(record.value)) is not None:
        line["value"] = document
    elif (text := _text(record.value)) is not None:
        line["value"] = text
    else:
        line["value_base64"] = b64encode(record.value).decode()
    return line


def _same_document(value: bytes) -> msgspec.Raw | None:
    """``value`` as the JSON object that is written as these bytes again; None when it is none, or would be written otherwise."""
    try:
        document = msgspec.json.decode(value)
        again = msgspec.json.encode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    return msgspec.Raw(value) if isinstance(document, dict) and again == value else None


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _header_bytes(value: HeaderValue) -> bytes | None:
    if isinstance(value, Base64Bytes):
        return b64decode(value.base64, validate=True)
    return None if value is None else value.encode()


def _header_value(value: bytes | None) -> HeaderValue:
    if value is None:
        return None
    text = _text(value)
    return text if text is not None else Base64Bytes(b64encode(value).decode())
