"""Serves HTTP to untrusted clients: limits the number of connections, and the time that each may take to send a request.

aiohttp and asyncio accept every connection, each a file descriptor, and wait for a header without a limit. So connections are
accepted here, one at a time and at most ``Bounds.connections_max``; one more replaces the one that has been waited for longest,
which is never a proper request, since that is read within milliseconds. Requests that are being answered keep their connection;
if all are, a new connection waits in the kernel.

Rules of the file: nothing here knows what is served. Whatever a client sends causes at most one log line for each kind of
problem.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http import HttpProcessingError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What an application does when a request cannot be read as HTTP."""

    report: Callable[[], None]


#: Where an application keeps it, if it wants to know.
UNREADABLE: Final = web.AppKey("unreadable", Unreadable)

#: The method that aiohttp gives to a request that it could not read.
_UNREAD_METHOD: Final = "UNKNOWN"
#: How often deadlines are looked at.
_SWEEP_SECONDS: Final = 0.5
#: Nobody loses a place before this long: a good header that has just been sent is still to be read. A crowd passes through the
#: places in this time each, and a probe waits behind it: 1,100 connections through the 32 of a health page in 1.7 s.
_GRACE_SECONDS: Final = 0.05
#: How long a connection without room waits before it is checked again.
_ROOM_SECONDS: Final = 0.02
#: After an accept that failed, such as for want of file descriptors.
_ACCEPT_PAUSE_SECONDS: Final = 0.2
#: Connections that wait in the kernel until they are accepted; beyond it clients retry after a second.
_BACKLOG: Final = 2048


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one server may use, in connections and in seconds."""

    connections_max: int
    #: From the first byte of a header, or the connection, to its end.
    header_seconds: float = 10.0
    #: From the end of a header to the end of the body.
    body_seconds: float = 30.0
    #: From an answer to the next request on the same connection.
    idle_seconds: float = 75.0

    def within_limit(self, share: float) -> Bounds:
        """The same, but with at most this share of the file descriptors that the process may have open."""
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        allowed = self.connections_max if most == resource.RLIM_INFINITY else max(1, int(most * share))
        return Bounds(min(self.connections_max, allowed), self.header_seconds, self.body_seconds, self.idle_seconds)


class _Connection(asyncio.Protocol):
    """One connection: aiohttp's protocol, and what we wait for."""

    def __init__(self, server: web.Server, lost: Callable[[_Connection], None]) -> None:
        self.inner = server()
        self._lost = lost
        self.transport: asyncio.Transport | None = None
        #: The request that is read or answered; None between requests.
        self.request: web.Request | None = None
        self.answered = False
        #: When the present wait began.
        self.since = time.monotonic()
        self._begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.request is None and self.answered and not self._begun:
            self._begun, self.since = True, time.monotonic()  # the first byte of another header
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        self.inner.eof_received()
        return None

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(self)
        self.inner.connection_lost(exc)

    def set_request(self, request: web.Request | None) -> None:
        """A request's header has been read, or a request has been answered."""
        self.request = request
        self.answered = self.answered or request is None
        self._begun, self.since = False, time.monotonic()

    @property
    def awaits_client(self) -> bool:
        """Whether we wait for the client: header or body are incomplete, or there is no request."""
        return self.request is None or not self.request.content.is_eof()

    def overdue(self, bounds: Bounds, now: float) -> bool:
        """Whether the client has exceeded its time."""
        if not self.awaits_client:
            return False
        if self.request is not None:
            limit = bounds.body_seconds
        else:
            limit = bounds.idle_seconds if self.answered and not self._begun else bounds.header_seconds
        return now - self.since > limit

    def end(self) -> None:
        """Close the connection at once."""
        if self.transport is not None:
            self.transport.abort()


