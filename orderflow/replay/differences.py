"""What is told of an order's first difference: what was recorded, what the replay makes of it, and the event that was decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from aiokafka import ConsumerRecord

from orderflow.replay.comparing import Found, Outputs, Written, data_of, detail_of, refusal_of, sequence_of
from orderflow.replay.findings import Difference, Task
from orderflow.replay.lane import ReplayedLane, ReplayedTransaction, order_in
from producers.topics import Topic, prefixed
from statemachine.errors import DecodeError
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Cause, Record
from statemachine.messages.identity import name_id


async def difference_of(
    found: Found,
    told: Outputs,
    group: Sequence[ReplayedTransaction],
    before: bytes | None,
    *,
    task: Task,
    lane: ReplayedLane,
) -> Difference:
    """The difference as it is reported.

    Args:
        found: The difference in bytes.
        told: All that was recorded of the order.
        group: The replayed transactions that differ.
        before: The order's snapshot before them.
        task: The partition.
        lane: Decides the order's records one by one where it is not clear which of them made the difference.
    """
    name = found.key.decode(errors="replace")
    sides = (found.recorded, found.replayed)
    sequence = sequence_in(before)
    event: dict[str, Any] | None
    shown: list[Any]
    if found.kind == "refusal":
        shown = [None if one is None else {**refusal_of(one), "detail": detail_of(one)} for one in sides]
        event = next((_event_in(one) for one in sides if one is not None), None)
    else:
        shown = [None if one is None else data_of(one.value) for one in sides]
        if found.kind == "change":
            sequence = next((one["sequence"] for one in shown if one is not None), sequence)
            event = next((one["cause"] for one in shown if one is not None), None)
        else:
            sequence = sequence_of(told.changes[-1].value) if told.changes else sequence
            event = _event_that_asked(found, name, group, before, task.prefix)
            event = event or await _event_of_command(name, told, group, before, task=task, lane=lane)
    return Difference(name, sequence, found.kind, shown[0], shown[1], event, group[0].batch.now, task.partition)


def _event_that_asked(
    found: Found, name: str, group: Sequence[ReplayedTransaction], before: bytes | None, prefix: str
) -> dict[str, Any] | None:
    """The event whose decision asked the command: the command's id is made from it. None for one that is asked again.

    It came in with the transactions, or was parked in the order ``before`` them.
    """
    written = found.recorded or found.replayed
    command = None if written is None else data_of(written.value)
    asked_by = "" if command is None else str(command.get("command_id")).rpartition(".")[0]
    records = [one for transaction in group for one in transaction.batch.records if one.key == found.key]
    order = None if before is None else order_in(before)
    parked = () if order is None else (*order.parked, *order.queue)
    events = [_event_of(one, name, prefix) for one in records] + [_cause(one.record) for one in parked]
    return next((one for one in events if name_id(name, one["source"], one["id"]) == asked_by), None)


async def _event_of_command(
    name: str,
    told: Outputs,
    group: Sequence[ReplayedTransaction],
    before: bytes | None,
    *,
    task: Task,
    lane: ReplayedLane,
) -> dict[str, Any] | None:
    """The event after which the commands are no longer the recorded ones: the order's records are decided one by one."""
    key, written = name.encode(), [one.value for one in told.commands]
    so_far: list[bytes | None] = []
    topic = (prefixed(task.prefix, Topic.DR_COMMANDS), task.partition)
    last: dict[str, Any] | None = None
    for record, outbox in await lane.one_by_one(name, before, [one.batch for one in group]):
        last = _event_of(record, name, task.prefix)
        so_far += [one.value for one in outbox.batches.get(topic, ()) if one.key == key]
        if so_far != written[: len(so_far)]:
            return last
    return last


def _event_of(record: ConsumerRecord | None, name: str, prefix: str) -> dict[str, Any]:
    if record is None:
        return {"type": "deadline", "id": name, "source": "orderflow/deadline"}
    topic, headers = record.topic.removeprefix(prefix), tuple(record.headers)
    return _cause(Record(topic, record.partition, record.offset, record.key, record.value, headers))


def _event_in(letter: Written) -> dict[str, Any]:
    """The event of a dead letter, by the place where its record first came in."""
    place = refusal_of(letter)
    return _cause(
        Record(place["topic"], int(place["partition"]), int(place["offset"]), letter.key, letter.value, letter.headers)
    )


def _cause(record: Record) -> dict[str, Any]:
    try:
        cause = decode(record).cause
    except DecodeError:
        cause = Cause("", "", "", record.topic, record.partition, record.offset)
    told: dict[str, Any] = msgspec.to_builtins(cause)
    return told


class _Sequenced(msgspec.Struct):
    sequence: int = 0


_sequenced = msgspec.json.Decoder(_Sequenced)


def sequence_in(snapshot: bytes | None) -> int | None:
    """The sequence of the order in a snapshot."""
    return None if snapshot is None else _sequenced.decode(snapshot).sequence
