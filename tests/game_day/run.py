"""The game day: a bad release, an outage of Digital River and a bad sender at once, repaired with the operator's verbs only.

    python -m tests.game_day.run --orders 10000

Starts Apache Kafka, Digital River's simulator, the relay and workers as processes. 10,000 orders are in flight; a release whose
``decide`` raises on one type of event breaks 500 of them; Digital River is away for a minute; 50 letters come from a bad sender.
Everything that is found and repaired is found and repaired by ``orderflow ...`` as it is shipped. Exit code 0 when each order
ended right, nothing overtook, nothing was called twice, and each act is in the audit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiokafka import AIOKafkaProducer

from orderflow.settings import load_settings, variable
from producers.partitioner import partition_of
from producers.topic_setup import create_topics
from producers.topics import Topic
from tests.chaos.load import _sku
from tests.game_day.judge import as_json, faults
from tests.game_day.orders import (
    BROKEN_TYPE,
    Line,
    cancellations,
    carts,
    nonsense,
    parcels,
    plan_orders,
    purchases,
)
from tests.kafka.fixtures import KafkaChoice
from tests.soak.children import Child, orderflow, python
from tests.visible import committed_records

PARTITIONS: Final = 8
HERE: Final = Path(__file__).parent
REASON: Final = ("--reason", "game day")
Json = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How much of everything; ``away_seconds``: how long Digital River is away."""

    orders: int = 10_000
    usual: int = 700
    broken: int = 500
    misused: int = 50
    edited: int = 5
    away_seconds: float = 60.0


class Day:
    """The processes, the verbs, and what is written about them."""

    def __init__(self, bootstrap: str, folder: Path, scale: Scale) -> None:
        self._bootstrap = bootstrap
        self._folder = folder
        self._began = time.monotonic()
        self.scale = scale
        self.prefix = f"day{uuid.uuid4().hex[:8]}."
        self.orders = plan_orders(scale.orders, scale.usual, scale.broken, scale.misused)
        self.url = ""
        self.environment = {
            variable("kafka_bootstrap"): bootstrap,
            variable("topic_prefix"): self.prefix,
            variable("digitalriver_rate"): "0",
            variable("digitalriver_timeout"): "5s",
            variable("late_effect_wait"): "5s",
            variable("command_lease"): "2s",
            variable("group_session_timeout"): "6s",
            variable("health_port"): "0",
            variable("log_level"): "error",
            variable("actor"): "pat@desk",
        }

    def say(self, text: str) -> None:
        """A line for whoever watches."""
        _print(f"{time.monotonic() - self._began:7.1f} s  {text}")

    # -- processes

    async def start(self, *argv: str, log: str) -> Child:
        """A process with the settings of the day."""
        return await Child.start(self._folder / log, *argv, environment=self.environment)

    async def workers(self, *, broken: str | None = None) -> list[Child]:
        """The fleet: a process that calls, and one that does the rest, of the release that is out or of a bad one."""
        lanes = "orders", "webhooks,catalogue,commands"
        if broken is None:
            return [await self.start(*orderflow("worker", "--lanes", one), log=f"{one}.log") for one in lanes]
        bad = python(HERE / "worker_main.py", {"lanes": ["orders"], "broken": broken})
        return [
            await self.start(*bad, log="bad.log"),
            await self.start(*orderflow("worker", "--lanes", lanes[1]), log="w.log"),
        ]

    # -- verbs

    async def verb(self, *words: str, codes: Sequence[int] = (0,)) -> list[Json]:
        """What ``orderflow WORDS --json`` prints."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "orderflow",
            *words,
            "--json",
            env=os.environ | self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        if process.returncode not in codes:
            raise RuntimeError(f"orderflow {' '.join(words)} ended with {process.returncode}: {err.decode()[-500:]}")
        return [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]

    # -- Kafka and Digital River

    async def send(self, lines: Iterable[Line]) -> None:
        """Write records as the outside would."""
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, linger_ms=5, acks="all")
        await producer.start()
        try:
            for line in lines:
                key = str(line["key"]).encode()
                value = json.dumps(line["value"]).encode()
                await producer.send(f"{self.prefix}{line['topic']}", value, key, partition_of(key, PARTITIONS))
            await producer.flush()
        finally:
            await producer.stop()

    async def read(self, topic: Topic) -> list[tuple[str, bytes]]:
        """All committed records of a topic, key and value."""
        return await committed_records(self._bootstrap, f"{self.prefix}{topic}", PARTITIONS)

    async def table(self) -> dict[str, Json]:
        """The latest order of each id."""
        return {key: json.loads(value) for key, value in await self.read(Topic.ORDERS) if value}

    async def until(self, what: str, ids: Iterable[str], state: str, seconds: float) -> None:
        """Wait until all orders are in a state."""
        wanted, until = set(ids), time.monotonic() + seconds
        while True:
            table = await self.table()
            left = [one for one in wanted if table.get(one, {}).get("state") != state]
            if not left:
                self.say(f"{len(wanted)} orders: {what}")
                return
            if time.monotonic() > until:
                raise RuntimeError(f"{len(left)} orders are not {state} after {seconds:g} s, such as {left[0]}")
            await asyncio.sleep(1.0)

    async def river(self, **switches: object) -> None:
        """Set Digital River's faults."""
        async with aiohttp.ClientSession() as session:
            answer = await session.post(f"{self.url}/_admin/faults", json=switches)
            assert answer.status < 300, await answer.text()

    async def books(self) -> dict[str, Json]:
        """What took effect at Digital River."""
        async with aiohttp.ClientSession() as session:
            found: dict[str, Json] = await (await session.get(f"{self.url}/_admin/books")).json()
            return found


