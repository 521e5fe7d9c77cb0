"""Calls on their way while partitions change hands: nobody waits for them, and none takes effect twice. On Apache Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from structlog.testing import capture_logs

import consumers.group.membership
from consumers.commands.partition import CommandPartition
from consumers.commands.reader import CommandReader
from consumers.group.membership import Membership
from consumers.ownership.changelog import stop_consumer
from consumers.provider import MayWrite
from producers.partitioner import partition_of
from producers.topics import Topic, prefixed
from statemachine.messages.commands import Command
from statemachine.messages.facts import Outcome
from tests.eventually import eventually
from tests.lanes.command_lane import (
    PARTITIONS,
    ask,
    command_topics,
    commands_member,
    effects,
    parts,
)
from tests.lanes.kafka import read_all, running, until
from tests.lanes.river import FileRiver

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]

#: The law; 0.6 s were measured on a machine with other work.
STANDSTILL_SECONDS_MAX = 2.0


class HoldingRiver(FileRiver):
    """Holds the calls of some orders after they were written, until they are let go; tells when the others took effect."""

    def __init__(self, books: Path) -> None:
        super().__init__(books)
        self.held: set[str] = set()
        self.gate = asyncio.Event()
        self.waiting: list[str] = []
        self.looked: list[str] = []
        self.acted_at: list[float] = []

    async def look(self, command: Command) -> Outcome | None:
        """Also remember what was looked up."""
        self.looked.append(command.command_id)
        return await super().look(command)

    async def call(self, command: Command, may_write: MayWrite) -> Outcome:
        """Written at once; held before its effect if it is to be."""
        if command.order_id not in self.held:
            outcome = await super().call(command, may_write)
            self.acted_at.append(time.monotonic())
            return outcome
        may_write()
        self.waiting.append(command.command_id)
        # shielded: what was sent takes effect, whatever becomes of the one who asked
        return await asyncio.shield(asyncio.ensure_future(self._later(command)))

    async def _later(self, command: Command) -> Outcome:
        await self.gate.wait()
        return await super().call(command, lambda: None)

    @property
    def longest_standstill(self) -> float:
        """The longest time between two effects."""
        return max(later - earlier for earlier, later in zip(self.acted_at, self.acted_at[1:], strict=False))


@pytest.fixture
def holding(tmp_path: Path) -> HoldingRiver:
    """A fake Digital River for one test."""
    return HoldingRiver(tmp_path / "books")


def one_order_of_each_partition() -> list[int]:
    """Numbers of commands whose orders lie in all partitions, one each."""
    found: dict[int, int] = {}
    for number in range(200):
        found.setdefault(partition_of(f"A-{number}".encode(), PARTITIONS), number)
    return [found[partition] for partition in range(PARTITIONS)]


@contextlib.asynccontextmanager
async def steady_load(bootstrap: str, prefix: str, first: int) -> AsyncIterator[list[int]]:
    """Ten commands for orders of their own every tenth of a second; yields the number of the next one."""
    following, ended = [first], asyncio.Event()

    async def write() -> None:
        while not ended.is_set():
            await ask(bootstrap, prefix, following[0], 10)
            following[0] += 10
            await asyncio.sleep(0.1)

    writing = asyncio.create_task(write())
    try:
        yield following
    finally:
        ended.set()
        await writing


async def hang(bootstrap: str, prefix: str, river: HoldingRiver) -> list[str]:
    """One call that hangs in each partition; the ids of their commands."""
    held = one_order_of_each_partition()
    river.held = {f"A-{number}" for number in held}
    for number in held:
        await ask(bootstrap, prefix, number, 1)
    await eventually(lambda: len(river.waiting) == len(held))
    return [f"c{number}" for number in held]


async def outcomes(bootstrap: str, prefix: str) -> Counter[str]:
    """How often each command has an outcome."""
    records = await read_all(bootstrap, prefixed(prefix, Topic.INBOX))
    assert all(json.loads(record.value)["data"]["result"] == "confirmed" for record in records)
    return Counter(json.loads(record.value)["id"].removesuffix(":1") for record in records)


def state(membership: Membership) -> int:
    """How many of its partitions are taken over."""
    return sum(part.state == "running" for part in parts(membership))


async def test_a_rebalance_never_waits_for_calls_and_looks_up_those_on_their_way_only(
    apache_kafka: str, prefix: str, holding: HoldingRiver
) -> None:
    """One call hangs in each partition while a worker joins: calls of other orders go on within 2 s, and nothing is doubled."""
    await command_topics(apache_kafka, prefix)
    one, two = (commands_member(apache_kafka, prefix, holding, worker) for worker in ("one", "two"))
    async with running(one):
        await eventually(lambda: state(one) == PARTITIONS)
        hung = await hang(apache_kafka, prefix, holding)
        async with steady_load(apache_kafka, prefix, 1000) as following:
            await asyncio.sleep(1.0)
            async with running(two):
                await eventually(lambda: len(two.owned) == PARTITIONS // 2 == state(two))
                await asyncio.sleep(1.0)
                assert holding.longest_standstill < STANDSTILL_SECONDS_MAX
                holding.gate.set()
                await eventually(lambda: set(hung) <= {effect["command_id"] for effect in holding.effects()})
                await until(apache_kafka, prefixed(prefix, Topic.INBOX), following[0] - 1000 + len(hung))
            await eventually(lambda: len(one.owned) == PARTITIONS)
        count = following[0] - 1000 + len(hung)
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), count)
    asked = {*hung, *(f"c{number}" for number in range(1000, following[0]))}
    assert Counter(effects(holding)) == Counter(dict.fromkeys(asked, 1))
    assert await outcomes(apache_kafka, prefix) == Counter(dict.fromkeys(asked, 1))
    assert set(holding.looked) <= set(hung)
    assert len(set(holding.looked)) == PARTITIONS // 2  # the others came back to who had called them


async def test_a_partition_that_comes_back_writes_the_outcome_of_a_call_that_ended_meanwhile(
    apache_kafka: str, prefix: str, holding: HoldingRiver
) -> None:
    """No other owner committed anything in between, so nothing has to be looked up."""
    await command_topics(apache_kafka, prefix)
    one = commands_member(apache_kafka, prefix, holding, "one")
    async with running(one):
        await eventually(lambda: state(one) == PARTITIONS)
        hung = await hang(apache_kafka, prefix, holding)
        for part in parts(one):  # as in a rebalance
            part.leave()
        await one._drain(set(one.owned))
        assert {part.state for part in parts(one)} == {"revoked"}
        holding.gate.set()
        await eventually(lambda: len(effects(holding)) == PARTITIONS)
        one.on_partitions_assigned(one._consumer.assignment())
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), PARTITIONS)
        assert [part.counters.resumes for part in parts(one)] == [1] * PARTITIONS
    assert await outcomes(apache_kafka, prefix) == Counter(dict.fromkeys(hung, 1))
    assert holding.looked == []


async def test_a_later_command_of_an_order_waits_behind_the_call_that_is_looked_up(
    apache_kafka: str, prefix: str, holding: HoldingRiver
) -> None:
    """The successor keeps one order's commands in order, also when the first of them was its predecessor's."""
    await command_topics(apache_kafka, prefix)
    one, two = (commands_member(apache_kafka, prefix, holding, worker) for worker in ("one", "two"))
    async with running(one):
        await eventually(lambda: state(one) == PARTITIONS)
        hung = await hang(apache_kafka, prefix, holding)
        async with running(two):
            await eventually(lambda: len(two.owned) == PARTITIONS // 2 == state(two))
            await eventually(lambda: bool(holding.looked))
            moved = [f"A-{number[1:]}" for number in hung if number in holding.looked]
            assert moved
            await ask(apache_kafka, prefix, 2000, 40)
            await until(apache_kafka, prefixed(prefix, Topic.INBOX), 40)
            assert not set(hung) & set(effects(holding))
            holding.gate.set()
            await until(apache_kafka, prefixed(prefix, Topic.INBOX), 40 + len(hung))
    assert Counter(effects(holding)) == Counter([*hung, *(f"c{number}" for number in range(2000, 2040))])


async def test_a_successor_waits_by_the_time_out_of_its_predecessor(
    apache_kafka: str, prefix: str, holding: HoldingRiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker with a long time-out crashes and one with a short one follows: the late effect is found, not doubled."""
    await command_topics(apache_kafka, prefix)
    one = commands_member(apache_kafka, prefix, holding, "one", lease=1.0, http=8.0)
    async with running(one):
        await eventually(lambda: state(one) == PARTITIONS)
        hung = await hang(apache_kafka, prefix, holding)
        for part in parts(one):  # it goes without its last word, as after a crash
            monkeypatch.setattr(part, "_can_write", lambda: False)
    async with running(commands_member(apache_kafka, prefix, holding, "two", lease=1.0, http=0.2)):
        await asyncio.sleep(5.0)
        assert len(holding.waiting) == len(hung)  # none was called again
        holding.gate.set()
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), len(hung))
    assert Counter(effects(holding)) == Counter(hung)
    assert await outcomes(apache_kafka, prefix) == Counter(dict.fromkeys(hung, 1))


