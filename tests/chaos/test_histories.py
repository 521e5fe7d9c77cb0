"""A thousand real order histories through the whole stack, quietly and with faults. They are read from beside the project.

``ORDERFLOW_HISTORIES`` names a file for ``events send``; ``<name>.expected.json`` beside it says how each order must end. Their
licence keeps them out of the project, so the tests are skipped where they are absent.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from producers.transaction import TransactionStep
from tests.chaos.load import Line, Load
from tests.chaos.stack import FROZEN_SECONDS, Stack, processes, until_held
from tests.kafka.cluster import KafkaCluster, leaders

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.soak, pytest.mark.timeout(600)]

HISTORIES = Path(
    os.environ.get("ORDERFLOW_HISTORIES", Path(__file__).parents[3] / "shared" / "data" / "olist-1000.jsonl")
)
SECONDS = 240.0


@pytest.fixture
def histories() -> tuple[list[Line], Load]:
    """The records in the order in which they happened, and how the orders end."""
    expected = HISTORIES.with_suffix(".expected.json")
    if not HISTORIES.exists() or not expected.exists():
        pytest.skip("no order histories here: ORDERFLOW_HISTORIES names a file")
    lines: list[Line] = [json.loads(line) for line in HISTORIES.read_text().splitlines()]
    ends = json.loads(expected.read_text())
    load = Load()
    for order_id, end in ends.items():
        load.ends[order_id] = end["state"]
        load.shipments[order_id] = end["shipments"] if end["state"] == "complete" else 0
    return lines, load


async def _finished(running: Stack, load: Load) -> list[str]:
    await running.until(load.ends, SECONDS)
    return await running.faults(load)


async def test_a_thousand_histories_end_as_they_did(
    apache_kafka: str, prefix: str, tmp_path: Path, histories: tuple[list[Line], Load]
) -> None:
    """Every order ends as expected, sequences have no gap, no dead letter, money equals the books to the cent."""
    lines, load = histories
    async with processes(apache_kafka, prefix, tmp_path) as running:
        await running.start()
        await running.start()
        await running.send(lines)
        assert await _finished(running, load) == []


@pytest.mark.parametrize("kind", ["SIGSTOP", "SIGKILL"])
@pytest.mark.parametrize(
    ("lane", "at"),
    [
        ("orders", TransactionStep.RECORDS_SENT),
        ("orders", TransactionStep.OFFSETS_SENT),
        ("orders", TransactionStep.COMMIT_IN_FLIGHT),
        ("commands", TransactionStep.RECORDS_SENT),
        ("commands", TransactionStep.OFFSETS_SENT),
        ("commands", TransactionStep.COMMIT_IN_FLIGHT),
        ("commands", "before_call"),
        ("commands", "answered"),
    ],
)
async def test_a_thousand_histories_with_a_fault_end_as_they_did(
    apache_kafka: str,
    prefix: str,
    tmp_path: Path,
    histories: tuple[list[Line], Load],
    lane: str,
    at: str,
    kind: str,
) -> None:
    """The same, though a worker is killed, or frozen past its limits and woken, at a fixed point in the middle of it."""
    lines, load = histories
    async with processes(apache_kafka, prefix, tmp_path) as running:
        group = f"orderflow.{lane}" if isinstance(at, TransactionStep) else ""
        victim = await running.start(fault=running.fault(at, kind, after=20, group=group))
        await running.start()
        running.strike()
        sending = asyncio.create_task(running.send(lines))
        await victim.line_with("hit")
        await asyncio.gather(sending, asyncio.sleep(FROZEN_SECONDS))
        victim.send(signal.SIGCONT)
        await running.start()
        assert await _finished(running, load) == []


@pytest.mark.parametrize("kind", ["SIGSTOP", "SIGKILL"])
@pytest.mark.parametrize("point", ["before", "after"])
async def test_a_thousand_histories_with_requests_that_are_not_answered_end_as_they_did(
    apache_kafka: str, prefix: str, tmp_path: Path, histories: tuple[list[Line], Load], point: str, kind: str
) -> None:
    """The same, though the only caller is killed or frozen with requests on the wire, before their effect or after it."""
    lines, load = histories
    async with processes(apache_kafka, prefix, tmp_path) as running:
        await running.start(("orders", "webhooks", "catalogue"))
        victim = await running.start(("commands",))
        sending = asyncio.create_task(running.send(lines))
        await asyncio.sleep(3)  # in the middle
        await running.ask("POST", "/_admin/gates", {"method": "POST", "path": "/fulfillments", "point": point})
        await until_held(running)
        victim.send(signal.Signals[kind])
        await running.start(("commands",))
        await asyncio.sleep(1)
        await running.ask("POST", "/_admin/gates/open")
        await asyncio.gather(sending, asyncio.sleep(FROZEN_SECONDS))
        victim.send(signal.SIGCONT)
        assert await _finished(running, load) == []


async def test_a_thousand_histories_over_a_broker_that_is_killed_and_restarted_end_as_they_did(
    kafka_cluster: KafkaCluster, prefix: str, tmp_path: Path, histories: tuple[list[Line], Load]
) -> None:
    """The same, though the broker that leads most partitions dies in the middle of it and comes back."""
    lines, load = histories
    bootstrap = kafka_cluster.bootstrap
    async with processes(bootstrap, prefix, tmp_path, replication=3) as running:
        await running.start()
        await running.start()
        sending = asyncio.create_task(running.send(lines))
        await asyncio.sleep(5)
        ((victim, _),) = (await leaders(bootstrap)).most_common(1)
        await asyncio.to_thread(kafka_cluster.kill, victim)
        await asyncio.sleep(2)
        await asyncio.to_thread(kafka_cluster.restart, victim)
        await sending
        assert await _finished(running, load) == []
