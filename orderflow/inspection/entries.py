"""What a story is made of: its entries, and the records that they are read from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from statemachine.messages.envelope import Record

Kind = Literal["event", "deadline", "change", "command", "letter", "operation"]
Place = tuple[str, int, int]


class KeptRecord(NamedTuple):
    """A record of the order and when it was written; its topic has no prefix."""

    record: Record
    at: datetime


class CommandEnd(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of one attempt of a command."""

    result: str
    at: datetime
    tries: int = 0
    status: int | None = None
    request_id: str | None = None
    duration_ms: int = 0
    problem: dict[str, Any] | None = None
    #: The command that asked what had become of it.
    inquired_by: str | None = None


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, rename={"from_": "from"}):
    """One thing that happened; members depend on ``kind``.

    ``at`` is when it was decided, or when it was written if nothing was decided then.
    """

    at: datetime
    kind: Kind
    #: Of an event, and of a dead letter its event: type, id, source, and where its record first came in.
    type: str | None = None
    id: str | None = None
    source: str | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    #: What became of an event: changed, parked, set aside, or no news.
    became: str | None = None
    #: Of a deadline its name, of a change the event or deadline that caused it.
    name: str | None = None
    sequence: int | None = None
    from_: str | None = None
    to: str | None = None
    changed: tuple[str, ...] | None = None
    command: str | None = None
    command_id: str | None = None
    attempt: int | None = None
    #: Of a command, when it is known.
    outcome: CommandEnd | None = None
    reason: str | None = None
    detail: str | None = None
    #: Of an operator's act.
    actor: str | None = None
    #: Its content, without secrets and personal data unless they were asked for.
    data: Any = None


class Story(NamedTuple):
    """The entries, and why there may be more: the first change that the topics still have is not the order's first."""

    entries: tuple[Entry, ...]
    begins_at: int | None
    #: Times of transactions that would tell whether an event was parked before.
    uncertain: tuple[datetime, ...] = ()


class Letter(NamedTuple):
    """A dead letter; ``place`` is where its record first came in."""

    place: Place
    at: datetime
    reason: str
    detail: str
    #: Where the letter itself is, as ``letters`` verbs name it; empty when the topic no longer has it.
    name: str


class Envelope(msgspec.Struct):
    """As much of a CloudEvent of ours as a story needs."""

    id: str
    type: str
    time: datetime
    data: Any = None


_envelope = msgspec.json.Decoder(Envelope)
_HEADER: Final = "orderflow-"


def envelopes(records: Iterable[KeptRecord]) -> Iterator[Envelope]:
    """The CloudEvents in records; what is none is passed over."""
    for kept in records:
        try:
            yield _envelope.decode(kept.record.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue


def letters(records: Iterable[KeptRecord]) -> Iterator[Letter]:
    """The dead letters in records; what is none is passed over."""
    for kept in records:
        record = kept.record
        ours = {
            name.removeprefix(_HEADER): (value or b"").decode(errors="replace")
            for name, value in record.headers
            if name.startswith(_HEADER)
        }
        try:
            place = (ours["topic"], int(ours["partition"]), int(ours["offset"]))
            at = datetime.fromisoformat(ours["at"])
        except (KeyError, ValueError):
            continue
        name = f"{record.partition}-{record.offset}"
        yield Letter(place, at, ours.get("reason", ""), ours.get("detail", ""), name)


def refusals(records: Iterable[KeptRecord], known: Iterable[Letter]) -> Iterator[Letter]:
    """The refusals that senders were told of and whose dead letters are gone: those are kept for a shorter time.

    ``records``: of ``order-event-refusals``, and of ``order-state-changes``, where they were before.
    """
    places = {letter.place for letter in known}
    for event in envelopes(records):
        cause = event.data.get("cause") if isinstance(event.data, dict) else None
        if event.type != "order.event_refused" or not isinstance(cause, dict) or cause.get("topic") is None:
            continue
        place = (str(cause["topic"]), int(cause.get("partition") or 0), int(cause.get("offset") or 0))
        if place not in places:
            # before there was a topic for them, the line for a person was in ``reason``
            told = event.data.get("detail")
            word = str(event.data.get("reason")) if told else "refused"
            yield Letter(place, event.time, word, str(told or event.data.get("reason")), "")
