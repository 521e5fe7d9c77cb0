"""The relay acknowledges what Kafka has, and nothing else."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from orderflow.digitalriver.signature import SIGNATURE_HEADER, sign
from orderflow.process.http_listener import Bounds, serving
from orderflow.relay import make_relay
from statemachine.errors import BrokerUnavailable
from statemachine.messages.envelope import Headers

TOKEN = "whsec_simulator"
NOW = 1_893_456_000.0
BODY = b'{"id":"evt-1","type":"order.accepted","data":{"object":{"id":"9001","currency":"USD"}}}'


class Topic:
    """``dr-webhooks``, as far as the relay sees it."""

    def __init__(self, fault: BaseException | None = None, delay_seconds: float = 0.0) -> None:
        self.records: list[tuple[bytes | None, bytes, Headers]] = []
        self._fault = fault
        self._delay_seconds = delay_seconds

    async def publish(self, key: bytes | None, body: bytes, headers: Headers) -> None:
        """Keep the record, late or not at all."""
        await asyncio.sleep(self._delay_seconds)
        if self._fault is not None:
            raise self._fault
        self.records.append((key, body, headers))


@asynccontextmanager
async def relay_url(
    topic: Topic, tokens: Sequence[str] = (TOKEN,), is_ready: bool = True, logged_seconds: float = 60.0
) -> AsyncIterator[str]:
    """A relay on a free port that takes 0.3 s at most and 1,000 bytes."""

    async def ready() -> bool:
        return is_ready

    app = make_relay(
        topic.publish,
        tokens,
        ready=ready,
        now=lambda: NOW,
        answer_seconds_max=0.3,
        body_bytes_max=1000,
        refusals_logged_seconds=logged_seconds,
    )
    async with serving(app, "127.0.0.1", 0, Bounds(32), shutdown_timeout=0.5) as port:
        yield f"http://127.0.0.1:{port}"


async def _post(url: str, body: bytes = BODY, header: str | None = None) -> tuple[int, str]:
    headers = {} if header is None else {SIGNATURE_HEADER: header}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/webhooks", data=body, headers=headers) as answer,
    ):
        return answer.status, await answer.text()


async def test_a_signed_event_is_published_byte_for_byte() -> None:
    """Law: body and signature go on unchanged, under the order's id, before the 202."""
    topic = Topic()
    header = sign(TOKEN, str(int(NOW)), BODY)
    async with relay_url(topic) as url:
        assert (await _post(url, BODY, header))[0] == 202
    assert topic.records == [(b"9001", BODY, ((SIGNATURE_HEADER, header.encode()),))]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "rubbish",
        sign("another", str(int(NOW)), BODY),
        sign(TOKEN, str(int(NOW)), BODY + b" "),
        sign(TOKEN, str(int(NOW) - 301), BODY),
        sign(TOKEN, str(int(NOW) + 301), BODY),
        sign(TOKEN, "soon", BODY),
    ],
)
async def test_a_wrong_or_stale_signature_is_turned_away_at_the_door(header: str | None) -> None:
    """Law: 400 with one line that says why, and nothing is published."""
    topic = Topic()
    async with relay_url(topic) as url:
        status, text = await _post(url, BODY, header)
    assert status == 400
    assert text.count("\n") == 1
    assert "9001" not in text
    assert topic.records == []


async def test_a_previous_token_and_a_fresh_time_in_milliseconds_are_good() -> None:
    """Law: during a rotation both secrets open the door; the format of the time is not ours to choose."""
    topic = Topic()
    async with relay_url(topic, ["new", TOKEN]) as url:
        assert (await _post(url, BODY, sign(TOKEN, str(int(NOW * 1000) - 299_000), BODY)))[0] == 202


