"""What a running worker makes of a look at its topics."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from consumers.group.topic_watch import compare
from producers.topic_setup import TopicState
from producers.topics import ALIGNED, Topic
from statemachine.errors import BrokerUnavailable, ConfigError

BEFORE = {topic: TopicState(8, 3, {}) for topic in Topic}


def now(*topics: Topic, partitions: int = 12) -> dict[Topic, TopicState]:
    """Topics of which some have got more partitions."""
    return BEFORE | {topic: TopicState(partitions, 3, {}) for topic in topics}


async def look(found: Mapping[Topic, TopicState]) -> None:
    """One look that finds this."""

    async def found_so() -> Mapping[Topic, TopicState]:
        return found

    await compare(found_so, "p.", BEFORE)


async def test_topics_as_they_were_are_not_a_reason_to_stop() -> None:
    """Nor are more replicas or other settings."""
    await look(BEFORE | {Topic.ORDERS: TopicState(8, 1, {"segment.ms": "1"})})


async def test_orders_raised_evenly_stop_a_worker_like_a_position_record_of_another_count() -> None:
    """All counts agree with each other, so only who knows the old one can tell."""
    with pytest.raises(
        ConfigError, match="was last written with 8 partitions, the topics have 12: orders would change"
    ):
        await look(now(*ALIGNED))


async def test_webhooks_raised_by_themselves_ask_for_a_restart() -> None:
    """A new worker reads them all."""
    with pytest.raises(ConfigError, match=r"p\.dr-webhooks: has 12 partitions, and had 8 when this worker started"):
        await look(now(Topic.DR_WEBHOOKS))


async def test_a_kafka_that_does_not_answer_is_not_a_topic_that_is_missing() -> None:
    """Then nothing is known, and the worker goes on."""

    async def away() -> Mapping[Topic, TopicState]:
        raise BrokerUnavailable("no answer")

    await compare(away, "p.", BEFORE)
