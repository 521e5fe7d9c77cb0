"""A network that is away for longer than the HTTP time-out delivers nothing late."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest
from structlog.testing import capture_logs

from orderflow.digitalriver import connection as connection_module
from orderflow.digitalriver import sockets
from orderflow.digitalriver.connection import Connection
from statemachine.errors import TransportFailure, Unavailable
from tests.contract.provider.network import SERVER, Network, network
from tests.contract.provider.raw_server import http, raw_server

ROOT = Path(__file__).resolve().parents[3]
#: HTTP time-out; the network is away for so long, counted from the requests; and by when an old request that the kernel still has
#: is there: its tries come after 0.2, 0.6, 1.4, 3 and 6.2 s.
TIMEOUT, AWAY, LATE = 1.5, 3.2, 10.0

#: What becomes of a client meanwhile: it gives the request up, is killed, or stands still.
FATES = {"A-gave-up": None, "A-killed": "KILL", "A-frozen": "STOP"}


@contextmanager
def process(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process of ours while the context lasts."""
    with subprocess.Popen(  # words of ours
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def line(started: subprocess.Popen[str]) -> str:
    """The next line that it says."""
    return _pipe(started.stdout).readline()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def checkouts(net: Network) -> dict[str, int]:
    """How many checkouts each order has, by the simulator's books, asked on its own side of the network."""
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8400/_admin/books').read().decode())"
    completed = subprocess.run(  # words of ours
        net.inside(net.server, [sys.executable, "-c", ask]), check=True, capture_output=True, text=True
    )
    return {order_id: book["checkouts"] for order_id, book in json.loads(completed.stdout).items()}


def effects_after_a_cut(net: Network, mutants: list[str]) -> dict[str, int]:
    """Cut the network, let clients send requests into it and meet their fates, mend the network: what took effect?"""
    serve = [sys.executable, "-m", "orderflow", "simulator", "--host", "0.0.0.0", "--rate", "0"]
    with ExitStack() as stack:
        simulator = stack.enter_context(process(net.inside(net.server, serve)))
        assert "ready" in line(simulator)
        clients = {}
        for order_id in FATES:
            spec = {"url": f"http://{SERVER}:8400", "timeout": TIMEOUT, "order_id": order_id, "mutants": mutants}
            ask = [sys.executable, str(ROOT / "tests/contract/provider/lost_client.py"), json.dumps(spec)]
            clients[order_id] = stack.enter_context(process(net.inside(net.client, ask)))
        pids = {order_id: json.loads(line(client))["ready"] for order_id, client in clients.items()}
        net.cut()
        began = time.monotonic()
        for client in clients.values():
            _pipe(client.stdin).write("go\n")
            _pipe(client.stdin).flush()
        for client in clients.values():
            assert json.loads(line(client)) == {"sent": True}
        time.sleep(0.1)  # the bytes are the kernel's by now
        for order_id, signal in FATES.items():
            if signal is not None:
                net.kill(pids[order_id], signal)
        assert json.loads(line(clients["A-gave-up"])) == {"failed": "TransportFailure"}
        time.sleep(max(0.0, began + AWAY - time.monotonic()))
        assert checkouts(net) == {}
        net.heal()
        while time.monotonic() < began + LATE and len(checkouts(net)) < len(FATES):
            time.sleep(0.5)
        return checkouts(net)


@pytest.mark.timeout(60)
def test_a_request_that_a_lost_network_held_back_is_never_delivered_late() -> None:
    """The kernel throws away what was not acknowledged within the time-out, whatever became of the process."""
    with network() as net:
        assert effects_after_a_cut(net, []) == {}


@pytest.mark.timeout(60)
def test_without_its_guard_the_old_request_arrives_when_the_network_is_back() -> None:
    """The test above can fail: a plain socket delivers what was written long ago, also when its process is gone."""
    with network() as net:
        assert effects_after_a_cut(net, ["no_user_timeout", "no_discard"]) == dict.fromkeys(FATES, 1)


def _sockets_to(port: int) -> list[socket.socket]:
    """The sockets of this process that are connected to a port, by what the kernel says."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        try:
            copy = socket.socket(fileno=os.dup(int(path.name)))
        except OSError:
            continue
        try:
            if copy.family == socket.AF_INET and copy.getpeername()[1] == port:
                found.append(copy)
                continue
        except OSError:
            pass
        copy.close()
    return found


@pytest.mark.skipif(sockets.USER_TIMEOUT is None, reason="this system has no TCP_USER_TIMEOUT")
async def test_the_kernel_knows_the_time_out_of_each_connection() -> None:
    """Asked of the kernel, about the socket that a request really goes out on."""

    async def answer(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(http("200 OK"))

    async with raw_server(answer) as server, Connection(server.url, "sk_test", timeout_seconds=7.25) as connection:
        await connection.request("GET", "/x", route="GET /x")
        found = _sockets_to(int(server.url.rpartition(":")[2]))
        assert sockets.USER_TIMEOUT is not None
        assert [one.getsockopt(socket.IPPROTO_TCP, sockets.USER_TIMEOUT) for one in found] == [7250]
        for one in found:
            one.close()


async def test_what_is_given_up_is_not_sent_out_of_a_buffer_afterwards() -> None:
    """A server that reads slowly gets no more of a request that its client has given up, however much is waiting."""
    size = 1_000_000  # far more than the server's kernel takes; the rest waits in the client's
    received, goes_on = 0, asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await goes_on.wait()
        with suppress(ConnectionError):
            while part := await reader.read(1 << 20):
                received += len(part)
        writer.close()
        ended.set()

    ended = asyncio.Event()
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    listening.bind(("127.0.0.1", 0))
    server = await asyncio.start_server(talk, sock=listening, limit=4096)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with Connection(url, "sk_test", timeout_seconds=0.5) as connection:
            with pytest.raises(TransportFailure) as caught:
                await connection.request("POST", "/x", route="POST /x", body=bytes(size))
            assert caught.value.sent
            goes_on.set()
            await asyncio.wait_for(ended.wait(), 10)
    assert received < size


async def test_giving_up_an_answered_request_leaves_its_connection_alone() -> None:
    """The connection may serve the next request already."""

    async def answer(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(http("500 Internal Server Error"))

    async with raw_server(answer) as server, Connection(server.url, "sk_test") as connection:
        for _ in range(2):
            with pytest.raises(Unavailable):
                await connection.request("POST", "/x", route="POST /x", body=b"{}")
        assert server.connections == 1


@pytest.mark.parametrize("there", [True, False])
async def test_a_system_that_cannot_withdraw_requests_says_so_once(
    monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """One line when the pool is made, and none where the kernel keeps the time-out."""
    monkeypatch.setattr(connection_module, "USER_TIMEOUT", 18 if there else None)
    with capture_logs() as logs:
        async with Connection("http://127.0.0.1:9", "sk_test") as connection:
            await connection.open()
    assert [found["event"] for found in logs] == ([] if there else ["late_requests_possible"])
