"""``orderflow replay``: what was decided, decided again, and the table of orders made anew from history."""

from __future__ import annotations

import click

from orderflow.cli.operating.redelivering import redeliver
from orderflow.cli.replay.checking import check
from orderflow.cli.replay.table import adopt, compare, rebuild


@click.group(epilog="Example: orderflow replay check --from 2h")
def replay() -> None:
    """Decide the recorded history again with the code at hand."""


for command in (check, rebuild, compare, adopt, redeliver):
    replay.add_command(command)
