"""What one worker does with its partitions: deadlines, offsets that do not fit, a broker that goes away."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

import consumers.ownership.deadline_barrier
from consumers.group.membership import Membership
from consumers.ownership.deadline_barrier import DeadlineBarrier
from consumers.ownership.owner import PartitionState
from producers.connection import KafkaConnection
from producers.publisher import Publisher
from statemachine.errors import ConfigError
from tests.kafka.cluster import KafkaCluster, leaders
from tests.kafka.server import KafkaServer
from tests.kernel.counting import make_membership, make_topics
from tests.kernel.members import member, part, send_unreadable
from tests.kernel.process import faults, publish, read_changes

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

PARTITIONS = 2


async def until_state(membership: Membership, number: int, state: PartitionState, seconds: float = 30.0) -> None:
    """Wait until a partition is in a state."""
    async with asyncio.timeout(seconds):
        while number not in membership.partitions or part(membership, number).state is not state:  # noqa: ASYNC110  # not announced
            await asyncio.sleep(0.05)


async def send(bootstrap: str, prefix: str, key: str, **value: object) -> None:
    """One record for the lane's first input."""
    async with Publisher(KafkaConnection(bootstrap)) as publisher:
        await publisher.send(f"{prefix}left", key.encode(), json.dumps(value).encode())


async def _answer_in_backlog(bootstrap: str, prefix: str) -> list[object]:
    """A deadline falls due while nobody works, and its answer is written meanwhile; the causes of all changes."""
    await make_topics(bootstrap, prefix, PARTITIONS)
    await send(bootstrap, prefix, "due-1", id="ask", due_in=1.0)
    async with member(bootstrap, prefix, PARTITIONS):
        await read_changes(bootstrap, prefix, PARTITIONS, 1, linger=0)
    await asyncio.sleep(1.2)
    await publish(bootstrap, prefix, 0, 200)
    await send(bootstrap, prefix, "due-1", id="answer")
    async with member(bootstrap, prefix, PARTITIONS):
        changes = await read_changes(bootstrap, prefix, PARTITIONS, 202, linger=1.5)
    return [change["id"] for change in changes if change["key"] == "due-1"]


async def test_a_deadline_waits_for_the_answer_that_is_in_the_backlog(apache_kafka: str, prefix: str) -> None:
    """What was written before a deadline is acted on is read before it fires, so an answer that is there counts."""
    assert await _answer_in_backlog(apache_kafka, prefix) == ["ask", "answer"]


