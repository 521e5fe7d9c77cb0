"""What one transaction wrote and what the replay of it would write, order by order. Free of I/O.

Records are compared as bytes first; only those of an order that differ are decoded. What counts is the data and the time of an
event and not its envelope's layout.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, Literal

import msgspec

Kind = Literal["change", "command", "refusal"]

#: In the first bytes of an ``order.event_refused``, which says nothing that a dead letter does not say.
_REFUSED: Final = b'"type":"order.event_refused"'
_HEAD_BYTES: Final = 256


class Written(msgspec.Struct):
    """A record that was or would be written, as far as it is compared."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Outputs(msgspec.Struct):
    """The records of one transaction by what they are, each list in its order."""

    changes: list[Written] = []
    commands: list[Written] = []
    refusals: list[Written] = []

    def of(self, key: bytes) -> Outputs:
        """Those of one order."""
        return Outputs(
            [one for one in self.changes if one.key == key],
            [one for one in self.commands if one.key == key],
            [one for one in self.refusals if one.key == key],
        )


class Found(msgspec.Struct, frozen=True):
    """The first difference of one order in one transaction, as bytes; None: there is none on that side."""

    key: bytes
    kind: Kind
    recorded: Written | None
    replayed: Written | None
    #: How many of the order's changes before it are the same.
    same: int


class _Event(msgspec.Struct):
    id: str
    type: str
    subject: str
    time: str
    data: msgspec.Raw


class _Sequenced(msgspec.Struct):
    sequence: int


class _ChangeEvent(msgspec.Struct):
    data: _Sequenced


_event_of = msgspec.json.Decoder(_Event)
_change_of = msgspec.json.Decoder(_ChangeEvent)


def is_change(value: bytes | None) -> bool:
    """Whether it is an ``order.state_changed``."""
    return value is not None and _REFUSED not in value[:_HEAD_BYTES]


def sequence_of(value: bytes | None) -> int | None:
    """The sequence of a change; None when it is not one."""
    try:
        return None if value is None else _change_of.decode(value).data.sequence
    except msgspec.DecodeError:
        return None


def differing_keys(recorded: Outputs, replayed: Outputs, ignored: Collection[bytes]) -> list[bytes]:
    """The orders with a difference, in the order in which they appear."""
    keys = dict.fromkeys(one.key for side in (replayed, recorded) for part in _parts(side) for one in part)
    return [key for key in keys if key not in ignored and first_difference(key, recorded, replayed) is not None]


def first_difference(key: bytes, recorded: Outputs, replayed: Outputs) -> Found | None:
    """The first difference of an order; its changes come before its commands, and these before its refusals."""
    there, here = recorded.of(key), replayed.of(key)
    same = 0
    kinds: tuple[Kind, ...] = ("change", "command", "refusal")
    for kind, olds, news in zip(kinds, _parts(there), _parts(here), strict=True):
        at = _first(olds, news)
        if kind == "change":
            same = len(olds) if at is None else at
        if at is not None:
            old = olds[at] if at < len(olds) else None
            new = news[at] if at < len(news) else None
            return Found(key, kind, old, new, same)
    return None


def _parts(side: Outputs) -> tuple[list[Written], list[Written], list[Written]]:
    return side.changes, side.commands, side.refusals


def _first(olds: Sequence[Written], news: Sequence[Written]) -> int | None:
    for at, (old, new) in enumerate(zip(olds, news, strict=False)):
        if not equal(old, new):
            return at
    return None if len(olds) == len(news) else min(len(olds), len(news))


def equal(old: Written, new: Written) -> bool:
    """Whether two records say the same: the same refusal of the same record, or an event with the same data and time."""
    was, now = refusal_of(old), refusal_of(new)
    if was or now:  # only dead letters have these headers
        return was == now
    if old.value == new.value:
        return True
    if old.value is None or new.value is None:
        return False
    try:
        one, other = _event_of.decode(old.value), _event_of.decode(new.value)
    except msgspec.DecodeError:
        return False
    return _told(one) == _told(other)


def _told(event: _Event) -> tuple[str, str, str, str, bytes]:
    return event.id, event.type, event.subject, event.time, bytes(event.data)


#: What of a dead letter is compared: where the record came in, and the reason. Its wording may change.
_LETTER: Final = ("orderflow-reason", "orderflow-topic", "orderflow-partition", "orderflow-offset")


def refusal_of(letter: Written) -> dict[str, str]:
    """A dead letter's reason and the place of its record, by header name without ``orderflow-``."""
    return {
        name.removeprefix("orderflow-"): (value or b"").decode(errors="replace")
        for name, value in letter.headers
        if name in _LETTER
    }


def detail_of(letter: Written) -> str:
    """A dead letter's line for a person."""
    return next((str((raw or b"").decode(errors="replace")) for name, raw in letter.headers if name == _DETAIL), "")


_DETAIL: Final = "orderflow-detail"


def refusals(letters: Iterable[Written], *, partition: int, topics: Collection[str]) -> list[Written]:
    """The dead letters of records that first came in on this partition of ``topics``: other lanes write letters, too."""
    found = []
    for letter in letters:
        place = refusal_of(letter)
        if place.get("topic") in topics and place.get("partition") == str(partition):
            found.append(letter)
    return found


def data_of(value: bytes | None) -> Any:
    """The data of an event for a document, of a command with its name; None when there is none."""
    try:
        if value is None:
            return None
        event = _event_of.decode(value)
        data = msgspec.json.decode(event.data)
    except msgspec.DecodeError:
        return None
    kind, _, name = event.type.partition(".")
    return {"command": name, **data} if kind == "command" else data
