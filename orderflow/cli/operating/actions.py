"""``orderflow actions``: bulk acts, also those of others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import click

from orderflow.cli.operating.carrying import counts_text, finish, go_on
from orderflow.cli.operating.options import act_options, moment
from orderflow.cli.outcome import CommandError, NotFound, run, settings_or_usage
from orderflow.cli.output import out, print_json, print_table, quiet_libraries, talk
from orderflow.screen import counted

if TYPE_CHECKING:
    from orderflow.operations.actions.reading import TopicReader
    from orderflow.operations.actions.records import ActionRecord
    from orderflow.settings import Settings


@click.group(epilog="Example: orderflow actions list")
def actions() -> None:
    """Bulk acts: retries, drops and redeliveries, with what became of each record.

    An action that nobody carries out any more, because its command was killed, is gone on with by `actions resume`.
    """


async def _read(settings: Settings) -> tuple[TopicReader, dict[str, ActionRecord]]:
    from orderflow.operations.actions.acting import open_reader

    reader = await open_reader(settings.connection(), settings.topic_prefix)
    return reader, (await reader.operations()).actions


def _find(action: str) -> tuple[TopicReader, ActionRecord, str]:
    """A reader, the action, and who asks."""
    from orderflow.settings import operator_of

    quiet_libraries()
    settings = settings_or_usage()
    reader, found = run(_read(settings))
    if action not in found:
        raise NotFound(f"there is no action {action}; orderflow actions list shows all")
    return reader, found[action], operator_of(settings)


@actions.command("list", epilog="Example: orderflow actions list --json")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
def list_actions(as_json: bool) -> None:
    """List the actions, the oldest first."""
    quiet_libraries()
    _, found = run(_read(settings_or_usage()))
    records = sorted(found.values(), key=lambda record: record.at)
    if as_json:
        for record in records:
            print_json(record.shown())
        return
    print_table(
        ("action", "state", "selected#", "moved#", "same#", "refused#", "failed#", "left#", "begun", "by", "reason~"),
        [
            (
                record.action,
                record.state,
                *(str(getattr(record, name)) for name in ("selected", "moved", "same", "refused", "failed", "left")),
                moment(record.at),
                record.actor,
                record.reason,
            )
            for record in records
        ],
        optional=("begun", "by", "reason"),
    )
    talk().print(counted(len(records), "action"))


@actions.command(epilog="Example: orderflow actions show retry-20310304T101112-3f9a1c --json")
@click.argument("action_id")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def show(action_id: str, as_json: bool) -> None:
    """Show an action: who began it, why, and what became of its records."""
    _, record, _ = _find(action_id)
    if as_json:
        print_json(record.shown())
        return
    out().print(counts_text(record), markup=False)
    out().print(f"by {record.actor} at {moment(record.at)}: {record.reason}", markup=False)
    if record.asked:
        out().print(f"chosen by: {record.asked}", markup=False)
    if record.changed is not None:
        changed = record.changed
        out().print(f"last changed by {changed.actor} at {moment(changed.at)}: {changed.reason}", markup=False)


@actions.command(epilog='Example: orderflow actions pause retry-20310304T101112-3f9a1c --reason "too fast" --apply')
@click.argument("action_id")
@act_options
def pause(action_id: str, reason: str, apply_it: bool, as_json: bool) -> None:
    """Pause an action: nothing more is sent. Whoever carries it out stops within two seconds."""
    _stop("pause", action_id, reason, apply_it=apply_it, as_json=as_json)


@actions.command(epilog='Example: orderflow actions abort retry-20310304T101112-3f9a1c --reason "wrong ones" --apply')
@click.argument("action_id")
@act_options
def abort(action_id: str, reason: str, apply_it: bool, as_json: bool) -> None:
    """End an action for good: nothing more is sent. What was sent stays; what was not is left, and its letters are open."""
    _stop("abort", action_id, reason, apply_it=apply_it, as_json=as_json)


def _stop(want: Literal["pause", "abort"], action_id: str, reason: str, *, apply_it: bool, as_json: bool) -> None:
    from orderflow.operations.actions.acting import request

    reader, record, actor = _find(action_id)
    wanted = "paused" if want == "pause" else "aborted"
    if record.state == wanted:
        talk().print(f"{action_id} is {wanted} already")
    elif record.state in ("done", "aborted"):
        raise CommandError(f"{action_id} is {record.state} already")
    elif apply_it:
        record = run(request(reader, action_id, want, actor=actor, reason=reason))
    else:
        talk().print(f"{action_id} would be {wanted}; nothing was changed, repeat with --apply to change it")
    if as_json:
        print_json(record.shown())
    else:
        out().print(counts_text(record), markup=False)
    if apply_it and record.state != wanted:
        raise CommandError(f"{action_id} is {record.state} already")


@actions.command(epilog='Example: orderflow actions resume retry-20310304T101112-3f9a1c --reason "go on" --apply')
@click.argument("action_id")
@act_options
def resume(action_id: str, reason: str, apply_it: bool, as_json: bool) -> None:
    """Go on with an action that is paused, or that nobody carries out any more; here, until it is done.

    A process that still carries it out is stopped by that: two never do.
    """
    from orderflow.operations.actions.acting import keep_act
    from orderflow.operations.actions.records import Act, Changed

    reader, record, actor = _find(action_id)
    if record.state == "aborted":
        raise CommandError(f"{action_id} is aborted; retry its letters anew")
    if record.state == "done":
        finish(record, as_json=as_json)
        return
    if not apply_it:
        if as_json:
            print_json(record.shown())
        else:
            out().print(counts_text(record), markup=False)
        talk().print("nothing was changed; repeat with --apply to go on with it")
        return
    now = datetime.now(UTC)
    run(keep_act(reader, Act("resume", actor, reason, now, action=action_id)))
    go_on(reader, action_id, Changed(actor, reason, now), as_json=as_json)
