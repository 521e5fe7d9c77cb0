"""The suite runs against each provider that is here, or against the one that is named."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.port.bench import BENCHES
from tests.contract.port.shop import Shop
from tests.contract.provider.bench import SKU


@pytest.fixture(params=BENCHES)
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    """A provider that is open and knows the goods."""
    async with BENCHES[request.param]() as bench:
        opened = Shop(bench)
        assert (await bench.provider.put_sku("kb-01", SKU, opened.may_write)).problem is None
        yield opened
