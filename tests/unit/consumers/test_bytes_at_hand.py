"""How much of its topic a partition of commands holds in memory while Digital River is slow."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from consumers.commands.partition import CommandPartition
from consumers.ownership.owner import PartitionState
from consumers.ownership.records import record_bytes
from producers.encoding import encode_command
from statemachine.messages.commands import DeleteCheckout
from statemachine.messages.ids import CheckoutId, CommandId, OrderId
from tests.unit.consumers.test_footprints import command_partition

SHARE = 1024 * 1024


class PausedConsumer:
    """Notes where reading is to go on."""

    def __init__(self) -> None:
        self.goes_on_at: list[int] = []

    def pause(self, *_partitions: TopicPartition) -> None:
        """Nothing is fetched any more."""

    def seek(self, _partition: TopicPartition, offset: int) -> None:
        """Reading goes on there."""
        self.goes_on_at.append(offset)


def large(offset: int, kib: int = 100) -> ConsumerRecord:
    """A command of so many KiB, for an order of its own."""
    order_id = f"A-{offset}"
    command = DeleteCheckout(
        command_id=CommandId(f"c{offset}"), order_id=OrderId(order_id), checkout_id=CheckoutId("x" * 1024 * kib)
    )
    now = datetime(2031, 3, 4, tzinfo=UTC)
    key, value = order_id.encode(), encode_command(command, time=now)
    at = int(now.timestamp() * 1000)
    return ConsumerRecord("orderflow.dr-commands", 0, offset, at, 0, key, value, None, len(key), len(value), ())


@pytest.fixture
def partition(monkeypatch: pytest.MonkeyPatch) -> CommandPartition:
    """A running one whose calls never begin."""
    one = command_partition()
    one._consumer = PausedConsumer()
    one.state = PartitionState.RUNNING
    one.queue_bytes_max = SHARE
    one._pipeline.history.seen.begin(0, 0)
    monkeypatch.setattr(one._pipeline.queues, "add", lambda _pending: None)
    return one


def test_commands_at_hand_take_no_more_memory_than_the_share_of_the_partition(partition: CommandPartition) -> None:
    """What is above it stays in Kafka; once commands are done, there is room again."""
    records = [large(offset) for offset in range(50)]
    partition.feed(partition._tp, records)
    taken = partition._pipeline.transactions.watermark.pending
    size = record_bytes(records[0])
    assert (taken - 1) * size < SHARE <= taken * size
    assert not partition.accepts_records
    assert partition._consumer.goes_on_at == [taken]
    partition._pipeline.transactions.watermark.finish([0, 1])
    assert partition.accepts_records


def test_a_command_larger_than_the_share_is_taken_alone(partition: CommandPartition) -> None:
    """Or the partition would stand still for ever."""
    partition.feed(partition._tp, [large(0, 2000), large(1, 1)])
    assert partition._pipeline.transactions.watermark.pending == 1
    partition._pipeline.transactions.watermark.finish([0])
    partition.feed(partition._tp, [large(1, 1)])
    assert partition._pipeline.transactions.watermark.pending == 1


def test_commands_that_are_read_again_after_a_pause_count_once(partition: CommandPartition) -> None:
    """A partition that is given away and comes back has the memory of what it reads then."""
    partition.feed(partition._tp, [large(offset) for offset in range(8)])
    partition._pipeline.transactions.watermark.rewind([])
    partition.feed(partition._tp, [large(offset) for offset in range(8)])
    assert partition.accepts_records
    assert partition._pipeline.transactions.watermark.pending == 8
