"""Metrics do not grow with orders, nor with what others write."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from aiokafka import ConsumerRecord

from benchmarks.workload import EVENTS_PER_ORDER, generate
from consumers.measures import OTHER, TYPES_MAX, Histogram, LaneMeasures
from consumers.orders.census import Census
from consumers.orders.fuse import Fuse
from consumers.orders.logic import OrderLogic
from consumers.ownership.logic import Batch
from consumers.ownership.store import DictStore, Overlay
from orderflow.monitoring.census import Counted
from orderflow.monitoring.worker_metrics import TYPES, WorkerMetrics
from orderflow.telemetry.exposition import Exposition
from orderflow.telemetry.metric import Process
from orderflow.worker import Worker
from producers.outbox import Outbox
from producers.packing.sizes import Room
from producers.topics import Lane, Topic
from statemachine.order.policy import Policy
from tests.telemetry.world import Scrape

NOW = datetime(2031, 3, 4, 10, 11, 12, tzinfo=UTC)
COUNTS = {topic.value: 1 for topic in Topic}


class PaperLane:
    """The order lane without Kafka, and the metrics of a worker that has nothing else."""

    def __init__(self) -> None:
        self.measures = LaneMeasures()
        self._store = DictStore()
        self._logic = OrderLogic(
            0, partitions=1, prefix="", policy=Policy(), fuse=Fuse(records_min=0), room=Room(), measures=self.measures
        )
        self._offset = 0

    async def work(self, *written: tuple[bytes, bytes], commits: bool = True) -> None:
        """One transaction about these keys and values of the inbox."""
        records = []
        for key, value in written:
            self._offset += 1
            records.append(
                ConsumerRecord("orderflow.inbox", 0, self._offset, 0, 0, key, value, None, 3, len(value), ())
            )
        outbox, overlay = Outbox(COUNTS, home=0, home_count=1), Overlay(self._store)
        await self._logic.step(Batch(records, None, NOW), overlay, outbox)
        if commits:
            self._store.apply(overlay.changes)
            self._logic.committed(overlay.changes)

    def scrape(self) -> Scrape:
        """The metrics of now."""
        member = SimpleNamespace(
            measures=self.measures, partitions={}, owned=frozenset(), rebalances=0, problem=None, starting=None
        )
        census = Census()
        for _key, snapshot in list(self._store.items()):
            census.take(snapshot, Policy(), NOW)
        worker = Worker("w", {Lane.ORDERS: cast("Any", member)})
        counts = SimpleNamespace(counted=lambda: [Counted(census, 0.0)])
        collector = WorkerMetrics(worker, Histogram((1.0,)), cast("Any", None), cast("Any", counts), clock=lambda: NOW)
        return Scrape(Exposition(Process.WORKER, collector.collect).text().decode())


async def test_series_do_not_grow_with_orders() -> None:
    """Law: after some orders have gone all ways, many more of them make no further series; they are all counted."""
    lane, orders, first = PaperLane(), 600, set[object]()
    batch: list[tuple[bytes, bytes]] = []
    for number, (key, value, _) in enumerate(generate(orders), 1):
        batch.append((key, value))
        if number % 300 == 0:
            await lane.work(*batch)
            batch.clear()
        if number == orders * EVENTS_PER_ORDER // 2:
            first = set(lane.scrape().series())
    last = lane.scrape()
    assert last.sum("orderflow_events_total", verdict="moved") == orders * EVENTS_PER_ORDER
    assert last.sum("orderflow_orders") == orders
    assert set(last.series()) <= first  # states that no order waits in any more have no oldest one
    assert len(first) < 400


def _event(kind: str, key: str) -> tuple[bytes, bytes]:
    value = (
        f'{{"specversion":"1.0","id":"{uuid.uuid4()}","source":"/digitalriver","type":"{kind}","subject":"{key}",'
        f'"data":{{"type":"{kind.removeprefix("digitalriver.")}"}}}}'
    )
    return key.encode(), value.encode()


async def test_types_from_outside_make_no_series() -> None:
    """Law: who writes any number of types into the inbox makes one series, and takes no memory for each."""
    lane = PaperLane()
    for first in range(0, 2 * TYPES_MAX, 64):
        await lane.work(*[_event(f"digitalriver.made.up.{first + one}", f"A-{first + one}") for one in range(64)])
    found = lane.scrape()
    assert found.sum("orderflow_events_total", type=OTHER) == 2 * TYPES_MAX
    assert {dict(own)["type"] for name, own in found.series() if name == "orderflow_events_total"} == {OTHER}
    assert len(lane.measures.events) <= TYPES_MAX + 6


async def test_a_batch_that_is_dropped_is_not_counted() -> None:
    """Law: what was not committed did not happen; the batch is counted when it is worked again."""
    lane, written = PaperLane(), [(key, value) for key, value, _ in generate(3)]
    await lane.work(*written, commits=False)
    assert lane.scrape().sum("orderflow_events_total") == 0
    await lane.work(*written)
    assert lane.scrape().sum("orderflow_events_total") == len(written)


def test_the_types_that_are_shown_are_few() -> None:
    """Law: the list bounds them, as the page says."""
    assert len(TYPES) < 150
    assert {
        "checkout.requested",
        "digitalriver.order.accepted",
        "digitalriver.order_placed",
        "orderflow.deadline",
    } <= TYPES
