"""One look for all who ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Looks when somebody asks, once at a time; who asks meanwhile, or within ``seconds`` after its end, gets the same result."""

    def __init__(self, look: Callable[[], Coroutine[Any, Any, T]], seconds: float = 0.0) -> None:
        """What ``look`` raises is shared as its result is."""
        self._look = look
        self._seconds = seconds
        self._task: asyncio.Task[T] | None = None
        self._ended_at = 0.0

    async def result(self) -> T:
        """The result of a look that is not older than ``seconds``; who stops waiting stops it for nobody else."""
        task = self._task
        if task is None or (task.done() and self._clock() - self._ended_at >= self._seconds):
            task = self._task = asyncio.create_task(self._looked(), name="a shared look")
            task.add_done_callback(_retrieved)
        await asyncio.wait([task])
        return task.result()

    async def stop(self) -> None:
        """Cut off a look that is on its way."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])

    async def _looked(self) -> T:
        try:
            return await self._look()
        finally:
            self._ended_at = self._clock()

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()


def _retrieved(task: asyncio.Task[Any]) -> None:
    """What nobody waits for any more is no error that was lost."""
    if not task.cancelled():
        task.exception()
