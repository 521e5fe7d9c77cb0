"""``orderflow simulator clock|faults|books|resend``: time, faults, books and webhooks of a running simulator."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click
from click.shell_completion import CompletionItem

from orderflow.cli.outcome import NotFound
from orderflow.cli.output import print_json, print_table
from orderflow.cli.parameters import DURATION, duration_with_unit
from orderflow.cli.simulator.asking import ask, asking_options, tell
from orderflow.screen import counted


@click.command(epilog="Example: orderflow simulator clock 30d")
@click.argument("advance", type=DURATION, required=False)
@asking_options
def clock(advance: timedelta | None, url: str | None, as_json: bool) -> None:
    """Show the simulator's time, or move it ahead by ADVANCE, such as 30d or 2h.

    What falls due on the way has happened when the command ends: captures, refunds, time limits.
    """
    body = None if advance is None else {"advance_s": advance.total_seconds()}
    answer = ask(url, "GET" if body is None else "POST", "clock", body)
    tell(answer, answer["now"], as_json=as_json)


class FaultType(click.ParamType[tuple[str, float | bool]]):
    """A fault and its value, ``name=value``."""

    name = "fault"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float | bool]:
        """The name and the value; names and bounds are the simulator's to check."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals:
            self.fail(f"{name} must be NAME=VALUE", param, ctx)
        if text in ("true", "false"):
            return name, text == "true"
        try:
            return name, float(text)
        except ValueError:
            self.fail(f"{name} must be a number, true or false", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names of the faults."""
        return [CompletionItem(f"{name}=") for name in _fault_names() if name.startswith(incomplete)]


def _fault_names() -> tuple[str, ...]:
    from orderflow.simulator.faults import Faults

    return Faults.__struct_fields__


@click.command(epilog="Example: orderflow simulator faults error_after_effect=0.1 lose_webhooks=0.2")
@click.argument("changes", metavar="[NAME=VALUE]...", nargs=-1, type=FaultType())
@click.option("--clear", is_flag=True, help="Take all other faults back.")
@asking_options
def faults(changes: tuple[tuple[str, float | bool], ...], clear: bool, url: str | None, as_json: bool) -> None:
    """Show the faults that the simulator injects, or change those named.

    \b
    Shares from 0 to 1:
      error_before_effect    500, and nothing happened
      error_after_effect     500, though it happened
      drop_after_effect      it happened, and the connection is closed
      too_many_requests      429, and nothing happened
      unanswered             nothing happens, and there is no answer
      late_effect            it happens late, and there is no answer
      lose_webhooks          the webhook is never sent
      duplicate_webhooks     it is sent twice
      reorder_webhooks       it is sent later than those after it
    Others:
      late_effect_s          seconds until a late effect
      slow_ms                milliseconds before each request
      down                   true: every connection is closed
    """
    import msgspec

    from orderflow.simulator.faults import Faults

    known = Faults()
    wanted: dict[str, Any] = {name: getattr(known, name) for name in Faults.__struct_fields__} if clear else {}
    for name, value in changes:
        if name not in Faults.__struct_fields__:
            raise click.BadParameter(f"{name} is not one of {', '.join(Faults.__struct_fields__)}")
        try:
            known.merged(msgspec.json.encode({name: value}))
        except msgspec.ValidationError as error:
            raise click.BadParameter(f"{name}={str(value).lower()}: {error}") from error
        wanted[name] = value
    answer = ask(url, "POST", "faults", wanted) if wanted else ask(url, "GET", "faults")
    if as_json:
        print_json(answer)
        return
    print_table(("fault", "value#"), [(name, str(value).lower()) for name, value in answer.items()])


@click.command(epilog="Example: orderflow simulator books A-1001")
@click.argument("orders", nargs=-1)
@asking_options
def books(orders: tuple[str, ...], url: str | None, as_json: bool) -> None:
    """Show what took effect at the simulator, by order: of ORDERS, or of all. Exit code 3 when it has none of ORDERS."""
    from urllib.parse import quote

    query = f"?upstreamIds={quote(','.join(orders))}" if orders else ""
    answer = ask(url, "GET", f"books{query}")
    if as_json:
        print_json(answer)
    elif answer or not orders:
        names = ("checkouts", "orders", "captures", "cancels", "refunds", "returns")
        sums = ("authorized", "captured", "cancelled", "refunded")
        print_table(
            (
                "order",
                *(f"{name}#" for name in (*names, *sums[:1])),
                "captured sum#",
                "cancelled sum#",
                "refunded sum#",
            ),
            [(order, *(str(entry[name]) for name in (*names, *sums))) for order, entry in answer.items()],
        )
    missing = [order for order in orders if order not in answer]
    if missing:
        raise NotFound(f"the simulator has no books of {', '.join(missing)}")


class SinceType(click.ParamType[dict[str, float]]):
    """A time, or how long ago, by the simulator's clock."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, float]:
        """The member of the request."""
        from statemachine.messages.times import read_time

        if isinstance(value, dict):
            return value
        ago = duration_with_unit(value)
        if ago is not None:
            return {"since_s": ago.total_seconds()}
        found = read_time(value) or read_time(f"{value}Z")
        if found is None:
            self.fail("must be a time such as 2031-03-04T10:11:12Z, or how long ago, such as 2h", param, ctx)
        return {"since": found.timestamp()}


def _complete_types(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Digital River's types that begin so."""
    from orderflow.digitalriver.webhook import KNOWN_TYPES

    return [CompletionItem(name) for name in sorted(KNOWN_TYPES) if name.startswith(incomplete)]


@click.command(epilog="Example: orderflow simulator resend --order A-1001 --since 2h")
@click.option("--id", "ids", multiple=True, help="Only the event with this id; may be repeated.")
@click.option(
    "--type", "types", multiple=True, shell_complete=_complete_types, help="Only events of this type; may be repeated."
)
@click.option("--order", help="Only events about this order, by its id or Digital River's.")
@click.option(
    "--since", type=SinceType(), help="Only events from this time on by the simulator's clock: 2h for two hours ago."
)
@asking_options
def resend(
    ids: tuple[str, ...],
    types: tuple[str, ...],
    order: str | None,
    since: dict[str, float] | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Send webhooks again: past events that match all that is given, the oldest first.

    No fault holds them up. Types that the address has not subscribed to are sent only when they are named by --type or --id. Exit
    code 3 when no event matches.
    """
    if not (ids or types or order or since):
        raise click.UsageError("name what is sent again: --id, --type, --order or --since")
    given = {"ids": ids, "types": types, "order": order}
    body: dict[str, object] = {**(since or {}), **{name: value for name, value in given.items() if value}}
    answer = ask(url, "POST", "webhooks/resend", body, order=order)
    resent = answer["resent"]
    if as_json:
        print_json(answer)
    else:
        for event in resent:
            click.echo(f"{event['id']}  {event['type']}")
    if not resent:
        raise NotFound("no event matches")
    if not as_json:
        click.echo(f"{counted(len(resent), 'webhook')} sent again", err=True)
