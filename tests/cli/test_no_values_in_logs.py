"""No value of a record or an answer is in any line, in any format: everything is rendered by the real configuration.

The shopper of these tests has the name, the address and the secret ``POISON``.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

import aiohttp
import msgspec
import pydantic
import pytest
import structlog
from aiohttp import web
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError

from consumers.orders import deadline_firing, order_transaction
from consumers.orders import logic as order_batch
from consumers.orders.fuse import Fuse
from consumers.orders.logic import OrderLogic
from consumers.orders.working_orders import WorkingOrders
from consumers.ownership.logic import Batch
from consumers.ownership.store import DictStore, Overlay
from orderflow.cli.outcome import run
from orderflow.process import faults
from orderflow.process.logs import ALLOWED, configure_logging
from producers.connection import describe
from producers.outbox import Outbox
from producers.packing.sizes import Room
from producers.topics import Topic
from statemachine.errors import BrokerUnavailable, InvariantBroken
from statemachine.order.order import Deadline
from statemachine.order.policy import Policy
from statemachine.order.snapshot import encode_snapshot
from tests.unit.statemachine.story import Story, cart, record

POISON: Final = "ada.lovelace@example.org"
STYLES: Final = ("json", "text", "terminal")
NOW: Final = datetime(2031, 3, 4, 10, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    handlers, level, report = logging.root.handlers[:], logging.root.level, faults.reporter.report
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    logging.root.handlers[:], logging.root.level, faults.reporter.report = handlers, level, report
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)


class Log:
    """The log of this process, set up by the real configuration in one style, at the level that says most."""

    def __init__(self, style: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._style = style
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def begin(self) -> None:
        """Set it up, inside the test: what is captured is bound then."""
        if self._style == "terminal":
            self._monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        configure_logging(level="debug", style="auto" if self._style == "terminal" else self._style)
        for module in (order_batch, order_transaction, deadline_firing):
            self._monkeypatch.setattr(module, "log", structlog.get_logger())

    def written(self) -> str:
        """What was written since."""
        return self._capsys.readouterr().err


@pytest.fixture(params=STYLES)
def log(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Log:
    """The log in each style in turn."""
    return Log(request.param, capsys, monkeypatch)


class Cart(pydantic.BaseModel):
    """What pydantic refuses, with a text that quotes it."""

    email: int


def _library_error() -> Exception:
    try:
        Cart.model_validate({"email": POISON})
    except pydantic.ValidationError as error:
        return error
    raise AssertionError


def _fail_with(error: Exception) -> NoReturn:
    email = POISON  # a local variable, as rich's tracebacks would print it
    error.add_note(f"while {email} was served")
    try:
        raise KeyError(email)
    except KeyError as first:
        try:
            raise ExceptionGroup(email, [ValueError(email), _library_error()]) from first
        except ExceptionGroup:
            raise error  # noqa: B904  # the context counts too


@pytest.mark.parametrize(
    "error", [RuntimeError(POISON), KafkaError(POISON), _library_error(), OSError(5, POISON, POISON)]
)
def test_an_exception_is_logged_as_classes_and_places(log: Log, error: Exception) -> None:
    """Law: classes, files and functions of the error, its causes and its group are told; messages, notes and locals are not."""
    log.begin()
    try:
        _fail_with(error)
    except Exception as caught:  # noqa: BLE001  # whatever it is
        structlog.get_logger().exception(
            "decide_failed", order_id="A-1", error=caught, offsets=[caught, {"bad": caught}, b"bytes"]
        )
    written = log.written()
    assert POISON not in written
    for expected in (type(error).__name__, "KeyError", "ExceptionGroup", "ValueError", "ValidationError", "_fail_with"):
        assert expected in written
    assert "test_no_values_in_logs.py" in written
    assert "A-1" in written


@pytest.mark.parametrize("field", sorted(name for name in ALLOWED if name.endswith("_id")))
@pytest.mark.parametrize("value", [POISON, "Ada Lovelace", "1 Main Street, 55401 Minneapolis", "A-1\n", "a" * 129, ""])
def test_an_id_that_does_not_have_the_form_of_one_is_withheld(log: Log, field: str, value: str) -> None:
    """Law: an id that a payload holds may be anything; only letters, digits and ``. _ -`` are shown, 128 at most."""
    log.begin()
    say = structlog.get_logger()
    say.warning("one", **{field: value})
    say.warning("several", offsets={field: [value, "A-2"]}, **{field: ["A-1", value]})
    written = log.written()
    assert not value.strip() or value.strip() not in written.replace("A-1", "").replace("A-2", "")
    assert written.count("[withheld]") == 3
    assert "A-1" in written
    assert "A-2" in written


def test_our_own_errors_keep_their_words(log: Log) -> None:
    """Law: an error of ours, which quotes no value by contract, is told whole, in a field and in a traceback."""
    log.begin()
    try:
        raise InvariantBroken("captured above authorised")
    except InvariantBroken:
        structlog.get_logger().exception(
            "decide_failed", error=BrokerUnavailable("Kafka is not reachable at kafka:9092")
        )
    written = log.written()
    assert "InvariantBroken: captured above authorised" in written
    assert "BrokerUnavailable: Kafka is not reachable at kafka:9092" in written


def _consumed(kind: str, data: Any) -> ConsumerRecord:
    one = record(kind, data)
    return ConsumerRecord(one.topic, 0, 812, 0, 0, one.key, one.value, None, 0, 0, ())


def _logic() -> OrderLogic:
    return OrderLogic(0, partitions=1, prefix="", policy=Policy(), fuse=Fuse(), room=Room())


def _broken(*_: object, **values: object) -> NoReturn:
    raise RuntimeError(f"{_!r} {values!r}")


async def test_a_fault_in_a_decision_names_the_order_and_its_record_and_nothing_of_the_cart(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: order id, topic, partition and offset of the record are in the line; e-mail, name and address of the cart are not."""
    log.begin()
    monkeypatch.setattr(order_batch, "decide", _broken)
    consumed = _consumed("checkout.requested", cart(email=POISON))
    outbox = Outbox(dict.fromkeys(Topic, 1), home=0, home_count=1)
    await _logic().step(Batch([consumed], None, NOW), Overlay(DictStore()), outbox)
    written = log.written()
    assert POISON not in written
    assert "Minneapolis" not in written
    for expected in ("decide_failed", "RuntimeError", "A-1", "checkout-events", "812", "partition"):
        assert expected in written
    (failed,) = (line for line in written.splitlines() if "decide_failed" in line)
    if failed.startswith("{"):
        line = json.loads(failed)
        assert (line["order_id"], line["topic"], line["partition"], line["offset"]) == (
            "A-1",
            "checkout-events",
            0,
            812,
        )


