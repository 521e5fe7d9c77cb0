"""The bounds of a server: connections, and the time for header, body and the next request."""

from __future__ import annotations

import asyncio
import resource
import select
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from orderflow.process.http_listener import Bounds, serving


async def _answer(method: str, url: str) -> int:
    async with aiohttp.ClientSession() as session, session.request(method, url) as answer:
        return answer.status


@asynccontextmanager
async def small_server(bounds: Bounds) -> AsyncIterator[int]:
    """A server that answers with the length of what it was sent, after a second for ``/slow``."""

    async def echo(request: web.Request) -> web.Response:
        body = await request.read()
        if request.path == "/slow":
            await asyncio.sleep(1.0)
        return web.Response(text=str(len(body)))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", echo)
    async with serving(app, "127.0.0.1", 0, bounds, shutdown_timeout=0.5) as port:
        yield port


async def _closed_after(reader: asyncio.StreamReader, seconds_max: float) -> float:
    """Seconds until the other side closed."""
    began = time.monotonic()
    async with asyncio.timeout(seconds_max):
        with suppress(ConnectionError):
            while await reader.read(4096):
                pass
    return time.monotonic() - began


TIGHT = Bounds(2, header_seconds=0.6, body_seconds=0.6, idle_seconds=1.5)


@pytest.mark.parametrize(
    "said", [b"", b"GET / HTTP/1.1\r\nHo", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"]
)
async def test_what_is_not_sent_in_time_ends_the_connection(said: bytes) -> None:
    """Law: header and body each have their time."""
    async with small_server(TIGHT) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        assert 0.4 < await _closed_after(reader, 5) < 3
        writer.close()


async def test_a_header_that_comes_byte_by_byte_has_the_same_time() -> None:
    """Law: the time of a header is counted from its first byte, not from its last one."""
    async with small_server(TIGHT) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        closing = asyncio.ensure_future(_closed_after(reader, 5))
        with suppress(ConnectionError):
            for byte in b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 100:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)
                if closing.done():
                    break
        assert await closing < 3
        writer.close()


async def test_a_connection_is_kept_for_the_next_request_and_ended_when_it_is_idle_for_long() -> None:
    """Law: keep-alive works within its time, and what is being answered is never ended by a deadline."""
    async with small_server(TIGHT) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for path in ("/", "/slow", "/"):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(1)
            await asyncio.sleep(0.8)  # longer than a header may take
        assert await _closed_after(reader, 5) < 3
        writer.close()


async def test_what_is_being_answered_keeps_its_place_and_a_newcomer_waits() -> None:
    """Law: with all places at work a new connection is answered when one is free, and nothing at work is ended for it."""
    async with small_server(TIGHT) as port:
        url = f"http://127.0.0.1:{port}"
        paths = ("/slow", "/slow", "/", "/")
        assert set(await asyncio.gather(*(_answer("GET", url + path) for path in paths))) == {200}


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    """Law: who starts the server learns it as from asyncio itself."""
    async with small_server(TIGHT) as port:
        with pytest.raises(OSError, match="ddress already in use"):
            async with serving(web.Application(), "127.0.0.1", port, TIGHT):
                pass


def _queue_max() -> int:
    """The longest queue of a listening socket that this machine allows."""
    return int(Path("/proc/sys/net/core/somaxconn").read_text())


async def test_a_thousand_connections_that_come_at_once_are_all_let_in() -> None:
    """Law: no connection is lost, to be tried again a second later, while the server is busy with another one."""
    count = 1000
    if _queue_max() < count:
        pytest.skip("this machine allows no queue as long")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * count + 200:
        pytest.skip(f"this process may have {hard} open files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * count + 200), hard))
    made = [socket.socket() for _ in range(count)]
    try:
        async with small_server(Bounds(count)) as port:
            connecting = select.epoll()
            for one in made:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
                connecting.register(one, select.EPOLLOUT | select.EPOLLET)
            # Nothing is awaited until here, so the server has accepted none of them.
            let_in, until = 0, time.monotonic() + 0.8  # before the first SYN is sent again
            while let_in < count and time.monotonic() < until:
                let_in += len(connecting.poll(0.1))
            connecting.close()
            assert let_in == count
    finally:
        for one in made:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
