"""Records of ``orderflow.operations`` about letters and actions: their keys and values, and the table that they make. Pure.

- ``letter/<partition>-<offset>``: what was done with a letter. A letter without one is open.
- ``action/<id>``: an action with its counts, written anew with every transaction of whoever carries it out.
- ``action/<id>/selection/<n>`` and ``action/<id>/progress/<n>``: what it is about, fixed when it is made, and how far it is, in
  parts of ``PART_ITEMS``.
- ``action/<id>/request``: what an operator wants of whoever carries it out.
- ``act/<id>``: who asked for that, when and why; it is never overwritten.

No value of a record of somebody else is in them, but for order ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, TypeVar

import msgspec

from orderflow.operations.letters.letter import LetterId

Kind = Literal["retry", "drop", "redeliver"]
ActionState = Literal["planned", "running", "paused", "done", "aborted"]
Status = Literal["open", "retried", "edited", "dropped"]
Result = Literal["moved", "same", "refused", "failed"]

#: Actions in these states never go on.
ENDED: Final = frozenset({"done", "aborted"})
#: Items in one record of a selection, at most.
PART_ITEMS: Final = 1000
ACTION_KEY: Final = "action/"
LETTER_KEY: Final = "letter/"
ACT_KEY: Final = "act/"


class Item(msgspec.Struct, frozen=True, array_like=True):
    """One record that an action is about."""

    #: Where it is read: in ``orderflow.dead-letters``, or in the topic that is delivered again.
    partition: int
    offset: int
    #: The order id; None where the record has no key.
    key: str | None
    #: Where the record first came in.
    topic: str
    first_partition: int
    first_offset: int
    #: The reason of its letter; empty when it is no letter.
    reason: str = ""
    #: Id and source of its event, when it is a letter ``failed``, which may hold the order.
    event: tuple[str, str] | None = None
    #: How often it was delivered again by retries that wrote no new letter.
    retries: int = 0

    @property
    def letter(self) -> str | None:
        """The letter's id; None when it is no letter."""
        return str(LetterId(self.partition, self.offset)) if self.reason else None

    @property
    def name(self) -> str:
        """What identifies it within its action."""
        return self.letter or f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def order(self) -> str:
        """Items with the same one are carried out one after the other."""
        return f"{self.key or ''}" if self.key is not None else f"/{self.topic}/{self.first_partition}"


class LetterRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of ``letter/<id>``."""

    letter: str
    status: Status
    actor: str
    reason: str
    at: datetime
    action: str | None = None
    #: The id of the event that was sent because of it.
    event: str | None = None
    result: Result | None = None
    #: How often it was retried without a new letter.
    retries: int = 0
    #: What was edited, by path.
    edited: tuple[str, ...] = ()


class Changed(msgspec.Struct, frozen=True):
    """Who paused, resumed or aborted an action last, when and why."""

    actor: str
    reason: str
    at: datetime


class Internal(msgspec.Struct, frozen=True, omit_defaults=True):
    """What only the one who carries an action out needs."""

    #: Who carries it out; new at every start.
    holder: str = ""
    #: The request that was obeyed last.
    handled: str = ""
    #: From where the outputs are read for results that are still out, by topic and partition.
    cursors: Mapping[str, Mapping[str, int]] = {}


class ActionRecord(msgspec.Struct, frozen=True, omit_defaults=False):
    """The value of ``action/<id>``. The counts of results and ``left`` add up to ``selected``."""

    action: str
    kind: Kind
    actor: str
    reason: str
    state: ActionState
    selected: int
    #: It made a change, or waits in its order; of a drop: it was dropped.
    moved: int
    #: It changed nothing.
    same: int
    refused: int
    #: It failed by a fault of ours, again.
    failed: int
    #: It has no result yet.
    left: int
    at: datetime
    #: The filters that it was made with.
    asked: str = ""
    #: Records a second, at most; 0: no limit.
    rate: float = 0.0
    changed: Changed | None = None
    internal: Internal = msgspec.field(default_factory=Internal)

    def counted(self, counts: Mapping[str, int], internal: Internal) -> ActionRecord:
        """The action with these counts."""
        moved, same, refused, failed, left = (counts[name] for name in ("moved", "same", "refused", "failed", "left"))
        return msgspec.structs.replace(
            self, moved=moved, same=same, refused=refused, failed=failed, left=left, internal=internal
        )

    def shown(self) -> dict[str, object]:
        """The document that operators see."""
        document: dict[str, object] = msgspec.to_builtins(self)
        document.pop("internal")
        return document


class Request(msgspec.Struct, frozen=True):
    """The value of ``action/<id>/request``."""

    id: str
    want: Literal["pause", "abort"]
    actor: str
    reason: str
    at: datetime


class Act(msgspec.Struct, frozen=True):
    """The value of ``act/<id>``: an operator's act on an action or a letter."""

    act: str
    actor: str
    reason: str
    at: datetime
    action: str | None = None
    letter: str | None = None


