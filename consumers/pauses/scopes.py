"""What can be paused: a lane, one partition of a lane, or the commands of one name."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from producers.topics import Lane

_LANES: Final = "|".join(lane.value for lane in Lane)
_SCOPE: Final = re.compile(
    rf"lane/(?P<lane>{_LANES})|partition/(?P<of>{_LANES})/(?P<number>0|[1-9]\d{{0,5}})|command/(?P<command>[a-z_]{{1,64}})"
)


class Scope(NamedTuple):
    """A scope, read: the lane that it concerns, and which part of it."""

    lane: Lane
    #: A partition of the lane; None: all of them.
    number: int | None = None
    #: Only commands of this name; None: everything.
    command: str | None = None

    def __str__(self) -> str:
        if self.command is not None:
            return f"command/{self.command}"
        return f"lane/{self.lane}" if self.number is None else f"partition/{self.lane}/{self.number}"


def read_scope(text: str) -> Scope | None:
    """The scope that ``text`` names; None when it names none.

    The name of a command is not compared with those that this version knows: a newer one may have more.
    """
    found = _SCOPE.fullmatch(text)
    if found is None:
        return None
    if found["command"]:
        return Scope(Lane.COMMANDS, command=found["command"])
    if found["lane"]:
        return Scope(Lane(found["lane"]))
    return Scope(Lane(found["of"]), int(found["number"]))
