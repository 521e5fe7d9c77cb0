"""What becomes of one record: where its lane is, what it decided, and what it wrote.

A lane commits its offsets in the transaction that holds the result: once it is past a record, the result is there or there is
none. Results name the coordinates where their record first came in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec
from aiokafka import TopicPartition

from consumers.group.scanning import ReadRecord, open_reader, scan_partitions
from consumers.group.table_reader import read_table
from orderflow.operations.operator_events import read_order
from producers.connection import KafkaConnection, within
from producers.topic_setup import TopicState
from producers.topics import Lane, Topic, group_id, prefixed
from statemachine.errors import ConfigError
from statemachine.messages.decoding import ORIGIN_HEADER

#: Between two looks, in seconds.
_LOOK_SECONDS: Final = 0.2
#: Where results appear.
_RESULTS: Final = (Topic.ORDER_STATE_CHANGES, Topic.DEAD_LETTERS, Topic.INBOX, Topic.DR_WEBHOOKS)

#: ``changed``: a change was published, or a SKU was written. ``noted``: accepted without news for readers, or known before.
#: ``parked``: it waits inside the order. ``set_aside``: a dead letter. ``skipped``: a webhook of a type that concerns no order.
#: ``pending``: no worker has come to it.
Verdict = Literal["changed", "noted", "parked", "set_aside", "skipped", "pending"]

Place = tuple[str, int, int]


class Followed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a record."""

    verdict: Verdict
    #: Where the record is; a webhook that has not come is nowhere.
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    #: The order's, or the SKU's.
    state: str | None = None
    #: Of a dead letter.
    reason: str | None = None
    #: Of a dead letter, why; of what is parked, what it waits for.
    detail: str | None = None
    changes: tuple[dict[str, Any], ...] = ()


class Marks(NamedTuple):
    """The ends of the partitions where results appear, before the record was sent."""

    ends: Mapping[TopicPartition, int]


async def marks(connection: KafkaConnection, prefix: str, topics: Mapping[Topic, TopicState]) -> Marks:
    """Where results of what is sent from now on may begin.

    Raises:
        ConfigError: A topic does not exist.
        BrokerUnavailable: Kafka cannot be reached or does not answer.
    """
    missing = [prefixed(prefix, topic) for topic in _RESULTS if topic not in topics]
    if missing:
        raise ConfigError(f"topics do not exist: {', '.join(missing)}; run `orderflow topics create`")
    partitions = [
        TopicPartition(prefixed(prefix, topic), number)
        for topic in _RESULTS
        for number in range(topics[topic].partitions)
    ]
    async with open_reader(connection) as consumer:
        limit = connection.limits.operation_seconds
        return Marks(await within(limit, consumer.end_offsets(partitions), "a request for end offsets"))