class HttpListener:
    """The connections of one server."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._connections: dict[object, _Connection] = {}
        self._ending: set[_Connection] = set()
        self._room = asyncio.Event()

    @web.middleware
    async def watch(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Outermost middleware: knows when a header has been read and when a request has been answered."""
        connection = self._connections.get(request.protocol)
        if connection is not None:
            connection.set_request(request)
        try:
            return await handler(request)
        finally:
            if connection is not None:
                connection.set_request(None)

    async def take(self, listening: socket.socket, server: web.Server) -> None:
        """Accept connections, one after the other, until cancelled."""
        loop, failing = asyncio.get_running_loop(), False
        while True:
            try:
                taken, _ = await loop.sock_accept(listening)
            except OSError as error:
                if not failing:
                    log.warning("accept_failed", port=listening.getsockname()[1], error=error)
                failing = True
                await asyncio.sleep(_ACCEPT_PAUSE_SECONDS)
                continue
            failing = False
            try:
                await self._make_room()
                await loop.connect_accepted_socket(lambda: self._admit(server), taken)
            except BaseException as error:
                taken.close()
                if not isinstance(error, OSError):
                    raise

    def _admit(self, server: web.Server) -> _Connection:
        connection = _Connection(server, self._lost)
        self._connections[connection.inner] = connection
        return connection

    async def _make_room(self) -> None:
        """Return once there is room; the connection that has been waited for longest is closed."""
        while len(self._connections) >= self._bounds.connections_max:
            before = time.monotonic() - _GRACE_SECONDS
            waiting = [one for one in self._connections.values() if one.awaits_client and one.since < before]
            if waiting and not self._ending:
                oldest = min(waiting, key=lambda one: one.since)
                self._ending.add(oldest)
                oldest.end()
            self._room.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_ROOM_SECONDS):
                    await self._room.wait()

    def _lost(self, connection: _Connection) -> None:
        self._connections.pop(connection.inner, None)
        self._ending.discard(connection)
        self._room.set()

    async def sweep(self) -> None:
        """Close overdue connections until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = time.monotonic()
            for connection in list(self._connections.values()):
                if connection.overdue(self._bounds, now):
                    connection.end()


@asynccontextmanager
async def serving(
    app: web.Application, host: str, port: int, bounds: Bounds, *, shutdown_timeout: float = 3.0
) -> AsyncIterator[int]:
    """Serve ``app`` while the context lasts; yields the port, a free one for 0.

    Raises:
        OSError: The host is not known, or the port is taken.
    """
    listener = HttpListener(bounds)
    app.middlewares.insert(0, listener.watch)
    listening = await _listen(host, port)
    runner = web.AppRunner(
        app,
        access_log_class=_Unread.reporting_to(app.get(UNREADABLE)),
        access_log=_http_log(),
        logger=_http_log(),
        shutdown_timeout=shutdown_timeout,
        keepalive_timeout=bounds.idle_seconds,
    )
    await runner.setup()
    assert runner.server is not None
    tasks = [asyncio.create_task(listener.take(one, runner.server)) for one in listening]
    tasks.append(asyncio.create_task(listener.sweep()))
    try:
        yield int(listening[0].getsockname()[1])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in listening:
            one.close()
        await runner.cleanup()


async def _listen(host: str, port: int) -> list[socket.socket]:
    """A listening socket for each address of ``host``.

    Raises:
        OSError: The host is not known, or the port is taken.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    made: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            made.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.setblocking(False)
            one.bind(address)
            one.listen(_BACKLOG)
    except OSError:
        for one in made:
            one.close()
        raise
    return made


class _Unread(AbstractAccessLogger):
    """aiohttp's access logger, used to count requests that it could not read. Logs nothing."""

    unreadable: Unreadable | None = None

    @classmethod
    def reporting_to(cls, unreadable: Unreadable | None) -> type[_Unread]:
        """The class that aiohttp makes one of for each connection."""
        return type(cls.__name__, (cls,), {"unreadable": unreadable})

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        if self.unreadable is not None and request.method == _UNREAD_METHOD:
            self.unreadable.report()


def _http_log() -> logging.Logger:
    """Where aiohttp's server logs our own faults; those of clients are dropped, because they could fill a disk."""
    found = logging.getLogger("orderflow.http")
    if not found.filters:
        found.addFilter(_is_ours)
    return found


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | ConnectionError | web.RequestPayloadError)
