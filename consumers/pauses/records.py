"""Records of ``orderflow.operations`` about pauses: those in force, and the acts of operators that made or ended them.

- ``pause/<scope>`` is in force until its tombstone. The tombstone has who and why in its headers, for as long as Kafka keeps it.
- ``act/<id>`` says who paused or resumed what, when and why. It stays when the pause is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, Literal

import msgspec

from consumers.pauses.scopes import Scope, read_scope

PAUSE_KEY: Final = "pause/"
ACT_KEY: Final = "act/"
#: Headers of a tombstone.
ACTOR_HEADER, REASON_HEADER = "orderflow-actor", "orderflow-reason"
#: What operators write is shown and logged up to this length, in characters.
TEXT_CHARS_MAX: Final = 200


class PauseRecord(msgspec.Struct, frozen=True):
    """The value of ``pause/<scope>``."""

    scope: str
    actor: str
    reason: str
    since: datetime


class ActRecord(msgspec.Struct, frozen=True):
    """The value of ``act/<id>``."""

    act: Literal["pause", "resume"]
    scope: str
    actor: str
    reason: str
    at: datetime


class Pause(msgspec.Struct, frozen=True):
    """A pause in force. Its texts are short and have no control characters."""

    scope: Scope
    actor: str
    reason: str
    #: None when the record does not say.
    since: datetime | None = None

    def __str__(self) -> str:
        since = "" if self.since is None else f" since {self.since:%Y-%m-%dT%H:%M:%SZ}"
        return f"{self.scope} is paused by {self.actor}{since}: {self.reason}"


class _Written(msgspec.Struct):
    """A pause as anybody may have written it."""

    actor: str = ""
    reason: str = ""
    since: datetime | None = None


_pauses = msgspec.json.Decoder(_Written)
_acts = msgspec.json.Decoder(ActRecord)


def shown(text: str) -> str:
    """What an operator wrote, on one line, without control characters, and no longer than ``TEXT_CHARS_MAX``."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= TEXT_CHARS_MAX else f"{line[: TEXT_CHARS_MAX - 3]}..."


def scope_of(key: bytes | None) -> Scope | None:
    """The scope in the key of a pause; None when the record is about something else, or about a lane that is not known."""
    text = (key or b"").decode(errors="replace")
    return read_scope(text.removeprefix(PAUSE_KEY)) if text.startswith(PAUSE_KEY) else None


def read_pause(scope: Scope, value: bytes) -> Pause:
    """The pause in a record. One that cannot be read pauses all the same: nobody writes such a key to let something run."""
    try:
        found = _pauses.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Pause(scope, "unknown", "the record of the pause cannot be read")
    return Pause(scope, shown(found.actor) or "unknown", shown(found.reason) or "no reason was given", found.since)


def read_resumed(headers: Iterable[tuple[str, bytes | None]]) -> tuple[str, str]:
    """Who resumed and why, from the headers of a tombstone; empty where they do not say."""
    found: Mapping[str, bytes | None] = dict(headers)
    actor, reason = (found.get(name) or b"" for name in (ACTOR_HEADER, REASON_HEADER))
    return shown(actor.decode(errors="replace")), shown(reason.decode(errors="replace"))


def read_act(value: bytes) -> ActRecord | None:
    """The act in a record; None when it cannot be read."""
    try:
        found = _acts.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return msgspec.structs.replace(
        found, scope=shown(found.scope), actor=shown(found.actor), reason=shown(found.reason)
    )
