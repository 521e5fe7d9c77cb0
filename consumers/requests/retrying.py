"""Asking Digital River for what is safe to ask twice: reads, and the replacing writes of the catalogue.

One process and lane has one ``Asking``: it keeps to the rate, bounds how many requests are on their way, and stops them while
Digital River cannot be asked. Objects that always fail do not stop them: only first failures of different objects without an
answer between them say so. Objects that have failed before have few places of their own, beside the others, so that those that
hang take none away.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from consumers.requests.breaker import Breaker
from consumers.requests.rate_limit import RateLimit
from statemachine.errors import DigitalRiverError, Disposition

T = TypeVar("T")

#: While Digital River cannot be asked one request in so many seconds finds out. No longer: it may be about one that always fails.
_PAUSE_SECONDS_MAX = 5.0


class Asking:
    """Sends one request at a time for each object, many side by side; one instance per process and lane."""

    def __init__(
        self,
        rate: RateLimit,
        *,
        clock: Callable[[], float],
        concurrency: int = 16,
        again: int = 4,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Args:
        rate: How many requests a second.
        clock: Steady, in seconds.
        concurrency: Requests on their way for objects that have not failed.
        again: The same for objects that have.
        sleep: Waits.
        jitter: Numbers from 0 to 1.
        """
        self._rate = rate
        self.clock = clock
        self.jitter = jitter
        self._first = asyncio.Semaphore(concurrency)
        self._again = asyncio.Semaphore(again)
        self._sleep = sleep
        self._breaker = Breaker(pause_seconds_max=_PAUSE_SECONDS_MAX)
        #: Objects that have failed since the last answer.
        self._failing: set[str] = set()
        #: Requests that were answered, whatever the answer was.
        self.answers = 0
        #: When the last unanswered write of an object is over, by its key: until then another one could be undone by it.
        self.over_at: dict[str, float] = {}

    @property
    def problem(self) -> str | None:
        """Why nothing is asked at the moment, in a line."""
        return self._breaker.problem

    async def ask(self, key: str, request: Callable[[], Awaitable[T]], *, again: bool = False) -> T:
        """The answer to ``request``, sent once, when it may be sent; ``again``: the object ``key`` has failed before.

        Raises:
            DigitalRiverError: No usable answer.
        """
        async with self._again if again else self._first:
            probe = await self._enter()
            try:
                answer = await request()
            except DigitalRiverError as error:
                self._note(error, probe=probe, new=not again and key not in self._failing)
                self._failing.add(key)
                raise
            except BaseException:  # cut off, or not written after all
                if probe:
                    self._breaker.gave_up()
                raise
        self.answers += 1
        self._answered()
        return answer

    async def _enter(self) -> bool:
        """Wait for the rate and until there is no pause; whether this request is to find out if Digital River is back."""
        await self._sleep(self._rate.reserve(1, self.clock()))
        while (wait := self._breaker.enter(self.clock())) > 0:
            await self._sleep(wait)
        return not self._breaker.closed

    def _answered(self) -> None:
        self._failing.clear()
        self._breaker.answered()

    def _note(self, error: DigitalRiverError, *, probe: bool, new: bool) -> None:
        """``new``: the object has not failed before; those that have say nothing new about Digital River."""
        now = self.clock()
        if error.retry_after_seconds is not None:
            self._rate.throttled(error.retry_after_seconds, now)
            self._answered()
        elif error.disposition is Disposition.HOLD and not error.is_forbidden:
            self._breaker.denied(str(error), now, probe=probe)
        elif probe or new:
            self._breaker.failed(str(error), now, probe=probe)
