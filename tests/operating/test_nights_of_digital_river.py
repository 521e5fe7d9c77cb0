"""How-to pages about Digital River played, on Apache Kafka with the whole stack."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from producers.topics import Topic
from tests.chaos.load import make_load
from tests.chaos.stack import stack
from tests.operating.test_nights import play

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(180)]

SECONDS = 60.0


async def test_the_night_of_a_lost_webhook_is_played(apache_kafka: str, prefix: str, tmp_path: Path) -> None:
    """An order whose capture is never reported is complete after the page's refresh, whose change names the operator."""
    load = make_load(1)
    (order,) = load.ends
    async with stack(apache_kafka, prefix, tmp_path) as running:
        await running.start()
        await running.send([*load.skus, *load.buying])
        await running.until({order: "submitted"}, SECONDS)
        await running.ask("POST", "/_admin/faults", {"lose_webhooks": 1.0})
        await running.send(load.shipping)
        await running.until({order: "fulfilled"}, SECONDS)
        await asyncio.sleep(1.0)  # the capture is done by now, and its webhook is lost
        explained, _, _, history = await play(apache_kafka, prefix, "a-webhook-was-lost.md", order=order)
        await running.until({order: "complete"}, SECONDS)
        changes = [json.loads(value)["data"] for _, value in await running.read(Topic.ORDER_STATE_CHANGES)]
        assert await running.faults(load) == []
    assert "Digital River" in explained or "digital_river" in explained
    assert "refresh" in history
    assert [one["reason"] for one in changes if one.get("actor")] == ["no capture since Monday"]


async def test_the_night_of_an_outage_is_played(apache_kafka: str, prefix: str, tmp_path: Path) -> None:
    """What came while Digital River was away is carried out once, without a person."""
    load = make_load(6, cancels=False)
    async with stack(apache_kafka, prefix, tmp_path) as running:
        await running.start()
        await running.send(load.skus)
        await asyncio.sleep(1.0)
        await running.ask("POST", "/_admin/faults", {"down": True})
        await running.send([*load.buying, *load.shipping])
        await asyncio.sleep(5.0)
        playing = asyncio.create_task(play(apache_kafka, prefix, "digital-river-was-down.md"))
        await asyncio.sleep(2.0)
        await running.ask("POST", "/_admin/faults", {"down": False})
        lanes, *_ = await playing
        await running.until(load.ends, SECONDS)
        assert await running.faults(load) == []
    assert "commands" in lanes
