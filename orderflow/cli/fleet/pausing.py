"""``orderflow pause`` and ``orderflow resume``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from orderflow.cli.outcome import NotFound, UsageProblem, run, settings_or_usage
from orderflow.cli.output import print_json, quiet_libraries, talk
from orderflow.cli.parameters import reason_text

if TYPE_CHECKING:
    from consumers.pauses.scopes import Scope
    from orderflow.settings import Settings

_SCOPES = "lane/LANE, partition/LANE/NUMBER or command/NAME; lanes are orders, commands, webhooks and catalogue"


@click.command(epilog='Example: orderflow pause command/create_refund --reason "refunds are checked" --apply')
@click.argument("scope")
@click.option(
    "--reason", required=True, callback=reason_text, help="Reason, shown to everybody and kept for the audit."
)
@click.option("--apply", "apply_it", is_flag=True, help="Apply the change; without it only show what would change.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def pause(scope: str, reason: str, apply_it: bool, as_json: bool) -> None:
    """Pause SCOPE in the whole fleet until it is resumed.

    SCOPE is lane/orders, lane/commands, lane/webhooks or lane/catalogue; partition/LANE/NUMBER; or command/NAME, for example
    command/create_refund. Every worker obeys within 2 s, also one that starts later. What is paused waits in Kafka in its
    order; calls to Digital River that are in flight end. Commands of an order behind a paused one wait with it.
    """
    _act("pause", scope, reason, apply_it=apply_it, as_json=as_json)


@click.command(epilog='Example: orderflow resume command/create_refund --reason "they were right" --apply')
@click.argument("scope")
@click.option("--reason", required=True, callback=reason_text, help="Reason, kept for the audit.")
@click.option("--apply", "apply_it", is_flag=True, help="Apply the change; without it only show what would change.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def resume(scope: str, reason: str, apply_it: bool, as_json: bool) -> None:
    """Resume SCOPE, which was paused: work goes on where it stood.

    SCOPE is the one that was paused, as `orderflow lanes` shows it. A lane that is paused as a whole stays paused when one
    of its partitions is resumed.
    """
    _act("resume", scope, reason, apply_it=apply_it, as_json=as_json)


def _act(act: Literal["pause", "resume"], text: str, reason: str, *, apply_it: bool, as_json: bool) -> None:
    from orderflow.operations.lanes import shown_pause
    from orderflow.operations.pausing import known_scope, nearest_scope, read_operations, write_act
    from orderflow.settings import operator_of

    quiet_libraries()
    scope = known_scope(text)
    if scope is None:
        near = nearest_scope(text)
        raise UsageProblem(f"unknown scope {text}{f'; did you mean {near}?' if near else ''}: {_SCOPES}")
    settings = settings_or_usage()
    known = run(read_operations(settings))
    _check_number(scope, settings)
    before = known.pauses.get(scope)
    if act == "resume" and before is None:
        others = ", ".join(sorted(map(str, known.pauses))) or "nothing"
        raise NotFound(f"{scope} is not paused; paused: {others}")
    if apply_it:
        run(write_act(settings, act, scope, reason, known))
    if as_json:
        was = None if before is None else shown_pause(before)
        document = {"act": act, "scope": str(scope), "actor": operator_of(settings), "reason": reason}
        print_json({**document, "before": was, "applied": apply_it})
    else:
        click.echo(str(before) if before is not None else f"{scope} is not paused")
        click.echo(f"{'' if apply_it else 'would '}{act}: {scope} by {operator_of(settings)}: {reason}")
    if apply_it:
        talk().print("every worker obeys within 2 s; `orderflow lanes` shows it", markup=False)
    else:
        talk().print("nothing was changed; repeat with --apply to change it")


def _check_number(scope: Scope, settings: Settings) -> None:
    """A partition that does not exist is a mistake, not something to pause."""
    from producers.topic_setup import read_topics
    from producers.topics import TOPICS

    if scope.number is None:
        return
    topics = run(read_topics(settings.connection(), settings.topic_prefix))
    count = max(
        (topics[topic].partitions for topic, spec in TOPICS.items() if spec.read_by is scope.lane and topic in topics),
        default=0,
    )
    if scope.number >= count:
        raise UsageProblem(f"{scope} does not exist: lane {scope.lane} has partitions 0 to {count - 1}")
