"""``orderflow letters retry``, ``edit`` and ``drop``."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import click

from orderflow.cli.operating.carrying import act
from orderflow.cli.operating.choosing import check_groups, filter_options, filters_of, letters_named, read_letters
from orderflow.cli.operating.options import act_options, rate_option
from orderflow.cli.outcome import CommandError, NotFound, run, settings_or_usage
from orderflow.cli.output import out, print_json, quiet_libraries, talk

if TYPE_CHECKING:
    from orderflow.operations.actions.records import ActionTable
    from orderflow.operations.letters.editing import Edit
    from orderflow.operations.letters.letter import Filters, Letter
    from orderflow.settings import Settings


def _chosen(found: list[Letter], table: ActionTable, ids: tuple[str, ...], filters: Filters) -> list[Letter]:
    """The letters that were named, or the open ones that pass the filters.

    Raises:
        NotFound: A letter or a group that was named does not exist.
    """
    check_groups(found, filters)
    if ids:
        named = letters_named(found, ids)
        return [letter for letter in named if filters.take(letter, table.status(str(letter.id)))]
    return [
        letter
        for letter in found
        if (status := table.status(str(letter.id))) == "open" and filters.take(letter, status)
    ]


def _check_named(ids: tuple[str, ...], filters: Filters) -> None:
    if not ids and not filters:
        raise click.UsageError(
            "name letters, or choose them by --reason-code, --type, --topic, --from, --to or --group"
        )


@click.command(epilog='Example: orderflow letters retry --reason-code failed --reason "release 1.4.3" --apply')
@click.argument("letter_ids", nargs=-1)
@filter_options(groups=False)
@rate_option
@click.option("--again", is_flag=True, help="Also when it was retried before, or too often; with one letter only.")
@act_options
def retry(letter_ids: tuple[str, ...], rate: float, again: bool, **options: Any) -> None:
    """Deliver records of letters again: those named, or all open ones that the filters choose.

    Through orderflow.inbox, and decided as if they came now; what the order knows changes nothing. Letters of one order
    are delivered in the order in which their records came, each after the result of the one before. An order that holds
    because of a failed event is released with it. Records of dr-webhooks and catalog-events go back to their topic, and
    their lane decides them again.

    It is an action: `orderflow actions` shows, pauses and resumes it, also when this command is killed. A letter that was
    delivered three times is left to a person: it is retried singly with --again.
    """
    from orderflow.operations.actions.selection import plan_retry
    from orderflow.settings import operator_of

    apply_it, as_json, reason = options.pop("apply_it"), options.pop("as_json"), options.pop("reason")
    filters = filters_of(**options)
    _check_named(letter_ids, filters)
    if again and len(letter_ids) != 1:
        raise click.UsageError("--again needs exactly one letter")
    quiet_libraries()
    settings = settings_or_usage()
    reader, found, table = run(read_letters(settings))
    actor = operator_of(settings)
    chosen = _chosen(found, table, letter_ids, filters)
    plan = plan_retry(found, chosen, table.letters, again=again)
    asked = " ".join(letter_ids[:20]) or filters.text()
    act(reader, "retry", plan, actor=actor, reason=reason, asked=asked, rate=rate, apply_it=apply_it, as_json=as_json)


@click.command(epilog='Example: orderflow letters drop 3-812 --reason "a test order" --apply')
@click.argument("letter_ids", nargs=-1)
@filter_options(groups=False)
@rate_option
@act_options
def drop(letter_ids: tuple[str, ...], rate: float, **options: Any) -> None:
    """Give letters up: those named, or all open ones that the filters choose.

    The letter stays in its topic, marked as dropped. An order that holds because of it is released without the event:
    what waited behind it is decided.
    """
    from orderflow.operations.actions.selection import plan_drop
    from orderflow.settings import operator_of

    apply_it, as_json, reason = options.pop("apply_it"), options.pop("as_json"), options.pop("reason")
    filters = filters_of(**options)
    _check_named(letter_ids, filters)
    quiet_libraries()
    settings = settings_or_usage()
    reader, found, table = run(read_letters(settings))
    actor = operator_of(settings)
    plan = plan_drop(found, _chosen(found, table, letter_ids, filters), table.letters)
    asked = " ".join(letter_ids[:20]) or filters.text()
    act(reader, "drop", plan, actor=actor, reason=reason, asked=asked, rate=rate, apply_it=apply_it, as_json=as_json)


@click.command(epilog='Example: orderflow letters edit 3-812 --set data.lines[0].quantity=2 --reason "typo" --apply')
@click.argument("letter_id")
@click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="Set a member; may be repeated.")
@click.option("--unset", "unsets", multiple=True, metavar="PATH", help="Remove a member; may be repeated.")
@click.option("--file", type=click.File("rb"), help="The whole value instead (- for stdin).")
@click.option("--key", help="Another key: the order id.")
@act_options
def edit(
    letter_id: str,
    sets: tuple[str, ...],
    unsets: tuple[str, ...],
    file: IO[bytes] | None,
    key: str | None,
    reason: str,
    apply_it: bool,
    as_json: bool,
) -> None:
    """Send the record of a letter changed, as a new event; the letter stays as it is.

    A PATH is a place as a letter's detail names it: data.lines[0].price. What was a text stays one: --set
    data.total=27.01 sets "27.01" where a text was, else a number; quotes make a text of it anyway. The header
    orderflow-edited of the new record names the paths, never a value, and orderflow-letter the letter.
    """
    from orderflow.operations.letters.editing import Edit

    pairs = [tuple(one.split("=", 1)) for one in sets]
    if any(len(pair) != 2 for pair in pairs):
        raise click.UsageError("--set takes PATH=VALUE")
    if not (sets or unsets or key) and file is None:
        raise click.UsageError("say what to change: --set, --unset, --file or --key")
    if file is not None and (sets or unsets):
        raise click.UsageError("--file is the whole value: it does not go with --set or --unset")
    change = Edit(
        tuple((pair[0], pair[1]) for pair in pairs), unsets, None if file is None else file.read().strip(), key
    )
    quiet_libraries()
    document = run(_edited(settings_or_usage(), letter_id, change, reason, apply_it=apply_it))
    if as_json:
        print_json(document)
    else:
        out().print(f"{letter_id}: {', '.join(document['edited'])}; {document['then']}", markup=False)
    if not apply_it:
        talk().print("nothing was changed; repeat with --apply to change it")


async def _edited(settings: Settings, letter_id: str, change: Edit, reason: str, *, apply_it: bool) -> dict[str, Any]:
    from datetime import UTC, datetime

    from orderflow.operations.actions.acting import read_letter_record, send_edit
    from orderflow.operations.actions.selection import is_order_id, item_of
    from orderflow.operations.actions.verdict import verdict_now
    from orderflow.operations.letters.editing import EditRefused, edited
    from orderflow.operations.letters.letter import ORDER_TOPICS
    from orderflow.settings import operator_of
    from producers.topics import Topic

    reader, found, table = await read_letters(settings)
    (letter,) = letters_named(found, [letter_id])
    if letter.topic not in ORDER_TOPICS and letter.topic != Topic.CATALOG_EVENTS:
        raise CommandError(f"records of {letter.topic} cannot be edited: they are signed, or orderflow's own")
    if table.status(letter_id) != "open":
        raise CommandError(f"letter {letter_id} is {table.status(letter_id)} already")
    record = await read_letter_record(reader, letter)
    if record is None:
        raise NotFound(f"there is no letter {letter_id} any more")
    try:
        record, paths = edited(record, change, letter=letter_id)
    except EditRefused as error:
        raise CommandError(str(error)) from error
    key = None if record.key is None else record.key.decode(errors="replace")
    if not is_order_id(key):
        raise CommandError("its key is no order id: --key gives it one")
    known, then = table.letters.get(letter_id), "its lane decides it"
    if letter.topic in ORDER_TOPICS and key is not None:
        snapshot = (await reader.snapshots([key])).get(key)
        looked = item_of(letter, known)
        verdict = verdict_now(
            _without_event(looked, key), record, snapshot, now=datetime.now(UTC), policy=settings.policy()
        )
        then = f"{verdict.verdict}{f': {verdict.detail}' if verdict.detail else ''}"
        if verdict.verdict in ("refused", "failed"):
            raise CommandError(f"{letter_id} would be {then}")
    if apply_it:
        await send_edit(reader, letter, known, record, paths, actor=operator_of(settings), reason=reason)
    status = "edited" if apply_it else "open"
    return {"letter": letter_id, "status": status, "edited": list(paths), "then": then, "applied": apply_it}


def _without_event(item: Any, key: str) -> Any:
    """The item of a record that is a new event: nothing that failed is it."""
    import msgspec

    return msgspec.structs.replace(item, event=None, key=key)
