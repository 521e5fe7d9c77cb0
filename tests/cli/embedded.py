"""An embedded Kafka in a thread of its own, as a server beside the commands of a test."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from orderflow.embedded_kafka import EmbeddedKafka


@contextlib.contextmanager
def kafka_in_thread() -> Iterator[tuple[EmbeddedKafka, asyncio.AbstractEventLoop]]:
    """The broker, and the event loop that it runs in, while the context lasts."""
    ready, ended = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    running: list[EmbeddedKafka] = []

    async def serve() -> None:
        async with EmbeddedKafka() as kafka:
            running.append(kafka)
            ready.set()
            await ended.wait()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(10)
    yield running[0], loop
    loop.call_soon_threadsafe(ended.set)
    thread.join(10)
