"""A history played through the pure core: no Kafka, no Digital River. What ``orderflow decide`` prints."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from statemachine.commands import CommandBase, name_of
from statemachine.deadlines import deadline_event
from statemachine.decide import decide as decide_event
from statemachine.decision import Decision, Moved, Parked, Refused, Repeated, SetAside, StateChange
from statemachine.decoding import decode
from statemachine.envelope import Record
from statemachine.errors import DecodeError, InvariantBroken
from statemachine.events import Event
from statemachine.order import Order

_data = msgspec.json.Decoder(dict[str, Any])
_START = datetime(1970, 1, 1, tzinfo=UTC)
#: A time beyond it is no time to wait from: a deadline must still be a date.
_END = datetime(9000, 1, 1, tzinfo=UTC)


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one event. ``line`` is the history's, from 1; a deadline has that of the event that came after it."""

    line: int
    order_id: str
    event: str
    verdict: str
    state_before: str | None = None
    state: str | None = None
    reason: str | None = None
    changed: tuple[str, ...] = ()
    commands: tuple[dict[str, Any], ...] = ()
    attention: tuple[str, ...] = ()


class Player:
    """Plays a history: each order by itself, its time that of its events, its deadlines fired when they fall due."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self._now: dict[str, datetime] = {}

    def play(self, number: int, record: Record) -> Iterator[Step]:
        """What becomes of the record in line ``number``, after the deadlines that fell due before it."""
        try:
            event = decode(record)
        except DecodeError as error:
            key = (record.key or b"").decode(errors="replace")
            yield Step(number, key, "", f"dead letter {error.reason}", reason=error.detail)
            return
        order_id = event.order_id
        told = _START if event.time is None or event.time > _END else event.time
        now = max(told, self._now.get(order_id, _START))  # an order's time never goes back
        yield from self._deadlines(number, order_id, now)
        self._now[order_id] = now
        yield from self._decide(number, event, now)

    def _deadlines(self, number: int, order_id: str, now: datetime) -> Iterator[Step]:
        while (order := self.orders.get(order_id)) is not None:
            due = [deadline for deadline in order.deadlines if deadline.due <= now]
            if not due:
                return
            first = min(due, key=lambda deadline: deadline.due)
            self._now[order_id] = first.due
            yield from self._decide(number, deadline_event(order, first), first.due)
            if self.orders[order_id] == order:  # it could say nothing new, and must not be asked for ever
                return

    def _decide(self, number: int, event: Event, now: datetime) -> Iterator[Step]:
        before = self.orders.get(event.order_id)
        state = None if before is None else before.state
        try:
            decision: Decision = decide_event(before, event, now=now)
        except InvariantBroken as error:
            yield Step(number, event.order_id, event.type, "dead letter failed", state, state, str(error))
            return
        match decision:
            case Repeated():
                yield Step(number, event.order_id, event.type, "same fact", state, state)
            case Parked(order=order):
                self.orders[event.order_id] = order
                yield Step(number, event.order_id, event.type, "parked", state, order.state)
            case Refused(order=refused, detail=detail):
                if refused is not None:
                    self.orders[event.order_id] = refused
                attention = refused.attention if refused is not None else ()
                yield Step(number, event.order_id, event.type, "refused", state, state, detail, attention=attention)
            case Moved(order=order):
                self.orders[event.order_id] = order
                yield from _moves(number, event.order_id, decision)


def _moves(number: int, order_id: str, moved: Moved) -> Iterator[Step]:
    """A step for each change: the event's own, then those of parked events that it woke."""
    steps: list[dict[str, Any]] = []
    for effect in moved.effects:
        if isinstance(effect, StateChange):
            steps.append({"change": _data.decode(effect.data), "commands": []})
        elif isinstance(effect, SetAside):
            steps.append({"aside": effect, "commands": []})
        elif isinstance(effect, CommandBase) and steps:
            steps[-1]["commands"].append({"command": name_of(effect), "command_id": effect.command_id})
    for step in steps:
        aside, change = step.get("aside"), step.get("change")
        if aside is not None:
            yield Step(number, order_id, aside.cause.type, f"dead letter {aside.reason}", reason=aside.detail)
        elif change is not None:
            problem = change.get("problem") or {}
            yield Step(
                number,
                order_id,
                change["cause"]["type"],
                "moved" if change["from"] != change["to"] else "noted",
                change["from"],
                change["to"],
                problem.get("message") or problem.get("code"),
                tuple(change["changed"]),
                tuple(step["commands"]),
                tuple(change["attention"]),
            )
