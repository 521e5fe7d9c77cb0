"""SIGTERM and SIGINT: a process finishes its work before it exits. Before that, see ``early_signals.py``."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def stopping(given: asyncio.Event | None) -> AsyncIterator[asyncio.Event]:
    """The event that ends a process: the given one, or one that SIGTERM and SIGINT set."""
    if given is not None:
        yield given
        return
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        signal.signal(
            signal.SIGTERM, signal.SIG_IGN
        )  # what is left is to exit; a second signal must not spoil the code


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What ``work`` gives; None when ``stop`` was set first: then it is cut off."""
    working, watching = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, watching], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        watching.cancel()
        working.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)
