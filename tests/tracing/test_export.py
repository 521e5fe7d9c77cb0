"""Spans on their way to a collector that takes them, refuses them, or is not there."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from structlog.testing import capture_logs

from orderflow.telemetry.tracing import OtelTracing, open_tracing
from orderflow.telemetry.tracing_export import SpanExport
from tests.eventually import eventually
from tests.tracing.collector import attributes, collecting
from tests.tracing.test_contexts import GOOD, SPAN, TRACE

OTHER = f"00-{'1' * 32}-{'2' * 16}-01"


@pytest.fixture(autouse=True)
def _library_logs_as_they_were() -> Iterator[None]:
    logger = logging.getLogger("opentelemetry")
    level = logger.level
    yield
    logger.setLevel(level)


class Sink(SpanExporter):
    """A collector without a network."""

    def __init__(self) -> None:
        self.taken: list[ReadableSpan] = []
        self.away = False
        #: Clear it, and a request hangs.
        self.free = threading.Event()
        self.free.set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take them, or raise as a library may."""
        self.free.wait()
        if self.away:
            raise ConnectionError("http://user:secret@collector")
        self.taken += spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """End a request that hangs."""
        self.free.set()


def _is_dropped(export: SpanExport, count: int) -> bool:
    return export.dropped == count


async def _open(sink: Sink, **given: object) -> tuple[SpanExport, OtelTracing]:
    from opentelemetry.sdk.trace import TracerProvider

    export = SpanExport(sink, gather=0.01, **given)  # type: ignore[arg-type]
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export)
    return export, OtelTracing(provider.get_tracer("test"), 0.25, chance=lambda: 0.2)


async def test_spans_reach_a_collector_as_otlp_before_the_process_ends() -> None:
    """With parent, link, attributes and failure, over HTTP."""
    async with collecting() as collector:
        async with open_tracing(
            collector.url, sampled_share=0, service="shop", version="1.2", instance="w-1"
        ) as tracing:
            span = tracing.begin("receive it", parent=GOOD, kind="consumer", attributes={"n": 3}, link=OTHER)
            inner = span.child("decide it")
            inner.end(failed="KeyError")
            span.end()
        by_name = {one.name: one for one in collector.spans}
    received, decided = by_name["receive it"], by_name["decide it"]
    assert (received.trace_id.hex(), received.parent_span_id.hex(), attributes(received)) == (TRACE, SPAN, {"n": 3})
    assert [link.trace_id.hex() for link in received.links] == ["1" * 32]
    assert (decided.parent_span_id, decided.status.message) == (received.span_id, "KeyError")
    expected = {"service.name": "shop", "service.version": "1.2", "service.instance.id": "w-1"}
    assert collector.resources[0].items() >= expected.items()


async def test_a_collector_that_is_away_costs_spans_and_one_line_and_no_time() -> None:
    """Nothing listens there: the process goes on, and ends in time."""
    with capture_logs() as logs:
        began = time.monotonic()
        async with open_tracing(
            "http://127.0.0.1:9", sampled_share=1, service="s", version="1", instance="w"
        ) as tracing:
            for _ in range(3):
                tracing.begin("step", parent=None).end()
            assert time.monotonic() - began < 1.0
        assert time.monotonic() - began < 6.0
    lines = [(one["event"], one["count"]) for one in logs]
    assert lines[-1:] == [("spans_dropped", 3)]
    assert lines[:-1] in ([], [("trace_collector_unavailable", 3)])


async def test_a_collector_that_goes_and_comes_back_is_two_lines() -> None:
    """However many requests fail meanwhile; what was lost is counted."""
    sink = Sink()
    with capture_logs() as logs:
        export, tracing = await _open(sink)
        sink.away = True
        for count in range(1, 4):
            tracing.begin("lost", parent=None).end()
            await eventually(partial(_is_dropped, export, count))
        sink.away = False
        tracing.begin("taken", parent=None).end()
        await eventually(lambda: export.exported == 1)
        await asyncio.sleep(0)
        await export.close()
    assert [(one["event"], one["count"]) for one in logs] == [
        ("trace_collector_unavailable", 1),
        ("trace_collector_available", 3),
        ("spans_dropped", 3),
    ]
    assert "secret" not in str(logs)


async def test_a_collector_that_hangs_holds_up_nothing_and_what_does_not_fit_is_dropped() -> None:
    """The queue is bounded; whoever ends a span never waits; the end of the process comes all the same."""
    sink = Sink()
    sink.free.clear()
    export, tracing = await _open(sink, spans_max=5)
    tracing.begin("first", parent=None).end()
    await eventually(lambda: not export._waiting)
    began = time.monotonic()
    for _ in range(20):
        tracing.begin("step", parent=None).end()
    assert (export.dropped, time.monotonic() - began < 0.5) == (15, True)
    await export.close()
    assert (export.dropped, time.monotonic() - began < 5.0) == (21, True)  # also the one on its way


async def test_a_share_of_the_orders_is_sampled_and_a_parents_context_stands() -> None:
    """What is sampled is decided by us, before a span is made; a time to come counts as now."""
    sink = Sink()
    export, tracing = await _open(sink)
    assert tracing.samples() is True
    assert OtelTracing(tracing._tracer, 0.01, chance=lambda: 0.2).samples() is False
    assert OtelTracing(tracing._tracer, 0.0, chance=lambda: 0.0).samples() is False
    span = tracing.begin("step", parent=GOOD)
    assert span.context == f"00-{TRACE}-{span.context.split('-')[2]}-01"
    assert (span.trace_id, len(span.context)) == (TRACE, len(GOOD))
    span.end()
    await export.close()
    assert [one.name for one in sink.taken] == ["step"]
