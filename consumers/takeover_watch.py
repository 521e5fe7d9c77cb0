"""How long a partition has failed to take over, and what a person is told about it.

A take-over is tried again for as long as it takes, because most of what stops it passes: a broker restart, an owner that still
leaves. What does not pass must not stay a warning among others, so after a limit it becomes the partition's problem, which fails
readiness. Pure: ``now`` is an argument, in seconds of any steady clock.
"""

from __future__ import annotations

from collections import deque

from statemachine.errors import OrderflowError, TransactionOpen

_HANGING = (
    ". If it stays, the transaction hangs: find it with kafka-transactions.sh find-hanging, see docs/operating.md"
)


class TakeOverWatch:
    """Counts the time from the begin of the first of several take-overs that failed in a row."""

    def __init__(self, number: int, seconds_max: float) -> None:
        """``seconds_max``: failing for so long is a problem."""
        self._number = number
        self._seconds_max = seconds_max
        self._since: float | None = None
        #: The problem has been told since the last success.
        self.told = False

    def forget(self) -> None:
        """A new period of ownership: nothing has failed yet."""
        self._since, self.told = None, False

    def begins(self, now: float) -> None:
        """A take-over begins, the first or one after failures."""
        if self._since is None:
            self._since = now

    def succeeded(self) -> bool:
        """The partition is taken over; True when its problem was that it could not be, and so is over."""
        told = self.told
        self.forget()
        return told

    def failed(self, error: OrderflowError, now: float) -> str | None:
        """The problem, in a line, once it has lasted for too long; None before that, and after a take-over that succeeded."""
        if self._since is None or now - self._since < self._seconds_max:
            return None
        self.told = True
        return (
            f"partition {self._number} cannot be taken over, for {now - self._since:.0f} s now, and is tried again: {error}"
            f"{_HANGING if isinstance(error, TransactionOpen) else ''}"
        )


class RebalanceWatch:
    """Counts how often a group is shared out anew: a fleet that does little else works at nothing, and no single step fails."""

    #: More in a minute than a rolling restart of a dozen workers makes.
    REBALANCES_MAX = 30
    SECONDS = 60.0

    def __init__(self) -> None:
        self._assigned: deque[float] = deque(maxlen=self.REBALANCES_MAX)

    def assigned(self, now: float) -> None:
        """Partitions were shared out."""
        self._assigned.append(now)

    def problem(self, group: str, now: float) -> str | None:
        """What is wrong, in a line, while it is; None else."""
        if len(self._assigned) < self.REBALANCES_MAX or now - self._assigned[0] > self.SECONDS:
            return None
        return (
            f"group {group} was shared out {self.REBALANCES_MAX} times within {self.SECONDS:.0f} s: do two workers have the "
            "same ORDERFLOW_GROUP_INSTANCE_ID, or do workers die again and again?"
        )
