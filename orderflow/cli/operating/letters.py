"""``orderflow letters``: list and show; the verbs that change something are in ``retrying.py``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from orderflow.cli.operating.choosing import (
    ALL_GROUPS,
    check_groups,
    filter_options,
    filters_of,
    letters_named,
    read_letters,
)
from orderflow.cli.operating.options import moment
from orderflow.cli.operating.retrying import drop, edit, retry
from orderflow.cli.outcome import NotFound, run, settings_or_usage
from orderflow.cli.output import out, print_json, print_table, quiet_libraries, talk
from orderflow.screen import counted

if TYPE_CHECKING:
    from orderflow.operations.letters.letter import Group, Letter
    from orderflow.settings import Settings

#: More lines help nobody: then the causes are shown.
_ROWS_MAX = 1000


@click.group(epilog="Example: orderflow letters list --group")
def letters() -> None:
    """Records that were set aside: what they are, why, and how they come back."""


for _verb in (retry, edit, drop):
    letters.add_command(_verb)


@letters.command("list", epilog="Example: orderflow letters list --reason-code failed --from 2h --group")
@filter_options(groups=True)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(["open", "retried", "edited", "dropped"]),
    help="Only letters with this status; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
def list_letters(as_json: bool, group: str | None, **given: Any) -> None:
    """List the dead letters, or with --group their causes.

    Letters of one cause have the same reason, the same detail but for numbers, and the same type of event.
    """
    from orderflow.operations.letters.letter import grouped

    quiet_libraries()
    filters = filters_of(group=group, **given)
    settings = settings_or_usage()
    _, found, table = run(read_letters(settings, filters.since))
    check_groups(found, filters)
    taken = [(letter, status) for letter in found if filters.take(letter, status := table.status(str(letter.id)))]
    causes = grouped(taken) if group == ALL_GROUPS or (len(taken) > _ROWS_MAX and not as_json) else None
    if causes is not None:
        _show_groups(causes, as_json=as_json)
        if group != ALL_GROUPS:
            talk().print(
                f"these are the causes: there are more than {_ROWS_MAX} letters; --group ID or --json lists them"
            )
    elif as_json:
        for letter, status in taken:
            print_json(document_of(letter, status))
    else:
        print_table(
            ("letter", "status", "reason", "topic", "key", "type", "set aside", "group", "detail~"),
            [
                (
                    str(letter.id),
                    status,
                    letter.reason,
                    letter.topic,
                    letter.key or "",
                    letter.type,
                    moment(letter.at),
                    letter.group,
                    letter.detail,
                )
                for letter, status in taken
            ],
            optional=("topic", "type", "set aside"),
        )
    if not as_json:
        talk().print(f"{counted(len(taken), 'letter')}, {sum(status == 'open' for _, status in taken)} open")


def document_of(letter: Letter, status: str) -> dict[str, object]:
    """The letter as ``letters list --json`` prints it."""
    return {
        "letter": str(letter.id),
        "status": status,
        "group": letter.group,
        "reason": letter.reason,
        "detail": letter.detail,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "key": letter.key,
        "type": letter.type,
        "at": letter.at,
        "redelivered": letter.redelivered,
    }


def _show_groups(groups: list[Group], *, as_json: bool) -> None:
    if as_json:
        for group in groups:
            print_json(group)
        return
    print_table(
        ("group", "letters#", "open#", "orders#", "reason", "type", "first", "last", "detail~"),
        [
            (
                group.group,
                str(group.letters),
                str(group.open),
                str(group.orders),
                group.reason,
                group.type,
                moment(group.first),
                moment(group.last),
                group.detail,
            )
            for group in groups
        ],
        optional=("reason", "first", "last", "orders"),
    )


@letters.command(epilog="Example: orderflow letters show 3-812")
@click.argument("letter_id")
@click.option("--secrets", is_flag=True, help="Show personal data and secrets; without it texts are masked.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def show(letter_id: str, secrets: bool, as_json: bool) -> None:
    """Show a letter's record, and what would become of it now.

    The record is decided against the newest snapshot of its order with the code of this command; nothing is written.
    """
    quiet_libraries()
    settings = settings_or_usage()
    document = run(_shown(settings, letter_id, secrets=secrets))
    if as_json:
        print_json(document)
        return
    console = out()
    console.print(f"[bold]{letter_id}[/bold]  {document['status']}, {document['reason']}", highlight=False)
    for name in ("detail", "type", "key", "group", "at", "redelivered"):
        console.print(f"{name}: {document[name]}", markup=False, highlight=False)
    console.print(
        f"came in: {document['topic']}/{document['partition']}/{document['offset']}", markup=False, highlight=False
    )
    for name, text in document["headers"]:
        console.print(f"header {name}: {text}", markup=False, highlight=False)
    console.print_json(data=document["value"])
    now = document["now"]
    states = f" {now.get('state')} -> {now.get('state_after')}" if now.get("state_after") != now.get("state") else ""
    console.print(
        f"now it would be: {now['verdict']}{states}{': ' + now['detail'] if now.get('detail') else ''}",
        markup=False,
        highlight=False,
    )


async def _shown(settings: Settings, letter_id: str, *, secrets: bool) -> dict[str, Any]:
    import msgspec

    from orderflow.operations.actions.acting import read_letter_record
    from orderflow.operations.actions.selection import item_of, not_deliverable
    from orderflow.operations.actions.verdict import Verdict, verdict_now
    from orderflow.operations.letters.letter import OWN_TOPICS
    from orderflow.operations.letters.masking import shown_headers, shown_value

    reader, found, table = await read_letters(settings)
    (letter,) = letters_named(found, [letter_id])
    record = await read_letter_record(reader, letter)
    if record is None:
        raise NotFound(f"there is no letter {letter_id} any more")
    known = table.letters.get(letter_id)
    hindrance = not_deliverable(letter)
    if hindrance is not None:
        verdict = Verdict("refused", hindrance)
    elif letter.topic in OWN_TOPICS:
        verdict = Verdict("elsewhere", f"its lane would decide the record of {letter.topic} again")
    else:
        snapshot = (await reader.snapshots([letter.key or ""])).get(letter.key or "")
        verdict = verdict_now(item_of(letter, known), record, snapshot, now=datetime.now(UTC), policy=settings.policy())
    return {
        **document_of(letter, table.status(letter_id)),
        "done": None if known is None else msgspec.to_builtins(known),
        "headers": shown_headers(record.headers, secrets=secrets),
        "value": shown_value(record.value, secrets=secrets),
        "now": msgspec.to_builtins(verdict),
    }
