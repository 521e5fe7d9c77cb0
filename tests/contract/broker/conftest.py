"""One suite, two brokers: the embedded Kafka, new for each test, and Apache Kafka, one for the session."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from aiokafka.errors import KafkaError

from orderflow.embedded_kafka import EmbeddedKafka
from tests.contract.broker.cluster import Cluster


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """The broker under test; topics are deleted afterwards, Apache Kafka may be somebody's."""
    if request.param == "embedded":
        async with EmbeddedKafka(session_timeout_min_seconds=0.5) as kafka:
            yield Cluster(kafka.bootstrap, session_timeout_ms=1000, patience=5, compact=kafka.compact)
        return
    bootstrap: str = request.getfixturevalue("apache_kafka")
    # A Kafka of the tests' own allows sessions of a second; a given one may have the default of 6 s. By default it looks for
    # overdue transactions every 10 s and cleans logs every 15 s.
    least = 6000 if os.environ.get("KAFKA_BOOTSTRAP") else 1000
    cluster = Cluster(bootstrap, session_timeout_ms=least, patience=60, compact=lambda _: None)
    yield cluster
    if cluster.topics:
        async with cluster.admin() as admin:
            try:
                await admin.delete_topics(cluster.topics)
            except KafkaError as error:
                pytest.fail(f"topics could not be deleted: {error!r}")
