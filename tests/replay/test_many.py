"""The sizes that replays are made for: 100,000 events checked with changed tables, 100,000 orders rebuilt under kills."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import pytest

from benchmarks.order_lane import PARTITIONS, fill, make_topics, process
from orderflow.embedded_kafka import EmbeddedKafka
from tests.replay.apart import happenings
from tests.replay.changed_rules import find_twenty_changed_rules
from tests.replay.shop import lived, replayed, settings_of, shop

pytestmark = pytest.mark.soak

#: Their lives and Digital River's answers make more than a hundred thousand events.
ORDERS_CHECKED = 17_000
ORDERS_REBUILT = 100_000


@pytest.mark.timeout(1800)
async def test_a_changed_rule_is_found_in_a_hundred_thousand_events(prefix: str) -> None:
    """No difference with the code that decided them; precision and recall are 1.0 for each of twenty mutants of the tables."""
    names = [f"A-{number}" for number in range(ORDERS_CHECKED)]
    async with EmbeddedKafka() as kafka:
        async with shop(kafka.bootstrap, prefix) as lane:
            await lived(lane, names)
        told = await happenings(kafka.bootstrap, prefix)
        settings = settings_of(kafka.bootstrap, prefix)
        same = await replayed(settings)
        assert (same.differences, same.left_out, same.short, same.gaps) == ([], {}, [], [])
        assert same.events >= 100_000
        await find_twenty_changed_rules(told, settings, seed=8)


@pytest.mark.kafka
@pytest.mark.timeout(1800)
async def test_a_hundred_thousand_orders_are_rebuilt_byte_for_byte_though_killed_twice(
    apache_kafka: str, prefix: str
) -> None:
    """SIGKILL at two points on the way; each time the next run goes on where the killed one was."""
    into = f"{prefix}anew."
    await make_topics(apache_kafka, prefix)
    total = await fill(apache_kafka, prefix, ORDERS_REBUILT)
    lane = await process("lane", apache_kafka, prefix, total, None)
    try:
        assert lane.stdout is not None
        assert json.loads(await lane.stdout.readline())["records"] == total
    finally:
        with suppress(ProcessLookupError):
            lane.terminate()
        await lane.wait()
    killed = 0
    for _ in range(2):
        running = await _orderflow(apache_kafka, prefix, "replay", "rebuild", "--into", into, "--json")
        assert running.stdout is not None
        assert await running.stdout.readline()  # with one partition done the next one is under way
        running.kill()
        await running.communicate()
        killed += running.returncode == -9
    assert killed == 2
    told = await _lines(apache_kafka, prefix, "replay", "rebuild", "--into", into, "--json")
    assert len(told) == PARTITIONS
    assert any(one["went_on"] for one in told)
    compared = await _orderflow(apache_kafka, prefix, "replay", "compare", into, "--json")
    output, errors = await compared.communicate()
    assert compared.returncode == 0, errors.decode()[-2000:]
    assert output == b"", output[:2000]
    assert f"{ORDERS_REBUILT} orders the same, 0 differ, 0 moved on since" in errors.decode()


async def _orderflow(bootstrap: str, prefix: str, *words: str) -> asyncio.subprocess.Process:
    environment = os.environ | {"ORDERFLOW_KAFKA_BOOTSTRAP": bootstrap, "ORDERFLOW_TOPIC_PREFIX": prefix}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "orderflow",
        *words,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def _lines(bootstrap: str, prefix: str, *words: str) -> Sequence[dict[str, object]]:
    running = await _orderflow(bootstrap, prefix, *words)
    output, errors = await running.communicate()
    assert running.returncode == 0, errors.decode()[-2000:]
    return [json.loads(line) for line in output.splitlines()]
