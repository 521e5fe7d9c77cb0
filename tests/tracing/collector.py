"""A small OpenTelemetry collector: it takes OTLP over HTTP, and gives the spans back as a tree."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector:
    """What was exported to it."""

    url: str = ""
    #: The HTTP status that it answers.
    status: int = 200
    requests: int = 0
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        """``POST /v1/traces``."""
        self.requests += 1
        if self.status == 200:
            found = ExportTraceServiceRequest.FromString(await request.read())
            for one in found.resource_spans:
                self.resources.append(attributes(one.resource))
                self.spans += [span for scope in one.scope_spans for span in scope.spans]
        return web.Response(status=self.status)

    def traces(self) -> dict[bytes, list[Span]]:
        """The spans of each trace."""
        found: dict[bytes, list[Span]] = {}
        for span in self.spans:
            found.setdefault(span.trace_id, []).append(span)
        return found


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector while the context lasts."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    collector.url = f"http://{host}:{port}"
    try:
        yield collector
    finally:
        await runner.cleanup()


def attributes(of: Any) -> dict[str, Any]:
    """The attributes of a span or a resource."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


def roots(spans: list[Span]) -> list[Span]:
    """The spans whose parent is not among them."""
    known = {span.span_id for span in spans}
    return [span for span in spans if span.parent_span_id not in known]


def paths(spans: list[Span]) -> Iterator[tuple[str, ...]]:
    """Of each span its name, after those of its parents."""
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        names = [span.name]
        above = by_id.get(span.parent_span_id)
        while above is not None:
            names.append(above.name)
            above = by_id.get(above.parent_span_id)
        yield tuple(reversed(names))