class Follower:
    """Follows one record until its result is there, or the time is over."""

    def __init__(self, connection: KafkaConnection, prefix: str, begin: Marks, *, seconds: float) -> None:
        self._connection = connection
        self._prefix = prefix
        self._ends = begin.ends
        self._until = time.monotonic() + seconds

    async def event(self, topic: str, partition: int, offset: int, key: str) -> Followed:
        """What became of an event of ours.

        Raises:
            BrokerUnavailable: Kafka cannot be reached or does not answer.
        """
        place = (topic, partition, offset)
        if topic == Topic.CATALOG_EVENTS:
            return await self._sku(place, key)
        if not await self._passed(Lane.ORDERS, place):
            return self._followed("pending", place)
        return await self._decided(place, place, key)

    async def webhook(self, event_id: str, order_id: str) -> Followed:
        """What became of a webhook that the simulator sends.

        Raises:
            BrokerUnavailable: Kafka cannot be reached or does not answer.
        """
        place = await self._arrival(event_id)
        if place is None:
            return Followed(
                "pending", detail="the webhook has not come to Kafka: does a relay run where the simulator sends?"
            )
        if not await self._passed(Lane.WEBHOOKS, place):
            return self._followed("pending", place)
        letter = await self._letter(place)
        if letter is not None:
            return letter
        handed = await self._handed_over(place)
        if handed is None:
            return self._followed("skipped", place)
        if not await self._passed(Lane.ORDERS, handed):
            return self._followed("pending", place)
        return await self._decided(place, handed, order_id)

    async def _sku(self, place: Place, sku_id: str) -> Followed:
        if not await self._passed(Lane.CATALOGUE, place):
            return self._followed("pending", place)
        letter = await self._letter(place)
        if letter is not None:
            return letter
        found = (await read_table(self._connection, self._prefix, Topic.SKUS, key=sku_id)).get(sku_id)
        state = None if found is None else str(msgspec.json.decode(found).get("state"))
        return self._followed("changed", place, state=state)

    async def _decided(self, place: Place, own: Place, order_id: str) -> Followed:
        """The result of a record that the order lane has read; one that is parked is waited for."""
        while True:
            # The snapshot first: what no longer waits in it has its result, in the same transaction.
            order = await read_order(self._connection, self._prefix, order_id)
            letter = await self._letter(place)
            if letter is not None:
                return msgspec.structs.replace(letter, state=None if order is None else order.state)
            changes = await self._changes(place)
            if changes:
                return self._followed("changed", place, state=changes[-1]["to"], changes=tuple(changes))
            waits = order is not None and any(
                (one.record.topic, one.record.partition, one.record.offset) == own
                for one in (*order.parked, *order.queue)
            )
            state = None if order is None else order.state
            if not waits:
                return self._followed("noted", place, state=state)
            held = order is not None and order.held is not None
            if held or time.monotonic() > self._until:
                why = "the order is held, it waits for the release" if held else "it is too early"
                return self._followed("parked", place, state=state, detail=why)
            await asyncio.sleep(_LOOK_SECONDS)

    @staticmethod
    def _followed(verdict: Verdict, place: Place, **more: Any) -> Followed:
        return Followed(verdict, *place, **more)

    async def _passed(self, lane: Lane, place: Place) -> bool:
        """Whether the lane has come past the record, in time."""
        partition = TopicPartition(prefixed(self._prefix, place[0]), place[1])
        limit = self._connection.limits.operation_seconds
        async with open_reader(self._connection, group=group_id(self._prefix, lane)) as consumer:
            consumer.assign([partition])
            while True:
                committed = await within(limit, consumer.committed(partition), "a request for committed offsets")
                if committed is not None and committed > place[2]:
                    return True
                if time.monotonic() > self._until:
                    return False
                await asyncio.sleep(_LOOK_SECONDS)

    async def _arrival(self, event_id: str) -> Place | None:
        """Where the webhook was written, in time."""
        while True:
            for record in await self._new_records(Topic.DR_WEBHOOKS):
                if _id_in(record.value) == event_id:
                    return (Topic.DR_WEBHOOKS.value, record.partition, record.offset)
            if time.monotonic() > self._until:
                return None
            await asyncio.sleep(_LOOK_SECONDS)

    async def _handed_over(self, place: Place) -> Place | None:
        """Where the webhook lane has written the fact."""
        origin = "/".join(map(str, place)).encode()
        for record in await self._new_records(Topic.INBOX):
            if (ORIGIN_HEADER, origin) in tuple(record.headers or ()):
                return (Topic.INBOX.value, record.partition, record.offset)
        return None

    async def _letter(self, place: Place) -> Followed | None:
        """The dead letter of the record, if there is one."""
        for record in await self._new_records(Topic.DEAD_LETTERS):
            headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers or ()}
            found = tuple(headers.get(f"orderflow-{name}") for name in ("topic", "partition", "offset"))
            if found == tuple(map(str, place)):
                reason, detail = headers.get("orderflow-reason"), headers.get("orderflow-detail")
                return self._followed("set_aside", place, reason=reason, detail=detail)
        return None

    async def _changes(self, place: Place) -> list[dict[str, Any]]:
        """The changes that the record has caused."""
        found = []
        for record in await self._new_records(Topic.ORDER_STATE_CHANGES):
            document = msgspec.json.decode(record.value or b"null")
            if not isinstance(document, dict) or document.get("type") != "order.state_changed":
                continue
            cause = document["data"]["cause"]
            if (cause.get("topic"), cause.get("partition"), cause.get("offset")) == place:
                found.append(document["data"])
        return found

    async def _new_records(self, topic: Topic) -> list[ReadRecord]:
        """What was written to the topic since the marks."""
        name = prefixed(self._prefix, topic)
        starts = {partition: end for partition, end in self._ends.items() if partition.topic == name}
        found: list[ReadRecord] = []
        await scan_partitions(self._connection, list(starts), found.append, starts=starts)
        return found


def _id_in(value: bytes | None) -> str | None:
    try:
        document = msgspec.json.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return document.get("id") if isinstance(document, dict) else None
