"""One event made, sent and followed: ours into its topic, Digital River's by the simulator, as a signed webhook."""

from __future__ import annotations

import asyncio
import difflib
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from orderflow.digitalriver.webhook import KNOWN_TYPES
from orderflow.operations.operator_events import read_order
from orderflow.operations.record_following import Followed, Follower, marks
from orderflow.sandbox.checking import LineChecker
from orderflow.sandbox.defaults import (
    OF_SKUS,
    PREDECESSORS,
    READY,
    SKU,
    TOPIC_OF,
    Triggered,
    default_event,
    read_value,
    with_values,
)
from orderflow.sandbox.simulator_client import SimulatorClient
from orderflow.settings import Settings
from producers.connection import KafkaConnection
from producers.partitioner import partition_of
from producers.publisher import Publisher
from producers.topic_setup import TopicState, read_topics
from producers.topics import Topic, prefixed
from statemachine.errors import ConfigError
from statemachine.order.order import Order

#: Types of Digital River's events about orders, which the simulator can be asked for.
REMOTE_TYPES: Final = KNOWN_TYPES
#: How the predecessors of a type pay, where not by card.
_METHODS: Final[Mapping[str, str]] = {"order.payment_returned": "redirect"}
_LOOK_SECONDS: Final = 0.2


class Asked(NamedTuple):
    """What is to be triggered. Without ``key`` it is about a new order, which its predecessors make."""

    type: str
    key: str | None = None
    values: tuple[tuple[str, str], ...] = ()
    event_id: str | None = None


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was sent, and what became of it."""

    type: str
    id: str
    key: str
    followed: Followed
    #: Types of what was sent before, to make a new order.
    before: tuple[str, ...] = ()


def nearest_type(text: str) -> str | None:
    """The type that was meant, if there is one like it."""
    found = difflib.get_close_matches(text, [*TOPIC_OF, *sorted(REMOTE_TYPES)], 1, 0.6)
    return found[0] if found else None


def new_mark() -> str:
    """What makes ids new."""
    return uuid.uuid4().hex[:8]


def planned(asked: Asked, mark: str, order: Order | None) -> list[Triggered]:
    """The events that are sent, the one that was asked for last.

    Raises:
        ValueError: A value cannot be set.
    """
    key = asked.key or (SKU if asked.type in OF_SKUS else f"trigger-{mark}")
    method = _METHODS.get(asked.type, "card")
    before = [] if asked.key is not None else PREDECESSORS[asked.type]
    events = [
        default_event(kind, SKU if kind in OF_SKUS else key, mark=mark, order=order, method=method) for kind in before
    ]
    last = default_event(asked.type, key, mark=mark, order=order, method=method)
    last = with_values(last, asked.values)
    return [*events, last if asked.event_id is None else last._replace(id=asked.event_id)]


def line_for(event: Triggered, now: datetime) -> dict[str, Any]:
    """The event as a line of an events file."""
    return {"topic": event.topic, "key": event.key, "value": event.value(now)}


def problem_of(event: Triggered, now: datetime, settings: Settings) -> str | None:
    """Why workers would refuse the event; None when they would not."""
    checker = LineChecker(tokens=settings.signing_tokens, compression=settings.connection().compression_type)
    problem = checker.check(1, msgspec.json.encode(line_for(event, now)))
    return None if problem is None else problem.text


class Trigger:
    """Sends to one Kafka, and follows."""

    def __init__(self, settings: Settings, *, seconds: float, say: Callable[[str], None]) -> None:
        """``seconds`` is how long a result is waited for; ``say`` gets what is done meanwhile, in lines."""
        self._settings = settings
        self._connection: KafkaConnection = settings.connection()
        self._prefix = settings.topic_prefix
        self._until = time.monotonic() + seconds
        self._say = say

    async def ours(self, asked: Asked, *, checked: bool) -> Result:
        """Trigger an event of ours.

        Raises:
            ConfigError: A topic does not exist; workers would refuse the event; the new order does not come to where the event
                would mean something.
            BrokerUnavailable: Kafka cannot be reached or does not answer.
        """
        topics = await self._topics()
        mark = new_mark()
        *before, last = planned(asked, mark, await self._order(asked.key) if asked.type not in OF_SKUS else None)
        if checked and (problem := problem_of(last, datetime.now(UTC), self._settings)) is not None:
            raise ConfigError(f"workers would refuse it: {problem}; --no-check sends it all the same")
        async with Publisher(self._connection) as publisher:
            for event in before:
                await self._send(publisher, event)
            if before and asked.type in READY:
                order = await self._state(last.key, READY[asked.type])
                last = planned(asked._replace(key=last.key), mark, order)[-1]
            begin = await marks(self._connection, self._prefix, topics)
            offset = await self._send(publisher, last)
        follower = Follower(self._connection, self._prefix, begin, seconds=self._until - time.monotonic())
        partition = partition_of(last.key.encode(), topics[Topic(last.topic)].partitions)
        followed = await follower.event(last.topic, partition, offset, last.key)
        return Result(last.type, last.id, last.key, followed, tuple(event.type for event in before))

    async def remote(self, asked: Asked, client: SimulatorClient) -> Result:
        """Trigger one of Digital River's events, about an order of the simulator.

        Raises:
            SimulatorRefused, SimulatorHasNone, TransportFailure: The simulator does not do it, or is not there.
            ConfigError: A topic does not exist.
            BrokerUnavailable: Kafka cannot be reached or does not answer.
        """
        begin = await marks(self._connection, self._prefix, await self._topics())
        sent = await client.ask("POST", "events", remote_body(asked, send=True), order=asked.key)
        self._say(f"the simulator sends {sent['type']} {sent['id']} about {sent['order']}")
        follower = Follower(self._connection, self._prefix, begin, seconds=self._until - time.monotonic())
        return Result(sent["type"], sent["id"], sent["order"], await follower.webhook(sent["id"], sent["order"]))

    async def _topics(self) -> Mapping[Topic, TopicState]:
        topics = await read_topics(self._connection, self._prefix)
        missing = [prefixed(self._prefix, topic) for topic in Topic if topic not in topics]
        if missing:
            raise ConfigError(f"topics do not exist: {', '.join(missing)}; run `orderflow topics create`")
        return topics

    async def _send(self, publisher: Publisher, event: Triggered) -> int:
        value = msgspec.json.encode(event.value(datetime.now(UTC)))
        offset = await publisher.send(prefixed(self._prefix, event.topic), event.key.encode(), value)
        self._say(f"sent {event.type} {event.id} to {event.topic}")
        return offset

    async def _order(self, key: str | None) -> Order | None:
        return None if key is None else await read_order(self._connection, self._prefix, key)

    async def _state(self, key: str, wanted: frozenset[str]) -> Order:
        """The new order, once it is in one of these states."""
        async for order in self._looks(key):
            if order is not None and order.state in wanted:
                return order
            if time.monotonic() > self._until:
                break
        state = "unknown" if order is None else order.state
        raise ConfigError(f"the new order {key} is {state}, and not {' or '.join(sorted(wanted))}: do workers run?")

    async def _looks(self, key: str) -> AsyncIterator[Order | None]:
        while True:
            yield await self._order(key)
            await asyncio.sleep(_LOOK_SECONDS)


def remote_body(asked: Asked, *, send: bool) -> dict[str, Any]:
    """What the simulator is asked for."""
    body: dict[str, Any] = {"type": asked.type, "send": send}
    if asked.key is not None:
        body["order"] = asked.key
    if asked.values:
        body["values"] = {path: read_value(text) for path, text in asked.values}
    return body


def known_types() -> Sequence[str]:
    """All types that can be triggered, ours first."""
    return [*TOPIC_OF, *sorted(REMOTE_TYPES)]
