"""Consumer groups: who gets what, when a rebalance happens, who is put out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, InvalidSessionTimeoutError, KafkaError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import (
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    ProtocolMetadata,
    SyncGroupRequest,
)

from tests.contract.broker.cluster import RETRY_MS, Ask, Cluster
from tests.eventually import eventually

UNKNOWN_MEMBER_ID = 25
ILLEGAL_GENERATION = 22
REBALANCE_IN_PROGRESS = 27
INCONSISTENT_GROUP_PROTOCOL = 23
MEMBER_ID_REQUIRED = 79
FENCED_INSTANCE_ID = 82


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Counts how often the group gave partitions out."""

    def __init__(self) -> None:
        self.count = 0

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Not counted: each revocation is followed by an assignment."""

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Count."""
        self.count += 1


@asynccontextmanager
async def _member(
    cluster: Cluster, topic: str, group: str, listener: Rebalances | None = None, **options: object
) -> AsyncIterator[AIOKafkaConsumer]:
    async with cluster.consumer(group_id=group, **options) as consumer:
        consumer.subscribe([topic], listener=listener or Rebalances())
        yield consumer


async def _own(*expected: tuple[AIOKafkaConsumer, int], seconds: float = 10) -> None:
    """Wait until each consumer owns so many partitions."""

    async def as_expected() -> bool:
        return all(len(consumer.assignment()) == count for consumer, count in expected)

    await eventually(as_expected, seconds)


async def _crash(consumer: AIOKafkaConsumer) -> None:
    """End a consumer as a killed process would: its connections break and no leave is sent."""
    consumer._coordinator.reset_generation = lambda: None
    consumer._coordinator.generation = -1
    await consumer.stop()


async def test_two_members_share_a_topic(cluster: Cluster) -> None:
    """A second member takes half, and gives it back at once when it leaves."""
    topic = await cluster.topic(partitions=4)
    group = cluster.name("group")
    async with _member(cluster, topic, group) as one:
        await _own((one, 4))
        async with _member(cluster, topic, group) as two:
            await _own((one, 2), (two, 2))
            assert not one.assignment() & two.assignment()
        began = time.monotonic()
        await _own((one, 4))
        assert time.monotonic() - began < cluster.session_timeout_ms / 1000


async def test_members_beyond_the_partitions_own_nothing(cluster: Cluster) -> None:
    """Three members and two partitions: one member waits in reserve."""
    topic = await cluster.topic(partitions=2)
    group = cluster.name("group")
    async with (
        _member(cluster, topic, group) as one,
        _member(cluster, topic, group) as two,
        _member(cluster, topic, group) as three,
    ):

        async def shared() -> bool:
            return sorted(len(each.assignment()) for each in (one, two, three)) == [0, 1, 1]

        await eventually(shared, 10)


async def test_a_silent_member_is_put_out_after_its_session(cluster: Cluster) -> None:
    """Without heartbeats its partitions go to the others after the session timeout, not before."""
    topic = await cluster.topic(partitions=4)
    group = cluster.name("group")
    async with _member(cluster, topic, group) as one:
        async with _member(cluster, topic, group, heartbeat_interval_ms=100) as two:
            await _own((one, 2), (two, 2))
            await _crash(two)
        began = time.monotonic()
        await _own((one, 4), seconds=cluster.session_timeout_ms / 1000 + 5)
        assert time.monotonic() - began > cluster.session_timeout_ms / 1000 - 0.5


async def test_a_session_below_the_brokers_least_is_refused(cluster: Cluster) -> None:
    """``group.min.session.timeout.ms`` bounds what a member may ask for."""
    topic = await cluster.topic()
    with pytest.raises(InvalidSessionTimeoutError):
        async with _member(
            cluster, topic, cluster.name("group"), session_timeout_ms=300, heartbeat_interval_ms=100
        ) as member:
            await asyncio.wait_for(member.getone(), 10)


