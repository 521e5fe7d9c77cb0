"""``orderflow worker`` as a process: it refuses unsafe topics, and says on ``/readyz`` what stands still."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from producers.topics import TOPICS, Topic, prefixed
from tests.kafka.server import free_port
from tests.orders.lane import PARTITIONS, Given, given, key_on, order_lane, read_outputs, write
from tests.orders.test_accept import delete_records
from tests.unit.statemachine.story import cart

pytestmark = pytest.mark.timeout(60)


async def _make_all_topics(kafka: str, prefix: str, **other_counts: int) -> None:
    """All topics of the contract; ``other_counts`` by name with underscores."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics(
            [
                NewTopic(
                    prefixed(prefix, topic),
                    other_counts.get(topic.value.replace("-", "_"), PARTITIONS),
                    1,
                    topic_configs=spec.configs(),
                )
                for topic, spec in TOPICS.items()
            ]
        )
    finally:
        await admin.close()


async def _orderflow(kafka: str, prefix: str, *words: str, **settings: str) -> asyncio.subprocess.Process:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFLOW_")}
    ours = {"kafka_bootstrap": kafka, "topic_prefix": prefix, "log_level": "error", **settings}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "orderflow",
        *words,
        env={**kept, **{f"ORDERFLOW_{name.upper()}": value for name, value in ours.items()}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def _ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_an_input_topic_with_another_partition_count_is_a_clear_refusal_to_start(kafka: str, prefix: str) -> None:
    """One line that names the topic and both counts, exit code 1, and nothing was read or written."""
    await _make_all_topics(kafka, prefix, order_events=PARTITIONS + 1)
    await write(kafka, prefix, [given("checkout.requested", key_on(0), cart())])
    code, out, err = await _ended(await _orderflow(kafka, prefix, "worker", "--lanes", "orders"))
    assert (code, out) == (1, "")
    assert err.count("\n") == 1, err
    line = json.loads(err)
    assert (line["event"], line["code"]) == ("stopped_by", 1)
    assert (
        f"topic {prefix}order-events: has {PARTITIONS + 1} partitions, {prefix}orders has {PARTITIONS}"
        in line["reason"]
    )
    assert (await read_outputs(kafka, prefix)).orders == {}


async def _ready(port: int) -> tuple[int, str]:
    """What ``/readyz`` says; 0 while nobody listens."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            return answer.status, await answer.text()
    except aiohttp.ClientConnectionError:
        return 0, ""


@asynccontextmanager
async def _worker(kafka: str, prefix: str) -> AsyncIterator[int]:
    """A worker process; yields the port of its health page. At the end SIGTERM must make it leave with exit code 0."""
    port = free_port()
    process = await _orderflow(kafka, prefix, "worker", "--lanes", "orders", health_port=str(port))
    try:
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        code, _, err = await _ended(process)
    assert code == 0, err
    assert "Traceback" not in err


async def _until_ready_is(port: int, status: int, words: str = "", seconds: float = 30.0) -> str:
    async with asyncio.timeout(seconds):
        while (found := await _ready(port))[0] != status or words not in found[1]:  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.1)
    return found[1]


async def test_readyz_names_a_stopped_partition_until_it_was_repaired(kafka: str, prefix: str) -> None:
    """503 with the line and the repair while a partition stands still; after ``partitions accept --apply`` a worker is ready."""
    await _make_all_topics(kafka, prefix)
    order_id = key_on(0)
    async with order_lane(kafka, prefix, answering=False) as lane:
        await lane.send(given("checkout.requested", order_id, cart()))
        await lane.settled()
    await write(kafka, prefix, [given("checkout.updated", order_id, cart())])
    await delete_records(kafka, prefix, Topic.CHECKOUT_EVENTS)
    async with _worker(kafka, prefix) as port:
        problem = await _until_ready_is(port, 503, "stopped")
    # the other partition may still be taken over meanwhile
    (stopped,) = [line for line in problem.splitlines() if "taking over" not in line]
    assert stopped.startswith(
        "orders[0]: partition 0 stopped: checkout-events should go on at offset 1, but Kafka has 2 to 2"
    )
    assert "orderflow partitions accept 0 --use committed --reason TEXT" in stopped
    words = ("partitions", "accept", "0", "--use", "committed", "--reason", "retention was too short")
    dry, applied = [await _ended(await _orderflow(kafka, prefix, *words, *more)) for more in ((), ("--apply",))]
    assert (dry[0], applied[0]) == (0, 0)
    assert "checkout-events: committed 1, position record 1, Kafka has 2 to 2" in dry[1]
    assert "would continue at 2: 1 offsets are not read" in dry[1]
    assert "would" not in applied[1]
    assert "must be restarted" in applied[1]
    async with _worker(kafka, prefix) as port:
        assert await _until_ready_is(port, 200) == "ready\n"
        await write(kafka, prefix, [given("checkout.updated", order_id, cart(("1", 9, "1.00")))])
        async with asyncio.timeout(20):
            while (await read_outputs(kafka, prefix)).orders[order_id]["lines"][0]["ordered"] != 9:  # noqa: ASYNC110  # the same
                await asyncio.sleep(0.2)


async def test_a_snapshot_that_cannot_be_read_is_repaired_by_a_record_and_a_restart(kafka: str, prefix: str) -> None:
    """The worker has the bad record in memory and stays stopped after the repair; the next one takes the order."""
    await _make_all_topics(kafka, prefix)
    order_id = key_on(0)
    await write(kafka, prefix, [Given(Topic.ORDERS, order_id.encode(), b"no json", partition=0)])
    async with _worker(kafka, prefix) as port:
        problem = await _until_ready_is(port, 503, "cannot be read")
        assert f"the snapshot of order {order_id} in {prefix}orders cannot be read" in problem
        await write(kafka, prefix, [Given(Topic.ORDERS, order_id.encode(), None, partition=0)])
        await asyncio.sleep(2.0)
        code, still = await _ready(port)
        assert (code, f"the snapshot of order {order_id}" in still) == (503, True)
    async with _worker(kafka, prefix) as port:
        await _until_ready_is(port, 200)
        await write(kafka, prefix, [given("checkout.requested", order_id, cart())])
        async with asyncio.timeout(20):
            while order_id not in (await read_outputs(kafka, prefix)).orders:  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.2)
