"""The command line against an embedded Kafka that runs beside it, as a server would."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog
from click.testing import CliRunner

from orderflow.process.faults import LibraryLogs
from tests.cli.command import Command
from tests.cli.embedded import kafka_in_thread


@pytest.fixture(scope="module")
def embedded() -> Iterator[str]:
    """Bootstrap address of an embedded Kafka in a thread of its own."""
    with kafka_in_thread() as (kafka, _):
        yield kafka.bootstrap


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
