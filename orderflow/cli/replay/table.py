"""``orderflow replay rebuild``, ``compare`` and ``adopt``: the table of orders made anew, looked at, and taken from."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from orderflow.cli.outcome import CommandError, HistoryTooThin, NotFound, UsageProblem, run, settings_or_usage
from orderflow.cli.output import out, print_json, print_table, quiet_libraries, talk
from orderflow.cli.parameters import reason_text
from orderflow.screen import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orderflow.replay.table.adoption import Adoption
    from orderflow.replay.table.comparison import TableComparison
    from orderflow.replay.table.rebuilding import Rebuilt
    from orderflow.settings import Settings


@click.command(epilog="Example: orderflow replay rebuild --into rebuilt.")
@click.option("--into", "into", metavar="PREFIX", required=True, help="Prefix of the new table: PREFIXorders.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, for each partition.")
def rebuild(*, into: str, as_json: bool) -> None:
    """Decide the whole history again and write the table of orders anew as PREFIXorders.

    Workers may go on; nothing of theirs is touched. A rebuild that was ended goes on where it was, and one that is repeated
    takes in what was decided since. Orders that began before the history are taken from the live table of that time; where
    there is none they are left out. Exit code 5 when orders were left out or the history has a gap.
    """
    quiet_libraries()
    settings = settings_or_usage()
    if into == settings.topic_prefix:
        raise UsageProblem("--into is the prefix of the live topics")

    def done(one: Rebuilt) -> None:
        if as_json:
            print_json(one)
        else:
            out().print(_line(one), markup=False, soft_wrap=True)
        sys.stdout.flush()  # a partition may take minutes: who reads this through a pipe sees it at once

    found = run(_rebuilt(settings, into, done))
    left_out = sum(len(one.left_out) for one in found)
    if left_out:
        raise HistoryTooThin(f"{counted(left_out, 'order')} began before the history and were left out")
    if any(one.begins for one in found):
        raise HistoryTooThin(
            "the history does not reach back to the beginning: what is before it was copied, not rebuilt"
        )


async def _rebuilt(settings: Settings, into: str, done: Callable[[Rebuilt], None]) -> list[Rebuilt]:
    """Partition after partition; ``done`` is told of each when it is whole."""
    from orderflow.replay.check import quiet, tasks_of
    from orderflow.replay.table.rebuilding import HeldTable, make_table, rebuild_partition

    quiet()
    tasks = await tasks_of(settings, since=0)
    await make_table(settings.connection(), into, tasks[0].partitions)
    async with HeldTable(settings.connection(), into):
        found: list[Rebuilt] = []
        for task in tasks:
            found.append(await rebuild_partition(task, into))
            done(found[-1])
        return found


def _line(one: Rebuilt) -> str:
    went_on = ", went on where an earlier run was" if one.went_on else ""
    begins = f"; the history begins late: {one.begins}" if one.begins else ""
    return (
        f"partition {one.partition}: {counted(one.transactions, 'transaction')} decided, "
        f"{counted(one.snapshots, 'snapshot')} written{went_on}{begins}"
    )


@click.command(epilog="Example: orderflow replay compare rebuilt.")
@click.argument("prefix")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, for each order that differs.")
def compare(*, prefix: str, as_json: bool) -> None:
    """Compare the live table of orders with the one that was rebuilt as PREFIXorders, byte for byte.

    Exit code 0 when all orders are the same, but for those that have moved on since; 1 when some differ.
    """
    quiet_libraries()
    settings = settings_or_usage()
    if prefix == settings.topic_prefix:
        raise UsageProblem("PREFIX is the prefix of the live topics")
    found = run(_compared(settings, prefix))
    if as_json:
        for one in found.differences:
            print_json(one)
    elif found.differences:
        rows = [(one.order_id, one.kind.replace("_", " "), ", ".join(one.members)) for one in found.differences]
        print_table(("order", "what", "members~"), rows)
    moved = len(found.differences) - found.differ
    talk().print(f"{counted(found.same, 'order')} the same, {found.differ} differ, {moved} moved on since")
    if found.differ:
        raise CommandError(f"{counted(found.differ, 'order')} differ")


async def _compared(settings: Settings, into: str) -> TableComparison:
    from orderflow.replay.streams import partition_counts
    from orderflow.replay.table.comparison import compare_tables
    from producers.topics import Topic, prefixed

    live, rebuilt = (prefixed(one, Topic.ORDERS) for one in (settings.topic_prefix, into))
    counts = await partition_counts(settings.connection(), [live, rebuilt])
    if rebuilt not in counts or live not in counts:
        missing = rebuilt if rebuilt not in counts else live
        raise NotFound(f"there is no topic {missing}; orderflow replay rebuild --into {into} makes the rebuilt one")
    return await compare_tables(settings.connection(), settings.topic_prefix, into, counts[live])


@click.command(epilog='Example: orderflow replay adopt rebuilt. --order A-1001 --reason "deadline lost in 0.2"')
@click.argument("prefix")
@click.option(
    "--order",
    "orders",
    multiple=True,
    metavar="ID",
    help="Only this order; may be repeated.  [default: all that differ]",
)
@click.option("--reason", required=True, callback=reason_text, help="Reason, kept in the position record.")
@click.option("--apply", "apply_it", is_flag=True, help="Apply the change; without it only show what would change.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, for each order.")
def adopt(*, prefix: str, orders: tuple[str, ...], reason: str, apply_it: bool, as_json: bool) -> None:
    """Make snapshots of PREFIXorders the live ones: of the orders named, or of all that differ.

    Stop the workers of the order lane first; one that still runs is fenced and restores its partition. The order's sequence
    stays as it is. No state change is written: readers of order-state-changes do not learn of another state by it.
    """
    quiet_libraries()
    settings = settings_or_usage()
    if prefix == settings.topic_prefix:
        raise UsageProblem("PREFIX is the prefix of the live topics")
    found = run(_adopted(settings, prefix, orders, reason=reason, apply=apply_it))
    for one in found:
        if as_json:
            print_json(one)
        else:
            state = one.state if one.state is not None else "no readable snapshot"
            verb = "adopted" if one.applied else "would be adopted"
            out().print(f"order {one.order_id}: {state} -> {one.adopted_state}, {verb}", markup=False)
    if not apply_it:
        talk().print("nothing was changed; repeat with --apply to change it")


async def _adopted(settings: Settings, into: str, orders: Sequence[str], *, reason: str, apply: bool) -> list[Adoption]:
    from consumers.group.table_reader import read_table
    from orderflow.replay.streams import partition_counts
    from orderflow.replay.table.adoption import adopt_snapshots
    from orderflow.replay.table.comparison import compare_tables
    from orderflow.settings import operator_of
    from producers.partitioner import partition_of
    from producers.topics import Topic, prefixed

    live, rebuilt = (prefixed(one, Topic.ORDERS) for one in (settings.topic_prefix, into))
    counts = await partition_counts(settings.connection(), [live, rebuilt])
    if rebuilt not in counts or live not in counts:
        raise NotFound(f"there is no topic {rebuilt if rebuilt not in counts else live}")
    if not orders:
        told = (await compare_tables(settings.connection(), settings.topic_prefix, into, counts[live])).differences
        orders = [one.order_id for one in told if one.kind in ("differs", "unreadable")]
    else:
        one = orders[0] if len(orders) == 1 else None  # of several the whole table is read, once
        known = await read_table(settings.connection(), into, Topic.ORDERS, key=one)
        for name in orders:  # before the first partition is written
            if name not in known:
                raise NotFound(f"order {name} was not rebuilt")
    by_partition: dict[int, list[str]] = {}
    for name in dict.fromkeys(orders):
        by_partition.setdefault(partition_of(name.encode(), counts[live]), []).append(name)
    found: list[Adoption] = []
    for number, names in sorted(by_partition.items()):
        found += await adopt_snapshots(
            settings.connection(),
            settings.topic_prefix,
            into,
            number,
            names,
            partitions=counts[live],
            actor=operator_of(settings),
            reason=reason,
            apply=apply,
            timestamp_ms=int(time.time() * 1000),
        )
    return found
