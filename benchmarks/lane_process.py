"""One measured process: the order lane, or the bare loop beside it. Prints a JSON line when it has done all records.

Measured from the first record that it sees to the commit of the last one: records a second and CPU time of this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.setting_up import begin_measured, lane_context
from benchmarks.workload import EVENTS_PER_ORDER, OneOrder, Written
from consumers.orders.lane import make_order_lane
from consumers.ownership.options import LaneOptions
from consumers.ownership.partition import OwnedPartition
from consumers.tracing import Tracing
from producers.topics import Lane
from producers.transaction import BATCH_BYTES
from statemachine.order.policy import Policy

if TYPE_CHECKING:
    from orderflow.worker import Worker

#: Takes bootstrap, prefix, partitions and the number of records.
Run = Callable[[str, str, int, int], Coroutine[Any, Any, None]]


class Meter:
    """Wall and CPU time from the first record to the last."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._started: tuple[float, float] | None = None

    def see(self, done: int) -> bool:
        """Take a sample; True, and the result is printed, when all records are done."""
        if done and self._started is None:
            self._started = (time.perf_counter(), cpu_seconds())
        if done < self._total or self._started is None:
            return False
        wall, cpu = time.perf_counter() - self._started[0], cpu_seconds() - self._started[1]
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({"records": done, "seconds": wall, "cpu_seconds": cpu, "rss_mb": rss}), flush=True)
        return True


def cpu_seconds() -> float:
    """CPU time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def run_traced(bootstrap: str, prefix: str, partitions: int, total: int) -> None:
    """The same with traces: ``BENCH_SAMPLE`` of the orders, to the collector at ``BENCH_COLLECTOR``."""
    from orderflow.telemetry.tracing import open_tracing

    endpoint, sample = os.environ["BENCH_COLLECTOR"], float(os.environ["BENCH_SAMPLE"])
    async with open_tracing(endpoint, sampled_share=sample, service="bench", version="0", instance="bench") as tracing:
        await run_lane(bootstrap, prefix, partitions, total, tracing=tracing)


async def run_scraped(bootstrap: str, prefix: str, partitions: int, total: int) -> None:
    """The same with the metrics of a worker, served and scraped every 5 s: Prometheus does so every 15 s."""
    from orderflow.monitoring.monitor import monitored
    from orderflow.process.health import serve_health
    from orderflow.settings import load_settings
    from orderflow.worker import Worker

    worker = Worker("bench")
    settings = load_settings(kafka_bootstrap=bootstrap, topic_prefix=prefix)

    async def scrape(port: int) -> None:
        async with aiohttp.ClientSession() as http:
            while True:
                async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
                    assert b"orderflow_" in await answer.read()
                await asyncio.sleep(5)

    async with monitored(worker, settings) as metrics:
        pages = (worker.problems, worker.paused, worker.page)
        async with serve_health(0, *pages, metrics.text, host="127.0.0.1") as port:
            scraping = asyncio.create_task(scrape(port))
            await run_lane(bootstrap, prefix, partitions, total, worker=worker)
            scraping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await scraping


async def run_lane(
    bootstrap: str,
    prefix: str,
    partitions: int,
    total: int,
    *,
    tracing: Tracing | None = None,
    worker: Worker | None = None,
) -> None:
    """The order lane as a worker runs it; ``worker``: whose lane it is, for metrics."""
    context = lane_context(bootstrap, prefix, partitions, lane_options=LaneOptions(), tracing=tracing)
    lane = make_order_lane(context, policy=Policy())
    if worker is not None:
        worker.lanes[Lane.ORDERS] = lane
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    meter = Meter(total)

    async def watch() -> None:
        while True:
            owned = [part for part in lane.partitions.values() if isinstance(part, OwnedPartition)]
            if meter.see(sum(part.counters.records for part in owned)):
                stop.set()
                return
            await asyncio.sleep(0.01)

    print(json.dumps({"ready": True}), flush=True)
    watching = asyncio.create_task(watch())
    await lane.run(stop)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


def _templates() -> list[Written]:
    """What is written, by event of an order, for enough orders that compression finds no more than in a real run."""
    found: list[Written] = []
    for number in range(200):
        order = OneOrder(number)
        found.extend(order.next_event()[1] for _ in range(EVENTS_PER_ORDER))
    return found


async def run_bare(bootstrap: str, prefix: str, partitions: int, total: int) -> None:
    """The same records in and out, in transactions of the same kind, without a machine, decoding or state."""
    templates = _templates()
    inbox = [TopicPartition(f"{prefix}orderflow.inbox", number) for number in range(partitions)]
    group = f"{prefix}bare"
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=1_200_000,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=f"{group}-{uuid.uuid4().hex}",
        compression_type="lz4",
        max_batch_size=BATCH_BYTES,
    )
    await producer.start()
    await consumer.start()
    consumer.assign(inbox)
    print(json.dumps({"ready": True}), flush=True)
    meter, done, at = Meter(total), 0, 0
    while True:
        fetched = await consumer.getmany(timeout_ms=50, max_records=1000)
        if not fetched:
            continue
        meter.see(done + 1)
        await producer.begin_transaction()
        futures, offsets, stamp = [], {}, int(time.time() * 1000)
        for tp, records in fetched.items():
            batches: dict[str, list[tuple[bytes, bytes]]] = {"orders": [], "order-state-changes": [], "dr-commands": []}
            index: list[tuple[bytes, bytes]] = []
            for record in records:
                written = templates[at % len(templates)]
                at += 1
                batches["orders"].append((record.key, written.snapshot))
                batches["order-state-changes"].extend((record.key, value) for value in written.changes)
                batches["dr-commands"].extend((record.key, value) for value in written.commands)
                index.extend(written.index)
            batches["orderflow.index"] = index
            for topic, outgoing in batches.items():
                batch = producer.create_batch()
                for key, value in outgoing:
                    if batch.append(timestamp=stamp, key=key, value=value) is None:
                        futures.append(await producer.send_batch(batch, prefix + topic, partition=tp.partition))
                        batch = producer.create_batch()
                        batch.append(timestamp=stamp, key=key, value=value)
                if batch.record_count():
                    futures.append(await producer.send_batch(batch, prefix + topic, partition=tp.partition))
            offsets[tp] = records[-1].offset + 1
            done += len(records)
        await asyncio.gather(*futures)
        await producer.send_offsets_to_transaction(offsets, group)
        await producer.commit_transaction()
        if meter.see(done):
            break
    await consumer.stop()
    await producer.stop()


def main() -> None:
    """``lane|traced|scraped|bare BOOTSTRAP PREFIX PARTITIONS TOTAL [CPU]``."""
    kind, bootstrap, prefix, partitions, total, *cpu = sys.argv[1:]
    begin_measured(int(cpu[0]) if cpu else None)
    runs: dict[str, Run] = {"lane": run_lane, "traced": run_traced, "scraped": run_scraped, "bare": run_bare}
    run = runs[kind]
    if os.environ.get("BENCH_PROFILE"):
        import cProfile
        import pstats

        with cProfile.Profile() as profile:
            asyncio.run(run(bootstrap, prefix, int(partitions), int(total)))
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(45)
    else:
        asyncio.run(run(bootstrap, prefix, int(partitions), int(total)))


if __name__ == "__main__":
    main()
