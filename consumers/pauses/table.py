"""The pauses in force, which every lane of a process asks before it begins something.

One ``Pauses`` per process, kept current by its reader; one ``PartitionPauses`` for each partition of each lane. The newest record
counts: a lane that is paused in two scopes goes on when both are resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from consumers.pauses.records import Pause
from consumers.pauses.scopes import Scope
from producers.topics import Lane


class Pauses:
    """What is paused now."""

    def __init__(self) -> None:
        self._current: dict[Scope, Pause] = {}
        self._listeners: list[Callable[[], None]] = []

    def __iter__(self) -> Iterator[Pause]:
        """All pauses, in the order of their scopes."""
        return iter([self._current[scope] for scope in sorted(self._current, key=str)])

    def find(self, scope: Scope) -> Pause | None:
        """The pause of exactly this scope."""
        return self._current.get(scope)

    def listen(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called after each change, for as long as the process lives."""
        self._listeners.append(changed)

    def replace(self, current: Mapping[Scope, Pause]) -> None:
        """These, and no others, are in force."""
        self._current = dict(current)
        for changed in self._listeners:
            changed()

    def of(self, lane: Lane, number: int) -> PartitionPauses:
        """Those that concern one partition of a lane."""
        return PartitionPauses(self, lane, number)


class PartitionPauses:
    """The pauses that concern one partition of one lane."""

    def __init__(self, pauses: Pauses, lane: Lane, number: int) -> None:
        self._pauses = pauses
        self._scopes = (Scope(lane), Scope(lane, number))
        self.listen = pauses.listen

    @property
    def current(self) -> Pause | None:
        """The pause of the lane or of the partition, under which nothing may begin; None when there is none."""
        return next((found for scope in self._scopes if (found := self._pauses.find(scope)) is not None), None)

    def of_command(self, name: str) -> Pause | None:
        """The pause under which no command of this name may begin; None when there is none."""
        return self.current or self._pauses.find(Scope(Lane.COMMANDS, command=name))


def never_paused() -> PartitionPauses:
    """Of a partition that no operator can pause."""
    return Pauses().of(Lane.ORDERS, 0)
