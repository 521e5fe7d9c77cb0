"""``python -m benchmarks.order_lane``: the order lane on Apache Kafka, beside a bare aiokafka loop in the same run.

Prints transitions a second, CPU per event and, for an open loop at a fixed rate, latency from the producer's clock to a
read_committed reader. Machines are noisy: only ratios from one run mean anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.setting_up import measured_core, some_kafka
from benchmarks.workload import CHANGES_PER_ORDER, EVENTS_PER_ORDER, OneOrder, generate
from producers.partitioner import partition_of
from producers.topics import TOPICS, prefixed

PARTITIONS = 8
PROCESS = Path(__file__).with_name("lane_process.py")


async def make_topics(bootstrap: str, prefix: str) -> None:
    """All topics of the contract under a prefix of their own."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics(
        [
            NewTopic(prefixed(prefix, topic), PARTITIONS, 1, topic_configs=spec.configs())
            for topic, spec in TOPICS.items()
        ]
    )
    await admin.close()


async def fill(bootstrap: str, prefix: str, orders: int) -> int:
    """Write the load into the inbox before anything is measured; returns the number of records."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type="lz4", acks="all", max_batch_size=256 * 1024
    )
    await producer.start()
    batches = [producer.create_batch() for _ in range(PARTITIONS)]
    count = 0
    for key, value, _ in generate(orders):
        number = partition_of(key, PARTITIONS)
        stamp = int(time.time() * 1000)
        if batches[number].append(timestamp=stamp, key=key, value=value) is None:
            await (await producer.send_batch(batches[number], prefixed(prefix, "orderflow.inbox"), partition=number))
            batches[number] = producer.create_batch()
            batches[number].append(timestamp=stamp, key=key, value=value)
        count += 1
    for number, batch in enumerate(batches):
        if batch.record_count():
            await (await producer.send_batch(batch, prefixed(prefix, "orderflow.inbox"), partition=number))
    await producer.stop()
    return count


async def process(kind: str, bootstrap: str, prefix: str, total: int, cpu: int | None) -> asyncio.subprocess.Process:
    """Start a measured process and wait until it is ready."""
    arguments = [kind, bootstrap, prefix, str(PARTITIONS), str(total), *([] if cpu is None else [str(cpu)])]
    started = await asyncio.create_subprocess_exec(
        sys.executable, str(PROCESS), *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert started.stdout is not None
    await started.stdout.readline()
    return started


async def saturated(kind: str, bootstrap: str, orders: int, cpu: int | None) -> dict[str, float]:
    """All records are there already: how fast are they done?"""
    prefix = f"bench-{uuid.uuid4().hex[:8]}."
    await make_topics(bootstrap, prefix)
    total = await fill(bootstrap, prefix, orders)
    running = await process(kind, bootstrap, prefix, total, cpu)
    assert running.stdout is not None
    result: dict[str, float] = json.loads(await running.stdout.readline())
    await running.wait()
    return result


async def _at_once(
    bootstrap: str, orders: int, cpu: int | None, kinds: Sequence[tuple[str, str]]
) -> list[tuple[str, str, dict[str, float]]]:
    """The same work for each kind, on topics of its own: kind, name and figures."""
    prefixes = [f"bench-{uuid.uuid4().hex[:8]}." for _ in kinds]
    for prefix in prefixes:
        await make_topics(bootstrap, prefix)
    totals = [await fill(bootstrap, prefix, orders) for prefix in prefixes]
    running = [
        await process(kind, bootstrap, prefix, total, cpu)
        for (kind, _), prefix, total in zip(kinds, prefixes, totals, strict=True)
    ]
    found = []
    for (kind, name), one in zip(kinds, running, strict=True):
        assert one.stdout is not None
        found.append((kind, name, json.loads(await one.stdout.readline())))
        await one.wait()
    return found


async def paced(bootstrap: str, rate: int, seconds: float, cpu: int | None) -> list[float]:
    """Latency in ms of events with news, at ``rate`` events a second, from the send to a read_committed reader of the change."""
    prefix = f"bench-{uuid.uuid4().hex[:8]}."
    await make_topics(bootstrap, prefix)
    total = int(rate * seconds) // EVENTS_PER_ORDER * EVENTS_PER_ORDER
    running = await process("lane", bootstrap, prefix, total, cpu)
    changes = prefixed(prefix, "order-state-changes")
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", group_id=None, auto_offset_reset="earliest"
    )
    await consumer.start()
    consumer.assign([TopicPartition(changes, number) for number in range(PARTITIONS)])
    await asyncio.sleep(3)
    sending = asyncio.create_task(_send_paced(bootstrap, prefix, rate, total))
    latencies: list[float] = []
    while len(latencies) < total // EVENTS_PER_ORDER * CHANGES_PER_ORDER:
        for records in (await consumer.getmany(timeout_ms=100)).values():
            now = time.time()
            for record in records:
                sent = float(json.loads(record.value)["data"]["cause"]["id"].partition("@")[2])
                latencies.append((now - sent) * 1000)
    await sending
    await running.wait()
    await consumer.stop()
    return latencies[total // 5 :]  # the first fifth warms up


async def _send_paced(bootstrap: str, prefix: str, rate: int, total: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="lz4", acks="all", linger_ms=2)
    await producer.start()
    open_orders: list[OneOrder] = []
    begin, number = time.perf_counter(), 0
    for sent in range(total):
        if len(open_orders) < 200 and number < total // EVENTS_PER_ORDER:
            open_orders.append(OneOrder(number))
            number += 1
        at = sent * 7919 % len(open_orders)
        order = open_orders[at]
        ahead = begin + sent / rate - time.perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
        value, _ = order.next_event(event_id=f"{order.order_id}-{order.step}@{time.time()}")
        key = order.order_id.encode()
        await producer.send(prefixed(prefix, "orderflow.inbox"), value, key, partition_of(key, PARTITIONS))
        if order.step == EVENTS_PER_ORDER:
            open_orders[at] = open_orders[-1]
            open_orders.pop()
    await producer.stop()


def _say(name: str, result: dict[str, float]) -> float:
    rate = result["records"] / result["seconds"]
    cpu = result["cpu_seconds"] / result["records"] * 1e6
    print(f"{name:<28} {rate:>10,.0f}/s  {cpu:>7.1f} us CPU/event  {result['rss_mb']:>5.0f} MB")
    return rate


async def run(bootstrap: str, orders: int, rounds: int, rate: int, seconds: float) -> None:
    """Interleave the two, print each, their medians' ratio, then the latency."""
    cpu = measured_core()
    rates: dict[str, list[float]] = {"lane": [], "bare": []}
    for _ in range(rounds):
        for kind, name in (("bare", "bare aiokafka loop"), ("lane", "order lane, exactly once")):
            rates[kind].append(_say(name, await saturated(kind, bootstrap, orders, cpu)))
    ratio = statistics.median(rates["lane"]) / statistics.median(rates["bare"])
    print(f"order lane / bare loop: {ratio:.2f} (medians of {rounds})")
    latencies = sorted(await paced(bootstrap, rate, seconds, cpu))
    p50, p99 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.99))
    print(f"latency at {rate:,} events/s: p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {latencies[-1]:.0f} ms")


