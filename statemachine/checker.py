"""The checker: proves of the table what a reader cannot see at a glance. An empty list of problems, or the build fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, get_args

from statemachine.effects import EFFECTS
from statemachine.events import ORDER_EVENT_TYPES
from statemachine.facts import OUTCOME_TYPES
from statemachine.guards import GUARDS
from statemachine.order import DeadlineName, State
from statemachine.rules import ALL, FINAL, OTHER_WAITS, REMOTE_RANKS, WAITS, Rule, cells
from statemachine.table import RULES

FACT_KINDS: Final = ("order", "charge", "fulfillment", "document", "note", "chargeback")

#: Every trigger that ``decide`` can fire.
TRIGGERS: Final[tuple[str, ...]] = (
    *ORDER_EVENT_TYPES,
    *dict.fromkeys(name for by_result in OUTCOME_TYPES.values() for name in by_result.values()),
    "digitalriver.order_declined",
    "command.unknown",
    "command.absent",
    *(f"fact.{kind}" for kind in FACT_KINDS),
    *(f"remote.{state}" for state in REMOTE_RANKS),
    "remote.other",
    *(f"deadline.{name}" for name in get_args(DeadlineName)),
    "settle",
)

#: States that an order rests in: nothing has to follow, though a return or a dispute may.
RESTING: Final[tuple[State, ...]] = ("complete", "returned")

#: States that only returns and disputes lead to. This version names them, but no rule leads there yet.
CLOSED: Final[tuple[State, ...]] = ("returned", "disputed")


def check(rules: Iterable[Rule] = RULES) -> list[str]:
    """All problems of the table, each as one line; empty when it is sound."""
    rules = tuple(rules)
    return [*_names(rules), *_matrix(rules), *_ways(rules), *_waits(rules)]


def _names(rules: tuple[Rule, ...]) -> Iterator[str]:
    """Every name in the table exists, and every name that exists is used."""
    for rule in rules:
        yield from (f"{rule.trigger}: no guard is called {name}" for name in rule.when if name not in GUARDS)
        yield from (f"{rule.trigger}: no effect is called {name}" for name in rule.do if name not in EFFECTS)
        if rule.trigger not in TRIGGERS:
            yield f"{rule.trigger}: nothing fires this trigger"
        if rule.verdict == "refuse" and not rule.detail:
            yield f"{rule.trigger}: a refusal without a reason"
    used = {name for rule in rules for name in (*rule.when, *rule.do)}
    yield from (f"{name}: no rule uses it" for name in (*GUARDS, *EFFECTS) if name not in used)


def _matrix(rules: tuple[Rule, ...]) -> Iterator[str]:
    """Every trigger has an answer in every state: the last rule of a cell has no guard, and none stands behind it."""
    table = cells(rules)
    for trigger in TRIGGERS:
        for state in ALL:
            cell = table.get(trigger, {}).get(state, ())
            if not cell:
                yield f"{trigger} in {state}: no rule"
            elif cell[-1].when:
                yield f"{trigger} in {state}: no rule when no guard holds"
            if any(not rule.when for rule in cell[:-1]):
                yield f"{trigger} in {state}: a rule that is never tried"


def _ways(rules: tuple[Rule, ...]) -> Iterator[str]:
    """Every state is reached; every state is left, or final and never left."""
    ways: dict[State, set[State]] = {state: set() for state in ALL}
    for rule in rules:
        for source in rule.sources:
            if rule.target is not None and rule.target != source:
                ways[source].add(rule.target)
    reached: set[State] = set()
    frontier: list[State] = ["awaited"]
    while frontier:
        state = frontier.pop()
        if state not in reached:
            reached.add(state)
            frontier.extend(ways[state])
    for state in ALL:
        if (state in reached) == (state in CLOSED):
            yield f"{state}: {'is reached, but said to be closed' if state in reached else 'is never reached'}"
        if state in FINAL and ways[state]:
            yield f"{state}: is final, but left"
        if state not in (*FINAL, *RESTING, *CLOSED) and not ways[state]:
            yield f"{state}: is never left"


def _waits(rules: tuple[Rule, ...]) -> Iterator[str]:
    """Every state that waits has a deadline, and firing it there does something."""
    moves = {(source, rule.trigger) for rule in rules if rule.verdict == "move" for source in rule.sources}
    for state in ALL:
        if state in FINAL or state in RESTING:
            continue
        name = WAITS.get(state) or OTHER_WAITS.get(state)
        if name is None:
            yield f"{state}: waits without a deadline"
        elif (state, f"deadline.{name}") not in moves:
            yield f"{state}: its deadline {name} does nothing"
