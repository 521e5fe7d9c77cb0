"""A worker's lanes are made as its settings say."""

from __future__ import annotations

import pytest

from orderflow import bootstrap
from orderflow.providers import load_provider
from orderflow.settings import Settings
from orderflow.worker import Worker
from producers.topic_setup import TopicState
from producers.topics import Lane, Topic


@pytest.mark.parametrize("lane", Lane)
async def test_settings_of_batches_and_heartbeats_reach_every_lane(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the order lane only; lanes that wait for Digital River take fewer records at once all the same."""
    monkeypatch.setenv("ORDERFLOW_BATCH_INTERVAL", "120ms")
    monkeypatch.setenv("ORDERFLOW_BATCH_RECORDS", "70")
    monkeypatch.setenv("ORDERFLOW_GROUP_HEARTBEAT_INTERVAL", "700ms")
    settings = Settings()
    found = {topic: TopicState(1, 1, {}) for topic in Topic}
    async with load_provider(settings) as provider:
        membership = bootstrap._make_lane(lane, settings, found, Worker("w"), provider, None, None)
        options = membership._make_partition(0)._options
        assert (options.batch_interval_seconds, options.batch_records_max) == (0.12, 70)
        assert options.heartbeat_seconds == 0.7
        await membership._consumer.stop()
