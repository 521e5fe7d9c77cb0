"""Repeats, while a worker runs, the check of its start: are the topics still as they must be?

Kafka does not notify clients that a topic was deleted, got more partitions or another cleanup policy. A worker that goes on would
read a part of the records only, or lose orders, and report that it is ready. So it checks again, and stops with the message with
which a new worker would refuse to start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from consumers.ownership.positions import other_partition_count
from producers.connection import KafkaConnection
from producers.topic_setup import TopicState, check_topics
from producers.topics import ALIGNED, Topic, prefixed
from statemachine.errors import BrokerUnavailable, ConfigError

log = structlog.get_logger(__name__)

#: Seconds between two checks.
CHECK_SECONDS = 20.0
#: What is wrong is checked once more after so many seconds: a broker that has just started may not know every topic yet.
_CONFIRM_SECONDS = 5.0

ReadTopics = Callable[[], Awaitable[Mapping[Topic, TopicState]]]


async def watch_topics(connection: KafkaConnection, prefix: str, started_with: Mapping[Topic, TopicState]) -> None:
    """Check until cancelled, or until something is wrong. While Kafka does not answer nothing is known, and nothing is wrong.

    Raises:
        ConfigError: A topic is missing, or would break a guarantee.
    """

    async def look() -> Mapping[Topic, TopicState]:
        return await check_topics(connection, prefix)

    while True:
        await asyncio.sleep(CHECK_SECONDS)
        try:
            await compare(look, prefix, started_with)
        except ConfigError:
            await asyncio.sleep(_CONFIRM_SECONDS)
            await compare(look, prefix, started_with)


async def compare(look: ReadTopics, prefix: str, started_with: Mapping[Topic, TopicState]) -> None:
    """Check once.

    Raises:
        ConfigError: Something is not as it must be, or has another partition count than at the start.
    """
    try:
        found = await look()
    except BrokerUnavailable:
        return
    for topic, state in found.items():
        before = started_with[topic].partitions
        if state.partitions == before:
            continue
        if topic in ALIGNED:
            raise other_partition_count(0, before, state.partitions)
        raise ConfigError(
            f"topic {prefixed(prefix, topic)}: has {state.partitions} partitions, and had {before} when this worker started; "
            "restart it"
        )
