"""The command lane without its committed offsets stops for a person and never begins at the earliest record. On Apache Kafka."""

from __future__ import annotations

import time

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.protocol.admin import DeleteGroupsRequest

from consumers.commands.offset_repair import CommandOffsetRepair, CommandOffsetUse, repair_command_offset
from consumers.ownership.owner import PartitionState
from producers.connection import KafkaConnection
from producers.first_offsets import NO_EARLIER_CALL, commit_first_offsets
from producers.topic_setup import create_topics
from producers.topics import TOPICS, Lane, Topic, group_id, prefixed
from statemachine.errors import ConfigError
from tests.eventually import eventually
from tests.lanes.command_lane import (
    LEASE,
    PARTITIONS,
    ask,
    command_topics,
    commands_member,
    effects,
    ids,
    parts,
)
from tests.lanes.kafka import running, until
from tests.lanes.river import FileRiver

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]


async def committed(bootstrap: str, prefix: str) -> dict[int, tuple[int, str]]:
    """The committed offsets of the lane, with their metadata, by partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(group_id(prefix, Lane.COMMANDS))
        return {tp.partition: (one.offset, one.metadata) for tp, one in found.items()}
    finally:
        await admin.close()


async def lose_offsets(bootstrap: str, prefix: str) -> None:
    """Delete the group, as an operator can and as time does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answer = await admin._send_request(DeleteGroupsRequest([group_id(prefix, Lane.COMMANDS)]))
        assert [code for _, code in answer.results] == [0]
    finally:
        await admin.close()


async def worked(bootstrap: str, prefix: str, river: FileRiver, count: int = 20) -> None:
    """A worker carries commands out and leaves; then the offsets are lost."""
    await command_topics(bootstrap, prefix)
    async with running(commands_member(bootstrap, prefix, river)):
        await ask(bootstrap, prefix, 0, count)
        await until(bootstrap, prefixed(prefix, Topic.INBOX), count)
    await lose_offsets(bootstrap, prefix)


async def accept(
    bootstrap: str, prefix: str, number: int, use: CommandOffsetUse, *, apply: bool = True
) -> CommandOffsetRepair:
    """What an operator does about it."""
    return await repair_command_offset(
        KafkaConnection(bootstrap),
        prefix,
        number,
        partitions=PARTITIONS,
        use=use,
        reason="offsets expired",
        apply=apply,
        timestamp_ms=int(time.time() * 1000),
    )


