"""How fast a check decides history again: events a second of CPU of one process, on Apache Kafka.

The load is that of ``benchmarks/order_lane.py``; a real order lane makes the history first. Beside it stands one decision in the
same run, because machines are noisy and only ratios mean anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import decision
from benchmarks.order_lane import PARTITIONS, fill, make_topics, process
from benchmarks.setting_up import some_kafka
from orderflow.replay.check import check, quiet, tasks_of
from orderflow.settings import load_settings


async def history(bootstrap: str, prefix: str, orders: int) -> int:
    """Let a lane work; returns the number of events."""
    await make_topics(bootstrap, prefix)
    total = await fill(bootstrap, prefix, orders)
    running = await process("lane", bootstrap, prefix, total, None)
    assert running.stdout is not None
    print("lane:", json.loads(await running.stdout.readline()))
    await running.wait()
    return total


def measure(bootstrap: str, prefix: str, total: int) -> None:
    """Check all partitions in this process."""
    from orderflow.collector import settle_collector

    settings = load_settings(kafka_bootstrap=bootstrap, topic_prefix=prefix)
    tasks = asyncio.run(tasks_of(settings, since=0))
    quiet()
    settle_collector()
    before = sum(decision.measure(passes=3))
    wall, cpu = time.perf_counter(), time.process_time()
    found = check(settings, tasks, processes=1)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert found.differ == 0, found.differences[:1]
    assert found.events == total
    one = (before + sum(decision.measure(passes=3))) / 2
    print(
        f"check: {total:,} events on {PARTITIONS} partitions, {total / cpu:,.0f} a second of CPU "
        f"({cpu / total * 1e6:.1f} us an event), {total / wall:,.0f} a second of wall time; "
        f"decoding and deciding alone take {one:.1f} us, {one / cpu * total / 1e4:.0f}% of that"
    )


def main() -> None:
    """Starts a Kafka of its own unless KAFKA_BOOTSTRAP names one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=20_000)
    given = parser.parse_args()
    prefix = f"bench-{uuid.uuid4().hex[:8]}."
    with some_kafka() as bootstrap:
        total = asyncio.run(history(bootstrap, prefix, given.orders))
        measure(bootstrap, prefix, total)


if __name__ == "__main__":
    main()
