"""Each guard of the order kernel against what it is there for; and the same again without it, which must show."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.records_to_delete import RecordsToDelete

from consumers.ownership.owner import PartitionState
from consumers.ownership.partition import OwnedPartition
from consumers.ownership.positions import Freshness, freshness
from producers.connection import KafkaConnection
from producers.outbox import OutboundRecord, Outbox
from producers.transaction import TransactionalProducer, TransactionStep
from statemachine.errors import BrokerUnavailable, TransactionAborted
from tests.eventually import eventually
from tests.kernel.counting import make_topics
from tests.kernel.members import member, part
from tests.kernel.process import faults, publish, read_changes

pytestmark = pytest.mark.timeout(90)

Patch = pytest.MonkeyPatch


async def limit_batches(bootstrap: str, topic: str, size: int) -> None:
    """Let a topic take batches of at most ``size`` bytes, from soon on."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        limit = {"max.message.bytes": str(size)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=limit)])
    finally:
        await admin.close()
    await asyncio.sleep(1.0)


async def with_a_batch_that_is_refused(kafka: str, prefix: str) -> list[str]:
    """One of a transaction's outputs cannot be written for a while; what is wrong at the end."""
    await make_topics(kafka, prefix, 1)
    async with member(kafka, prefix, 1):
        await publish(kafka, prefix, 0, 30)
        await read_changes(kafka, prefix, 1, 30)
        await limit_batches(kafka, f"{prefix}changes", 80)
        await publish(kafka, prefix, 30, 30)
        await asyncio.sleep(2.0)
        await limit_batches(kafka, f"{prefix}changes", 1_048_588)
        await publish(kafka, prefix, 60, 30)
        return faults(await read_changes(kafka, prefix, 1, 90, seconds=4), 90)


async def test_a_refused_batch_holds_back_its_whole_transaction(kafka: str, prefix: str) -> None:
    """Offsets and the other outputs wait with it, and all are written once when it is taken."""
    assert await with_a_batch_that_is_refused(kafka, prefix) == []


async def test_without_a_look_at_each_batch_a_refused_one_is_lost(kafka: str, prefix: str, monkeypatch: Patch) -> None:
    """Aiokafka commits after a batch that failed."""

    async def send(
        producer: AIOKafkaProducer, topic: str, partition: int, records: list[OutboundRecord], timestamp_ms: int
    ) -> int:
        batch = producer.create_batch()
        for key, value, headers in records:
            batch.append(timestamp=timestamp_ms, key=key, value=value, headers=list(headers))
        sent = await producer.send_batch(batch, topic, partition=partition)
        sent.add_done_callback(lambda done: done.exception())
        return -1

    monkeypatch.setattr(TransactionalProducer, "_send_partition", staticmethod(send))
    assert any(fault.startswith("lost") for fault in await with_a_batch_that_is_refused(kafka, prefix))


async def with_a_transaction_that_fails(kafka: str, prefix: str, step: TransactionStep) -> tuple[list[str], int]:
    """One that fails for us at ``step``: committed or not. What is wrong at the end, and how often the store was restored."""
    armed = False

    async def probe(_id: str, reached: TransactionStep) -> None:
        nonlocal armed
        if armed and reached is step:
            armed = False
            await asyncio.sleep(0.5)  # the commit, when it is on its way, lands
            raise BrokerUnavailable("Kafka did not answer")

    await make_topics(kafka, prefix, 1)
    async with member(kafka, prefix, 1, probe=probe) as membership:
        await publish(kafka, prefix, 0, 30)
        await read_changes(kafka, prefix, 1, 30)
        armed = True
        await publish(kafka, prefix, 30, 60)
        found = faults(await read_changes(kafka, prefix, 1, 90), 90)
        assert not armed, "nothing failed"
        return found, part(membership, 0).counters.restores


@pytest.mark.parametrize(
    "step", [TransactionStep.RECORDS_SENT, TransactionStep.OFFSETS_SENT, TransactionStep.COMMIT_IN_FLIGHT]
)
async def test_a_transaction_whose_end_is_in_doubt_is_settled_without_a_restore(
    kafka: str, prefix: str, step: TransactionStep
) -> None:
    """The position record tells whether it landed: then the overlay is folded into the store, and only then."""
    assert await with_a_transaction_that_fails(kafka, prefix, step) == ([], 1)


async def test_without_the_fold_the_store_is_behind_what_was_committed(
    kafka: str, prefix: str, monkeypatch: Patch
) -> None:
    """The next record of a key is then counted from an old state."""

    def never_fold(*arguments: Any, **more: Any) -> Freshness:  # whatever freshness takes
        found = freshness(*arguments, **more)
        return Freshness.CURRENT if found is Freshness.ONE_BEHIND else found

    monkeypatch.setattr("consumers.ownership.take_over.freshness", never_fold)
    found, _ = await with_a_transaction_that_fails(kafka, prefix, TransactionStep.COMMIT_IN_FLIGHT)
    assert any("came from state" in fault for fault in found)


