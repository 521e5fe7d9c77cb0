"""The command line against an embedded Kafka that runs beside it, as a server would."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest
import structlog
from click.testing import CliRunner

from orderflow.embedded_kafka import EmbeddedKafka
from orderflow.process.faults import LibraryLogs
from tests.cli.command import Command


@pytest.fixture(scope="module")
def embedded() -> Iterator[str]:
    """Bootstrap address of an embedded Kafka in a thread of its own."""
    ready, ended = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    addresses: list[str] = []

    async def serve() -> None:
        async with EmbeddedKafka() as kafka:
            addresses.append(kafka.bootstrap)
            ready.set()
            await ended.wait()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(10)
    yield addresses[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join(10)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command sets logging up for its process; here it must not silence the tests after it."""
    loggers = [logging.getLogger(name) for name in (None, "aiokafka", "asyncio")]
    levels = [logger.level for logger in loggers]
    configured = structlog.get_config()
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, LibraryLogs)]:
        root.removeHandler(handler)
    logging.captureWarnings(capture=False)
    structlog.configure(**configured)


@pytest.fixture
def orderflow(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line with settings of its own: none from the environment, no Kafka."""
    return Command(CliRunner(), monkeypatch)
