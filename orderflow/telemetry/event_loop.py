"""How late the event loop of a process is: whatever holds it up delays every lane, every call and every heartbeat."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from consumers.measures import Histogram

#: Seconds between two looks.
INTERVAL_SECONDS: Final = 0.5
#: Upper bounds of the lateness, in seconds. Heartbeats are due every second.
BOUNDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


async def _look(lateness: Histogram, clock: Callable[[], float]) -> None:
    while True:
        due = clock() + INTERVAL_SECONDS
        await asyncio.sleep(INTERVAL_SECONDS)
        lateness.observe(max(0.0, clock() - due))


@asynccontextmanager
async def event_loop_lateness(clock: Callable[[], float] = time.monotonic) -> AsyncIterator[Histogram]:
    """Measure while the context lasts; ``clock`` is steady, in seconds."""
    lateness = Histogram(BOUNDS)
    looking = asyncio.create_task(_look(lateness, clock), name="event loop lateness")
    try:
        yield lateness
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
