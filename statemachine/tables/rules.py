"""The vocabulary of the tables: rules, the four verdicts, deadlines of states, and ranks of Digital River's states.

A cell is all rules of one trigger for one state, tried in the order of their file; the first whose guards hold decides.
The last rule of a cell has no guard, so every cell has an answer. The rules themselves are in ``life_cycle.py``,
``refunds.py`` and ``returns.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, Literal, TypeVar

import msgspec

from statemachine.order.order import DeadlineName, State
from statemachine.order.states import ALL

Verdict = Literal["move", "park", "refuse", "same"]


#: The names of one machine's states.
StateName = TypeVar("StateName", bound=str)


#: How the triggers of an operator's acts begin.
OPERATOR_TRIGGERS: Final = "operator."
#: The trigger of the edges that an operator may choose.
OPERATOR_MOVE: Final = "operator.moved"


class Rule(msgspec.Struct, Generic[StateName], frozen=True):
    """One rule of a table. ``target`` None: the state does not change.

    ``detail`` tells a person why an event is refused, and of an edge for operators why it leaves money and units sound. ``code``
    tells a program: the stable name of the refusal (``refusals.py``).
    """

    trigger: str
    sources: tuple[StateName, ...]
    verdict: Verdict
    target: StateName | None = None
    when: tuple[str, ...] = ()
    do: tuple[str, ...] = ()
    detail: str = ""
    #: The refusal also raises attention: goods may have left.
    attention: bool = False
    code: str = ""

    @property
    def for_operators(self) -> bool:
        """Only an operator's event makes this move."""
        return self.trigger.startswith(OPERATOR_TRIGGERS)


#: The deadline of each waiting state; its length is the policy's ``<state>_wait``.
WAITS: Final[dict[State, DeadlineName]] = {
    "checkout_open": "abandon",
    "checkout_ready": "abandon",
    "checkout_rejected": "abandon",
    "declined": "abandon",
    "in_review": "overdue",
    "pending_payment": "overdue",
    "submitted": "overdue",
    "fulfilled": "overdue",
    "disputed": "overdue",
}

#: States that wait for something else with a deadline of its own: parked events, or an open command.
OTHER_WAITS: Final[dict[State, DeadlineName]] = {
    "awaited": "expire",
    "checkout_pending": "inquire",
    "placing": "inquire",
}

#: States of an order at Digital River (API version 2021-12-13) and how far along they are; a lower one is an older fact.
REMOTE_RANKS: Final[dict[str, int]] = {
    "pending_payment": 1,
    "in_review": 2,
    "accepted": 3,
    "fulfilled": 4,
    "complete": 5,
    "returned": 6,
    "cancelled": 7,
    "blocked": 7,
}


#: The state that Digital River's order must have reached when ours is in this one, whichever report said so.
IMPLIED: Final[dict[str, str]] = {
    "submitted": "accepted",
    "fulfilled": "fulfilled",
    "complete": "complete",
    "returned": "returned",
    "cancelled": "cancelled",
    "declined": "cancelled",
}

#: States of an order at Digital River in which nothing more is shipped.
CLOSED_THERE: Final = ("fulfilled", "complete", "returned")


class Verdicts(Generic[StateName]):
    """Makes rules of a table whose states are ``StateName``. Names in ``when`` and ``do`` are separated by spaces."""

    @staticmethod
    def move(
        trigger: str, sources: tuple[StateName, ...], target: StateName | None, *, when: str = "", do: str = ""
    ) -> Rule[StateName]:
        """The state becomes ``target`` (None: it stays), and the effects in ``do`` run."""
        return Rule(trigger, sources, "move", target, tuple(when.split()), tuple(do.split()))

    @staticmethod
    def park(trigger: str, sources: tuple[StateName, ...], *, when: str = "") -> Rule[StateName]:
        """The event is valid but too early: the order keeps it."""
        return Rule(trigger, sources, "park", when=tuple(when.split()))

    @staticmethod
    def same(trigger: str, sources: tuple[StateName, ...], *, when: str = "") -> Rule[StateName]:
        """Nothing new: the event changes nothing."""
        return Rule(trigger, sources, "same", when=tuple(when.split()))

    @staticmethod
    def refuse(
        trigger: str,
        sources: tuple[StateName, ...],
        detail: str,
        *,
        code: str,
        when: str = "",
        attention: bool = False,
    ) -> Rule[StateName]:
        """The event is refused with ``detail`` and ``code``; ``attention`` also calls a person."""
        return Rule(trigger, sources, "refuse", when=tuple(when.split()), detail=detail, attention=attention, code=code)

    @staticmethod
    def edge(
        sources: tuple[StateName, ...], target: StateName, *, why: str, when: str = "", do: str = ""
    ) -> Rule[StateName]:
        """An operator may move the order to ``target``; ``why`` that leaves money and units sound."""
        guards = (f"is_to_{target}", *when.split())
        return Rule(OPERATOR_MOVE, sources, "move", target, guards, tuple(do.split()), why)


move = Verdicts[State].move
park = Verdicts[State].park
same = Verdicts[State].same
refuse = Verdicts[State].refuse
edge = Verdicts[State].edge


def others(*taken: State) -> tuple[State, ...]:
    """All states but those in ``taken``."""
    return tuple(state for state in ALL if state not in taken)


def cells(rules: Iterable[Rule[StateName]]) -> dict[str, dict[StateName, tuple[Rule[StateName], ...]]]:
    """The table by trigger and state: the rules of each cell in the order in which they are tried."""
    found: dict[str, dict[StateName, list[Rule[StateName]]]] = {}
    for rule in rules:
        by_state = found.setdefault(rule.trigger, {})
        for source in rule.sources:
            by_state.setdefault(source, []).append(rule)
    return {trigger: {state: tuple(row) for state, row in by_state.items()} for trigger, by_state in found.items()}


class Machine(msgspec.Struct, Generic[StateName], frozen=True):
    """One machine as data: ``machine.py`` runs it, ``checker.py`` proves it and ``diagram.py`` draws it.

    A ``final`` state is never left; in a ``resting`` one nothing has to follow. ``waits`` has the deadline of every other state.
    ``passing`` states are never stored: an object starts in one, or is dropped when it enters it.
    """

    name: str
    states: tuple[StateName, ...]
    initial: StateName
    final: tuple[StateName, ...]
    resting: tuple[StateName, ...]
    passing: tuple[StateName, ...]
    triggers: tuple[str, ...]
    rules: tuple[Rule[StateName], ...]
    waits: dict[StateName, str]
