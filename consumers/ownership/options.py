"""What a lane and each of its partitions are made with: topics, limits, clients and clocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition

from consumers.measures import LaneMeasures
from consumers.ownership.changelog import ChangelogReader
from consumers.ownership.lease import steady_clock
from consumers.pauses.table import PartitionPauses, never_paused
from producers.connection import KafkaConnection
from producers.transaction import Probe


@dataclass(frozen=True, slots=True)
class LaneTopics:
    """The topics of a lane, by their full names."""

    #: Full name by contract name.
    inputs: Mapping[str, str]
    #: None for a lane without a table: its overlay stays empty.
    changelog: str | None
    #: None for a lane without a position record: then every init is followed by a restore.
    positions: str | None
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """Batching and limits of a lane; times in seconds."""

    batch_records_max: int = 1000
    #: Least time between the starts of two transactions of a partition: 20 a second at most.
    batch_interval_seconds: float = 0.05
    #: A partition that holds this many unread records asks for no more.
    queue_records_max: int = 4000
    heartbeat_seconds: float = 3.0
    backoff_seconds_max: float = 5.0
    #: A partition that has made no progress for so long, because of failures, reports a problem; it goes on retrying.
    trouble_seconds_max: float = 60.0
    #: How long a position record may differ from the committed offsets before the partition is stopped.
    position_wait_seconds: float = 10.0
    #: For a lane that also writes at Digital River: L of ``lease.py``. None: it writes nothing.
    lease_seconds: float | None = None


def at_most(options: LaneOptions, records_max: int) -> LaneOptions:
    """``options`` with smaller batches."""
    return replace(options, batch_records_max=min(options.batch_records_max, records_max))


@dataclass(frozen=True, slots=True)
class PartitionContext:
    """What one partition of a lane is made with, whatever the lane does."""

    number: int
    #: Partition count of the lane's inputs, its changelog and its position records.
    partitions: int
    #: The group's full name.
    group: str
    topics: LaneTopics
    options: LaneOptions
    connection: KafkaConnection
    #: The lane's, shared by its partitions.
    consumer: AIOKafkaConsumer
    #: The same.
    reader: ChangelogReader
    #: Unique to this process start.
    incarnation: str
    #: UTC now.
    clock: Callable[[], datetime]
    #: Seconds of a monotonic clock.
    steady: Callable[[], float] = steady_clock
    #: For fault-injection tests: points of a transaction.
    probe: Probe | None = None
    #: What operators have paused of it.
    pauses: PartitionPauses = field(default_factory=never_paused)
    #: The lane's.
    measures: LaneMeasures = field(default_factory=LaneMeasures)

    @property
    def inputs(self) -> dict[TopicPartition, str]:
        """The contract name of each input."""
        return {TopicPartition(full, self.number): name for name, full in self.topics.inputs.items()}

    @property
    def now_ms(self) -> int:
        """The time in milliseconds, for the timestamps of records."""
        return int(self.clock().timestamp() * 1000)
