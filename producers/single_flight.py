"""One request for all concurrent callers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Shares one running ``call`` among all callers; its result is reused for ``seconds`` after its end."""

    def __init__(
        self,
        call: Callable[[], Coroutine[Any, Any, T]],
        seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """An exception of ``call`` is shared like a result. ``clock`` is steady, in seconds."""
        self._clock = clock
        self._call = call
        self._seconds = seconds
        self._task: asyncio.Task[T] | None = None
        self._ended_at = 0.0

    async def result(self) -> T:
        """A result that is not older than ``seconds``; a caller that is cancelled does not cancel it for the others."""
        task = self._task
        if task is None or (task.done() and self._clock() - self._ended_at >= self._seconds):
            task = self._task = asyncio.create_task(self._run(), name="a shared call")
            task.add_done_callback(_retrieved)
        await asyncio.wait([task])
        return task.result()

    async def stop(self) -> None:
        """Cancel a running call."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> T:
        try:
            return await self._call()
        finally:
            self._ended_at = self._clock()


def _retrieved(task: asyncio.Task[Any]) -> None:
    """Mark the exception as retrieved: nobody may be waiting for it any more."""
    if not task.cancelled():
        task.exception()
