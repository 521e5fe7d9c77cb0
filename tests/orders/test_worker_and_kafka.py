"""``orderflow worker`` as a process, and a Kafka that goes away, freezes or changes under it."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from producers.topics import Lane, Topic, prefixed
from tests.kafka.server import KafkaServer, free_port
from tests.orders.lane import PARTITIONS
from tests.orders.test_worker_process import _ended, _make_all_topics, _orderflow, _ready, _until_ready_is

pytestmark = pytest.mark.timeout(180)

LANES = tuple(lane.value for lane in Lane)


class Running:
    """A worker process with all lanes, its health page and its log."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port
        self.lines: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode().strip())

    def lines_of(self, event: str) -> list[str]:
        """The lines of one event."""
        return [line for line in self.lines if f'"event":"{event}"' in line]

    async def until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Wait for something that shows in the log."""
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.1)

    async def ended(self, seconds: float) -> int:
        """Its exit code."""
        code = await asyncio.wait_for(self.process.wait(), seconds)
        await self._reading
        return code


@asynccontextmanager
async def worker(bootstrap: str, prefix: str, lanes: str = ",".join(LANES)) -> AsyncIterator[Running]:
    """A ready worker; gone afterwards."""
    port = free_port()
    words = ("worker", "--lanes", lanes)
    more = {"health_port": str(port), "log_level": "info", "log_format": "json"}
    running = Running(await _orderflow(bootstrap, prefix, *words, **more), port)
    try:
        await _until_ready_is(port, 200)
        yield running
    finally:
        if running.process.returncode is None:
            running.process.kill()
        await running.ended(10)


@pytest.mark.kafka
@pytest.mark.chaos
@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_an_idle_worker_says_within_15_s_that_kafka_is_away_and_when_it_is_back(
    own_kafka: KafkaServer, prefix: str, how: str
) -> None:
    """503 that names every lane, and one line for each, whether the broker is dead or frozen; the same when it answers again."""
    await _make_all_topics(own_kafka.bootstrap, prefix)
    hurt, heal = {"kill": (own_kafka.kill, own_kafka.restart), "pause": (own_kafka.pause, own_kafka.unpause)}[how]
    async with worker(own_kafka.bootstrap, prefix) as running:
        began = time.monotonic()
        await asyncio.to_thread(hurt)
        for lane in LANES:
            words = f"{lane}: Kafka has not answered group {prefix}orderflow.{lane} for"
            await _until_ready_is(running.port, 503, words, seconds=15 - (time.monotonic() - began))
        await running.until(lambda: len(running.lines_of("kafka_away")) == len(LANES), 15 - (time.monotonic() - began))
        await asyncio.sleep(10)
        assert len(running.lines_of("kafka_away")) == len(LANES), "told again and again"
        assert running.lines_of("kafka_back") == []
        await asyncio.to_thread(heal)
        await _until_ready_is(running.port, 200, seconds=60)
        await running.until(lambda: len(running.lines_of("kafka_back")) == len(LANES), 30)
        running.process.send_signal(signal.SIGTERM)
        assert await running.ended(40) == 0


async def _change(kafka: str, prefix: str, change: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        if change == "raised":
            await admin.create_partitions({prefixed(prefix, Topic.ORDER_EVENTS): NewPartitions(PARTITIONS + 2)})
        elif change == "commands raised":
            await admin.create_partitions({prefixed(prefix, Topic.DR_COMMANDS): NewPartitions(PARTITIONS + 2)})
        elif change == "deleted":
            await admin.delete_topics([prefixed(prefix, Topic.DR_WEBHOOKS)])
        else:
            resource = ConfigResourceType.TOPIC, prefixed(prefix, Topic.ORDERS)
            await admin.alter_configs([ConfigResource(*resource, configs={"cleanup.policy": "delete"})])
    finally:
        await admin.close()


@pytest.mark.kafka
@pytest.mark.parametrize("change", ["raised", "commands raised", "deleted", "other cleanup"])
async def test_topics_that_change_under_a_worker_stop_it_with_the_line_of_a_new_one(
    apache_kafka: str, prefix: str, change: str
) -> None:
    """Within a minute: it would read a part of the records, or lose orders, and say that it is ready."""
    await _make_all_topics(apache_kafka, prefix)
    async with worker(apache_kafka, prefix) as running:
        await _change(apache_kafka, prefix, change)
        assert await running.ended(60) == 1
        line = json.loads(running.lines[-1])["reason"]
    new = await _orderflow(apache_kafka, prefix, "worker")
    code, out, err = await _ended(new)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert json.loads(err)["reason"] == line
    expected = {
        "raised": f"topic {prefix}order-events: has 4 partitions, {prefix}orders has 2",
        "commands raised": f"topic {prefix}dr-commands: has 4 partitions, {prefix}orders has 2",
        "deleted": f"topic {prefix}dr-webhooks: does not exist",
        "other cleanup": f"topic {prefix}orders: has cleanup.policy=delete; it must be compact, or orders are lost",
    }
    assert expected[change] in line


async def test_a_count_of_dr_commands_that_is_not_that_of_orders_is_a_refusal_to_start(kafka: str, prefix: str) -> None:
    """A count that was changed puts two commands of one order into two partitions, where they are called side by side."""
    await _make_all_topics(kafka, prefix, dr_commands=PARTITIONS + 1)
    code, _, stderr = await _ended(await _orderflow(kafka, prefix, "worker", "--lanes", "commands"))
    line = f"topic {prefix}dr-commands: has {PARTITIONS + 1} partitions, {prefix}orders has {PARTITIONS}"
    assert code == 1
    assert line in stderr
    code, _, stderr = await _ended(await _orderflow(kafka, prefix, "topics", "check"))
    assert code == 1
    assert f"stops workers: {line}" in stderr


async def _loads(process: asyncio.subprocess.Process) -> None:
    """Wait until Python has begun to load orderflow, as the libraries in its memory tell."""
    maps = Path(f"/proc/{process.pid}/maps")
    async with asyncio.timeout(20):
        while "msgspec" not in maps.read_text():  # noqa: ASYNC110, ASYNC240  # another process
            await asyncio.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what a process has loaded is read from /proc")
@pytest.mark.parametrize("after", [0.0, 0.3, 0.6, 0.9, 1.3, 2.0])
async def test_a_worker_that_is_told_to_stop_while_it_starts_ends_in_good_order(
    kafka: str, prefix: str, after: float
) -> None:
    """Exit code 0 whether it is still being loaded, asks for its topics, joins or takes over."""
    await _make_all_topics(kafka, prefix)
    process = await _orderflow(kafka, prefix, "worker")
    await _loads(process)
    await asyncio.sleep(after)
    process.send_signal(signal.SIGTERM)
    code, out, stderr = await asyncio.wait_for(_ended(process), 60)
    assert (code, out, stderr) == (0, "", "")


@pytest.mark.kafka
@pytest.mark.chaos
async def test_a_worker_that_starts_while_kafka_is_frozen_ends_with_4(own_kafka: KafkaServer, prefix: str) -> None:
    """A supervisor starts it again until Kafka answers; told to stop meanwhile it ends with 0."""
    await _make_all_topics(own_kafka.bootstrap, prefix)
    await asyncio.to_thread(own_kafka.pause)
    tired, stderr = (
        await _orderflow(own_kafka.bootstrap, prefix, "worker"),
        await _orderflow(own_kafka.bootstrap, prefix, "worker"),
    )
    await asyncio.sleep(5.0)
    stderr.send_signal(signal.SIGTERM)
    code, _, lines_of = await asyncio.wait_for(_ended(tired), 30)
    assert code == 4
    assert lines_of.count("\n") == 1
    assert f"Kafka did not finish a connection to {own_kafka.bootstrap} within" in lines_of
    assert await asyncio.wait_for(_ended(stderr), 30) == (0, "", "")
    await asyncio.to_thread(own_kafka.unpause)
    async with worker(own_kafka.bootstrap, prefix) as running:
        assert (await _ready(running.port))[0] == 200
