"""The transactions of one partition's history, read from its position records, and where that history has holes.

A transaction that does not say what it decided, or was decided under a definition that numbers changes otherwise, is a gap: an
older version wrote it, or an operator repaired the offsets. After a
gap nothing is known of the orders before it. Position records that are not there at all shorten the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, Protocol

import msgspec

from consumers.ownership.positions import DecisionHistory, PositionRecord, decode_position
from statemachine.errors import UnreadableTable

#: The header of a position record that repaired the offsets.
REASON_HEADER: Final = "orderflow-reason"


#: The first definition whose changes and deadlines are numbered as they are now. Before it a decision without news took a
#: sequence number, so that what was decided after one has other numbers, and deadlines other ids, than this version gives.
COMPARABLE: Final = 6
_NUMBERED_OTHERWISE: Final = "where changes without news took sequence numbers: this version cannot compare it"


class PositionRead(Protocol):
    """The part of a record of ``orderflow.positions`` that is read here."""

    offset: int
    timestamp: int
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Transaction(msgspec.Struct, frozen=True):
    """One committed transaction of a partition."""

    #: Of its position record.
    offset: int
    #: Milliseconds: the timestamp of all records of the transaction.
    stamp: int
    #: Number of transactions committed for the partition, this one included; None: it cannot be read.
    number: int | None
    #: What it decided; None: a gap.
    history: DecisionHistory | None
    next_offsets: Mapping[str, int] = {}
    #: Why it is a gap, in words.
    gap: str | None = None
    #: Position records before this one are not there any more.
    after_hole: bool = False


class Gap(msgspec.Struct, frozen=True):
    """A place where the history of a partition says nothing."""

    partition: int
    #: Of the position record in ``orderflow.positions``.
    offset: int
    at: datetime
    why: str


class Short(msgspec.Struct, frozen=True):
    """A topic that no longer has all that the window needs."""

    topic: str
    partition: int
    #: Since when it has all.
    since: datetime | None
    why: str


def transactions_of(
    records: Iterable[PositionRead], *, topic: str, partition: int, before: PositionRead | None
) -> list[Transaction]:
    """The transactions in position records, in their order.

    Args:
        records: In the order of their offsets.
        topic: For errors.
        partition: Their partition.
        before: The record before the first of them, if it is still there.
    """
    last = None if before is None else _read(before, topic, partition)
    number = 0 if before is None else None if last is None else last.transaction
    found = []
    for record in records:
        position = _read(record, topic, partition)
        if position is None:
            found.append(
                Transaction(record.offset, record.timestamp, None, None, gap="the position record cannot be read")
            )
            number = None
            continue
        history, gap = position.history, None
        if history is None:
            gap = _why(record, position)
        elif history.definition < COMPARABLE:
            gap = f"decided under definition {history.definition}, {_NUMBERED_OTHERWISE}"
            history = None
        hole = number is not None and position.transaction != number + 1
        found.append(
            Transaction(
                record.offset,
                record.timestamp,
                position.transaction,
                history,
                position.next_offsets,
                gap=gap,
                after_hole=hole,
            )
        )
        number = position.transaction
    return found


def _why(record: PositionRead, position: PositionRecord) -> str:
    for name, value in record.headers:
        if name == REASON_HEADER:
            return f"an operator repaired it: {(value or b'').decode(errors='replace')}"
    if position.incarnation.startswith("accepted-"):
        return "an operator repaired the offsets"
    return "written by a version of orderflow that kept no history"


def _read(record: PositionRead, topic: str, partition: int) -> PositionRecord | None:
    try:
        return None if record.value is None else decode_position(record.value, topic, partition)
    except UnreadableTable:
        return None


def readable_from(transactions: list[Transaction], begins: Mapping[str, int]) -> tuple[int, list[str]]:
    """Where a replay can begin: the index of the first transaction after which Kafka still has all inputs.

    Args:
        transactions: Those of the window.
        begins: First available offset of each input, by contract name.

    Returns:
        The index, and the contract names of the topics that no longer have everything before it.
    """
    start, topics = 0, dict[str, None]()
    for index, transaction in enumerate(transactions):
        for run in () if transaction.history is None else transaction.history.runs:
            if run.first < begins.get(run.topic, 0):
                start = index + 1
                topics[run.topic] = None
    return start, list(topics)
