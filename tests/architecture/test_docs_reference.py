"""The reference pages of settings, commands, topics and operations are the code's. Run as a module, this writes them again."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from orderflow.cli import main
from orderflow.settings import Settings, variable
from orderflow.simulator.server import ROUTES
from orderflow.telemetry.metric import EVERY, Process, Several
from orderflow.telemetry.metrics import METRICS
from producers.topics import DEFAULT_RETENTION, TOPICS, Cleanup, TopicSpec, group_id
from statemachine.drawing.refusing import listed_refusals
from tests.architecture.sources import ROOT

REFERENCE: Final = ROOT / "docs/reference"
_RENEW: Final = "python -m tests.architecture.test_docs_reference"
_COLUMNS: Final = 100
_DAY_MS: Final = 24 * 60 * 60 * 1000


def settings_page() -> str:
    """Every setting with its default and meaning."""
    defaults = Settings.model_construct().model_dump(mode="json")
    lines = [
        "# Settings",
        "",
        "Each setting is an environment variable or a line in `.env`. Durations are written as `500ms`, `10s`, `2m`,",
        "`24h`, `7d` or several of them together. `orderflow settings` shows the values in force.",
        "",
        "This page is generated from [settings.py](../../orderflow/settings.py):",
        f"`{_RENEW}`.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = defaults[name]
        shown = "" if default in {None, ""} else f"`{default}`"
        if field.annotation is not None and "SecretStr" in str(field.annotation):
            shown = "" if default is None else "the simulator's, which is public"
        lines.append(f"| `{variable(name)}` | {shown} | {field.description} |")
    return "\n".join([*lines, ""])


def _commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """The path and the help of a command and of all below it."""
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _commands(below, click.Context(below, info_name=name, parent=context))


def commands_page() -> str:
    """The help of every command."""
    lines = [
        "# Commands",
        "",
        "Data goes to stdout, messages go to stderr. What changes something is a dry run unless `--apply` is given.",
        "",
        "| exit code | meaning |",
        "|---|---|",
        "| 0 | done |",
        "| 1 | refused |",
        "| 2 | wrong usage or settings |",
        "| 3 | not found |",
        "| 4 | Kafka cannot be reached |",
        "| 5 | the history in Kafka is too thin to say |",
        "| 130 | interrupted |",
        "",
        "This page is generated from the help of [the command line](../../orderflow/cli/__init__.py):",
        f"`{_RENEW}`.",
        "",
    ]
    options = {**main.context_settings, "max_content_width": _COLUMNS, "terminal_width": _COLUMNS}
    root = click.Context(main, info_name="orderflow", **options)
    for path, help_text in _commands(main, root):
        text = "\n".join(line.rstrip() for line in help_text.splitlines())
        lines += [f"## {path}", "", "```text", text, "```", ""]
    return "\n".join(lines)


def _written_by(spec: TopicSpec) -> str:
    return "orderflow" if spec.ours else "you, the relay, or orderflow" if spec.key == "any" else "you"


def topics_page() -> str:
    """Every topic with what it must be."""
    lines = [
        "# Topics and groups",
        "",
        "`ORDERFLOW_TOPIC_PREFIX` stands before each name. `orderflow topics create` makes them; `orderflow topics check`",
        "and every worker compare them with this. [Events](events.md) says what is in them.",
        "",
        f"This page is generated from [topics.py](../../producers/topics.py): `{_RENEW}`.",
        "",
        "| topic | key | written by | read by the lane | cleanup | kept for |",
        "|---|---|---|---|---|---|",
    ]
    for spec in TOPICS.values():
        lane = "" if spec.read_by is None else f"`{spec.read_by.value}`"
        cells = (f"`{spec.topic.value}`", spec.key, _written_by(spec), lane, f"`{spec.cleanup.value}`", _kept(spec))
        lines.append(f"| {' | '.join(cells)} |")
    aligned = ", ".join(f"`{spec.topic.value}`" for spec in TOPICS.values() if spec.aligned)
    groups = ", ".join(f"`{group_id('', spec.read_by)}`" for spec in TOPICS.values() if spec.read_by)
    lines += [
        "",
        "These have the same number of partitions, which never changes:",
        "",
        f"    {aligned.replace('`', '')}",
    ]
    unique = ", ".join(dict.fromkeys(groups.split(", ")))
    return "\n".join([*lines, "", f"The consumer groups are {unique}.", ""])


def _kept(spec: TopicSpec) -> str:
    """How long `topics create` lets the topic keep its records."""
    if spec.personal:
        return f"{DEFAULT_RETENTION.personal_ms // _DAY_MS} days: personal data"
    history = f"{DEFAULT_RETENTION.history_ms // _DAY_MS} days"
    if spec.cleanup is Cleanup.COMPACT:
        return f"all for {history}, then the newest of each key" if spec.history else "the newest of each key"
    return history


def refusals_page() -> str:
    """Every code of a refusal with what it says."""
    lines = [
        "# Codes of refusals",
        "",
        "An `order.event_refused` on `order-event-refusals` has a `code`: the stable name of the rule that refused the event",
        "([events](events.md#what-comes-out)). A code never changes its meaning, and none is taken out. The `detail` beside",
        "it is for a person and may be worded anew.",
        "",
        "A code without an event type may refuse any event. `fact.*` is what Digital River reports: it has no sender who is",
        "told, but its dead letter has the same words.",
        "",
        "This page is generated from [the tables](../../statemachine/tables/life_cycle.py) and",
        f"[refusals.py](../../statemachine/refusals.py): `{_RENEW}`.",
        "",
        "| code | events | meaning |",
        "|---|---|---|",
    ]
    for one in listed_refusals():
        kinds = ", ".join(dict.fromkeys(f"`{'fact.*' if kind.startswith('fact.') else kind}`" for kind in one.events))
        lines.append(f"| `{one.code}` | {kinds} | {one.meaning} |")
    return "\n".join([*lines, ""])


#: What Digital River's OpenAPI document of 2024-05-09 has, and the parts of it that the simulator does not serve.
DOCUMENTED_OPERATIONS: Final = 129
NOT_SERVED: Final = (
    "checkout links and sessions (`/drop-in`), country specifications, fees, fulfilment orders and their cancellations",
    "and returns, inventory, invoices, logistics returns, payouts, plans, reservations, sales summaries and transactions,",
    "shipments, shipping labels and quotes, store credit, subscriptions and tax identifiers; new sources (`POST /sources`),",
    "the saved sources of customers, and the tracking and tax details of orders",
)


def operations_page() -> str:
    """Every operation of the simulator with its parameters."""
    routes = sorted(ROUTES, key=lambda route: (route.path, route.method))
    parameters = sum(len(route.parameters) for route in routes)
    lines = [
        "# Operations of the simulator",
        "",
        f"[The simulator](simulator.md) serves **{len(routes)} operations** with **{parameters} query parameters**. Digital",
        f"River's OpenAPI document of 2024-05-09 has {DOCUMENTED_OPERATIONS} operations. A path that is not here answers 404",
        "`not_found`, another method of a path that is here 405 `method_not_allowed`, and a parameter that is not here 400",
        "`unknown_parameter`, each with Digital River's error body.",
        "",
        "Not served are:",
        *NOT_SERVED[:-1],
        f"{NOT_SERVED[-1]}.",
        "",
        "A list of texts is taken as `ids=a&ids=b` and as `ids=a,b`. A time or an amount is taken as it is, and with one of",
        "the operators `[eq]`, `[gt]`, `[gte]`, `[lt]` and `[lte]`: `createdTime[gte]=2031-03-04T00:00:00Z`.",
        "",
        "This page is generated from [the routes](../../orderflow/simulator/server.py):",
        f"`{_RENEW}`.",
        "",
        "| operation | path |",
        "|---|---|",
        *(f"| `{route.method}` | `{route.path}` |" for route in routes),
    ]
    for route in routes:
        if route.parameters:
            named = sorted(route.parameters, key=lambda parameter: parameter.name)
            lines += ["", f"## {route.method} {route.path}", "", "| parameter | holds |", "|---|---|"]
            lines += [f"| `{parameter.name}` | {parameter.kind.value} |" for parameter in named]
    return "\n".join([*lines, ""])


_METRICS_HEAD: Final = """\
# Metrics

