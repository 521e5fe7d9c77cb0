"""What partitions of both kinds hold unread, without Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from consumers.commands.reader import CommandReader
from consumers.ownership.lease import Lease, steady_clock
from consumers.ownership.logic import Batch
from consumers.ownership.options import LaneOptions, LaneTopics, PartitionContext
from consumers.ownership.owner import PartitionState
from consumers.ownership.partition import OwnedPartition, with_deadlines
from consumers.ownership.records import record_bytes
from consumers.ownership.store import DictStore, Overlay, Store
from consumers.provider import MayWrite
from consumers.requests.intake import RequestIntake, SideWork
from consumers.requests.queues import ObjectQueues
from consumers.requests.rate_limit import RateLimit
from consumers.requests.records import RequestOptions
from consumers.requests.retrying import RetryingRequests
from producers.connection import KafkaConnection
from producers.outbox import Outbox

TP = TopicPartition("input", 0)
OPTIONS = LaneOptions(batch_records_max=7, batch_interval_seconds=0.0)
TOPICS = LaneTopics(inputs={"input": "input"}, changelog=None, positions=None, outputs=())


class Logic:
    """Of a lane that does nothing with its records."""

    problem: str | None = None
    side_work: SideWork | None = None

    def __init__(self) -> None:
        async def ask(_key: str, item: str, _may_write: MayWrite) -> str:
            return item

        requests = RetryingRequests(RateLimit(0, lambda: 1.0), clock=steady_clock)
        self.queues: ObjectQueues[Any, Any] = ObjectQueues(
            requests, ask, options=RequestOptions(), incarnation="one", log_fields={}, log_key="sku_id"
        )

    async def opened(self, store: Store) -> None:
        """Nothing is derived."""

    async def step(self, batch: Batch, overlay: Overlay, outbox: Outbox) -> None:
        """Nothing is written."""

    def committed(self, changes: Mapping[str, bytes | None]) -> None:
        """Nothing was."""

    def next_due(self) -> datetime | None:
        """There are no deadlines."""
        return None


def make_request_logic(_number: int, _lease: Lease | None) -> Logic:
    """Makes the logic."""
    return Logic()


@pytest.fixture(params=["deadlines", "requests"])
async def partition(request: pytest.FixtureRequest) -> AsyncIterator[OwnedPartition]:
    """A partition of each kind, as it is once it has taken over."""
    connection = KafkaConnection("127.0.0.1:1")
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1")
    reader = CommandReader(connection)
    context = PartitionContext(
        0,
        partitions=1,
        group="g",
        topics=TOPICS,
        options=OPTIONS,
        connection=connection,
        consumer=consumer,
        reader=reader,
        incarnation="one",
        clock=lambda: datetime.now(UTC),
    )
    intakes = {
        "deadlines": with_deadlines(lambda _: Logic()),
        "requests": lambda *parts: RequestIntake(*parts, reader=reader, make_logic=make_request_logic),
    }
    made = OwnedPartition(context, make_store=lambda _number: DictStore(), make_intake=intakes[request.param])
    made._logic = made._intake.new_logic()
    made._become(PartitionState.RUNNING)
    yield made
    await consumer.stop()


def record(offset: int, size: int) -> ConsumerRecord:
    """A record with a value of so many bytes, a key and a header."""
    value, headers = b"v" * size, (("DigitalRiver-Signature", b"s" * 100),)
    return ConsumerRecord("input", 0, offset, 0, 0, b"key", value, None, 3, size, headers)


async def test_what_a_partition_holds_unread_is_what_lies_in_its_queue(partition: OwnedPartition) -> None:
    """Keys, headers and the record itself count when they come in and when they go: else it asks for no more one day."""
    offset = 0
    for _ in range(3):
        partition.feed(TP, [record(offset + n, 10_000 if n % 7 == 6 else 10) for n in range(40)])
        offset += 40
        for _ in range(6):
            assert partition._input.bytes == sum(map(record_bytes, partition._input._records)) > 0
            batch = await asyncio.wait_for(partition._next_batch(), 5.0)
            assert batch is not None
            assert batch.records
        assert (len(partition._input), partition._input.bytes) == (0, 0)
    partition.queue_bytes_max = 1
    assert partition.accepts_records, "with nothing unread it asks for more"
