"""The sizes that replays are made for: 100,000 events checked with changed tables, 100,000 orders rebuilt under kills."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import Sequence
from contextlib import suppress

import pytest

from benchmarks.order_lane import PARTITIONS, fill, make_topics, process
from orderflow.embedded_kafka import EmbeddedKafka
from tests.replay.apart import happenings, traces
from tests.replay.shop import POLICY, lived, replayed, settings_of, shop
from tests.unit.statemachine.mutants import applied, mutants

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
        sound, noticed = traces(told, POLICY), 0
        every = mutants()
        for mutant in random.Random(8).sample(every, len(every)):
            if noticed == 20:
                break
            with applied(mutant):
                changed = traces(told, POLICY)
                expected = {name for name, trace in changed.items() if trace != sound[name]}
                if not expected:
                    continue
                found = await replayed(settings)
            assert {one.order_id for one in found.differences} == expected, mutant.name
            assert found.left_out == {}
            noticed += 1
    assert noticed == 20


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
