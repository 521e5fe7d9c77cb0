"""Ended spans on their way to the collector, in a thread: whoever ends a span never waits, and never learns of a failure.

At most ``SPANS_MAX`` spans wait. What does not fit, and what the collector does not take, is dropped and counted.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from typing import Final

import structlog
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = structlog.get_logger(__name__)

#: Spans that wait for the collector; about 10 MB.
SPANS_MAX: Final = 8192
#: Spans in one request.
_REQUEST_SPANS: Final = 512
#: How long spans are gathered for a request.
_GATHER_SECONDS: Final = 1.0
#: How long a process that stops waits for its last spans to be taken.
_CLOSE_SECONDS: Final = 2.0


class SpanExport(SpanProcessor):
    """Sends ended spans. Open it in the loop that logs; it ends no process, and holds up none for more than 2 s."""

    def __init__(self, exporter: SpanExporter, *, spans_max: int = SPANS_MAX, gather: float = _GATHER_SECONDS) -> None:
        """``gather``: seconds."""
        #: Spans that came to nothing since the start.
        self.dropped = 0
        #: Spans that the collector has taken since the start.
        self.exported = 0
        self._exporter = exporter
        self._spans_max = spans_max
        self._gather = gather
        self._waiting: deque[ReadableSpan] = deque()
        #: Spans of the request that is on its way.
        self._sending = 0
        self._away = self._closed = False
        self._closing = threading.Event()
        self._loop = asyncio.get_running_loop()
        # a daemon: a request that hangs must not keep the process
        self._thread = threading.Thread(target=self._run, name="span export", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Take an ended span, or drop it when too many wait."""
        if len(self._waiting) >= self._spans_max:
            self.dropped += 1
            return
        self._waiting.append(span)

    async def close(self) -> None:
        """Send what waits, but for 2 s at most; then drop it."""
        self._closing.set()
        await asyncio.to_thread(self._thread.join, _CLOSE_SECONDS)
        self._exporter.shutdown()  # ends a request that is being repeated
        self._closed = True
        self.dropped += len(self._waiting) + self._sending
        if self.dropped:
            log.warning("spans_dropped", count=self.dropped)

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.wait(self._gather)
            while self._waiting and not self._closed and not (self._away and closing):
                self._send([self._waiting.popleft() for _ in range(min(len(self._waiting), _REQUEST_SPANS))])

    def _send(self, spans: list[ReadableSpan]) -> None:
        self._sending = len(spans)
        try:
            taken = self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception:  # noqa: BLE001  # whatever it is: these spans are lost, and the next ones are tried
            taken = False
        if self._closed:  # they were counted as lost
            return
        self._sending = 0
        if taken:
            self.exported += len(spans)
        else:
            self.dropped += len(spans)
        if taken is self._away:
            self._away = not taken
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(_report, taken, self.dropped)


def _report(taken: bool, dropped: int) -> None:
    """One line when the collector goes, and one when it is back."""
    if taken:
        log.info("trace_collector_available", count=dropped)
    else:
        log.warning("trace_collector_unavailable", count=dropped, remedy="check ORDERFLOW_OTEL_ENDPOINT")
