"""Worker processes of the counting lane under a test's control, and what the changes must look like."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from producers.connection import KafkaConnection
from producers.publisher import Publisher
from tests.kernel.counting import INPUTS
from tests.worker_process import WorkerProcess

MAIN = Path(__file__).with_name("worker_main.py")


class Worker(WorkerProcess):
    """A worker of the counting lane."""

    async def leave(self) -> dict[str, dict[str, int]]:
        """Stop it in good order; its counters by partition."""
        assert await self.terminate() == 0
        counters = (await self.line_with("done"))["counters"]
        assert isinstance(counters, dict)
        return counters


@contextlib.asynccontextmanager
async def workers(bootstrap: str, prefix: str, partitions: int) -> AsyncIterator[WorkerStarter]:
    """Start workers inside; all are gone afterwards."""
    starter = WorkerStarter(bootstrap, prefix, partitions)
    try:
        yield starter
    finally:
        for worker in starter.started:
            await worker.end()


class WorkerStarter:
    """Starts worker processes of one lane."""

    def __init__(self, bootstrap: str, prefix: str, partitions: int) -> None:
        self._options = {"bootstrap": bootstrap, "prefix": prefix, "partitions": partitions}
        self.started: list[Worker] = []

    async def start(self, name: str, **more: object) -> Worker:
        """A worker that is about to join."""
        worker = await Worker.start(MAIN, {**self._options, "worker": name, **more})
        self.started.append(worker)
        await worker.line_with("ready")
        return worker


async def publish(bootstrap: str, prefix: str, first: int, count: int, *, keys: int = 24, pause: float = 0.0) -> None:
    """Write records ``e<first>`` and following, alternating between the inputs."""
    async with Publisher(KafkaConnection(bootstrap)) as publisher:
        for number in range(first, first + count):
            key = f"key-{number % keys}"
            topic = f"{prefix}{INPUTS[(number // keys) % 2]}"
            await publisher.send(topic, key.encode(), json.dumps({"id": f"e{number}"}).encode())
            if pause:
                await asyncio.sleep(pause)


async def read_changes(
    bootstrap: str, prefix: str, partitions: int, count: int, *, seconds: float = 25.0, linger: float = 1.0
) -> list[dict[str, object]]:
    """All committed changes, once there are ``count`` and none came for ``linger`` seconds."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest", group_id=None
    )
    await consumer.start()
    found: list[dict[str, object]] = []
    try:
        consumer.assign([TopicPartition(f"{prefix}changes", number) for number in range(partitions)])
        loop = asyncio.get_running_loop()
        until, quiet = loop.time() + seconds, loop.time()
        while loop.time() < until and (len(found) < count or loop.time() - quiet < linger):
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found.extend(json.loads(record.value) for record in records)
                quiet = loop.time()
    finally:
        await consumer.stop()
    return found


def faults(changes: list[dict[str, object]], expected: int) -> list[str]:
    """What is wrong: lost, doubled, or computed from a state that was not the last one. Empty when all is well."""
    found: list[str] = []
    last: dict[object, object] = {}
    for change in changes:
        key = change["key"]
        if change["before"] != last.get(key, 0):
            found.append(f"{key}: {change['id']} came from state {change['before']}, not {last.get(key, 0)}")
        last[key] = change["n"]
    ids = [str(change["id"]) for change in changes]
    missing = {f"e{number}" for number in range(expected)} - set(ids)
    if missing:
        found.append(f"lost: {sorted(missing)[:5]} and {max(0, len(missing) - 5)} more")
    if len(ids) != len(set(ids)):
        found.append(f"doubled: {len(ids) - len(set(ids))}")
    return found
