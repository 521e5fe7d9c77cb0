"""One worker for all partitions of a fleet: it takes them over in turns, each at its first try, and stays alive meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator

import pytest

from consumers.ownership.owner import TAKE_OVERS_MAX, PartitionState
from consumers.ownership.partition import OwnedPartition
from producers.transaction import TransactionalProducer
from tests.eventually import eventually
from tests.kernel.counting import make_topics
from tests.kernel.members import member, part

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(280)]

#: In each run three times as many as take over at once; the soak takes a fleet's, or as many as ``PARTITIONS`` says.
FEW, MANY = 3 * TAKE_OVERS_MAX, int(os.environ.get("PARTITIONS", "100"))


@contextlib.asynccontextmanager
async def longest_hold() -> AsyncIterator[list[float]]:
    """For how long nothing else got the loop, in seconds, at most."""
    held = [0.0]

    async def tick() -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            held[0], last = max(held[0], now - last - 0.005), now

    ticking = asyncio.create_task(tick())
    try:
        yield held
    finally:
        ticking.cancel()


@pytest.mark.parametrize("partitions", [FEW, pytest.param(MANY, marks=pytest.mark.soak)])
async def test_many_partitions_are_taken_over_each_at_its_first_try(
    apache_kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch, partitions: int
) -> None:
    """As many inits at once as Kafka and one process stand; the others wait for their turn, and no limit runs meanwhile."""
    at_once, most = 0, 0
    start = TransactionalProducer.start

    async def counted(producer: TransactionalProducer) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            await start(producer)
        finally:
            at_once -= 1

    monkeypatch.setattr(TransactionalProducer, "start", counted)
    await make_topics(apache_kafka, prefix, partitions)
    began = time.monotonic()
    async with member(apache_kafka, prefix, partitions) as membership, longest_hold() as held:

        def running() -> int:
            return sum(part(membership, number).state is PartitionState.RUNNING for number in membership.partitions)

        await eventually(lambda: running() == partitions, 200)
        print(f"{partitions} partitions in {time.monotonic() - began:.1f} s, loop held {held[0] * 1000:.0f} ms")  # noqa: T201
        tries = [part(membership, number).counters.takeovers for number in range(partitions)]
        assert tries == [1] * partitions, f"{sum(tries) - partitions} take-overs failed"
        assert most <= TAKE_OVERS_MAX
        assert held[0] < 3.0, "heartbeats would miss the session"


async def test_who_is_taken_away_while_it_waits_for_its_turn_gives_it_up(apache_kafka: str, prefix: str) -> None:
    """A rebalance does not wait for take-overs that have not begun; what was proven before stays so."""
    await make_topics(apache_kafka, prefix, 2)
    async with member(apache_kafka, prefix, 2) as membership:
        await eventually(lambda: len(membership.partitions) == 2)
        first: OwnedPartition = part(membership, 0)
        await eventually(lambda: first.state is PartitionState.RUNNING)
        for _ in range(TAKE_OVERS_MAX):
            await membership._turns.acquire()
        await membership.on_partitions_revoked(membership._consumer.assignment())
        membership.on_partitions_assigned(membership._consumer.assignment())
        await asyncio.sleep(0.3)
        assert first.state is PartitionState.ASSIGNED, "it waits"
        loop, began = asyncio.get_running_loop(), time.monotonic()
        for _ in range(TAKE_OVERS_MAX):
            loop.call_later(0.3, membership._turns.release)  # those that had one are told to leave, too
        await membership.on_partitions_revoked(membership._consumer.assignment())
        assert time.monotonic() - began < 3
        membership.on_partitions_assigned(membership._consumer.assignment())
        await eventually(lambda: first.state is PartitionState.RUNNING)
        assert (first.counters.restores, first.counters.resumes) == (1, 1)
