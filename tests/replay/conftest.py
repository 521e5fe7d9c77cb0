"""What the tests of replays share."""

from __future__ import annotations

import pytest

from orderflow.replay.check import quiet


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """No log lines, as in a command."""
    quiet()
