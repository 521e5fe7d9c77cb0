"""``orderflow topics``: create the contract's topics and check them."""

from __future__ import annotations

import click

from orderflow.cli.outcome import CommandError, run, settings_or_usage
from orderflow.cli.output import print_json, print_table, quiet_libraries, talk
from orderflow.screen import counted


@click.group(epilog="Example: orderflow topics create --partitions 8")
def topics() -> None:
    """The Kafka topics that orderflow reads and writes."""


@topics.command(epilog="Example: orderflow topics create --partitions 8 --replication 3")
@click.option("--partitions", type=click.IntRange(1, 10_000), required=True, help="Partitions of every new topic.")
@click.option(
    "--replication",
    type=click.IntRange(1, 100),
    help="Replicas of every partition.  [default: 3, or one per broker where there are fewer]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def create(partitions: int, replication: int | None, as_json: bool) -> None:
    """Create the missing topics; safe to repeat.

    Existing topics are not changed. Choose the number of partitions carefully: it cannot be changed later without moving
    orders.
    """
    from producers.topic_setup import create_topics
    from producers.topics import prefixed

    quiet_libraries()
    settings = settings_or_usage()
    made = run(
        create_topics(settings.connection(), settings.topic_prefix, partitions=partitions, replication=replication)
    )
    names = [prefixed(settings.topic_prefix, topic) for topic in made]
    if as_json:
        print_json({"created": names})
    else:
        for name in names:
            click.echo(name)
        talk().print(f"{counted(len(names), 'topic')} created" if names else "nothing to create: all topics exist")


@topics.command(epilog="Example: orderflow topics check")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def check(as_json: bool) -> None:
    """Compare the topics with the contract; exit code 1 if there is a problem.

    Checks names, partition counts, cleanup policies, the largest record of topics that orderflow writes, and the
    retention of topics with personal data.
    """
    from producers.topic_setup import find_problems, read_topics
    from producers.topics import Topic, prefixed

    quiet_libraries()
    settings = settings_or_usage()
    prefix = settings.topic_prefix
    found = run(read_topics(settings.connection(), prefix))
    problems = find_problems(found, prefix)
    if as_json:
        print_json(
            {
                "topics": {prefixed(prefix, topic): state for topic, state in found.items()},
                "problems": problems,
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
        for problem in problems:
            talk().print(("stops workers: " if problem.blocking else "advice: ") + str(problem), markup=False)
    if problems:
        blocking = sum(problem.blocking for problem in problems)
        raise CommandError(f"{counted(len(problems), 'problem')}, of which {blocking} would stop workers")
    talk().print(f"all {len(found)} topics are correct")
