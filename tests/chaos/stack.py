"""Everything that a merchant runs, under a test's control: workers are real processes, simulator and relay are in this process
(``stack``) or processes of their own, too (``processes``), where a long test judges and must not slow down whom it judges.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiohttp

from orderflow.bootstrap import serve_relay
from orderflow.settings import Settings, load_settings
from orderflow.simulator import SimulatorOptions, serve_simulator
from producers.connection import Limits
from producers.publisher import Publisher
from producers.topic_setup import create_topics
from producers.topics import Lane, Topic, prefixed
from tests.chaos.load import Line, Load
from tests.soak.children import Child, orderflow
from tests.visible import committed_records
from tests.worker_process import WorkerProcess

MAIN = Path(__file__).with_name("worker_main.py")
ALL_LANES = tuple(lane.value for lane in Lane)
Json = dict[str, object]
#: A frozen worker sleeps longer than its session, its own limits and its lease.
FROZEN_SECONDS = (6 if os.environ.get("KAFKA_BOOTSTRAP") else 3) + 3.0


class Stack:
    """The parts and what they have done. Made by ``stack``."""

    def __init__(self, settings: Settings, url: str, arm: Path, partitions: int) -> None:
        self.settings = settings
        self.url = url
        self.arm = arm
        self.partitions = partitions
        self.workers: list[WorkerProcess] = []
        #: The longest that the simulator took to answer, in seconds, where that is watched.
        self.slowest = 0.0

    async def start(self, lanes: Iterable[str] = ALL_LANES, **given: object) -> WorkerProcess:
        """A worker process with these lanes; ``given`` is its fault or mutant."""
        worker = await WorkerProcess.start(MAIN, {"lanes": list(lanes), **given}, environment_of(self.settings))
        self.workers.append(worker)
        await worker.line_with("ready")
        return worker

    def fault(self, at: str, kind: str, *, after: int = 1, group: str = "") -> Json:
        """A fault for ``start``, armed by ``strike``."""
        return {"point": at, "signal": kind, "after": after, "arm": str(self.arm), "group": group}

    def strike(self) -> None:
        """From now on faults count."""
        self.arm.touch()

    async def send(self, lines: Iterable[Line]) -> None:
        """Write records as the outside would, which waits for a broker that takes over."""
        connection = replace(self.settings.connection(), limits=Limits(operation_seconds=40.0))
        async with Publisher(connection) as publisher:
            for line in lines:
                topic = prefixed(self.settings.topic_prefix, str(line["topic"]))
                await publisher.send(topic, str(line["key"]).encode(), json.dumps(line["value"]).encode())

    async def ask(self, method: str, path: str, body: object = None) -> Json:
        """One request to the simulator's switches and books."""
        async with aiohttp.ClientSession() as session, session.request(method, self.url + path, json=body) as answer:
            assert answer.status < 300, await answer.text()
            found: Json = await answer.json()
            return found

    async def read(self, topic: Topic) -> list[tuple[str, bytes]]:
        """All committed records of a topic, key and value, in order per partition."""
        name = prefixed(self.settings.topic_prefix, topic)
        return await committed_records(self.settings.kafka_bootstrap, name, self.partitions)

    async def orders(self) -> dict[str, Json]:
        """The latest-order table."""
        return {key: json.loads(value) for key, value in await self.read(Topic.ORDERS)}

    async def until(self, states: dict[str, str], seconds: float) -> None:
        """Wait until every order is in its state; on a timeout the difference is what fails."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            found = await self.orders()
            wrong = {key: (found.get(key) or {}).get("state") for key in states}
            wrong = {key: state for key, state in wrong.items() if state != states[key]}
            if not wrong:
                return
            if loop.time() > until:
                shown = {
                    key: {"is": state, "attention": (found.get(key) or {}).get("attention")}
                    for key, state in wrong.items()
                }
                for worker in self.workers:  # on stderr: where it is
                    worker.send(signal.SIGUSR1)
                await asyncio.sleep(1)
                raise AssertionError(f"not as expected after {seconds:g} s: {shown}")
            await asyncio.sleep(0.5)

    async def faults(self, load: Load) -> list[str]:
        """What is wrong with the outcome: sequences, dead letters, money and counts against the simulator's books."""
        found = [f"dead letter for {key}: {value[:120]!r}" for key, value in await self.read(Topic.DEAD_LETTERS)]
        found += _sequence_faults(await self.read(Topic.ORDER_STATE_CHANGES))
        books, orders = await self.ask("GET", "/_admin/books"), await self.orders()
        for order_id, shipments in load.shipments.items():
            book, order = books.get(order_id), orders.get(order_id)
            if order is None:
                found.append(f"{order_id}: not in orders")
                continue
            if book is None and order["state"] == "cancelled" and not shipments:
                continue  # cancelled before anything was made at Digital River, and then nothing has to be
            if not isinstance(book, dict):
                found.append(f"{order_id}: not in the books")
                continue
            amounts = order["amounts"]
            assert isinstance(amounts, dict)
            reported = {name: amounts[name] for name in ("captured", "cancelled", "refunded")}
            kept = {name: book[name] for name in reported}
            if reported != kept:
                found.append(f"{order_id}: orders say {reported}, the books {kept}")
            ids = order["digital_river"]
            assert isinstance(ids, dict)
            wanted = (1 if ids.get("order_id") else 0, shipments)  # a cancel may come before the placement
            counts = (book["orders"], book["captures"])
            if counts != wanted or (shipments and book["checkouts"] != 1):
                found.append(f"{order_id}: {book['checkouts']} checkouts; orders, captures are {counts}, not {wanted}")
        if found and self.slowest > self._late_seconds:
            # Then it acts on requests later than the settings allow, and effects may be doubled: the machine is slow.
            found.append(
                f"the simulator took {self.slowest:.1f} s to answer, the settings allow {self._late_seconds:g} s"
            )
        return found

    async def watch(self) -> None:
        """Ask the simulator for something small ever again, and remember the longest wait for an answer."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self.ask("GET", "/_admin/faults")
            self.slowest = max(self.slowest, loop.time() - began)
            await asyncio.sleep(0.2)

    @property
    def _late_seconds(self) -> float:
        """How long after it was written a request may take effect without being called again."""
        return (self.settings.digitalriver_timeout + self.settings.late_effect_wait).total_seconds()


def _sequence_faults(changes: list[tuple[str, bytes]]) -> list[str]:
    found: list[str] = []
    last: dict[str, tuple[int, str]] = {}
    for key, value in changes:
        event = json.loads(value)
        if event["type"] != "order.state_changed":
            found.append(f"{key}: {event['type']}: {event['data'].get('reason')}")
            continue
        data = event["data"]
        sequence, state = last.get(key, (0, "awaited"))
        if data["sequence"] != sequence + 1 or (sequence and data["from"] != state):
            found.append(f"{key}: sequence {data['sequence']} from {data['from']} after {sequence} {state}")
        last[key] = (data["sequence"], data["to"])
    return found


def environment_of(settings: Settings) -> dict[str, str]:
    """The settings that differ from the defaults, as a process reads them."""
    from orderflow.settings import variable

    given = settings.model_dump(mode="json", exclude_unset=True)
    for name in ("digitalriver_key", "webhook_tokens", "kafka_sasl_password"):
        given.pop(name, None)
    return {variable(name): str(value) for name, value in given.items()}


def short_limits(bootstrap: str, prefix: str) -> Settings:
    """Settings of workers with short limits, so that faults show soon."""
    session = "6s" if os.environ.get("KAFKA_BOOTSTRAP") else "3s"
    return load_settings(
        kafka_bootstrap=bootstrap,
        topic_prefix=prefix,
        digitalriver_rate=0,
        digitalriver_timeout="3s",
        late_effect_wait="3s",
        command_lease="1s",
        group_session_timeout=session,
        group_heartbeat_interval="300ms",
        kafka_operation_timeout="5s",
    )


@contextlib.asynccontextmanager
async def stack(
    bootstrap: str, prefix: str, folder: Path, *, partitions: int = 4, replication: int = 1
) -> AsyncIterator[Stack]:
    """Topics, simulator and relay; workers are started by the test."""
    settings = short_limits(bootstrap, prefix)
    await create_topics(settings.connection(), prefix, partitions=partitions, replication=replication)
    async with serve_relay(settings, 0) as relay:
        options = SimulatorOptions(
            port=0, webhook_url=f"{relay}/webhooks", webhook_retries="live", rate=0, capture_delay=0.2, wire_delay=0.5
        )
        async with serve_simulator(options) as simulator:
            more = settings.model_copy(update={"digitalriver_url": simulator.url})
            made = Stack(more, simulator.url, folder / "armed", partitions)
            try:
                async with _watched(made):
                    yield made
            finally:
                await asyncio.gather(*(worker.end() for worker in made.workers))


@contextlib.asynccontextmanager
async def processes(
    bootstrap: str, prefix: str, folder: Path, *, partitions: int = 8, replication: int = 1
) -> AsyncIterator[Stack]:
    """As ``stack``, with simulator and relay as processes of their own, and time for a simulator that many workers keep busy."""
    settings = short_limits(bootstrap, prefix).model_copy(update={"late_effect_wait": timedelta(seconds=9)})
    await create_topics(settings.connection(), prefix, partitions=partitions, replication=replication)
    environment = environment_of(settings)
    relay = await Child.start(folder / "relay.log", *orderflow("relay", "--port", "0"), environment=environment)
    children: list[Child | WorkerProcess] = [relay]
    try:
        words = ["simulator", "--port", "0", "--rate", "0", "--capture-delay", "0.2", "--wire-delay", "0.5"]
        words += ["--webhook-retries", "live", "--webhook-url", f"{_address(await relay.line())}/webhooks"]
        river = await Child.start(folder / "river.log", *orderflow(*words), environment=environment)
        children.append(river)
        url = _address(await river.line())
        running = Stack(settings.model_copy(update={"digitalriver_url": url}), url, folder / "armed", partitions)
        try:
            async with _watched(running):
                yield running
        finally:
            children += running.workers
    finally:
        await asyncio.gather(*(child.end() for child in children))


@contextlib.asynccontextmanager
async def _watched(running: Stack) -> AsyncIterator[None]:
    """Watch how long the simulator takes to answer."""
    watching = asyncio.create_task(running.watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def _address(line: str) -> str:
    """The address in the line with which a service says that it is ready."""
    found = re.search(r"http://[^\s/]+", line)
    assert found is not None, line
    return found.group()


async def until_held(running: Stack) -> None:
    """Wait until the simulator holds a request at a gate."""
    async with asyncio.timeout(20):
        while True:
            waiting = (await running.ask("GET", "/_admin/gates"))["waiting"]
            if isinstance(waiting, dict) and sum(waiting.values()):
                return
            await asyncio.sleep(0.05)