async def test_a_worker_that_ends_hands_over_at_once_and_lets_its_calls_end(
    apache_kafka: str, prefix: str, holding: HoldingRiver
) -> None:
    """On SIGTERM the others go on within 2 s; the calls on their way are not cut off, and have one effect each."""
    await command_topics(apache_kafka, prefix)
    one, two = (commands_member(apache_kafka, prefix, holding, worker) for worker in ("one", "two"))
    stop = asyncio.Event()
    leaving = asyncio.create_task(one.run(stop))
    await eventually(lambda: state(one) == PARTITIONS)
    hung = await hang(apache_kafka, prefix, holding)
    async with running(two):
        await eventually(lambda: len(two.owned) == PARTITIONS // 2 == state(two))
        async with steady_load(apache_kafka, prefix, 1000) as following:
            await asyncio.sleep(1.0)
            stop.set()
            await eventually(lambda: state(two) == PARTITIONS)
            await asyncio.sleep(1.0)
            assert holding.longest_standstill < STANDSTILL_SECONDS_MAX
            assert not leaving.done()  # its calls are still on their way
            holding.gate.set()
            await asyncio.wait_for(leaving, 10)
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), following[0] - 1000 + len(hung))
    asked = {*hung, *(f"c{number}" for number in range(1000, following[0]))}
    assert Counter(effects(holding)) == Counter(dict.fromkeys(asked, 1))
    assert await outcomes(apache_kafka, prefix) == Counter(dict.fromkeys(asked, 1))


