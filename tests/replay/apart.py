"""Which orders of a history a changed table touches, worked out without the replay: ``decide`` per order, with both tables."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
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


@dataclass
class Firings:
    """When deadlines of a partition fired: the place of each in what happened there, its ``now``, and until when it fired."""

    places: list[int] = field(default_factory=list)
    nows: list[datetime] = field(default_factory=list)
    untils: list[datetime] = field(default_factory=list)


@dataclass
class Told:
    """What the lane decided: of each order its records, by place and ``now``; of each partition the firings."""

    records: dict[str, list[tuple[int, datetime, Record]]] = field(default_factory=dict)
    firings: dict[int, Firings] = field(default_factory=dict)


async def happenings(bootstrap: str, prefix: str) -> Told:
    """What the lane decided, in its order."""
    found = await read(bootstrap, prefix, *ORDER_INPUTS, Topic.POSITIONS)
    records: dict[tuple[str, int], list[ConsumerRecord]] = {}
    for topic in ORDER_INPUTS:
        for record in found[topic]:
            records.setdefault((topic.value, record.partition), []).append(record)
    told, place = Told(firings={number: Firings() for number in range(PARTITIONS)}), 0
    for position in found[Topic.POSITIONS]:
        history = decode_position(position.value, "", 0).history
        assert history is not None
        number = position.partition
        for run in history.runs:
            there = records[run.topic, number]
            first = bisect_left(there, run.first, key=lambda one: one.offset)
            for record in there[first:]:
                if record.offset > run.last:
                    break
                if record.key is not None:
                    place += 1
                    made = Record(run.topic, number, record.offset, record.key, record.value, tuple(record.headers))
                    told.records.setdefault(record.key.decode(), []).append((place, history.decided_at, made))
        if history.fire_until is not None:
            place += 1
            firings = told.firings[number]
            assert not firings.untils or firings.untils[-1] <= history.fire_until, "time goes on"
            firings.places.append(place)
            firings.nows.append(history.decided_at)
            firings.untils.append(history.fire_until)
    return told


#: What was written at each place where something happened to an order.
Trace = list[tuple[int, list[Any]]]


def traces(told: Told, policy: Policy) -> dict[str, Trace]:
    """What the table at hand writes for each order."""
    return {
        name: _trace(records, told.firings[partition_of(name.encode(), PARTITIONS)], policy)
        for name, records in told.records.items()
    }


def _trace(records: Sequence[tuple[int, datetime, Record]], firings: Firings, policy: Policy) -> Trace:
    order: Order | None = None
    found: Trace = []
    at = 0
    for place, now, record in (*records, (sys.maxsize, None, None)):
        while order is not None and order.deadlines:  # only a firing that reaches one of them does something
            due = bisect_left(firings.untils, min(one.due for one in order.deadlines), at)
            if due == len(firings.places) or firings.places[due] > place:
                break
            order, written = _step(order, None, firings.nows[due], firings.untils[due], policy)
            found.append((firings.places[due], written))
            at = due + 1
        if record is None:
            break
        at = max(at, bisect_left(firings.places, place))
        order, written = _step(order, record, now, None, policy)
        found.append((place, written))
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
