"""Spans by OpenTelemetry. Imported only when ``ORDERFLOW_OTEL_ENDPOINT`` is set: without it, OpenTelemetry need not be there.

What is sampled is decided here once for each order, before a span is made; every span that is made is exported.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from consumers.tracing import Attributes, Kind
from orderflow.telemetry.tracing_export import SpanExport

#: Longest time for one request to the collector, with all its repetitions, in seconds.
_REQUEST_SECONDS: Final = 5.0

_KINDS: Final[dict[Kind, trace.SpanKind]] = {
    "internal": trace.SpanKind.INTERNAL,
    "consumer": trace.SpanKind.CONSUMER,
    "client": trace.SpanKind.CLIENT,
}


class OtelSpan:
    """A ``consumers.tracing.Span``."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, span: trace.Span, tracer: trace.Tracer) -> None:
        self._span = span
        self._tracer = tracer

    @property
    def context(self) -> str:
        """Its ``traceparent``."""
        found = self._span.get_span_context()
        return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"

    @property
    def trace_id(self) -> str:
        """Of its trace, in hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def child(self, name: str, kind: Kind = "internal", attributes: Attributes | None = None) -> OtelSpan:
        """A step within this one, that begins now."""
        context = trace.set_span_in_context(self._span, Context())
        return OtelSpan(self._tracer.start_span(name, context, kind=_KINDS[kind], attributes=attributes), self._tracer)

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        self._span.set_attributes(attributes)

    def end(self, *, failed: str | None = None) -> None:
        """The step has ended; ``failed``: why it came to nothing."""
        if failed is not None:
            self._span.set_status(trace.StatusCode.ERROR, failed)
        self._span.end()


class OtelTracing:
    """A ``consumers.tracing.Tracing``."""

    def __init__(
        self, tracer: trace.Tracer, sampled_share: float, *, chance: Callable[[], float] = random.random
    ) -> None:
        """``sampled_share``: of the orders that begin here, from 0 to 1."""
        self._tracer = tracer
        self._sampled_share = sampled_share
        self._chance = chance

    def samples(self) -> bool:
        """Whether an order that begins here is sampled."""
        return self._chance() < self._sampled_share

    def begin(
        self,
        name: str,
        *,
        parent: str | None,
        kind: Kind = "internal",
        at: datetime | None = None,
        attributes: Attributes | None = None,
        link: str | None = None,
    ) -> OtelSpan:
        """A step that begins now, or ``at`` an earlier time."""
        context, now = Context(), time.time_ns()
        if parent is not None:
            context = trace.set_span_in_context(trace.NonRecordingSpan(_parsed(parent)), context)
        span = self._tracer.start_span(
            name,
            context,
            kind=_KINDS[kind],
            attributes=attributes,
            links=None if link is None else [trace.Link(_parsed(link))],
            start_time=now if at is None else min(now, round(at.timestamp() * 1e9)),
        )
        return OtelSpan(span, self._tracer)


def _parsed(context: str) -> trace.SpanContext:
    """The context as OpenTelemetry's; it is of a record, and was checked as that was read."""
    _, trace_id, span_id, flags = context.split("-")
    return trace.SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=trace.TraceFlags(int(flags, 16))
    )


@asynccontextmanager
async def open_tracing(
    endpoint: str,
    *,
    sampled_share: float,
    service: str,
    version: str,
    instance: str,
    make_exporter: Callable[[str], SpanExporter] | None = None,
) -> AsyncIterator[OtelTracing]:
    """Traces while the context lasts; at its end, the last spans have 2 s to be taken.

    Args:
        endpoint: Base address of a collector that takes OTLP over HTTP; spans go to its ``/v1/traces``.
        sampled_share: Of the orders that begin here, from 0 to 1.
        service: ``service.name`` of all spans.
        version: ``service.version``.
        instance: ``service.instance.id``: this process.
        make_exporter: For tests: makes what sends spans to an address.
    """
    # The library logs each request that failed. We say once that the collector is away.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
    export = SpanExport((make_exporter or _otlp)(f"{endpoint}/v1/traces"))
    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=Resource({"service.name": service, "service.version": version, "service.instance.id": instance}),
        shutdown_on_exit=False,  # at an exit there is no loop any more
        span_limits=SpanLimits(),
    )
    provider.add_span_processor(export)
    try:
        yield OtelTracing(provider.get_tracer("orderflow", version), sampled_share)
    finally:
        await export.close()


def _otlp(address: str) -> SpanExporter:
    return OTLPSpanExporter(endpoint=address, timeout=_REQUEST_SECONDS)