class _Selection(msgspec.Struct, frozen=True):
    items: tuple[Item, ...]


class _Progress(msgspec.Struct, frozen=True):
    progress: str


Document = LetterRecord | ActionRecord | Request | Act | _Selection | _Progress

_encoder = msgspec.json.Encoder()
T = TypeVar("T", bound=msgspec.Struct)
Key = TypeVar("Key")
Value = TypeVar("Value")


def encode(document: Document) -> bytes:
    """The record's value."""
    return _encoder.encode(document)


def selection_parts(action: str, items: Sequence[Item]) -> list[tuple[str, bytes]]:
    """Keys and values of a selection."""
    return [
        (f"{ACTION_KEY}{action}/selection/{at // PART_ITEMS}", encode(_Selection(tuple(items[at : at + PART_ITEMS]))))
        for at in range(0, len(items), PART_ITEMS)
    ]


def progress_part(action: str, number: int, progress: str) -> tuple[str, bytes]:
    """Key and value of part ``number`` of a progress."""
    return f"{ACTION_KEY}{action}/progress/{number}", encode(_Progress(progress))


class ActionTable:
    """What ``orderflow.operations`` says about letters and actions, fed with its records in their order.

    A record that cannot be read is passed over: the topic is open to every operator's tool.
    """

    def __init__(self) -> None:
        self.letters: dict[str, LetterRecord] = {}
        self.actions: dict[str, ActionRecord] = {}
        self.requests: dict[str, Request] = {}
        self._selections: dict[str, dict[int, bytes]] = {}
        self._progress: dict[str, dict[int, str]] = {}

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Take one record in."""
        name = (key or b"").decode(errors="replace")
        if name.startswith(LETTER_KEY):
            _put(self.letters, name.removeprefix(LETTER_KEY), _read(LetterRecord, value))
        elif name.startswith(ACTION_KEY):
            action, _, part = name.removeprefix(ACTION_KEY).partition("/")
            kind, _, number = part.partition("/")
            if not part:
                _put(self.actions, action, _read(ActionRecord, value))
            elif kind == "request":
                _put(self.requests, action, _read(Request, value))
            elif kind == "selection" and number.isdecimal():
                _put(self._selections.setdefault(action, {}), int(number), value)
            elif kind == "progress" and number.isdecimal():
                found = _read(_Progress, value)
                _put(self._progress.setdefault(action, {}), int(number), None if found is None else found.progress)

    def status(self, letter: str) -> Status:
        """The status of a letter."""
        found = self.letters.get(letter)
        return "open" if found is None else found.status

    def selection(self, action: str) -> list[Item] | None:
        """What an action is about; None when a part of it is missing or cannot be read."""
        parts = self._selections.get(action, {})
        items: list[Item] = []
        for number in range(len(parts)):
            found = _read(_Selection, parts.get(number))
            if found is None:
                return None
            items += found.items
        record = self.actions.get(action)
        return items if record is None or record.selected == len(items) else None

    def progress(self, action: str) -> dict[int, str]:
        """How far an action is, by part."""
        return dict(self._progress.get(action, {}))


def read_request(value: bytes | None) -> Request | None:
    """The request in a record; None when it is none."""
    return _read(Request, value)


def _put(table: dict[Key, Value], key: Key, value: Value | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _read(kind: type[T], value: bytes | None) -> T | None:
    """The document in a value; None for a tombstone and for what is none."""
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
