"""The breaker: while Digital River cannot be reached, commands wait in Kafka instead of using up their tries.

It opens after several transport failures in a row, at once when Digital River does not know the key (401: a rotated key must not
lose commands), and when it forbids (403) calls of several orders in a row: a single one is that command's own problem. While open
it lets one probe through after a growing pause; an answer closes it. A command whose probe failed lets others go first, so that a
command that never succeeds does not keep it open. One per process. Pure: ``now`` is an argument, in seconds of any steady clock.
"""

from __future__ import annotations

from statemachine.messages.ids import OrderId

#: Failures in a row that open it. Below the usual number of calls in flight, above what bad luck brings.
FAILURES_MAX = 5
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 1.0, 30.0
#: Orders in a row with a forbidden call that open it.
FORBIDDEN_MAX = 3
#: How long the command of the last failed probe lets others go first; the lane reads new ones within a fraction of it.
_OTHERS_FIRST_SECONDS = 2.0
#: How long others wait while a probe is in flight.
_PROBE_WAIT_SECONDS = 0.5


class Breaker:
    """Closed, open, or half open with one probe in flight."""

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
        #: Answers so far. A call that began before the last answer and failed after it says nothing: Digital River was there.
        self.answers = 0
        self._pauses = 0
        #: How often it opened after it was closed.
        self.openings = 0
        self._open_until: float | None = None
        self._probing = False
        #: The command that opened it, or whose probe failed.
        self._opener: str | None = None
        #: Orders in a row that Digital River forbade a call of.
        self._forbidden: set[OrderId] = set()
        #: Why it is open, in a line; None while it is closed.
        self.problem: str | None = None

    @property
    def closed(self) -> bool:
        """Calls go through."""
        return self._open_until is None

    def blocked(self, now: float) -> bool:
        """Whether a call would have to wait now.

        False also when the breaker is open, its pause is over and no probe is in flight: it does not close by itself.
        """
        return self._open_until is not None and (now < self._open_until or self._probing)

    def enter(self, now: float, who: str = "") -> float:
        """Ask to call for command ``who``: 0 lets it through, else seconds to wait.

        While open, the call that is let through is the probe; ``answered``, ``failed``, ``denied``, ``forbidden`` or ``gave_up``
        must follow.
        """
        if self._open_until is None:
            return 0.0
        may_probe_at = self._open_until + (_OTHERS_FIRST_SECONDS if who == self._opener else 0.0)
        if now < may_probe_at:
            return may_probe_at - now
        if self._probing:
            return _PROBE_WAIT_SECONDS
        self._probing = True
        return 0.0

    def answered(self, *, called: bool = True) -> None:
        """Digital River answered. Not ``called``: it was a look-up, which says nothing about calls that are forbidden."""
        self._failures = 0
        self.answers += 1
        self._probing = False
        if called:
            self._forbidden.clear()
        if len(self._forbidden) < FORBIDDEN_MAX:
            self._pauses, self._open_until, self.problem = 0, None, None

    def failed(
        self, problem: str, now: float, *, who: str | None = None, probe: bool = False, answers: int | None = None
    ) -> None:
        """A call of ``who`` got no answer; ``probe`` when it was let through an open breaker.

        ``answers``: how many there were when it began. Calls that began together time out together, long after the answers of the
        others: in a row they would look like an outage.
        """
        if not probe and answers is not None and answers < self.answers:
            return
        self._failures += 1
        if probe or self._failures >= self._failures_max:
            self._open(problem, now, who=who, probe=probe)

    def denied(self, problem: str, now: float, *, who: str | None = None, probe: bool = False) -> None:
        """Digital River refuses the key: no call can succeed before an operator has corrected it."""
        self._open(problem, now, who=who, probe=probe)

    def forbidden(self, problem: str, now: float, *, order_id: OrderId, probe: bool = False) -> None:
        """Digital River forbids a call of this order. When several orders in a row are forbidden, the cause is the key."""
        self._forbidden.add(order_id)
        if len(self._forbidden) >= FORBIDDEN_MAX:
            self._open(problem, now, who=None, probe=probe)
        else:
            self.answered(called=False)

    def gave_up(self) -> None:
        """The probe was not made: another call may probe."""
        self._probing = False

    def _open(self, problem: str, now: float, *, who: str | None, probe: bool) -> None:
        if self._open_until is not None and not probe:
            return  # a call that was in flight when it opened
        self.openings += self._open_until is None
        self._open_until = now + min(self._pause_seconds_max, self._pause_seconds * 2**self._pauses)
        self._pauses = min(self._pauses + 1, 16)
        self._probing = False
        self._opener = who
        self.problem = problem
