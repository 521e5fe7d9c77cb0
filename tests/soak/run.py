"""The soak of the calls: commands of all kinds, killed and frozen workers, a cut network, an unreliable Digital River.

    python -m tests.soak.run --commands 20000 --seed 7

Prints its seed, what it does, and the judge's verdict; exit code 0 when nothing was doubled, nothing is missing and nothing went
unseen. ``--guard-off`` runs workers that do not wait for late effects: the judge must find doubled ones.

Generator, relay, Digital River, proxy, workers and judge are processes; here is what starts, hurts and ends them. Waits are
scaled down by settings of the workers, which ``Plan`` lists.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import random
import re
import secrets
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from orderflow.settings import load_settings, variable
from producers.publisher import Publisher
from producers.topic_setup import create_topics
from producers.topics import prefixed
from tests.chaos.load import _sku
from tests.kafka.fixtures import KafkaChoice
from tests.soak.children import Child, Json, orderflow, python
from tests.soak.histories import SKUS
from tests.soak.judge import Verdict
from tests.soak.network import Kind, Network, can_have_namespaces, open_network

HERE: Final = Path(__file__).parent
#: Which lanes the worker processes have. Most of what is done to workers is done to those that call Digital River.
FLEET: Final = {
    "commands-1": "commands",
    "commands-2": "commands",
    "others-1": "orders,webhooks,catalogue",
    "others-2": "orders,webhooks,catalogue",
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run; times in seconds."""

    seed: int
    commands: int = 20_000
    #: Commands that begin a second, as long as orders begin.
    rate: float = 28.0
    network: Kind = "namespace"
    #: Off: workers do not wait for effects that come after their time-out.
    guard: bool = True
    partitions: int = 8

    # Settings of the workers. A late effect comes after the time-out and within the wait, with room for what a busy machine and a
    # network that holds a request back (up to the time-out) add to it.
    http_timeout: float = 2.0
    late_effect: tuple[float, float] = (2.2, 5.0)
    late_effect_wait: float = 7.5
    lease: float = 1.0
    session: float = 4.0
    answer_wait: float = 40.0

    # What is done to them.
    hit_pause: tuple[float, float] = (15.0, 35.0)
    cut_pause: tuple[float, float] = (45.0, 110.0)
    cut: tuple[float, float] = (5.0, 60.0)
    #: Faults end so long after the last order has begun at the latest; before, when four of five orders have ended.
    faults_after: float = 240.0
    #: Nothing more happens for so long, with all faults off: what is not done by then is missing.
    quiet: float = 180.0
    judge: float = 20.0

    @property
    def load_seconds(self) -> float:
        """Over which orders begin."""
        return self.commands / self.rate

    def environment(self, bootstrap: str, prefix: str, url: str) -> dict[str, str]:
        """The workers' settings."""
        return {
            variable(name): str(value)
            for name, value in {
                "kafka_bootstrap": bootstrap,
                "topic_prefix": prefix,
                "digitalriver_url": url,
                "digitalriver_rate": 0,
                "digitalriver_timeout": f"{self.http_timeout}s",
                "late_effect_wait": f"{self.late_effect_wait if self.guard else 0}s",
                "command_lease": f"{self.lease}s",
                "answer_wait": f"{self.answer_wait}s",
                "group_session_timeout": f"{self.session}s",
                "group_heartbeat_interval": "300ms",
                "kafka_operation_timeout": "5s",
                "log_format": "json",
            }.items()
        }


def quick_plan(seed: int, **changes: object) -> Plan:
    """A run of less than a minute, with shorter waits, for every day."""
    plan = Plan(
        seed=seed,
        commands=300,
        rate=25.0,
        network="proxy",
        partitions=4,
        http_timeout=1.0,
        late_effect=(1.2, 2.0),
        late_effect_wait=4.0,
        session=3.0,
        answer_wait=10.0,
        hit_pause=(4.0, 8.0),
        cut_pause=(6.0, 12.0),
        cut=(5.0, 5.0),
        faults_after=15.0,
        quiet=45.0,
        judge=10.0,
    )
    return dataclasses.replace(plan, **changes)  # type: ignore[arg-type]  # checked by the dataclass


