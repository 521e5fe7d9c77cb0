"""How long a partition has failed to take over, and what a person is told about it.

A take-over is tried again for as long as it takes, because most of what stops it passes: a broker restart, an owner that still
leaves. What does not pass must not stay a warning among others, so after a limit it becomes the partition's problem, which fails
readiness. Pure: ``now`` is an argument, in seconds of any steady clock.
"""

from __future__ import annotations

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
