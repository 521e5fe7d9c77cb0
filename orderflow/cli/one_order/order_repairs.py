"""``orderflow orders hold``, ``release``, ``refresh``, ``acknowledge``, ``move`` and the two for commands that were given up.

Each shows what it would do. With ``--apply`` it writes an operator's event to the inbox and waits until the order lane has
decided it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from orderflow.cli.outcome import CommandError, NotFound, Unreachable, run, settings_or_usage
from orderflow.cli.output import out, print_json, quiet_libraries, talk
from orderflow.cli.parameters import reason_text

if TYPE_CHECKING:
    from orderflow.operations.operator_events import Act, ActResult
    from orderflow.settings import Settings
    from statemachine.order.order import Order

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _act_options(command: Decorated) -> Decorated:
    """The order, and the options that every act has."""
    options = (
        click.argument("order_id"),
        click.option("--reason", required=True, callback=reason_text, help="Why, kept in the order's changes."),
        click.option("--apply", "apply_it", is_flag=True, help="Do it; without it only show what would happen."),
        click.option(
            "--wait",
            "wait_seconds",
            type=click.FloatRange(0),
            default=15.0,
            show_default=True,
            help="Seconds to wait for the order lane's decision.",
        ),
        click.option("--json", "as_json", is_flag=True, help="One JSON document."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(epilog='Example: orderflow orders hold A-1001 --reason "customer disputes the address" --apply')
@_act_options
def hold(**options: Any) -> None:
    """Hold an order: what comes for it waits in the order of its arrival.

    No deadline fires and no command starts; a command that was asked before goes on, and its answer waits, too.
    """
    _act("held", {}, **options)


@click.command(epilog='Example: orderflow orders release A-1001 --reason "release 1.4.2 repairs it" --apply')
@click.option("--drop", is_flag=True, help="Drop the failed event that holds the order; its dead letter stays.")
@_act_options
def release(drop: bool, **options: Any) -> None:
    """Release a held order: all that waited is decided in the order of its arrival.

    An event that failed is decided first, and its dead letter is marked as retried, or with --drop as dropped. If it fails
    again the order holds again and nothing overtakes it.
    """
    _act("released", _dropped if drop else {}, **options)


@click.command(epilog='Example: orderflow orders refresh A-1001 --reason "a webhook was lost" --apply')
@_act_options
def refresh(**options: Any) -> None:
    """Read all that Digital River knows of an order again: the order, fulfilments, refunds and returns."""
    _act("refreshed", {}, **options)


@click.command(epilog='Example: orderflow orders acknowledge A-1001 --reason "called the customer" --apply')
@click.option("--attention", "texts", multiple=True, help="Only this reason, word for word; may be repeated.")
@_act_options
def acknowledge(texts: tuple[str, ...], **options: Any) -> None:
    """Take reasons off an order's attention: those named, or all. A new one comes back by itself."""
    _act("acknowledged", {"attention": texts} if texts else {}, **options)


@click.command(epilog='Example: orderflow orders move A-1001 --to cancelled --reason "the wire never came" --apply')
@click.option("--to", required=True, help="State that the order moves to.")
@_act_options
def move(to: str, **options: Any) -> None:
    """Move an order along an edge that is marked for operators, and no other.

    docs/reference/machines.md lists these edges with the reason why each leaves money and units sound.
    """
    _act("moved", {"to": to}, **options)


@click.command(
    "retry-command", epilog='Example: orderflow orders retry-command A-1001 7c1e.1 --reason "it is back" --apply'
)
@_act_options
@click.argument("command_id")
def retry_command(command_id: str, **options: Any) -> None:
    """Look up a command that was given up, and ask it again if it has had no effect.

    `orderflow orders show ID` lists open commands that were given up under attention.
    """
    _act("command_retried", {"command_id": command_id}, **options)


@click.command(
    "drop-command", epilog='Example: orderflow orders drop-command A-1001 7c1e.1 --reason "refunded by hand" --apply'
)
@_act_options
@click.argument("command_id")
def drop_command(command_id: str, **options: Any) -> None:
    """Give a command that was given up automatically up for good, as if Digital River had refused it.

    Units of a shipment are open again, a refund has failed, a placement needs a new checkout.
    """
    _act("command_dropped", {"command_id": command_id}, **options)


#: What is added to ``orderflow orders``.
REPAIRS: Final = (hold, release, refresh, acknowledge, move, retry_command, drop_command)


def _dropped(order: Order) -> dict[str, Any]:
    """The failed event or deadline of ``order``, by the name under which a release drops it."""
    from statemachine.drafts.parked import cause_of_parked
    from statemachine.messages.events import DEADLINE_SOURCE
    from statemachine.order.order import failed_event

    entry = failed_event(order)
    if entry is not None:
        cause = cause_of_parked(entry)
        return {"drop": {"id": cause.id, "source": cause.source}}
    if order.failed is None:
        raise CommandError(f"no event of {order.order_id} failed: there is nothing to drop")
    return {"drop": {"id": f"{order.failed}:{order.sequence}", "source": DEADLINE_SOURCE}}


