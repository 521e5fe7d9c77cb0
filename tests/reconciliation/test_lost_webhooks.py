"""With every webhook lost, orders still end right: by looks, and for what only an event tells by feeding the events again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import aiohttp
import pytest

from orderflow.demonstration.environment import DemoEnvironment, demo_environment
from orderflow.demonstration.scenario import Scenario, available, load
from orderflow.demonstration.scenario_runner import run_all, start_runner
from orderflow.providers import load_provider, recent_of
from orderflow.reconciliation.backfill import Missed, feed, find_missed
from orderflow.simulator.webhooks import CORE_TYPES
from producers.publisher import Publisher
from producers.topics import Topic
from tests.lanes.kafka import read_all

SCENARIOS: Final = {path.stem: load(path) for path in available()}

#: What a look finds out.
LOOKED_AT: Final = (
    ("card", "wire-paid", "refund-part", "refund-whole", "return-whole", "cancel-submitted", "cancel-in-review"),
    ("review-blocked", "review-passed", "dispute-during-fulfilment", "capture-failed", "void-failed", "refund-failed"),
    ("wire-unpaid", "konbini-paid", "two-parcels", "return-in-part", "warehouse-cancels-all", "shipped-early"),
)
#: What only an event tells: a dispute of an order that waits for nothing, a chargeback, a renewed authorisation that was refused.
TOLD: Final = ("chargeback-in-part", "dispute-lost", "dispute-won", "reauth-failed")


@asynccontextmanager
async def environment(*, looks: bool = False, events: bool = False) -> AsyncIterator[DemoEnvironment]:
    """A worker and a simulator whose webhooks are all lost."""
    settings = {"reconcile_first_wait": "1s", "reconcile_longest_wait": "3s"} if looks else {}
    settings |= {"events_backfill_wait": "500ms" if events else "0"}
    async with demo_environment(delay_seconds=0.3, settings=settings) as place:
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{place.simulator_url}/_admin/faults", json={"lose_webhooks": 1.0}) as answer,
        ):
            assert answer.status == 200
        yield place


def chosen(names: tuple[str, ...]) -> list[Scenario]:
    """The scenarios of these names."""
    return [SCENARIOS[name] for name in names]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("names", LOOKED_AT)
async def test_without_any_webhook_orders_end_right(names: tuple[str, ...]) -> None:
    """State, money, units, documents and the books at Digital River are those of the same story with all webhooks."""
    async with environment(looks=True) as place, start_runner(place) as runner:
        assert await run_all(runner, chosen(names)) == []


async def missed(place: DemoEnvironment) -> Missed:
    """Digital River's events that did not come."""
    since = datetime.now(UTC) - timedelta(hours=1)
    async with load_provider(place.settings) as provider:
        recent = recent_of(provider, per_second=0)
        assert recent is not None
        events = recent.events(since)
        return await find_missed(place.settings.connection(), "", events, since)


async def feed_for_ever(place: DemoEnvironment) -> None:
    """Feed what was missed, as an operator's timer does."""
    async with Publisher(place.settings.connection()) as publisher:
        while True:
            for event in (await missed(place)).events:
                await feed(publisher, "", place.settings.signing_tokens, event)
            await asyncio.sleep(0.3)


@pytest.mark.timeout(60)
async def test_what_only_an_event_tells_comes_by_feeding_events_again() -> None:
    """Each event once: what was fed is known the next time."""
    async with environment() as place, start_runner(place) as runner:
        feeding = asyncio.create_task(feed_for_ever(place))
        assert await run_all(runner, chosen(TOLD)) == []
        feeding.cancel()
        left = await missed(place)
        assert (left.events, left.known > 0) == ((), True)


@pytest.mark.timeout(60)
async def test_what_only_an_event_tells_is_found_in_the_list_of_events_by_the_worker_itself() -> None:
    """Without any webhook and without a person; what has come or was fed is not fed again."""
    async with environment(events=True) as place, start_runner(place) as runner:
        assert await run_all(runner, chosen(TOLD)) == []
        await asyncio.sleep(1.0)
        events = await read_all(place.settings.kafka_bootstrap, Topic.DR_WEBHOOKS.value)
    ids = [json.loads(record.value)["id"] for record in events]
    assert len(ids) == len(set(ids)) > 0
    assert {json.loads(record.value)["type"] for record in events} <= CORE_TYPES, "others are not subscribed to"
