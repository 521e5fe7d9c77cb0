"""Traces, as the lanes need them; ``orderflow/telemetry`` implements them, with OpenTelemetry. Without them nothing is done.

A trace context is the text of a W3C ``traceparent``. It travels in the header of that name, from record to record, and in
``Order.trace`` from a decision to what comes for the order later without one. What a sender wrote there is never trusted: a
text that is no context is ignored.

Rules of the file: what is not sampled makes no span; no span has a value of a record or an answer in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Final, Literal, Protocol

from statemachine.messages.envelope import Headers

#: W3C Trace Context, level 1: the header, in records and in HTTP.
TRACE_HEADER: Final = "traceparent"

#: Version, trace id, span id, flags. A later version may have more parts; ours and all zeros are checked below.
_CONTEXT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_CONTEXT_BYTES_MAX: Final = 256
_SAMPLED: Final = 1

Kind = Literal["internal", "consumer", "client"]
#: Names of ours, ids, coordinates and counts.
Attributes = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """One sampled step of a trace. It is exported when it has ended; one that never ends leaves no trace."""

    @property
    def context(self) -> str:
        """Its ``traceparent``: what follows from the step carries it."""
        ...

    @property
    def trace_id(self) -> str:
        """Of its trace, in hexadecimal digits."""
        ...

    def child(self, name: str, kind: Kind = "internal", attributes: Attributes | None = None) -> Span:
        """A step within this one, that begins now."""
        ...

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        ...

    def end(self, *, failed: str | None = None) -> None:
        """The step has ended; ``failed``: why it came to nothing, in our words."""
        ...


class Tracing(Protocol):
    """Makes spans; one per process. No method waits, or fails."""

    def samples(self) -> bool:
        """Whether the trace of an order that begins here, without a context, is one of those that are sampled."""
        ...

    def begin(
        self,
        name: str,
        *,
        parent: str | None,
        kind: Kind = "internal",
        at: datetime | None = None,
        attributes: Attributes | None = None,
        link: str | None = None,
    ) -> Span:
        """A step that begins now, or ``at`` an earlier time.

        Args:
            name: What is done, of few kinds.
            parent: The context that it continues; None: it begins a trace.
            kind: What kind of step.
            at: When it began; a time to come counts as now.
            attributes: Names of ours, ids, coordinates and counts.
            link: The context of a span of another trace that it also belongs to.
        """
        ...


#: The step at hand: requests to Digital River are made within it, and log lines name its trace.
_CURRENT: ContextVar[Span | None] = ContextVar("orderflow_span", default=None)


def current_span() -> Span | None:
    """The sampled step that this code runs in."""
    return _CURRENT.get()


@contextmanager
def within_span(span: Span | None) -> Iterator[None]:
    """What runs inside is within ``span``; None: within no step."""
    token = _CURRENT.set(span)
    try:
        yield
    finally:
        _CURRENT.reset(token)


@contextmanager
def step_of(parent: Span | None, name: str, attributes: Attributes | None = None) -> Iterator[None]:
    """What runs inside is a step within ``parent``, which fails when it raises; nothing when there is no parent."""
    if parent is None:
        yield
        return
    span = parent.child(name, attributes=attributes)
    failed: str | None = None
    try:
        with within_span(span):
            yield
    except BaseException as error:
        failed = type(error).__name__
        raise
    finally:
        span.end(failed=failed)


def context_in(headers: Headers) -> str | None:
    """The trace context in a record's headers; None when there is none, more than one, or what is there is none."""
    found: bytes | None = None
    for name, value in headers:
        if name == TRACE_HEADER:
            if found is not None:
                return None
            found = value or b""
    return None if found is None else _checked(found)


def _checked(value: bytes) -> str | None:
    matched = _CONTEXT.fullmatch(value) if len(value) <= _CONTEXT_BYTES_MAX else None
    if matched is None:
        return None
    version, trace_id, span_id, flags, more = matched.groups()
    if version == b"ff" or (version == b"00" and more) or not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    return b"-".join((b"00", trace_id, span_id, flags)).decode()


def is_sampled(context: str) -> bool:
    """Whether the sender of a context records its trace."""
    return bool(int(context[-2:], 16) & _SAMPLED)


def sampled_in(headers: Headers) -> str | None:
    """The trace context in a record's headers, when its trace is recorded."""
    context = context_in(headers)
    return context if context is not None and is_sampled(context) else None


def headers_of(context: str | None) -> Headers:
    """The headers of a record that is written within a context."""
    return () if context is None else ((TRACE_HEADER, context.encode()),)