async def test_without_tokens_nothing_is_checked() -> None:
    """Law: an empty setting takes everything that has a body, also what names no order."""
    topic = Topic()
    async with relay_url(topic, []) as url:
        assert (await _post(url, b"{}"))[0] == 202
        assert (await _post(url, b""))[0] == 400
    assert topic.records == [(None, b"{}", ())]


@pytest.mark.parametrize("topic", [Topic(BrokerUnavailable("away")), Topic(delay_seconds=5)])
async def test_what_kafka_did_not_take_is_asked_for_again(topic: Topic) -> None:
    """Law: 503 in time, so that Digital River sends the event again."""
    async with relay_url(topic) as url, asyncio.timeout(2):
        status, _ = await _post(url, BODY, sign(TOKEN, str(int(NOW)), BODY))
    assert status == 503
    assert topic.records == []


async def test_a_body_that_is_too_large_is_refused_unread() -> None:
    """Law: 413, and nothing is published."""
    topic = Topic()
    body = b"x" * 2000
    async with relay_url(topic) as url:
        assert (await _post(url, body, sign(TOKEN, str(int(NOW)), body)))[0] == 413
    assert topic.records == []


async def test_health_and_readiness_are_told_apart() -> None:
    """Law: a relay without Kafka lives and is not ready."""
    async with (
        relay_url(Topic(), is_ready=False) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/healthz") as healthy,
        session.get(f"{url}/readyz") as ready,
    ):
        assert (healthy.status, ready.status) == (200, 503)
    async with relay_url(Topic()) as url, aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as ready:
        assert ready.status == 200


def _refusals(logs: Sequence[EventDict]) -> list[tuple[int, str, str, int]]:
    return [
        (line["status"], line["reason"], line["kind"], line["count"])
        for line in logs
        if line["event"] == "webhook_refused"
    ]


@pytest.mark.parametrize(
    ("topic", "body", "header", "said"),
    [
        (Topic(), BODY, None, (400, "the header DigitalRiver-Signature is missing", "unsigned", 1)),
        (Topic(), BODY, sign("rotated", str(int(NOW)), BODY), (400, "the signature does not match", "signed", 1)),
        (Topic(), b"x" * 2000, "any", (413, "the body is too large", "signed", 1)),
        (
            Topic(BrokerUnavailable("away")),
            BODY,
            sign(TOKEN, str(int(NOW)), BODY),
            (503, "the event could not be stored, send it again", "signed", 1),
        ),
        (
            Topic(delay_seconds=5),
            BODY,
            sign(TOKEN, str(int(NOW)), BODY),
            (503, "the event could not be stored in time, send it again", "signed", 1),
        ),
        (
            Topic(RuntimeError("nobody expects this")),
            BODY,
            sign(TOKEN, str(int(NOW)), BODY),
            (503, "an internal error, send the event again", "signed", 1),
        ),
    ],
)
async def test_a_refused_webhook_is_logged_without_what_it_holds(
    topic: Topic, body: bytes, header: str | None, said: tuple[int, str, str, int]
) -> None:
    """Law: a refusal is seen by whoever runs the relay, with its reason, and quotes neither body, token nor signature."""
    with capture_logs() as logs:
        async with relay_url(topic) as url:
            assert (await _post(url, body, header))[0] == said[0]
    assert _refusals(logs) == [said]
    for secret in (TOKEN, "evt-1", "9001", *([header.partition(", ")[2]] if header and ", " in header else [])):
        assert secret not in str(logs)


async def test_a_webhook_that_never_arrives_whole_is_logged_as_that() -> None:
    """Law: a slow sender is told apart from a slow Kafka."""

    async def slowly() -> AsyncIterator[bytes]:
        yield BODY[:10]
        await asyncio.sleep(5)

    with capture_logs() as logs:
        async with (
            relay_url(Topic()) as url,
            aiohttp.ClientSession() as session,
            session.post(f"{url}/webhooks", data=slowly()) as answer,
        ):
            assert answer.status == 503
    assert _refusals(logs) == [(503, "the event did not arrive in time, send it again", "unsigned", 1)]