async def test_the_last_worker_that_ends_still_writes_the_outcomes_of_its_calls(
    apache_kafka: str, prefix: str, holding: HoldingRiver
) -> None:
    """Nobody took over meanwhile: the next worker finds all of them done and looks nothing up."""
    await command_topics(apache_kafka, prefix)
    one = commands_member(apache_kafka, prefix, holding, "one")
    async with running(one):
        await eventually(lambda: state(one) == PARTITIONS)
        hung = await hang(apache_kafka, prefix, holding)
        asyncio.get_running_loop().call_later(3.0, holding.gate.set)
    assert await outcomes(apache_kafka, prefix) == Counter(dict.fromkeys(hung, 1))
    async with running(commands_member(apache_kafka, prefix, holding, "two")):
        await ask(apache_kafka, prefix, 1000, 8)
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), 8 + len(hung))
    assert holding.looked == []


async def test_outcomes_of_calls_that_end_while_the_worker_leaves_the_group_are_written(
    apache_kafka: str, prefix: str, holding: HoldingRiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They end after the last transaction, and before the producer is closed no call is on its way any more."""
    await command_topics(apache_kafka, prefix)
    one = commands_member(apache_kafka, prefix, holding, "one")

    async def leave_slowly(consumer: AIOKafkaConsumer, seconds: float) -> None:
        await stop_consumer(consumer, seconds)
        holding.gate.set()
        await eventually(lambda: not any(part._pipeline.queues.active for part in parts(one)))

    async with running(one):
        await eventually(lambda: state(one) == PARTITIONS)
        hung = await hang(apache_kafka, prefix, holding)
        monkeypatch.setattr(consumers.group.membership, "stop_consumer", leave_slowly)
    assert await outcomes(apache_kafka, prefix) == Counter(dict.fromkeys(hung, 1))


def lose_an_answer_of_the_last_transaction(part: CommandPartition, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when aiokafka has repeated one of its requests: it has committed all the same."""
    transact = part._transact

    async def lose(*, leaving: bool = False) -> None:
        await transact(leaving=leaving)
        if leaving:
            monkeypatch.setattr(part, "_transact", transact)
            assert part._producer is not None
            assert part._producer._watch is not None
            part._producer._watch.unanswered += 1

    monkeypatch.setattr(part, "_transact", lose)


async def test_a_worker_that_leaves_never_fences_its_successor(
    apache_kafka: str, prefix: str, holding: HoldingRiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last transactions met lost answers, and its calls end after another worker has taken over: that one goes on."""
    await command_topics(apache_kafka, prefix)
    one, two = (commands_member(apache_kafka, prefix, holding, worker) for worker in ("one", "two"))
    stop = asyncio.Event()
    leaving = asyncio.create_task(one.run(stop))
    await eventually(lambda: state(one) == PARTITIONS)
    hung = await hang(apache_kafka, prefix, holding)
    for part in parts(one):
        lose_an_answer_of_the_last_transaction(part, monkeypatch)
    stop.set()
    async with running(two):
        await eventually(lambda: state(two) == PARTITIONS)
        await ask(apache_kafka, prefix, 1000, 20)
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), 20)
        assert not leaving.done()
        taken_over = [part.counters.takeovers for part in parts(two)]
        holding.gate.set()
        await asyncio.wait_for(leaving, 10)
        await ask(apache_kafka, prefix, 1020, 20)
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), 40 + len(hung))
        assert [part.counters.takeovers for part in parts(two)] == taken_over
    asked = [*hung, *(f"c{number}" for number in range(1000, 1040))]
    assert Counter(effects(holding)) == Counter(dict.fromkeys(asked, 1))
    assert await outcomes(apache_kafka, prefix) == Counter(dict.fromkeys(asked, 1))


async def test_a_worker_that_joins_while_another_ends_gets_no_partition_before_its_last_transaction(
    apache_kafka: str, prefix: str, holding: HoldingRiver
) -> None:
    """Or the last word would be fenced, and all that lies in the partition would be waited for as after a crash."""
    await command_topics(apache_kafka, prefix)
    one, two = (commands_member(apache_kafka, prefix, holding, worker) for worker in ("one", "two"))
    stop = asyncio.Event()
    leaving = asyncio.create_task(one.run(stop))
    await eventually(lambda: state(one) == PARTITIONS)
    hung = await hang(apache_kafka, prefix, holding)
    with capture_logs() as lines:
        stop.set()
        async with running(two):
            await eventually(lambda: state(two) == PARTITIONS)
            assert [line for line in lines if line["event"] == "partition_leave_failed"] == []
            holding.gate.set()
            await asyncio.wait_for(leaving, 10)
            await until(apache_kafka, prefixed(prefix, Topic.INBOX), len(hung))
    assert await outcomes(apache_kafka, prefix) == Counter(dict.fromkeys(hung, 1))


async def test_the_last_worker_writes_the_outcomes_of_its_calls_also_after_a_lost_answer(
    apache_kafka: str, prefix: str, holding: HoldingRiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its producers are renewed at once, while the group waits: later nobody could tell whether that fences a successor."""
    await command_topics(apache_kafka, prefix)
    one = commands_member(apache_kafka, prefix, holding, "one")
    async with running(one):
        await eventually(lambda: state(one) == PARTITIONS)
        hung = await hang(apache_kafka, prefix, holding)
        for part in parts(one):
            lose_an_answer_of_the_last_transaction(part, monkeypatch)
        asyncio.get_running_loop().call_later(2.0, holding.gate.set)
    assert await outcomes(apache_kafka, prefix) == Counter(dict.fromkeys(hung, 1))


SCAN_SECONDS = 4.0


async def test_a_call_that_hangs_stops_no_other_order_while_the_past_of_its_partition_is_read(
    apache_kafka: str, prefix: str, holding: HoldingRiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The successor needs some seconds for the past: then the others are called within 2 s, and a copy is not called again."""
    scanned_at: list[float] = []
    scan_ids = CommandReader.scan_ids

    async def scan_slowly(self: CommandReader, *given: Any) -> None:
        await asyncio.sleep(SCAN_SECONDS)
        await scan_ids(self, *given)
        scanned_at.append(time.monotonic())

    await command_topics(apache_kafka, prefix)
    one, two = (commands_member(apache_kafka, prefix, holding, worker) for worker in ("one", "two"))
    async with running(one):
        await ask(apache_kafka, prefix, 1000, 20)
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), 20)
        hung = await hang(apache_kafka, prefix, holding)
        asyncio.get_running_loop().call_later(30.0, holding.gate.set)
        monkeypatch.setattr(CommandReader, "scan_ids", scan_slowly)
        async with running(two):
            await eventually(lambda: len(two.owned) == PARTITIONS // 2 == state(two))
            await ask(apache_kafka, prefix, 1010, 30)  # the first ten are copies
            await until(apache_kafka, prefixed(prefix, Topic.INBOX), 50)
            assert len(scanned_at) == PARTITIONS // 2
            assert holding.acted_at[-1] - scanned_at[-1] < STANDSTILL_SECONDS_MAX
            assert not set(hung) & set(effects(holding))
            holding.gate.set()
            await until(apache_kafka, prefixed(prefix, Topic.INBOX), 50 + len(hung))
    assert Counter(effects(holding)) == Counter([*hung, *(f"c{number}" for number in range(1000, 1040))])