@asynccontextmanager
async def _collector() -> AsyncIterator[tuple[str, list[int]]]:
    """A collector of traces that throws them away: its address, and the bytes that came."""
    taken: list[int] = []

    async def take(request: web.Request) -> web.Response:
        taken.append(len(await request.read()))
        return web.Response()

    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", taken
    await runner.cleanup()


async def compare_traces(bootstrap: str, orders: int, rounds: int, sample: float) -> None:
    """The order lane without and with traces."""
    async with _collector() as (url, taken):
        os.environ |= {"BENCH_COLLECTOR": url, "BENCH_SAMPLE": str(sample)}
        await compare(bootstrap, orders, rounds, "traced", f"{sample:.0%} sampled")
    print(f"traces: {len(taken)} requests, {sum(taken):,} bytes")


async def compare(bootstrap: str, orders: int, rounds: int, kind: str, name: str) -> None:
    """The order lane without and with something, both at once on one core; what that costs in CPU time.

    At once, because a machine is faster in one second than in the next: so both have the same seconds.
    """
    cpu = measured_core()
    used: dict[str, list[float]] = {"lane": [], kind: []}
    for turn in range(rounds):
        kinds = (("lane", "without"), (kind, name))
        for one, text, result in await _at_once(bootstrap, orders, cpu, kinds if turn % 2 == 0 else kinds[::-1]):
            _say(text, result)
            used[one].append(result["cpu_seconds"] / result["records"] * 1e6)
    ratios = sorted(there / here - 1 for here, there in zip(used["lane"], used[kind], strict=True))
    print(f"CPU/event, {name} beside without: {statistics.median(ratios):+.1%} (median of {rounds} rounds)")
    print(f"round by round {', '.join(f'{ratio:+.1%}' for ratio in ratios)}")


def main() -> None:
    """Command line; starts a Kafka of its own unless KAFKA_BOOTSTRAP names one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument(
        "--traces", type=float, metavar="SHARE", help="only compare without and with traces of SHARE of the orders"
    )
    parser.add_argument(
        "--metrics", action="store_true", help="only compare without and with metrics that are scraped every 5 s"
    )
    given = parser.parse_args()
    with some_kafka() as bootstrap:
        if given.metrics:
            asyncio.run(compare(bootstrap, given.orders, given.rounds, "scraped", "scraped every 5 s"))
        elif given.traces is not None:
            asyncio.run(compare_traces(bootstrap, given.orders, given.rounds, given.traces))
        else:
            asyncio.run(run(bootstrap, given.orders, given.rounds, given.rate, given.seconds))


if __name__ == "__main__":
    main()