async def test_a_flood_of_refusals_is_one_line_and_a_count() -> None:
    """Law: the first is logged at once, the rest once an interval, and nothing is left out of the counts."""
    with capture_logs() as logs:
        async with relay_url(Topic(), logged_seconds=1.0) as url, aiohttp.ClientSession() as session:
            for _ in range(20):
                await _post(url)
            assert [count for *_, count in _refusals(logs)] == [1]
            for _ in range(500):
                if len(_refusals(logs)) == 1:
                    await asyncio.sleep(0.02)
            await _post(url)
            await _post(url, b"")
            async with session.get(f"{url}/readyz") as ready:
                assert (await ready.text()).splitlines() == [
                    "ready",
                    "refused since the start: 1 with 400, the body is empty (unsigned)",
                    "refused since the start: 21 with 400, the header DigitalRiver-Signature is missing (unsigned)",
                ]
    assert [count for _, reason, _, count in _refusals(logs) if "missing" in reason] == [1, 19, 1]


async def test_a_relay_that_is_not_ready_still_says_what_it_refused() -> None:
    """Law: the counts do not hide behind Kafka's absence."""
    async with relay_url(Topic(), is_ready=False) as url, aiohttp.ClientSession() as session:
        await _post(url)
        async with session.get(f"{url}/readyz") as ready:
            assert ready.status == 503
            assert "1 with 400" in await ready.text()


