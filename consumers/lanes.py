"""What every lane is made with, and the lanes that keep a table: one consumer, one reader, one partition for each number owned.

Orders, webhooks and SKUs differ in their topics and their logic only. The command lane has partitions of its own kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer

from consumers.group.membership import GroupOptions, Membership, make_consumer
from consumers.measures import LaneMeasures
from consumers.ownership.changelog import ChangelogReader
from consumers.ownership.lease import steady_clock
from consumers.ownership.logic import PartitionLogic
from consumers.ownership.options import LaneOptions, LaneTopics, PartitionContext
from consumers.ownership.owner import PartitionOwner
from consumers.ownership.partition import MakeIntake, OwnedPartition, with_deadlines
from consumers.ownership.store import DictStore, Store
from consumers.pauses.table import Pauses
from consumers.tracing import Tracing
from producers.connection import KafkaConnection
from producers.packing.sizes import Room
from producers.topics import Lane, Topic, group_id, prefixed
from producers.transaction import Probe

#: Makes a partition, by its number, that reads with this consumer.
MakePartition = Callable[[int, AIOKafkaConsumer], PartitionOwner]


def utc_now() -> datetime:
    """The time in UTC: the default clock of a lane."""
    return datetime.now(UTC)


def dict_store(_partition: int) -> Store:
    """The default store of a partition: all of it in memory."""
    return DictStore()


@dataclass(frozen=True, slots=True)
class LaneContext:
    """What a process gives to each lane, whatever the lane does. Each lane of a process has its own."""

    connection: KafkaConnection
    #: Before every topic name and group id.
    prefix: str
    #: Partition count of the lane's input topics, and of those that must have as many.
    partitions: int
    #: Unique to this process start.
    incarnation: str
    #: Session and worker name.
    group: GroupOptions
    #: Batching and limits; None: the defaults, with the heartbeat interval of the group.
    lane_options: LaneOptions | None = None
    #: UTC now.
    clock: Callable[[], datetime] = utc_now
    #: Seconds of a monotonic clock.
    steady: Callable[[], float] = steady_clock
    #: The version of orderflow, which position records name.
    code: str = ""
    #: For fault-injection tests: points of a transaction.
    probe: Probe | None = None
    #: What operators have paused; one for all lanes of the process.
    pauses: Pauses = field(default_factory=Pauses)
    #: What the lane counts of its work.
    measures: LaneMeasures = field(default_factory=LaneMeasures)
    #: Makes the spans of sampled orders; None: nothing is traced.
    tracing: Tracing | None = None
    #: Where the order lane keeps the orders of a partition, by its number.
    make_store: Callable[[int], Store] = dict_store

    @property
    def options(self) -> LaneOptions:
        """Batching and limits."""
        return self.lane_options or LaneOptions(heartbeat_seconds=self.group.heartbeat_interval_ms / 1000)

    @property
    def room(self) -> Room:
        """What fits into a record of the lane's producer."""
        return self.connection.room

    def topic(self, topic: Topic) -> str:
        """The full name of a topic."""
        return prefixed(self.prefix, topic)

    def group_name(self, lane: Lane) -> str:
        """The full name of a lane's consumer group."""
        return group_id(self.prefix, lane)

    def make_member(
        self, lane: Lane, inputs: Iterable[str], reader: ChangelogReader, make_partition: MakePartition
    ) -> Membership:
        """A member of the lane's group, ready for ``run``.

        Args:
            lane: Which lane.
            inputs: The full names of the topics that it reads.
            reader: Closed when the member has left.
            make_partition: Called once for each partition number that this process owns.

        Raises:
            ConfigError: The installed aiokafka is not one that orderflow is made for.
        """
        name = self.group_name(lane)
        consumer, assignor = make_consumer(self.connection, name, self.group)
        return Membership(
            connection=self.connection,
            group=name,
            topics=inputs,
            consumer=consumer,
            assignor=assignor,
            make_partition=lambda number: make_partition(number, consumer),
            reader=reader,
            steady=self.steady,
            measures=self.measures,
        )


def make_stateful_lane(
    context: LaneContext,
    lane: Lane,
    topics: LaneTopics,
    make_logic: Callable[[int], PartitionLogic],
    make_store: Callable[[int], Store] = dict_store,
) -> Membership:
    """A member of the group of a lane that ends each record with its transaction, ready for ``run``.

    ``make_logic`` and ``make_store`` are given a partition number.
    """
    reader = ChangelogReader(context.connection)
    return make_owned_lane(context, lane, topics, reader, with_deadlines(make_logic), make_store)


def make_owned_lane(
    context: LaneContext,
    lane: Lane,
    topics: LaneTopics,
    reader: ChangelogReader,
    make_intake: MakeIntake,
    make_store: Callable[[int], Store] = dict_store,
) -> Membership:
    """A member of the group of a lane with an intake of its own, ready for ``run``; ``reader`` is closed when it has left."""

    def make_partition(number: int, consumer: AIOKafkaConsumer) -> OwnedPartition:
        partition = PartitionContext(
            number,
            partitions=context.partitions,
            group=context.group_name(lane),
            topics=topics,
            options=context.options,
            connection=context.connection,
            consumer=consumer,
            reader=reader,
            incarnation=context.incarnation,
            clock=context.clock,
            steady=context.steady,
            probe=context.probe,
            pauses=context.pauses.of(lane, number),
            measures=context.measures,
        )
        return OwnedPartition(partition, make_store=make_store, make_intake=make_intake)

    return context.make_member(lane, topics.inputs.values(), reader, make_partition)
