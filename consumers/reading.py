"""Asking Digital River for what is safe to ask twice: reads, and the replacing writes of the catalogue.

Short troubles are waited out here; what lasts comes out as the error that it is, and the partition waits. One key's requests run
in order, different keys side by side.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from consumers.rate import RateLimit
from statemachine.errors import Throttled, TransportFailure, Unavailable

T = TypeVar("T")


class Asking:
    """Sends repeatable requests within the rate, a bounded number at a time, and repeats them a few times."""

    def __init__(
        self,
        rate: RateLimit,
        *,
        clock: Callable[[], float],
        concurrency: int = 16,
        tries_max: int = 4,
        backoff_seconds: float = 0.25,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``clock`` is steady, in seconds; ``jitter`` gives numbers from 0 to 1; one instance per process and lane."""
        self._rate = rate
        self._clock = clock
        self._slots = asyncio.Semaphore(concurrency)
        self._tries_max = tries_max
        self._backoff_seconds = backoff_seconds
        self._sleep = sleep
        self._jitter = jitter

    async def ask(self, request: Callable[[], Awaitable[T]]) -> T:
        """The answer to ``request``, which must be safe to repeat.

        Raises:
            DigitalRiverError: No answer after the tries allowed, or a trouble that repeating does not end.
        """
        for attempt in range(1, self._tries_max + 1):
            try:
                async with self._slots:
                    await self._sleep(self._rate.reserve(1, self._clock()))
                    return await request()
            except Throttled as error:
                self._rate.throttled(error.retry_after_seconds, self._clock())
                if attempt == self._tries_max:
                    raise
            except (TransportFailure, Unavailable):
                if attempt == self._tries_max:
                    raise
                await self._sleep(self._backoff_seconds * 2 ** (attempt - 1) * (0.5 + 0.5 * self._jitter()))
        raise AssertionError("the last try returns or raises")


async def in_order(work: Mapping[str, Sequence[Callable[[], Awaitable[None]]]]) -> None:
    """Run each key's steps one after the other, all keys side by side; after an error the others are cut off and it is raised."""

    async def run(steps: Sequence[Callable[[], Awaitable[None]]]) -> None:
        for step in steps:
            await step()

    tasks = [asyncio.create_task(run(steps)) for steps in work.values()]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
