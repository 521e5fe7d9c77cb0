"""What Kafka knows of the whole fleet: who is in which group with which partitions, and how far each group has come.

Reads only, and joins no group. Used by operators' commands.
"""

from __future__ import annotations

import struct
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaConnectionError, KafkaError, for_code

from consumers.ownership.changelog import stop_consumer
from producers.connection import KafkaConnection, describe, start_client, unreachable, within
from statemachine.errors import BrokerUnavailable

#: Bytes of a partition that one look takes: Kafka gives at least one batch.
_LOOK_BYTES = 64 * 1024
#: For so long the records that are not done are looked at, in seconds.
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
    async with _admin(connection) as admin:
        found = {}
        for group in groups:
            state, members = await within(limit, _described(admin, group), f"a look at group {group}")
            found[group] = GroupView(state, members, await _committed(connection, admin, group))
        return found


async def read_committed(
    connection: KafkaConnection, groups: Iterable[str]
) -> dict[str, Mapping[TopicPartition, tuple[int, str]]]:
    """The committed offsets of these groups, with their metadata.

    Raises:
        BrokerUnavailable: Kafka cannot be reached, refuses, or does not answer.
    """
    async with _admin(connection) as admin:
        return {group: await _committed(connection, admin, group) for group in groups}


@asynccontextmanager
async def _admin(connection: KafkaConnection) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**connection.client_options())
    async with _reported(connection):
        try:
            limit = connection.limits.operation_seconds
            await within(limit, start_client(admin), f"a connection to {connection.bootstrap_servers}")
            yield admin
        finally:
            await within(connection.limits.stop_seconds, admin.close(), "closing an admin client")


async def _committed(
    connection: KafkaConnection, admin: AIOKafkaAdminClient, group: str
) -> dict[TopicPartition, tuple[int, str]]:
    asked = admin.list_consumer_group_offsets(group)
    offsets = await within(connection.limits.operation_seconds, asked, "a request for committed offsets")
    return {tp: (one.offset, one.metadata) for tp, one in offsets.items() if one.offset >= 0}


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


class Unfinished(NamedTuple):
    """What is not done of a partition, by its offsets: some of them may be ends of transactions, or of aborted records."""

    #: The first offset that may not be done, and the high watermark.
    start: int
    end: int
    #: Whether the record at an offset is done.
    is_done: Callable[[int], bool]
    #: How many offsets from this one on are not done.
    offsets_from: Callable[[int], int]


class Unread(NamedTuple):
    """The records of a partition that are not done."""

    records: int
    #: False: not all were read, so that offsets are counted of the others, and ``records`` is the most that there can be.
    exact: bool
    #: When the first of them was written, in seconds since 1970; None when there is none, or it was not found in time.
    oldest: float | None


async def read_unread(
    connection: KafkaConnection, wanted: Mapping[TopicPartition, Unfinished], *, records_max: int
) -> dict[TopicPartition, Unread]:
    """Count what is not done, by reading it: at most ``records_max`` records of each partition, for some seconds.

    Records of a transaction that is still open cannot be read; of them and of what lies behind, offsets are counted.

    Raises:
        BrokerUnavailable: Kafka cannot be reached, refuses, or does not answer.
    """
    found = {tp: Unread(0, exact=True, oldest=None) for tp in wanted}
    open_ = {tp: one for tp, one in wanted.items() if one.start < one.end}
    if not open_:
        return found
    limit = connection.limits.operation_seconds
    until = time.monotonic() + _LOOK_SECONDS
    async with _consumer(connection, "read_committed") as consumer:
        consumer.assign(list(open_))
        ends = await within(limit, consumer.end_offsets(list(open_)), "a request for offsets")
        counts = {tp: _Count(one, min(one.end, ends[tp]), records_max) for tp, one in open_.items()}
        for tp, one in open_.items():
            consumer.seek(tp, one.start)
        reading = {tp for tp, count in counts.items() if not count.is_read(open_[tp].start)}
        consumer.pause(*(open_.keys() - reading))
        while reading and time.monotonic() < until:
            fetched = await within(limit, consumer.getmany(*reading, timeout_ms=100), "a fetch")
            for tp in list(reading):
                counts[tp].take(fetched.get(tp, ()))
                if counts[tp].is_read(await within(limit, consumer.position(tp), "a look at a position")):
                    reading.discard(tp)
                    consumer.pause(tp)
    return found | {tp: count.result() for tp, count in counts.items()}


class _Count:
    """Counts the records of one partition."""

    def __init__(self, unfinished: Unfinished, end: int, records_max: int) -> None:
        """``end``: where committed records end."""
        self._unfinished = unfinished
        self._end = end
        self._records_max = records_max
        self._read_to = unfinished.start
        self._taken = self._records = 0
        self._oldest: float | None = None

    def take(self, records: Iterable[ConsumerRecord]) -> None:
        """Count these, which come next."""
        for record in records:
            if record.offset >= self._end or self._taken >= self._records_max:
                return
            self._taken += 1
            self._read_to = record.offset + 1
            if not self._unfinished.is_done(record.offset):
                self._records += 1
                if self._oldest is None:
                    self._oldest = record.timestamp / 1000

    def is_read(self, position: int) -> bool:
        """Whether no more is read; ``position``: that of the consumer, which also passes the ends of transactions."""
        if self._taken >= self._records_max:
            return True
        if position >= self._end:
            self._read_to = self._end
            return True
        return False

    def result(self) -> Unread:
        """What was counted, and the offsets of the rest."""
        rest = self._unfinished.offsets_from(self._read_to) if self._read_to < self._unfinished.end else 0
        return Unread(self._records + rest, exact=rest == 0, oldest=self._oldest)


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
