"""The command lane's part of a trace: from the command's record to its outcome, with each attempt and request within."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from consumers.commands.calls import Caller, CallOptions
from consumers.commands.reader import command_topics
from consumers.commands.records import PendingCommand
from consumers.commands.transactions import FinishedCommands
from consumers.requests.breaker import Breaker
from consumers.requests.rate_limit import RateLimit
from consumers.tracing import TRACE_HEADER, context_in, within_span
from orderflow.digitalriver.connection import Connection
from producers.packing.sizes import Room
from statemachine.errors import TransportFailure, Unavailable
from statemachine.messages.envelope import Headers
from tests.tracing.recorder import PaperSpan, Recorder
from tests.tracing.test_contexts import GARBAGE, GOOD
from tests.unit.consumers.steady import Bench, delete

SAMPLED: Headers = ((TRACE_HEADER, GOOD.encode()),)


def caller(tracing: Recorder | None, bench: Bench) -> Caller:
    """A caller that calls nobody."""
    return Caller(
        bench.river,
        options=CallOptions(),
        breaker=Breaker(),
        rate=RateLimit(0, lambda: 1.0),
        slots=asyncio.Semaphore(),
        clock=bench.time,
        sleep=bench.time.sleep,
        jitter=lambda: 1.0,
        tracing=tracing,
    )


@pytest.mark.parametrize("value", [*GARBAGE, f"{GOOD[:-2]}00".encode()])
def test_a_command_without_a_sampled_context_makes_no_span(tmp_path: Path, value: bytes | None) -> None:
    """Garbage there is no error; and who does not trace reads nothing."""
    bench, recorder = Bench(tmp_path / "books"), Recorder()
    assert caller(recorder, bench).begin_span(delete(), ((TRACE_HEADER, value),)) is None
    assert caller(None, bench).begin_span(delete(), SAMPLED) is None
    assert recorder.spans == []


async def test_each_attempt_of_a_command_is_a_step_and_says_why_it_failed(tmp_path: Path) -> None:
    """A call without an answer, the look that finds its effect; then nothing is the step at hand any more."""
    lost = TransportFailure("cut", sent=True)
    bench = Bench(tmp_path / "books", lambda what, count: lost if (what, count) == ("after", 1) else None)
    recorder = Recorder()
    span = caller(recorder, bench).begin_span(delete(), SAMPLED)
    assert isinstance(span, PaperSpan)
    await bench.run(delete(), span=span)
    assert [(one.name, one.parent, one.failed) for one in recorder.spans] == [
        ("command delete_checkout", GOOD, None),
        ("call", span.context, "TransportFailure"),
        ("look", span.context, None),
    ]
    assert recorder.ended == ["call", "look"]


async def test_an_outcome_carries_its_commands_context_and_ends_its_step(tmp_path: Path) -> None:
    """The order lane continues there; a command without a span writes no header."""
    bench, recorder = Bench(tmp_path / "books"), Recorder()
    outcome = await bench.run(delete())
    finished = FinishedCommands(command_topics(""), clock=lambda: datetime(2031, 3, 4, tzinfo=UTC), room=Room())
    span = caller(recorder, bench).begin_span(delete(), SAMPLED)
    assert span is not None
    finished.add_outcome(PendingCommand(1, delete(), span=span), outcome)
    finished.add_outcome(PendingCommand(2, delete()), outcome)
    traced, plain = finished.waiting
    assert (context_in(tuple(traced.record.headers)), plain.record.headers) == (span.context, ())
    assert traced.record.value == plain.record.value
    assert (recorder.ended, recorder.spans[0].told["orderflow.result"]) == (["command delete_checkout"], "confirmed")


async def test_a_request_is_a_step_and_carries_it_and_others_carry_nothing() -> None:
    """Its status is told, never its path with ids; without a step at hand there is no header."""
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get(TRACE_HEADER))
        return web.Response(status=503 if request.path.endswith("down") else 200)

    app = web.Application()
    app.router.add_get("/orders/{id}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    recorder = Recorder()
    try:
        async with Connection(f"http://127.0.0.1:{runner.addresses[0][1]}", "key") as connection:
            await connection.request("GET", "/orders/up", route="GET /orders/{id}")
            with within_span(recorder.begin("call", parent=GOOD)):
                await connection.request("GET", "/orders/up", route="GET /orders/{id}")
                with pytest.raises(Unavailable):
                    await connection.request("GET", "/orders/down", route="GET /orders/{id}")
    finally:
        await runner.cleanup()
    _, good, bad = recorder.spans
    assert seen == [None, good.context, bad.context]
    assert recorder.ended == ["GET /orders/{id}", "GET /orders/{id}"]
    assert good.told == {
        "http.request.method": "GET",
        "url.template": "/orders/{id}",
        "http.response.status_code": 200,
    }
    assert (bad.told["http.response.status_code"], bad.told["error.type"]) == (503, "Unavailable")
