"""``orderflow webhooks``: webhooks that were lost, fed again from Digital River's list of events."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from orderflow.cli.operating.choosing import reading_progress
from orderflow.cli.outcome import CommandError, run, settings_or_usage
from orderflow.cli.output import out, print_json, print_table, quiet_libraries, talk
from orderflow.cli.parameters import MOMENT
from orderflow.screen import counted

if TYPE_CHECKING:
    from consumers.provider import RecentEvent
    from orderflow.reconciliation.backfill import Missed
    from orderflow.settings import Settings


@click.group(epilog="Example: orderflow webhooks backfill --since 2d")
def webhooks() -> None:
    """Webhooks of Digital River."""


@webhooks.command(epilog="Example: orderflow webhooks backfill --since 30d --apply")
@click.option(
    "--since",
    type=MOMENT,
    required=True,
    help="Events made since then, 30d at most: a time such as 2031-03-04T10:11:12Z, or how long ago, such as 2h.",
)
@click.option("--rate", type=click.FloatRange(0), help="Requests a second; 0: no limit.  [default: a tenth of all]")
@click.option("--apply", "apply_it", is_flag=True, help="Feed them; without it only show which are missing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, one for each missing event.")
def backfill(since: datetime, rate: float | None, apply_it: bool, as_json: bool) -> None:
    """Feed events whose webhooks never came, from Digital River's list of the last 30 days.

    They go to dr-webhooks, signed with the current token, and on as every webhook does. The same event twice changes nothing, so
    this can be repeated; events from before the topic's retention are fed again, because nobody knows whether they came.
    """
    from orderflow.digitalriver.recent import EVENTS_AGE_MAX

    quiet_libraries()
    settings = settings_or_usage()
    if datetime.now(UTC) - since > EVENTS_AGE_MAX:
        raise click.BadParameter("Digital River keeps events for 30 days", param_hint="--since")
    missed = run(_backfill(settings, since, reads_per_second(settings, rate), apply=apply_it))
    if as_json:
        for event in missed.events:
            print_json(_document(event, sent=apply_it))
    elif missed.events:
        kinds = Counter(event.type for event in missed.events)
        print_table(("type", "events#"), [(kind, str(count)) for kind, count in sorted(kinds.items())])
    else:
        out().print("nothing is missing")
    _say(missed, since, sent=apply_it)


def reads_per_second(settings: Settings, rate: float | None) -> float:
    """Requests a second: as given, else a tenth of what the whole fleet may send."""
    return settings.rate * 0.1 if rate is None else rate


async def _backfill(settings: Settings, since: datetime, per_second: float, *, apply: bool) -> Missed:
    from consumers.group.scanning import no_progress
    from orderflow.providers import load_provider, recent_of
    from orderflow.reconciliation.backfill import feed, find_missed
    from producers.publisher import Publisher

    connection, prefix = settings.connection(), settings.topic_prefix
    async with load_provider(settings) as provider:
        recent = recent_of(provider, per_second=per_second)
        if recent is None:
            raise CommandError(f"the provider {settings.provider} has no list of events: nothing can be fed again")
        events, read = recent.events(since), provider.read_webhook
        with reading_progress("webhooks") as progress:
            missed = await find_missed(connection, prefix, events, since, read=read, progress=progress or no_progress)
    if apply and missed.events:
        async with Publisher(connection) as publisher:
            for event in missed.events:
                await feed(publisher, prefix, settings.signing_tokens, event)
    return missed


def _document(event: RecentEvent, *, sent: bool) -> dict[str, object]:
    return {"id": event.id, "type": event.type, "created": event.created, "about": event.about, "sent": sent}


def _say(missed: Missed, since: datetime, *, sent: bool) -> None:
    count = counted(len(missed.events), "event")
    talk().print(f"{count} missing, {missed.known} came, {missed.skipped} of types that do not concern orders")
    if missed.events and not sent:
        talk().print("nothing was fed; repeat with --apply to feed them")
    elif sent:
        talk().print(f"{count} fed to dr-webhooks")
    back = missed.reaches_back_to_ms
    if missed.events and (back is None or back > since.timestamp() * 1000):
        at = "nothing" if back is None else f"{datetime.fromtimestamp(back / 1000, UTC):%Y-%m-%d %H:%M:%SZ}"
        talk().print(f"dr-webhooks reaches back to {at}: older events may have come, and are harmless when fed again")
