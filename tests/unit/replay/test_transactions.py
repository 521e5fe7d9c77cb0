"""Transactions read from position records: what they decided, where nothing is said, and where records are missing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from consumers.ownership.positions import DecisionHistory, PositionRecord, Run, encode_position
from orderflow.replay.transactions import COMPARABLE, readable_from, transactions_of

NOW = datetime(2031, 3, 4, tzinfo=UTC)


@dataclass
class Read:
    """A record of orderflow.positions."""

    offset: int
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: int = 0


def decided(*runs: Run, definition: int = COMPARABLE) -> DecisionHistory:
    """What a transaction with these runs says."""
    return DecisionHistory(NOW, "1.0", definition, "digest", runs)


def position(number: int, history: DecisionHistory | None, incarnation: str = "me") -> bytes:
    """A value."""
    return encode_position(PositionRecord(0, 1, number, incarnation, {}, history))


def test_a_repair_and_an_older_version_are_gaps_with_their_reason() -> None:
    """A person sees why the history says nothing there."""
    records = [
        Read(1, position(1, decided())),
        Read(3, position(2, None)),
        Read(5, position(3, None, "accepted-1"), (("orderflow-reason", b"offsets expired"),)),
        Read(7, b"{not json"),
        Read(9, position(9, decided())),
        Read(11, position(10, decided(definition=5))),
    ]
    found = transactions_of(records, topic="p", partition=0, before=None)
    assert [one.gap for one in found] == [
        None,
        "written by a version of orderflow that kept no history",
        "an operator repaired it: offsets expired",
        "the position record cannot be read",
        None,
        "decided under definition 5, where changes without news took sequence numbers: this version cannot compare it",
    ]
    assert not any(one.after_hole for one in found)  # after one that cannot be read no number is expected


def test_missing_position_records_are_a_hole() -> None:
    """Compaction has removed them: between two numbers that do not follow each other anything may have happened."""
    records = [Read(5, position(3, decided())), Read(9, position(7, decided()))]
    before = Read(3, position(2, decided()))
    found = transactions_of(records, topic="p", partition=0, before=before)
    assert [one.after_hole for one in found] == [False, True]
    found = transactions_of(records, topic="p", partition=0, before=Read(1, position(1, decided())))
    assert [one.after_hole for one in found] == [True, True]


def test_a_replay_begins_after_the_last_transaction_whose_records_were_deleted() -> None:
    """The topics that shorten it are named."""
    records = [
        Read(1, position(1, decided(Run("a", 0, 4)))),
        Read(3, position(2, decided(Run("b", 0, 0), Run("a", 5, 9)))),
        Read(5, position(3, decided(Run("b", 1, 1)))),
    ]
    found = transactions_of(records, topic="p", partition=0, before=None)
    assert readable_from(found, {"a": 0, "b": 0}) == (0, [])
    assert readable_from(found, {"a": 7, "b": 0}) == (2, ["a"])
    assert readable_from(found, {"a": 0, "b": 1}) == (2, ["b"])
    assert readable_from(found, {"a": 99, "b": 2}) == (3, ["a", "b"])
