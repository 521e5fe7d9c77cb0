"""Whether a request was sent always has an answer, and no request goes out twice or without the lease."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.http_writer import StreamWriter
from aiohttp.tracing import Trace

from orderflow.digitalriver.connection import API_VERSION, Connection
from statemachine.errors import (
    Denied,
    DigitalRiverError,
    OffContract,
    Throttled,
    TransportFailure,
    Unavailable,
)
from tests.contract.provider.raw_server import RawServer, http, raw_server

KEY = "sk_test_secret"


class LeaseLost(Exception):
    """What a lane raises when it may not write any more."""


async def _answer(_: int, writer: asyncio.StreamWriter) -> None:
    writer.write(http("200 OK"))


async def _silence(_: int, __: asyncio.StreamWriter) -> None:
    return


async def _hang_up(_: int, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(
    "error", [LeaseLost("late"), OSError(5, "late"), TimeoutError("late"), asyncio.CancelledError()]
)
@pytest.mark.parametrize("body", [b'{"a": 1}', None])
async def test_a_lost_lease_stops_the_request_with_nothing_written(error: BaseException, body: bytes | None) -> None:
    """Law: what ``may_write`` raises comes out unchanged, and not one byte reaches the server."""

    def may_write() -> None:
        raise error

    async with raw_server(_answer) as server, Connection(server.url, KEY) as connection:
        with pytest.raises(type(error)) as caught:
            await connection.request("POST", "/orders", route="POST /orders", body=body, may_write=may_write)
        assert caught.value is error
        # The next request works: the pool was left in order.
        await connection.request("POST", "/orders", route="POST /orders", body=body)
        assert len(server.requests) == 1


async def test_the_lease_is_asked_after_a_slow_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the lease is asked when the connection is there, however long that took."""
    moments: list[str] = []
    connect = aiohttp.TCPConnector._create_connection

    async def slowly(
        self: aiohttp.TCPConnector, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        await asyncio.sleep(0.1)
        made = await connect(self, req, traces, timeout)
        moments.append("connected")
        return made

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", slowly)
    async with raw_server(_answer) as server, Connection(server.url, KEY) as connection:
        await connection.request(
            "POST", "/orders", route="POST /orders", body=b"{}", may_write=lambda: moments.append("asked")
        )
        assert server.connections == 1
    assert moments == ["connected", "asked"]


async def test_the_lease_is_asked_in_the_same_turn_as_the_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: nothing else runs between the lease and the first byte, also where the body is written by a task of its own."""
    moments: list[str] = []
    write = StreamWriter._send_headers_with_payload

    def noted(self: StreamWriter, chunk: bytes, is_eof: bool) -> None:
        moments.append("write")
        write(self, chunk, is_eof)

    def may_write() -> None:
        moments.append("asked")
        asyncio.get_running_loop().call_soon(moments.append, "another turn")

    monkeypatch.setattr(StreamWriter, "_send_headers_with_payload", noted)
    async with raw_server(_answer) as server, Connection(server.url, KEY) as connection:
        await connection.request("POST", "/x", route="POST /x", body=b"{}", may_write=may_write)
    assert moments[:2] == ["asked", "write"]


async def test_the_lease_is_asked_after_the_wait_for_a_pooled_connection() -> None:
    """Law: a request that queues for a connection asks when its turn comes, not when it was made."""
    first_in, let_go = asyncio.Event(), asyncio.Event()
    asked: list[str] = []

    async def hold(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 0:
            first_in.set()
            await let_go.wait()
        writer.write(http("200 OK"))

    async with raw_server(hold) as server, Connection(server.url, KEY, connections_max=1) as connection:

        def post(name: str) -> asyncio.Task[object]:
            request = connection.request(
                "POST", "/x", route="POST /x", body=b"{}", may_write=lambda: asked.append(name)
            )
            return asyncio.get_running_loop().create_task(request)

        first = post("first")
        await first_in.wait()
        second = post("second")
        await asyncio.sleep(0.05)
        assert asked == ["first"]
        let_go.set()
        await asyncio.gather(first, second)
    assert asked == ["first", "second"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_dropped_keep_alive_connection_is_not_repeated(method: str) -> None:
    """Law: aiohttp would repeat GET, PUT and DELETE by itself; here every request goes out once and says so."""

    async def drop_the_second(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 0:
            writer.write(http("200 OK"))
        else:
            writer.close()

    asked: list[int] = []
    async with raw_server(drop_the_second) as server, Connection(server.url, KEY) as connection:
        await connection.request("GET", "/warm", route="GET /warm")
        with pytest.raises(TransportFailure) as caught:
            await connection.request(method, "/x", route=f"{method} /x", body=None, may_write=lambda: asked.append(1))
        assert caught.value.sent
        assert len(server.requests) == 2
        assert asked == [1]


async def test_no_redirect_is_followed() -> None:
    """Law: a redirect is off contract; the key goes nowhere else."""

    async def redirect(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(http("302 Found", b"", "Location: /elsewhere"))

    async with raw_server(redirect) as server, Connection(server.url, KEY) as connection:
        with pytest.raises(OffContract):
            await connection.request("POST", "/x", route="POST /x", body=b"{}")
        assert len(server.requests) == 1


async def _truncate(_: int, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()


async def _garbage(_: int, writer: asyncio.StreamWriter) -> None:
    writer.write(b"this is not HTTP\r\n\r\n")
    writer.close()


@pytest.mark.parametrize("script", [_hang_up, _silence, _truncate, _garbage])
async def test_a_request_without_a_whole_answer_was_sent(script: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: hung up on, unanswered, cut short or answered with noise: it may have taken effect."""
    async with (
        raw_server(script) as server,  # type: ignore[arg-type]  # parametrize knows no callables
        Connection(server.url, KEY, timeout_seconds=0.3) as connection,
    ):
        with pytest.raises(TransportFailure) as caught:
            await connection.request("POST", "/x", route="POST /x", body=b"{}")
        assert caught.value.sent
        assert len(server.requests) == 1


async def test_a_refused_connection_was_not_sent() -> None:
    """Law: without a connection nothing was written."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with Connection(url, KEY) as connection:
        with pytest.raises(TransportFailure) as caught:
            await connection.request("POST", "/x", route="POST /x", body=b"{}")
    assert not caught.value.sent


async def test_a_failed_tls_handshake_was_not_sent() -> None:
    """Law: a connection that is not encrypted as asked carries no request."""
    async with (
        raw_server(_answer) as server,
        Connection(server.url.replace("http", "https"), KEY, timeout_seconds=1.0) as connection,
    ):
        with pytest.raises(TransportFailure) as caught:
            await connection.request("POST", "/x", route="POST /x", body=b"{}")
        assert not caught.value.sent


async def test_a_connect_that_takes_too_long_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: a time-out before the connection is there leaves nothing to look up."""

    async def never(*_: object) -> ResponseHandler:
        await asyncio.sleep(30)
        raise AssertionError

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", never)
    async with Connection("http://127.0.0.1:9", KEY, timeout_seconds=0.2) as connection:
        with pytest.raises(TransportFailure) as caught:
            await connection.request("POST", "/x", route="POST /x", body=b"{}")
    assert not caught.value.sent


async def test_a_closed_client_sends_nothing() -> None:
    """Law: before ``open`` and after ``close`` a call fails unsent."""
    connection = Connection("http://127.0.0.1:9", KEY)
    with pytest.raises(TransportFailure) as caught:
        await connection.request("GET", "/x", route="GET /x")
    assert not caught.value.sent


STATUSES: list[tuple[str, type[DigitalRiverError]]] = [
    ("401 Unauthorized", Denied),
    ("403 Forbidden", Denied),
    ("408 Request Timeout", Unavailable),
    ("429 Too Many Requests", Throttled),
    ("500 Internal Server Error", Unavailable),
    ("502 Bad Gateway", Unavailable),
    ("503 Service Unavailable", Unavailable),
    ("504 Gateway Timeout", Unavailable),
    ("304 Not Modified", OffContract),
]


@pytest.mark.parametrize(("status", "error"), STATUSES)
async def test_statuses_become_errors_that_say_what_to_do(status: str, error: type[DigitalRiverError]) -> None:
    """Law: the class is the status's, with the status and Digital River's request id, and without the key."""

    async def answer(_: int, writer: asyncio.StreamWriter) -> None:
        body = b"" if status.startswith("304") else b"{}"
        writer.write(http(status, body, "x-dr-requestid: req-1", "Retry-After: 7"))

    async with raw_server(answer) as server, Connection(server.url, KEY) as connection:
        with pytest.raises(error) as caught:
            await connection.request(
                "POST", "/customers/pat@example.org", route="POST /customers/{id}", body=b'{"e":"pat"}'
            )
    assert (caught.value.status, caught.value.request_id) == (int(status[:3]), "req-1")
    assert "pat" not in str(caught.value)
    assert KEY not in str(caught.value)
    if isinstance(caught.value, Throttled):
        assert caught.value.retry_after_seconds == 7


@pytest.mark.parametrize("text", ["soon", "nan", "inf", ""])
async def test_an_unreadable_retry_after_is_a_second(text: str) -> None:
    """Law: a throttled caller always knows how long to wait."""

    async def answer(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(http("429 Too Many Requests", b"{}", f"Retry-After: {text}"))

    async with raw_server(answer) as server, Connection(server.url, KEY) as connection:
        with pytest.raises(Throttled) as caught:
            await connection.request("GET", "/x", route="GET /x")
    assert caught.value.retry_after_seconds == 1


async def test_every_request_says_who_asks_and_in_which_version() -> None:
    """Law: key, version, media type and a trace id of its own are on every request, and no cookies come back."""

    async def answer(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(http("200 OK", b"{}", "Set-Cookie: a=b"))

    async with raw_server(answer) as server, Connection(server.url, KEY) as connection:
        await connection.request("POST", "/x", route="POST /x", body=b"{}")
        await connection.request("POST", "/x", route="POST /x", body=b"{}")
        first, second = (_headers(server, number) for number in (0, 1))
    assert first["authorization"] == f"Bearer {KEY}"
    assert first["digitalriver-version"] == API_VERSION
    assert first["content-type"] == "application/json"
    assert first["upstream-id"] != second["upstream-id"]
    assert "cookie" not in second
    assert server.connections == 1


def _headers(server: RawServer, number: int) -> dict[str, str]:
    lines = server.requests[number].split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