async def test_a_fault_in_a_deadline_names_the_order_and_the_deadline(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: order id, partition and the deadline's name are in the line, and nothing of the order's snapshot."""
    log.begin()
    story = Story()
    story.request(email=POISON)
    assert story.order is not None
    overdue = msgspec.structs.replace(story.order, deadlines=(Deadline("inquire", NOW - timedelta(hours=1)),))
    store = DictStore()
    store.apply({"A-1": encode_snapshot(overdue)})
    logic = _logic()
    await logic.opened(store)
    monkeypatch.setattr(deadline_firing, "decide", _broken)
    monkeypatch.setattr(WorkingOrders, "hold_failed", lambda *_: None)
    await logic.step(Batch([], NOW, NOW), Overlay(store), Outbox({}, home=0, home_count=1))
    written = log.written()
    assert POISON not in written
    for expected in ("deadline_failed", "RuntimeError", "A-1", "inquire", "partition", "orders"):
        assert expected in written


@pytest.mark.parametrize(
    "name", ["aiokafka.consumer.fetcher", "aiohttp.server", "aiohttp.client", "asyncio", "pydantic"]
)
def test_what_libraries_log_is_shown_as_far_as_it_is_a_literal_of_theirs(log: Log, name: str) -> None:
    """Law: of a library's line its literal text, numbers and classes are shown; arguments, built texts and errors are not."""
    log.begin()
    library = logging.getLogger(name)
    library.warning("Heartbeat of %s failed %d times", POISON, 3)
    library.warning(f"Error handling request from {POISON}")
    library.warning(POISON)
    library.warning("%(who)s is late by %(seconds).1f s", {"who": POISON, "seconds": 2.0})
    library.warning("a number where %d is none", POISON)
    try:
        raise ValueError(POISON)
    except ValueError as error:
        library.exception("Task failed: %s %r", error, error)
    written = log.written()
    assert POISON not in written
    for expected in (
        "Heartbeat of [withheld] failed 3 times",
        "Error handling request from [withheld]",
        "[withheld] is late by 2.0 s",
        "a number where %d is none",
        "Task failed: ValueError ValueError",
        "Traceback",
        name,
    ):
        assert expected in written


def test_a_line_that_cannot_be_written_is_reported_without_it(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: logging's own report of a failure, which prints the arguments, is never reached."""
    log.begin()
    monkeypatch.setattr(faults, "shown", _broken)
    logging.getLogger("aiohttp.server").error("Error of %s", POISON)
    written = log.written()
    assert POISON not in written
    assert "could not be written" in written


def test_a_warning_is_shown_as_its_category_and_place(log: Log) -> None:
    """Law: a warning's text, which may quote an object, is not written; where to look is."""
    log.begin()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"expected a number, got {POISON}", UserWarning, stacklevel=1)
    written = log.written()
    assert POISON not in written
    assert "UserWarning at " in written
    assert "test_no_values_in_logs.py" in written


def test_a_task_that_nobody_awaits_is_reported_without_its_error_s_text(log: Log) -> None:
    """Law: what asyncio says of lost errors, with reprs of tasks and callbacks, is written as classes and places."""
    log.begin()

    async def fail(_: str) -> None:
        raise ValueError(POISON)

    def call(_: str) -> None:
        raise KeyError(POISON)

    async def lose() -> None:
        task = asyncio.create_task(fail(POISON), name=POISON)
        asyncio.get_running_loop().call_soon(call, POISON)
        await asyncio.sleep(0.01)
        del task
        gc.collect()
        asyncio.get_running_loop().call_exception_handler({"message": POISON, "exception": OSError(POISON)})

    run(lose())
    written = log.written()
    assert POISON not in written
    for expected in ("Task exception was never retrieved", "ValueError", "fail", "Exception in callback", "KeyError"):
        assert expected in written
    assert "an error that was not awaited" in written


async def test_a_handler_that_fails_is_logged_without_its_request(log: Log) -> None:
    """Law: aiohttp's own server says where it failed, and nothing of address, headers, body or the error's text."""
    log.begin()

    async def fail(request: web.Request) -> web.Response:
        body = await request.text()
        raise RuntimeError(f"{body} {request.path_qs} {request.headers}")

    app = web.Application()
    app.router.add_post("/{who}", fail)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/{POISON}"
    async with aiohttp.ClientSession() as session:
        async with session.post(url, params={"email": POISON}, data=POISON, headers={"X-Who": POISON}) as answer:
            assert answer.status == 500
        with pytest.raises(aiohttp.ClientError) as lost:
            await session.get(f"http://127.0.0.1:1/{POISON}")
    structlog.get_logger().warning("fetch_failed", error=lost.value)
    await runner.cleanup()
    written = log.written()
    assert POISON not in written
    for expected in ("aiohttp.server", "RuntimeError", "in test_a_handler_that_fails", "ClientConnectorError"):
        assert expected in written


async def test_a_client_of_kafka_says_what_failed_without_what_it_was_given(log: Log) -> None:
    """Law: aiokafka's own lines go through the same sieve, and keep what tells an operator something."""
    log.begin()
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", client_id=POISON)
    with pytest.raises(KafkaError):
        await producer.start()
    await producer.stop()
    written = log.written()
    assert POISON not in written
    assert "Unable connect to" in written
    assert describe(KafkaError(POISON)) == "KafkaError"


_CHILD: Final = """
import asyncio, gc, logging, sys, threading, warnings
sys.path.insert(0, {root!r})
import orderflow.__main__ as start
from orderflow.cli import main
import click

POISON = "ada.lovelace@" + "example.org"

class Lost:
    def __del__(self):
        raise ValueError(POISON)

async def task():
    raise ValueError(POISON)

async def lose():
    asyncio.ensure_future(task())
    await asyncio.sleep(0.01)
    gc.collect()

@main.command("break")
@click.argument("how")
def broken(how):
    email = POISON
    if how != "plain":
        from orderflow.process.logs import configure_logging
        configure_logging(level="debug", style=how)
    from orderflow.cli.outcome import run
    run(lose())
    logging.getLogger("aiohttp.server").error("Error of " + email)
    warnings.warn(email)
    thread = threading.Thread(target=lambda: {{}}[email])
    thread.start()
    thread.join()
    Lost()
    raise RuntimeError(email)

start.main()
"""


@pytest.mark.parametrize("how", ["plain", "json", "text"])
def test_a_process_that_crashes_tells_no_value(how: str, request: pytest.FixtureRequest) -> None:
    """Law: Python's own reports, of a crash, a thread, a finaliser, a lost task and a warning, are classes and places."""
    child = textwrap.dedent(_CHILD).format(root=str(request.config.rootpath))
    done = subprocess.run(
        [sys.executable, "-c", child, "break", how], capture_output=True, text=True, timeout=25, check=False
    )
    assert done.returncode == 1
    assert POISON not in done.stderr + done.stdout
    for expected in ("RuntimeError", "ValueError", "KeyError", "UserWarning", "in broken", "Task exception was never"):
        assert expected in done.stderr, done.stderr
    if how == "json":
        assert all(json.loads(line) for line in done.stderr.splitlines())


def test_hooks_leave_a_person_who_interrupts_alone() -> None:
    """Law: Ctrl-C and the end of a thread by SystemExit are not reported."""
    before = (sys.excepthook, threading.excepthook, sys.unraisablehook)
    said_so: list[str] = []
    try:
        faults.install_hooks()
        faults.reporter.report = lambda what, _where, _error: said_so.append(what)
        sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
        thread = threading.Thread(target=sys.exit)
        thread.start()
        thread.join()
        assert said_so == []
        sys.excepthook(RuntimeError, RuntimeError(), None)
        assert said_so == ["an unexpected error"]
    finally:
        sys.excepthook, threading.excepthook, sys.unraisablehook = before


def test_a_deep_recursion_is_reported_by_its_ends() -> None:
    """Law: a traceback of a thousand frames is some fifty lines."""

    def deeper(depth: int) -> None:
        if not depth:
            raise RecursionError(POISON)
        deeper(depth - 1)

    with pytest.raises(RecursionError) as caught:
        deeper(500)
    trace = faults.trace(caught.value)
    assert len(trace.splitlines()) < 60
    assert " more" in trace
    assert POISON not in trace


@pytest.mark.parametrize("how", ["causes", "groups"])
def test_an_error_with_thousands_of_errors_behind_it_is_reported_by_the_nearest_and_the_first(how: str) -> None:
    """Law: at most 20 causes are told, of groups in groups at most five, and the telling itself does not fail."""
    error: Exception = LookupError(POISON)
    for _ in range(3000):
        after: Exception = ValueError(POISON) if how == "causes" else ExceptionGroup(POISON, [error])
        after.__cause__ = error if how == "causes" else None
        error = after
    lines = faults.trace(error).splitlines()
    assert sum(line.lstrip(" |") in {"ValueError", "ExceptionGroup", "LookupError"} for line in lines) in {6, 21}
    assert any(" more" in line for line in lines)
    assert ("LookupError" in lines) == (how == "causes")
    assert POISON not in "".join(lines)


def test_a_wide_group_is_reported_by_its_first_errors() -> None:
    """Law: of a group of hundreds twenty are told, and how many more there are."""
    lines = faults.trace(ExceptionGroup(POISON, [ValueError(POISON) for _ in range(300)])).splitlines()
    assert sum("ValueError" in line for line in lines) == 20
    assert lines[-1] == "  | ... 280 more"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError(111, POISON), "ConnectionRefusedError: ECONNREFUSED"),
        (OSError(28, POISON, POISON), "OSError: ENOSPC"),
        (OSError(987654, POISON), "OSError"),
        (OSError(POISON), "OSError"),
        (OSError([POISON], POISON), "OSError"),
        (socket.gaierror(1, POISON), "socket.gaierror"),
        (ssl.SSLError(1, POISON), "ssl.SSLError"),
        (ModuleNotFoundError(POISON, name="zstandard.backend"), "ModuleNotFoundError: zstandard.backend"),
        (ModuleNotFoundError(POISON, name=POISON), "ModuleNotFoundError"),
        (ModuleNotFoundError(POISON), "ModuleNotFoundError"),
    ],
)
def test_an_error_of_the_system_is_reported_with_its_symbol_and_a_missing_module_by_name(
    error: Exception, expected: str
) -> None:
    """Law: what a person needs and is not a value is shown: which error of the system it is, and what is not installed."""
    assert faults.described(error) == expected
