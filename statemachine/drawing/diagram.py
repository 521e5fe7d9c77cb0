"""Diagrams of the machines, made from their tables so that they cannot differ from them: the edges, and Mermaid.

A picture shows the moves from one state to another; ``diagram_svg.py`` draws the same edges. With the path that an object took,
its moves are numbered as its changes are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from statemachine.machines import ORDER
from statemachine.tables.rules import OPERATOR_TRIGGERS, Machine

#: Where a change of an order holds what has a machine of its own: member, and the name of its id.
_MEMBERS: Final = {"refund": ("refunds", "refund_id"), "return": ("returns", "return_id")}


class Taken(msgspec.Struct, frozen=True):
    """One move that was made: ``number`` is that of the order's change, ``cause`` the event's type."""

    number: int
    source: str
    target: str
    cause: str


class Edge(msgspec.Struct, frozen=True):
    """All moves from ``source`` to ``target``; ``taken`` are the numbers of those made. ``ruled`` False: no rule makes it.

    What only an operator does is an edge of its own, ``for_operators``, and drawn dotted.
    """

    source: str
    target: str
    triggers: tuple[str, ...]
    taken: tuple[int, ...] = ()
    ruled: bool = True
    for_operators: bool = False

    @property
    def label(self) -> str:
        """The triggers in short, behind the numbers of the moves that were made."""
        name, numbers = _short(self.triggers), ", ".join(map(str, self.taken))
        return f"({numbers}) {name}" if numbers else name


def edges_of(machine: Machine[Any], path: Sequence[Taken] = ()) -> list[Edge]:
    """The edges of a machine's picture, in the order of its table; then what ``path`` took beside it.

    One event may fire several triggers, so that a change can lead over a state in which the order never stood.
    """
    triggers: dict[tuple[str, str, bool], dict[str, None]] = {}
    for rule in machine.rules:
        for source in rule.sources:
            if rule.target is not None and rule.target != source:
                triggers.setdefault((source, rule.target, rule.for_operators), {})[rule.trigger] = None
    taken: dict[tuple[str, str, bool], dict[int, str]] = {}
    for move in path:
        ends = (move.source, move.target, move.cause.startswith(OPERATOR_TRIGGERS))
        # a redelivered record takes the edge of what is in it
        ends = ends if ends in triggers or (*ends[:2], False) not in triggers else (*ends[:2], False)
        taken.setdefault(ends, {})[move.number] = move.cause
    edges = [
        Edge(source, target, tuple(names), tuple(taken.get((source, target, by), ())), for_operators=by)
        for (source, target, by), names in triggers.items()
    ]
    for (source, target, by), numbers in taken.items():
        if (source, target, by) not in triggers:
            edges.append(Edge(source, target, tuple(dict.fromkeys(numbers.values())), tuple(numbers), ruled=False))
    return edges


def _short(triggers: Iterable[str]) -> str:
    """Triggers separated by commas, without a prefix that the one before has too."""
    shown, before = [], ""
    for trigger in triggers:
        name = trigger.removeprefix("digitalriver.")
        family, dot, rest = name.partition(".")
        shown.append(f".{rest}" if dot and family == before else name)
        before = family
    return ", ".join(shown)


def path_of(machine: Machine[Any], changes: Iterable[Mapping[str, Any]]) -> list[Taken]:
    """The moves that an order's changes (data of ``order.state_changed``, in their order) made in this machine.

    One picture shows all refunds, or all returns, of the order. A refund may appear in any state.
    """
    path: list[Taken] = []
    states: dict[str, str] = {}
    for change in changes:
        number, cause = change["sequence"], change["cause"]["type"]
        if machine.name not in _MEMBERS:
            if change["from"] != change["to"]:
                path.append(Taken(number, change["from"], change["to"], cause))
            continue
        member, name = _MEMBERS[machine.name]
        for one in change.get(member, ()):
            before = states.get(one[name], machine.initial)
            if one["state"] != before:
                path.append(Taken(number, before, one["state"], cause))
                states[one[name]] = one["state"]
    return path


def mermaid(machine: Machine[Any] = ORDER, path: Sequence[Taken] = ()) -> str:
    """A Mermaid ``stateDiagram-v2``, ended by a line feed; states and moves of ``path`` stand out."""
    edges = edges_of(machine, path)
    lines = ["stateDiagram-v2", f"    [*] --> {machine.initial}"]
    lines += [f"    {edge.source} --> {edge.target}: {edge.label}" for edge in edges]
    drawn = {state for edge in edges for state in (edge.source, edge.target)}
    lines += [f"    {state} --> [*]" for state in machine.states if state in machine.final and state in drawn]
    passed = dict.fromkeys(state for move in path for state in (move.source, move.target))
    if passed:
        lines.append("    classDef taken fill:#1f6feb,color:#ffffff,stroke:#1f6feb")
        lines += [f"    class {state} taken" for state in passed]
    return "\n".join(lines) + "\n"