async def test_the_backlog_rule_is_what_holds_the_deadline_back(
    apache_kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the rule switched off the deadline fires before the answer is read: the test above can fail."""
    monkeypatch.setattr(DeadlineBarrier, "_is_reached", lambda _: True)
    assert "deadline" in await _answer_in_backlog(apache_kafka, prefix)


async def test_a_deadline_fires_once_and_in_time(apache_kafka: str, prefix: str) -> None:
    """Without an answer the deadline fires, once, also when the worker changes right after."""
    await make_topics(apache_kafka, prefix, PARTITIONS)
    await send(apache_kafka, prefix, "due-1", id="ask", due_in=0.5)
    async with member(apache_kafka, prefix, PARTITIONS):
        await read_changes(apache_kafka, prefix, PARTITIONS, 2, linger=0)
    async with member(apache_kafka, prefix, PARTITIONS):
        changes = await read_changes(apache_kafka, prefix, PARTITIONS, 2, linger=1.5)
    assert [change["id"] for change in changes] == ["ask", "deadline"]


async def test_a_partition_whose_offsets_disagree_stays_stopped_and_says_how_to_repair_it(
    apache_kafka: str, prefix: str
) -> None:
    """Committed offsets that somebody moved stop that partition with a line for the operator; the other one works."""
    await make_topics(apache_kafka, prefix, PARTITIONS)
    await publish(apache_kafka, prefix, 0, 60)
    async with member(apache_kafka, prefix, PARTITIONS):
        await read_changes(apache_kafka, prefix, PARTITIONS, 60)
    await _rewind(apache_kafka, f"{prefix}counting", TopicPartition(f"{prefix}left", 0))
    async with member(apache_kafka, prefix, PARTITIONS) as membership:
        await until_state(membership, 0, PartitionState.STOPPED)
        problem = part(membership, 0).problem
        assert problem is not None
        assert "partitions accept 0" in problem
        await until_state(membership, 1, PartitionState.RUNNING)
        await publish(apache_kafka, prefix, 60, 60)
        later = await read_changes(apache_kafka, prefix, PARTITIONS, 60 + 20, linger=2.0)
    assert all(int(str(change["id"])[1:]) < 60 or change["n"] for change in later)
    assert len(later) < 120


async def test_a_transaction_that_hangs_is_a_problem_that_says_how_to_end_it(apache_kafka: str, prefix: str) -> None:
    """The partition fails readiness while it cannot be taken over, tries on, and works once the transaction is ended."""
    await make_topics(apache_kafka, prefix, PARTITIONS)
    await publish(apache_kafka, prefix, 0, 30)
    async with member(apache_kafka, prefix, PARTITIONS):
        await read_changes(apache_kafka, prefix, PARTITIONS, 30)
    other = AIOKafkaProducer(
        bootstrap_servers=apache_kafka, transactional_id=f"{prefix}other", transaction_timeout_ms=600_000
    )
    await other.start()
    await other.begin_transaction()
    await other.send_and_wait(f"{prefix}positions", b"junk", b"0", 0)
    try:
        async with member(
            apache_kafka, prefix, PARTITIONS, operation_seconds=2.0, trouble_seconds_max=3.0
        ) as membership:
            await until_state(membership, 1, PartitionState.RUNNING)
            async with asyncio.timeout(30.0):
                while part(membership, 0).problem is None:  # noqa: ASYNC110  # not announced
                    await asyncio.sleep(0.05)
            assert "kafka-transactions.sh find-hanging" in str(part(membership, 0).problem)
            assert part(membership, 1).problem is None
            await other.abort_transaction()
            await until_state(membership, 0, PartitionState.RUNNING)
            assert part(membership, 0).problem is None
            await publish(apache_kafka, prefix, 30, 30)
            assert faults(await read_changes(apache_kafka, prefix, PARTITIONS, 60), 60) == []
    finally:
        await other.stop()


async def _rewind(bootstrap: str, group: str, partition: TopicPartition) -> None:
    """What an operator with the wrong command does: move a committed offset while the group is empty."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([partition])
    await consumer.commit({partition: 1})
    await consumer.stop()


async def test_records_deleted_before_they_were_read_stop_the_partition(apache_kafka: str, prefix: str) -> None:
    """Retention that overtakes the lane is said, not skipped over."""
    await make_topics(apache_kafka, prefix, PARTITIONS)
    await publish(apache_kafka, prefix, 0, 60)
    async with member(apache_kafka, prefix, PARTITIONS):
        await read_changes(apache_kafka, prefix, PARTITIONS, 60)
    await publish(apache_kafka, prefix, 60, 60)
    admin = AIOKafkaAdminClient(bootstrap_servers=apache_kafka)
    await admin.start()
    await admin.delete_records({TopicPartition(f"{prefix}left", 0): RecordsToDelete(before_offset=-1)})
    await admin.close()
    async with member(apache_kafka, prefix, PARTITIONS) as membership:
        await until_state(membership, 0, PartitionState.STOPPED)
        problem = part(membership, 0).problem
        assert problem is not None
        assert "left should go on at offset" in problem


async def test_positions_pass_markers_before_retention_overtakes_them(
    apache_kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a quiet spell retention deletes all that was read, markers too: nothing is lost, so the partition starts again."""
    monkeypatch.setattr(consumers.ownership.deadline_barrier, "_IDLE_SECONDS", 0.3)
    await make_topics(apache_kafka, prefix, PARTITIONS)
    left = TopicPartition(f"{prefix}left", 0)
    writer = AIOKafkaProducer(bootstrap_servers=apache_kafka, transactional_id=f"{prefix}writer")
    async with writer, writer.transaction():
        await writer.send(left.topic, b'{"id": "e0"}', b"key-0", partition=0)
    async with member(apache_kafka, prefix, PARTITIONS):
        await read_changes(apache_kafka, prefix, PARTITIONS, 1, linger=1.5)
    admin = AIOKafkaAdminClient(bootstrap_servers=apache_kafka)
    await admin.start()
    await admin.delete_records({left: RecordsToDelete(before_offset=-1)})
    await admin.close()
    async with member(apache_kafka, prefix, PARTITIONS) as membership:
        await until_state(membership, 0, PartitionState.RUNNING)


async def test_a_record_that_cannot_be_parsed_stops_its_partition_only(apache_kafka: str, prefix: str) -> None:
    """A header name that is not valid UTF-8 breaks the client library: that partition says so, the other one works."""
    await make_topics(apache_kafka, prefix, PARTITIONS)
    await send_unreadable(apache_kafka, f"{prefix}left", 0)
    async with member(apache_kafka, prefix, PARTITIONS) as membership:
        await until_state(membership, 0, PartitionState.STOPPED)
        problem = part(membership, 0).problem
        assert problem is not None
        assert "left at offset 0" in problem
        await until_state(membership, 1, PartitionState.RUNNING)


@pytest.mark.chaos
@pytest.mark.timeout(90)
async def test_a_broker_that_dies_and_comes_back_costs_time_only(kafka_cluster: KafkaCluster, prefix: str) -> None:
    """Killed and restarted: the worker makes new producers, proves its stores and goes on; nothing is lost or doubled."""
    bootstrap = kafka_cluster.bootstrap
    await make_topics(bootstrap, prefix, PARTITIONS, replication=3)
    async with member(bootstrap, prefix, PARTITIONS, operation_seconds=4.0) as membership:
        await publish(bootstrap, prefix, 0, 100)
        await read_changes(bootstrap, prefix, PARTITIONS, 60, linger=0)
        ((victim, _),) = (await leaders(bootstrap)).most_common(1)
        await asyncio.to_thread(kafka_cluster.kill, victim)
        await asyncio.sleep(2)
        await asyncio.to_thread(kafka_cluster.restart, victim)
        await _published_after_restart(bootstrap, prefix)
        changes = await read_changes(bootstrap, prefix, PARTITIONS, 200, seconds=60)
        assert faults(changes, 200) == []
        assert all(part(membership, number).counters.restores == 1 for number in range(PARTITIONS))


async def _published_after_restart(bootstrap: str, prefix: str) -> None:
    async with asyncio.timeout(60):
        await publish(bootstrap, prefix, 100, 100)


@pytest.mark.chaos
async def test_a_frozen_broker_costs_time_only(own_kafka: KafkaServer, prefix: str) -> None:
    """Connections that hang are given up by our own limits; when the broker thaws the transaction in doubt is settled."""
    await make_topics(own_kafka.bootstrap, prefix, PARTITIONS)
    async with member(own_kafka.bootstrap, prefix, PARTITIONS, operation_seconds=2.0):
        sending = asyncio.create_task(publish(own_kafka.bootstrap, prefix, 0, 150, pause=0.02))
        await asyncio.sleep(1.5)
        await asyncio.to_thread(own_kafka.pause)
        await asyncio.sleep(6)
        await asyncio.to_thread(own_kafka.unpause)
        await sending
        changes = await read_changes(own_kafka.bootstrap, prefix, PARTITIONS, 150, seconds=60)
        assert faults(changes, 150) == []


async def test_a_session_that_the_broker_does_not_allow_is_reported_as_such(apache_kafka: str, prefix: str) -> None:
    """The setting is named: nobody looks for rights that are missing."""
    await make_topics(apache_kafka, prefix, 1)
    membership = make_membership(
        KafkaConnection(apache_kafka), prefix, 1, worker="a", incarnation="i", session_timeout_ms=3_600_000
    )
    with pytest.raises(ConfigError, match="ORDERFLOW_GROUP_SESSION_TIMEOUT is outside of what the broker allows"):
        await membership.run(asyncio.Event())
