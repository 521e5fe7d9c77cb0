"""Connections that say nothing, or half of something, cost others nothing: real sockets against real processes.

Each process may have 1,024 open files, as is usual; 1,100 connections are opened to it.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from orderflow.embedded_kafka import EmbeddedKafka
from producers.connection import KafkaConnection
from producers.publisher import Publisher
from producers.topic_setup import create_topics
from producers.topics import Topic
from tests.lanes.kafka import read_all
from tests.unit.statemachine.story import cart

pytestmark = pytest.mark.timeout(90)

FILES = 1024
CONNECTIONS = 1100
HALF_A_HEADER = b"POST /webhooks HTTP/1.1\r\nHost: relay\r\nContent-"
HALF_A_BODY = b"POST /webhooks HTTP/1.1\r\nHost: relay\r\nContent-Length: 100\r\n\r\n{"


@pytest.fixture(autouse=True)
def _files_enough_for_the_test_itself() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 1000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this process may have {hard} open files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@asynccontextmanager
async def started(*words: str, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``orderflow`` with these words, in a process with few open files."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFLOW_")}
    environment |= {f"ORDERFLOW_{name.upper()}": value for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh", sys.executable, "-m", "orderflow", *words,
        env=environment, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        async with asyncio.timeout(20):
            assert await process.wait() == 0


@asynccontextmanager
async def crowd(port: int, said: bytes) -> AsyncIterator[list[socket.socket]]:
    """1,100 connections to ``port`` that have said no more than that."""
    loop, opened = asyncio.get_running_loop(), []
    try:
        for _ in range(CONNECTIONS):
            one = socket.socket()
            one.setblocking(False)
            opened.append(one)
            async with asyncio.timeout(20):
                await loop.sock_connect(one, ("127.0.0.1", port))
            with suppress(ConnectionError):
                await loop.sock_sendall(one, said)
        yield opened
    finally:
        for one in opened:
            one.close()


async def _answer(method: str, url: str, body: bytes | None = None) -> int:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
        session.request(method, url, data=body) as answer,
    ):
        return answer.status


def _files_of(process: asyncio.subprocess.Process) -> int:
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


@pytest.mark.parametrize("said", [b"", HALF_A_HEADER, HALF_A_BODY], ids=["nothing", "half a header", "half a body"])
async def test_connections_that_say_nothing_keep_no_good_webhook_out(said: bytes) -> None:
    """Law: a good webhook is taken within seconds while 1,100 connections are open, and its record is in Kafka."""
    port = _free_port()
    async with EmbeddedKafka() as kafka:
        await create_topics(KafkaConnection(kafka.bootstrap), "", partitions=1)
        async with started("relay", "--port", str(port), kafka_bootstrap=kafka.bootstrap, webhook_tokens="") as process:
            assert process.stdout is not None
            assert b"relay ready" in await process.stdout.readline()
            async with crowd(port, said):
                for number in range(3):
                    began, body = time.monotonic(), json.dumps({"id": f"evt-{number}"}).encode()
                    assert await _answer("POST", f"http://127.0.0.1:{port}/webhooks", body) == 202
                    assert time.monotonic() - began < 5
                assert await _answer("GET", f"http://127.0.0.1:{port}/readyz") == 200
                assert _files_of(process) < FILES / 2
        assert len(await read_all(kafka.bootstrap, Topic.DR_WEBHOOKS)) == 3


async def test_connections_to_the_health_page_take_no_file_from_kafka() -> None:
    """Law: with 1,100 of them a worker still starts to read, decides, writes, and answers a probe."""
    port = _free_port()
    async with EmbeddedKafka() as kafka:
        connection = KafkaConnection(kafka.bootstrap)
        await create_topics(connection, "", partitions=2)
        async with started(
            "worker", "--lanes", "orders", kafka_bootstrap=kafka.bootstrap, health_port=str(port)
        ) as process:
            async with asyncio.timeout(30):
                while True:
                    with suppress(aiohttp.ClientError):
                        if await _answer("GET", f"http://127.0.0.1:{port}/readyz") == 200:
                            break
                    await asyncio.sleep(0.2)
            async with crowd(port, b"GET /healthz HTTP/1.1\r\nHo"):
                assert _files_of(process) < 200
                assert await _answer("GET", f"http://127.0.0.1:{port}/readyz") == 200  # behind the whole crowd
                event = {
                    "specversion": "1.0", "id": uuid.uuid4().hex, "source": "/shop", "type": "checkout.requested",
                    "subject": "A-1", "data": cart(),
                }  # fmt: skip
                async with Publisher(connection) as publisher:
                    await publisher.send(Topic.CHECKOUT_EVENTS, b"A-1", json.dumps(event).encode())
                changes: list[object] = []
                for _ in range(100):
                    changes = list(await read_all(kafka.bootstrap, Topic.ORDER_STATE_CHANGES))
                    if changes:
                        break
                    await asyncio.sleep(0.2)
                assert changes
                assert await _answer("GET", f"http://127.0.0.1:{port}/readyz") == 200


async def test_connections_to_the_simulator_keep_no_call_out() -> None:
    """Law: the simulator goes by the same bounds, so a test of a crowd tests orderflow and not its stand-in."""
    port = _free_port()
    async with started("simulator", "--port", str(port)) as process:
        assert process.stdout is not None
        assert b"simulator ready" in await process.stdout.readline()
        async with crowd(port, HALF_A_HEADER):
            assert await _answer("GET", f"http://127.0.0.1:{port}/_admin/books") == 200
