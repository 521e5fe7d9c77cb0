"""Serving HTTP where strangers may knock: a bound for connections, and for the time that each may take to say what it wants.

aiohttp and asyncio take every connection that comes, each a file descriptor, and wait for a header as long as the other side
likes. So connections are taken here, one at a time and never more than ``Bounds.connections_max``; one too many takes the place
of the one that has been waited for longest: a good request is read within milliseconds and is never that one. What is being
answered keeps its place; then a new connection waits in the kernel.

Rules of the file: nothing here knows what is served. Whatever a stranger sends leaves at most one line in the log for each kind
of trouble.
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
#: How long a connection that finds no place waits before the places are looked at again.
_PLACE_SECONDS: Final = 0.02
#: After an accept that failed, such as for want of file descriptors.
_ACCEPT_PAUSE_SECONDS: Final = 0.2
#: Connections that the kernel holds for us until they are taken: what finds no place there is tried again a second later.
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
    """One connection: aiohttp's protocol, and what it is waited for."""

    def __init__(self, server: web.Server, lost: Callable[[_Connection], None]) -> None:
        self.inner = server()
        self._lost = lost
        self.transport: asyncio.Transport | None = None
        #: The request that is read or answered; None between requests.
        self.request: web.Request | None = None
        self.answered = False
        #: When what is waited for began.
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

    def turn(self, request: web.Request | None) -> None:
        """A request's header has been read, or a request has been answered."""
        self.request = request
        self.answered = self.answered or request is None
        self._begun, self.since = False, time.monotonic()

    @property
    def waited_for(self) -> bool:
        """Whether it is the other side's turn: header or body are not whole, or there is no request."""
        return self.request is None or not self.request.content.is_eof()

    def overdue(self, bounds: Bounds, now: float) -> bool:
        """Whether the other side has had its time."""
        if not self.waited_for:
            return False
        if self.request is not None:
            limit = bounds.body_seconds
        else:
            limit = bounds.idle_seconds if self.answered and not self._begun else bounds.header_seconds
        return now - self.since > limit

    def end(self) -> None:
        """Give the file descriptor back, now."""
        if self.transport is not None:
            self.transport.abort()


class Door:
    """The connections of one server."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._connections: dict[object, _Connection] = {}
        self._ending: set[_Connection] = set()
        self._place = asyncio.Event()

    @web.middleware
    async def watch(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Outermost middleware: knows when a header has been read and when a request has been answered."""
        connection = self._connections.get(request.protocol)
        if connection is not None:
            connection.turn(request)
        try:
            return await handler(request)
        finally:
            if connection is not None:
                connection.turn(None)

    async def take(self, listening: socket.socket, server: web.Server) -> None:
        """Take connections, one after the other, for ever."""
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
                await self._make_place()
                await loop.connect_accepted_socket(lambda: self._admit(server), taken)
            except BaseException as error:
                taken.close()
                if not isinstance(error, OSError):
                    raise

    def _admit(self, server: web.Server) -> _Connection:
        connection = _Connection(server, self._lost)
        self._connections[connection.inner] = connection
        return connection

    async def _make_place(self) -> None:
        """Return once there is a place; the connection that was waited for longest gives its own up."""
        while len(self._connections) >= self._bounds.connections_max:
            before = time.monotonic() - _GRACE_SECONDS
            waiting = [one for one in self._connections.values() if one.waited_for and one.since < before]
            if waiting and not self._ending:
                oldest = min(waiting, key=lambda one: one.since)
                self._ending.add(oldest)
                oldest.end()
            self._place.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_PLACE_SECONDS):
                    await self._place.wait()

    def _lost(self, connection: _Connection) -> None:
        self._connections.pop(connection.inner, None)
        self._ending.discard(connection)
        self._place.set()

    async def sweep(self) -> None:
        """End what is overdue, for ever."""
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
    door = Door(bounds)
    app.middlewares.insert(0, door.watch)
    listening = await _listen(host, port)
    runner = web.AppRunner(
        app,
        access_log_class=_Unread.told_to(app.get(UNREADABLE)),
        access_log=_http_log(),
        logger=_http_log(),
        shutdown_timeout=shutdown_timeout,
        keepalive_timeout=bounds.idle_seconds,
    )
    await runner.setup()
    assert runner.server is not None
    tasks = [asyncio.create_task(door.take(one, runner.server)) for one in listening]
    tasks.append(asyncio.create_task(door.sweep()))
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
    """aiohttp's place to hear of each request, used for those that it could not read. Logs nothing."""

    unreadable: Unreadable | None = None

    @classmethod
    def told_to(cls, unreadable: Unreadable | None) -> type[_Unread]:
        """The class that aiohttp makes one of for each connection."""
        return type(cls.__name__, (cls,), {"unreadable": unreadable})

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        if self.unreadable is not None and request.method == _UNREAD_METHOD:
            self.unreadable.report()


def _http_log() -> logging.Logger:
    """Where aiohttp's server logs faults of ours: what cannot be read is the other side's, and could fill a disk."""
    found = logging.getLogger("orderflow.http")
    if not found.filters:
        found.addFilter(_is_ours)
    return found


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | ConnectionError | web.RequestPayloadError)
