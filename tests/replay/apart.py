"""Which orders of a history a changed table touches, worked out without the replay: ``decide`` per order, with both tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiokafka import ConsumerRecord

from consumers.ownership.positions import decode_position
from producers.partitioner import partition_of
from producers.topics import ORDER_INPUTS, Topic
from statemachine.decide import decide
from statemachine.errors import DecodeError
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Record
from statemachine.order.decision import IndexEntry, Moved, Parked, Refused, Repeated, SetAside
from statemachine.order.order import Order
from statemachine.order.policy import Policy
from statemachine.waits.deadlines import deadline_event
from statemachine.waits.expiring import has_nothing_to_keep
from tests.orders.lane import PARTITIONS, read

#: A deadline that is due again and again fires no more often than in the lane.
_FIRINGS_MAX = 20

#: What happens to one order: a record, or the firing of its deadlines, each with the time of its decision.
Happening = tuple[Any, Any, Any]


async def happenings(bootstrap: str, prefix: str) -> dict[str, list[Happening]]:
    """What the lane decided of each order, in its order: (``now``, the record or None, until when deadlines fired or None)."""
    found = await read(bootstrap, prefix, *ORDER_INPUTS, Topic.POSITIONS)
    records: dict[tuple[str, int], list[ConsumerRecord]] = {}
    for topic in ORDER_INPUTS:
        for record in found[topic]:
            records.setdefault((topic.value, record.partition), []).append(record)
    told: dict[str, list[Happening]] = {}
    for position in found[Topic.POSITIONS]:
        history = decode_position(position.value, "", 0).history
        assert history is not None
        number = position.partition
        for run in history.runs:
            for record in records[run.topic, number]:
                if run.first <= record.offset <= run.last and record.key is not None:
                    made = Record(run.topic, number, record.offset, record.key, record.value, tuple(record.headers))
                    name = record.key.decode()
                    told.setdefault(name, []).append((history.decided_at, made, None))
        if history.fire_until is not None:
            for name, events in told.items():
                if partition_of(name.encode(), PARTITIONS) == number:
                    events.append((history.decided_at, None, history.fire_until))
    return told


def traces(told: Mapping[str, list[Happening]], policy: Policy) -> dict[str, list[list[Any]]]:
    """What the table at hand writes for each order, one list for each thing that happens to it."""
    found: dict[str, list[list[Any]]] = {}
    for name, events in told.items():
        order: Order | None = None
        trace = found.setdefault(name, [])
        for now, record, until in events:
            order, written = _step(order, record, now, until, policy)
            trace.append(written)
    return found


def _step(order: Order | None, record: Any, now: Any, until: Any, policy: Policy) -> tuple[Order | None, list[Any]]:
    written: list[Any] = []
    try:
        if record is not None:
            order = _take(order, decode(record), now, policy, written)
        else:
            for _ in range(_FIRINGS_MAX):
                due = [] if order is None else [one for one in order.deadlines if one.due <= until]
                if order is None or not due:
                    break
                before = order
                order = _take(order, deadline_event(order, min(due, key=lambda one: one.due)), now, policy, written)
                if order == before:  # the lane would drop it, which the sound tables never make it do
                    written.append("moved nothing")
                    break
    except DecodeError as error:
        written.append((error.reason, record.offset))
    except Exception as error:  # noqa: BLE001  # a mutant breaks assumptions
        written.append(type(error))
    return None if order is not None and has_nothing_to_keep(order) else order, written


def _take(order: Order | None, event: Any, now: Any, policy: Policy, written: list[Any]) -> Order | None:
    decision = decide(order, event, now=now, policy=policy)
    match decision:
        case Repeated():
            return order
        case Parked():
            return decision.order
        case Moved():
            written += _effects(decision.effects)
            return decision.order
        case Refused():
            written += [(decision.reason, event.cause), *_effects(decision.effects)]
            return decision.order or order


def _effects(effects: Any) -> list[Any]:
    found: list[Any] = []
    for one in effects:
        if isinstance(one, SetAside):
            found.append((one.reason, one.cause))
        elif not isinstance(one, IndexEntry):
            found.append(msgspec.json.encode(one))
    return found