async def _raw(url: str, head: bytes, body: bytes, *, cut: bool) -> bytes:
    """What is answered to bytes that no HTTP client would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(head if cut else head + body)
    await writer.drain()
    if cut:
        await asyncio.sleep(0.05)
        writer.write(body)
    async with asyncio.timeout(5):
        answered = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return answered


#: How it is told depends on where the packets were cut: aiohttp's parser or its reader of bodies notices first.
_REASONS = {
    "the body cannot be decoded: its encoding is broken or unknown",
    "the request is not valid HTTP",
    "the body is empty",
    "the header DigitalRiver-Signature is missing",
}


def _encoded(encoding: str, body: bytes) -> tuple[bytes, bytes]:
    head = f"POST /webhooks HTTP/1.1\r\nHost: a\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode(), body


@pytest.mark.parametrize("cut", [True, False], ids=["in two packets", "in one"])
@pytest.mark.parametrize(
    ("head", "body"),
    [
        _encoded("gzip", b"x"),
        _encoded("gzip", b"xxxxxxxxxxxxxxxxxxxx"),
        _encoded("deflate", b"xxxxxxxxxxxxxxxxxxxx"),
        _encoded("br", b"x"),
        _encoded("zstd", b"xxxxxxxxxxxxxxxxxxxx"),
        _encoded("x-unknown", b"x"),
        _encoded("gzip", gzip.compress(BODY)[:-12]),
        (b"POST /webhooks HTTP/1.1\r\nHost: a\r\nX-Long: ", b"x" * 20_000 + b"\r\n\r\n"),
        (b"POST /webhooks HTTP/1.1\r\nHost: a\r\n", b"Content-Length: many\r\n\r\n"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", b"\xfc\x03\x03\r\n\r\n"),
    ],
    ids=["gzip", "gzip-long", "deflate", "br", "zstd", "unknown", "cut-gzip", "long-header", "length", "TLS"],
)
async def test_what_cannot_be_read_is_refused_and_counted(head: bytes, body: bytes, *, cut: bool) -> None:
    """Law: 400 through the counted refusals, whatever cannot be read of a request, and nothing is published."""
    topic = Topic()
    with capture_logs() as logs:
        async with relay_url(topic) as url:
            answered = await _raw(url, head, body, cut=cut)
            async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as ready:
                assert "refused since the start: 1 with 400" in await ready.text()
    assert answered.split()[1] == b"400"
    ((status, reason, _, count),) = _refusals(logs)
    assert (status, count) == (400, 1)
    assert reason in _REASONS
    assert topic.records == []


@pytest.mark.parametrize("cut", [True, False], ids=["in two packets", "in one"])
async def test_broken_chunks_are_refused_and_counted_in_time(*, cut: bool) -> None:
    """Law: where aiohttp does not tell the reader of a body that it is broken, the time for it does: an answer, never a hang."""
    topic = Topic()
    head = b"POST /webhooks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with capture_logs() as logs:
        async with relay_url(topic) as url:
            answered = await _raw(url, head, b"zz\r\nx\r\n", cut=cut)
    assert answered.split()[1] in {b"400", b"503"}
    assert len(_refusals(logs)) == 1
    assert topic.records == []


async def test_a_body_that_is_cut_off_is_counted() -> None:
    """Law: the other side went in the middle of a body: nobody hears the answer, the counts tell."""
    topic = Topic()
    with capture_logs() as logs:
        async with relay_url(topic) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(b"POST /webhooks HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.transport.abort()
            for _ in range(100):
                if _refusals(logs):
                    break
                await asyncio.sleep(0.02)
            del reader
    assert [(status, why) for status, why, _, _ in _refusals(logs)] == [(400, "the body is incomplete")]
    assert topic.records == []


async def test_a_body_in_a_good_encoding_is_taken_as_it_was_signed() -> None:
    """Law: what is signed and published is the body without its encoding."""
    topic = Topic()
    header = sign(TOKEN, str(int(NOW)), BODY)
    async with (
        relay_url(topic) as url,
        aiohttp.ClientSession() as session,
        session.post(
            f"{url}/webhooks",
            data=gzip.compress(BODY),
            headers={SIGNATURE_HEADER: header, "Content-Encoding": "gzip"},
        ) as answer,
    ):
        assert answer.status == 202
    assert topic.records == [(b"9001", BODY, ((SIGNATURE_HEADER, header.encode()),))]


async def test_a_slash_at_the_end_of_the_address_changes_nothing() -> None:
    """Law: ``/webhooks/`` is as good as ``/webhooks``: an address that was registered with it loses no event."""
    topic = Topic()
    headers = {SIGNATURE_HEADER: sign(TOKEN, str(int(NOW)), BODY)}
    async with (
        relay_url(topic) as url,
        aiohttp.ClientSession() as session,
        session.post(f"{url}/webhooks/", data=BODY, headers=headers, allow_redirects=False) as answer,
    ):
        assert answer.status == 202
    assert len(topic.records) == 1


@pytest.mark.parametrize(
    "moment", [f"{NOW:.3f}", f"{NOW - 299.5:.6f}", f"{NOW * 1000 + 0.25:.2f}", "2030-01-01T00:00:00.123456Z"]
)
async def test_the_time_of_a_signature_may_have_a_fraction(moment: str) -> None:
    """Law: seconds, milliseconds and ISO 8601 are read with a fraction too; an event is not lost to the format of a clock."""
    topic = Topic()
    async with relay_url(topic) as url:
        assert (await _post(url, BODY, sign(TOKEN, moment, BODY)))[0] == 202
    assert len(topic.records) == 1


async def test_a_fault_that_nobody_expected_is_reported_once_and_counted() -> None:
    """Law: each webhook is answered 503 and counted; the first line has the error, and a flood of it does not fill a disk."""
    topic = Topic(RuntimeError("nobody expects this"))
    with capture_logs() as logs:
        async with relay_url(topic) as url:
            header = sign(TOKEN, str(int(NOW)), BODY)
            assert [(await _post(url, BODY, header))[0] for _ in range(3)] == [503] * 3
    lines = [line for line in logs if line["event"] == "webhook_refused"]
    assert [line["count"] for line in lines] == [1, 2]
    assert [isinstance(line["exc_info"], RuntimeError) for line in lines] == [True, False]