async def test_a_static_member_comes_back_without_a_rebalance(cluster: Cluster) -> None:
    """Stopped and started within its session it has its partitions again; the others notice nothing."""
    topic = await cluster.topic(partitions=4)
    group = cluster.name("group")
    rebalances = Rebalances()
    async with _member(cluster, topic, group, rebalances, group_instance_id="one") as one:
        await _own((one, 4))
        async with _member(cluster, topic, group, group_instance_id="two") as two:
            await _own((one, 2), (two, 2))
            owned = two.assignment()
        settled = rebalances.count
        async with _member(cluster, topic, group, group_instance_id="two") as two:
            await _own((two, 2))
            assert two.assignment() == owned
            await asyncio.sleep(0.3)
        assert (rebalances.count, len(one.assignment())) == (settled, 2)


async def test_a_static_leader_comes_back_without_a_rebalance(cluster: Cluster) -> None:
    """The first member led the group; its return neither recomputes nor loses the assignment."""
    topic = await cluster.topic(partitions=4)
    group = cluster.name("group")
    rebalances = Rebalances()
    async with _member(cluster, topic, group, group_instance_id="one") as one:
        await _own((one, 4))
        async with _member(cluster, topic, group, rebalances, group_instance_id="two") as two:
            await _own((one, 2), (two, 2))
            owned, settled = one.assignment(), rebalances.count
            await one.stop()
            async with _member(cluster, topic, group, group_instance_id="one") as again:
                await _own((again, 2))
                assert again.assignment() == owned
                await asyncio.sleep(0.3)
            assert rebalances.count == settled


async def test_a_static_member_that_stays_away_is_put_out(cluster: Cluster) -> None:
    """After its session a static member's partitions go to the others."""
    topic = await cluster.topic(partitions=4)
    group = cluster.name("group")
    async with _member(cluster, topic, group, group_instance_id="one") as one:
        async with _member(cluster, topic, group, group_instance_id="two") as two:
            await _own((one, 2), (two, 2))
        await _own((one, 4), seconds=cluster.session_timeout_ms / 1000 + 5)


async def test_commits_are_kept_for_the_next_member(cluster: Cluster) -> None:
    """A new member goes on where the group committed; offset and metadata come back as given."""
    topic = await cluster.topic()
    partition = TopicPartition(topic, 0)
    group = cluster.name("group")
    async with cluster.producer() as producer:
        for number in range(4):
            await producer.send_and_wait(topic, b"%d" % number)
    async with _member(cluster, topic, group) as member:
        assert await member.committed(partition) is None
        assert (await asyncio.wait_for(member.getone(), 10)).value == b"0"
        await member.commit({partition: (2, "said so")})
        assert await member.committed(partition) == 2
    async with _member(cluster, topic, group, auto_offset_reset="none") as member:
        assert (await asyncio.wait_for(member.getone(), 10)).value == b"2"
    async with cluster.admin() as admin:
        offsets = await admin.list_consumer_group_offsets(group)
        assert {each: (kept.offset, kept.metadata) for each, kept in offsets.items()} == {partition: (2, "said so")}


async def test_offsets_can_be_kept_without_membership(cluster: Cluster) -> None:
    """A consumer with a group id and an assignment of its own commits while the group has no members."""
    topic = await cluster.topic()
    partition = TopicPartition(topic, 0)
    group = cluster.name("group")
    async with cluster.consumer(group_id=group) as consumer:
        consumer.assign([partition])
        await consumer.commit({partition: 7})
        assert await consumer.committed(partition) == 7
    async with _member(cluster, topic, group) as member:
        await _own((member, 1))
        async with cluster.consumer(group_id=group) as consumer:
            consumer.assign([partition])
            with pytest.raises((CommitFailedError, KafkaError, IllegalStateError)):
                await consumer.commit({partition: 1})
        assert await member.committed(partition) == 7