Prometheus text at `/metrics`: of a worker on its `ORDERFLOW_HEALTH_PORT`, of the relay and the simulator on their own
port. [Monitor](../how-to/monitor.md) says how to scrape them, and which alerts there are.

A counter counts from the start of its process. Those of a lane are sums over all partitions that the process has had.
A metric with the label `partition` is there while the worker owns the partition, and goes with it. No label takes an
order or a text from outside: the number of series depends on partitions, event types, states and commands only.

This page is generated from [the list](../../orderflow/telemetry/metrics.py), from which the metrics are registered too:
`{renew}`.
[A test](../../tests/telemetry/test_every_metric.py) plays a story in which each of them moves as its text says.

## Several processes

A worker of [several processes](../how-to/stop-restart-scale.md#use-several-cores) shows one number for all. Counters,
histograms and gauges are summed; of these gauges it shows
{several}

What a process had counted stays in the sum when it ends, so that no counter falls. What a killed process counted after
the last scrape is not in the sum. Memory that processes share counts for each of them.
"""


def _of_several() -> str:
    """The gauges that are not summed over the processes of a worker."""
    lines = []
    for several, what in ((Several.MAX, "the largest"), (Several.MIN, "the smallest")):
        names = sorted(f"`{one.name}`" for one in METRICS if one.several is several)
        lines.append(
            textwrap.fill(f"- {what}: {', '.join(names)}", 110, subsequent_indent="  ", break_on_hyphens=False)
        )
    return ";\n".join(lines) + "."


def metrics_page() -> str:
    """Every metric with its type, its labels and its meaning."""
    lines = [_METRICS_HEAD.replace("{renew}", _RENEW).replace("{several}", _of_several())]
    for title, processes in (
        ("Every process", EVERY),
        ("Worker", (Process.WORKER,)),
        ("Relay", (Process.RELAY,)),
        ("Simulator", (Process.SIMULATOR,)),
    ):
        lines += [f"## {title}", "", "| metric | type | labels | meaning |", "|---|---|---|---|"]
        for metric in METRICS:
            if metric.processes == processes:
                labels = ", ".join(f"`{label.name}`" for label in metric.labels)
                lines.append(f"| `{metric.name}` | {metric.kind.value} | {labels} | {metric.help} |")
        lines.append("")
    lines += ["## Labels", "", "| label | of | values |", "|---|---|---|"]
    for label in dict.fromkeys(label for metric in METRICS for label in metric.labels):
        users = [metric for metric in METRICS if label in metric.labels]
        whose = f"`{users[0].name}`" if len(users) == 1 else f"{len(users)} metrics"
        lines.append(f"| `{label.name}` | {whose} | {label.values} |")
    return "\n".join([*lines, ""])


def made() -> dict[Path, str]:
    """Each page with what the code gives now."""
    return {
        REFERENCE / "settings.md": settings_page(),
        REFERENCE / "commands.md": commands_page(),
        REFERENCE / "topics.md": topics_page(),
        REFERENCE / "refusals.md": refusals_page(),
        REFERENCE / "metrics.md": metrics_page(),
        REFERENCE / "simulator-operations.md": operations_page(),
    }


@pytest.mark.parametrize(
    "page", ["settings.md", "commands.md", "topics.md", "refusals.md", "metrics.md", "simulator-operations.md"]
)
def test_a_reference_page_is_what_the_code_gives(page: str) -> None:
    """Settings, commands, topics, refusals and the simulator's operations are documented as they are."""
    path = REFERENCE / page
    assert path.read_text() == made()[path], f"{page} is out of date: {_RENEW}"


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
