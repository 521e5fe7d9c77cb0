"""``orderflow orders find|explain|history|show --at|watch``: what happened to one order, and what it waits for.

From the topics alone, without a group and without a producer; only partitions that can hold the order's key are read.
"""

from __future__ import annotations

import sys
import time
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from orderflow.cli.outcome import HistoryTooThin, NotFound, run, settings_or_usage
from orderflow.cli.output import out, print_json, print_table, quiet_libraries, talk
from orderflow.cli.parameters import health_option
from orderflow.screen import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumers.pauses.records import Pause
    from consumers.pauses.scopes import Scope
    from orderflow.inspection.entries import Entry, Story
    from orderflow.inspection.explaining import Explanation
    from orderflow.inspection.matching import Match
    from orderflow.inspection.past import Evidence
    from orderflow.inspection.reading import OrderRecords, TopicReader
    from orderflow.settings import Settings

#: Reading that takes longer than so many seconds says how far it is.
_QUIET_SECONDS: Final = 1.0
#: And says it again after so many seconds where it does not go to a terminal.
_LINE_SECONDS: Final = 5.0


class ReadProgress:
    """Says on stderr how far reading is, once it takes long."""

    def __init__(self) -> None:
        self._began = self._said = time.monotonic()
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        """So many offsets of so many are behind."""
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if now - self._began < _QUIET_SECONDS or (now - self._said < (0.1 if terminal else _LINE_SECONDS)):
            return
        self._said = now
        text = f"reading: {done:,} of {total:,} records"
        click.echo(f"\r\x1b[K{text}" if terminal else text, err=True, nl=not terminal)
        self._shown = terminal

    def end(self) -> None:
        """Take the line away."""
        if self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)


async def _reader(settings: Settings, progress: ReadProgress) -> TopicReader:
    from orderflow.inspection.reading import open_reader

    return await open_reader(settings.connection(), settings.topic_prefix, progress)


# find


@click.command("find", epilog="Example: orderflow orders find shp-7781")
@click.argument("text")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, for each id that matches.")
def find_orders(text: str, as_json: bool) -> None:
    """Find orders by an id that is TEXT or begins with it.

    Ids of orders, checkouts, Digital River orders, fulfilments, shipments, refunds, returns and files, from the snapshots and the
    index; where none matches, ids of events, from all events that the topics still have, which takes longer.
    """
    if not text:
        raise click.UsageError("TEXT must not be empty")
    quiet_libraries()
    found = run(_find(settings_or_usage(), text))
    if not found:
        raise NotFound(f"no order and no event has an id that begins with {text}")
    if as_json:
        for match in found:
            print_json(match)
        return
    print_table(("order", "matched", "id"), [(one.order_id, one.matched.replace("_", " "), one.value) for one in found])


async def _find(settings: Settings, text: str) -> list[Match]:
    from orderflow.inspection.searching import find

    progress = ReadProgress()
    try:
        return await find(await _reader(settings, progress), text)
    finally:
        progress.end()


# explain


@click.command("explain", epilog="Example: orderflow orders explain A-1001")
@click.argument("order_id")
@health_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def explain_order(order_id: str, urls: tuple[str, ...], as_json: bool) -> None:
    """What the order waits for: since when, until when, whose turn it is, and what would move it on.

    From the topics; that a partition of the order is stopped is known from the health pages of the workers, where they can be
    reached.
    """
    from orderflow.inspection.explaining import explain
    from orderflow.inspection.times import times_of
    from producers.topics import Topic

    quiet_libraries()
    records, pauses, stopped = run(_records_and_stops(settings_or_usage(), order_id, urls))
    if records.snapshot is None:
        raise NotFound(f"there is no order {order_id}")
    told = explain(records.snapshot, times_of(records.values(Topic.ORDER_STATE_CHANGES)), pauses, stopped)
    if as_json:
        print_json(told.document())
    else:
        _print_explanation(told)


