"""What operators have paused of the lanes that an order's next step passes through. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from consumers.pauses.records import Pause
from consumers.pauses.scopes import Scope
from orderflow.inspection.waits import Wait
from producers.topics import Lane
from statemachine.order.order import OpenCommand, Order

_INQUIRE = "inquire"


def scopes_of(order: Order, *, orders: int, commands: int) -> list[Scope]:
    """The scopes whose pause may concern the order; ``orders`` and ``commands`` are its partitions of these lanes."""
    names = {name for command in order.commands for name in _names(command)}
    return [
        Scope(Lane.ORDERS),
        Scope(Lane.ORDERS, orders),
        Scope(Lane.COMMANDS),
        Scope(Lane.COMMANDS, commands),
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


def of_lane(pauses: Iterable[Pause], lane: Lane) -> Pause | None:
    """The pause of a whole lane, or of the order's partition of it."""
    return next((one for one in pauses if one.scope.lane is lane and one.scope.command is None), None)


def under_pauses(
    commands: Sequence[tuple[OpenCommand, Wait]], pauses: Sequence[Pause]
) -> tuple[list[Pause], list[Wait]]:
    """The pauses that stop open commands, and the waits of the commands: those that are stopped are an operator's turn.

    Commands of an order wait behind one of them that is paused.
    """
    lane = of_lane(pauses, Lane.COMMANDS)
    kinds = {one.scope.command: one for one in pauses if one.scope.command is not None}
    stopping: dict[Scope, Pause] = {}
    stopped: list[OpenCommand] = []
    for command, _ in sorted(commands, key=lambda one: one[0].asked):
        found = lane or next((kinds[name] for name in _names(command) if name in kinds), None)
        if command.step == "stuck" or (found is None and not stopped):
            continue
        stopped.append(command)
        if found is not None:
            stopping.setdefault(found.scope, found)
    waits = [replace(wait, turn="operator") if command in stopped else wait for command, wait in commands]
    return list(stopping.values()), waits
