"""``orderflow replay check``: would this version have decided the same?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orderflow.cli.outcome import CommandError, HistoryTooThin, NotFound, UsageProblem, run, settings_or_usage
from orderflow.cli.output import out, print_json, quiet_libraries, talk
from orderflow.cli.parameters import MOMENT, SHARE, check_window
from orderflow.screen import counted
from statemachine.errors import ConfigError

if TYPE_CHECKING:
    from orderflow.replay.expected import Approval
    from orderflow.replay.findings import Findings, Task


@click.command(epilog="Example: orderflow replay check --from 2h --expect approved.jsonl")
@click.option(
    "--from", "since", type=MOMENT, required=True, help="Begin of the window: a time, or how long ago (2h, 7d)."
)
@click.option("--to", "until", type=MOMENT, help="End of the window, in the same way.  [default: now]")
@click.option("--order", "orders", multiple=True, metavar="ID", help="Only this order; may be repeated.")
@click.option("--partition", type=click.IntRange(0), help="Only this partition.")
@click.option("--sample", type=SHARE, default="100%", show_default=True, help="Share of the orders, such as 1%.")
@click.option(
    "--min-coverage",
    type=click.FloatRange(0, 100),
    default=95.0,
    show_default=True,
    help="Percent of the orders that must be compared whole; with less the exit code is 5.",
)
@click.option(
    "--expect",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Approved differences, a JSON object a line, each with a reason.",
)
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the differences, and the events of each order that differs, into this folder.",
)
@click.option(
    "--processes", type=click.IntRange(1, 256), help="How many partitions at a time.  [default: one per core]"
)
@click.option("--secrets", is_flag=True, help="Show secrets and the data of commands.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document at the end.")
def check(
    *,
    since: datetime,
    until: datetime | None,
    orders: tuple[str, ...],
    partition: int | None,
    sample: int,
    min_coverage: float,
    expect: Path | None,
    folder: Path | None,
    processes: int | None,
    secrets: bool,
    as_json: bool,
) -> None:
    """Decide a window of the history again with this version and its tables, and compare each change and command.

    Reads Kafka and nothing else; writes no record, joins no group, calls nobody. What was decided is in the position records:
    which records in which order, when, and which deadlines fired. An order's first difference is reported; what follows it
    is a consequence.

    Orders that began before the window are compared from a snapshot of that time, else from the beginning of the history
    that is there, else they count as partial.

    \b
    Exit codes: 0 the same (or approved), 1 differences that are not approved, or approved ones that did not appear,
    2 usage, 3 no such partition or no decision of the orders named, 4 Kafka cannot be reached, 5 the history is too thin to say.
    """
    from orderflow.replay.expected import approved, read_approvals

    quiet_libraries()
    settings = settings_or_usage()
    check_window(since, until)
    try:
        approvals = [] if expect is None else read_approvals(expect)
    except ConfigError as error:
        raise UsageProblem(str(error)) from error
    tasks, findings = _checked(
        settings, since, until, orders=orders, partition=partition, sample=sample, processes=processes
    )
    reasons, unused = approved(findings.differences, approvals)
    if folder is not None:
        _write(folder, tasks, findings, reasons, secrets=secrets)
    _show(findings, reasons, unused, secrets=secrets, as_json=as_json)
    _end(findings, reasons, unused, min_coverage, named=bool(orders))


def _checked(
    settings: Any, since: datetime, until: datetime | None, *, processes: int | None, **which: Any
) -> tuple[list[Task], Findings]:
    from orderflow.replay.check import NoSuchPartition, tasks_of
    from orderflow.replay.check import check as run_check

    begin, end = _milliseconds(since), None if until is None else _milliseconds(until)
    try:
        tasks = run(tasks_of(settings, since=begin, until=end, **which))
    except NoSuchPartition as error:
        raise NotFound(str(error)) from error
    screen = talk()

    def progress(done: int, count: int) -> None:
        if screen.is_terminal:
            screen.print(f"{done} of {counted(count, 'partition')}", style="dim")

    return tasks, run_check(settings, tasks, processes=processes, progress=progress)


def _milliseconds(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1000)


def _write(folder: Path, tasks: Sequence[Task], findings: Findings, reasons: dict[str, str], *, secrets: bool) -> None:
    import msgspec

    from orderflow.replay.playable import write_events, write_private
    from orderflow.replay.rendering import difference_document

    folder.mkdir(parents=True, exist_ok=True)
    told = [difference_document(one, reasons.get(one.order_id), secrets=secrets) for one in findings.differences]
    write_private(folder / "differences.json", msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n")
    count = run(write_events(tasks, findings.differences, folder))
    if count:
        talk().print(f"{folder}: events of {counted(count, 'order')}; orderflow decide plays them", markup=False)


def _show(
    findings: Findings, reasons: dict[str, str], unused: Sequence[Approval], *, secrets: bool, as_json: bool
) -> None:
    from orderflow.replay.rendering import document, lines_of

    if as_json:
        print_json(document(findings, reasons, list(unused), secrets=secrets))
        return
    for line in lines_of(findings):
        out().print(line, markup=False, soft_wrap=True)
    for order_id, reason in reasons.items():
        out().print(f"approved: order {order_id}: {reason}", markup=False, soft_wrap=True)


def _end(
    findings: Findings, reasons: dict[str, str], unused: Sequence[Approval], min_coverage: float, *, named: bool
) -> None:
    open_ones = sum(one.order_id not in reasons for one in findings.differences)
    if open_ones:
        raise CommandError(f"{counted(open_ones, 'order')} would be decided otherwise")
    if findings.short:
        names = ", ".join(dict.fromkeys(one.topic for one in findings.short))
        raise HistoryTooThin(f"the history does not reach over the whole window: {names} is too short")
    if not findings.orders.count:
        if named:
            raise NotFound("the window has no decision of an order that was named")
        raise HistoryTooThin("the window has no decision: nothing was compared")
    if findings.orders.coverage * 100 < min_coverage:
        raise HistoryTooThin(
            f"only {findings.orders.coverage:.1%} of the orders could be compared whole, less than {min_coverage:g}%"
        )
    if unused:
        raise CommandError(f"{counted(len(unused), 'approved difference')} did not appear")
