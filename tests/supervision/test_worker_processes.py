"""``orderflow worker --processes 2`` as an operator runs it: one command, one health page, and nobody left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Self

import pytest
from aiokafka import AIOKafkaProducer

from benchmarks.workload import CHANGES_PER_ORDER, EVENTS_PER_ORDER, OneOrder
from orderflow.embedded_kafka import EmbeddedKafka
from producers.connection import KafkaConnection
from producers.partitioner import partition_of
from producers.topic_setup import create_topics
from tests.eventually import eventually
from tests.visible import committed_records

pytestmark = pytest.mark.timeout(90)

PARTITIONS = 4


class Supervised:
    """The command, and what it logs."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port
        self.lines: list[dict[str, Any]] = []
        self.plain: list[str] = []
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, bootstrap: str) -> Self:
        """Two processes with the order lane, and a name that they keep over their starts."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        settings = {
            "KAFKA_BOOTSTRAP": bootstrap,
            "HEALTH_PORT": str(port),
            "GROUP_INSTANCE_ID": "shop",
            "LOG_FORMAT": "json",
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFLOW_")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "orderflow", "worker", "--lanes", "orders", "--processes", "2"),
            stderr=asyncio.subprocess.PIPE,
            env=environment | {f"ORDERFLOW_{name}": value for name, value in settings.items()},
        )
        return cls(process, port)

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.plain.append(line.decode())

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines about an event."""
        return [line for line in self.lines if line["event"] == event]

    async def page(self, path: str) -> tuple[int, str]:
        """Status and text of a page; 0 when nobody answers."""

        def read() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()
            except OSError:
                return 0, ""

        return await asyncio.to_thread(read)

    async def owners(self) -> dict[int, str]:
        """Which worker has which partition, of those that run."""
        status, text = await self.page("/lanes")
        lanes = json.loads(text)["lanes"] if status == 200 else []
        return {
            one["partition"]: one["worker"] for lane in lanes for one in lane["partitions"] if one["state"] == "running"
        }

    async def shared(self) -> bool:
        """Both processes have their half, and the worker is ready."""
        owners = await self.owners()
        names = {"shop-1", "shop-2"}
        return len(owners) == PARTITIONS and {*owners.values()} == names and (await self.page("/readyz"))[0] == 200

    async def records(self) -> float:
        """What the metrics say of the records that were worked on."""
        _, text = await self.page("/metrics")
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("orderflow_records_total"))

    async def ended(self, seconds: float = 30.0) -> int:
        """Its exit code."""
        async with asyncio.timeout(seconds):
            code = await self.process.wait()
            await self._reading
        return code


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
async def kafka() -> AsyncIterator[str]:
    """An embedded Kafka without topics."""
    async with EmbeddedKafka() as embedded:
        yield embedded.bootstrap


@pytest.fixture
async def worker(kafka: str) -> AsyncIterator[Supervised]:
    """The command; whatever happens, it and its processes are gone afterwards."""
    started = await Supervised.start(kafka)
    yield started
    for pid in (started.process.pid, *(line["pid"] for line in started.logged("process_started"))):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await started.ended()


@pytest.fixture
async def topics(kafka: str) -> None:
    """All topics."""
    await create_topics(KafkaConnection(kafka), "", partitions=PARTITIONS)


async def _send(bootstrap: str, orders: list[OneOrder], events: int) -> None:
    """The next events of each order."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for _ in range(events):
            for order in orders:
                key = order.order_id.encode()
                value, _ = order.next_event()
                await producer.send("orderflow.inbox", value, key, partition_of(key, PARTITIONS))


@pytest.mark.usefixtures("topics")
async def test_two_processes_work_as_one_worker_and_a_killed_one_is_replaced(kafka: str, worker: Supervised) -> None:
    """Law: every order ends right, no counter falls, and SIGTERM ends all of it with exit code 0."""
    await eventually(worker.shared, 40)
    orders, half = [OneOrder(number) for number in range(24)], EVENTS_PER_ORDER // 2
    await _send(kafka, orders, half)

    async def done(times: int) -> bool:
        return await worker.records() == times * half * len(orders)

    await eventually(lambda: done(1), 30)
    first = worker.logged("process_started")[0]
    os.kill(first["pid"], signal.SIGKILL)
    await _send(kafka, orders, half)
    await eventually(lambda: done(2), 40)
    await eventually(worker.shared, 40)
    changes = await committed_records(kafka, "order-state-changes", PARTITIONS)
    worker.process.send_signal(signal.SIGTERM)
    assert (await worker.ended(), worker.plain) == (0, [])

    sequences: dict[str, list[int]] = defaultdict(list)
    for key, value in changes:
        sequences[key].append(json.loads(value)["data"]["sequence"])
    assert sequences == {order.order_id: list(range(1, CHANGES_PER_ORDER + 1)) for order in orders}
    [ended] = worker.logged("process_ended")
    assert (ended["number"], ended["code"]) == (first["number"], -signal.SIGKILL)
    started = worker.logged("worker_started")
    assert {line["process"] for line in started} == {1, 2}
    assert len(started) == 3
    assert not any(map(_lives, (line["pid"] for line in worker.logged("process_started"))))


@pytest.mark.usefixtures("topics")
async def test_processes_end_with_a_supervisor_that_was_killed(worker: Supervised) -> None:
    """Law: SIGKILL of the supervisor leaves nobody, and its processes leave their group in good order."""
    await eventually(worker.shared, 40)
    worker.process.send_signal(signal.SIGKILL)
    pids = [line["pid"] for line in worker.logged("process_started")]
    assert len(pids) == 2
    await eventually(lambda: not any(map(_lives, pids)), 20)
    assert await worker.ended() == -signal.SIGKILL
    assert len(worker.logged("worker_stopped")) == 2


async def test_what_would_come_again_ends_the_worker_with_its_line_and_code(worker: Supervised) -> None:
    """Law: topics that are missing end the command as they end a worker of one process: one line, exit code 1."""
    assert (await worker.ended(), worker.plain) == (1, [])
    [line] = worker.logged("stopped_by")
    assert "orderflow topics create" in line["reason"]
    assert line["code"] == 1
    assert "process" not in line
