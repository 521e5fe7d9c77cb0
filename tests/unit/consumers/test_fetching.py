"""What a failed fetch leaves behind: no record of a running partition is passed over."""

from __future__ import annotations

from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from consumers.group.client_watch import ClientWatch
from consumers.group.fetching import Fetching
from consumers.group.unpacking import FetchBudget
from consumers.ownership.owner import PartitionOwner, PartitionState

TP = TopicPartition("orderflow.dr-commands", 0)


class MovedConsumer:
    """Its position passes ten records that nobody gets, because another partition's cannot be read."""

    def __init__(self, partition: PaperPartition) -> None:
        self.position = 5
        self._partition = partition
        self._value_deserializer = FetchBudget()

    def assignment(self) -> set[TopicPartition]:
        """The partitions that are ours."""
        return {TP}

    async def getmany(self, *_partitions: TopicPartition, timeout_ms: int, max_records: int) -> Any:
        """Fail; meanwhile Digital River has stopped to answer."""
        assert timeout_ms >= 0 < max_records
        self.position = 15
        self._partition.accepts_records = False
        raise ValueError("bytes that no parser knows")

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Reading goes on there."""
        assert partition == TP
        self.position = offset


class PaperPartition:
    """A partition as the reader sees it."""

    def __init__(self, state: PartitionState) -> None:
        self.state = state
        self.accepts_records = True

    def read_position(self, _partition: TopicPartition) -> int:
        """The next offset that it has not got."""
        return 5


class NeverBroken:
    """The client is well."""

    def broken(self) -> bool:
        """Whether it is not."""
        return False


@pytest.mark.parametrize(("state", "position"), [(PartitionState.RUNNING, 5), (PartitionState.DRAINING, 15)])
async def test_records_lost_in_a_failed_fetch_are_read_again_also_by_a_partition_that_wants_none_now(
    state: PartitionState, position: int
) -> None:
    """The breaker opened during the fetch: later it wants records again, from where it stood. One that leaves is set anew."""
    partition = PaperPartition(state)
    consumer = MovedConsumer(partition)
    fetching = Fetching(
        "g",
        cast("Any", consumer),
        {0: cast("PartitionOwner", partition)},
        watch=cast("ClientWatch", NeverBroken()),
        refusal=lambda: None,
    )
    await fetching._read_all([TP])
    assert consumer.position == position
    partition.accepts_records = True
    await fetching._read_one(TP)
    assert consumer.position == position
