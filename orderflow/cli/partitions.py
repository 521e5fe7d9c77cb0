"""``orderflow partitions``: decisions that only a person can make."""

from __future__ import annotations

from typing import Literal

import click

from orderflow.cli.outcome import run, settings_or_usage
from orderflow.cli.output import quiet_libraries, talk


@click.group(epilog='Example: orderflow partitions accept 3 --use committed --reason "topic was restored"')
def partitions() -> None:
    """Partitions that stopped for a person."""


@partitions.command(epilog='Example: orderflow partitions accept 3 --use positions --reason "offsets expired" --apply')
@click.argument("partition", type=click.IntRange(0))
@click.option(
    "--lane", type=click.Choice(["orders", "commands"]), default="orders", show_default=True, help="Whose partition."
)
@click.option(
    "--use",
    type=click.Choice(["positions", "committed", "end", "beginning"]),
    required=True,
    help="orders: what is right, the position record or the group's committed offsets. commands: where to go on.",
)
@click.option("--reason", required=True, help="Why, for those who look later.")
@click.option("--apply", "apply_it", is_flag=True, help="Do it; without, only what would be done is shown.")
def accept(
    partition: int,
    lane: Literal["orders", "commands"],
    use: Literal["positions", "committed", "end", "beginning"],
    reason: str,
    apply_it: bool,
) -> None:
    """Start PARTITION again although nobody can say by itself where it has to go on.

    Stop the workers of the lane first. Of the order lane: its committed offsets and its position record disagree. What
    lies between the two is read again (harmless: the same event changes nothing) or skipped (lost for the orders), and
    the output says which.

    Of the command lane: its committed offset is gone. With --use end no command that is there is carried out, and orders
    that still wait for one ask again by themselves. With --use beginning every command is looked up at Digital River
    and called where its effect is not found: right only when none of them was ever carried out.
    """
    from orderflow.repairs import accept_commands, accept_partition

    quiet_libraries()
    if lane == "orders":
        if use not in ("positions", "committed"):
            raise click.UsageError(f"--use {use} is for --lane commands")
        lines = run(accept_partition(settings_or_usage(), partition, use=use, reason=reason, apply=apply_it))
    else:
        if use not in ("end", "beginning"):
            raise click.UsageError(f"--use {use} is for --lane orders")
        lines = run(accept_commands(settings_or_usage(), partition, use=use, reason=reason, apply=apply_it))
    for line in lines:
        click.echo(line)
    if not apply_it:
        talk().print("nothing was changed; --apply does it")
