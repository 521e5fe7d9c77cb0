"""One story that moves every metric of a worker, with its metrics at each moment. Played once for all tests of a module."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from consumers.measures import Histogram
from consumers.orders import logic
from consumers.pauses.scopes import Scope
from orderflow.digitalriver.signature import SIGNATURE_HEADER, sign
from orderflow.monitoring.census import OrderCensus
from orderflow.monitoring.lag_watch import LagWatch
from orderflow.monitoring.worker_metrics import WorkerMetrics
from orderflow.operations.pausing import read_operations, write_act
from orderflow.telemetry.event_loop import BOUNDS
from orderflow.telemetry.exposition import Exposition
from orderflow.telemetry.metric import Process
from producers.partitioner import partition_of
from producers.topics import Lane, group_id
from producers.transaction import TransactionalProducer
from statemachine.decide import decide
from statemachine.messages.events import Event
from statemachine.order.decision import Decision
from statemachine.order.order import Order
from statemachine.order.policy import Policy
from tests.eventually import eventually
from tests.telemetry.world import PARTITIONS, Scrape, World, running, world


@dataclass
class Story:
    """The scrapes of the worker by moment, and the last ones of relay and simulator."""

    at: dict[str, Scrape]
    #: Before and after webhooks that are none.
    relay_before: Scrape
    relay: Scrape
    simulator: Scrape


async def play() -> Story:
    """Play it."""
    async with world(checkout_ready_wait=timedelta(seconds=1.5)) as one:
        await one.note("start")
        await _orders(one)
        await _pause(one)
        await _digital_river_fails(one)
        await _planted(one)
        await _fence(one)
        await _second_worker(one)
        await _nonsense(one)
        await _our_own_fault(one)
        relay = await one.scrape("relay")
        await _post_nonsense(one)
        return Story(one.scrapes, relay, await one.scrape("relay"), await one.scrape("simulator"))


async def _orders(one: World) -> None:
    """Orders on their usual ways, and records of all kinds that are wrong."""
    await one.event("sku.upserted", "trigger-mug")
    await one.event("order.placed", "early")  # waits for its cart, for ever
    await one.until("orderflow_skus_total", result="known")
    for key, method in (("good", "card"), ("declined", "card_declined")):
        await one.event("checkout.requested", key)
        await one.event("checkout.source_provided", key, method=method)
        await one.event("order.placed", key)
    await one.event("checkout.requested", "open")
    await one.event("checkout.requested", "ready")  # never placed: its deadline fires
    await one.event("checkout.source_provided", "ready")
    await one.until("orderflow_transitions_total", to="submitted")
    await one.event("fulfillment.shipped", "good")
    await one.send("order-events", "good", "not json")
    await one.send("dr-webhooks", "x", '{"unsigned": true}')
    await one.until("orderflow_transitions_total", to="complete")
    await one.until("orderflow_transitions_total", to="declined")
    await one.event("checkout.requested", "kept")
    await one.send("orderflow.inbox", "kept", _held("kept"))
    await one.until("orderflow_orders_held")
    await one.until("orderflow_orders", state="complete")
    await one.until("orderflow_dead_letters_total", lane="webhooks")
    await one.until("orderflow_deadlines_fired_total")
    await one.note("orders")


def _held(key: str) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": "hold-1",
        "source": "/test",
        "type": "operator.held",
        "subject": key,
        "data": {"actor": "ann", "reason": "a test"},
    }


async def _pause(one: World) -> None:
    """An operator pauses the order lane, and events wait."""
    scope = Scope(Lane.ORDERS)
    known = await read_operations(one.settings)
    await write_act(one.settings, "pause", scope, "a test", known)
    await one.until("orderflow_paused")
    for _ in range(3):
        await one.event("checkout.updated", "open")
    look = _watch(one)
    await look.look()
    one.scrapes["paused"] = _collect(one, lags=look)
    await write_act(one.settings, "resume", scope, "a test", known)
    await one.gone("orderflow_paused")
    await one.until("orderflow_events_total", 3, type="checkout.updated")

    async def nothing_behind() -> bool:
        await look.look()
        one.scrapes["resumed"] = _collect(one, lags=look)
        return one.scrapes["resumed"].sum("orderflow_lag_records") == 0

    await eventually(nothing_behind, 60.0)


def _watch(one: World) -> LagWatch:
    return LagWatch(one.settings.connection(), one.settings.topic_prefix, one.worker.lanes)


def _collect(one: World, *, lags: LagWatch | None = None, census: OrderCensus | None = None) -> Scrape:
    """The metrics of the worker, collected with watches of the test's own."""
    none = OrderCensus(dict, one.settings.policy())
    collector = WorkerMetrics(one.worker, Histogram(BOUNDS), lags or _watch(one), census or none)
    return Scrape(Exposition(Process.WORKER, collector.collect).text().decode())


