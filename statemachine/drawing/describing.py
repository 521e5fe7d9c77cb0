"""The tables in text: one rule for the command line, and the documentation page of all machines."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from statemachine.drawing.diagram_svg import note_of
from statemachine.machines import MACHINES
from statemachine.tables.rules import Machine, Rule, Verdict


def where_of(machine: Machine[Any], states: Collection[str]) -> str:
    """States of a machine as a short text; when they are most of them, by those left out."""
    if len(states) <= len(machine.states) // 2:
        return ", ".join(name for name in machine.states if name in states)
    left_out = [name for name in machine.states if name not in states]
    return f"all but {', '.join(left_out)}" if left_out else "all"


def when_of(rule: Rule[Any]) -> str:
    """The conditions of a rule."""
    return " and ".join(map(_words, rule.when))


def then_of(rule: Rule[Any]) -> str:
    """What a rule does: where it leads and what is carried out, or why it refuses; of an edge for operators why it is sound."""
    if rule.verdict == "refuse":
        return f"{rule.detail}; raises attention" if rule.attention else rule.detail
    done = ", ".join(([f"to {rule.target}"] if rule.target else []) + [_words(name) for name in rule.do])
    return f"{done}: {rule.detail}" if rule.detail else done


def _words(name: str) -> str:
    return name.replace("_", " ")


_INTRO: Final = """\
# The machines

The life cycle of an order, and of its refunds and returns. This page and its pictures are generated from the tables that the
worker runs on ([the life cycle](../../statemachine/tables/life_cycle.py),
[its refunds](../../statemachine/aftersale/refunds.py), [its returns](../../statemachine/aftersale/returns.py)) and compared
with them in CI. To generate them again: `python -m tests.architecture.test_docs_machines`.

An event fires triggers. A trigger in a state has one of four answers: **move** (the state may change, effects are carried out),
**park** (right, but too early: the order keeps the event), **same** (nothing new), **refuse** (a dead letter with the reason).
Triggers are the types of public events; `digitalriver.*` are answers to our own commands; `fact.*` is what Digital River reports
by itself and `remote.*` the state that its order is in then; `operator.*` is what an operator does, and its moves are dotted in
the pictures; `deadline.*` is time; `settle` comes last and moves what quantities
and money imply, and `quote.published` follows the change that published an open checkout's quote.

| command | what it shows |
|---|---|
| `orderflow machine diagram --machine refund --format svg` | these pictures, also for Mermaid |
| `orderflow machine diagram --order A-1001` | the path that one order took |
| `orderflow machine table --state submitted` | the rules of one state |
| `orderflow machine check` | that every pair of state and trigger has an answer, and every wait an end |
| `orderflow decide FILE` | what becomes of a history, decision by decision |
"""

_ABOUT: Final = {
    "order": "The life cycle of an order.",
    "refund": "One for each refund id. `new` is left at once. What `failed` or `expired` is asked again under a new id.",
    "return": "One for each return id. `new` is left at once; a return that Digital River refuses is dropped.",
}

_COLUMNS: Final[dict[Verdict, str]] = {
    "move": "moves in",
    "park": "waits in",
    "same": "nothing new in",
    "refuse": "refused in",
}


def page() -> str:
    """The documentation page of all machines, in Markdown, ended by a line feed."""
    parts = [_INTRO]
    for name, defined in MACHINES.items():
        parts.append("\n".join(_section(name, defined.machine)))
    return "\n".join(parts)


def _section(name: str, machine: Machine[Any]) -> Iterator[str]:
    yield f"## {name.capitalize()}\n\n{_ABOUT[name]}\n\n![The {name} machine](machines/{name}.svg)\n"
    yield "| state | stays | goes to |\n|---|---|---|"
    for state in machine.states:
        ways = [(rule.target, rule.for_operators) for rule in machine.rules if state in rule.sources]
        ends = dict.fromkeys((end, by) for end, by in ways if end is not None and end != state)
        targets, moved = _names(end for end, by in ends if not by), _names(end for end, by in ends if by)
        yield f"| `{state}` | {note_of(machine, state)} | {targets}{f'; by an operator: {moved}' if moved else ''} |"
    yield f"\n### Who accepts what: {name}\n"
    yield f"| trigger | {' | '.join(_COLUMNS.values())} |\n|---|{'---|' * len(_COLUMNS)}"
    for trigger in machine.triggers:
        rules = [rule for rule in machine.rules if rule.trigger == trigger]
        yield f"| `{trigger}` | {' | '.join(_states(machine, rules, verdict) for verdict in _COLUMNS)} |"
    yield f"\n### Rules: {name}\n"
    yield "Rules of one trigger are tried from top to bottom; the first whose conditions hold decides.\n"
    yield "| trigger | in | verdict | when | then |\n|---|---|---|---|---|"
    for rule in machine.rules:
        yield f"| `{rule.trigger}` | {where_of(machine, rule.sources)} | {rule.verdict} | {when_of(rule)} | {then_of(rule)} |"
    yield ""


def _states(machine: Machine[Any], rules: list[Rule[Any]], verdict: Verdict) -> str:
    """The states in which a trigger may have this verdict."""
    return where_of(machine, {state for rule in rules if rule.verdict == verdict for state in rule.sources})


def _names(states: Iterable[str]) -> str:
    return ", ".join(f"`{state}`" for state in states)
