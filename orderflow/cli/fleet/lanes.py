"""``orderflow lanes``: every partition of every lane, over all workers."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from orderflow.cli.outcome import run, settings_or_usage
from orderflow.cli.output import out, print_json, print_table, quiet_libraries, talk
from orderflow.cli.parameters import health_option

if TYPE_CHECKING:
    from orderflow.operations.lanes import LaneRow, LanesView, PausedBy
    from orderflow.settings import Settings


@click.command(epilog="Example: orderflow lanes --health http://worker-1:8080 --health http://worker-2:8080")
@health_option
@click.option("--acts", is_flag=True, help="Who paused and resumed what, when and why, instead of the lanes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document for each partition, or each act.")
def lanes(urls: tuple[str, ...], acts: bool, as_json: bool) -> None:
    """Who owns which partition, how far it is behind, what is paused, and what is wrong.

    Lag and owners come from Kafka. Lag is counted by reading; where there is much, ≤ stands before the most that it can be.
    State, restore progress and problems come from the health pages of the workers, where
    they can be reached.
    """
    from orderflow.operations.lanes import read_lanes

    quiet_libraries()
    settings = settings_or_usage()
    if acts:
        _print_acts(settings, as_json=as_json)
        return
    view = run(read_lanes(settings, urls))
    for url, why in sorted(view.pages_missing.items()):
        talk().print(f"no health page at {url}: {why}", markup=False)
    if as_json:
        for row in view.rows:
            print_json(row)
        return
    print_table(
        ("lane", "partition#", "owner", "state", "lag#", "seconds#"),
        [_row(row) for row in view.rows],
        optional=("owner",),
    )
    _print_lines(view)


def _row(row: LaneRow) -> tuple[str, ...]:
    state = "paused" if row.paused is not None else row.state
    if row.restored is not None:
        left = "" if row.restore_seconds_left is None else f", {row.restore_seconds_left:.0f} s left"
        state = f"{row.state} {row.restored:.0%}{left}"
    seconds = "" if row.lag_seconds is None else f"{row.lag_seconds:.0f}"
    lag = str(row.lag) if row.lag_exact else f"≤ {row.lag}"
    return (row.lane, str(row.partition), row.owner or "", state, lag, seconds)


def _print_lines(view: LanesView) -> None:
    """The sentences: pauses, then problems."""
    lines = [f"paused: {_told(pause)}" for pause in view.pauses]
    lines += [f"problem: {problem}" for problem in view.problems]
    lines += [f"problem: {row.lane}[{row.partition}]: {row.problem}" for row in view.rows if row.problem is not None]
    console = out()
    for line in lines:
        for part in textwrap.wrap(line, console.width, subsequent_indent="  ", break_long_words=False):
            console.print(part, markup=False, soft_wrap=True)


def _told(pause: PausedBy) -> str:
    return f"{pause.scope} by {pause.actor}{f' since {pause.since}' if pause.since else ''}: {pause.reason}"


def _print_acts(settings: Settings, *, as_json: bool) -> None:
    from orderflow.operations.pausing import read_operations

    found = run(read_operations(settings)).acts.values()
    if as_json:
        for act in found:
            print_json(act)
        return
    print_table(
        ("at", "act", "scope", "actor", "reason~"),
        [(f"{act.at:%Y-%m-%d %H:%M:%S}", act.act, act.scope, act.actor, act.reason) for act in found],
    )
