"""What is paused, or stopped, of the lanes that an order's next step passes through. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from consumers.pauses.records import Pause
from consumers.pauses.scopes import Scope
from orderflow.inspection.waits import Wait
from producers.topics import Lane
from statemachine.order.order import OpenCommand, Order

_INQUIRE = "inquire"


def scopes_of(order: Order, orders: Scope, commands: Scope) -> list[Scope]:
    """The scopes whose pause may concern the order; ``orders`` and ``commands`` are its partitions of these lanes."""
    names = {name for command in order.commands for name in _names(command)}
    return [
        Scope(Lane.ORDERS),
        orders,
        Scope(Lane.COMMANDS),
        commands,
        Scope(Lane.WEBHOOKS),
        *(Scope(Lane.COMMANDS, command=name) for name in sorted(names)),
    ]


def _names(command: OpenCommand) -> Iterator[str]:
    """Under which names a pause stops the command, or the look-up of what became of it."""
    yield command.name
    if command.inquired_by is not None or command.step == "unknown":
        yield _INQUIRE


def resume_wait(pause: Pause) -> Wait:
    """A person who has to resume what is paused."""
    what = f"a person to resume {pause.scope}: {pause.reason} (paused by {pause.actor})"
    return Wait(what, pause.since, None, "operator", f"orderflow resume {pause.scope} --reason TEXT --apply")


def _repair_wait(scope: Scope, problem: str) -> Wait:
    """A person who has to repair a partition that is stopped."""
    what = f"a person to repair {scope}, which is stopped: {problem}"
    return Wait(what, None, None, "operator", "its repair, see docs/how-to/repair-a-stopped-partition.md")


def stops_of(lane: Lane, pauses: Iterable[Pause], broken: Mapping[Scope, str]) -> list[Wait]:
    """What stops the lane where the order passes through it: the pause of it, and partitions that are stopped, by problem."""
    paused = _of_lane(pauses, lane)
    stopped = [_repair_wait(scope, problem) for scope, problem in broken.items() if scope.lane is lane]
    return stopped if paused is None else [resume_wait(paused), *stopped]


def _of_lane(pauses: Iterable[Pause], lane: Lane) -> Pause | None:
    """The pause of a whole lane, or of the order's partition of it."""
    return next((one for one in pauses if one.scope.lane is lane and one.scope.command is None), None)


def under_pauses(
    commands: Sequence[tuple[OpenCommand, Wait]], pauses: Sequence[Pause], broken: Mapping[Scope, str]
) -> tuple[list[Wait], list[Wait]]:
    """What stops open commands, and the waits of the commands: those that are stopped are an operator's turn.

    Commands of an order wait behind one of them that is paused. ``broken``: partitions that are stopped, with their problems.
    """
    whole = stops_of(Lane.COMMANDS, pauses, broken)
    kinds = {one.scope.command: one for one in pauses if one.scope.command is not None}
    stopping: dict[Scope, Wait] = {}
    stopped: list[OpenCommand] = []
    for command, _ in sorted(commands, key=lambda one: one[0].asked):
        kind = next((kinds[name] for name in _names(command) if name in kinds), None)
        if command.step == "stuck" or not (whole or kind is not None or stopped):
            continue
        stopped.append(command)
        if kind is not None and not whole:
            stopping.setdefault(kind.scope, resume_wait(kind))
    waits = [replace(wait, turn="operator") if command in stopped else wait for command, wait in commands]
    return [*(whole if stopped else ()), *stopping.values()], waits
