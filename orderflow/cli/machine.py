"""``orderflow machine``: the life cycle as the worker runs it, read from its table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

import click
import msgspec

from orderflow.cli.outcome import CommandError
from orderflow.cli.output import out, print_json, print_table, talk
from statemachine.order import State

if TYPE_CHECKING:
    from statemachine.rules import Rule


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rule in one state, as ``machine table --json`` prints it. Rules of one event and state are tried in this order."""

    event: str
    state: str
    verdict: str
    to: str | None = None
    when: tuple[str, ...] = ()
    do: tuple[str, ...] = ()
    reason: str | None = None
    attention: bool = False


@click.group(epilog="Example: orderflow machine table --state submitted")
def machine() -> None:
    """The order's machine: who accepts what, and where it leads."""


@machine.command(epilog="Example: orderflow machine check")
def check() -> None:
    """Prove that the tables are complete and that every state can be reached, left and waited for.

    Exit code 1 with a line for each problem.
    """
    from statemachine.checker import check_all
    from statemachine.machines import MACHINES

    problems = check_all()
    for problem in problems:
        out().print(problem, markup=False)
    if problems:
        raise CommandError(f"{len(problems)} problems in the tables")
    for name, defined in MACHINES.items():
        machine = defined.machine
        states, events, rules = len(machine.states), len(machine.triggers), len(machine.rules)
        out().print(f"{name}: sound, {states} states, {events} events, {states * events} cells, {rules} rules")


@machine.command(epilog="Example: orderflow machine diagram > order.mmd")
def diagram() -> None:
    """Draw all moves from one state to another, as a Mermaid state diagram."""
    from statemachine.diagram import mermaid

    click.echo(mermaid(), nl=False)


@machine.command(epilog="Example: orderflow machine table --event fulfillment.shipped")
@click.option("--state", type=click.Choice(get_args(State)), help="Only what this state does.", metavar="STATE")
@click.option("--event", help="Only what becomes of this event: its type, or the beginning of it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, for each rule and state.")
def table(state: State | None, event: str | None, as_json: bool) -> None:
    """Say for each event and state what follows: move, park, same (nothing new) or refuse.

    Rules of one event are tried from top to bottom; the first whose conditions hold decides.
    """
    from statemachine.table import RULES

    rules = [rule for rule in RULES if event is None or rule.trigger.startswith(event)]
    if not rules:
        raise click.BadParameter(
            f"no event begins with {event}; orderflow machine table shows all", param_hint="--event"
        )
    if as_json:
        for row in _rows(rules, state):
            print_json(row)
        return
    shown = [_shown(rule, state) for rule in rules if state is None or state in rule.sources]
    print_table(("event", "in", "verdict", "when", "then"), shown)
    talk().print(f"{len(shown)} rules")


def _rows(rules: list[Rule[State]], state: State | None) -> Iterator[Row]:
    for rule in rules:
        for source in rule.sources:
            if state in (None, source):
                yield Row(
                    rule.trigger,
                    source,
                    rule.verdict,
                    rule.target,
                    rule.when,
                    rule.do,
                    rule.detail or None,
                    rule.attention,
                )


def _shown(rule: Rule[State], state: State | None) -> tuple[str, ...]:
    """One rule for a person: states that are nearly all are told by those left out."""
    states = get_args(State)
    where: str
    if state is not None:
        where = state
    elif len(rule.sources) > len(states) // 2:
        left_out = [name for name in states if name not in rule.sources]
        where = f"all but {', '.join(left_out)}" if left_out else "all"
    else:
        where = ", ".join(rule.sources)
    if rule.verdict == "refuse":
        then = f"{rule.detail}; raises attention" if rule.attention else rule.detail
    else:
        then = ", ".join(([f"to {rule.target}"] if rule.target else []) + [_words(name) for name in rule.do])
    return rule.trigger, where, rule.verdict, " and ".join(map(_words, rule.when)), then


def _words(name: str) -> str:
    return name.replace("_", " ")
