"""What a test needs beside its commands, in a thread of its own with a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

Made = TypeVar("Made")


@contextlib.contextmanager
def in_thread(
    make: Callable[[], AbstractAsyncContextManager[Made]], *, seconds: float = 10.0
) -> Iterator[tuple[Made, asyncio.AbstractEventLoop]]:
    """What ``make`` opens, and the event loop that it runs in, while the context lasts; it must be there in ``seconds``."""
    ready, ended = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    running: list[Made] = []

    async def serve() -> None:
        async with make() as made:
            running.append(made)
            ready.set()
            await ended.wait()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(seconds)
    try:
        yield running[0], loop
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(2 * seconds)
