"""Follows orders by what anyone can read: changes, refusals, dead letters and, where requested, snapshots and SKUs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from consumers.ownership.changelog import stop_consumer
from producers.connection import KafkaConnection, start_client, within
from producers.topics import Topic, prefixed

_POLL_MS = 50


class ObservedChange(NamedTuple):
    """One state change and when it was read, in seconds of ``time.monotonic``."""

    seen: float
    data: dict[str, Any]

    @property
    def state(self) -> str:
        """The state after it."""
        return str(self.data["to"])


class ObservedRefusal(NamedTuple):
    """An event that orderflow refused, as ``<type>: <reason>``, after ``after`` changes of its order."""

    after: int
    text: str


class OrderWatch:
    """Everything read about the orders so far."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        #: Records read so far.
        self.seen = 0
        self.changes: dict[str, list[ObservedChange]] = {}
        #: Refused events, by order.
        self.refused: dict[str, list[ObservedRefusal]] = {}
        self.dead_letters = 0
        #: Orders with a missing change.
        self.gaps: list[str] = []
        #: The types of the events parked in each order, from its latest snapshot.
        self.parked: dict[str, list[str]] = {}
        #: The state of each SKU.
        self.skus: dict[str, str] = {}

    @property
    def seconds(self) -> float:
        """How long the watch has lasted."""
        return time.monotonic() - self.began

    def states(self) -> Counter[str]:
        """How many orders are in each state."""
        return Counter(changes[-1].state for changes in self.changes.values())

    def add_change(self, record: ConsumerRecord) -> ObservedChange | None:
        """Add one record of ``order-state-changes``; returns None for an event of another type."""
        event = msgspec.json.decode(record.value)
        if event["type"] != "order.state_changed":
            return None
        change = ObservedChange(time.monotonic(), event["data"])
        order_id = change.data["order_id"]
        known = self.changes.setdefault(order_id, [])
        if change.data["sequence"] != len(known) + 1:
            self.gaps.append(order_id)
        known.append(change)
        return change

    def add_other(self, topic: str, record: ConsumerRecord) -> None:
        """Add one record of another topic: a dead letter, a refusal, a snapshot or a SKU."""
        if topic.endswith(Topic.DEAD_LETTERS):
            self.dead_letters += 1
        elif topic.endswith(Topic.ORDER_EVENT_REFUSALS):
            self._add_refusal(msgspec.json.decode(record.value)["data"])
        elif record.value is not None:
            data, key = msgspec.json.decode(record.value), (record.key or b"").decode()
            if topic.endswith(Topic.SKUS):
                self.skus[key] = data["state"]
            else:
                self.parked[key] = [entry["type"] for entry in data["parked"]]

    def _add_refusal(self, data: dict[str, Any]) -> None:
        after = len(self.changes.get(data["order_id"], ()))
        refusal = ObservedRefusal(after, f"{data['cause'].get('type', 'event')}: {data['detail']}")
        self.refused.setdefault(data["order_id"], []).append(refusal)


async def follow(connection: KafkaConnection, prefix: str, partitions: int, *others: Topic) -> AIOKafkaConsumer:
    """A consumer without a group, at the beginning of changes, refusals, dead letters and ``others``; the caller stops it."""
    topics = (Topic.ORDER_STATE_CHANGES, Topic.ORDER_EVENT_REFUSALS, Topic.DEAD_LETTERS, *others)
    consumer = AIOKafkaConsumer(
        **connection.client_options(),
        group_id=None,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        fetch_max_wait_ms=_POLL_MS,
    )
    try:
        await within(connection.limits.operation_seconds, start_client(consumer), "a connection")
    except BaseException:
        await stop_consumer(consumer, connection.limits.stop_seconds)
        raise
    consumer.assign(
        [TopicPartition(prefixed(prefix, topic), number) for topic in topics for number in range(partitions)]
    )
    return consumer


async def poll(consumer: AIOKafkaConsumer, watch: OrderWatch) -> Sequence[ObservedChange]:
    """The changes since the last poll; waits up to 50 ms for some."""
    found: list[ObservedChange] = []
    for partition, records in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
        watch.seen += len(records)
        if partition.topic.endswith(Topic.ORDER_STATE_CHANGES):
            found += [change for record in records if (change := watch.add_change(record)) is not None]
        else:
            for record in records:
                watch.add_other(partition.topic, record)
    return found
