"""The fleet's rate limit, shared without a coordinator: each process uses the part of the rate that its partitions stand for.

A token bucket in its arithmetic form: the only state is when the next request may be sent. A 429 stops all requests of the
process for ``Retry-After``, a minute at most, and lowers the rate; every second without one raises it again, up to the process'
part. A pause that lasts is reported as a problem. Pure: ``now`` is an argument, in seconds of any steady clock.
"""

from __future__ import annotations

from collections.abc import Callable

#: Parts of the fleet's rate. Commands have 0.9; webhook reads and the catalogue share the rest and may exceed it for a while: the
#: 429s that follow slow all of them down.
COMMANDS_PART = 0.9
WEBHOOKS_PART = 0.1
CATALOGUE_PART = 0.1

#: Requests that may go at once after a pause, in seconds of the rate: the limit counts whole seconds.
_BURST_SECONDS = 0.1
#: Factor on the rate after a 429, its minimum, and how much of the full rate comes back every second.
_LOWERED, _LOWEST, _RECOVERED_PER_SECOND = 0.7, 0.1, 0.02

#: One answer stops the calls for no longer, whatever it asks for: the next answer asks again.
RETRY_AFTER_SECONDS_MAX = 60.0
#: A pause that lasts for so long, in one piece or in several, is a problem.
_LASTING_SECONDS = 10.0
#: 429s with less than this between them are one pause.
_BETWEEN_SECONDS = 5.0


class RateLimit:
    """Tells how long each request has to wait."""

    def __init__(self, rate: float, share: Callable[[], float]) -> None:
        """Args:
        rate: Requests a second for the whole fleet; 0 for no limit.
        share: Part of the rate that this process may use now, 0 to 1; asked at every request.
        """
        self._rate = rate
        self._share = share
        self._next_at = float("-inf")
        self._stopped_until = float("-inf")
        self._factor = 1.0
        self._factor_at = float("-inf")
        #: When the pause began, and what the last 429 asked for.
        self._paused_at = float("-inf")
        self._asked_seconds = 0.0
        #: Seconds that requests were told to wait, of all of them together, and answers 429.
        self.waited_seconds = 0.0
        self.throttles = 0

    def reserve(self, requests: int, now: float) -> float:
        """Take ``requests`` out of the bucket and return the seconds to wait before they are sent."""
        wait = self._reserve(requests, now)
        self.waited_seconds += wait
        return wait

    def _reserve(self, requests: int, now: float) -> float:
        wait = max(0.0, self._stopped_until - now)
        if self._rate <= 0:
            return wait
        rate = self._rate * self._share() * self._recovered(now)
        if rate <= 0:  # no partition is ours any more: calls still in flight retry slowly
            rate = self._rate * _LOWEST
        start = max(self._next_at, now - _BURST_SECONDS, self._stopped_until)
        self._next_at = start + requests / rate
        return max(wait, start - now)

    def throttled(self, retry_after_seconds: float, now: float) -> None:
        """Digital River answered 429: no request before its time, and fewer than before afterwards."""
        if now > self._stopped_until + _BETWEEN_SECONDS:
            self._paused_at = now
        self.throttles += 1
        self._asked_seconds = retry_after_seconds
        self._stopped_until = max(self._stopped_until, now + min(retry_after_seconds, RETRY_AFTER_SECONDS_MAX))
        self._factor = max(_LOWEST, self._recovered(now) * _LOWERED)
        self._factor_at = self._stopped_until

    def problem(self, now: float) -> str | None:
        """Why calls have paused for long, in a line; None when they have not."""
        if now >= self._stopped_until + _BETWEEN_SECONDS or self._stopped_until - self._paused_at < _LASTING_SECONDS:
            return None
        return (
            f"Digital River throttles all calls (429, Retry-After {self._asked_seconds:.0f} s, of which at most "
            f"{RETRY_AFTER_SECONDS_MAX:.0f} s are obeyed); next call in {max(0.0, self._stopped_until - now):.0f} s. If it "
            "persists, lower ORDERFLOW_DIGITALRIVER_RATE, or find out what else uses the key"
        )

    def _recovered(self, now: float) -> float:
        if self._factor >= 1.0:
            return 1.0
        return min(1.0, self._factor + max(0.0, now - self._factor_at) * _RECOVERED_PER_SECOND)
