"""``orderflow replay redeliver``: records of an input topic, delivered to the live machine again."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from orderflow.cli.operating.carrying import act
from orderflow.cli.operating.choosing import reading_progress
from orderflow.cli.operating.options import act_options, rate_option
from orderflow.cli.outcome import NotFound, run, settings_or_usage
from orderflow.cli.output import quiet_libraries, talk
from orderflow.cli.parameters import MOMENT, check_window
from orderflow.screen import counted

if TYPE_CHECKING:
    from orderflow.operations.actions.reading import TopicReader
    from orderflow.operations.actions.records import Item
    from orderflow.settings import Settings
    from producers.topics import Topic


@click.command(
    epilog='Example: orderflow replay redeliver --topic order-events --from 2h --reason "lost in a failover" --apply'
)
@click.option("--topic", required=True, help="An input of the order lane, by its name in the contract.")
@click.option(
    "--from", "since", type=MOMENT, required=True, help="Written then or later: a time, or how long ago (2h)."
)
@click.option("--to", "until", type=MOMENT, help="Written before then.")
@click.option("--order", "orders", multiple=True, help="Only records of this order; may be repeated.")
@click.option("--type", "types", multiple=True, help="Only events of this type; may be repeated.")
@rate_option
@act_options
def redeliver(
    topic: str,
    since: datetime,
    until: datetime | None,
    orders: tuple[str, ...],
    types: tuple[str, ...],
    rate: float,
    reason: str,
    apply_it: bool,
    as_json: bool,
) -> None:
    """Deliver records of a topic to the orders again, through orderflow.inbox, as if they came now.

    What an order knows changes nothing. Nothing else is written: no record goes to Digital River. Records of one order are
    delivered one after the other. It is an action: `orderflow actions` shows, pauses and resumes it.
    """
    from orderflow.operations.actions.acting import topic_of_window
    from orderflow.operations.actions.selection import Plan
    from orderflow.settings import operator_of
    from statemachine.errors import ConfigError

    try:
        found = topic_of_window(topic)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    check_window(since, until)
    quiet_libraries()
    settings = settings_or_usage()
    reader, items, unsound = run(_window(settings, found, since, until, orders, types))
    if unsound:
        talk().print(f"left out: {counted(unsound, 'record')} without an order id, or of an operator")
    if orders and not items:
        raise NotFound(f"{topic} has no record of the orders named in this window")
    asked = f"{topic} from {since:%Y-%m-%dT%H:%M:%SZ}"
    asked += "" if until is None else f" to {until:%Y-%m-%dT%H:%M:%SZ}"
    act(
        reader,
        "redeliver",
        Plan(items, []),
        actor=operator_of(settings),
        reason=reason,
        asked=asked,
        rate=rate,
        apply_it=apply_it,
        as_json=as_json,
    )


async def _window(
    settings: Settings,
    topic: Topic,
    since: datetime,
    until: datetime | None,
    orders: tuple[str, ...],
    types: tuple[str, ...],
) -> tuple[TopicReader, list[Item], int]:
    from orderflow.operations.actions.acting import open_reader, read_window

    reader = await open_reader(settings.connection(), settings.topic_prefix)
    with reading_progress("reading records") as progress:
        items, unsound = await read_window(
            reader, topic, since=since, until=until, orders=orders, types=types, progress=progress
        )
    return reader, items, unsound
