"""``orderflow events trigger``: one event, made, sent and followed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem

from orderflow.cli.outcome import CommandError, NotFound, UsageProblem, run, settings_or_usage
from orderflow.cli.output import print_json, quiet_libraries, talk

if TYPE_CHECKING:
    from orderflow.operations.record_following import Followed
    from orderflow.sandbox.triggering import Asked, Result
    from orderflow.settings import Settings

_SECONDS: Final = 30.0


class EventType(click.ParamType[str]):
    """A type of an event, ours or Digital River's."""

    name = "type"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The type, when there is one; else the nearest is named."""
        from orderflow.sandbox.triggering import known_types, nearest_type

        text = str(value)
        if text not in known_types():
            near = nearest_type(text)
            self.fail(f"{text} is not a type of an event{f'; did you mean {near}?' if near else ''}", param, ctx)
        return text

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The types that begin so."""
        from orderflow.sandbox.triggering import known_types

        return [CompletionItem(name) for name in known_types() if name.startswith(incomplete)]


def _read_values(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Paths and texts."""
    found = []
    for value in values:
        path, equals, text = value.partition("=")
        if not equals or not all(path.split(".")):
            raise click.BadParameter(f"{path} must be PATH=VALUE, such as items.0.quantity=2")
        found.append((path, text))
    return tuple(found)


@click.command(epilog="Example: orderflow events trigger fulfillment.shipped --order A-1001")
@click.argument("kind", metavar="TYPE", type=EventType())
@click.option("--order", help="The order that the event is about.  [default: a new one; of the simulator the newest]")
@click.option("--sku", help="Of sku.upserted and sku.removed: the SKU.  [default: trigger-mug]")
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="PATH=VALUE",
    callback=_read_values,
    help="Set a member of the data, such as items.0.quantity=2; may be repeated.",
)
@click.option("--id", "event_id", help="The event's id, of an event of ours.  [default: a new one]")
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(0, 3600),
    default=_SECONDS,
    show_default=True,
    help="How long to follow, in seconds.",
)
@click.option("--print", "print_it", is_flag=True, help="Print the events as lines of a file instead; nothing is sent.")
@click.option("--no-check", is_flag=True, help="Send the event also when workers would refuse it.")
@click.option(
    "--url", help="Address of the simulator, for Digital River's events.  [default: ORDERFLOW_DIGITALRIVER_URL]"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def trigger(
    *,
    kind: str,
    order: str | None,
    sku: str | None,
    values: tuple[tuple[str, str], ...],
    event_id: str | None,
    seconds: float,
    print_it: bool,
    no_check: bool,
    url: str | None,
    as_json: bool,
) -> None:
    """Make a valid event of TYPE, send it, and follow what becomes of it.

    TYPE is one of ours, such as order.placed, or of Digital River's, such as order.accepted. An event of ours fits the order:
    what is open is shipped, what was shipped comes back. Without --order it is about a new order, which is made first: a SKU, a
    cart, a source, the order. An event of Digital River's is about an order of the simulator, which sends it as a signed
    webhook; the simulator's own order and books stay as they are.

    Exit code 1 when the event becomes a dead letter, or when nothing is known of it after --timeout.
    """
    from orderflow.sandbox.defaults import OF_SKUS, TOPIC_OF
    from orderflow.sandbox.triggering import Asked

    quiet_libraries()
    if kind in OF_SKUS and order is not None:
        raise click.UsageError(f"{kind} is about a SKU: use --sku")
    if kind not in OF_SKUS and sku is not None:
        raise click.UsageError(f"{kind} is not about a SKU")
    if kind not in TOPIC_OF and event_id is not None:
        raise click.UsageError("the simulator chooses the ids of Digital River's events")
    settings = settings_or_usage()
    asked = Asked(kind, sku if kind in OF_SKUS else order, values, event_id)
    try:
        if print_it:
            _print(settings, asked, url)
            return
        result = _trigger(settings, asked, url, seconds=seconds, checked=not no_check)
    except ValueError as error:
        raise UsageProblem(f"--set {error}") from error
    if as_json:
        print_json(result)
    else:
        _tell(result)
    _end(result.followed)


def _trigger(settings: Settings, asked: Asked, url: str | None, *, seconds: float, checked: bool) -> Result:
    from orderflow.sandbox.simulator_client import SimulatorClient, SimulatorHasNone
    from orderflow.sandbox.triggering import REMOTE_TYPES, Trigger

    made = Trigger(settings, seconds=seconds, say=lambda line: talk().print(line, markup=False))
    if asked.type not in REMOTE_TYPES:
        return run(made.ours(asked, checked=checked))
    try:
        return run(made.remote(asked, SimulatorClient(url or settings.digitalriver_url)))
    except SimulatorHasNone as error:
        raise NotFound(str(error)) from error


def _print(settings: Settings, asked: Asked, url: str | None) -> None:
    """The lines that would be sent, or the object that the simulator would send."""
    from orderflow.operations.operator_events import read_order
    from orderflow.sandbox.defaults import OF_SKUS
    from orderflow.sandbox.simulator_client import SimulatorClient, SimulatorHasNone
    from orderflow.sandbox.triggering import REMOTE_TYPES, line_for, new_mark, planned, remote_body

    if asked.type in REMOTE_TYPES:
        client = SimulatorClient(url or settings.digitalriver_url)
        try:
            shown = run(client.ask("POST", "events", remote_body(asked, send=False), order=asked.key))
        except SimulatorHasNone as error:
            raise NotFound(str(error)) from error
        print_json(shown)
        return
    known = None
    if asked.key is not None and asked.type not in OF_SKUS:
        known = run(read_order(settings.connection(), settings.topic_prefix, asked.key))
    for event in planned(asked, new_mark(), known):
        print_json(line_for(event, datetime.now(UTC)))


def _tell(result: Result) -> None:
    followed = result.followed
    state = f"; {result.key} is {followed.state}" if followed.state else ""
    for change in followed.changes:
        moved = f"{change['from']} -> {change['to']}" if change["from"] != change["to"] else f"in {change['to']}"
        click.echo(f"change {change['sequence']} of {result.key}: {moved}; changed: {', '.join(change['changed'])}")
    match followed.verdict:
        case "changed" if not followed.changes:
            click.echo(f"{result.type}: done{state}")
        case "noted":
            click.echo(f"{result.type}: accepted, with no news for readers{state}")
        case "parked":
            click.echo(f"{result.type}: parked, {followed.detail}{state}")
        case "skipped":
            click.echo(f"{result.type}: skipped, it concerns no order")
        case "set_aside":
            click.echo(f"{result.type}: dead letter {followed.reason}: {followed.detail}{state}")
        case _:
            pass


def _end(followed: Followed) -> None:
    if followed.verdict == "set_aside":
        raise CommandError(f"dead letter {followed.reason}; `orderflow letters list` shows it")
    if followed.verdict == "pending":
        raise CommandError(followed.detail or "no worker has come to it: does one run?")
