"""The parts of a lane whose records need Digital River, put together."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer

from consumers.group.membership import Membership
from consumers.lanes import LaneContext, dict_store
from consumers.ownership.offset_reader import OffsetReader
from consumers.ownership.options import LaneOptions, LaneTopics
from consumers.requests.partition import AskingPartition, MakeLogic
from producers.topics import Lane


def make_asking_lane(
    context: LaneContext, lane: Lane, topics: LaneTopics, options: LaneOptions, make_logic: MakeLogic
) -> Membership:
    """A member of the group of a lane whose records need Digital River; ``options`` replace those of the context."""
    reader = OffsetReader(context.connection)

    def make_partition(number: int, consumer: AIOKafkaConsumer) -> AskingPartition:
        return AskingPartition(
            number,
            partitions=context.partitions,
            group=context.group_name(lane),
            topics=topics,
            options=options,
            connection=context.connection,
            consumer=consumer,
            reader=reader,
            incarnation=context.incarnation,
            make_store=dict_store,
            make_logic=make_logic,
            clock=context.clock,
            probe=context.probe,
        )

    return context.make_member(lane, topics.inputs.values(), reader, make_partition)