async def play(bootstrap: str, folder: Path, scale: Scale) -> list[str]:
    """The whole day; what is wrong at its end."""
    day = Day(bootstrap, folder, scale)
    settings = load_settings(kafka_bootstrap=bootstrap, topic_prefix=day.prefix, kafka_operation_timeout="60s")
    await create_topics(settings.connection(), day.prefix, partitions=PARTITIONS, replication=1)
    children = [relay := await day.start(*orderflow("relay", "--port", "0"), log="relay.log")]
    try:
        hook = f"{_address(await relay.line())}/webhooks"
        simulator = ("simulator", "--port", "0", "--rate", "0", "--capture-delay", "0.2", "--webhook-url", hook)
        children.append(river := await day.start(*orderflow(*simulator), log="river.log"))
        day.url = day.environment[variable("digitalriver_url")] = _address(await river.line())
        await morning(day, children)
        await trouble(day, children)
        found = [*await repair(day, children), *await evening(day)]
        day.say(f"{len(found)} faults")
        return found
    finally:
        await asyncio.gather(*(child.end(10.0) for child in reversed(children)))


async def morning(day: Day, children: list[Child]) -> None:
    """All orders are in flight."""
    fleet = await day.workers()
    children += fleet
    await day.send(_sku(number) for number in range(4))
    await day.send(carts(day.orders))
    await day.until("in flight, their checkouts are open", day.orders.ids, "checkout_open", 240)
    await day.send(purchases(day.orders))
    await day.until("placed", (*day.orders.usual, *day.orders.broken), "submitted", 180)
    await asyncio.gather(*(child.end(15.0) for child in fleet))


async def trouble(day: Day, children: list[Child]) -> None:
    """A bad release goes out, Digital River goes away, and a sender sends nonsense."""
    fleet = await day.workers(broken=BROKEN_TYPE)
    children += fleet
    await day.river(down=True)
    away = time.monotonic()
    day.say(f"a bad release is out, Digital River is away, and a sender sends {day.scale.misused} bad carts")
    await day.send([*cancellations(day.orders), *nonsense(day.orders), *parcels(day.orders)])
    expected = day.scale.broken + day.scale.misused
    while (count := len(await day.verb("letters", "list"))) < expected:
        if time.monotonic() > away + 90:
            raise RuntimeError(f"{count} letters, not {expected}")
        await asyncio.sleep(1.0)
    day.say(f"{count} letters")
    await asyncio.sleep(max(0.0, away + day.scale.away_seconds - time.monotonic()))
    await day.river(down=False)
    day.say("Digital River is back")
    await asyncio.gather(*(child.end(15.0) for child in fleet))


