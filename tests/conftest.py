"""What all tests share: the Kafka that they run on. Fixtures of one folder live in that folder."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from orderflow.process.faults import LibraryLogs

pytest_plugins = ["tests.kafka.fixtures"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow aiokafka's leftovers where brokers are killed and frozen: a connection that was being opened when a limit cut it off.

    Nobody can close such a connection; Python reports it when it is collected. Everywhere else a leak stays an error.
    """
    for item in items:
        if item.get_closest_marker("kafka") is not None:
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(autouse=True)
def _leftovers_stay_where_they_were_made(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect before the next test begins, which must not be blamed for them."""
    yield
    if request.node.get_closest_marker("kafka") is not None:
        gc.collect()


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command, or a replay, sets logging up for its process; here it must not silence the tests after it."""
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
    if structlog.get_config()["cache_logger_on_first_use"]:  # loggers that were used meanwhile keep what was set up
        for module in list(sys.modules.values()):
            used = vars(module).get("log")
            if isinstance(used, structlog._config.BoundLoggerLazyProxy):
                vars(used).pop("bind", None)
    structlog.configure(**configured)
