"""Steps that are cut off half way: nothing unproven is gone on with, and trouble in one partition stays there."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CorruptRecordException

from consumers.ownership.changelog import ChangelogReader
from consumers.ownership.owner import PartitionState
from producers.partitioner import partition_of
from producers.transaction import TransactionStep
from statemachine.errors import BrokerUnavailable
from tests.eventually import eventually
from tests.kernel.counting import make_topics
from tests.kernel.members import member, part, send_unreadable
from tests.kernel.process import faults, publish, read_changes

pytestmark = pytest.mark.timeout(90)

AWAY = BrokerUnavailable("Kafka did not tell its offsets")


class FailingLook:
    """Lets looks at the first offsets of the lane's inputs fail, while ``fails``; they are the last step of a take-over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
        self.fails = False
        self.failed = 0
        real = ChangelogReader.beginnings

        async def beginnings(
            reader: ChangelogReader, partitions: Iterable[TopicPartition]
        ) -> dict[TopicPartition, int]:
            asked = list(partitions)
            if self.fails and any(tp.topic == f"{prefix}left" for tp in asked):
                self.fails = False
                self.failed += 1
                raise AWAY
            return await real(reader, asked)

        monkeypatch.setattr(ChangelogReader, "beginnings", beginnings)


async def test_a_take_over_that_fails_at_its_end_after_a_transaction_that_failed_loses_nothing(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its producer is alive and its store is proven, but where to go on was not found out yet."""
    look, strikes = FailingLook(monkeypatch, prefix), [True]
    armed = False

    async def probe(_id: str, step: TransactionStep) -> None:
        nonlocal armed
        if armed and step is TransactionStep.RECORDS_SENT and strikes:
            strikes.clear()
            look.fails = True
            raise BrokerUnavailable("Kafka did not finish sending records")

    await make_topics(kafka, prefix, 1)
    async with member(kafka, prefix, 1, probe=probe):
        await publish(kafka, prefix, 0, 30)
        await read_changes(kafka, prefix, 1, 30)
        armed = True
        await publish(kafka, prefix, 30, 30)
        await eventually(lambda: look.failed == 1)
        await publish(kafka, prefix, 60, 30)
        changes = await read_changes(kafka, prefix, 1, 90)
    assert faults(changes, 90) == []


async def test_a_take_over_that_fails_at_its_end_does_not_go_on_from_before_another_owner(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The partition was somebody else's meanwhile: what we remember of it is old, though our new producer commits."""
    look = FailingLook(monkeypatch, prefix)
    await make_topics(kafka, prefix, 2)
    async with member(kafka, prefix, 2, "one") as one:
        await publish(kafka, prefix, 0, 48)
        await read_changes(kafka, prefix, 2, 48)
        async with member(kafka, prefix, 2, "two") as two:
            await eventually(lambda: len(one.owned) == 1 == len(two.owned))
            await publish(kafka, prefix, 48, 48)
            await read_changes(kafka, prefix, 2, 96)
            look.fails = True
        await eventually(lambda: look.failed == 1)
        await publish(kafka, prefix, 96, 48)
        changes = await read_changes(kafka, prefix, 2, 144)
    assert faults(changes, 144) == []


async def test_a_record_that_cannot_be_parsed_costs_the_other_partitions_nothing(kafka: str, prefix: str) -> None:
    """Aiokafka has taken from all partitions when one of them raises: what it took is read again."""
    partitions, records = 4, 1300
    await make_topics(kafka, prefix, partitions)
    async with member(kafka, prefix, partitions) as membership:
        await publish(kafka, prefix, 0, 100, keys=50)
        await read_changes(kafka, prefix, partitions, 100)
        publishing = asyncio.gather(*(publish(kafka, prefix, 100 + 250 * n, 250, keys=50) for n in range(4)))
        await asyncio.sleep(0.2)
        await send_unreadable(kafka, f"{prefix}left", 3)
        await publishing
        await eventually(lambda: part(membership, 3).state is PartitionState.STOPPED)
        await publish(kafka, prefix, 1100, 200, keys=50)
        others = [n for n in range(records) if partition_of(f"key-{n % 50}".encode(), partitions) != 3]
        changes = await read_changes(kafka, prefix, partitions, records, seconds=8, linger=2)
        problem = part(membership, 3).problem
        assert problem is not None
        assert "cannot be read at all" in problem
        assert all(part(membership, n).state is PartitionState.RUNNING for n in range(3))
    reported = [str(change["id"]) for change in changes]
    assert {f"e{n}" for n in others} - set(reported) == set()
    assert len(reported) == len(set(reported))


async def test_a_record_whose_checksum_is_wrong_stops_its_partition_only(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays wrong however often it is fetched. No broker takes such a batch, but a disk may spoil one."""
    real = FetchResult.getall

    def getall(result: FetchResult, max_records: int | None = None) -> list[ConsumerRecord]:
        if spoilt and result._topic_partition == TopicPartition(f"{prefix}left", 0):
            raise CorruptRecordException("checksum")
        return list(real(result, max_records))

    spoilt = False
    monkeypatch.setattr(FetchResult, "getall", getall)
    await make_topics(kafka, prefix, 2)
    async with member(kafka, prefix, 2) as membership:
        await publish(kafka, prefix, 0, 48)
        await read_changes(kafka, prefix, 2, 48)
        spoilt = True
        await publish(kafka, prefix, 48, 96)
        await eventually(lambda: part(membership, 0).state is PartitionState.STOPPED)
        others = [n for n in range(144) if partition_of(f"key-{n % 24}".encode(), 2) == 1]
        await eventually(lambda: part(membership, 1).counters.records == len(others))


async def test_transactions_that_are_refused_for_ever_are_a_problem_until_one_is_taken(kafka: str, prefix: str) -> None:
    """Every take-over between them succeeds, so only what was committed counts."""
    refusing = True

    async def probe(_id: str, step: TransactionStep) -> None:
        if refusing and step is TransactionStep.RECORDS_SENT:
            raise BrokerUnavailable("a batch was refused")

    await make_topics(kafka, prefix, 1)
    async with member(kafka, prefix, 1, probe=probe, trouble_seconds_max=1.0) as membership:
        await publish(kafka, prefix, 0, 30)
        await eventually(lambda: 0 in membership.partitions and part(membership, 0).problem is not None)
        problem = part(membership, 0).problem
        assert problem is not None
        assert "partition 0: no progress" in problem
        assert "a batch was refused" in problem
        refusing = False
        assert faults(await read_changes(kafka, prefix, 1, 30), 30) == []
        assert part(membership, 0).problem is None


async def test_a_restore_does_not_hold_up_a_rebalance(kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut off, and begun again by whoever owns the partition then; the other partitions go on at once."""
    real, let = ChangelogReader.read_all, asyncio.Event()

    async def read_all(reader: ChangelogReader, partition: TopicPartition, *given: object) -> int:
        if partition.partition == 0:
            await let.wait()
        return await real(reader, partition, *given)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(ChangelogReader, "read_all", read_all)
    await make_topics(kafka, prefix, 2)
    async with member(kafka, prefix, 2, "one", session_timeout_ms=10_000) as one:
        await eventually(lambda: 1 in one.partitions and part(one, 1).state is PartitionState.RUNNING)
        assert part(one, 0).state is PartitionState.RESTORING
        assert one.starting == f"taking over partitions 0 of group {prefix}counting", "it is not ready"
        began = time.monotonic()
        async with member(kafka, prefix, 2, "two", session_timeout_ms=10_000) as two:
            await eventually(lambda: len(one.owned) == 1 == len(two.owned))
            assert time.monotonic() - began < 6
            let.set()
            await eventually(
                lambda: sum(part(m, n).state is PartitionState.RUNNING for m in (one, two) for n in m.owned) == 2
            )


async def test_leaving_while_a_rebalance_waits_ends_what_is_on_its_way(kafka: str, prefix: str) -> None:
    """SIGTERM comes while a batch of a partition that was just taken away is being committed: it is committed."""
    held, let = asyncio.Event(), asyncio.Event()

    async def probe(_id: str, step: TransactionStep) -> None:
        if step is TransactionStep.OFFSETS_SENT and not let.is_set() and armed:
            held.set()
            await let.wait()

    armed = False
    await make_topics(kafka, prefix, 2)
    async with contextlib.AsyncExitStack() as leaving:
        one = await leaving.enter_async_context(member(kafka, prefix, 2, "one", probe=probe))
        await publish(kafka, prefix, 0, 24)
        await read_changes(kafka, prefix, 2, 24)
        armed = True
        await publish(kafka, prefix, 24, 24)
        await asyncio.wait_for(held.wait(), 20)
        async with member(kafka, prefix, 2, "two"):
            await eventually(lambda: not one.owned)
            gone = asyncio.create_task(leaving.aclose())
            await asyncio.sleep(1.0)
            assert not gone.done(), "it left with a batch on its way"
            let.set()
            await gone
            assert part(one, 0).counters.records + part(one, 1).counters.records > 24, "it was cut off"
            changes = await read_changes(kafka, prefix, 2, 48)
    assert faults(changes, 48) == []
