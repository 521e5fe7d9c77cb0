"""Workers killed and frozen in the middle of calls: each command takes effect at most once, and in the end once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from producers.encoding import encode_command
from producers.topics import Topic, prefixed
from statemachine.messages.commands import DeleteCheckout
from statemachine.messages.ids import CheckoutId, CommandId, OrderId
from tests.kafka.server import KafkaServer
from tests.lanes.kafka import make_topics, read_all, until, write
from tests.lanes.river import FileRiver
from tests.worker_process import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(120)]

MAIN = Path(__file__).with_name("worker_main.py")
PARTITIONS = 2
ORDERS = 10
FIRST, LATER = 40, 20


@contextlib.asynccontextmanager
async def fleet(bootstrap: str, prefix: str, books: Path) -> AsyncIterator[Fleet]:
    """Start workers inside; all are gone afterwards."""
    starter = Fleet({"bootstrap": bootstrap, "prefix": prefix, "partitions": PARTITIONS, "books": str(books)})
    try:
        yield starter
    finally:
        for worker in starter.started:
            await worker.end()


class Fleet:
    """Starts worker processes of the command lane."""

    def __init__(self, options: dict[str, object]) -> None:
        self._options = options
        self.started: list[WorkerProcess] = []

    async def start(self, name: str, **more: object) -> WorkerProcess:
        """A worker that is about to join."""
        worker = await WorkerProcess.start(MAIN, {**self._options, "worker": name, **more})
        self.started.append(worker)
        await worker.line_with("ready")
        return worker


async def ask(bootstrap: str, prefix: str, first: int, count: int) -> None:
    """Write commands ``c<first>`` and following for a few orders."""
    commands = [
        DeleteCheckout(
            command_id=CommandId(f"c{n}"), order_id=OrderId(f"A-{n % ORDERS}"), checkout_id=CheckoutId("chk")
        )
        for n in range(first, first + count)
    ]
    records = [(c.order_id.encode(), encode_command(c, time=datetime.now(UTC)), ()) for c in commands]
    await write(bootstrap, prefixed(prefix, Topic.DR_COMMANDS), records)


async def strike(
    bootstrap: str, prefix: str, books: Path, point: str, hit: str, mutants: tuple[str, ...] = ()
) -> Counter[str]:
    """One worker is struck in the middle of its work, another takes over, a frozen one wakes up.

    Returns:
        How often each command took effect.
    """
    counts = {
        Topic.DR_COMMANDS: PARTITIONS,
        Topic.INBOX: PARTITIONS,
        Topic.DEAD_LETTERS: 1,
        Topic.ORDER_EVENT_REFUSALS: 1,
    }
    await make_topics(bootstrap, prefix, counts)
    await ask(bootstrap, prefix, 0, FIRST)
    async with fleet(bootstrap, prefix, books) as start:
        fault = {"point": point, "signal": hit, "after": 5}
        struck = await start.start("one", fault=fault, mutants=mutants)
        await struck.line_with("hit")
        other = await start.start("two", mutants=mutants)
        await ask(bootstrap, prefix, FIRST, LATER)
        inbox = prefixed(prefix, Topic.INBOX)
        await until(bootstrap, inbox, FIRST + LATER, seconds=60.0)
        if hit == "SIGSTOP":
            struck.send(signal.SIGCONT)
            await asyncio.sleep(2.0)  # what it still would do, it does now
            await struck.terminate()
        await other.terminate()
        outcomes = Counter(json.loads(record.value)["id"] for record in await read_all(bootstrap, inbox))
    assert set(outcomes) == {f"c{n}:1" for n in range(FIRST + LATER)}  # the core takes a repeated id for the same fact
    assert await read_all(bootstrap, prefixed(prefix, Topic.DEAD_LETTERS)) == []
    return Counter(effect["command_id"] for effect in FileRiver(books).effects())


ONCE = Counter({f"c{n}": 1 for n in range(FIRST + LATER)})

#: Points of a call and of a transaction; the two in every run are the windows that only look-up and lease close.
STRIKES = [
    pytest.param("sent", "SIGKILL"),
    pytest.param("before_call", "SIGSTOP"),
    pytest.param("before_call", "SIGKILL", marks=pytest.mark.soak),
    pytest.param("sent", "SIGSTOP", marks=pytest.mark.soak),
    pytest.param("answered", "SIGKILL", marks=pytest.mark.soak),
    pytest.param("answered", "SIGSTOP", marks=pytest.mark.soak),
    pytest.param("records_sent", "SIGKILL", marks=pytest.mark.soak),
    pytest.param("records_sent", "SIGSTOP", marks=pytest.mark.soak),
    pytest.param("offsets_sent", "SIGKILL", marks=pytest.mark.soak),
    pytest.param("offsets_sent", "SIGSTOP", marks=pytest.mark.soak),
    pytest.param("commit_in_flight", "SIGKILL", marks=pytest.mark.soak),
    pytest.param("commit_in_flight", "SIGSTOP", marks=pytest.mark.soak),
]


@pytest.mark.parametrize(("point", "hit"), STRIKES)
async def test_each_command_takes_effect_once_whatever_fault_a_worker_has(
    apache_kafka: str, prefix: str, tmp_path: Path, point: str, hit: str
) -> None:
    """Killed or frozen past its session and woken: every command has one effect and one outcome."""
    assert await strike(apache_kafka, prefix, tmp_path / "books", point, hit) == ONCE


async def test_a_broker_that_goes_away_costs_no_command_and_repeats_none(
    own_kafka: KafkaServer, prefix: str, tmp_path: Path
) -> None:
    """Calls go on and their outcomes wait; the worker finds its own footprint and writes them when the broker is back."""
    river = FileRiver(tmp_path / "books")
    counts = {
        Topic.DR_COMMANDS: PARTITIONS,
        Topic.INBOX: PARTITIONS,
        Topic.DEAD_LETTERS: 1,
        Topic.ORDER_EVENT_REFUSALS: 1,
    }
    await make_topics(own_kafka.bootstrap, prefix, counts)
    async with fleet(own_kafka.bootstrap, prefix, tmp_path / "books") as start:
        worker = await start.start("one", answer_seconds=1.0)
        inbox = prefixed(prefix, Topic.INBOX)
        # Once each partition has written its own waits, a lone broker that forgets a transaction costs these and no default ones.
        await ask(own_kafka.bootstrap, prefix, 0, ORDERS)
        await until(own_kafka.bootstrap, inbox, ORDERS, seconds=30.0)
        await ask(own_kafka.bootstrap, prefix, ORDERS, ORDERS)
        async with asyncio.timeout(30.0):
            while len(river.effects()) < ORDERS + 3:  # noqa: ASYNC110  # written by another process
                await asyncio.sleep(0.02)
        own_kafka.kill()
        await asyncio.sleep(7.0)
        await asyncio.to_thread(own_kafka.restart)
        await until(own_kafka.bootstrap, inbox, 2 * ORDERS, seconds=50.0)
        await worker.terminate()
        outcomes = Counter(json.loads(record.value)["id"] for record in await read_all(own_kafka.bootstrap, inbox))
    once = range(2 * ORDERS)
    assert outcomes == Counter({f"c{n}:1": 1 for n in once})
    assert Counter(effect["command_id"] for effect in river.effects()) == Counter({f"c{n}": 1 for n in once})


@pytest.mark.soak
async def test_a_successor_of_a_killed_worker_waits_by_that_worker_s_time_out(
    apache_kafka: str, prefix: str, tmp_path: Path
) -> None:
    """Digital River acts 18 s after the request of a worker with a time-out of 20 s; the next one has a time-out of 0.5 s."""
    counts = {
        Topic.DR_COMMANDS: PARTITIONS,
        Topic.INBOX: PARTITIONS,
        Topic.DEAD_LETTERS: 1,
        Topic.ORDER_EVENT_REFUSALS: 1,
    }
    await make_topics(apache_kafka, prefix, counts)
    await ask(apache_kafka, prefix, 0, 1)
    river = FileRiver(tmp_path / "books")
    async with fleet(apache_kafka, prefix, tmp_path / "books") as start:
        first = await start.start("one", hang=True, http_seconds=20.0)
        await first.line_with("written")
        late = asyncio.create_task(_act_late(river, 18.0))
        await first.end()
        second = await start.start("two", http_seconds=0.5)
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), 1, seconds=60.0)
        await late
        await second.terminate()
    assert [effect["command_id"] for effect in river.effects()] == ["c0"]


async def _act_late(river: FileRiver, seconds: float) -> None:
    """Digital River acts on a request whose sender is gone."""
    await asyncio.sleep(seconds)
    river._write(command_id="c0", order_id="A-0")


@pytest.mark.soak
async def test_without_looking_first_a_killed_worker_s_commands_take_effect_twice(
    apache_kafka: str, prefix: str, tmp_path: Path
) -> None:
    """The test above can fail: with its guard switched off it does."""
    effects = await strike(apache_kafka, prefix, tmp_path / "books", "sent", "SIGKILL", ("no_look",))
    assert max(effects.values()) == 2


@pytest.mark.soak
async def test_without_the_lease_a_woken_worker_s_calls_take_effect_twice(
    apache_kafka: str, prefix: str, tmp_path: Path
) -> None:
    """The test above can fail: with its guard switched off it does."""
    effects = await strike(apache_kafka, prefix, tmp_path / "books", "before_call", "SIGSTOP", ("no_lease",))
    assert max(effects.values()) == 2
