"""Faust (faust-streaming) with ``exactly_once`` and a table in memory.

Its transactions hold the changelog and the offsets, not what the agent sends to other topics: after a crash changes and commands
may be there twice. It is measured for comparison and is no peer in what it guarantees.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import faust

from benchmarks.peers.machine import advance


def main() -> None:
    """Run until the process is ended."""
    bootstrap, prefix, partitions, folder = sys.argv[1:]
    app = faust.App(
        f"{prefix}faust",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=folder,
        processing_guarantee="exactly_once",
        broker_commit_interval=0.1,
        producer_compression_type="lz4",
        topic_partitions=int(partitions),
        topic_allow_declare=True,
        topic_disable_leader=True,
        web_enabled=False,
        value_serializer="raw",
        key_serializer="raw",
    )
    raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    entry, changes, commands = (app.topic(f"{prefix}{name}", **raw) for name in ("orders.in", "changes", "commands"))
    orders = app.Table("orders", partitions=int(partitions), key_type=bytes, value_type=bytes)

    @app.agent(entry)  # type: ignore[untyped-decorator]  # faust is not installed where types are checked
    async def decide(stream: faust.Stream[bytes]) -> AsyncIterator[None]:
        async for key, value in stream.items():
            step = advance(orders.get(key), value)
            if step is not None:
                orders[key] = step.order
                await changes.send(key=key, value=step.change)
                if step.command is not None:
                    await commands.send(key=key, value=step.command)
            yield

    app.finalize()
    worker = faust.Worker(app, loglevel="WARNING")
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
