"""Which letters: the filters of ``letters``, and reading with progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from orderflow.cli.outcome import NotFound
from orderflow.cli.output import talk
from orderflow.cli.parameters import MOMENT, check_window

if TYPE_CHECKING:
    from orderflow.operations.actions.reading import TopicReader
    from orderflow.operations.actions.records import ActionTable
    from orderflow.operations.letters.letter import Filters, Letter
    from orderflow.settings import Settings

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

#: ``--group`` without a value.
ALL_GROUPS = "*"


def filter_options(*, groups: bool) -> Callable[[Decorated], Decorated]:
    """The filters; ``groups``: ``--group`` may stand without a value."""
    group = (
        click.option(
            "--group",
            is_flag=False,
            flag_value=ALL_GROUPS,
            help="Only letters of this cause; without a value the causes, with counts.",
        )
        if groups
        else click.option("--group", help="Only letters of this cause, as `orderflow letters list --group` names it.")
    )
    options = (
        click.option("--reason-code", "reasons", multiple=True, help="Only letters set aside for it; may be repeated."),
        click.option("--type", "types", multiple=True, help="Only events of this type; may be repeated."),
        click.option("--topic", "topics", multiple=True, help="Only records that came in on it; may be repeated."),
        click.option("--from", "since", type=MOMENT, help="Set aside then or later: a time, or how long ago (2h)."),
        click.option("--to", "until", type=MOMENT, help="Set aside before then."),
        group,
    )

    def decorate(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def filters_of(
    *,
    reasons: Sequence[str],
    types: Sequence[str],
    topics: Sequence[str],
    since: datetime | None,
    until: datetime | None,
    group: str | None,
    statuses: Sequence[str] = (),
) -> Filters:
    """The filters that were given.

    Raises:
        BadParameter: A reason that no letter has, or a topic that is none.
    """
    from orderflow.operations.letters.letter import Filters
    from producers.topics import Topic
    from statemachine.errors import Reason

    known = get_args(Reason)
    for reason in reasons:
        if reason not in known:
            raise click.BadParameter(f"{reason} is not one of {', '.join(known)}", param_hint="--reason-code")
    for topic in topics:
        if topic not in set(Topic):
            raise click.BadParameter(f"{topic} is no topic of orderflow", param_hint="--topic")
    groups = () if group in (None, ALL_GROUPS) else (str(group),)
    check_window(since, until)
    return Filters(tuple(reasons), tuple(types), tuple(topics), groups, tuple(statuses), since, until)


async def read_letters(
    settings: Settings, since: datetime | None = None
) -> tuple[TopicReader, list[Letter], ActionTable]:
    """A reader, all letters since then, and what was done with them."""
    from orderflow.operations.actions.acting import open_reader

    reader = await open_reader(settings.connection(), settings.topic_prefix)
    with reading_progress("reading letters") as progress:
        letters = await reader.letters(since, progress)
    return reader, letters, await reader.operations()


def letters_named(letters: Sequence[Letter], ids: Sequence[str]) -> list[Letter]:
    """The letters with these ids, in their order.

    Raises:
        NotFound: There is none with one of them.
    """
    by_id = {str(letter.id): letter for letter in letters}
    for one in ids:
        if one not in by_id:
            raise NotFound(
                f"there is no letter {one}; an id is <partition>-<offset> as `orderflow letters list` shows it"
            )
    return [by_id[one] for one in dict.fromkeys(ids)]


def check_groups(letters: Iterable[Letter], filters: Filters) -> None:
    """See that each cause that the filters name has a letter.

    Raises:
        NotFound: One has none.
    """
    known = {letter.group for letter in letters}
    for group in filters.groups:
        if group not in known:
            raise NotFound(
                f"there is no letter of the group {group}; `orderflow letters list --group` lists the groups"
            )


@contextmanager
def reading_progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on a terminal; yields what takes how much was read, and how much there is."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=talk(), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
