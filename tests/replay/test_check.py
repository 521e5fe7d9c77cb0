"""A window of history is decided again: the same code decides the same, other code is found in the orders that it touches."""

from __future__ import annotations

import pytest

from orderflow.embedded_kafka import EmbeddedKafka
from producers.topics import Topic
from tests.replay.apart import happenings
from tests.replay.changed_rules import find_twenty_changed_rules
from tests.replay.shop import lived, replayed, settings_of, shop, strays


async def test_the_same_code_decides_the_same_again(prefix: str) -> None:
    """Refused, repeated, parked, misrouted and undecodable records and deadlines included."""
    names = [f"A-{number}" for number in range(24)]
    async with EmbeddedKafka() as kafka:
        async with shop(kafka.bootstrap, prefix) as lane:
            await lane.send(*strays("A-0"))
            await lived(lane, names)
            outputs = await lane.outputs()
        found = await replayed(settings_of(kafka.bootstrap, prefix))
    assert found.differences == []
    assert (found.short, found.gaps, found.left_out) == ([], [], {})
    assert found.orders.whole >= len([one for one in names if one in outputs.orders])
    assert (found.orders.partial, found.orders.unreadable) == (0, 0)
    assert found.changes == found.same == len(outputs.changes)
    assert found.commands == len(outputs.raw[Topic.DR_COMMANDS])
    assert found.other_policy == 0


@pytest.mark.timeout(400)
async def test_a_changed_rule_is_found_in_exactly_the_orders_that_it_touches(prefix: str) -> None:
    """Precision and recall are 1.0 for each of many mutants of the tables; most of them touch some orders and not all."""
    names = [f"A-{number}" for number in range(32)]
    async with EmbeddedKafka() as kafka:
        async with shop(kafka.bootstrap, prefix) as lane:
            await lived(lane, names)
        told = await happenings(kafka.bootstrap, prefix)
        settings = settings_of(kafka.bootstrap, prefix)
        await find_twenty_changed_rules(told, settings, seed=7)
