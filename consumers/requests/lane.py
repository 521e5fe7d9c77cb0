"""The parts of a lane whose records need Digital River, put together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from consumers.group.membership import GroupOptions, Membership, make_consumer
from consumers.lanes import dict_store
from consumers.ownership.offset_reader import OffsetReader
from consumers.ownership.options import LaneOptions, LaneTopics
from consumers.requests.partition import AskingPartition, MakeLogic
from producers.connection import KafkaConnection
from producers.transaction import Probe


def make_asking_lane(
    connection: KafkaConnection,
    *,
    group_name: str,
    topics: LaneTopics,
    partitions: int,
    incarnation: str,
    group: GroupOptions,
    options: LaneOptions,
    make_logic: MakeLogic,
    clock: Callable[[], datetime],
    probe: Probe | None,
) -> Membership:
    """A member of the group of a lane whose records need Digital River, ready for ``run``. Args as for ``make_stateful_lane``."""
    consumer, assignor = make_consumer(connection, group_name, group)
    reader = OffsetReader(connection)

    def make_partition(number: int) -> AskingPartition:
        return AskingPartition(
            number,
            partitions=partitions,
            group=group_name,
            topics=topics,
            options=options,
            connection=connection,
            consumer=consumer,
            reader=reader,
            incarnation=incarnation,
            make_store=dict_store,
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
