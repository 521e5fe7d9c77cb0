"""How long a partition has made no progress, and how often a group is rebalanced.

A take-over or a transaction that fails is retried without end, because most causes pass: a broker restart, an owner that is still
leaving. A cause that lasts must not stay a warning among others, so after a limit it becomes the partition's problem, which fails
readiness. Pure: ``now`` is an argument, in seconds of any steady clock.
"""

from __future__ import annotations

from collections import deque

from statemachine.errors import OrderflowError, TransactionOpen

_HANGING = (
    ". If this persists, the transaction hangs: find it with kafka-transactions.sh find-hanging, "
    "see docs/how-to/end-a-hanging-transaction.md"
)


class ProgressWatch:
    """Measures the time since the last progress, while attempts fail."""

    def __init__(self, number: int, seconds_max: float) -> None:
        """``seconds_max``: failing for so long is a problem."""
        self._number = number
        self._seconds_max = seconds_max
        self._since: float | None = None
        self._in_work = False
        #: What was reported since the last success; None when nothing was.
        self.problem: str | None = None

    def forget(self) -> None:
        """A new period of ownership: nothing has failed yet."""
        self._since, self._in_work, self.problem = None, False, None

    def begins(self, now: float) -> None:
        """A take-over begins, the first or one after failures."""
        if self._since is None:
            self._since = now

    def owned(self) -> bool:
        """The partition was taken over; True when that ends a problem.

        It does not while transactions fail: then every failure is followed by a take-over that succeeds.
        """
        return not self._in_work and self.worked()

    def worked(self) -> bool:
        """Something was committed; True when that ends a problem."""
        had_problem = self.problem is not None
        self.forget()
        return had_problem

    def failed(self, error: OrderflowError, now: float, *, in_work: bool) -> str | None:
        """The problem, in a line, once attempts have failed for too long; None before that.

        ``in_work``: the partition was taken over, and what failed came after it.
        """
        self._in_work = self._in_work or in_work
        self.begins(now)
        assert self._since is not None  # begins has set it
        if now - self._since < self._seconds_max:
            return None
        what = "no progress" if self._in_work else "take-over fails"
        self.problem = (
            f"partition {self._number}: {what} for {now - self._since:.0f} s, retrying: {error}"
            f"{_HANGING if isinstance(error, TransactionOpen) else ''}"
        )
        return self.problem


class RebalanceWatch:
    """Counts the rebalances of a group: a fleet that does little else makes no progress, although no single step fails."""

    #: More in a minute than a rolling restart of a dozen workers makes.
    REBALANCES_MAX = 30
    SECONDS = 60.0

    def __init__(self) -> None:
        self._assigned: deque[float] = deque(maxlen=self.REBALANCES_MAX)

    def assigned(self, now: float) -> None:
        """Partitions were assigned."""
        self._assigned.append(now)

    def problem(self, group: str, now: float) -> str | None:
        """What is wrong, in a line, while it is; None else."""
        if len(self._assigned) < self.REBALANCES_MAX or now - self._assigned[0] > self.SECONDS:
            return None
        return (
            f"group {group} was rebalanced {self.REBALANCES_MAX} times in {self.SECONDS:.0f} s: do two workers have the "
            "same ORDERFLOW_GROUP_INSTANCE_ID, or do workers crash again and again?"
        )
