"""Requests to Digital River that are safe to repeat: reads, and the replacing writes of the catalogue.

One process and lane has one ``RetryingRequests``: it keeps to the rate, bounds how many requests are in flight, and stops them
while Digital River cannot be reached. Objects that always fail do not stop them: only first failures of different objects without
an answer between them count. Retries have a few slots of their own, so that requests that hang take none from the others.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from consumers.measures import LaneMeasures
from consumers.requests.breaker import Breaker
from consumers.requests.rate_limit import RateLimit
from statemachine.errors import DigitalRiverError, Disposition

T = TypeVar("T")

#: While Digital River cannot be reached one request in so many seconds probes it. No longer: it may be one that always fails.
_PAUSE_SECONDS_MAX = 5.0


class UnansweredWrites:
    """Writes without an answer that may still take effect, by object: until then another write could be undone by them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` is steady, in seconds."""
        self._clock = clock
        self._until: dict[str, float] = {}

    def add(self, key: str, until: float) -> None:
        """A write of the object may take effect until this moment."""
        now = self._clock()
        for old in [one for one, over in self._until.items() if over <= now]:
            del self._until[old]
        self._until[key] = max(self._until.get(key, until), until)

    def until(self, key: str) -> float:
        """When no write of the object can take effect any more; in the past when there is none."""
        return self._until.get(key, float("-inf"))


class RetryingRequests:
    """Sends one request at a time for each object, many side by side; one instance per process and lane."""

    def __init__(
        self,
        rate: RateLimit,
        *,
        clock: Callable[[], float],
        concurrency: int = 16,
        retries: int = 4,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        measures: LaneMeasures | None = None,
        purpose: str = "request",
    ) -> None:
        """Args:
        rate: How many requests a second.
        clock: Steady, in seconds.
        concurrency: Requests in flight for objects that have not failed.
        retries: Requests in flight for objects that have.
        sleep: Waits.
        jitter: Numbers from 0 to 1.
        measures: Those of the lane, which show what becomes of requests, and what holds them back.
        purpose: What the requests are for, in a word.
        """
        self._rate = rate
        self.clock = clock
        self.jitter = jitter
        self._first = asyncio.Semaphore(concurrency)
        self._retries = asyncio.Semaphore(retries)
        self._sleep = sleep
        self._breaker = Breaker(pause_seconds_max=_PAUSE_SECONDS_MAX)
        #: Objects that have failed since the last answer.
        self._failing: set[str] = set()
        #: Requests that were answered, whatever the answer was.
        self.answers = 0
        #: Shared by the partitions of the process.
        self.unanswered = UnansweredWrites(clock)
        self._measures = measures or LaneMeasures()
        self._measures.rate, self._measures.breaker = rate, self._breaker
        self._purpose = purpose

    @property
    def problem(self) -> str | None:
        """Why no requests are made at the moment, in a line."""
        return self._breaker.problem

    async def send(self, key: str, request: Callable[[], Awaitable[T]], *, retry: bool = False) -> T:
        """The answer to ``request``, sent once, when it may be sent; ``retry``: the object ``key`` has failed before.

        Raises:
            DigitalRiverError: No usable answer.
        """
        async with self._retries if retry else self._first:
            probe = await self._enter()
            began = self.clock()
            try:
                answer = await request()
            except DigitalRiverError as error:
                self._measures.requested(self._purpose, result_of(error), self.clock() - began)
                self._note(error, probe=probe, new=not retry and key not in self._failing)
                self._failing.add(key)
                raise
            except BaseException:  # cancelled, or not written after all
                if probe:
                    self._breaker.gave_up()
                raise
        self._measures.requested(self._purpose, "answered", self.clock() - began)
        self.answers += 1
        self._answered()
        return answer

    async def _enter(self) -> bool:
        """Wait for the rate and while the breaker is open; True when this request is the breaker's probe."""
        await self._sleep(self._rate.reserve(1, self.clock()))
        while (wait := self._breaker.enter(self.clock())) > 0:
            await self._sleep(wait)
        return not self._breaker.closed

    def _answered(self) -> None:
        self._failing.clear()
        self._breaker.answered()

    def _note(self, error: DigitalRiverError, *, probe: bool, new: bool) -> None:
        """Report a failure; ``new``: of an object that has not failed before. The others say nothing about Digital River."""
        now = self.clock()
        if error.retry_after_seconds is not None:
            self._rate.throttled(error.retry_after_seconds, now)
            self._answered()
        elif error.disposition is Disposition.HOLD and not error.is_forbidden:
            self._breaker.denied(str(error), now, probe=probe)
        elif probe or new:
            self._breaker.failed(str(error), now, probe=probe)


def result_of(error: DigitalRiverError) -> str:
    """What became of a request without a usable answer, in a word."""
    if error.retry_after_seconds is not None:
        return "throttled"
    if error.disposition is Disposition.HOLD:
        return "denied"
    return "off_contract" if error.disposition is Disposition.UNKNOWN else "unanswered"
