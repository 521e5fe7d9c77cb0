"""A client of aiokafka that is cancelled while it starts leaves no connection open."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from aiokafka import AIOKafkaConsumer

from orderflow.embedded_kafka import EmbeddedKafka
from producers.connection import start_client

#: More turns of the loop than a start takes.
_TURNS_MAX = 500


async def _cut_off(consumer: AIOKafkaConsumer, turns: int) -> bool:
    """Cancel the start after so many turns of the loop; True when it had ended before."""
    starting = asyncio.create_task(start_client(consumer))
    for _ in range(turns):
        await asyncio.sleep(0)
    ended = starting.done()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await consumer.stop()
    return ended


async def test_a_start_that_is_cut_off_at_any_moment_leaves_no_connection_open() -> None:
    """Law: asyncio is told of nothing that was left unclosed, wherever in ``start`` the cancellation comes."""
    reports: list[str] = []

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        reports.append(context["message"])

    asyncio.get_running_loop().set_exception_handler(note)
    ended = False
    async with EmbeddedKafka() as kafka:
        for turns in range(_TURNS_MAX):
            consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
            ended = await _cut_off(consumer, turns)
            del consumer
            if ended:
                break
        gc.collect()
    assert ended, "no start ended by itself"
    assert reports == []
