"""``orderflow events export``: records of the input topics as a file of events."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from orderflow.cli.one_order.inspection import ReadProgress
from orderflow.cli.outcome import NotFound, run, settings_or_usage
from orderflow.cli.output import print_json, quiet_libraries, talk
from orderflow.cli.parameters import MOMENT
from orderflow.event_lines import WRITABLE
from orderflow.screen import counted
from producers.topics import Topic

if TYPE_CHECKING:
    from orderflow.settings import Settings

#: What senders write; webhooks and the inbox are asked for by name.
_DEFAULT = (Topic.CHECKOUT_EVENTS, Topic.ORDER_EVENTS, Topic.FULFILLMENT_EVENTS, Topic.CATALOG_EVENTS)


@click.command(epilog="Example: orderflow events export --key A-1001 --from 2h > a-1001.jsonl")
@click.option("--key", "keys", multiple=True, help="Only records with this key; may be repeated.")
@click.option(
    "--topic",
    "topics",
    multiple=True,
    type=click.Choice(sorted(topic.value for topic in WRITABLE)),
    help=f"Only this topic; may be repeated.  [default: {', '.join(_DEFAULT)}]",
)
@click.option("--from", "begin", type=MOMENT, help="Only records from this time on: 2031-03-04T10:11:12Z, or 2h.")
@click.option("--to", "end", type=MOMENT, help="Only records before this time.")
@click.option("--json", is_flag=True, expose_value=False, help="One JSON document a line, which it is without it, too.")
def export(keys: tuple[str, ...], topics: tuple[str, ...], begin: datetime | None, end: datetime | None) -> None:
    """Write records of the input topics to stdout, as lines that `orderflow events send` takes.

    What is sent again is the same byte for byte: value, key and headers. Bytes that are no text become value_base64 and
    key_base64. Lines are in the order of the records' times, and are held in memory until all are read. They contain personal
    data where the events do. Exit code 3 when no record has one of the keys.
    """
    quiet_libraries()
    if begin is not None and end is not None and begin >= end:
        raise click.UsageError("--from must be before --to")
    wanted = [Topic(name) for name in topics] or list(_DEFAULT)
    lines = run(_export(settings_or_usage(), wanted, [key.encode() for key in keys], begin, end))
    for line in lines:
        print_json(line)
    if keys and not lines:
        raise NotFound(f"no record in {', '.join(wanted)} has the key {' or '.join(keys)}")
    talk().print(counted(len(lines), "record"))


async def _export(
    settings: Settings, topics: list[Topic], keys: list[bytes], begin: datetime | None, end: datetime | None
) -> list[dict[str, object]]:
    from orderflow.inspection.reading import open_reader
    from orderflow.sandbox.exporting import export_lines

    progress = ReadProgress()
    try:
        reader = await open_reader(settings.connection(), settings.topic_prefix, progress)
        return await export_lines(reader, topics, keys=keys, begin=begin, end=end)
    finally:
        progress.end()
