"""One writer per partition and each record exactly once, whatever happens to the worker that had it. On Apache Kafka."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from producers.transaction import TransactionStep
from tests.kernel.counting import make_topics
from tests.kernel.process import faults, publish, read_changes, workers

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(120)]

PARTITIONS = 4
RECORDS = 360
#: A broker that was given to the tests may refuse sessions below its default minimum.
SESSION_MS = 6000 if os.environ.get("KAFKA_BOOTSTRAP") else 3000
STEPS = (TransactionStep.RECORDS_SENT, TransactionStep.OFFSETS_SENT, TransactionStep.COMMIT_IN_FLIGHT)


async def _with_a_fault(
    bootstrap: str, prefix: str, step: TransactionStep, kind: str, *, mutant: str | None = None
) -> list[str]:
    """Two workers, one of which is stopped or killed at ``step``; what is wrong afterwards."""
    await make_topics(bootstrap, prefix, PARTITIONS)
    more: dict[str, object] = {"session_ms": SESSION_MS} | ({"mutant": mutant} if mutant else {})
    async with workers(bootstrap, prefix, PARTITIONS) as starter:
        sending = asyncio.create_task(publish(bootstrap, prefix, 0, RECORDS, pause=0.02))
        victim = await starter.start("a", fault={"point": step, "signal": kind, "after": 6}, **more)
        await starter.start("b", **more)
        await victim.line_with("hit")
        # frozen past its own limits and its session, in which the other one takes over and goes on
        await asyncio.sleep(SESSION_MS / 1000 + 2.5)
        victim.send(signal.SIGCONT)
        await sending
        return faults(await read_changes(bootstrap, prefix, PARTITIONS, RECORDS), RECORDS)


@pytest.mark.parametrize("kind", ["SIGSTOP", "SIGKILL"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_worker_hit_inside_a_transaction_loses_and_doubles_nothing(
    apache_kafka: str, prefix: str, step: TransactionStep, kind: str
) -> None:
    """Every record is counted once, from the state before it, though its worker was killed or frozen and woken."""
    assert await _with_a_fault(apache_kafka, prefix, step, kind) == []


@pytest.mark.soak
@pytest.mark.parametrize("mutant", ["id_without_partition", "store_not_proven"])
async def test_without_its_guard_the_same_fault_shows(apache_kafka: str, prefix: str, mutant: str) -> None:
    """The check sees what it is for: with a guard switched off, a frozen worker doubles or breaks something within five tries."""
    for attempt in range(5):
        step = STEPS[attempt % len(STEPS)]
        if await _with_a_fault(apache_kafka, f"{prefix}{attempt}.", step, "SIGSTOP", mutant=mutant):
            return
    pytest.fail(f"{mutant} went unnoticed")


async def test_partitions_that_do_not_move_restore_nothing(apache_kafka: str, prefix: str) -> None:
    """In a rolling restart of one of three workers the others keep producers and stores: one restore each, all told."""
    await make_topics(apache_kafka, prefix, 6)
    async with workers(apache_kafka, prefix, 6) as starter:
        names = ("a", "b", "c")
        first = {name: await starter.start(name, session_ms=SESSION_MS) for name in names}
        await publish(apache_kafka, prefix, 0, 120)
        await read_changes(apache_kafka, prefix, 6, 120)
        gone = await first["b"].leave()
        await publish(apache_kafka, prefix, 120, 120)
        await starter.start("b", session_ms=SESSION_MS)
        await publish(apache_kafka, prefix, 240, 120)
        changes = await read_changes(apache_kafka, prefix, 6, 360)
        assert faults(changes, 360) == []
        for name in ("a", "c"):
            counters = await first[name].leave()
            stayed = [p for p in counters if p not in gone and counters[p]["records"]]
            assert stayed, f"{name} owned nothing through the restart"
            assert {counters[p]["restores"] for p in stayed} == {1}
            assert any(counters[p]["resumes"] for p in stayed), "no rebalance was seen"


async def test_a_storm_of_rebalances_loses_and_doubles_nothing(apache_kafka: str, prefix: str) -> None:
    """Workers that come and go in quick succession hand over cleanly each time."""
    await make_topics(apache_kafka, prefix, PARTITIONS)
    async with workers(apache_kafka, prefix, PARTITIONS) as starter:
        await starter.start("stays", session_ms=SESSION_MS)
        sending = asyncio.create_task(publish(apache_kafka, prefix, 0, RECORDS, pause=0.03))
        for number in range(4):
            guest = await starter.start(f"guest-{number}", session_ms=SESSION_MS)
            await asyncio.sleep(0.5)
            await guest.leave()
        await sending
        assert faults(await read_changes(apache_kafka, prefix, PARTITIONS, RECORDS), RECORDS) == []