async def test_commands_whose_offsets_are_gone_are_not_carried_out_again(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """Every partition stops for a person, in a line that names the repair; nothing is called, not even looked up."""
    await worked(apache_kafka, prefix, river)
    river._books.unlink()  # what an order undid since is not to be found: a look-up would allow another call
    member = commands_member(apache_kafka, prefix, river, "two")
    async with running(member):
        await eventually(
            lambda: (
                len(parts(member)) == PARTITIONS and all(part.state is PartitionState.STOPPED for part in parts(member))
            )
        )
        for part in parts(member):
            assert part.problem is not None
            assert f"orderflow partitions accept {part.number} --lane commands --use end|beginning" in part.problem
        await ask(apache_kafka, prefix, 20, 4)
    assert (effects(river), river.count("look")) == ([], 0)


@pytest.mark.parametrize("use", ["end", "beginning"])
async def test_an_operator_says_where_the_lane_goes_on(
    apache_kafka: str, prefix: str, river: FileRiver, use: CommandOffsetUse
) -> None:
    """At the end nothing is called or looked up again; from the beginning all is to be looked up. A dry run changes nothing."""
    await worked(apache_kafka, prefix, river)
    shown = [await accept(apache_kafka, prefix, number, use, apply=False) for number in range(PARTITIONS)]
    assert await committed(apache_kafka, prefix) == {}
    done = [await accept(apache_kafka, prefix, number, use) for number in range(PARTITIONS)]
    assert [one.accepted for one in shown] == [one.available[use == "end"] for one in shown]
    assert all(one.applied and one.committed is None for one in done)
    offsets = await committed(apache_kafka, prefix)
    assert {number: offset for number, (offset, _) in offsets.items()} == {
        n: one.accepted for n, one in enumerate(done)
    }
    assert {metadata for _, metadata in offsets.values()} == {"accepted: offsets expired"}
    # its waits are the longer of its own and the default: what may have been called is not even looked up in this test
    member = commands_member(apache_kafka, prefix, river, "two", http=0.5)
    async with running(member):
        await eventually(lambda: sum(part.state is PartitionState.RUNNING for part in parts(member)) == PARTITIONS)
        if use == "end":
            await ask(apache_kafka, prefix, 20, 4)
            await until(apache_kafka, prefixed(prefix, Topic.INBOX), 24)
            assert not any(part._pipeline.queues.active for part in parts(member))
        else:
            await eventually(lambda: sum(len(list(part._pipeline.queues.unfinished())) for part in parts(member)) == 20)
    assert (effects(river), river.count("look")) == (ids(24 if use == "end" else 20), 0)


async def test_a_partition_that_is_not_there_cannot_be_accepted(apache_kafka: str, prefix: str) -> None:
    """The line says which there are."""
    await command_topics(apache_kafka, prefix)
    with pytest.raises(ConfigError, match="has 0 to 3"):
        await accept(apache_kafka, prefix, PARTITIONS, "end")


async def test_a_fresh_installation_works_also_when_commands_are_there_before_the_lane(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """``topics create`` writes where the lane begins: an order lane that starts first does not lock it out. It need not wait."""
    await create_topics(KafkaConnection(apache_kafka), prefix, partitions=PARTITIONS)
    assert await committed(apache_kafka, prefix) == dict.fromkeys(range(PARTITIONS), (0, NO_EARLIER_CALL))
    await ask(apache_kafka, prefix, 0, 8)
    began = time.monotonic()
    async with running(commands_member(apache_kafka, prefix, river)):
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), 8)
    assert time.monotonic() - began < LEASE
    assert (effects(river), river.count("look")) == (ids(8), 0)


async def test_a_lane_on_empty_topics_commits_where_it_began(apache_kafka: str, prefix: str, river: FileRiver) -> None:
    """Topics that somebody else made: from the first start on an offset that is missing is one that was lost."""
    admin = AIOKafkaAdminClient(bootstrap_servers=apache_kafka)
    await admin.start()
    topics = (Topic.DR_COMMANDS, Topic.INBOX, Topic.DEAD_LETTERS, Topic.ORDER_EVENT_REFUSALS)
    await admin.create_topics(
        [NewTopic(prefixed(prefix, topic), PARTITIONS, 1, topic_configs=TOPICS[topic].configs()) for topic in topics]
    )
    await admin.close()
    member = commands_member(apache_kafka, prefix, river)
    async with running(member):
        await eventually(lambda: sum(part.state is PartitionState.RUNNING for part in parts(member)) == PARTITIONS)
        offsets = await committed(apache_kafka, prefix)
        assert {number: offset for number, (offset, _) in offsets.items()} == dict.fromkeys(range(PARTITIONS), 0)
        assert await commit_first_offsets(KafkaConnection(apache_kafka), prefix, PARTITIONS) == []
        await ask(apache_kafka, prefix, 0, 8)
        await until(apache_kafka, prefixed(prefix, Topic.INBOX), 8)
    assert effects(river) == ids(8)


async def test_commands_without_an_offset_are_left_to_a_person_by_topics_create(
    apache_kafka: str, prefix: str, river: FileRiver
) -> None:
    """Repeating it is not a repair: it would call what was carried out."""
    await worked(apache_kafka, prefix, river)
    assert await commit_first_offsets(KafkaConnection(apache_kafka), prefix, PARTITIONS) == []
    assert TopicPartition(prefixed(prefix, Topic.DR_COMMANDS), 0).partition not in await committed(apache_kafka, prefix)
