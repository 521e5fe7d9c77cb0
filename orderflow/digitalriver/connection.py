"""One HTTP connection pool to Digital River: a request is sent at most once, and "was it sent?" always has an answer.

Nothing here retries, not even aiohttp: it would repeat GET, PUT and DELETE on a keep-alive connection that the server had closed,
without a check of the lease. The errors of aiohttp and asyncio end here; what leaves are ``Answer`` and the classes of
``statemachine.errors``. Never put a body, a query or a header into an error text: they hold personal data and the key.
A request that is given up is discarded; what the kernel has of it is not delivered after the time-out (``sockets.py``).
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Final, Self

import aiohttp
import msgspec
import structlog
from aiohttp import hdrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_reqrep import ClientRequest, ClientResponse
from aiohttp.connector import Connection as PooledConnection
from multidict import CIMultiDict

from consumers.provider import MayWrite
from consumers.tracing import TRACE_HEADER, Span, current_span
from orderflow.digitalriver.reachability import Reachability
from orderflow.digitalriver.sockets import USER_TIMEOUT, discard, socket_factory
from statemachine.errors import Denied, DigitalRiverError, OffContract, Throttled, TransportFailure, Unavailable

log = structlog.get_logger(__name__)

#: The last version that Digital River published; the shapes read here are this version's.
API_VERSION: Final = "2021-12-13"

#: Digital River's own connectors wait 30 s (Salesforce) and 10 s (VTEX); the slower one is safe for ``POST /orders``.
REQUEST_TIMEOUT_SECONDS: Final = 30.0
CONNECT_TIMEOUT_SECONDS: Final = 5.0

#: Taken when a 429 has no readable ``Retry-After`` (the documented one is whole seconds).
RETRY_AFTER_SECONDS_DEFAULT: Final = 1.0


class Answer(msgspec.Struct, frozen=True):
    """A whole answer: 2xx, or a 4xx that is a refusal and not a problem of transport, key or rate."""

    status: int
    body: bytes
    request_id: str | None


class WriteGate:
    """The moment of writing of one request: asks ``may_write`` right before the first byte, and keeps the result."""

    __slots__ = ("answered", "error", "may_write", "passed", "transport")

    def __init__(self, may_write: MayWrite | None) -> None:
        self.may_write = may_write
        self.passed = False
        self.error: BaseException | None = None
        #: The connection that the request is sent on, once there is one.
        self.transport: asyncio.BaseTransport | None = None
        #: The whole answer has been read: nothing of the request is in flight any more.
        self.answered = False

    def go(self) -> None:
        """Mark the request as sent, unless ``may_write`` raises: then nothing may be written."""
        if self.may_write is not None:
            try:
                self.may_write()
            except BaseException as error:
                self.error = error
                raise
        self.passed = True

    def give_up(self) -> None:
        """Nothing more of the request may be sent, unless it has been answered."""
        if self.passed and not self.answered:
            discard(self.transport)


class GatedRequest(ClientRequest):
    """aiohttp's request with a gate at the last point before its bytes reach the transport.

    aiohttp 3.14 buffers the headers until the body is written. With a body that happens in ``write_bytes``, which on Python
    3.11 is a separate task and so runs a turn of the event loop after ``send``; without a body, inside ``send``.
    """

    gate: WriteGate

    async def send(self, conn: PooledConnection) -> ClientResponse:
        """Write the request, or raise what ``may_write`` raised with nothing written."""
        self.gate.transport = conn.transport
        if not self.body:
            self.gate.go()
        return await super().send(conn)

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: PooledConnection, content_length: int | None = None
    ) -> None:
        """Write headers and body; a closed gate fails the waiting response instead, with nothing written."""
        if self.body:
            try:
                self.gate.go()
            except BaseException as error:  # noqa: BLE001  # what the lane raised must come out of the waiting request
                if conn.protocol is not None:
                    conn.protocol.set_exception(error)
                return
        await super().write_bytes(writer, conn, content_length)


class Connection:
    """A pool of keep-alive connections with Digital River's headers; open it before use, in the loop that uses it."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        connections_max: int = 100,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
        application_id: str = "orderflow",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` is steady, in seconds."""
        self.clock = clock
        self._url = url.rstrip("/")
        self._connections_max = connections_max
        self._timeout_seconds = timeout_seconds
        self._timeout = aiohttp.ClientTimeout(
            total=timeout_seconds, sock_connect=min(CONNECT_TIMEOUT_SECONDS, timeout_seconds)
        )
        self._headers = {
            hdrs.AUTHORIZATION: f"Bearer {key}",
            hdrs.ACCEPT: "application/json",
            "DigitalRiver-Version": API_VERSION,
            "upstream-application-id": application_id,
        }
        self._session: aiohttp.ClientSession | None = None
        #: Whether Digital River answers to this process.
        self.reachability = Reachability(clock)

    async def open(self) -> None:
        """Make the pool; no connection is made before the first request."""
        if self._session is None:
            if USER_TIMEOUT is None:
                log.warning("late_requests_possible", reason="this system has no TCP_USER_TIMEOUT")
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections_max,
                    # Below the 60 s after which load balancers commonly drop an idle connection.
                    keepalive_timeout=30.0,
                    socket_factory=socket_factory(self._timeout_seconds),
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                timeout=self._timeout,
                request_class=GatedRequest,
                skip_auto_headers=(hdrs.USER_AGENT,),
                trust_env=False,
            )

    async def close(self) -> None:
        """Close all connections; requests in flight fail."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        route: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        may_write: MayWrite | None = None,
    ) -> Answer:
        """Send one request, once, and read the whole answer.

        ``route`` names the call in errors (``POST /checkouts/{id}``): the path itself may hold a customer's id.

        Raises:
            DigitalRiverError: ``TransportFailure`` (``sent`` is false only when no byte was written), ``Unavailable`` (408, 5xx),
                ``Throttled``, ``Denied``, ``OffContract`` (a redirect or another status that is not documented).
            BaseException: What ``may_write`` raised, unchanged.
        """
        session = self._session
        if session is None:
            raise TransportFailure(f"{route}: the client is closed", sent=False)
        gate = WriteGate(may_write)
        began = self.clock()
        headers = CIMultiDict({"upstream-id": str(uuid.uuid4())})
        if body is not None:
            headers[hdrs.CONTENT_TYPE] = "application/json"
        span = _begin_span(method, route)
        if span is not None:
            headers[TRACE_HEADER] = span.context
        try:
            async with session.request(
                method,
                self._url + path,
                params=query,
                data=body,
                headers=headers,
                allow_redirects=False,  # a redirect could send the key elsewhere and double the effect
                middlewares=(_through(gate, route),),
            ) as response:
                content = await response.read()  # always whole, so that the connection can be used again
                gate.answered = True
                answer = _judge(route, response, content)
            self.reachability.answered(route)
            _note(span, answer.status)
            return answer
        except (DigitalRiverError, aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            if gate.error is not None:
                raise gate.error from None
            failure = error if isinstance(error, DigitalRiverError) else _transport_failure(route, gate, error)
            self.reachability.failed(failure, began)
            _note(span, failure.status, type(failure).__name__)
            raise failure from None
        finally:
            gate.give_up()
            if span is not None:
                span.end()


def _begin_span(method: str, route: str) -> Span | None:
    """The request as a step of the trace of whoever makes it; None when that is not sampled."""
    parent = current_span()
    if parent is None:
        return None
    return parent.child(
        route, "client", {"http.request.method": method, "url.template": route.removeprefix(method).strip()}
    )


def _note(span: Span | None, status: int | None, error: str | None = None) -> None:
    """Note the answer, or the error, on the request's step."""
    if span is not None and status is not None:
        span.set({"http.response.status_code": status})
    if span is not None and error is not None:
        span.set({"error.type": error})


def _through(gate: WriteGate, route: str) -> aiohttp.ClientMiddlewareType:
    """Sends a request through its gate."""

    async def send_gated(request: ClientRequest, send: aiohttp.ClientHandlerType) -> ClientResponse:
        assert isinstance(request, GatedRequest)
        request.gate = gate
        try:
            return await send(request)
        # Translated here, below aiohttp's own loop: it repeats idempotent requests when it sees its own errors.
        except (aiohttp.ClientError, OSError) as error:
            raise _transport_failure(route, gate, error) from None

    return send_gated


def _transport_failure(route: str, gate: WriteGate, error: Exception) -> TransportFailure:
    """The failure as our error. The text names the class only: aiohttp's texts quote addresses."""
    late = isinstance(error, asyncio.TimeoutError)
    what = "no answer in time" if late and gate.passed else "no connection in time" if late else "the connection failed"
    return TransportFailure(f"{route}: {what} ({type(error).__name__})", sent=gate.passed)


def _judge(route: str, response: ClientResponse, content: bytes) -> Answer:
    """The answer, or the error that its status stands for."""
    status = response.status
    request_id = response.headers.get("x-dr-requestid")
    if 200 <= status < 300:
        return Answer(status, content, request_id)
    detail = f"{route}: HTTP {status}"
    if status in (401, 403):
        raise Denied(detail, status=status, request_id=request_id)
    if status == 429:
        seconds = _seconds(response.headers.get(hdrs.RETRY_AFTER))
        raise Throttled(detail, retry_after_seconds=seconds, request_id=request_id)
    if status == 408 or status >= 500:
        raise Unavailable(detail, status=status, request_id=request_id)
    if 400 <= status < 500:
        return Answer(status, content, request_id)
    raise OffContract(detail, status=status, request_id=request_id)


def _seconds(text: str | None) -> float:
    """``Retry-After`` in seconds, at least 0; the default when it is missing or not a number."""
    try:
        seconds = float(text) if text is not None else RETRY_AFTER_SECONDS_DEFAULT
    except ValueError:
        return RETRY_AFTER_SECONDS_DEFAULT
    return max(0.0, seconds) if math.isfinite(seconds) else RETRY_AFTER_SECONDS_DEFAULT
