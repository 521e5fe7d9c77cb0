"""What the tests of replays share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from orderflow.replay.check import quiet


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """No log lines, as in a command."""
    configured = structlog.get_config()
    quiet()
    yield
    structlog.configure(**configured)
