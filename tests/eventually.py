"""Waiting for what nothing announces."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

_PAUSE_SECONDS = 0.02


async def eventually(holds: Callable[[], bool | Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait until ``holds``, a function or a coroutine function, returns True.

    Raises:
        TimeoutError: It did not within ``seconds``.
    """
    async with asyncio.timeout(seconds):
        while True:
            found = holds()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(_PAUSE_SECONDS)
