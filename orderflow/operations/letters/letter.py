"""Dead letters as an operator handles them: read from their headers, filtered, and grouped by cause. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from producers.dead_letters import LEFT_OUT, OUR_HEADERS, REDELIVERED_HEADER, redelivered_before
from producers.topics import Topic
from statemachine.messages.envelope import Headers, Record
from statemachine.messages.times import read_time

#: A letter that was delivered again so often is set aside for a person.
REDELIVERED_MAX: Final = 3
#: Topics whose records the order lane decides; what is tried again goes through the inbox.
ORDER_TOPICS: Final = frozenset({Topic.CHECKOUT_EVENTS, Topic.ORDER_EVENTS, Topic.FULFILLMENT_EVENTS, Topic.INBOX})
#: Topics of other lanes, which decide their record again when it is written back.
OWN_TOPICS: Final = frozenset({Topic.DR_WEBHOOKS, Topic.CATALOG_EVENTS})

#: What a letter says beside its record, as headers ``orderflow-...``.
_SAID: Final = ("reason", "detail", "topic", "partition", "offset", "at")
_ID: Final = re.compile(r"(\d{1,9})-(\d{1,18})")
#: What differs between letters of one cause: numbers, and ids between quotes.
_VARIABLE: Final = re.compile(r"\d+|\"[^\"]*\"|'[^']*'")


class LetterId(NamedTuple):
    """Where a letter lies in ``orderflow.dead-letters``; written ``<partition>-<offset>``."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"


def read_letter_id(text: str) -> LetterId | None:
    """The id that ``text`` is; None when it is none."""
    found = _ID.fullmatch(text)
    return None if found is None else LetterId(int(found[1]), int(found[2]))


class _Named(msgspec.Struct):
    """As much of an event as names it; of a webhook too."""

    type: object = None
    id: object = None
    source: object = None


_named = msgspec.json.Decoder(_Named)


class Letter(msgspec.Struct, frozen=True):
    """One dead letter without its value."""

    id: LetterId
    reason: str
    detail: str
    #: Where the record first came in; the topic by its contract name.
    topic: str
    partition: int
    offset: int
    key: str | None
    #: Type, id and source of the event; empty where the record does not say.
    type: str
    event_id: str
    source: str
    #: When it was set aside.
    at: datetime
    #: How often the record was delivered again before.
    redelivered: int = 0

    @property
    def group(self) -> str:
        """The cause: letters with the same reason, the same detail but for numbers, and the same type are in one group."""
        return _cause(self.reason, self.detail, self.type)

    @property
    def is_cut(self) -> bool:
        """A part of the record was left out, because it did not fit."""
        return self.detail.endswith(LEFT_OUT)

    @property
    def came(self) -> tuple[str, int, int]:
        """Where the record first came in."""
        return self.topic, self.partition, self.offset


@lru_cache(maxsize=10_000)
def _cause(reason: str, detail: str, kind: str) -> str:
    text = "\n".join((reason, _VARIABLE.sub("#", detail), kind))
    return f"{reason}-{hashlib.blake2b(text.encode(), digest_size=3).hexdigest()}"


def read_letter(letter_id: LetterId, key: bytes | None, value: bytes | None, headers: Headers) -> Letter | None:
    """The letter in a record of ``orderflow.dead-letters``; None when it is not one of ours."""
    found: Mapping[str, bytes | None] = dict(headers)
    reason, detail, topic, partition, offset, at_text = (
        (found.get(f"orderflow-{name}") or b"").decode(errors="replace") for name in _SAID
    )
    at = read_time(at_text)
    if not (reason and topic and partition.isdecimal() and offset.isdecimal()) or at is None:
        return None
    kind, event_id, source = name_of_event(value, found)
    return Letter(
        letter_id,
        reason,
        detail,
        topic,
        int(partition),
        int(offset),
        None if key is None else key.decode(errors="replace"),
        kind,
        event_id,
        source,
        at,
        redelivered_before(headers),
    )


def name_of_event(value: bytes | None, headers: Mapping[str, bytes | None]) -> tuple[str, str, str]:
    """Type, id and source of the event in a record, in structured or binary mode; empty where they cannot be read."""
    if "ce_specversion" in headers:
        given = ((headers.get(f"ce_{name}") or b"").decode(errors="replace") for name in ("type", "id", "source"))
        kind, event_id, source = given
        return kind, event_id, source
    try:
        named = _named.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", "", ""
    kind, event_id, source = (one if isinstance(one, str) else "" for one in (named.type, named.id, named.source))
    return kind, event_id, source


def first_received(letter: Letter, key: bytes | None, value: bytes | None, headers: Headers) -> Record:
    """The record as it first came in, without what made it a letter, but with the count of how often it was delivered again."""
    kept = tuple(header for header in headers if header[0] not in OUR_HEADERS or header[0] == REDELIVERED_HEADER)
    return Record(letter.topic, letter.partition, letter.offset, key, value, kept)


class Filters(msgspec.Struct, frozen=True):
    """Which letters; empty: all."""

    reasons: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    #: When they were set aside: from (inclusive) and to (exclusive).
    since: datetime | None = None
    until: datetime | None = None

    def take(self, letter: Letter, status: str) -> bool:
        """Whether a letter with this status is one of them."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.types or letter.type in self.types)
            and (not self.topics or letter.topic in self.topics)
            and (not self.statuses or status in self.statuses)
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
            and (not self.groups or letter.group in self.groups)
        )

    def __bool__(self) -> bool:
        return self != Filters()

    def text(self) -> str:
        """What was asked, in a line, for the record of an action."""
        parts = [
            f"{name} {', '.join(values)}"
            for name, values in (
                ("reason", self.reasons),
                ("type", self.types),
                ("topic", self.topics),
                ("group", self.groups),
            )
            if values
        ]
        parts += [f"from {self.since:%Y-%m-%dT%H:%M:%SZ}"] if self.since is not None else []
        parts += [f"to {self.until:%Y-%m-%dT%H:%M:%SZ}"] if self.until is not None else []
        return "; ".join(parts)


class Group(msgspec.Struct, frozen=True):
    """Letters of one cause."""

    group: str
    reason: str
    type: str
    #: That of the newest one.
    detail: str
    letters: int
    #: How many of them are open.
    open: int
    orders: int
    first: datetime
    last: datetime


def grouped(letters: Sequence[tuple[Letter, str]]) -> list[Group]:
    """The causes of letters, given with their statuses; the largest first."""
    by_group: dict[str, list[tuple[Letter, str]]] = {}
    for letter, status in letters:
        by_group.setdefault(letter.group, []).append((letter, status))
    found = []
    for name, members in by_group.items():
        newest = max((letter for letter, _ in members), key=lambda letter: letter.at)
        found.append(
            Group(
                name,
                newest.reason,
                newest.type,
                newest.detail,
                len(members),
                sum(status == "open" for _, status in members),
                len({letter.key for letter, _ in members}),
                min(letter.at for letter, _ in members),
                newest.at,
            )
        )
    return sorted(found, key=lambda group: (-group.letters, group.group))
