"""The command line against an embedded Kafka that runs beside it, as a server would."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from orderflow.broker import EmbeddedKafka
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
def _loud_libraries() -> Iterator[None]:
    """A command silences libraries for its process; here it must not silence them for the tests after it."""
    loggers = [logging.getLogger(name) for name in ("aiokafka", "asyncio")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def orderflow(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line with settings of its own: none from the environment, no Kafka."""
    return Command(CliRunner(), monkeypatch)
