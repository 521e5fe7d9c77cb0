"""Prints one scenario live: each step as it is executed, each change as it is read, and whether the end was as expected."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from orderflow.demonstration import rendering
from orderflow.demonstration.environment import demo_environment
from orderflow.demonstration.expectations import ObservedOrder
from orderflow.demonstration.scenario import (
    AdminCall,
    Pause,
    Scenario,
    ScenarioStep,
    WaitStep,
    Webhook,
    available,
    load,
    named,
)
from orderflow.demonstration.scenario_runner import start_runner
from orderflow.demonstration.watch import ObservedChange, ObservedRefusal
from orderflow.event_lines import EventLine
from orderflow.process.logs import configure_logging
from orderflow.screen import Screen, counted


def list_scenarios() -> Iterator[tuple[str, str]]:
    """Name and story of each bundled scenario.

    Raises:
        ConfigError: One of the files is invalid.
    """
    for path in available():
        yield path.stem, load(path).title.story


async def run_scenario(name: str) -> None:
    """Run the scenario of that name, or in that file, and print it on stdout.

    Raises:
        ConfigError: There is no such scenario, or its file is invalid.
        DemoFailed: It did not end as expected; one line that says what differs.
    """
    configure_logging(level="critical", style="auto")
    scenario = named(name)
    console = Screen(file_width=rendering.FILE_WIDTH)
    console.show(Text(f"{scenario.title.story} ({scenario.name}, order {scenario.order})\n", style="bold"))
    printer = _ScenarioPrinter(console)
    async with demo_environment(settings=scenario.title.settings) as environment, start_runner(environment) as runner:
        printer.begin()
        await runner.run(scenario, printer.print)
    changes = runner.watch.changes.get(scenario.order, [])
    console.show(f"\nEnded as expected: {_ending(scenario, changes)}")


def _ending(scenario: Scenario, changes: list[ObservedChange]) -> str:
    books = ", ".join(f"{name} {value}" for name, value in scenario.end.books.items())
    state = changes[-1].state if changes else ObservedOrder().state
    # The books do not contain what a bank took back; the order does.
    lost = [part for part in rendering.money(changes[-1].data["amounts"]) if "charged back" in part] if changes else []
    ending = ", ".join([state, *lost, f"after {counted(len(changes), 'change')} without a gap"])
    return f"{ending}. Digital River's books: {books or 'nothing'}."


class _ScenarioPrinter:
    """Prints a line for each step, change and refusal, with the seconds since the beginning."""

    def __init__(self, console: Screen) -> None:
        self._console = console
        self._began = 0.0
        self._order = ObservedOrder()

    def begin(self) -> None:
        """Start the clock of the story."""
        self._began = time.monotonic()

    def print(self, what: ScenarioStep | ObservedChange | ObservedRefusal) -> None:
        """One step, change or refusal."""
        time_text = f"{time.monotonic() - self._began:5.2f} s  "
        if isinstance(what, ObservedChange):
            self._change(time_text, what)
        elif isinstance(what, ObservedRefusal):
            self._print_line(f"{time_text}    refused: ", Text(what.text))
        elif (text := _step(what)) is not None:
            self._print_line(f"{time_text}    ", text)

    def _change(self, time_text: str, change: ObservedChange) -> None:
        sender, event = rendering.cause_of(change)
        line = f"{time_text}{change.data['sequence']:>2}  {sender:13}  {event:32}  "
        if self._console.width < rendering.WIDE:
            self._print_line(line, rendering.stacked(change, self._order))
        else:
            state, more = rendering.state_and_other_changes(change, self._order)
            state.pad_right(17 - len(state))
            self._print_line(line, Text("  ").join([state, more]))
        self._order = self._order.after(change.data)

    def _print_line(self, head: str, rest: Text) -> None:
        """Print a line; on a narrow screen ``rest`` is wrapped in its own column."""
        if self._console.width < rendering.WIDE:
            table = Table.grid()
            table.add_column(no_wrap=True)
            table.add_column(overflow="fold")
            table.add_row(head, rest)
            self._console.show(table)
        else:
            rest.rstrip()
            self._console.print(Text(head).append_text(rest), soft_wrap=True)


def _step(step: ScenarioStep) -> Text | None:
    """What happens outside of orderflow; a wait is not printed, since its end is visible."""
    match step:
        case EventLine(topic=topic, value=value):
            kind = value.get("type", "?") if isinstance(value, dict) else "a text"
            return Text(f"{rendering.sender_of(topic)} sends {kind}", style="cyan")
        case AdminCall(say=say) | Pause(say=say):
            return Text(say, style="cyan")
        case Webhook(webhook=event):
            return Text(f"Digital River's webhook delivers {event.get('type', '?')}", style="cyan")
        case WaitStep():
            return None
