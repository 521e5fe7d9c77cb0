"""``orderflow machine``: the machines as the worker runs them, read from their tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from orderflow.cli.outcome import CommandError, NotFound, run, settings_or_usage
from orderflow.cli.output import out, print_json, print_table, quiet_libraries, talk
from orderflow.screen import counted

if TYPE_CHECKING:
    from statemachine.drawing.diagram import Taken
    from statemachine.tables.rules import Machine, Rule

#: Repeated here, so that help does not load the tables; a test compares them.
NAMES = ("order", "refund", "return")

_machine_option = click.option(
    "--machine", "name", type=click.Choice(NAMES), default="order", show_default=True, help="Which machine."
)


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
    """The machines of an order, its refunds and its returns: who accepts what, and where it leads."""


@machine.command(epilog="Example: orderflow machine check")
def check() -> None:
    """Check that the tables are complete, that every state can be reached and left, and that no state waits without a deadline.

    Exit code 1 with a line for each problem.
    """
    from statemachine.checker import check_all
    from statemachine.machines import MACHINES

    problems = check_all()
    for problem in problems:
        out().print(problem, markup=False)
    if problems:
        raise CommandError(f"{counted(len(problems), 'problem')} in the tables")
    for name, defined in MACHINES.items():
        machine = defined.machine
        states, events, rules = len(machine.states), len(machine.triggers), len(machine.rules)
        out().print(f"{name}: ok, {states} states, {events} events, {states * events} cells, {rules} rules")


@machine.command(epilog="Example: orderflow machine diagram --format svg --order A-1001 > path.svg")
@_machine_option
@click.option(
    "--format",
    "kind",
    type=click.Choice(("mermaid", "svg")),
    default="mermaid",
    show_default=True,
    help="Format of the diagram.",
)
@click.option("--order", "order_id", metavar="ID", help="Highlight the path of this order, read from Kafka.")
def diagram(name: str, kind: Literal["mermaid", "svg"], order_id: str | None) -> None:
    """Draw all moves from one state to another, with the events that cause them.

    With --order the moves that the order made are numbered as its changes are; exit code 3 when Kafka has none of it.
    """
    from statemachine.drawing.diagram import mermaid
    from statemachine.drawing.diagram_svg import svg
    from statemachine.machines import MACHINES

    machine = MACHINES[name].machine
    path = [] if order_id is None else _path(machine, order_id)
    click.echo(svg(machine, path) if kind == "svg" else mermaid(machine, path), nl=False)


def _path(machine: Machine[Any], order_id: str) -> list[Taken]:
    """The moves that an order's changes made, as far as the topic still has them."""
    from consumers.group.table_reader import read_history
    from producers.topics import Topic
    from statemachine.drawing.diagram import path_of

    quiet_libraries()
    settings = settings_or_usage()
    topic = Topic.ORDER_STATE_CHANGES
    decoder = msgspec.json.Decoder(dict[str, Any])
    values = run(read_history(settings.connection(), settings.topic_prefix, topic, key=order_id))
    changes, skipped = [], 0
    for value in values:
        try:
            event = decoder.decode(value)
            if event["type"] != "order.state_changed":
                continue
            moves = path_of(machine, [event["data"]])
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
            skipped += 1
            continue
        if all(state in machine.states for move in moves for state in (move.source, move.target)):
            changes.append(event["data"])
        else:
            skipped += 1
    if skipped:
        talk().print(
            f"{topic}: {counted(skipped, 'record')} of {order_id} skipped: not a change of an order", markup=False
        )
    if not changes:
        raise NotFound(f"{topic} has no changes of order {order_id}")
    if changes[0]["sequence"] != 1:
        talk().print(f"the topic no longer has the changes before change {changes[0]['sequence']}")
    return path_of(machine, changes)


@machine.command(epilog="Example: orderflow machine table --event fulfillment.shipped")
@_machine_option
@click.option("--state", help="Only rules of this state.")
@click.option("--event", help="Only rules for this event: its type, or the beginning of it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, for each rule and state.")
def table(name: str, state: str | None, event: str | None, as_json: bool) -> None:
    """Print what happens for each event and state: move, park, same (nothing new) or refuse.

    Rules of one event are tried from top to bottom; the first whose conditions hold decides.
    """
    from statemachine.machines import MACHINES

    machine = MACHINES[name].machine
    if state is not None and state not in machine.states:
        raise click.BadParameter(f"{state} is not one of {', '.join(machine.states)}", param_hint="--state")
    rules = [rule for rule in machine.rules if event is None or rule.trigger.startswith(event)]
    if not rules:
        raise click.BadParameter(
            f"no event begins with {event}; run `orderflow machine table` to list all", param_hint="--event"
        )
    if as_json:
        for row in _rows(rules, state):
            print_json(row)
        return
    shown = [_shown(machine, rule, state) for rule in rules if state is None or state in rule.sources]
    print_table(("event", "in", "verdict", "when", "then"), shown)
    talk().print(counted(len(shown), "rule"))


def _rows(rules: list[Rule[Any]], state: str | None) -> Iterator[Row]:
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


def _shown(machine: Machine[Any], rule: Rule[Any], state: str | None) -> tuple[str, ...]:
    """One rule for a person, in one state or in all of its own."""
    from statemachine.drawing.describing import then_of, when_of, where_of

    return (
        rule.trigger,
        state if state is not None else where_of(machine, rule.sources),
        rule.verdict,
        when_of(rule),
        then_of(rule),
    )
