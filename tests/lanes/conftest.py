"""What aiokafka leaves behind in a test is collected in that test."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Collect now: a fenced producer of aiokafka has a future that nobody asks, which is logged when it is collected.

    Python 3.11 fails in ``ast.parse`` when that happens to be in a later test (CPython issue 106905).
    """
    yield
    gc.collect()
