"""The front door for Digital River's webhooks: verify, publish, then acknowledge.

An event is acknowledged (202) only when Kafka has it; anything else is answered so that Digital River sends it again. The
body goes on byte for byte with its signature, because the webhook lane verifies it once more. Nothing is decided about
orders here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import web

from orderflow.digitalriver.signature import SIGNATURE_HEADER, signed_at, verify
from orderflow.digitalriver.webhook import key_of
from statemachine.envelope import Headers
from statemachine.errors import OrderflowError

#: Writes one record to ``dr-webhooks`` and returns once Kafka has it; raises ``OrderflowError`` or takes too long when it cannot.
Publish = Callable[[bytes | None, bytes, Headers], Awaitable[None]]

#: Digital River counts an answer after 3 s as a failure; ours must be on its way before.
ANSWER_SECONDS_MAX: Final = 2.5

#: A signature older or newer than this is refused: each retry is signed afresh, so only a replay is that old. Our choice,
#: Digital River prescribes none.
SIGNATURE_AGE_SECONDS_MAX: Final = 300.0

#: Orders of the largest cart stay below this; what is larger is not Digital River's.
BODY_BYTES_MAX: Final = 1024 * 1024

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
) -> web.Application:
    """The application: ``POST /webhooks``, ``GET /healthz``, ``GET /readyz``.

    ``tokens`` are the signing tokens, current first; without any, signatures are not checked. ``now`` is in seconds since
    the epoch. ``ready`` tells whether Kafka answers and has the topic.
    """
    relay = _Relay(publish, tuple(tokens), ready, now, answer_seconds_max)
    app = web.Application(client_max_size=body_bytes_max)
    app.router.add_post("/webhooks", relay.receive)
    app.router.add_get("/healthz", relay.healthy)
    app.router.add_get("/readyz", relay.readiness)
    return app


class _Relay:
    def __init__(
        self,
        publish: Publish,
        tokens: tuple[str, ...],
        ready: Callable[[], Awaitable[bool]],
        now: Callable[[], float],
        answer_seconds_max: float,
    ) -> None:
        self._publish = publish
        self._tokens = tokens
        self._ready = ready
        self._now = now
        self._answer_seconds_max = answer_seconds_max

    async def receive(self, request: web.Request) -> web.Response:
        """202 once Kafka has the event, 400 when it is not Digital River's, 413 when too large, 503 when Kafka cannot take it."""
        try:
            # The limit covers the reading too: a slow sender must not hold the door open.
            async with asyncio.timeout(self._answer_seconds_max):
                body = await request.read()
                header = request.headers.get(SIGNATURE_HEADER)
                fault = self._fault(header, body)
                if fault is not None:
                    return web.Response(status=400, text=f"{fault}\n")
                await self._publish(_key(body), body, _headers(header))
        except TimeoutError:
            return web.Response(status=503, text="the event could not be stored in time, send it again\n")
        except OrderflowError:
            return web.Response(status=503, text="the event could not be stored, send it again\n")
        return web.Response(status=202)

    async def healthy(self, _: web.Request) -> web.Response:
        """200 while the process serves."""
        return web.Response(text="ok\n")

    async def readiness(self, _: web.Request) -> web.Response:
        """200 while Kafka can be written to, else 503."""
        try:
            if await self._ready():
                return web.Response(text="ready\n")
        except OrderflowError:
            pass
        return web.Response(status=503, text="Kafka does not answer, or has no topic for webhooks yet\n")

    def _fault(self, header: str | None, body: bytes) -> str | None:
        """Why the request is not taken, in one line that quotes nothing; None when it is fine."""
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
            return "the time of the signature cannot be read"
        if abs(self._now() - moment.timestamp()) > SIGNATURE_AGE_SECONDS_MAX:
            return "the signature is too old or not yet valid"
        return None


def _key(body: bytes) -> bytes | None:
    """Events of one order share a key, and so a partition, where the order can be read."""
    found = key_of(body)
    return found.encode() if found is not None and len(found) <= _KEY_LENGTH_MAX else None


def _headers(header: str | None) -> Headers:
    return ((SIGNATURE_HEADER, header.encode("utf-8", "surrogateescape")),) if header is not None else ()
