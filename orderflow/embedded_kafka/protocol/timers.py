"""Timers of the broker: everything that is not caused by a request, so that it can be held or ended together.

A frozen or unreachable broker must not let time work against its clients in the middle of a pause: what falls due while
timers are held runs when they are released, which is how a stopped and woken broker process behaves.
Time is that of the running event loop; a loop with virtual time gives a broker with virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

Action: TypeAlias = Callable[[], None]


class Timer:
    """One action in the future. ``restart`` counts from now again, ``cancel`` forgets it; both may be repeated."""

    __slots__ = ("_action", "_handle", "_overdue", "_seconds", "_timers")

    def __init__(self, timers: Timers, seconds: float, action: Action) -> None:
        self._timers = timers
        self._seconds = seconds
        self._action = action
        self._overdue = False
        self._handle: asyncio.TimerHandle | None = None
        self.restart()

    def restart(self) -> None:
        """Count from now."""
        self.cancel()
        self._handle = asyncio.get_running_loop().call_later(self._seconds, self._fire)
        self._timers.armed[self] = None

    def cancel(self) -> None:
        """Do not run."""
        self._overdue = False
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._timers.armed.pop(self, None)

    def _fire(self) -> None:
        if self._timers.held:
            self._overdue = True
            return
        self.cancel()
        self._action()

    def run_if_overdue(self) -> None:
        """Run what fell due while the timers were held, unless it was cancelled or restarted since."""
        if self._overdue:
            self.cancel()
            self._action()


class Timers:
    """All timers of one broker, in the order in which they were armed."""

    def __init__(self) -> None:
        self.armed: dict[Timer, None] = {}
        self.held = False

    def after(self, seconds: float, action: Action) -> Timer:
        """Run ``action`` once, ``seconds`` from now."""
        return Timer(self, seconds, action)

    def hold(self) -> None:
        """Run nothing until ``release``."""
        self.held = True

    def release(self) -> None:
        """Run timers again, first those that fell due while held."""
        self.held = False
        for timer in list(self.armed):
            timer.run_if_overdue()

    def cancel_all(self) -> None:
        """Forget everything."""
        for timer in list(self.armed):
            timer.cancel()
