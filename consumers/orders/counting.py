"""What one batch of orders has decided, for the lane's measures, and how long an order has been in its state. Pure.

A batch is counted when its transaction has committed: one that is dropped leaves no trace, as in everything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from consumers.measures import LaneMeasures
from statemachine.messages.events import DEADLINE_TYPE
from statemachine.order.order import Order
from statemachine.order.policy import Policy
from statemachine.tables.rules import WAITS

#: What became of an event: decided, or handed to the partition of its key.
Verdict = Literal["moved", "parked", "repeated", "refused", "failed", "forwarded"]

#: ``type`` of a record without an event that this version knows.
UNREAD: Final = "unread"

#: The command that an order in one of these states waits for.
_ASKED: Final = {"checkout_pending": "create_checkout", "placing": "place_order"}


class _Deadline(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def due(self) -> datetime: ...


class _Command(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def first_asked(self) -> datetime: ...


def entered_at(
    state: str,
    policy: Policy,
    *,
    looked_since: datetime | None,
    deadlines: Iterable[_Deadline],
    commands: Iterable[_Command],
    parked: datetime | None,
    updated: datetime,
) -> datetime:
    """When an order entered its state, as far as the order tells; else when it last changed, which may be later.

    Args:
        state: The order's.
        policy: The waits of states: a deadline falls due so long after the order entered the state.
        looked_since: ``Look.since``, which is exactly this.
        deadlines: All of the order's.
        commands: The open ones.
        parked: When the first event that waits in the order arrived.
        updated: When the order last changed.
    """
    if looked_since is not None:
        return looked_since
    waits = WAITS.get(state)  # type: ignore[call-overload]  # a state of another version has no wait
    if waits is not None:
        wait: timedelta = getattr(policy, f"{state}_wait")
        return next((one.due - wait for one in deadlines if one.name == waits), updated)
    asked = _ASKED.get(state)
    if asked is not None:
        return min((one.first_asked for one in commands if one.name == asked), default=updated)
    return parked if state == "awaited" and parked is not None else updated


class BatchCounts:
    """What one batch has decided."""

    __slots__ = ("dwelt", "events", "transitions", "words")

    def __init__(self) -> None:
        #: Events, by type and verdict.
        self.events: Counter[tuple[str, str]] = Counter()
        #: States left and entered.
        self.transitions: Counter[tuple[str, str]] = Counter()
        #: States left, each with how long the order was in it, in seconds.
        self.dwelt: list[tuple[str, float]] = []
        #: What became of the records and deadlines, by word.
        self.words: Counter[str] = Counter()

    def fired(self, verdict: Verdict) -> None:
        """A deadline was decided."""
        self.events[DEADLINE_TYPE, verdict] += 1

    def moved(self, before: Order | None, after: Order, now: datetime, policy: Policy) -> None:
        """A decision has made ``after`` of ``before``."""
        if before is None:
            self.transitions["awaited", after.state] += after.state != "awaited"
            return
        state = before.state
        if state == after.state:
            return
        self.transitions[state, after.state] += 1
        since = entered_at(
            state,
            policy,
            looked_since=None if before.look is None else before.look.since,
            deadlines=before.deadlines,
            commands=before.commands,
            parked=before.parked[0].arrived if before.parked else None,
            updated=before.updated,
        )
        self.dwelt.append((state, max(0.0, (now - since).total_seconds())))

    def add_to(self, measures: LaneMeasures) -> None:
        """The batch has committed."""
        measures.count_events(self.events)
        measures.transitions.update(self.transitions)
        measures.words.update(self.words)
        for state, seconds in self.dwelt:
            measures.dwelt_in(state, seconds)
