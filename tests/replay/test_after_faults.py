"""A history that was written while workers were killed, frozen and replaced is decided the same again."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from orderflow.replay.check import tasks_of
from orderflow.replay.findings import together
from orderflow.replay.partition import replay_partition
from producers.topics import Topic
from producers.transaction import TransactionStep
from tests.chaos.load import make_load
from tests.chaos.stack import FROZEN_SECONDS, stack

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(240)]


async def test_kills_and_rebalances_leave_a_history_that_replays(
    apache_kafka: str, prefix: str, tmp_path: Path
) -> None:
    """Aborted transactions, transactions with an unknown result, resumes and take-overs included."""
    load = make_load(36)
    async with stack(apache_kafka, prefix, tmp_path) as running:
        steps = (TransactionStep.RECORDS_SENT, TransactionStep.COMMIT_IN_FLIGHT)
        for step, kind in zip(steps, ("SIGKILL", "SIGSTOP"), strict=True):
            await running.start(fault=running.fault(step, kind, after=4, group="orderflow.orders"))
        await running.start()
        await running.send(load.skus)
        running.strike()
        await running.send(load.buying)
        await asyncio.gather(running.send(load.shipping), asyncio.sleep(FROZEN_SECONDS))
        for worker in running.workers:
            worker.send(signal.SIGCONT)
        await running.start()
        await running.until(load.ends, 150)
        changes = await running.read(Topic.ORDER_STATE_CHANGES)
        tasks = await tasks_of(running.settings, since=0)
        found = together([await replay_partition(task) for task in tasks])
    assert found.differences == []
    assert (found.short, found.gaps, found.left_out) == ([], [], {})
    assert found.orders.whole == len(load.ends)
    assert found.changes >= len(changes) - 5  # workers may have gone on meanwhile
