"""A history replayed through the pure core: no Kafka, no Digital River. What ``orderflow decide`` prints."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from statemachine.decide import decide as decide_event
from statemachine.errors import DecodeError, InvariantBroken
from statemachine.messages.commands import CommandBase, name_of
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Record
from statemachine.messages.events import Event
from statemachine.messages.ids import OrderId
from statemachine.order.amounts import AmountsText, amounts_text
from statemachine.order.decision import Decision, Moved, Parked, Refused, Repeated, SetAside, StateChange
from statemachine.order.order import Order
from statemachine.waits.deadlines import deadline_event

_data = msgspec.json.Decoder(dict[str, Any])
_START = datetime(1970, 1, 1, tzinfo=UTC)
#: A later time is treated as unknown, because deadlines after it would not be valid dates.
_END = datetime(9000, 1, 1, tzinfo=UTC)


class OrderWait(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an order waits for: the ``answer`` to a command, a ``deadline``, or an event that is ``parked``.

    ``until`` is when the wait ends without an answer; ``since`` when the event arrived.
    """

    what: str
    name: str
    until: datetime | None = None
    since: datetime | None = None


class ReplayStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one event. ``line`` is the history's, from 1; a deadline has that of the event that came after it.

    ``payment``, ``amounts`` and ``attention`` are the order's after the step; ``waits`` is what it waits for once all that its
    line led to is done.
    """

    line: int
    order_id: str
    event: str
    verdict: str
    state_before: str | None = None
    state: str | None = None
    reason: str | None = None
    changed: tuple[str, ...] = ()
    commands: tuple[dict[str, Any], ...] = ()
    payment: str | None = None
    amounts: AmountsText | None = None
    #: Always there once the order is known, empty or not.
    attention: tuple[str, ...] | None = None
    waits: tuple[OrderWait, ...] | None = None


class HistoryReplay:
    """Replays a history. The time of an order is that of its events; its deadlines fire when they are due."""

    def __init__(self) -> None:
        self.orders: dict[OrderId, Order] = {}
        self._now: dict[OrderId, datetime] = {}

    def replay(self, number: int, record: Record) -> Iterator[ReplayStep]:
        """What becomes of the record in line ``number``, after the deadlines that fell due before it."""
        try:
            event = decode(record)
        except DecodeError as error:
            key = (record.key or b"").decode(errors="replace")
            yield ReplayStep(number, key, "", f"dead letter {error.reason}", reason=error.detail)
            return
        order_id = event.order_id
        given = _START if event.time is None or event.time > _END else event.time
        now = max(given, self._now.get(order_id, _START))  # an order's time never goes back
        yield from self._deadlines(number, order_id, now)
        self._now[order_id] = now
        yield from self._decide(number, event, now)

    def _deadlines(self, number: int, order_id: OrderId, now: datetime) -> Iterator[ReplayStep]:
        while (order := self.orders.get(order_id)) is not None:
            due = [] if order.held else [deadline for deadline in order.deadlines if deadline.due <= now]
            if not due:
                return
            first = min(due, key=lambda deadline: deadline.due)
            self._now[order_id] = first.due
            yield from self._decide(number, deadline_event(order, first), first.due)
            if self.orders[order_id] == order:  # the deadline changed nothing and would fire forever
                return

    def _decide(self, number: int, event: Event, now: datetime) -> Iterator[ReplayStep]:
        before = self.orders.get(event.order_id)
        for step in self._steps(number, event, before, now):
            after = self.orders.get(event.order_id)
            yield step if after is None else _with_waits(step, after)

    def _steps(self, number: int, event: Event, before: Order | None, now: datetime) -> Iterator[ReplayStep]:
        order_id, state = event.order_id, None if before is None else before.state
        try:
            decision: Decision = decide_event(before, event, now=now)
        except InvariantBroken as error:
            yield ReplayStep(number, order_id, event.type, "dead letter failed", state, state, str(error))
            return
        if not isinstance(decision, Repeated) and decision.order is not None:
            self.orders[order_id] = decision.order
        match decision:
            case Repeated():
                yield ReplayStep(number, order_id, event.type, "same fact", state, state)
            case Parked(order=order):
                yield ReplayStep(number, order_id, event.type, "parked", state, order.state)
            case Refused(detail=detail):
                yield ReplayStep(number, order_id, event.type, "refused", state, state, detail)
            case Moved():
                yield from _moves(number, order_id, decision, event.type, state)


def _with_waits(step: ReplayStep, order: Order) -> ReplayStep:
    """The step with the order's waits after it, and its money and attention unless a change has them."""
    waits = (
        *(OrderWait("answer", command.name, until=command.due) for command in order.commands),
        *(OrderWait("deadline", deadline.name, until=deadline.due) for deadline in order.deadlines),
        *(OrderWait("parked", entry.type, since=entry.arrived) for entry in (*order.parked, *order.queue)),
    )
    if step.payment is not None:
        return msgspec.structs.replace(step, waits=waits)
    amounts = amounts_text(order.amounts)
    return msgspec.structs.replace(step, payment=order.payment, amounts=amounts, attention=order.attention, waits=waits)


def _moves(number: int, order_id: OrderId, moved: Moved, event_type: str, state: str | None) -> Iterator[ReplayStep]:
    """A step for each change: the event's own, then those of parked events that it woke. An event without news has one, too."""
    steps: list[dict[str, Any]] = []
    if not moved.effects or not isinstance(moved.effects[0], StateChange | SetAside):
        steps.append({"quiet": event_type, "commands": []})
    for effect in moved.effects:
        if isinstance(effect, StateChange):
            steps.append({"change": _data.decode(effect.data), "commands": []})
        elif isinstance(effect, SetAside):
            steps.append({"aside": effect, "commands": []})
        elif isinstance(effect, CommandBase) and steps:
            steps[-1]["commands"].append({"command": name_of(effect), "command_id": effect.command_id})
    for step in steps:
        aside, change = step.get("aside"), step.get("change")
        if "quiet" in step:
            yield ReplayStep(number, order_id, event_type, "noted", state, state, commands=tuple(step["commands"]))
        elif aside is not None:
            yield ReplayStep(number, order_id, aside.cause.type, f"dead letter {aside.reason}", reason=aside.detail)
        elif change is not None:
            problem = change.get("problem") or {}
            yield ReplayStep(
                number,
                order_id,
                change["cause"]["type"],
                "moved" if change["from"] != change["to"] else "noted",
                change["from"],
                change["to"],
                problem.get("message") or problem.get("code"),
                tuple(change["changed"]),
                tuple(step["commands"]),
                change["payment"],
                msgspec.convert(change["amounts"], AmountsText),
                tuple(change["attention"]),
            )
