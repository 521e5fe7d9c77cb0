"""The bench of each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.provider.bench import Bench, open_bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A provider and a simulator of its own."""
    async with open_bench() as opened:
        yield opened
