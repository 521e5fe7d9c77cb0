"""The parts of a lane whose records need Digital River, put together."""

from __future__ import annotations

from dataclasses import replace

from consumers.group.membership import Membership
from consumers.lanes import LaneContext, make_owned_lane
from consumers.ownership.changelog import OffsetReader
from consumers.ownership.input_queue import InputQueue
from consumers.ownership.lease import Lease
from consumers.ownership.options import LaneOptions, LaneTopics, PartitionContext
from consumers.requests.intake import MakeLogic, RequestIntake
from producers.topics import Lane


def make_request_lane(
    context: LaneContext, lane: Lane, topics: LaneTopics, options: LaneOptions, make_logic: MakeLogic
) -> Membership:
    """A member of the group of a lane whose records need Digital River; ``options`` replace those of the context."""
    reader = OffsetReader(context.connection)

    def make_intake(partition: PartitionContext, queue: InputQueue, lease: Lease | None) -> RequestIntake:
        return RequestIntake(partition, queue, lease, reader=reader, make_logic=make_logic)

    return make_owned_lane(replace(context, lane_options=options), lane, topics, reader, make_intake)
