"""An order as it was at a time, byte for byte: its newest snapshot of then, or its records decided again.

``orders`` is compacted, so that an old snapshot is there only as long as Kafka has not cleaned the log. Cleaning keeps the newest
record of a key and leaves all younger segments alone, so the snapshots that are left have no gap between them. What is older is
decided again by the order lane's own code: the same records in the recorded order, at the recorded times, with the deadlines that
fired. The result counts only if it leads to the first snapshot that is left, byte for byte, and to the recorded changes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from consumers.group.scanning import ReadRecord
from consumers.ownership.positions import DecisionHistory, PositionRecord
from orderflow.replay.lane import ReplayedLane
from producers.packing.sizes import Room
from producers.topics import Topic, prefixed
from statemachine.order.order import DEFINITION
from statemachine.order.policy import Policy


class ThinHistory(Exception):
    """The topics do not reach back far enough, or cannot be decided again by this code, to say what the order was.

    Remedy: a later time, or the version and the settings of then.
    """


class OldSnapshot(NamedTuple):
    """A snapshot that is still in ``orders``; ``value`` None: the order was removed."""

    at: datetime
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the topics still have of one order."""

    order_id: str
    prefix: str
    #: Its partition number, and how many there are.
    number: int
    partitions: int
    #: In the order in which they were written.
    snapshots: Sequence[OldSnapshot]
    #: By contract topic, in their order.
    inputs: Mapping[str, Sequence[ReadRecord]]
    #: The transactions that read one of the inputs or fired a deadline of the order, in their order.
    transactions: Sequence[PositionRecord]
    #: The next offsets of the newest transaction.
    reached: Mapping[str, int]
    #: The records of its state changes that the topic still has, by their sequence.
    changes: Mapping[int, bytes]


class _Updated(msgspec.Struct):
    updated: datetime


_updated = msgspec.json.Decoder(_Updated)
#: The room of a producer that never writes: what did not fit was decided by the worker's own.
_ROOM: Final = Room()


def snapshot_time(value: bytes | None, written: datetime) -> datetime:
    """When the snapshot in a record was decided; of a tombstone, when the record was written."""
    try:
        return written if value is None else _updated.decode(value).updated
    except (msgspec.DecodeError, UnicodeDecodeError):
        return written


def retained(snapshots: Sequence[OldSnapshot], moment: datetime) -> OldSnapshot | None:
    """The last snapshot decided at or before a time, if the topic still has all since then."""
    found = [one for one in snapshots if one.at <= moment]
    return found[-1] if found else None


