"""The checker: proves that the tables are complete and consistent. Any problem that it finds fails the build."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec.structs import replace

from statemachine.machines import MACHINES, Defined
from statemachine.tables.rules import OPERATOR_MOVE, Machine, Rule, cells

_ORDER: Final = MACHINES["order"]


def check_all() -> list[str]:
    """All problems of all machines, each as one line that begins with the machine's name."""
    return [f"{name}: {problem}" for name, defined in MACHINES.items() for problem in check(defined=defined)]


def check(rules: Iterable[Rule[Any]] | None = None, *, defined: Defined = _ORDER) -> list[str]:
    """All problems of one machine, each as one line; empty when there is none. ``rules`` replace the machine's own."""
    if rules is not None:
        defined = replace(defined, machine=replace(defined.machine, rules=tuple(rules)))
    machine = defined.machine
    return [*_names(defined), *_matrix(machine), *_ways(machine), *_waits(machine)]


def _names(defined: Defined) -> Iterator[str]:
    """Every name in the table exists, and every name that exists is used."""
    machine, guards, effects = defined.machine, defined.guards, defined.effects
    for rule in machine.rules:
        yield from (f"{rule.trigger}: no guard is called {name}" for name in rule.when if name not in guards)
        yield from (f"{rule.trigger}: no effect is called {name}" for name in rule.do if name not in effects)
        if rule.trigger not in machine.triggers:
            yield f"{rule.trigger}: nothing fires this trigger"
        if rule.verdict == "refuse" and not rule.detail:
            yield f"{rule.trigger}: a refusal without a reason"
        if rule.verdict == "refuse" and not rule.code:
            yield f"{rule.trigger}: a refusal without a code"
        if rule.trigger == OPERATOR_MOVE and rule.verdict == "move" and not rule.detail:
            yield f"{rule.trigger}: an edge for operators to {rule.target} without a reason"
    yield from _codes(machine)
    used = {name for rule in machine.rules for name in (*rule.when, *rule.do)}
    yield from (f"{name}: no rule uses it" for name in (*guards, *effects) if name not in used)


def _codes(machine: Machine[Any]) -> Iterator[str]:
    """A code of a refusal stands for one reason only."""
    reasons: dict[str, str] = {}
    for rule in machine.rules:
        if rule.code and reasons.setdefault(rule.code, rule.detail) != rule.detail:
            yield f"{rule.trigger}: the code {rule.code} has other words elsewhere"


def _matrix(machine: Machine[Any]) -> Iterator[str]:
    """Every trigger has a rule in every state: the last rule of a cell, and only the last, has no guard."""
    table = cells(machine.rules)
    for trigger in machine.triggers:
        for state in machine.states:
            cell = table.get(trigger, {}).get(state, ())
            if not cell:
                yield f"{trigger} in {state}: no rule"
            elif cell[-1].when:
                yield f"{trigger} in {state}: no rule when no guard holds"
            if any(not rule.when for rule in cell[:-1]):
                yield f"{trigger} in {state}: a rule that is never tried"


def _ways(machine: Machine[Any]) -> Iterator[str]:
    """Every state can be reached, and can be left unless it is final or resting; a final one is never left."""
    ways: dict[str, set[str]] = {state: set() for state in machine.states}
    for rule in machine.rules:
        for source in rule.sources:
            if rule.for_operators and source not in machine.final:
                continue  # a person may move an order, but no state may need one
            if rule.target is not None and rule.target != source:
                ways[source].add(rule.target)
    reached: set[str] = set()
    frontier = [machine.initial]
    while frontier:
        state = frontier.pop()
        if state not in reached:
            reached.add(state)
            frontier.extend(ways[state])
    for state in machine.states:
        if state not in reached:
            yield f"{state}: is never reached"
        if state in machine.final and ways[state]:
            yield f"{state}: is final, but left"
        if state not in (*machine.final, *machine.resting) and not ways[state]:
            yield f"{state}: is never left"


def _waits(machine: Machine[Any]) -> Iterator[str]:
    """Every state that waits has a deadline, and firing it there does something."""
    moves = {(source, rule.trigger) for rule in machine.rules if rule.verdict == "move" for source in rule.sources}
    for state in machine.states:
        if state in (*machine.final, *machine.resting, *machine.passing):
            continue
        trigger = machine.waits.get(state)
        if trigger is None:
            yield f"{state}: waits without a deadline"
        elif (state, trigger) not in moves:
            yield f"{state}: its deadline {trigger} does nothing"
