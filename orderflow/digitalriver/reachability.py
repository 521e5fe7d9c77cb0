"""Whether Digital River answers at all: one line when it stops, one when it answers again, for all lanes of a process.

A single failure proves little: requests are lost, and one object may always fail while others are answered. Several failures in a
row without an answer between them count, from any lane. Texts name the call and the setting, never an address, a path or a value.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from statemachine.errors import Denied, DigitalRiverError, OffContract, Throttled, TransportFailure

log = structlog.get_logger(__name__)

#: So many failures in a row, or two and so many seconds without an answer, and it does not answer.
FAILURES_MAX: Final = 5
SILENT_SECONDS: Final = 15.0

_FORBIDDEN: Final = 403
_URL, _KEY, _TIMEOUT = "ORDERFLOW_DIGITALRIVER_URL", "ORDERFLOW_DIGITALRIVER_KEY", "ORDERFLOW_DIGITALRIVER_TIMEOUT"


class Reachability:
    """Whether Digital River answers the requests of a process; one per connection pool."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is steady, in seconds."""
        self.clock = clock
        self._failures = 0
        self._silent_since = 0.0
        self._answered_at = float("-inf")
        self._error: DigitalRiverError | None = None

    @property
    def problem(self) -> str | None:
        """Why it does not answer, in a line for the operator; None while it does."""
        if self._error is None:
            return None
        return f"{_reason(self._error)}, for {self._seconds():.0f} s; check {_settings(self._error)}"

    def answered(self, route: str) -> None:
        """It answered a request, whatever the answer was."""
        if self._error is not None:
            log.info(
                "digital_river_available",
                reason=f"Digital River answers again: {route}",
                seconds=round(self._seconds()),
            )
        self._failures, self._error = 0, None
        self._answered_at = self.clock()

    def failed(self, error: DigitalRiverError, began: float) -> None:
        """A request that began at ``began`` got no answer, or Digital River denied the key."""
        if isinstance(error, Throttled | OffContract) or error.status == _FORBIDDEN:
            # It answered. What is forbidden may be one call: the lane that made it decides.
            self.answered(str(error))
            return
        if began < self._answered_at:
            return  # time-outs of requests that began together end together, long after the answers of the others
        if not self._failures:
            self._silent_since = began
        self._failures += 1
        if self._error is not None:
            self._error = error
        elif self._failures >= FAILURES_MAX or (self._failures > 1 and self._seconds() >= SILENT_SECONDS):
            self._error = error
            log.error("digital_river_unavailable", reason=_reason(error), remedy=f"check {_settings(error)}")

    def _seconds(self) -> float:
        return self.clock() - self._silent_since


def _reason(error: DigitalRiverError) -> str:
    """The problem of the last call; the text of the error begins with its route."""
    return f"Digital River {'denies the key' if isinstance(error, Denied) else 'does not answer'}: {error}"


def _settings(error: DigitalRiverError) -> str:
    """The settings that may be the cause."""
    if isinstance(error, Denied):
        return _KEY
    return f"{_URL} and {_TIMEOUT}" if isinstance(error, TransportFailure) and error.sent else _URL
