"""The embedded Kafka on localhost:9092, for the tutorial: in memory, until Ctrl-C or SIGTERM. Never for production."""

from __future__ import annotations

import asyncio
import os
import signal

from orderflow.embedded_kafka import EmbeddedKafka


async def serve() -> None:
    """Serve until the process is asked to end."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    host, _, port = os.environ.get("ORDERFLOW_KAFKA_BOOTSTRAP", "localhost:9092").partition(":")
    async with EmbeddedKafka(host, int(port)) as kafka:
        print(f"Kafka on {kafka.bootstrap}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve())