async def test_a_deleted_topic_takes_its_offsets_along(cluster: Cluster) -> None:
    """Offsets of a topic that is gone do not apply to a new one of the same name."""
    topic = await cluster.topic()
    partition = TopicPartition(topic, 0)
    group = cluster.name("group")
    async with cluster.admin() as admin, cluster.consumer(group_id=group) as consumer:
        consumer.assign([partition])
        await consumer.commit({partition: 7})
        await admin.delete_topics([topic])

        async def forgotten() -> bool:
            return not await admin.list_consumer_group_offsets(group)

        await eventually(forgotten, 10)
        cluster.topics.remove(topic)


async def test_groups_can_be_listed_and_described(cluster: Cluster) -> None:
    """A group shows its members while it has them and is empty afterwards; an unknown one is dead."""
    topic = await cluster.topic()
    group = cluster.name("group")
    async with cluster.admin() as admin:
        async with _member(cluster, topic, group, client_id="worker-7") as member:
            await _own((member, 1))

            async def stable() -> bool:
                (answer,) = await admin.describe_consumer_groups([group])
                return bool(answer.groups[0][2] == "Stable")

            await eventually(stable, 5)
            assert (group, "consumer") in await admin.list_consumer_groups()
            (answer,) = await admin.describe_consumer_groups([group])
            error, name, _, kind, protocol, members = answer.groups[0][:6]
            assert (error, name, kind, protocol) == (0, group, "consumer", "roundrobin")
            assert [each[1] for each in members] == ["worker-7"]
        (answer,) = await admin.describe_consumer_groups([group])
        assert answer.groups[0][2] == "Empty"


def _join(group: str, cluster: Cluster, member_id: str = "", **changes: object) -> JoinGroupRequest:
    options: dict[str, object] = {
        "group": group,
        "session_timeout": cluster.session_timeout_ms,
        "rebalance_timeout": 700,
        "member_id": member_id,
        "group_instance_id": None,
        "protocol_type": "consumer",
        "group_protocols": [("range", ProtocolMetadata(0, ["a topic"], b"").encode())],
    }
    return JoinGroupRequest(**{**options, **changes})


async def _joined(ask: Ask, group: str, cluster: Cluster, instance_id: str | None = None) -> tuple[str, int]:
    """Member id and generation of a member that joined and synced alone."""
    answer = await ask(_join(group, cluster, group_instance_id=instance_id))
    if instance_id is None:
        assert answer.error_code == MEMBER_ID_REQUIRED
        answer = await ask(_join(group, cluster, answer.member_id))
    assert answer.error_code == 0
    assert answer.leader_id == answer.member_id
    member_id, generation = answer.member_id, answer.generation_id
    sync = SyncGroupRequest(group, generation, member_id, instance_id, [(member_id, b"all of it")])
    assert (await ask(sync)).member_assignment == b"all of it"
    return member_id, generation


async def test_answers_name_what_is_wrong_with_a_member(cluster: Cluster) -> None:
    """Unknown member, wrong generation and foreign protocol each have their code."""
    group = cluster.name("group")
    async with cluster.client() as ask:
        member_id, generation = await _joined(ask, group, cluster)
        assert (await ask(HeartbeatRequest(group, generation, member_id))).error_code == 0
        assert (await ask(HeartbeatRequest(group, generation + 1, member_id))).error_code == ILLEGAL_GENERATION
        assert (await ask(HeartbeatRequest(group, generation, "stranger"))).error_code == UNKNOWN_MEMBER_ID
        assert (await ask(_join(group, cluster, "stranger"))).error_code == UNKNOWN_MEMBER_ID
        other = _join(group, cluster, group_protocols=[("sticky", b"")])
        assert (await ask(other)).error_code == INCONSISTENT_GROUP_PROTOCOL
        assert (await ask(LeaveGroupRequest(group, "stranger"))).error_code == UNKNOWN_MEMBER_ID
        assert (await ask(LeaveGroupRequest(group, member_id))).error_code == 0
        assert (await ask(HeartbeatRequest(group, generation, member_id))).error_code == UNKNOWN_MEMBER_ID


