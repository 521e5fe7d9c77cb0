"""What Kafka knows of the whole fleet: who is in which group with which partitions, and how far each group has come.

Reads only, and joins no group. Used by operators' commands.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaConnectionError, KafkaError, for_code

from consumers.ownership.changelog import stop_consumer
from producers.connection import KafkaConnection, describe, start_client, unreachable, within
from statemachine.errors import BrokerUnavailable

#: Bytes of a partition that one look takes: Kafka gives at least one batch.
_LOOK_BYTES = 64 * 1024
#: For so long the first records that are not read yet are looked for, in seconds.
_LOOK_SECONDS = 3.0


class Member(NamedTuple):
    """One worker in a group."""

    client_id: str
    #: The address from which it connects.
    host: str
    #: Partition numbers that it has.
    partitions: frozenset[int]


class GroupView(NamedTuple):
    """A consumer group as its coordinator knows it."""

    #: ``Stable``, ``Empty``, ``Dead`` where there is none, or one of a rebalance.
    state: str
    members: tuple[Member, ...]
    #: Committed offsets with their metadata.
    committed: Mapping[TopicPartition, tuple[int, str]]


class Place(NamedTuple):
    """The ends of a partition."""

    begin: int
    end: int


@asynccontextmanager
async def _reported(connection: KafkaConnection) -> AsyncIterator[None]:
    """Turn the errors of a client into ours.

    Raises:
        BrokerUnavailable: Kafka cannot be reached, refuses, or does not answer.
    """
    try:
        yield
    except KafkaConnectionError as error:
        raise await unreachable(connection) from error
    except (KafkaError, AssertionError, OSError) as error:
        raise BrokerUnavailable(f"Kafka at {connection.bootstrap_servers} refused: {describe(error)}") from error


async def read_groups(connection: KafkaConnection, groups: Iterable[str]) -> dict[str, GroupView]:
    """The groups of these names, also those that do not exist.

    Raises:
        BrokerUnavailable: Kafka cannot be reached, refuses, or does not answer.
    """
    limit = connection.limits.operation_seconds
    admin = AIOKafkaAdminClient(**connection.client_options())
    async with _reported(connection):
        try:
            await within(limit, start_client(admin), f"a connection to {connection.bootstrap_servers}")
            found = {}
            for group in groups:
                state, members = await within(limit, _described(admin, group), f"a look at group {group}")
                asked = admin.list_consumer_group_offsets(group)
                offsets = await within(limit, asked, "a request for committed offsets")
                committed = {tp: (one.offset, one.metadata) for tp, one in offsets.items() if one.offset >= 0}
                found[group] = GroupView(state, members, committed)
            return found
        finally:
            await within(connection.limits.stop_seconds, admin.close(), "closing an admin client")


async def _described(admin: AIOKafkaAdminClient, group: str) -> tuple[str, tuple[Member, ...]]:
    (answer,) = await admin.describe_consumer_groups([group])
    (code, _, state, _, _, members, *_), *_ = answer.groups
    if code:
        raise for_code(code)(group)
    return state, tuple(
        Member(client_id, host.removeprefix("/"), _numbers(assignment)) for _, client_id, host, _, assignment in members
    )


def _numbers(assignment: bytes) -> frozenset[int]:
    """The partition numbers in a member's assignment; none while the group is rebalanced."""
    try:
        read = ConsumerProtocolMemberAssignment.decode(assignment)
    except (ValueError, struct.error):
        return frozenset()
    return frozenset(tp.partition for tp in read.partitions())


async def read_places(connection: KafkaConnection, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Place]:
    """The first offset of each partition and its high watermark.

    Raises:
        BrokerUnavailable: Kafka cannot be reached, refuses, or does not answer.
    """
    tps, limit = list(partitions), connection.limits.operation_seconds
    async with _consumer(connection, "read_uncommitted") as consumer:
        consumer.assign(tps)
        begins = await within(limit, consumer.beginning_offsets(tps), "a request for offsets")
        ends = await within(limit, consumer.end_offsets(tps), "a request for offsets")
    return {tp: Place(begins[tp], ends[tp]) for tp in tps}


async def read_next_times(
    connection: KafkaConnection, offsets: Mapping[TopicPartition, int]
) -> dict[TopicPartition, float]:
    """When the first committed record at or after an offset was written, in seconds since 1970, where one comes soon.

    Raises:
        BrokerUnavailable: Kafka cannot be reached, refuses, or does not answer.
    """
    found: dict[TopicPartition, float] = {}
    if not offsets:
        return found
    limit = connection.limits.operation_seconds
    async with _consumer(connection, "read_committed") as consumer:
        consumer.assign(list(offsets))
        ends = await within(limit, consumer.end_offsets(list(offsets)), "a request for offsets")
        wanted = {tp for tp, offset in offsets.items() if offset < ends[tp]}
        for tp, offset in offsets.items():
            consumer.seek(tp, offset)
        consumer.pause(*(offsets.keys() - wanted))
        for _ in range(int(_LOOK_SECONDS / 0.1)):
            if not wanted:
                break
            fetched = await within(limit, consumer.getmany(*wanted, timeout_ms=100), "a fetch")
            for tp in list(wanted):
                if records := fetched.get(tp):
                    found[tp] = records[0].timestamp / 1000
                at = await within(limit, consumer.position(tp), "a look at a position")
                if tp in found or at >= ends[tp]:  # at the end: there were markers only
                    wanted.discard(tp)
                    consumer.pause(tp)
    return found


@asynccontextmanager
async def _consumer(connection: KafkaConnection, isolation: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        **connection.client_options(),
        group_id=None,
        isolation_level=isolation,
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=_LOOK_BYTES,
    )
    async with _reported(connection):
        try:
            limit = connection.limits.operation_seconds
            await within(limit, start_client(consumer), f"a connection to {connection.bootstrap_servers}")
            yield consumer
        finally:
            await stop_consumer(consumer, connection.limits.stop_seconds)
