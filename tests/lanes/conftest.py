"""What all tests of the lanes need: a fake Digital River, and garbage that is collected in the test that made it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lanes.river import FileRiver


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Collect now: a fenced producer of aiokafka has a future that nobody asks, which is logged when it is collected.

    Python 3.11 fails in ``ast.parse`` when that happens to be in a later test (CPython issue 106905).
    """
    yield
    gc.collect()


@pytest.fixture
def river(tmp_path: Path) -> FileRiver:
    """A fake Digital River for one test."""
    return FileRiver(tmp_path / "books")
