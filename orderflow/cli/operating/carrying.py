"""Makes an action and carries it out, for every verb that has one: the dry run, the progress, the ending."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orderflow.cli.operating.choosing import reading_progress
from orderflow.cli.outcome import CommandError, run
from orderflow.cli.output import out, print_json, talk
from orderflow.screen import counted

if TYPE_CHECKING:
    from orderflow.operations.actions.reading import TopicReader
    from orderflow.operations.actions.records import ActionRecord, Changed, Kind
    from orderflow.operations.actions.selection import Plan

#: Letters that are left out are named up to here.
_NAMED_MAX = 20


def plan_document(kind: Kind, plan: Plan) -> dict[str, Any]:
    """What a dry run prints."""
    return {
        "kind": kind,
        "applied": False,
        "selected": len(plan.items),
        "orders": len({item.order for item in plan.items}),
        "by_reason": dict(Counter(item.reason or item.topic for item in plan.items)),
        "left_out": [{"letter": letter, "why": why} for letter, why in plan.left_out],
    }


def show_plan(kind: Kind, plan: Plan, *, as_json: bool) -> None:
    """What would be done, and what would not."""
    if as_json:
        print_json(plan_document(kind, plan))
    else:
        document = plan_document(kind, plan)
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(document["by_reason"].items()))
        out().print(
            f"{kind}: {counted(len(plan.items), 'record')} of {counted(document['orders'], 'order')}"
            f"{f' ({reasons})' if reasons else ''}",
            markup=False,
        )
    told = plan.left_out[:_NAMED_MAX]
    for letter, why in told:
        talk().print(f"left out: {letter} {why}", markup=False)
    if len(plan.left_out) > len(told):
        talk().print(f"left out: {len(plan.left_out) - len(told)} more; --json names them")


def act(
    reader: TopicReader,
    kind: Kind,
    plan: Plan,
    *,
    actor: str,
    reason: str,
    asked: str,
    rate: float,
    apply_it: bool,
    as_json: bool,
) -> None:
    """Show the plan, or make an action of it and carry it out.

    Raises:
        CommandError: Nothing can be done, or not everything was.
    """
    from orderflow.operations.actions.acting import new_action
    from orderflow.operations.actions.execution import make_action

    if not apply_it or not plan.items:
        show_plan(kind, plan, as_json=as_json)
        if not plan.items and plan.left_out:
            raise CommandError(f"none of {counted(len(plan.left_out), 'letter')} can be brought back like this")
        if not apply_it:
            talk().print("nothing was changed; repeat with --apply to change it")
        return
    now = datetime.now(UTC)
    record = new_action(kind, plan.items, actor=actor, reason=reason, asked=asked, rate=rate, now=now)
    for letter, why in plan.left_out[:_NAMED_MAX]:
        talk().print(f"left out: {letter} {why}", markup=False)

    async def work() -> ActionRecord:
        await make_action(reader.connection, reader.prefix, record, plan.items)
        talk().print(f"{record.action}: {counted(record.selected, 'record')}", markup=False)
        return await carried(reader, record.action)

    finish(_ran(record.action, work), as_json=as_json)


def _ran(action: str, work: Any) -> ActionRecord:
    try:
        found: ActionRecord = run(work())
    except KeyboardInterrupt:
        talk().print(f"interrupted; orderflow actions resume {action} --reason TEXT --apply goes on", markup=False)
        raise
    return found


def go_on(reader: TopicReader, action: str, resumed: Changed, *, as_json: bool) -> None:
    """Go on with an action that was begun before."""

    async def work() -> ActionRecord:
        return await carried(reader, action, resumed=resumed)

    finish(_ran(action, work), as_json=as_json)


async def carried(reader: TopicReader, action: str, *, resumed: Changed | None = None) -> ActionRecord:
    """Carry an action out, with a progress bar."""
    from orderflow.operations.actions.execution import carry_out

    with reading_progress(action) as progress:

        def told(record: ActionRecord) -> None:
            if progress is not None:
                progress(record.selected - record.left, record.selected)

        return await carry_out(reader, action, resumed=resumed, told=told)


def finish(record: ActionRecord, *, as_json: bool) -> None:
    """Print how an action ended.

    Raises:
        CommandError: It is paused or aborted, or some records were refused or failed.
    """
    if as_json:
        print_json(record.shown())
    else:
        out().print(counts_text(record), markup=False)
    if record.state in ("paused", "aborted"):
        by = "" if record.changed is None else f" by {record.changed.actor}: {record.changed.reason}"
        raise CommandError(f"{record.action} was {record.state}{by}; {record.left} left")
    if record.refused or record.failed:
        raise CommandError(f"{record.refused} refused, {record.failed} failed: orderflow letters list shows why")


def counts_text(record: ActionRecord) -> str:
    """An action in a line."""
    return (
        f"{record.action}: {record.state}, {record.selected} selected: {record.moved} moved, {record.same} same, "
        f"{record.refused} refused, {record.failed} failed, {record.left} left"
    )
