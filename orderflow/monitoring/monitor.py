"""Everything that looks at a worker, put together: it runs while the worker's metrics are served, and not at all else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from consumers.ownership.owner import PartitionOwner
from orderflow.monitoring.census import OrderCensus
from orderflow.monitoring.lag_watch import LagWatch
from orderflow.monitoring.worker_metrics import WorkerMetrics
from orderflow.settings import Settings
from orderflow.telemetry.event_loop import event_loop_lateness
from orderflow.telemetry.exposition import Exposition
from orderflow.telemetry.metric import Process
from orderflow.worker import Worker
from producers.topics import Lane


@asynccontextmanager
async def monitored(worker: Worker, settings: Settings) -> AsyncIterator[Exposition]:
    """Look at ``worker`` while the context lasts; yields its metrics."""

    def owned() -> Mapping[int, PartitionOwner]:
        member = worker.lanes.get(Lane.ORDERS)
        return {} if member is None else {number: member.partitions[number] for number in member.owned}

    census = OrderCensus(owned, settings.policy())
    lags = LagWatch(settings.connection(), settings.topic_prefix, worker.lanes)

    def lag(lane: Lane, number: int) -> tuple[int, bool, float | None] | None:
        found = lags.lag(lane, number)
        return None if found is None else (found.records, found.exact, found.seconds(time.time()))

    worker.lag = lag
    looking = [
        asyncio.create_task(census.run(), name="census of orders"),
        asyncio.create_task(lags.run(), name="lag watch"),
    ]
    try:
        async with event_loop_lateness() as lateness:
            yield Exposition(Process.WORKER, WorkerMetrics(worker, lateness, lags, census).collect)
    finally:
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)
