"""One record of an events file, as ``orderflow events send`` takes it, ``orderflow decide`` plays it and scenarios hold it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from producers.topics import INPUTS, Topic

#: What may be written by hand: the inputs, and the inbox, where operators put records back.
WRITABLE: Final = frozenset({*INPUTS, Topic.INBOX})


def fault_of(error: msgspec.DecodeError | UnicodeDecodeError) -> str:
    """Why a line is none of an events file. Quotes nothing of it: msgspec names kinds and places, but also unknown members."""
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 at byte {error.start}"
    text = str(error)
    return "Object has another member than topic, key, headers and value" if "unknown field" in text else text


class EventLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of an events file. ``value``: an object is written as compact JSON, a string as its UTF-8 bytes."""

    topic: str
    key: str | None
    value: dict[str, Any] | str | None
    headers: dict[str, str] = {}

    def encoded(self) -> bytes | None:
        """The record's value."""
        if self.value is None:
            return None
        return self.value.encode() if isinstance(self.value, str) else msgspec.json.encode(self.value)
