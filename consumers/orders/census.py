"""Counts of what the orders of a partition wait for, from their snapshots. Pure: it reads bytes and is told the time.

A snapshot is read as far as it is counted: an order of another version is counted as far as its fields have the names of today.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Final, get_args

import msgspec

from consumers.measures import OTHER
from consumers.orders.counting import entered_at
from statemachine.order.order import CommandStep, DeadlineName, State
from statemachine.order.policy import Policy
from statemachine.order.states import FINAL, RESTING
from statemachine.waits.looking import LOOK

#: A deadline that should have fired so long ago is overdue: before that it may wait for the backlog to be read.
OVERDUE: Final = timedelta(minutes=1)

#: States in which something has to follow.
WAITING: Final = frozenset(state for state in get_args(State) if state not in FINAL and state not in RESTING)
_STATES: Final = frozenset(get_args(State))
_DEADLINES: Final = frozenset(get_args(DeadlineName))
_STEPS: Final = frozenset(get_args(CommandStep))


class _Deadline(msgspec.Struct):
    name: str
    due: datetime


class _Command(msgspec.Struct):
    name: str
    first_asked: datetime
    step: str = "answer"


class _Look(msgspec.Struct, array_like=True):
    since: datetime
    due: datetime


class _Internal(msgspec.Struct):
    commands: tuple[_Command, ...] = ()
    look: _Look | None = None


class _Parked(msgspec.Struct):
    since: datetime


class _Order(msgspec.Struct):
    state: str
    updated: datetime
    deadlines: tuple[_Deadline, ...] = ()
    parked: tuple[_Parked, ...] = ()
    attention: tuple[str, ...] = ()
    held: dict[str, str] | None = None
    internal: _Internal = msgspec.field(default_factory=_Internal)


_decoder = msgspec.json.Decoder(_Order)


class Census:
    """What was counted in one pass over a partition."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        #: When the order entered the state that has been in it longest, of waiting states.
        self.oldest: dict[str, datetime] = {}
        self.attention = 0
        self.held = 0
        self.parked = 0
        self.deadlines: Counter[str] = Counter()
        self.overdue: Counter[str] = Counter()
        self.steps: Counter[str] = Counter()

    def take(self, snapshot: bytes, policy: Policy, now: datetime) -> None:
        """Count one order; one that cannot be read is not counted, it stops its partition elsewhere."""
        try:
            order = _decoder.decode(snapshot)
        except msgspec.DecodeError:
            return
        state = order.state if order.state in _STATES else OTHER
        self.states[state] += 1
        self.attention += bool(order.attention)
        held = order.held is not None
        self.held += held
        self.parked += len(order.parked)
        for command in order.internal.commands:
            self.steps[command.step if command.step in _STEPS else OTHER] += 1
        self._count_deadlines(order, now, held=held)
        if state in WAITING:
            self._grow_old(order, policy)

    def _count_deadlines(self, order: _Order, now: datetime, *, held: bool) -> None:
        look = order.internal.look
        dues = [(one.name, one.due) for one in order.deadlines]
        for name, due in dues if look is None else [*dues, (LOOK, look.due)]:
            known = name if name in _DEADLINES else OTHER
            self.deadlines[known] += 1
            self.overdue[known] += not held and name != LOOK and due < now - OVERDUE

    def _grow_old(self, order: _Order, policy: Policy) -> None:
        look, parked = order.internal.look, order.parked
        since = entered_at(
            order.state,
            policy,
            looked_since=None if look is None else look.since,
            deadlines=order.deadlines,
            commands=order.internal.commands,
            parked=parked[0].since if parked else None,
            updated=order.updated,
        )
        oldest = self.oldest.get(order.state)
        if oldest is None or since < oldest:
            self.oldest[order.state] = since
