"""``/healthz`` and ``/readyz`` of a worker, for an orchestrator, ``/lanes`` for ``orderflow lanes`` and ``/metrics``.

Off unless ``ORDERFLOW_HEALTH_PORT`` is set.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from inspect import isawaitable
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from orderflow.process.http_listener import Bounds, serving
from statemachine.errors import ConfigError

T = TypeVar("T")
#: What a page is made of: given at once, or after asking others.
Given = Callable[[], T | Awaitable[T]]

#: The text exposition format of Prometheus, version 0.0.4.
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


async def _given(found: T | Awaitable[T]) -> T:
    return await found if isawaitable(found) else found


def serve_metrics(text: Given[bytes]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler of ``/metrics``; ``text`` is in the text exposition format of Prometheus."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await _given(text()), headers={"Content-Type": _METRICS_TYPE})

    return metrics


#: A few probes and a scrape: no more connections than that may take file descriptors from Kafka.
BOUNDS: Final = Bounds(32, header_seconds=5.0, body_seconds=5.0, idle_seconds=60.0)


@asynccontextmanager
async def serve_health(
    port: int,
    problems: Given[list[str]],
    paused: Given[list[str]] = list,
    page: Given[Mapping[str, Any]] = dict,
    metrics: Given[bytes] = bytes,
    *,
    host: str = "0.0.0.0",  # noqa: S104  # for probes from outside
) -> AsyncIterator[int]:
    """Serve while the context lasts; yields the port.

    ``/healthz`` answers 200 while the process can answer at all. ``/readyz`` answers 503 with one problem a line when something
    waits for a person. What operators have ``paused`` follows, a line each: it is no problem. ``/lanes`` answers ``page`` as
    JSON, ``/metrics`` what ``metrics`` gives.

    Raises:
        ConfigError: The port is taken.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        found = await _given(problems())
        lines = [*(found or ["ready"]), *await _given(paused())]
        return web.Response(text="\n".join(lines) + "\n", status=503 if found else 200)

    async def lanes(_: web.Request) -> web.Response:
        return web.json_response(await _given(page()), dumps=lambda found: msgspec.json.encode(found).decode())

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/lanes", lanes)
    app.router.add_get("/metrics", serve_metrics(metrics))
    async with AsyncExitStack() as stack:
        try:
            found = await stack.enter_async_context(serving(app, host, port, BOUNDS.within_limit(0.1)))
        except OSError as error:
            raise ConfigError(f"port {port} for the health page cannot be used: {error.strerror}") from error
        yield found
