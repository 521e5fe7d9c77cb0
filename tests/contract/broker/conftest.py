"""One suite, two brokers: the embedded Kafka, new for each test, and Apache Kafka, one for the session."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiokafka.errors import KafkaError

from orderflow.broker import EmbeddedKafka
from tests.contract.broker.cluster import Cluster


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """The broker under test; topics are deleted afterwards, Apache Kafka may be somebody's."""
    if request.param == "embedded":
        async with EmbeddedKafka(session_timeout_min_seconds=0.5) as kafka:
            yield Cluster(kafka.bootstrap, session_timeout_ms=1000, patience=5, compact=kafka.compact)
        return
    bootstrap: str = request.getfixturevalue("apache_kafka")
    # Kafka looks for overdue transactions every 10 s and cleans logs every 15 s.
    cluster = Cluster(bootstrap, session_timeout_ms=6000, patience=60, compact=lambda _: None)
    yield cluster
    if cluster.topics:
        async with cluster.admin() as admin:
            try:
                await admin.delete_topics(cluster.topics)
            except KafkaError as error:
                pytest.fail(f"topics could not be deleted: {error!r}")
