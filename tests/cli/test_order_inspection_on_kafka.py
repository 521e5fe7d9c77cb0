"""``orderflow orders history`` and ``show --at`` on Apache Kafka, whose offsets have gaps where transactions end."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace

import pytest

from orderflow.demonstration.environment import demo_environment
from orderflow.demonstration.scenario import available, load
from orderflow.demonstration.scenario_runner import run_all, start_runner
from orderflow.inspection.past import snapshot_at
from orderflow.inspection.reading import open_reader
from orderflow.settings import Settings
from producers.topics import ORDER_INPUTS, Topic
from tests.cli.command import Command

NAMES = ("card", "over-shipped", "shipped-early", "refund-needs-account")


@pytest.mark.kafka
@pytest.mark.timeout(90)
def test_history_and_the_past_are_read_from_apache_kafka(orderflow: Command, apache_kafka: str, prefix: str) -> None:
    """Law: every snapshot that there was is decided again, byte for byte, without any but the last; history has all inputs."""
    scenarios = [load(path) for path in available() if path.stem in NAMES]
    settings: list[Settings] = []

    async def play() -> None:
        environment = demo_environment(bootstrap=apache_kafka, prefix=prefix, delay_seconds=0.2)
        async with environment as place, start_runner(place) as runner:
            assert await run_all(runner, scenarios) == []
            settings.append(place.settings)

    async def compare(order_id: str) -> int:
        reader = await open_reader(settings[0].connection(), prefix)
        records = await reader.read_order(order_id, (Topic.ORDERS, Topic.ORDER_STATE_CHANGES, *ORDER_INPUTS))
        evidence = await reader.evidence(records, whole=False)
        snapshots = list(evidence.snapshots)
        compacted = replace(evidence, snapshots=snapshots[-1:])
        for old in random.Random(order_id).sample(snapshots, 5):
            assert await snapshot_at(compacted, old.at, policy=settings[0].policy()) == old.value
        return sum(len(records.found[topic]) for topic in ORDER_INPUTS)

    asyncio.run(play())
    orderflow.set(kafka_bootstrap=apache_kafka, topic_prefix=prefix)
    for scenario in scenarios:
        inputs = asyncio.run(compare(scenario.order))
        told = orderflow("orders", "history", scenario.order, "--json")
        assert told.exit_code == 0, told.stderr
        assert [json.loads(line)["kind"] for line in told.stdout.splitlines()].count("event") == inputs
        assert orderflow("orders", "find", scenario.order).exit_code == 0