async def _digital_river_fails(one: World) -> None:
    """Too many requests, then a time without any answer, then a command that is never answered."""
    await one.faults(too_many_requests=1.0)
    await one.event("checkout.requested", "throttled")
    await one.until("orderflow_throttled_total", lane="commands")
    await one.faults(down=True)
    for number in range(8):
        await one.event("checkout.requested", f"away-{number}")
    await one.until("orderflow_breaker_open", lane="commands")
    await one.note("away")
    await one.faults()
    await one.gone("orderflow_breaker_open")
    await one.note("back")


async def _planted(one: World) -> None:
    """What takes days, or an accident: looked at a month later, and set by hand."""

    def owned() -> dict[int, object]:
        member = one.worker.lanes[Lane.ORDERS]
        return {number: member.partitions[number] for number in member.owned}

    later = OrderCensus(owned, one.settings.policy(), clock=lambda: datetime.now(UTC) + timedelta(days=60))  # type: ignore[arg-type]
    await later.count_all()
    one.scrapes["later"] = _collect(one, census=later)
    partition = one.worker.lanes[Lane.CATALOGUE].partitions[0]
    partition.restored = (1, 4)
    one.scrapes["restoring"] = _collect(one)
    partition.restored = None
    partition.lost_offset("planted")
    await one.until("orderflow_partition_problem", lane="catalogue")
    await one.note("stopped")


async def _fence(one: World) -> None:
    """Somebody initialises the producer of a partition, which has to take over again."""
    number = partition_of(b"open", PARTITIONS)
    group = group_id(one.settings.topic_prefix, Lane.ORDERS)
    thief = TransactionalProducer(one.settings.connection(), group=group, partition=number, topics=())
    await thief.start()
    await thief.close()
    await one.event("checkout.updated", "open")
    await one.until("orderflow_partition_failures_total", lane="orders")
    await one.until("orderflow_takeovers_total", 3, lane="orders")
    await one.until("orderflow_partitions", 2, lane="orders", state="running")
    await one.note("fenced")


async def _second_worker(one: World) -> None:
    """Another worker comes for the order lane, and goes: what it had goes with it, and comes back."""
    other = one.settings.model_copy(update={"health_port": 0})
    async with running(other, (Lane.ORDERS,)):
        await one.note("shared")
    await one.until("orderflow_partitions", 2, lane="orders", state="running")
    await one.note("alone")


async def _nonsense(one: World) -> None:
    """A sender is deployed that sends what nobody can use."""
    before = one.scrapes["alone"].sum("orderflow_dead_letters_total", lane="orders")
    for number in range(25):
        await one.send(
            "checkout-events", f"bad-{number}", {"specversion": "1.0", "id": "1", "source": "/s", "type": "x"}
        )
    await one.until("orderflow_dead_letters_total", before + 25, lane="orders")
    await one.note("nonsense")


async def _our_own_fault(one: World) -> None:
    """A release decides about one event by raising."""

    def faulty(order: Order | None, event: Event, *, now: datetime, policy: Policy) -> Decision:
        if event.order_id == "faulty":
            raise ValueError
        return decide(order, event, now=now, policy=policy)

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(logic, "decide", faulty)
        await one.event("checkout.requested", "faulty")
        await one.until("orderflow_dead_letters_total", lane="orders", reason="failed")
    await one.note("faulty")


async def _post_nonsense(one: World) -> None:
    """Webhooks with a wrong signature, without any, and too large."""
    for _ in range(8):
        signed = {SIGNATURE_HEADER: sign("whsec_other", str(int(time.time())), b"{}")}
        async with one.session.post(f"{one.relay_url}/webhooks", data=b"{}", headers=signed) as answer:
            assert answer.status == 400
    for body in (io.BytesIO(b"x"), io.BytesIO(b"y" * 2_000_000)):
        async with one.session.post(f"{one.relay_url}/webhooks", data=body) as answer:
            assert answer.status in {400, 413}
