"""What a sender wrote into ``traceparent``: a context, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.tracing import (
    TRACE_HEADER,
    context_in,
    current_span,
    headers_of,
    is_sampled,
    sampled_in,
    step_of,
    within_span,
)
from orderflow.process.logs import add_trace_id
from tests.tracing.recorder import Recorder

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"

GARBAGE = [
    b"",
    b"garbage",
    None,
    f"00-{TRACE}-{SPAN}".encode(),
    f"00-{TRACE.upper()}-{SPAN}-01".encode(),
    f"00-{'0' * 32}-{SPAN}-01".encode(),
    f"00-{TRACE}-{'0' * 16}-01".encode(),
    f"ff-{TRACE}-{SPAN}-01".encode(),
    f"00-{TRACE}-{SPAN}-01-more".encode(),
    f"00-{TRACE}-{SPAN}-1".encode(),
    f" 00-{TRACE}-{SPAN}-01".encode(),
    f"00-{TRACE}-{SPAN}-01\n".encode(),
    f"01-{TRACE}-{SPAN}-01-{'x' * 300}".encode(),
    b"\xff\xfe" * 28,
]


@pytest.mark.parametrize("value", GARBAGE)
def test_what_is_no_context_is_ignored(value: bytes | None) -> None:
    """Headers are a sender's: nothing in them is an error."""
    assert context_in(((TRACE_HEADER, value),)) is None


@given(st.binary(max_size=80))
def test_any_bytes_are_a_context_or_none(value: bytes) -> None:
    """And a context is one that is read again."""
    found = context_in(((TRACE_HEADER, value),))
    assert found is None or context_in(headers_of(found)) == found


def test_a_context_is_read_whatever_else_is_in_the_headers() -> None:
    """Names have their case in Kafka; a later version is taken as far as this one knows it."""
    assert context_in((("a", b"b"), (TRACE_HEADER, GOOD.encode()), ("tracestate", b"x=y"))) == GOOD
    assert context_in(((TRACE_HEADER, f"cc-{TRACE}-{SPAN}-01-later".encode()),)) == GOOD


def test_two_contexts_are_none() -> None:
    """Nobody can say which of them is meant."""
    assert context_in(((TRACE_HEADER, GOOD.encode()), (TRACE_HEADER, GOOD.encode()))) is None


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("ff", True)])
def test_the_lowest_flag_says_whether_a_trace_is_recorded(flags: str, *, sampled: bool) -> None:
    """The other flags are of other versions."""
    context = f"00-{TRACE}-{SPAN}-{flags}"
    assert is_sampled(context) is sampled
    assert sampled_in(((TRACE_HEADER, context.encode()),)) == (context if sampled else None)


def test_a_log_line_within_a_step_names_its_trace_and_others_name_none() -> None:
    """So that a line is found by the trace, and the trace by a line."""
    span = Recorder().begin("step", parent=GOOD)
    with within_span(span):
        assert add_trace_id(None, "info", {"event": "it"}) == {"event": "it", "trace_id": TRACE}
    assert add_trace_id(None, "info", {"event": "it"}) == {"event": "it"}


def test_a_step_that_raises_has_failed_and_ends() -> None:
    """The error goes on unchanged; what comes after is outside of the step."""
    recorder = Recorder()
    parent = recorder.begin("command", parent=GOOD)
    seen = []

    def fails() -> None:
        with step_of(parent, "call"):
            seen.append(current_span())
            raise KeyError("personal data")

    with pytest.raises(KeyError):
        fails()
    assert seen == [recorder.spans[1]]
    assert (recorder.spans[1].failed, recorder.ended, current_span()) == ("KeyError", ["call"], None)
