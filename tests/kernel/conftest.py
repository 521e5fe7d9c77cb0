"""Each Kafka in turn for the tests of interrupted steps."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from orderflow.broker import EmbeddedKafka


@pytest.fixture(params=[pytest.param("apache", marks=pytest.mark.kafka), "embedded"])
async def kafka(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Bootstrap address: Apache Kafka, then the embedded one."""
    if request.param == "apache":
        yield str(request.getfixturevalue("apache_kafka"))
        return
    async with EmbeddedKafka() as embedded:
        yield embedded.bootstrap
