"""One record of an events file, as ``orderflow events send`` takes it, ``orderflow decide`` reads it and scenarios contain it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from producers.topics import INPUTS, Topic
from statemachine.messages.json_faults import json_fault

#: Topics that may be written by hand: the inputs, and the inbox, to which operators write records again.
WRITABLE: Final = frozenset({*INPUTS, Topic.INBOX})


def fault_of(error: msgspec.DecodeError | UnicodeDecodeError, text: bytes) -> str:
    """Why ``text`` is not a line of an events file; quotes nothing of it."""
    if "unknown field" in str(error):
        return "has another member than topic, key, headers and value"
    return json_fault(error, text)


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
