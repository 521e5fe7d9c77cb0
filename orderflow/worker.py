"""The lanes of one worker process, as its health page and the demo see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from consumers.group.membership import Membership
from consumers.group.pause_reader import PauseReader
from consumers.lanes import dict_store
from consumers.ownership.store import Store
from consumers.pauses.records import Pause
from consumers.pauses.scopes import Scope
from consumers.pauses.table import Pauses
from consumers.provider import Provider
from orderflow.providers import problem_of
from producers.topics import Lane


@dataclass(slots=True)
class Worker:
    """The lanes of one process, as the health page and the demo see them."""

    name: str
    lanes: dict[Lane, Membership] = field(default_factory=dict)
    #: What all lanes call.
    provider: Provider | None = None
    #: What operators have paused.
    pauses: Pauses = field(default_factory=Pauses)
    #: Keeps it current.
    reader: PauseReader | None = None
    #: Where the orders of a partition are kept, by its number.
    make_store: Callable[[int], Store] = dict_store
    #: The lag of an owned partition, where somebody looks at it: records, whether that is exact, and seconds.
    lag: Callable[[Lane, int], tuple[int, bool, float | None] | None] = lambda _lane, _number: None

    def problems(self) -> list[str]:
        """Why this worker is not ready: the provider is away, or lanes do not work yet, stopped or hold their calls."""
        away = None if self.provider is None else problem_of(self.provider)
        groups = [away] if away else []
        groups += [f"pauses: {self.reader.problem}"] if self.reader is not None and self.reader.problem else []
        groups += [
            f"{lane}: {why}" for lane, member in self.lanes.items() for why in (member.problem, member.starting) if why
        ]
        return groups + [
            f"{lane}[{number}]: {partition.problem}"
            for lane, membership in self.lanes.items()
            for number, partition in sorted(membership.partitions.items())
            if partition.problem is not None and number in membership.owned
        ]

    def page(self) -> dict[str, Any]:
        """What each lane and each of its partitions here does, for ``orderflow lanes``."""
        return {
            "worker": self.name,
            "lanes": [
                {
                    "lane": lane.value,
                    "problem": member.problem,
                    "starting": member.starting,
                    "partitions": [
                        {
                            "partition": number,
                            "state": member.partitions[number].state.value,
                            "problem": member.partitions[number].problem,
                            "restored": member.partitions[number].restored,
                            "restore_seconds_left": member.partitions[number].restore_seconds_left,
                            "lag": self.lag(lane, number),
                        }
                        for number in sorted(member.owned)
                    ],
                }
                for lane, member in self.lanes.items()
            ],
        }

    def paused(self) -> list[str]:
        """What operators have paused of what this worker runs, by whom and why, one a line."""
        return [str(pause) for pause in self._pauses_here()]

    def paused_scopes(self) -> list[Scope]:
        """What operators have paused of what this worker runs."""
        return [pause.scope for pause in self._pauses_here()]

    def _pauses_here(self) -> list[Pause]:
        return [
            pause
            for pause in self.pauses
            if (member := self.lanes.get(pause.scope.lane)) is not None
            and (pause.scope.number is None or pause.scope.number in member.owned)
        ]
