"""One order as it goes on: its changes as they are committed, until it waits for nothing more."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import msgspec

from consumers.group.scanning import Part, ReadRecord
from orderflow.inspection.explaining import Explanation, explain
from orderflow.inspection.reading import TopicReader
from producers.topics import Topic


class _Change(msgspec.Struct):
    type: str
    data: dict[str, Any]


_change = msgspec.json.Decoder(_Change)


@dataclass(slots=True)
class _Seen:
    """What has been read of the order."""

    key: bytes
    #: The next offset of each partition that is followed.
    offsets: dict[Part, int]
    snapshot: bytes | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)

    def take(self, topic: Topic, record: ReadRecord) -> None:
        """A record of one of the partitions."""
        self.offsets[Part(topic, record.partition)] = record.offset + 1
        if record.key != self.key:
            return
        if topic == Topic.ORDERS:
            self.snapshot = record.value
            return
        try:
            event = _change.decode(record.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if event.type == "order.state_changed":
            self.changes.append(event.data)


async def watch(reader: TopicReader, order_id: str) -> AsyncGenerator[Explanation | dict[str, Any], None]:
    """The order as it is now, then each later change, and in the end the order that waits for nothing more.

    It ends, too, when the order is removed. Nothing comes when there is no such order.

    Raises:
        BrokerUnavailable: Kafka cannot be reached or does not answer.
        ConfigError: A topic does not exist.
    """
    parts = [reader.part(topic, order_id) for topic in (Topic.ORDERS, Topic.ORDER_STATE_CHANGES)]
    seen = _Seen(order_id.encode(), dict.fromkeys(parts, 0))
    await reader.scan(parts, seen.take)
    if seen.snapshot is None:
        return
    shown = max((int(change["sequence"]) for change in seen.changes), default=0)
    seen.changes.clear()
    now = explain(seen.snapshot, None, await reader.pauses(order_id, seen.snapshot))
    yield now
    if not now.waits:
        return
    async with aclosing(reader.follow(parts, seen.offsets)) as batches:
        async for batch in batches:
            for topic, record in batch:
                seen.take(topic, record)
            for change in seen.changes:
                if change["sequence"] > shown:
                    shown = change["sequence"]
                    yield change
            seen.changes.clear()
            if (told := _ended(seen, shown)) is not None:
                yield told
            if told is not None or seen.snapshot is None:
                return


def _ended(seen: _Seen, shown: int) -> Explanation | None:
    """The order, when it waits for nothing and all its changes were shown."""
    if seen.snapshot is None:
        return None
    told = explain(seen.snapshot)
    return told if not told.waits and shown >= _sequence(seen.snapshot) else None


class _Numbered(msgspec.Struct):
    sequence: int


def _sequence(snapshot: bytes) -> int:
    return msgspec.json.decode(snapshot, type=_Numbered).sequence