async def _records_and_stops(
    settings: Settings, order_id: str, urls: Sequence[str]
) -> tuple[OrderRecords, list[Pause], dict[Scope, str]]:
    """The order's records, and what is paused or stopped where its events and commands pass through."""
    from orderflow.operations.lanes import read_stopped
    from producers.topics import Topic
    from statemachine.errors import BrokerUnavailable

    progress = ReadProgress()
    try:
        reader = await _reader(settings, progress)
        records = await reader.read_order(order_id, (Topic.ORDERS, Topic.ORDER_STATE_CHANGES))
        if records.snapshot is None:
            return records, [], {}
        pauses = await reader.pauses(order_id, records.snapshot)
    finally:
        progress.end()
    try:
        stopped = await read_stopped(settings, reader.partitions_of(order_id), urls)
    except BrokerUnavailable as error:  # such as a missing right to see the groups
        talk().print(f"whether a partition is stopped is not known: {error}", markup=False)
        stopped = {}
    return records, pauses, stopped


def _print_explanation(told: Explanation) -> None:
    console = out()
    since = f" since {_moment(told.since)}" if told.since is not None else ""
    console.print(f"[bold]{told.order_id}[/bold]  {told.state}{since}")
    if not told.waits:
        console.print("It waits for nothing.")
    for wait in told.waits:
        console.print(f"{_TURNS[wait.turn]}: {wait.what}", style="bold", markup=False)
        times = [f"since {_moment(wait.since)}"] if wait.since is not None else []
        times += [f"until {_moment(wait.until)}"] if wait.until is not None else []
        if times:
            console.print(f"    {', '.join(times)}", markup=False)
        console.print(f"    moved on by: {wait.moves_on}", markup=False)


_TURNS: Final = {
    "sender": "the sender's turn",
    "digital_river": "Digital River's turn",
    "orderflow": "orderflow's turn",
    "operator": "an operator's turn",
}


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


# history


@click.command("history", epilog="Example: orderflow orders history A-1001")
@click.argument("order_id")
@click.option("--secrets", is_flag=True, help="Show secrets and personal data.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, with the content of each record.")
def tell_history(order_id: str, secrets: bool, as_json: bool) -> None:
    """All that happened to the order, in its order, as far back as the topics reach.

    Every event that came in, what it changed, each command with its attempts and its outcome, deadlines that fired, parked
    events, dead letters, and what operators did.
    """
    quiet_libraries()
    story = run(_story(settings_or_usage(), order_id, secrets=secrets))
    if not story.entries:
        raise NotFound(f"the topics have nothing of an order {order_id}")
    if story.begins_at is not None:
        talk().print(f"the topics no longer have the changes before change {story.begins_at}", markup=False)
    if as_json:
        for entry in story.entries:
            print_json(entry)
        return
    rows = [(_moment(one.at), one.kind, _entry_text(one)) for one in story.entries]
    print_table(("time", "kind", "what~"), rows)


async def _story(settings: Settings, order_id: str, *, secrets: bool) -> Story:
    from orderflow.inspection.reading import STORY_TOPICS, kept, parked_places
    from orderflow.inspection.story import tell
    from producers.topics import Topic

    progress = ReadProgress()
    try:
        reader = await _reader(settings, progress)
        records = await reader.read_order(order_id, STORY_TOPICS, whole=(Topic.OPERATIONS,))
        by_topic = {topic: kept(found, topic) for topic, found in records.found.items()}
        parked = parked_places(records.snapshot)
        story = tell(order_id, by_topic, parked=parked, secrets=secrets)
        if not story.uncertain:
            return story
        known = await reader.transactions(records, story.uncertain)
        return tell(order_id, by_topic, parked=parked, transactions=known, secrets=secrets)
    finally:
        progress.end()


