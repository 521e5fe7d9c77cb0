"""One scenario told live: each step as it is done, each change as it is seen, and whether the end was the right one."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from orderflow.demonstration import telling
from orderflow.demonstration.player import playing
from orderflow.demonstration.scenario import AdminCall, Pause, Scenario, Step, Wait, Webhook, available, load, named
from orderflow.demonstration.stage import set_stage
from orderflow.demonstration.standing import Standing
from orderflow.demonstration.watching import Change
from orderflow.event_lines import EventLine
from orderflow.logs import configure_logging


def list_scenarios() -> Iterator[tuple[str, str]]:
    """Name and story of each scenario that came with orderflow.

    Raises:
        ConfigError: One of the files is not what it must be.
    """
    for path in available():
        yield path.stem, load(path).title.story


async def run_scenario(name: str) -> None:
    """Play the scenario of that name, or in that file, and tell it on stdout.

    Raises:
        ConfigError: There is no such scenario, or its file is not what it must be.
        InvariantBroken: It did not end as it must; one line that says what differs.
    """
    configure_logging(level="critical", style="auto")
    scenario = named(name)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = telling.FILE_WIDTH
    console.print(Text(f"{scenario.title.story} ({scenario.name}, order {scenario.order})\n", style="bold"))
    teller = _Teller(console)
    async with set_stage(settings=scenario.title.settings) as stage, playing(stage) as player:
        teller.begin()
        await player.play(scenario, teller.tell)
        refused = player.watch.refused.get(scenario.order, [])
    changes = player.watch.changes.get(scenario.order, [])
    for reason in refused:
        console.print(Text(f"         refused: {reason}"))
    console.print(f"\nEnded as it must: {_ending(scenario, changes)}")


def _ending(scenario: Scenario, changes: list[Change]) -> str:
    books = ", ".join(f"{name} {value}" for name, value in scenario.end.books.items())
    state = changes[-1].state if changes else Standing().state
    return f"{state}, after {len(changes)} changes without a gap. Digital River's books: {books or 'nothing'}."


class _Teller:
    """Prints a line for each step and each change, with the seconds since the beginning."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = 0.0
        self._state = ""

    def begin(self) -> None:
        """The time of the story starts now."""
        self._began = time.monotonic()

    def tell(self, what: Step | Change) -> None:
        """One step or change."""
        text = self._change(what) if isinstance(what, Change) else _step(what)
        if text is not None:
            self._console.print(Text(f"{time.monotonic() - self._began:5.2f} s  ").append(text), soft_wrap=True)

    def _change(self, change: Change) -> Text:
        sender, event = telling.cause_of(change)
        line = Text(f"{change.data['sequence']:>2}  {sender:13}  {event:32}  ")
        moved = change.state != self._state
        line.append(f"{change.state if moved else '·':17}", style="bold" if moved else "")
        line.append("  " + ", ".join(telling.beside(change.data)))
        self._state = change.state
        line.rstrip()
        return line


def _step(step: Step) -> Text | None:
    """What somebody outside does; a wait is not told, its end is seen."""
    match step:
        case EventLine(topic=topic, value=value):
            kind = value.get("type", "?") if isinstance(value, dict) else "a text"
            return Text(f"    {telling.sender_of(topic)} sends {kind}", style="cyan")
        case AdminCall(say=say) | Pause(say=say):
            return Text(f"    {say}", style="cyan")
        case Webhook(webhook=event):
            return Text(f"    Digital River's webhook brings {event.get('type', '?')}", style="cyan")
        case Wait():
            return None
