"""``orderflow partitions``: decisions that only an operator can make."""

from __future__ import annotations

from typing import Literal

import click

from orderflow.cli.outcome import run, settings_or_usage
from orderflow.cli.output import quiet_libraries, talk


@click.group(epilog='Example: orderflow partitions accept 3 --use committed --reason "topic was restored"')
def partitions() -> None:
    """Partitions that stopped and need a decision."""


@partitions.command(epilog='Example: orderflow partitions accept 3 --use positions --reason "offsets expired" --apply')
@click.argument("partition", type=click.IntRange(0))
@click.option(
    "--lane",
    type=click.Choice(["orders", "commands"]),
    default="orders",
    show_default=True,
    help="Lane that the partition belongs to.",
)
@click.option(
    "--use",
    type=click.Choice(["positions", "committed", "end", "beginning"]),
    required=True,
    help="orders: trust the position record or the committed offsets. commands: where to continue.",
)
@click.option("--reason", required=True, help="Reason, kept in the record for later readers.")
@click.option("--apply", "apply_it", is_flag=True, help="Apply the change; without it only show what would change.")
def accept(
    partition: int,
    lane: Literal["orders", "commands"],
    use: Literal["positions", "committed", "end", "beginning"],
    reason: str,
    apply_it: bool,
) -> None:
    """Set where PARTITION continues when its recorded offsets disagree or are lost.

    Stop the workers of the lane first. Of the order lane: its committed offsets and its position record disagree. The
    records between the two are read again (harmless: the same event changes nothing) or skipped (lost for the orders);
    the output says which.

    Of the command lane: its committed offset is lost. With --use end none of the existing commands is executed, and orders
    that still wait for one send it again. With --use beginning every command is looked up at Digital River and called
    if its effect is not found: correct only if none of them was ever executed.
    """
    from orderflow.repairs import accept_commands, accept_partition

    quiet_libraries()
    if lane == "orders":
        if use not in ("positions", "committed"):
            raise click.UsageError(f"--use {use} needs --lane commands")
        lines = run(accept_partition(settings_or_usage(), partition, use=use, reason=reason, apply=apply_it))
    else:
        if use not in ("end", "beginning"):
            raise click.UsageError(f"--use {use} needs --lane orders")
        lines = run(accept_commands(settings_or_usage(), partition, use=use, reason=reason, apply=apply_it))
    for line in lines:
        click.echo(line)
    if not apply_it:
        talk().print("nothing was changed; repeat with --apply to change it")
