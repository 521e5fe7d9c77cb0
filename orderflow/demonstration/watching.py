"""Following orders by what anybody can read: the topics ``order-state-changes`` and ``orderflow.dead-letters``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from producers.connection import KafkaConnection, within
from producers.topics import Topic, prefixed

_POLL_MS = 50


class Change(NamedTuple):
    """One state change, and when it was seen, in seconds of ``time.monotonic``."""

    seen: float
    data: dict[str, Any]

    @property
    def state(self) -> str:
        """The state after it."""
        return str(self.data["to"])


class Watch:
    """What has become of the orders so far."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.changes: dict[str, list[Change]] = {}
        #: What orderflow refused, by reason.
        self.refused: Counter[str] = Counter()
        self.letters = 0
        self.gaps: list[str] = []

    @property
    def seconds(self) -> float:
        """How long the watch has lasted."""
        return time.monotonic() - self.began

    def states(self) -> Counter[str]:
        """How many orders are in each state."""
        return Counter(changes[-1].state for changes in self.changes.values())

    def take(self, record: ConsumerRecord) -> Change | None:
        """Note one record of ``order-state-changes``; None when it is no change."""
        event = msgspec.json.decode(record.value)
        if event["type"] != "order.state_changed":
            self.refused[event["data"]["reason"]] += 1
            return None
        change = Change(time.monotonic(), event["data"])
        order_id = change.data["order_id"]
        known = self.changes.setdefault(order_id, [])
        if change.data["sequence"] != len(known) + 1:
            self.gaps.append(order_id)
        known.append(change)
        return change


async def follow(connection: KafkaConnection, prefix: str, partitions: int) -> AIOKafkaConsumer:
    """A consumer, without a group, at the beginning of what orderflow tells the world; the caller stops it."""
    topics = (Topic.ORDER_STATE_CHANGES, Topic.DEAD_LETTERS)
    consumer = AIOKafkaConsumer(
        **connection.client_options(),
        group_id=None,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        fetch_max_wait_ms=_POLL_MS,
    )
    await within(connection.limits.operation_seconds, consumer.start(), "a connection")
    consumer.assign(
        [TopicPartition(prefixed(prefix, topic), number) for topic in topics for number in range(partitions)]
    )
    return consumer


async def poll(consumer: AIOKafkaConsumer, watch: Watch) -> Sequence[Change]:
    """The changes that came since the last poll; waits a little for some."""
    found: list[Change] = []
    for partition, records in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
        if partition.topic.endswith(Topic.DEAD_LETTERS):
            watch.letters += len(records)
        else:
            found += [change for record in records if (change := watch.take(record)) is not None]
    return found
