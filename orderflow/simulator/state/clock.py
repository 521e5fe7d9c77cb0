"""The simulator's own time: real time plus an offset, and what is due at which time.

What falls due runs in the order of its time, also when the clock is moved over many of them at once: each sees the time at
which it was due, so that a chain of retries over 30 days plays in one step.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

#: The loop's timer is set at most this far ahead; a later one is set again then. Keeps far-away times exact.
_TIMER_SECONDS_MAX = 3600.0


class Journal:
    """Which calls came, and which of the earlier ones ran."""

    def __init__(self) -> None:
        self.added: dict[int, tuple[float, Callable[[], None]]] = {}
        self.ended: list[int] = []

    def done(self, number: int) -> None:
        """A call runs now."""
        if self.added.pop(number, None) is None:
            self.ended.append(number)

    def forget(self) -> None:
        """All that was noted is kept elsewhere."""
        self.added.clear()
        self.ended.clear()


class Clock:
    """Time in seconds since the epoch, and callbacks on it. Not for use by more than one event loop."""

    def __init__(self, real: Callable[[], float] = time.time) -> None:
        self._real = real
        self._offset = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count(1)
        #: What came and what ran since the last look, by number, for whoever keeps it; None when nobody does.
        self.journal: Journal | None = None
        #: Called when something that fell due has run by itself.
        self.ran: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Let time run: from now on the loop calls what falls due."""
        self._loop = asyncio.get_running_loop()
        self._arm()

    def stop(self) -> None:
        """Let nothing fall due any more."""
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def now(self) -> float:
        """The simulator's time, in seconds since the epoch."""
        return self._real() + self._offset

    def real_now(self) -> float:
        """Real time: what a receiver compares a signature's age with, however far the simulator's clock was moved."""
        return self._real()

    def after(self, delay_seconds: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` once ``delay_seconds`` have passed on this clock; at once and inline when that is zero."""
        if delay_seconds <= 0:
            callback()
            return
        due, number = self.now() + delay_seconds, next(self._order)
        heapq.heappush(self._due, (due, number, callback))
        if self.journal is not None:
            self.journal.added[number] = (due, callback)
        self._arm()

    @property
    def offset(self) -> float:
        """Seconds by which this clock is ahead of real time."""
        return self._offset

    def restore(self, offset: float, due: Iterable[tuple[float, int, Callable[[], None]]]) -> None:
        """Be as a clock was: so far ahead of real time, with what is still to come."""
        self._offset = offset
        self._due = list(due)
        heapq.heapify(self._due)
        self._order = itertools.count(max((number for _, number, _ in self._due), default=0) + 1)

    def advance(self, seconds: float) -> None:
        """Move the clock ahead and run what falls due on the way, each at its own time."""
        target = self.now() + seconds
        while self._due and self._due[0][0] <= target:
            due, number, callback = heapq.heappop(self._due)
            if self.journal is not None:
                self.journal.done(number)
            self._offset += max(0.0, due - self.now())
            callback()
        self._offset += max(0.0, target - self.now())
        self._arm()

    def _arm(self) -> None:
        if self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            wait = min(max(0.0, self._due[0][0] - self.now()), _TIMER_SECONDS_MAX)
            self._timer = self._loop.call_later(wait, self._run_due)

    def _run_due(self) -> None:
        self._timer = None
        self.advance(0.0)
        if self.ran is not None:
            self.ran()


def stamp(seconds: float) -> str:
    """Whole seconds, as Digital River's resources have them: ``2031-03-04T10:11:12Z``."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fine_stamp(seconds: float) -> str:
    """With a fraction, as its event envelopes have them."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