async def test_a_commit_must_come_from_a_member_of_this_generation(cluster: Cluster) -> None:
    """Commits with a stale generation or a foreign member id are refused per partition."""
    topic = await cluster.topic()
    group = cluster.name("group")

    async def commit(ask: Ask, generation: int, member_id: str) -> int:
        answer = await ask(OffsetCommitRequest(group, generation, member_id, -1, [(topic, [(0, 5, "")])]))
        code: int = answer.topics[0][1][0][1]
        return code

    async with cluster.client() as ask:
        member_id, generation = await _joined(ask, group, cluster)
        assert await commit(ask, generation, member_id) == 0
        assert await commit(ask, generation - 1, member_id) == ILLEGAL_GENERATION
        assert await commit(ask, generation, "stranger") == UNKNOWN_MEMBER_ID
        assert await commit(ask, -1, "") == UNKNOWN_MEMBER_ID


async def test_a_rebalance_waits_for_members_and_then_goes_on_without_them(cluster: Cluster) -> None:
    """Heartbeats say that the group rebalances; a member that does not rejoin in time is left behind."""
    group = cluster.name("group")
    async with cluster.client() as first, cluster.client() as second:
        member_id, generation = await _joined(first, group, cluster)
        answer = await second(_join(group, cluster))
        began = time.monotonic()
        joining = asyncio.ensure_future(second(_join(group, cluster, answer.member_id)))

        async def rebalancing() -> bool:
            beat = await first(HeartbeatRequest(group, generation, member_id))
            return bool(beat.error_code == REBALANCE_IN_PROGRESS)

        await eventually(rebalancing, 2)
        joined = await asyncio.wait_for(joining, 10)
        assert 0.5 < time.monotonic() - began < cluster.session_timeout_ms / 1000
        assert (joined.error_code, joined.generation_id, len(joined.members)) == (0, generation + 1, 1)
        assert (await first(HeartbeatRequest(group, generation, member_id))).error_code == UNKNOWN_MEMBER_ID


async def test_the_former_self_of_a_static_member_is_fenced(cluster: Cluster) -> None:
    """Whoever comes last with an instance id holds it; the other one is told FENCED_INSTANCE_ID."""
    group = cluster.name("group")
    async with cluster.client() as ask:
        old_id, generation = await _joined(ask, group, cluster, "instance")
        answer = await ask(_join(group, cluster, group_instance_id="instance"))
        assert answer.error_code == 0
        assert answer.generation_id == generation
        assert answer.member_id != old_id
        assert answer.leader_id != answer.member_id
        sync = SyncGroupRequest(group, generation, answer.member_id, "instance", [])
        assert (await ask(sync)).member_assignment == b"all of it"
        fenced = SyncGroupRequest(group, generation, old_id, "instance", [])
        assert (await ask(fenced)).error_code == FENCED_INSTANCE_ID
        rejoin = _join(group, cluster, old_id, group_instance_id="instance")
        assert (await ask(rejoin)).error_code == FENCED_INSTANCE_ID
        assert (await ask(HeartbeatRequest(group, generation, old_id))).error_code == UNKNOWN_MEMBER_ID


async def test_a_member_cut_off_joins_again_by_itself(cluster: Cluster) -> None:
    """A consumer that was put out finds its way back, and its late commit fails."""
    topic = await cluster.topic(partitions=2)
    group = cluster.name("group")
    async with _member(cluster, topic, group, heartbeat_interval_ms=500, retry_backoff_ms=RETRY_MS) as member:
        await _own((member, 2))
        async with cluster.client() as ask:
            await ask(LeaveGroupRequest(group, member._coordinator.member_id))
        with pytest.raises(CommitFailedError):
            await member.commit({TopicPartition(topic, 0): 0})

        async def back() -> bool:
            return bool(member._coordinator.generation > 1 and len(member.assignment()) == 2)

        await eventually(back, 10)
