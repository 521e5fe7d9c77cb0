"""``orderflow topics``: create the contract's topics and check them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from orderflow.cli.outcome import CommandError, run, settings_or_usage
from orderflow.cli.output import print_json, print_table, quiet_libraries, talk
from orderflow.cli.parameters import DURATION
from orderflow.screen import counted

if TYPE_CHECKING:
    from orderflow.operations.retention import Reach
    from producers.topics import Retention


@click.group(epilog="Example: orderflow topics create --partitions 8")
def topics() -> None:
    """The Kafka topics that orderflow reads and writes."""


def _retention_options(command: Callable[..., None]) -> Callable[..., None]:
    """``--history`` and ``--personal``, as durations."""
    history = click.option(
        "--history",
        type=DURATION,
        default="90d",
        show_default=True,
        help="How long topics without personal data keep their records: so far back a replay can reach at most.",
    )
    personal = click.option(
        "--personal",
        type=DURATION,
        default="14d",
        show_default=True,
        help="How long topics with personal data keep their records.",
    )
    return history(personal(command))


@topics.command(epilog="Example: orderflow topics create --partitions 8 --replication 3")
@click.option("--partitions", type=click.IntRange(1, 10_000), help="Partitions of every new topic.")
@click.option(
    "--replication",
    type=click.IntRange(1, 100),
    help="Replicas of every partition.  [default: 3, or one per broker where there are fewer]",
)
@_retention_options
@click.option("--alter", is_flag=True, help="Change the settings of existing topics instead; creates none.")
@click.option("--apply", "apply_it", is_flag=True, help="With --alter: change them; without it they are only shown.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def create(
    *,
    partitions: int | None,
    replication: int | None,
    history: timedelta,
    personal: timedelta,
    alter: bool,
    apply_it: bool,
    as_json: bool,
) -> None:
    """Create the missing topics; safe to repeat.

    Existing topics are not changed, except with --alter: then how long they keep their records, and the largest record,
    are set to what --history and --personal say. Choose the number of partitions carefully: it cannot be changed later
    without moving orders.
    """
    from producers.topics import Retention

    quiet_libraries()
    if partitions is None and not alter:
        raise click.UsageError("Missing option '--partitions'.")
    if alter and (partitions is not None or replication is not None):
        raise click.UsageError(
            "--alter changes neither partitions nor replicas: leave --partitions and --replication out"
        )
    if apply_it and not alter:
        raise click.UsageError("--apply needs --alter")
    retention = Retention(_milliseconds(history), _milliseconds(personal))
    if partitions is None:
        _alter(retention, apply_it=apply_it, as_json=as_json)
    else:
        _create(partitions, replication, retention, as_json=as_json)


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _create(partitions: int, replication: int | None, retention: Retention, *, as_json: bool) -> None:
    from producers.topic_setup import create_topics
    from producers.topics import prefixed

    settings = settings_or_usage()
    made = run(
        create_topics(
            settings.connection(),
            settings.topic_prefix,
            partitions=partitions,
            replication=replication,
            retention=retention,
        )
    )
    names = [prefixed(settings.topic_prefix, topic) for topic in made]
    if as_json:
        print_json({"created": names})
    else:
        for name in names:
            click.echo(name)
        talk().print(f"{counted(len(names), 'topic')} created" if names else "nothing to create: all topics exist")


def _alter(retention: Retention, *, apply_it: bool, as_json: bool) -> None:
    from orderflow.operations.retention import alter_topics, find_alterations
    from producers.topic_setup import read_topics

    settings = settings_or_usage()
    found = run(read_topics(settings.connection(), settings.topic_prefix))
    alterations = find_alterations(found, settings.topic_prefix, retention)
    if apply_it and alterations:
        run(alter_topics(settings.connection(), settings.topic_prefix, found, alterations))
    if as_json:
        print_json({"altered" if apply_it else "would_alter": alterations})
        return
    if alterations:
        print_table(
            ("topic", "setting", "now#", "then#"),
            [(one.topic, one.setting, one.before or "", one.after) for one in alterations],
        )
    if not alterations:
        talk().print("nothing to change")
    elif apply_it:
        talk().print(f"{counted(len(alterations), 'setting')} changed")
    else:
        talk().print("nothing was changed; repeat with --apply to change it")


@topics.command(epilog="Example: orderflow topics check")
@_retention_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def check(*, history: timedelta, personal: timedelta, as_json: bool) -> None:
    """Compare the topics with the contract; exit code 1 if there is a problem.

    Checks names, partition counts, cleanup policies, the largest record of topics that orderflow writes, and how long
    records are kept. Also says how far back a replay can reach, and which topic shortens it.
    """
    from orderflow.operations.retention import REPLAYED, replay_reach
    from producers.topic_setup import find_problems, read_topics
    from producers.topics import Retention, Topic, prefixed

    quiet_libraries()
    settings = settings_or_usage()
    prefix = settings.topic_prefix
    found = run(read_topics(settings.connection(), prefix))
    retention = Retention(_milliseconds(history), _milliseconds(personal))
    problems = find_problems(found, prefix, retention, settings.retire_wait)
    whole = all(topic in found for topic in REPLAYED)
    reach = run(replay_reach(settings.connection(), prefix, found, now=datetime.now(UTC))) if whole else None
    if as_json:
        print_json(
            {
                "topics": {prefixed(prefix, topic): state for topic, state in found.items()},
                "problems": problems,
                "replay": reach,
            }
        )
    else:
        print_table(
            ("topic", "partitions#", "replicas#", "cleanup", "largest record#"),
            [
                (
                    prefixed(prefix, topic),
                    str(found[topic].partitions),
                    str(found[topic].replication),
                    found[topic].configs.get("cleanup.policy", ""),
                    str(found[topic].record_bytes_max),
                )
                for topic in Topic
                if topic in found
            ],
        )
        if reach is not None:
            talk().print(_reach_line(reach), markup=False)
        for problem in problems:
            talk().print(("stops workers: " if problem.blocking else "advice: ") + str(problem), markup=False)
    if problems:
        blocking = sum(problem.blocking for problem in problems)
        raise CommandError(f"{counted(len(problems), 'problem')}, of which {blocking} would stop workers")
    talk().print(f"all {len(found)} topics are correct")


def _reach_line(reach: Reach) -> str:
    if reach.since is None:
        return "a replay can reach back to the beginning: no topic has deleted records that it needs"
    since = reach.since.strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"a replay can reach back to {since}; {reach.shortened_by} shortens it ({reach.setting})"