def _entry_text(entry: Entry) -> str:
    match entry.kind:
        case "event":
            act = f", by {entry.actor}: {entry.reason}" if entry.actor else ""
            return f"{entry.type or 'a record that cannot be read'} ({entry.id or '?'}): {entry.became}{act}"
        case "deadline":
            return f"the deadline {entry.name} fired"
        case "change":
            moved = f"{entry.from_} -> {entry.to}" if entry.from_ != entry.to else f"in {entry.to}"
            act = f", by {entry.actor}: {entry.reason}" if entry.actor else ""
            return f"change {entry.sequence}, {moved}: {', '.join(entry.changed or ()) or 'noted'}{act}"
        case "command":
            return f"{entry.command}, attempt {entry.attempt}: {_end_text(entry)}"
        case "letter":
            return f"dead letter {entry.id}, {entry.reason}: {entry.detail}"
        case "operation":
            return f"{entry.id} {entry.became or ''}, by {entry.actor}: {entry.reason}"


def _end_text(entry: Entry) -> str:
    end = entry.outcome
    if end is None:
        return "no outcome yet"
    parts = [end.result, f"after {end.duration_ms} ms", counted(end.tries, "request")]
    parts += [f"HTTP {end.status}"] if end.status is not None else []
    parts += [f"request {end.request_id}"] if end.request_id is not None else []
    parts += [str(end.problem.get("code"))] if end.problem else []
    return ", ".join(parts)


# show --at


def order_at(order_id: str, moment: datetime) -> dict[str, Any]:
    """The public snapshot of an order as it was.

    Raises:
        NotFound: There was none then.
        HistoryTooThin: It cannot be told.
    """
    from orderflow.inspection.past import ThinHistory, as_document

    if moment > datetime.now(UTC):
        raise click.UsageError("--at is in the future")
    quiet_libraries()
    settings = settings_or_usage()
    try:
        snapshot = run(_order_at(settings, order_id, moment))
    except ThinHistory as error:
        raise HistoryTooThin(f"order {order_id} at {_moment(moment)}: {error}") from error
    if snapshot is None:
        raise NotFound(f"there was no order {order_id} at {_moment(moment)}")
    return as_document(snapshot)


async def _order_at(settings: Settings, order_id: str, moment: datetime) -> bytes | None:
    from orderflow.inspection.past import ThinHistory, quiet_logic, snapshot_at
    from producers.topics import ORDER_INPUTS, Topic

    quiet_logic()
    progress = ReadProgress()
    try:
        reader = await _reader(settings, progress)
        topics = (Topic.ORDERS, Topic.ORDER_STATE_CHANGES, *ORDER_INPUTS)
        records = await reader.read_order(order_id, topics)
        if not any(records.found.values()):
            raise NotFound(f"there is no order {order_id}")

        async def tell(evidence: Evidence) -> bytes | None:
            return await snapshot_at(evidence, moment, policy=settings.policy())

        try:
            return await tell(await reader.evidence(records, whole=False))
        except ThinHistory:
            return await tell(await reader.evidence(records, whole=True))
    finally:
        progress.end()


# watch


@click.command("watch", epilog="Example: orderflow orders watch A-1001")
@click.argument("order_id")
@click.option("--secrets", is_flag=True, help="Show secrets and personal data.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, for each change.")
def watch_order(order_id: str, secrets: bool, as_json: bool) -> None:
    """Follow the order: each change as it comes, until it waits for nothing more. Ctrl-C ends it."""
    quiet_libraries()
    if not run(_watch(settings_or_usage(), order_id, secrets=secrets, as_json=as_json)):
        raise NotFound(f"there is no order {order_id}")


async def _watch(settings: Settings, order_id: str, *, secrets: bool, as_json: bool) -> bool:
    """Print what comes; False when there is no such order."""
    from orderflow.inspection.following import watch
    from orderflow.inspection.masking import masked

    found = False
    async with aclosing(watch(await _reader(settings, ReadProgress()), order_id)) as news:
        async for one in news:
            if not isinstance(one, dict):
                found = True
                if not as_json:
                    _print_explanation(one)
            elif as_json:
                print_json(one if secrets else masked(one))
            else:
                moved = f"{one['from']} -> {one['to']}" if one["from"] != one["to"] else f"in {one['to']}"
                changed = ", ".join(one["changed"]) or "noted"
                out().print(f"change {one['sequence']}, {moved}: {changed} ({one['cause']['type']})", markup=False)
            sys.stdout.flush()
    return found