def _act(
    kind: str,
    data: dict[str, Any] | Callable[[Order], dict[str, Any]],
    *,
    order_id: str,
    reason: str,
    apply_it: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Show or do one act, and end with the exit code of what became of it."""
    from msgspec.structs import replace

    from orderflow.inspection.masking import masked

    quiet_libraries()
    settings = settings_or_usage()
    result = run(_done(settings, kind, data, order_id, reason, apply=apply_it, seconds=wait_seconds))
    if as_json:
        print_json(replace(result, changes=tuple(masked(change) for change in result.changes)))
    else:
        _print_result(result)
    if result.verdict == "pending":
        raise Unreachable(f"no worker has decided it within {wait_seconds:g} s; it is decided when one runs")
    if result.verdict == "refused":
        raise CommandError(f"{'refused' if result.applied else 'would be refused'}: {result.detail}")
    if not apply_it:
        talk().print("nothing was changed; repeat with --apply to change it")


async def _done(
    settings: Settings,
    kind: str,
    data: dict[str, Any] | Callable[[Order], dict[str, Any]],
    order_id: str,
    reason: str,
    *,
    apply: bool,
    seconds: float,
) -> ActResult:
    from datetime import UTC, datetime

    from orderflow.operations.operator_events import Act, follow_act, foresee, read_order, send_act
    from orderflow.settings import operator_of
    from producers.publisher import Publisher

    connection, prefix, actor = settings.connection(), settings.topic_prefix, operator_of(settings)
    order = await read_order(connection, prefix, order_id)
    if order is None:
        raise NotFound(f"there is no order {order_id}")
    act: Act = Act(kind, order_id, data(order) if callable(data) else data)
    foreseen = foresee(order, act, actor=actor, reason=reason, now=datetime.now(UTC), policy=settings.policy())
    if not apply or foreseen.verdict == "refused":  # what the table refuses need not be written to be refused
        return _with_holder(_with_given_up(foreseen, order), order)
    async with Publisher(connection) as publisher:
        sent = await send_act(connection, prefix, publisher, act, actor=actor, reason=reason)
    result = await follow_act(connection, prefix, sent, kind=kind, seconds=seconds)
    if kind == "released":
        return await _with_closed(settings, order, result, drop="drop" in act.data, reason=reason)
    return _with_holder(result, order)


async def _with_closed(settings: Settings, order: Order, result: ActResult, *, drop: bool, reason: str) -> ActResult:
    """A release with the letters that it has done with; they are marked."""
    from msgspec.structs import replace

    from orderflow.operations.released_letters import close_letters
    from orderflow.settings import operator_of
    from statemachine.errors import BrokerError, ConfigError

    connection, prefix, actor = settings.connection(), settings.topic_prefix, operator_of(settings)
    try:
        closed = await close_letters(connection, prefix, order, result, drop=drop, actor=actor, reason=reason)
    except (BrokerError, ConfigError) as error:  # such as a missing right; the release is done
        talk().print(f"the dead letter of the failed event stays open: {error}", markup=False)
        return result
    return replace(result, closed=closed)


def _with_holder(result: ActResult, order: Order) -> ActResult:
    """A hold that changed nothing with who holds the order: a release by them, or a retry of what failed, ends it."""
    from msgspec.structs import replace

    if result.event != "operator.held" or result.verdict != "same" or order.held is None:
        return result
    return replace(result, detail=f"held by {order.held.actor} already: {order.held.reason}")


def _with_given_up(result: ActResult, order: Order) -> ActResult:
    """A refusal about a command with the commands that it might have been about."""
    from msgspec.structs import replace

    if result.verdict != "refused" or not result.event.startswith("operator.command_"):
        return result
    stuck = ", ".join(f"{one.command_id} ({one.name})" for one in order.commands if one.step == "stuck")
    return replace(result, detail=f"{result.detail}; given up: {stuck or 'none'}")


_WORDS: Final = {
    "same": ("changed nothing", "would change nothing"),
    "waiting": ("waits for the release: the order is held", "would wait for the release: the order is held"),
    "pending": ("was sent and is not decided yet", ""),
    "refused": ("was refused", "would be refused"),
}


def _print_result(result: ActResult) -> None:
    """What happened, or would: a line for the act, and one for each change, dead letter and command that follows."""
    console, at = out(), 0 if result.applied else 1
    if result.verdict != "changed":
        why = f": {result.detail}" if result.verdict == "same" and result.detail else ""
        console.print(f"{result.order_id}  {result.event} {_WORDS[result.verdict][at]}{why}", markup=False)
        return
    done = "" if result.applied else "would be "
    for change in result.changes:
        moved = f"{change['from']} -> {change['to']}" if change["from"] != change["to"] else f"in {change['to']}"
        named = f"changed: {', '.join(change['changed'])}" if change["changed"] else "noted"
        console.print(f"{result.order_id}  {change['cause']['type']}: {done}{moved}; {named}", markup=False)
        for reason in change["attention"] if "attention" in change["changed"] else ():
            console.print(f"    attention: {reason}", markup=False)
        if change.get("problem"):
            problem = change["problem"]
            console.print(f"    problem: {problem.get('message') or problem['code']}", markup=False)
    for letter in result.letters:
        console.print(f"    dead letter {letter['reason']}: {letter['type']}: {letter['detail']}", markup=False)
    for closed in result.closed:
        console.print(f"    letter {closed} is done with", markup=False)
    if result.commands:
        console.print(f"    asks {', '.join(result.commands)}", markup=False)
