"""Receives Digital River's webhooks: verify, publish, then acknowledge.

An event is acknowledged (202) only when Kafka has it; anything else is answered so that Digital River sends it again. The
body goes on byte for byte with its signature, because the webhook lane verifies it once more. Nothing is decided about
orders here. What is refused is lost once Digital River stops sending it, so each reason is logged and counted; never a body,
a token or a signature.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Final, NamedTuple

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError

from consumers.measures import Histogram
from orderflow import __version__
from orderflow.digitalriver.signature import SIGNATURE_HEADER, signed_at, verify
from orderflow.digitalriver.webhook import key_of
from orderflow.process.health import serve_metrics
from orderflow.process.http_listener import UNREADABLE, Bounds, Unreadable
from orderflow.telemetry import metrics
from orderflow.telemetry.event_loop import BOUNDS as BOUNDS_OF_LATENESS
from orderflow.telemetry.event_loop import event_loop_lateness
from orderflow.telemetry.exposition import Exposition
from orderflow.telemetry.metric import Process, Sample
from statemachine.errors import OrderflowError, RecordTooLarge
from statemachine.messages.envelope import Headers

log = structlog.get_logger(__name__)

#: Writes one record to ``dr-webhooks`` and returns once Kafka has it; raises ``OrderflowError`` or takes too long when it cannot.
Publish = Callable[[bytes | None, bytes, Headers], Awaitable[None]]

#: Digital River counts an answer after 3 s as a failure; ours must be on its way before.
ANSWER_SECONDS_MAX: Final = 2.5

#: A signature older or newer than this is refused: each retry is signed afresh, so only a replay is that old. Our choice,
#: Digital River prescribes none.
SIGNATURE_AGE_SECONDS_MAX: Final = 300.0

#: Orders of the largest cart stay below this; what is larger is not Digital River's.
BODY_BYTES_MAX: Final = 1024 * 1024

#: The first refusal for a reason is logged at once, those after it as a count: a flood must not fill a disk.
REFUSALS_LOGGED_SECONDS: Final = 60.0

#: Digital River sends over a few connections, through a proxy of yours. Whoever is slow makes room for who is not.
BOUNDS: Final = Bounds(256, header_seconds=10.0, body_seconds=ANSWER_SECONDS_MAX)

#: Upper bounds of the time that a webhook takes, in seconds; Digital River waits for 3.
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 3.0)

#: Keys of Kafka records are ids; a longer one would not be Digital River's.
_KEY_LENGTH_MAX: Final = 128


def make_relay(
    publish: Publish,
    tokens: Sequence[str],
    *,
    ready: Callable[[], Awaitable[bool]],
    now: Callable[[], float] = time.time,
    answer_seconds_max: float = ANSWER_SECONDS_MAX,
    body_bytes_max: int = BODY_BYTES_MAX,
    refusals_logged_seconds: float = REFUSALS_LOGGED_SECONDS,
) -> web.Application:
    """The application: ``POST /webhooks``, ``GET /healthz``, ``GET /readyz``, ``GET /metrics``.

    ``tokens`` are the signing tokens, current first; without any, signatures are not checked. ``now`` is in seconds since
    the epoch. ``ready`` returns whether Kafka answers and has the topic.
    """
    refusals = _Refusals(refusals_logged_seconds)
    relay = _Relay(publish, tuple(tokens), ready, now, answer_seconds_max, refusals)
    app = web.Application(client_max_size=body_bytes_max)
    app.on_cleanup.append(refusals.close)
    app[UNREADABLE] = Unreadable(lambda: refusals.add(400, "the request is not valid HTTP", signed=False))
    app.router.add_post("/webhooks", relay.receive)
    app.router.add_post("/webhooks/", relay.receive)  # the address may be configured with a trailing slash
    app.router.add_get("/healthz", relay.healthy)
    app.router.add_get("/readyz", relay.readiness)
    app.cleanup_ctx.append(relay.measured)
    app.router.add_get("/metrics", serve_metrics(relay.exposition.text))
    return app


class _Refusal(NamedTuple):
    """Why webhooks are refused, in our words. ``kind`` is ``signed`` if they had a signature header, else ``unsigned``."""

    status: int
    reason: str
    kind: str


class _Refusals:
    """Counts what is refused and logs it: the first of a kind at once, what follows once in a while."""

    def __init__(self, logged_seconds: float) -> None:
        self._logged_seconds = logged_seconds
        #: Refused since the start.
        self.counts: Counter[_Refusal] = Counter()
        self._logged: Counter[_Refusal] = Counter()
        #: The kinds that were logged within the last interval, with the timer that logs them next.
        self._quiet: dict[_Refusal, asyncio.TimerHandle] = {}

    def add(self, status: int, reason: str, *, signed: bool, error: Exception | None = None) -> None:
        """One webhook was refused; an unexpected ``error`` is logged with the first one of its kind."""
        refusal = _Refusal(status, reason, "signed" if signed else "unsigned")
        self.counts[refusal] += 1
        if refusal not in self._quiet:
            self._log(refusal, error)

    def _log(self, refusal: _Refusal, error: Exception | None = None) -> None:
        """Log the refusals since the last line, if any, and then nothing for an interval."""
        self._quiet.pop(refusal, None)
        count = self.counts[refusal] - self._logged[refusal]
        if count:
            self._logged[refusal] += count
            log.warning("webhook_refused", **refusal._asdict(), count=count, exc_info=error)
            self._quiet[refusal] = asyncio.get_running_loop().call_later(self._logged_seconds, self._log, refusal)

    def lines(self) -> str:
        """All counts since the start, a line each."""
        return "".join(
            f"refused since the start: {count} with {status}, {reason} ({kind})\n"
            for (status, reason, kind), count in sorted(self.counts.items())
        )

    async def close(self, _: web.Application) -> None:
        """Log what was not logged yet."""
        for handle in self._quiet.values():
            handle.cancel()
        for refusal in list(self._quiet):
            self._log(refusal)
        for handle in self._quiet.values():
            handle.cancel()


class _Relay:
    def __init__(
        self,
        publish: Publish,
        tokens: tuple[str, ...],
        ready: Callable[[], Awaitable[bool]],
        now: Callable[[], float],
        answer_seconds_max: float,
        refusals: _Refusals,
    ) -> None:
        self._publish = publish
        self._tokens = tokens
        self._ready = ready
        self._now = now
        self._answer_seconds_max = answer_seconds_max
        self._refusals = refusals
        self._answers: Counter[int] = Counter()
        self._seconds = Histogram(_SECONDS)
        self._lateness = Histogram(BOUNDS_OF_LATENESS)
        self.exposition = Exposition(Process.RELAY, self._samples)

    async def receive(self, request: web.Request) -> web.Response:
        """As ``_receive``, counted."""
        began = time.monotonic()
        response = await self._receive(request)
        self._answers[response.status] += 1
        self._seconds.observe(time.monotonic() - began)
        return response

    async def measured(self, _: web.Application) -> AsyncIterator[None]:
        """Measure the event loop while the application runs."""
        async with event_loop_lateness() as self._lateness:
            yield

    def _samples(self) -> Iterator[Sample]:
        yield metrics.INFO.sample(1, __version__)
        yield metrics.LOOP_LAG.sample(self._lateness)
        yield metrics.RELAY_SECONDS.sample(self._seconds)
        for status in (202, 400, 413, 503):
            yield metrics.RELAY_ANSWERS.sample(self._answers[status], str(status))
        # what is 0, too: an alert on an increase needs the series before the first refusal
        refused = Counter({(status, kind): 0 for status in ("400", "413", "503") for kind in ("signed", "unsigned")})
        for refusal, count in self._refusals.counts.items():
            refused[str(refusal.status), refusal.kind] += count
        for (refused_with, kind), count in refused.items():
            yield metrics.RELAY_REFUSED.sample(count, refused_with, kind)

    async def _receive(self, request: web.Request) -> web.Response:
        """202 once Kafka has the event, 400 when it is not Digital River's, 413 when too large, 503 when Kafka cannot take it."""
        header = request.headers.get(SIGNATURE_HEADER)
        body: bytes | None = None
        try:
            # The limit covers the reading too, so that a slow sender does not keep the connection.
            async with asyncio.timeout(self._answer_seconds_max):
                body = await request.read()
                fault = self._fault(header, body)
                if fault is not None:
                    return self._refuse(400, fault, header)
                await self._publish(_key(body), body, _headers(header))
        except (web.RequestPayloadError, HttpProcessingError):
            return self._refuse(400, "the body cannot be decoded: its encoding is broken or unknown", header)
        except ConnectionError:
            if body is not None:  # Kafka's, not the sender's
                return self._refuse(503, "the event could not be stored, send it again", header)
            return self._refuse(400, "the body is incomplete", header)
        except web.HTTPRequestEntityTooLarge:
            return self._refuse(413, "the body is too large", header)
        except TimeoutError:
            if body is None:
                return self._refuse(503, "the event did not arrive in time, send it again", header)
            return self._refuse(503, "the event could not be stored in time, send it again", header)
        except RecordTooLarge:
            return self._refuse(413, "the event is too large for its topic", header)
        except OrderflowError:
            return self._refuse(503, "the event could not be stored, send it again", header)
        except Exception as error:  # noqa: BLE001  # whatever it is, the event must be sent again
            return self._refuse(503, "an internal error, send the event again", header, error)
        return web.Response(status=202)

    def _refuse(self, status: int, reason: str, header: str | None, error: Exception | None = None) -> web.Response:
        self._refusals.add(status, reason, signed=header is not None, error=error)
        return web.Response(status=status, text=f"{reason}\n")

    async def healthy(self, _: web.Request) -> web.Response:
        """200 while the process serves."""
        return web.Response(text="ok\n")

    async def readiness(self, _: web.Request) -> web.Response:
        """200 while Kafka can be written to, else 503; in both cases with what was refused since the start."""
        refused = self._refusals.lines()
        try:
            if await self._ready():
                return web.Response(text=f"ready\n{refused}")
        except OrderflowError:
            pass
        return web.Response(
            status=503, text=f"Kafka does not answer, or the topic for webhooks does not exist\n{refused}"
        )

    def _fault(self, header: str | None, body: bytes) -> str | None:
        """Why the request is refused, in one line that quotes nothing; None if it is accepted."""
        if not body:
            return "the body is empty"
        if not self._tokens:
            return None
        if header is None:
            return f"the header {SIGNATURE_HEADER} is missing"
        if not verify(self._tokens, header, body):
            return "the signature does not match"
        moment = signed_at(header)
        if moment is None:
            return "the signature has no valid timestamp"
        if abs(self._now() - moment.timestamp()) > SIGNATURE_AGE_SECONDS_MAX:
            return "the signature is too old or not yet valid"
        return None


def _key(body: bytes) -> bytes | None:
    """Events of one order share a key, and so a partition, where the order can be read."""
    found = key_of(body)
    return found.encode() if found is not None and len(found) <= _KEY_LENGTH_MAX else None


def _headers(header: str | None) -> Headers:
    return ((SIGNATURE_HEADER, header.encode("utf-8", "surrogateescape")),) if header is not None else ()
