"""The parts of a stateful lane put together: one consumer, one reader, and a partition for each number that is owned.

Orders, webhooks and SKUs differ in their topics and their logic only. The command lane has partitions of its own kind.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from consumers.group.membership import GroupOptions, Membership, make_consumer
from consumers.ownership.changelog import ChangelogReader
from consumers.ownership.options import LaneOptions, LaneTopics
from consumers.ownership.partition import OwnedPartition, PartitionLogic
from consumers.ownership.store import DictStore, Store
from producers.connection import KafkaConnection
from producers.transaction import Probe


def utc_now() -> datetime:
    """The clock of a lane unless it is given another."""
    return datetime.now(UTC)


def dict_store(_partition: int) -> Store:
    """The store of a partition unless the lane is given another: all of it in memory."""
    return DictStore()


def make_stateful_lane(
    connection: KafkaConnection,
    *,
    group_name: str,
    topics: LaneTopics,
    partitions: int,
    incarnation: str,
    group: GroupOptions,
    options: LaneOptions,
    make_logic: Callable[[int], PartitionLogic],
    make_store: Callable[[int], Store] = dict_store,
    clock: Callable[[], datetime],
    probe: Probe | None,
) -> Membership:
    """A member of a stateful lane's group, ready for ``run``.

    Args:
        connection: How to reach Kafka.
        group_name: The group's full name.
        topics: The lane's topics, by their full names.
        partitions: The partition count of the inputs.
        incarnation: Unique to this process start.
        group: Session and worker name.
        options: Batching and limits.
        make_logic: What the lane does, for a partition number.
        make_store: A store for a partition number.
        clock: UTC now.
        probe: For fault-injection tests.
    """
    consumer, assignor = make_consumer(connection, group_name, group)
    reader = ChangelogReader(connection)

    def make_partition(number: int) -> OwnedPartition:
        return OwnedPartition(
            number,
            partitions=partitions,
            group=group_name,
            topics=topics,
            options=options,
            connection=connection,
            consumer=consumer,
            reader=reader,
            incarnation=incarnation,
            make_store=make_store,
            make_logic=make_logic,
            clock=clock,
            probe=probe,
        )

    return Membership(
        connection=connection,
        group=group_name,
        topics=topics.inputs.values(),
        consumer=consumer,
        assignor=assignor,
        make_partition=make_partition,
        reader=reader,
    )
