"""The fleet's rate limit, shared without a coordinator: each process uses the part of the rate that its partitions stand for.

A token bucket in its arithmetic form: the only state is when the next request may go. A 429 stops all requests of the process
for ``Retry-After`` and lowers the rate; every second without one raises it again, up to what the partitions stand for. Pure:
``now`` is an argument, in seconds of any steady clock.
"""

from __future__ import annotations

from collections.abc import Callable

#: Parts of the fleet's rate. Commands have 0.9; the rest is for webhook reads, reconciliation and the catalogue, which may
#: take from the commands for a while: the 429s that this brings slow all of them down.
COMMANDS_PART = 0.9
WEBHOOKS_PART = 0.1
CATALOGUE_PART = 0.1

#: Requests that may go at once after a pause, in seconds of the rate: the limit counts whole seconds.
_BURST_SECONDS = 0.1
#: What a 429 makes of the rate, and how much of the full rate comes back every second.
_LOWERED, _LOWEST, _RECOVERED_PER_SECOND = 0.7, 0.1, 0.02


class RateLimit:
    """Says how long each request has to wait."""

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

    def reserve(self, requests: int, now: float) -> float:
        """Take ``requests`` out of the bucket and return the seconds to wait before they are sent."""
        wait = max(0.0, self._stopped_until - now)
        if self._rate <= 0:
            return wait
        rate = self._rate * self._share() * self._recovered(now)
        if rate <= 0:  # no partition is ours any more: what still runs goes on slowly
            rate = self._rate * _LOWEST
        start = max(self._next_at, now - _BURST_SECONDS, self._stopped_until)
        self._next_at = start + requests / rate
        return max(wait, start - now)

    def throttled(self, retry_after_seconds: float, now: float) -> None:
        """Digital River answered 429: nothing goes before its time, and less than before afterwards."""
        self._stopped_until = max(self._stopped_until, now + retry_after_seconds)
        self._factor = max(_LOWEST, self._recovered(now) * _LOWERED)
        self._factor_at = self._stopped_until

    def _recovered(self, now: float) -> float:
        if self._factor >= 1.0:
            return 1.0
        return min(1.0, self._factor + max(0.0, now - self._factor_at) * _RECOVERED_PER_SECOND)
