"""``orderflow decide``: what the core makes of a history, without Kafka and without Digital River."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, TYPE_CHECKING

import click
import msgspec

from orderflow.cli.outcome import CommandError
from orderflow.cli.output import out, print_json, print_table, talk
from orderflow.event_lines import EventLine, fault_of
from orderflow.screen import counted
from producers.topics import Topic

if TYPE_CHECKING:
    from orderflow.history import ReplayStep
    from statemachine.order.order import Order

_decoder = msgspec.json.Decoder(EventLine)
#: Whose events the order lane reads.
_TOPICS = (Topic.CHECKOUT_EVENTS, Topic.ORDER_EVENTS, Topic.FULFILLMENT_EVENTS, Topic.INBOX)


@click.command(epilog="Example: orderflow decide examples/orders.jsonl")
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, for each decision.")
def decide(file: IO[bytes], as_json: bool) -> None:
    """Run the events of FILE (- for stdin) through the order's machine and print each decision with its reason.

    The file is one that `orderflow events send` takes. No Kafka, no Digital River: commands are printed, not executed, and
    their answers are lines of the topic orderflow.inbox. Time is that of the events; a deadline that falls due before an order's
    next event fires. Exit code 1 when a line cannot be read.
    """
    from orderflow.history import HistoryReplay

    replay, others, unreadable = HistoryReplay(), 0, 0
    for number, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            line = _decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            unreadable += 1
            talk().print(f"line {number}: {fault_of(error, text)}", markup=False)
            continue
        if line.topic not in _TOPICS:
            others += 1
            continue
        for step in replay.replay(number, line.record(number - 1)):
            if as_json:
                print_json(step)
            else:
                out().print(_text(step), markup=False)
    if not as_json:
        _print_waits(replay.orders.values())
    if others:
        talk().print(f"{counted(others, 'line')} skipped: those topics have no events of orders")
    if unreadable:
        raise CommandError(f"{counted(unreadable, 'line')} could not be read")


def _text(step: ReplayStep) -> str:
    parts = [f"{step.line:>4}  {step.order_id}  {step.event or '?'}: {step.verdict}"]
    if step.state_before is not None and step.state_before != step.state:
        parts.append(f" {step.state_before} -> {step.state}")
    elif step.state is not None:
        parts.append(f" in {step.state}")
    if step.reason:
        parts.append(f": {step.reason}")
    if step.commands:
        parts.append(f"; asks {', '.join(command['command'] for command in step.commands)}")
    if step.attention:
        parts.append(f"; attention: {'; '.join(step.attention)}")
    return "".join(parts)


def _print_waits(orders: Iterable[Order]) -> None:
    """What each order waits for: the answers of its open commands, its deadlines, its parked events."""
    from statemachine.messages.facts import OUTCOME_TYPES

    answers_of = {str(name): by_result for name, by_result in OUTCOME_TYPES.items()}
    rows = []
    for order in orders:
        answers = [f"{one.name}: {' or '.join(answers_of[one.name].values())}" for one in order.commands]
        deadlines = [f"{one.name} at {one.due:%Y-%m-%d %H:%M:%S}" for one in order.deadlines]
        kept = ", ".join(entry.type for entry in order.parked)
        rows.append((order.order_id, order.state, "\n".join(answers), "\n".join(deadlines), kept))
    print_table(("order", "state", "waits for the answer to", "deadlines", "parked"), rows)
