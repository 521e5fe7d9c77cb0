"""What became of the events that an action sent, from what the order lane wrote after them. Pure.

An event is decided when a position record of its partition has passed its offset. All that was decided about it is in the same
transaction, but Kafka shows the partitions of a transaction one after the other: so a result is taken only after everything that
was written when the position record was seen has been read, too (``execution.py`` does that).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from orderflow.operations.actions.records import Result
from orderflow.operations.actions.redelivery import How
from orderflow.operations.letters.letter import Letter
from orderflow.operations.operator_events import OPERATOR_SOURCE
from producers.topics import Topic
from statemachine.errors import InvariantBroken
from statemachine.messages.identity import holds, mark_of
from statemachine.order.snapshot import decode_snapshot


class _CauseOf(msgspec.Struct):
    id: str = ""
    source: str = ""


class _ChangeData(msgspec.Struct):
    cause: _CauseOf


class _Change(msgspec.Struct):
    data: _ChangeData


class _PositionOf(msgspec.Struct):
    partition: int
    next_offsets: Mapping[str, int]


_changes = msgspec.json.Decoder(_Change)
_positions = msgspec.json.Decoder(_PositionOf)


class Flight(NamedTuple):
    """One event that was sent."""

    number: int
    event_id: str
    key: bytes
    #: Where the record in it first came in.
    came: tuple[str, int, int]
    how: How
    #: The partition of the inbox that it was written to.
    partition: int


class Outcomes:
    """The events that are out, and what has been read about them."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, Flight] = {}
        self._offsets: dict[int, int] = {}
        self._changed: set[int] = set()
        self._letters: dict[int, Letter] = {}
        self._snapshots: dict[int, bytes | None] = {}
        #: The next offset of the inbox that each partition reads.
        self.decided: dict[int, int] = {}

    def add(self, flight: Flight) -> None:
        """An event is about to be sent; of its order nothing else is out."""
        assert flight.key not in self._by_key
        self._by_key[flight.key] = flight

    def located(self, number: int, offset: int) -> None:
        """An event lies at or before this offset of its partition."""
        self._offsets[number] = offset

    def __contains__(self, key: object) -> bool:
        return key in self._by_key

    def take_change(self, key: bytes | None, value: bytes | None) -> None:
        """A record of ``order-state-changes``."""
        flight = self._by_key.get(key or b"")
        if flight is None or value is None:
            return
        try:
            cause = _changes.decode(value).data.cause
        except msgspec.DecodeError:
            return  # another type
        if (cause.id, cause.source) == (flight.event_id, OPERATOR_SOURCE):
            self._changed.add(flight.number)

    def take_letter(self, letter: Letter) -> None:
        """A new dead letter: that of the record which was delivered again, or of the operator's event itself."""
        flight = self._by_key.get((letter.key or "").encode())
        if flight is None:
            return
        is_outer = letter.topic == Topic.INBOX and letter.event_id == flight.event_id
        if is_outer or (flight.how == "redelivered" and letter.came == flight.came):
            self._letters[flight.number] = letter

    def take_snapshot(self, key: bytes | None, value: bytes | None) -> None:
        """A record of ``orders``."""
        flight = self._by_key.get(key or b"")
        if flight is not None:
            self._snapshots[flight.number] = value

    def take_position(self, value: bytes | None) -> None:
        """A record of ``orderflow.positions``."""
        try:
            found = _positions.decode(value or b"")
        except msgspec.DecodeError:
            return
        self.decided[found.partition] = found.next_offsets.get(Topic.INBOX, 0)

    def decided_numbers(self) -> set[int]:
        """What the order lane has read and decided."""
        return {
            flight.number
            for flight in self._by_key.values()
            if flight.number in self._offsets and self.decided.get(flight.partition, 0) > self._offsets[flight.number]
        }

    def settle(self, key: bytes) -> tuple[Result, bool]:
        """The result of the event that is out for a key, and whether a new letter says so; it is out no more."""
        flight = self._by_key.pop(key)
        number = flight.number
        self._offsets.pop(number, None)
        letter, snapshot = self._letters.pop(number, None), self._snapshots.pop(number, None)
        changed = number in self._changed
        self._changed.discard(number)
        if letter is not None:
            return ("failed" if letter.reason == "failed" else "refused"), True
        if changed or _remembers(snapshot, flight.event_id):
            return "moved", False
        return "same", False


def _remembers(snapshot: bytes | None, event_id: str) -> bool:
    """Whether an order has taken the operator's event: it is parked there, or has changed what only the worker needs."""
    if snapshot is None:
        return False
    try:
        return holds(decode_snapshot(snapshot).seen, mark_of(OPERATOR_SOURCE, event_id))
    except InvariantBroken:
        return False
