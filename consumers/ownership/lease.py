"""The lease: until when a partition may start calls to Digital River.

Kafka fences a writer of records, but nothing fences an HTTP request. So a call may start only within ``seconds`` (L) of the begin
of the last transaction that the partition's producer committed: a successor inits its producer, which ends our commits, and
waits L before it calls. The clock must advance while the process is frozen and, where the system has such a clock, while the
machine is suspended.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from statemachine.errors import Disposition, OrderflowError

#: L in seconds. A successor waits as long, so it is short; a transaction takes about a hundredth of it.
LEASE_SECONDS = 5.0


def steady_clock() -> float:
    """Seconds that pass also while the process is stopped and, on Linux, while the machine is suspended."""
    boot_time: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


class LeaseExpired(OrderflowError):
    """The lease ran out before a request was written: nothing was sent. RETRY once a transaction has committed."""

    disposition = Disposition.RETRY


class Lease:
    """One partition's right to start calls; without a committed transaction there is none."""

    __slots__ = ("_clock", "_renewed_at", "seconds")

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.seconds = seconds
        self._clock = clock
        self._renewed_at: float | None = None

    def renew(self, begun_at: float) -> None:
        """A transaction that began at ``begun_at`` has committed. Its begin counts: we were not fenced by then."""
        self._renewed_at = begun_at

    def drop(self) -> None:
        """Give the lease up: the producer failed, or another worker owns the partition."""
        self._renewed_at = None

    @property
    def age(self) -> float:
        """Seconds since it was renewed; infinite without one."""
        return float("inf") if self._renewed_at is None else self._clock() - self._renewed_at

    def check(self) -> None:
        """Pass while a call may start. Runs as the last act before a request's first byte.

        Raises:
            LeaseExpired: It may not.
        """
        if self.age >= self.seconds:
            raise LeaseExpired("the lease of the partition ran out before the request was written")


class StepLease(Lease):
    """The lease of a partition that writes at Digital River between its transactions, each of which renews it."""

    __slots__ = ("_write_from",)

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        super().__init__(seconds, clock)
        self._write_from = 0.0

    def took_over(self, begun_at: float, *, inherited: bool) -> None:
        """The init that began at ``begun_at`` has fenced the old owner, if the partition is ``inherited``: it may still call."""
        self.renew(begun_at)
        if inherited:
            self._write_from = self._clock() + self.seconds

    @property
    def wait_seconds(self) -> float:
        """Seconds until the lease of the previous owner is over."""
        return max(0.0, self._write_from - self._clock())

    @property
    def is_old(self) -> bool:
        """A lease that is half over would often end before the request is written."""
        return self.age > self.seconds / 2