class Diary:
    """What was done to workers and network, for the judge's traces and for whoever watches."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a")
        self._say = say
        self._began = time.monotonic()

    def note(self, what: str) -> None:
        """Write it down."""
        self._file.write(json.dumps({"at": time.time(), "what": what}) + "\n")
        self._file.flush()
        self._say(f"{time.monotonic() - self._began:7.1f} s  {what}")


class Fleet:
    """The worker processes."""

    def __init__(self, folder: Path, environment: Mapping[str, str], diary: Diary) -> None:
        self._folder, self._environment, self._diary = folder, environment, diary
        self._workers: dict[str, Child] = {}

    async def start(self, name: str) -> None:
        """Start a worker."""
        argv = orderflow("worker", "--lanes", FLEET[name])
        self._workers[name] = await Child.start(self._folder / f"{name}.log", *argv, environment=self._environment)

    async def revive(self, name: str) -> None:
        """Start a worker again that was killed or has ended."""
        if not self._workers[name].alive:
            self._diary.note(f"{name} is started again")
            await self.start(name)

    async def end(self) -> None:
        """End all in good order."""
        await asyncio.gather(*(worker.end(15.0) for worker in self._workers.values()))

    async def hit(self, plan: Plan, chance: random.Random) -> None:
        """Kill one and start it again, or freeze it for longer than its session and its lease."""
        name = chance.choice([name for name in FLEET for _ in range(2 if name.startswith("commands") else 1)])
        worker = self._workers[name]
        if not worker.alive:
            self._diary.note(f"{name} had ended by itself; started again")
            await self.start(name)
        elif chance.random() < 0.5:
            self._diary.note(f"kill {name}")
            await worker.kill()
            await asyncio.sleep(chance.uniform(0, 3))
            await self.start(name)
        else:
            seconds = plan.session + plan.lease + chance.uniform(0.5, 4)
            self._diary.note(f"freeze {name} for {seconds:.1f} s")
            worker.send(signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                worker.send(signal.SIGCONT)
            self._diary.note(f"{name} goes on")


async def hurt_workers(fleet: Fleet, plan: Plan) -> None:
    """Hit one after the other, until cancelled."""
    chance = random.Random(f"{plan.seed} workers")
    while True:
        await asyncio.sleep(chance.uniform(*plan.hit_pause))
        await fleet.hit(plan, chance)


async def hurt_network(network: Network, plan: Plan, diary: Diary) -> None:
    """Cut it now and then, until cancelled; it is whole afterwards."""
    chance = random.Random(f"{plan.seed} network")
    while True:
        await asyncio.sleep(chance.uniform(*plan.cut_pause))
        seconds = chance.uniform(*plan.cut)
        diary.note(f"cut the network for {seconds:.1f} s")
        await network.cut()
        try:
            await asyncio.sleep(seconds)
        finally:
            await network.restore()
        diary.note("the network is whole")


async def run_soak(plan: Plan, bootstrap: str, folder: Path, say: Callable[[str], None]) -> Verdict:
    """One whole run; the folder gets the logs and the traces."""
    diary = Diary(folder / "chaos.jsonl", say)
    prefix = f"soak{uuid.uuid4().hex[:8]}."
    async with (
        open_network(plan.network, folder) as network,
        digital_river(plan, bootstrap, prefix, network, folder) as (
            river,
            near_url,
            far_url,
        ),
    ):
        fleet = Fleet(folder, plan.environment(bootstrap, prefix, far_url), diary)
        try:
            for name in FLEET:
                await fleet.start(name)
            await until_known(near_url)
            verdict = await drive(plan, bootstrap, prefix, near_url, folder, fleet, network, river, diary)
        finally:
            await fleet.end()
    return verdict


@contextlib.asynccontextmanager
async def digital_river(
    plan: Plan, bootstrap: str, prefix: str, network: Network, folder: Path
) -> AsyncIterator[tuple[Child, str, str]]:
    """Topics, relay and simulator; yields the simulator, its own address and the one that workers use."""
    # a broker that has just started takes its time for what it makes on first use
    settings = load_settings(kafka_bootstrap=bootstrap, topic_prefix=prefix, kafka_operation_timeout="60s")
    await create_topics(settings.connection(), prefix, partitions=plan.partitions, replication=1)
    async with Publisher(settings.connection()) as publisher:
        for number in range(SKUS):
            sku = _sku(number)
            topic = prefixed(prefix, str(sku["topic"]))
            await publisher.send(topic, str(sku["key"]).encode(), msgspec.json.encode(sku["value"]))
    argv = orderflow("relay", "--host", network.near_host, "--port", "0")
    relay = await Child.start(folder / "relay.log", *argv, environment=plan.environment(bootstrap, prefix, "http://x"))
    try:
        host, port = _address(await relay.line())
        host, port = await network.reach(host, port)
        given = {
            "host": network.far_host,
            "webhook_url": f"http://{host}:{port}/webhooks",
            "seed": plan.seed,
            "late_effect_s": plan.late_effect,
            "log": str(folder / "river.jsonl"),
        }
        argv = (*network.far_command, *python(HERE / "river_main.py", given))
        river = await Child.start(folder / "river.log", *argv)
        try:
            near_url = str((await river.next_report())["url"])
            host, port = await network.reach(*_address(near_url))
            yield river, near_url, f"http://{host}:{port}"
        finally:
            await river.end()
    finally:
        await relay.end()


async def until_known(url: str) -> None:
    """Wait until the catalogue lane has told Digital River of the SKUs."""
    headers = {"Authorization": "Bearer sk_test_simulator"}
    async with asyncio.timeout(60), aiohttp.ClientSession(headers=headers) as session:
        for number in range(SKUS):
            while (await session.get(f"{url}/skus/sku-{number}")).status != 200:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.3)


async def drive(
    plan: Plan,
    bootstrap: str,
    prefix: str,
    url: str,
    folder: Path,
    fleet: Fleet,
    network: Network,
    river: Child,
    diary: Diary,
) -> Verdict:
    """Orders and faults, then orders alone until all is done or nothing happens any more, then the judge."""
    base: dict[str, object] = {"bootstrap": bootstrap, "prefix": prefix, "folder": str(folder)}
    given = base | {
        "partitions": plan.partitions,
        "commands": plan.commands,
        "seed": plan.seed,
        "seconds": plan.load_seconds,
    }
    generator = await Child.start(folder / "generator.log", *python(HERE / "generator.py", given))
    try:
        diary.note(
            f"{(await generator.next_report())['of']} orders begin over {plan.load_seconds:.0f} s; faults are on"
        )
        await river.tell("rage")
        hurting = [
            asyncio.create_task(hurt_workers(fleet, plan)),
            asyncio.create_task(hurt_network(network, plan, diary)),
        ]
        try:
            await until_begun(generator, plan.faults_after, diary)
        finally:
            for task in hurting:
                task.cancel()
            results = await asyncio.gather(*hurting, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):  # a cancelled one is not an Exception
                raise result
        await river.tell("calm")
        for name in FLEET:
            await fleet.revive(name)
        diary.note("faults are off")
        await until_done(generator, plan.quiet, diary)
    finally:
        await generator.end()
    more = base | {"url": url, "seconds": plan.judge}
    judge = await Child.start(folder / "judge.log", *python(HERE / "judge.py", more))
    try:
        found = msgspec.json.decode(await judge.line(300.0), type=Verdict)
    finally:
        await judge.end()
    (folder / "verdict.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    return found


async def until_begun(generator: Child, seconds_max: float, diary: Diary) -> None:
    """All orders have begun, and most have ended or ``seconds_max`` have passed since: the faults have met every step."""
    noted_at, begun = 0.0, float("inf")
    while True:
        report = await generator.next_report()
        if report["begun"] == report["of"]:
            begun = min(begun, time.monotonic())
        if time.monotonic() > noted_at + 30:
            noted_at = time.monotonic()
            diary.note(_progress(report))
        enough = report["done"] >= 0.8 * report["of"] or time.monotonic() > begun + seconds_max
        if report.get("ended") or (report["begun"] == report["of"] and enough):
            return


async def until_done(generator: Child, quiet: float, diary: Diary) -> None:
    """All orders have ended, or none has for ``quiet`` seconds."""
    done, since, noted_at = -1, time.monotonic(), 0.0
    while True:
        report = await generator.next_report()
        if report["done"] > done:
            done, since = report["done"], time.monotonic()
        if report.get("ended") or time.monotonic() > since + quiet:
            diary.note(_progress(report))
            return
        if time.monotonic() > noted_at + 30:
            noted_at = time.monotonic()
            diary.note(_progress(report))


def _progress(report: Json) -> str:
    return f"{report['begun']} orders begun, {report['done']} ended, of {report['of']}"


def _address(text: str) -> tuple[str, int]:
    found = re.search(r"http://([\d.]+):(\d+)", text)
    assert found is not None, text
    return found[1], int(found[2])


def verdict_lines(verdict: Verdict) -> list[str]:
    """The verdict in lines."""
    lines = [
        f"{verdict.orders} orders, {sum(verdict.commands.values())} commands asked {verdict.attempts} times",
        f"commands: {', '.join(f'{count} {name}' for name, count in sorted(verdict.commands.items()))}",
        f"outcomes: {', '.join(f'{count} {name}' for name, count in sorted(verdict.outcomes.items()))}",
        f"orders with attention: {verdict.attention}",
    ]
    for name in ("doubled", "missing", "unseen", "wrong", "left"):
        found = getattr(verdict, name)
        lines.append(f"{name}: {len(found)}")
        lines += [f"  {one}" for one in found[:20]]
    return lines


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak-calls ARGS=...", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--commands", type=int, default=20_000, help="how many (default 20000)")
    parser.add_argument("--seed", type=int, help="as an earlier run printed it; a new one without")
    parser.add_argument(
        "--network", choices=("namespace", "proxy"), help="namespaces where they can be had, else a proxy"
    )
    parser.add_argument(
        "--guard-off", action="store_true", help="workers do not wait for late effects: doubles must be found"
    )
    parser.add_argument("--folder", type=Path, help="for logs and traces (default: a new one)")
    return parser.parse_args()


def main() -> int:
    """One run from the command line; its exit code."""
    given = _arguments()
    seed = given.seed if given.seed is not None else secrets.randbelow(1_000_000)
    network: Kind = given.network or ("namespace" if can_have_namespaces() else "proxy")
    plan = Plan(seed=seed, commands=given.commands, network=network, guard=not given.guard_off)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="orderflow-soak-"))

    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that has just started is asked again and again
    say(f"seed {seed}; again with: make soak-calls ARGS='--commands {plan.commands} --seed {seed} --network {network}'")
    say(f"logs and traces in {folder}")
    bootstrap, server = os.environ.get("KAFKA_BOOTSTRAP"), None
    if bootstrap is None:
        server = KafkaChoice().start_one()
        bootstrap = server.bootstrap
        say(server.description)
    try:
        verdict = asyncio.run(run_soak(plan, bootstrap, folder, say))
    finally:
        if server is not None:
            server.stop()
    for line in verdict_lines(verdict):
        say(line)
    if given.guard_off:
        return 0 if verdict.doubled else 1
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
