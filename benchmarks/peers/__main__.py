"""``make bench``: orderflow's order lane beside Kafka Streams, Quix Streams, Faust and a bare loop, on one broker.

Broker, generator and reader run on core 0 and the measured worker on core 1. Rounds are interleaved; machines are noisy, so only
ratios of one run mean anything. Small sizes by default (about ten minutes); ``--full`` takes those of the published figures.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import os
import platform
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import measuring, report
from benchmarks.peers.broker import Broker, connected
from benchmarks.peers.peers import HOME, PEERS, NotRun, Peer
from benchmarks.peers.worker import Failed
from tests.kafka.fixtures import KafkaChoice
from tests.kafka.jars import JarKafka, check_java
from tests.kafka.server import KafkaServer, Unavailable

HARNESS_CORE: Final = 0
WORKER_CORE: Final = 1
#: What is run by default, and with --full.
SMALL: Final = {
    "rounds": 3,
    "orders": 10_000,
    "latency_rounds": 1,
    "seconds": 8,
    "growth_rounds": 1,
    "open": 20_000,
    "later": 3_000,
}
FULL: Final = {
    "rounds": 3,
    "orders": 50_000,
    "latency_rounds": 3,
    "seconds": 30,
    "growth_rounds": 1,
    "open": 500_000,
    "later": 25_000,
}
#: A slow peer gets this part of the orders.
_SLOW_PART: Final = 25
_BROKER_JAVA: Final = ("-Xmx1g", "-Xms1g", "-XX:+UseG1GC")

#: Runs one measurement of a peer.
Run = Callable[[Broker, Peer, list[str], int | None], Coroutine[Any, Any, object]]


def _measurements(sizes: dict[str, int], only: set[str]) -> dict[str, tuple[int, Run]]:
    """By name: how many rounds, and what runs."""

    async def throughput(broker: Broker, peer: Peer, command: list[str], core: int | None) -> object:
        orders = sizes["orders"] // (_SLOW_PART if peer.slow else 1)
        return await measuring.throughput(broker, peer, command, core, orders)

    def latency(rate: int) -> Run:
        async def run(broker: Broker, peer: Peer, command: list[str], core: int | None) -> object:
            return await measuring.latency(broker, peer, command, core, rate, sizes["seconds"])

        return run

    async def growth(broker: Broker, peer: Peer, command: list[str], core: int | None) -> object:
        return await measuring.growth(broker, peer, command, core, sizes["open"], sizes["later"])

    found = {
        "throughput": (sizes["rounds"], throughput),
        "latency_2000": (sizes["latency_rounds"], latency(2000)),
        "latency_200": (sizes["latency_rounds"], latency(200)),
        "growth": (sizes["growth_rounds"], growth),
    }
    return {name: one for name, one in found.items() if not only or name.partition("_")[0] in only}


async def _run(
    bootstrap: str, peers: list[Peer], measurements: dict[str, tuple[int, Run]], core: int | None
) -> dict[str, Any]:
    """All rounds of all measurements; what could not be run, with the reason."""
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    commands, not_run = _prepared(peers)
    failed: dict[str, str] = {}
    async with connected(bootstrap) as broker:
        for name, (rounds, run) in measurements.items():
            for number in range(rounds):
                able = [peer for peer in peers if peer.name in commands and _takes(peer, name, number)]
                turned = able[number % len(able) :] + able[: number % len(able)]
                for peer in turned:
                    print(f"{name}, round {number + 1}, {peer.title}: ", end="", flush=True)
                    try:
                        result = await run(broker, peer, commands[peer.name], core)
                    except (Failed, measuring.Wrong, TimeoutError) as error:
                        reason = f"{type(error).__name__.lower()}: {error}".removesuffix(": ")
                        print(reason, flush=True)
                        failed[peer.name] = f"{name}, {reason}"
                    else:
                        found = dataclasses.asdict(result)  # type: ignore[call-overload]
                        results.setdefault(peer.name, {}).setdefault(name, []).append(found | {"round": number})
                        print(", ".join(f"{key} {value:,.2f}" for key, value in found.items()), flush=True)
    return {"results": results, "not_run": not_run, "failed": failed}


def _takes(peer: Peer, measurement: str, number: int) -> bool:
    """A slow peer takes part in the first round of the first measurement."""
    return not peer.slow or (measurement == "throughput" and number == 0)


def _prepared(peers: list[Peer]) -> tuple[dict[str, list[str]], dict[str, str]]:
    commands, not_run = {}, {}
    for peer in peers:
        print(f"preparing {peer.title}", flush=True)
        try:
            commands[peer.name] = peer.prepare()
        except NotRun as reason:
            not_run[peer.name] = str(reason)
            print(f"{peer.title} does not run: {reason}", flush=True)
    return commands, not_run


def _machine(kafka: str) -> dict[str, str]:
    cpu = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "machine": f"{os.cpu_count()} cores {cpu[0] if cpu else platform.machine()}",
        "memory": f"{memory:.0f} GB",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "broker": kafka,
    }


def _broker() -> KafkaServer:
    try:
        check_java()
    except Unavailable:
        return KafkaChoice().start_one()
    server = JarKafka(java_options=_BROKER_JAVA)
    server.start()
    return server


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--peers", default=",".join(peer.name for peer in PEERS), help="which, with commas between")
    parser.add_argument("--only", default="", help="throughput, latency or growth, with commas between")
    parser.add_argument("--full", action="store_true", help="the sizes of the published figures")
    for name, value in SMALL.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=int, help=f"default {value:,}, with --full {FULL[name]:,}"
        )
    parser.add_argument("--out", type=Path, default=HOME / "run.json", help="where the figures are written to")
    parser.add_argument("--write", action="store_true", help="put table and plot into the documentation")
    return parser.parse_args()


def main() -> None:
    """Measure, print the table, write JSON and plot; exit code 1 when a worker failed or wrote something wrong."""
    given = _arguments()
    if not Path("/proc/self/stat").exists():
        sys.exit("make bench reads CPU time and memory from /proc, which only Linux has")
    chosen = {name for name in given.peers.split(",") if name}
    peers = [peer for peer in PEERS if peer.name in chosen]
    sizes = {name: getattr(given, name) or (FULL if given.full else SMALL)[name] for name in SMALL}
    core = WORKER_CORE if (os.cpu_count() or 1) > 1 and hasattr(os, "sched_setaffinity") else None
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # new topics have no leader for a moment, which it retries
    if core is not None:
        os.sched_setaffinity(0, {HARNESS_CORE})  # and so the broker, its child
    bootstrap, server = os.environ.get("KAFKA_BOOTSTRAP"), None
    if bootstrap is None:
        server = _broker()
        bootstrap = server.bootstrap
    kafka = server.description if server else bootstrap
    print(f"kafka: {kafka}", flush=True)
    machine = _machine(kafka)
    try:
        only = {name for name in given.only.split(",") if name}
        run = asyncio.run(_run(bootstrap, peers, _measurements(sizes, only), core))
    finally:
        if server is not None:
            server.stop()
    now = datetime.now(UTC)
    run |= {"date": f"{now.day} {now:%B %Y}", "machine": machine, "sizes": sizes}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(run, indent=1) + "\n")
    given.out.with_suffix(".svg").write_text(report.plot(run["results"]))
    print(f"\n{report.text_table(list(report.rows(run['results'])))}\n\nwritten: {given.out} and its plot")
    if given.write:
        report.write_page(run)
    sys.exit(bool(run["failed"]))


if __name__ == "__main__":
    main()