def quiet_logic() -> None:
    """The order lane's code logs what it decides; that it is decided again is no news."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


async def snapshot_at(evidence: Evidence, moment: datetime, *, policy: Policy) -> bytes | None:
    """The snapshot of the order at a time; None when there was none.

    Args:
        evidence: What the topics have of the order.
        moment: What was decided at this time or before counts.
        policy: Waits and limits; they must be those that were in force.

    Raises:
        ThinHistory: It cannot be told.
    """
    known = retained(evidence.snapshots, moment)
    if known is not None:
        return known.value
    anchor = evidence.snapshots[0] if evidence.snapshots else None
    _check_whole(evidence, anchor)
    found: bytes | None = None
    last: bytes | None = None
    replay = _OneOrder(evidence, policy)
    for position in evidence.transactions:
        history = position.history
        assert history is not None  # such are the transactions of the evidence
        if anchor is not None and history.decided_at > anchor.at:
            break
        await replay.decide(history)
        last = replay.snapshot
        if history.decided_at <= moment:
            _check_version(history, policy)
            found = last
    if anchor is not None and anchor.value != last:
        raise ThinHistory(
            "decided again, the order does not become the snapshot that followed: "
            "records of it are gone, or another version or other settings decided then"
        )
    _check_changes(replay.changes, evidence.changes, whole=anchor is None)
    return found


def _check_whole(evidence: Evidence, anchor: OldSnapshot | None) -> None:
    """Every record of the order must be in a transaction that is known.

    Raises:
        ThinHistory: One is not.
    """
    if not any(evidence.inputs.values()):
        raise ThinHistory("the topics no longer have the events of the order")
    for topic, records in evidence.inputs.items():
        runs = _runs_of(evidence.transactions, topic)
        for record in records:
            if record.offset >= evidence.reached.get(topic, 0):
                break
            if not any(first <= record.offset <= last for first, last in runs) and not _is_after(record, anchor):
                raise ThinHistory(
                    f"no position record says when {topic}/{record.partition}/{record.offset} was decided: "
                    "the history of decisions does not reach back that far"
                )


def _is_after(record: ReadRecord, anchor: OldSnapshot | None) -> bool:
    return anchor is not None and record.timestamp > anchor.at.timestamp() * 1000


def _runs_of(transactions: Iterable[PositionRecord], topic: str) -> list[tuple[int, int]]:
    return [
        (run.first, run.last)
        for position in transactions
        if position.history is not None
        for run in position.history.runs
        if run.topic == topic
    ]


def _check_version(history: DecisionHistory, policy: Policy) -> None:
    """Other tables or waits would have made another snapshot.

    Raises:
        ThinHistory: They were others.
    """
    if history.definition != DEFINITION:
        raise ThinHistory(
            f"the order was decided by definition {history.definition} then, this version has {DEFINITION}: "
            f"use orderflow {history.code}"
        )
    if history.policy != policy.digest():
        raise ThinHistory(
            "other waits or limits were in force then: set ORDERFLOW_... as the workers had them, and repeat"
        )


class _OneOrder:
    """Decides one order's records again: the lane of a replay with this order alone."""

    def __init__(self, evidence: Evidence, policy: Policy) -> None:
        self._evidence = evidence
        self._lane = ReplayedLane(
            evidence.number, partitions=evidence.partitions, prefix=evidence.prefix, policy=policy, room=_ROOM
        )
        self._changes_topic = prefixed(evidence.prefix, Topic.ORDER_STATE_CHANGES)
        #: By their sequence.
        self.changes: dict[int, bytes] = {}

    @property
    def snapshot(self) -> bytes | None:
        """The order's snapshot after what was decided."""
        return self._lane.snapshot(self._evidence.order_id)

    async def decide(self, history: DecisionHistory) -> None:
        """Decide what one transaction decided about the order."""
        mine = self._evidence.order_id
        fired, until = ((mine,), history.fire_until) if mine in history.fired else ((), None)
        own = msgspec.structs.replace(history, fired=fired, fire_until=until)
        replayed = await self._lane.decide(list(self._records(history)), own, set())
        self._lane.commit(replayed)
        for (topic, _), records in replayed.outbox.batches.items():
            if topic == self._changes_topic:
                self.changes |= numbered_changes(record.value for record in records)

    def _records(self, history: DecisionHistory) -> Iterator[ReadRecord]:
        for run in history.runs:
            for record in self._evidence.inputs.get(run.topic, ()):
                if run.first <= record.offset <= run.last:
                    yield record


class _Numbered(msgspec.Struct):
    sequence: int


class _Change(msgspec.Struct):
    type: str
    data: msgspec.Raw


_change = msgspec.json.Decoder(_Change)
_numbered = msgspec.json.Decoder(_Numbered)


def numbered_changes(values: Iterable[bytes | None]) -> dict[int, bytes]:
    """The state changes among records of ``order-state-changes``, by their sequence."""
    found: dict[int, bytes] = {}
    for value in values:
        try:
            event = _change.decode(value or b"")
            if event.type == "order.state_changed":
                found[_numbered.decode(event.data).sequence] = value or b""
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found


def _check_changes(made: Mapping[int, bytes], recorded: Mapping[int, bytes], *, whole: bool) -> None:
    """The changes made again must be those that were recorded; ``whole``: nothing else proves them, so each must be there.

    Raises:
        ThinHistory: They differ.
    """
    known = made.keys() & recorded.keys()
    if any(made[one] != recorded[one] for one in known) or (whole and (not made or known != made.keys())):
        raise ThinHistory(
            "decided again, the order does not make the changes that were recorded: "
            "records of it are gone, or another version decided then"
        )


def relevant(position: PositionRecord, order_id: str, offsets: Mapping[str, Sequence[int]]) -> bool:
    """Whether a transaction read one of the order's records, whose ``offsets`` are given by topic, or fired its deadlines."""
    history = position.history
    if history is None:
        return False
    if order_id in history.fired:
        return True
    return any(run.first <= offset <= run.last for run in history.runs for offset in offsets.get(run.topic, ()))


def as_document(snapshot: bytes) -> dict[str, Any]:
    """The public part of a snapshot: what ``orders show`` shows."""
    document: dict[str, Any] = msgspec.json.decode(snapshot)
    document.pop("internal", None)
    return document
