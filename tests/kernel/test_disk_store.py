"""A worker that keeps its snapshots on disk, over restarts and kills: the same table as from Kafka alone."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumers.group.membership import Membership
from consumers.storage import disk
from orderflow.bootstrap import run_worker
from orderflow.embedded_kafka import EmbeddedKafka
from orderflow.settings import Settings
from producers.topic_setup import create_topics
from producers.topics import Lane
from producers.transaction import TransactionStep
from statemachine.errors import ConfigError, Disposition
from tests.eventually import eventually
from tests.kernel.counting import make_topics
from tests.kernel.members import member, part
from tests.kernel.process import faults, publish, read_changes, workers
from tests.kernel.stores import FOLDER

pytest.importorskip("rocksdict")
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the workers of the test keep their snapshots, each in a folder of its own."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


async def table(membership: Membership) -> dict[str, bytes]:
    """The snapshots of partition 0, once it is running."""
    await eventually(lambda: 0 in membership.partitions and part(membership, 0).snapshots is not None)
    store = part(membership, 0).snapshots
    assert store is not None
    return dict(store.items())


@pytest.mark.chaos
@pytest.mark.parametrize("step", [TransactionStep.RECORDS_SENT, TransactionStep.COMMIT_IN_FLIGHT])
async def test_a_worker_killed_in_a_transaction_finds_the_same_table_on_disk_and_in_kafka(
    folder: Path, prefix: str, step: TransactionStep
) -> None:
    """What it lost it reads again, what did not commit it does not have; a wiped folder gives the same."""
    async with EmbeddedKafka() as kafka:
        bootstrap = kafka.bootstrap
        await make_topics(bootstrap, prefix, 1)
        async with member(bootstrap, prefix, 1, "a"):
            await publish(bootstrap, prefix, 0, 60)
            await read_changes(bootstrap, prefix, 1, 60, linger=0.0)
        async with workers(bootstrap, prefix, 1) as starter:
            victim = await starter.start("a", session_ms=6000, fault={"point": step, "signal": "SIGKILL", "after": 3})
            await publish(bootstrap, prefix, 60, 60, pause=0.01)
            await victim.line_with("hit")
        with capture_logs() as lines:
            async with member(bootstrap, prefix, 1, "a") as membership:
                changes = await read_changes(bootstrap, prefix, 1, 120, linger=0.3)
                from_disk = await table(membership)
        begun = [line["begin"] for line in lines if line["event"] == "partition_restored"]
        assert begun != ["empty"], "the store was not gone on with"
        shutil.rmtree(folder)
        async with member(bootstrap, prefix, 1, "a") as membership:
            from_kafka = await table(membership)
    assert faults(changes, 120) == []
    assert from_disk == from_kafka
    assert len(from_disk) == 24


async def test_a_disk_that_is_full_stops_its_partition_and_not_the_others(
    folder: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker goes on with the other one; with room again, the next start has everything once."""
    real, full = disk.DiskStore.apply, True

    def apply(store: disk.DiskStore, *given: object) -> None:
        if full and store._number == 1 and given[0]:
            raise store._failed(OSError("IO error: No space left on device: While appending to file"))
        real(store, *given)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(disk.DiskStore, "apply", apply)
    async with EmbeddedKafka() as kafka:
        await make_topics(kafka.bootstrap, prefix, 2)
        async with member(kafka.bootstrap, prefix, 2) as membership:
            await publish(kafka.bootstrap, prefix, 0, 60)
            await eventually(lambda: bool(part(membership, 1).problem))
            problem, other = part(membership, 1).problem, part(membership, 0)
            await publish(kafka.bootstrap, prefix, 60, 60)
            committed = Counter(str(change["key"]) for change in await read_changes(kafka.bootstrap, prefix, 1, 120))
            assert other.problem is None
        full = False
        async with member(kafka.bootstrap, prefix, 2):
            changes = await read_changes(kafka.bootstrap, prefix, 2, 120)
    assert problem is not None
    assert "No space left on device" in problem
    assert f"{prefix}counts-1" in problem
    assert set(committed.values()) == {5}
    assert faults(changes, 120) == []


async def test_a_database_that_is_damaged_while_it_is_used_is_built_anew(
    folder: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to do anything."""
    real, damaged = disk.DiskStore.get, False

    def get(store: disk.DiskStore, key: str) -> bytes | None:
        nonlocal damaged
        if damaged:
            damaged = False
            raise store._failed(ValueError("Corruption: block checksum mismatch"))
        return real(store, key)

    monkeypatch.setattr(disk.DiskStore, "get", get)
    assert disk.StoreDamaged.disposition is Disposition.REFENCE
    async with EmbeddedKafka() as kafka:
        await make_topics(kafka.bootstrap, prefix, 1)
        async with member(kafka.bootstrap, prefix, 1) as membership:
            await publish(kafka.bootstrap, prefix, 0, 60)
            await read_changes(kafka.bootstrap, prefix, 1, 60, linger=0.0)
            damaged = True
            await publish(kafka.bootstrap, prefix, 60, 60)
            changes = await read_changes(kafka.bootstrap, prefix, 1, 120)
            assert part(membership, 0).counters.restores == 2
    assert faults(changes, 120) == []


async def test_a_worker_keeps_orders_where_the_setting_says_and_alone(tmp_path: Path) -> None:
    """Each partition has a database there; a second worker with the same folder does not start, and disturbs nobody."""
    stop = asyncio.Event()
    async with EmbeddedKafka() as kafka:
        settings = Settings(kafka_bootstrap=kafka.bootstrap, store=f"rocksdb:{tmp_path / 'orders'}")
        await create_topics(settings.connection(), "", partitions=2)
        working = asyncio.create_task(run_worker(settings, [Lane.ORDERS], stop=stop))
        await eventually(lambda: all((tmp_path / f"orders/orders-{number}/CURRENT").exists() for number in range(2)))
        with pytest.raises(ConfigError, match="another process uses this folder"):
            await run_worker(settings, [Lane.ORDERS], stop=asyncio.Event())
        assert not working.done()
        stop.set()
        await working
