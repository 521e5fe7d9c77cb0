"""The breaker: while Digital River cannot be asked, commands wait in Kafka instead of using up their tries.

Opens after several failures of transport in a row, and at once when Digital River denies the key: a rotated key must not lose
commands. Open, it lets one probe through after a growing pause; an answer, whatever it says, closes it. One per process. Pure:
``now`` is an argument, in seconds of any steady clock.
"""

from __future__ import annotations

#: Failures in a row that open it. Below the usual number of calls in flight, above what bad luck brings.
FAILURES_MAX = 5
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 1.0, 30.0
#: How long others wait while a probe is on its way.
_PROBE_WAIT_SECONDS = 0.5


class Breaker:
    """Closed, open, or half open with one probe on its way."""

    def __init__(
        self,
        *,
        failures_max: int = FAILURES_MAX,
        pause_seconds: float = PAUSE_SECONDS,
        pause_seconds_max: float = PAUSE_SECONDS_MAX,
    ) -> None:
        self._failures_max = failures_max
        self._pause_seconds = pause_seconds
        self._pause_seconds_max = pause_seconds_max
        self._failures = 0
        self._pauses = 0
        self._open_until: float | None = None
        self._probing = False
        #: Why it is open, in a line; None while it is closed.
        self.problem: str | None = None

    @property
    def closed(self) -> bool:
        """Calls go through."""
        return self._open_until is None

    def blocked(self, now: float) -> bool:
        """Whether a call asked for now would have to wait.

        False also in an open breaker whose pause is over while nobody makes its probe: it does not close by itself.
        """
        return self._open_until is not None and (now < self._open_until or self._probing)

    def enter(self, now: float) -> float:
        """Ask for a call: 0 lets it through, else seconds to wait.

        While open, what is let through is the one probe: ``answered``, ``failed``, ``denied`` or ``gave_up`` must follow.
        """
        if self._open_until is None:
            return 0.0
        if now < self._open_until:
            return self._open_until - now
        if self._probing:
            return _PROBE_WAIT_SECONDS
        self._probing = True
        return 0.0

    def answered(self) -> None:
        """Digital River answered something: it is there."""
        self._failures = self._pauses = 0
        self._open_until = None
        self._probing = False
        self.problem = None

    def failed(self, problem: str, now: float, *, probe: bool = False) -> None:
        """A call brought no answer; ``probe`` when it was let through an open breaker."""
        self._failures += 1
        if probe or self._failures >= self._failures_max:
            self._open(problem, now, probe=probe)

    def denied(self, problem: str, now: float, *, probe: bool = False) -> None:
        """Digital River refuses the key: no call can succeed before somebody has put that right."""
        self._open(problem, now, probe=probe)

    def gave_up(self) -> None:
        """The probe was not made after all: another may be."""
        self._probing = False

    def _open(self, problem: str, now: float, *, probe: bool) -> None:
        if self._open_until is not None and not probe:
            return  # a call that was on its way when it opened
        self._open_until = now + min(self._pause_seconds_max, self._pause_seconds * 2**self._pauses)
        self._pauses = min(self._pauses + 1, 16)
        self._probing = False
        self.problem = problem