async def repair(day: Day, children: list[Child]) -> list[str]:
    """Find, explain, repair: by the verbs alone. Returns what the verbs said that is wrong."""
    found: list[str] = []
    groups = await day.verb("letters", "list", "--group")
    causes = sorted((one["reason"], one["type"], one["letters"], one["orders"]) for one in groups)
    day.say(f"letters list --group: {causes}")
    scale = day.scale
    expected = [
        ("failed", BROKEN_TYPE, scale.broken, scale.broken),
        ("invalid", "checkout.updated", scale.misused, scale.misused),
    ]
    if causes != expected:
        found.append(f"letters list --group: {causes}")
    broken, misused = day.orders.broken[0], day.orders.misused[0]
    (explained,) = await day.verb("orders", "explain", broken)
    turns = {one["turn"] for one in explained["waiting"]}
    if not explained["held"] or "operator" not in turns:
        found.append(f"orders explain {broken}: held {explained['held']}, turns {turns}")
    (matched,) = [one for one in await day.verb("orders", "find", f"{broken}-short") if one["order_id"] == broken][:1]
    day.say(f"orders find: {matched}")
    # roll back
    children += await day.workers()
    await day.verb("letters", "retry", "--reason-code", "failed", *REASON)  # a dry run changes nothing
    (retried,) = (await day.verb("letters", "retry", "--reason-code", "failed", *REASON, "--apply"))[-1:]
    day.say(f"letters retry: {_counts(retried)}")
    if (retried["selected"], retried["moved"] + retried["same"]) != (day.scale.broken, day.scale.broken):
        found.append(f"letters retry: {_counts(retried)}")
    invalid = await day.verb("letters", "list", "--reason-code", "invalid", "--status", "open")
    if len(invalid) != day.scale.misused or misused not in {one["key"] for one in invalid}:
        found.append(f"letters list --reason-code invalid: {len(invalid)}")
    for letter in invalid[: day.scale.edited]:
        await day.verb("letters", "edit", letter["letter"], "--set", "data.currency=USD", *REASON, "--apply")
    (dropped,) = (await day.verb("letters", "drop", "--reason-code", "invalid", *REASON, "--apply"))[-1:]
    day.say(f"letters edit: {day.scale.edited}; letters drop: {_counts(dropped)}")
    await day.until("complete", (*day.orders.usual, *day.orders.broken), "complete", 120)
    await day.until("their checkouts are open", (*day.orders.open, *day.orders.misused), "checkout_open", 60)
    return found


async def evening(day: Day) -> list[str]:
    """The audit, the order of events and the books."""
    found: list[str] = []
    letters = await day.verb("letters", "list")
    statuses = sorted({(one["reason"], one["status"]) for one in letters})
    day.say(f"letters: {statuses}")
    if statuses != [("failed", "retried"), ("invalid", "dropped"), ("invalid", "edited")]:
        found.append(f"letters are {statuses}")
    actions = await day.verb("actions", "list")
    if [one["kind"] for one in actions if one["state"] == "done" and one["actor"] == "pat@desk"] != ["retry", "drop"]:
        found.append(f"actions list: {[(one['kind'], one['state'], one['actor']) for one in actions]}")
    (history,) = [await day.verb("orders", "history", day.orders.broken[0])]
    if not any("pat@desk" in json.dumps(entry) for entry in history):
        found.append("orders history names no operator")
    changes = as_json(await day.read(Topic.ORDER_STATE_CHANGES))
    commands = as_json(await day.read(Topic.DR_COMMANDS))
    return [*found, *faults(day.orders, await day.table(), changes, commands, await day.books())]


def _counts(action: Json) -> Json:
    return {name: action.get(name) for name in ("selected", "moved", "same", "refused", "failed", "left")}


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _address(line: str) -> str:
    found = re.search(r"http://[\d.]+:\d+", line)
    assert found is not None, line
    return found[0]


def main() -> None:
    """Command line of ``make game-day``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=Scale.orders)
    parser.add_argument("--usual", type=int, default=Scale.usual)
    parser.add_argument("--broken", type=int, default=Scale.broken)
    parser.add_argument("--away", type=float, default=Scale.away_seconds)
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    if given.usual + given.broken + Scale.misused > given.orders:
        parser.error(f"--orders must be at least --usual, --broken and {Scale.misused} together")
    scale = Scale(orders=given.orders, usual=given.usual, broken=given.broken, away_seconds=given.away)
    bootstrap, server = os.environ.get("KAFKA_BOOTSTRAP"), None
    if bootstrap is None:
        server = KafkaChoice().start_one()
        bootstrap = server.bootstrap
        _print(f"kafka: {server.description}")
    try:
        with tempfile.TemporaryDirectory(prefix="game-day-") as folder:
            found = asyncio.run(play(bootstrap, Path(folder), scale))
    finally:
        if server is not None:
            server.stop()
    for fault in found[:20]:
        _print(f"WRONG: {fault}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
