"""A scenario: the story of one order as a file of JSON lines, with the expected end.

The first line is the title, the last the end; between them are the steps, executed one after the other:

- ``{"topic", "key", "value"}``: a record, as ``orderflow events send`` takes it;
- ``{"wait": {...}}``: waits until the order has been as the line says, at or after the change where the last wait ended;
- ``{"admin": "orders/ID/review", "with": {...}}``: a call of the simulator's ``/_admin``: what people outside do, faults, time;
- ``{"seconds": 1.5, "say": "..."}``: real time passes;
- ``{"webhook": {...}}``: an event of Digital River, signed and sent to the relay.

This module only reads files: no Kafka, no network. An unknown member is an error, so that no expectation is silently ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from orderflow.event_lines import WRITABLE, EventLine
from statemachine.errors import ConfigError
from statemachine.messages.json_faults import json_fault
from statemachine.order.order import Payment, State

#: In the source tree, and where an installation has them.
FOLDERS: Final = (
    Path(__file__).parents[2] / "examples" / "scenarios",
    Path(__file__).parents[1] / "scenarios",
)

#: Calls of ``/_admin`` that affect every order: such a scenario needs a simulator of its own.
_FOR_ALL: Final = ("clock", "faults", "gates")


class NoScenario(ConfigError):
    """There is no scenario of that name. STOP. Remedy: ``orderflow demo --list`` names them."""


class Title(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``{"story", "order"}``: the story in one line, and the id of its order.

    ``settings`` are the worker's, by field name; with any, the scenario needs a worker of its own.
    """

    story: str
    order: str
    settings: dict[str, str] = {}


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an order must look like. Members that are not given are not checked.

    ``lines`` names quantities by line, ``refunds`` and ``returns`` the state (and the amount) by id; others may not be there.
    ``cause`` is the type of the event that made the latest change, ``problem`` the code of the refusal that came with it.
    ``attention`` and ``refused`` list a part of each reason, in order, all of them. ``parked`` lists the types that wait.
    """

    state: State | None = None
    payment: Payment | None = None
    amounts: dict[str, str] = {}
    lines: dict[str, dict[str, int]] = {}
    shipments: int | None = None
    captures: list[str] | None = None
    refunds: dict[str, dict[str, str]] | None = None
    returns: dict[str, str] | None = None
    documents: int | None = None
    attention: list[str] | None = None
    cause: str | None = None
    problem: str | None = None
    parked: list[str] | None = None
    refused: list[str] | None = None


class WaitStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wait until the order has been as ``wait`` says."""

    wait: Expected


class AdminCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /_admin/<admin>`` with the body ``with``. ``say`` is printed."""

    admin: str
    say: str
    body: dict[str, Any] = msgspec.field(name="with", default_factory=dict)


class Pause(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Let real ``seconds`` pass: for changes that cannot be observed from outside. ``say`` is printed."""

    seconds: Annotated[float, msgspec.Meta(ge=0, le=10)]
    say: str


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event of Digital River as its webhook delivers it."""

    webhook: dict[str, Any]


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The expected end: the order, and members of its entry in the simulator's books."""

    end: Expected
    books: dict[str, int | str]


ScenarioStep: TypeAlias = EventLine | WaitStep | AdminCall | Pause | Webhook

_STEP_SHAPES: Final[Mapping[str, type[ScenarioStep]]] = {
    "topic": EventLine,
    "wait": WaitStep,
    "admin": AdminCall,
    "seconds": Pause,
    "webhook": Webhook,
}


class Scenario(msgspec.Struct, frozen=True):
    """A whole scenario; ``name`` is its file's."""

    name: str
    title: Title
    steps: tuple[ScenarioStep, ...]
    end: End

    @property
    def order(self) -> str:
        """The id of its order."""
        return self.title.order

    @property
    def is_alone(self) -> bool:
        """Whether it needs a worker and a simulator of its own: it changes what all orders share."""
        calls = (step.admin for step in self.steps if isinstance(step, AdminCall))
        return bool(self.title.settings) or any(call.partition("/")[0] in _FOR_ALL for call in calls)


def load(path: Path) -> Scenario:
    """The scenario in a file.

    Raises:
        NoScenario: There is no such file.
        ConfigError: The file cannot be read or a line is invalid; the message is one line that names it.
    """
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise NoScenario(f"there is no file {path}") from error
    except OSError as error:
        raise ConfigError(f"scenario {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"scenario {path.name}: must be UTF-8") from error
    if len(texts) < 3:
        raise ConfigError(f"scenario {path.name}: must have a title, steps and an end")
    lines = _Lines(path.name)
    title = lines.read(1, texts[0], Title)
    steps = tuple(lines.step(number, text, title.order) for number, text in enumerate(texts[1:-1], 2))
    return Scenario(path.stem, title, steps, lines.end(len(texts), texts[-1]))


def available() -> Iterator[Path]:
    """The files of all bundled scenarios, by name."""
    for folder in FOLDERS:
        if folder.is_dir():
            yield from sorted(folder.glob("*.jsonl"))
            return


def named(name: str) -> Scenario:
    """The scenario of that name, or in that file.

    Raises:
        NoScenario: There is none.
        ConfigError: Its file is invalid.
    """
    for path in available():
        if path.stem == name:
            return load(path)
    if name.endswith(".jsonl"):
        return load(Path(name))
    raise NoScenario(f"there is no scenario {name}; orderflow demo --list names them")


class _Lines:
    """Parses lines; its errors name the line."""

    def __init__(self, name: str) -> None:
        self._name = name

    def read(self, number: int, text: str, shape: type[Any]) -> Any:
        """The line as ``shape``."""
        try:
            return msgspec.json.decode(text, type=shape)
        except msgspec.DecodeError as error:
            raise ConfigError(
                f"scenario {self._name}, line {number}: {json_fault(error, text.encode(), own_names=True)}"
            ) from error

    def end(self, number: int, text: str) -> End:
        """The last line, which must be the end."""
        if "end" not in self.read(number, text, dict[str, msgspec.Raw]):
            raise ConfigError(
                f'scenario {self._name}, line {number}: the last line must be the end: {{"end": {{...}}, "books": {{...}}}}'
            )
        end: End = self.read(number, text, End)
        return end

    def step(self, number: int, text: str, order: str) -> ScenarioStep:
        """The line as a step; its members decide which kind."""
        members = self.read(number, text, dict[str, msgspec.Raw])
        shape = next((shape for member, shape in _STEP_SHAPES.items() if member in members), None)
        if shape is None:
            raise ConfigError(
                f"scenario {self._name}, line {number}: is not a step: it has none of {', '.join(_STEP_SHAPES)}"
            )
        step: ScenarioStep = self.read(number, text, shape)
        if isinstance(step, EventLine):
            if step.topic not in WRITABLE:
                raise ConfigError(f"scenario {self._name}, line {number}: this topic cannot be written")
            if step.topic != "catalog-events" and step.key != order:
                raise ConfigError(f"scenario {self._name}, line {number}: the key must be {order}")
        return step
