"""``orderflow partitions``: decisions that only a person can make."""

from __future__ import annotations

from typing import Literal

import click

from orderflow.cli.outcome import run, settings_or_usage
from orderflow.cli.output import quiet_libraries, talk


@click.group(epilog='Example: orderflow partitions accept 3 --use committed --reason "topic was restored"')
def partitions() -> None:
    """Partitions of the order lane."""


@partitions.command(epilog='Example: orderflow partitions accept 3 --use positions --reason "offsets expired" --apply')
@click.argument("partition", type=click.IntRange(0))
@click.option(
    "--use",
    type=click.Choice(["positions", "committed"]),
    required=True,
    help="What is right: the position record, or the group's committed offsets.",
)
@click.option("--reason", required=True, help="Why, for those who look later.")
@click.option("--apply", "apply_it", is_flag=True, help="Do it; without, only what would be done is shown.")
def accept(partition: int, use: Literal["positions", "committed"], reason: str, apply_it: bool) -> None:
    """Start PARTITION again although its committed offsets and its position record disagree.

    Stop the workers of the order lane first. What lies between the two is read again (harmless: the same event changes
    nothing) or skipped (lost for the orders), and the output says which.
    """
    from orderflow.bootstrap import accept_partition

    quiet_libraries()
    lines = run(accept_partition(settings_or_usage(), partition, use=use, reason=reason, apply=apply_it))
    for line in lines:
        click.echo(line)
    if not apply_it:
        talk().print("nothing was changed; --apply does it")