async def test_a_store_that_is_changed_before_the_commit_is_ahead_of_it(
    kafka: str, prefix: str, monkeypatch: Patch
) -> None:
    """The records of a transaction that did not land are counted again, from a state that counts them already."""
    real = OwnedPartition._transact

    async def fold_first(
        owned: OwnedPartition, outbox: Any, changes: Mapping[str, bytes | None], *more: Any
    ) -> None:  # as _transact takes it
        assert owned._proven is not None
        owned._proven.store.apply(changes)
        await real(owned, outbox, changes, *more)

    monkeypatch.setattr(OwnedPartition, "_transact", fold_first)
    found, _ = await with_a_transaction_that_fails(kafka, prefix, TransactionStep.OFFSETS_SENT)
    assert any("came from state" in fault for fault in found)


@pytest.mark.parametrize(
    "step", [TransactionStep.RECORDS_SENT, TransactionStep.OFFSETS_SENT, TransactionStep.COMMIT_IN_FLIGHT]
)
async def test_a_failed_producer_is_never_asked_again(kafka: str, prefix: str, step: TransactionStep) -> None:
    """An abort after a failure can make aborted records visible, so nothing is asked of it; a new one ends what it left open."""

    async def probe(_id: str, reached: TransactionStep) -> None:
        if reached is step:
            raise BrokerUnavailable("Kafka did not answer")

    async def write(producer: TransactionalProducer, event: str) -> None:
        outbox = Outbox(producer.counts, home=0, home_count=1)
        change = {"key": "k", "before": 0, "n": 1, "id": event}
        outbox.add(f"{prefix}changes", b"k", json.dumps(change).encode())
        await producer.transact(outbox, {TopicPartition(f"{prefix}left", 0): 1}, timestamp_ms=1)

    def make(*, probed: bool) -> TransactionalProducer:
        return TransactionalProducer(
            KafkaConnection(kafka),
            group=f"{prefix}g",
            partition=0,
            topics=[f"{prefix}changes"],
            probe=probe if probed else None,
        )

    await make_topics(kafka, prefix, 1)
    failing, heir = make(probed=True), make(probed=False)
    await failing.start()
    with pytest.raises(TransactionAborted):
        await write(failing, "e0")
    assert not failing.alive
    with pytest.raises(TransactionAborted, match="is gone"):
        await write(failing, "e1")
    await heir.start()
    await write(heir, "e2")
    await heir.close()
    reported = [change["id"] for change in await read_changes(kafka, prefix, 1, 1)]
    assert reported in (["e2"], ["e0", "e2"]) if step is TransactionStep.COMMIT_IN_FLIGHT else reported == ["e2"]


async def lose_what_is_to_be_read(kafka: str, prefix: str, reported: Callable[[OwnedPartition], bool]) -> list[str]:
    """Records are deleted that a running partition has not read; what is wrong once ``reported`` holds."""
    await make_topics(kafka, prefix, 1)
    async with member(kafka, prefix, 1) as membership:
        await publish(kafka, prefix, 0, 24)
        await read_changes(kafka, prefix, 1, 24)
        lost = TopicPartition(f"{prefix}left", 0)
        membership._consumer.pause(lost)
        await asyncio.sleep(0.3)  # a fetch that is on its way
        await publish(kafka, prefix, 48, 24)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        try:
            end = await admin.delete_records({lost: RecordsToDelete(before_offset=-1)})
            assert end
        finally:
            await admin.close()
        membership._consumer.resume(lost)
        await publish(kafka, prefix, 96, 24)
        await eventually(lambda: reported(part(membership, 0)))
        problem = part(membership, 0).problem
        return [] if problem is None else [problem]


async def test_a_partition_whose_next_records_were_deleted_stops_and_says_so(kafka: str, prefix: str) -> None:
    """Nothing is skipped that nobody has accepted."""
    problems = await lose_what_is_to_be_read(kafka, prefix, lambda owned: owned.state is PartitionState.STOPPED)
    assert "has no offset 24 any more" in problems[0]


async def test_with_an_offset_reset_deleted_records_would_be_passed_over(
    kafka: str, prefix: str, monkeypatch: Patch
) -> None:
    """The default of Kafka's clients: the reader goes on as if nothing had been there."""

    def careless(**options: Any) -> AIOKafkaConsumer:  # whatever a consumer takes
        return AIOKafkaConsumer(**(options | {"auto_offset_reset": "earliest"}))

    monkeypatch.setattr("consumers.group.membership.AIOKafkaConsumer", careless)
    assert await lose_what_is_to_be_read(kafka, prefix, lambda owned: owned.counters.records == 48) == []


async def test_a_partition_that_leaves_does_not_count_records_that_it_has_dropped(
    kafka: str, prefix: str, monkeypatch: Patch
) -> None:
    """The consumer's position is then ahead of what was done; who resumed from it would lose the records between."""
    await make_topics(kafka, prefix, 1)
    async with member(kafka, prefix, 1) as membership:
        await publish(kafka, prefix, 0, 48)
        await read_changes(kafka, prefix, 1, 48)
        owned = part(membership, 0)
        before = dict(owned._input.next_offsets)
        real = AIOKafkaConsumer.position

        async def position(consumer: AIOKafkaConsumer, tp: TopicPartition) -> int:
            owned.leave()  # while it was looked up: records that are fetched from now on are dropped
            return int(await real(consumer, tp)) + 5

        monkeypatch.setattr(AIOKafkaConsumer, "position", position)
        await owned._input.refresh()
        assert owned._input.next_offsets == before
