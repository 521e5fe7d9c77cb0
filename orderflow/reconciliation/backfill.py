"""``orderflow webhooks backfill``: Digital River's events whose webhooks are not in ``dr-webhooks``, and feeding them to it.

They take the way of every webhook: signed, verified by the webhook lane, decided by the order lane. The same fact twice is
harmless, so what is not known to have come is fed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime

import msgspec

from consumers.group.scanning import Progress, no_progress
from consumers.provider import RecentEvent
from consumers.webhooks.came import concerns_orders, webhooks_since
from orderflow.digitalriver.signature import signature_headers
from orderflow.digitalriver.webhook import read_webhook
from producers.connection import KafkaConnection
from producers.publisher import Publisher
from producers.topic_setup import read_topics
from producers.topics import Topic, prefixed
from statemachine.errors import ConfigError


class Missed(msgspec.Struct, frozen=True):
    """Events that Digital River made, and what became of their webhooks."""

    #: Those that never came, oldest first.
    events: tuple[RecentEvent, ...]
    #: How many came.
    known: int
    #: How many are of types that do not concern orders.
    skipped: int
    #: When the oldest webhook in the topic was written; None: it is empty. What is older cannot be known to have come.
    reaches_back_to_ms: int | None


async def find_missed(
    connection: KafkaConnection,
    prefix: str,
    events: AsyncIterator[RecentEvent],
    since: datetime,
    *,
    read: Callable[[bytes], object | None] = read_webhook,
    progress: Progress = no_progress,
) -> Missed:
    """Compare Digital River's events with the webhooks that came.

    Args:
        connection: How to reach Kafka.
        prefix: Before every topic name.
        events: Digital River's, newest first.
        since: When the oldest of them may have been made.
        read: How the webhook lane reads an event; None for one that does not concern orders.
        progress: Called while the topic is read.

    Raises:
        ConfigError: The topic does not exist.
        BrokerUnavailable: Kafka cannot be reached or does not answer.
        DigitalRiverError: No usable answer.
    """
    state = (await read_topics(connection, prefix)).get(Topic.DR_WEBHOOKS)
    if state is None:
        name = prefixed(prefix, Topic.DR_WEBHOOKS)
        raise ConfigError(f"topic {name} does not exist; run `orderflow topics create`")
    came, oldest = await webhooks_since(connection, prefix, state.partitions, since, progress=progress)
    missed: list[RecentEvent] = []
    known = skipped = 0
    async for event in events:
        if not concerns_orders(event.body, read):
            skipped += 1
        elif event.id in came:
            known += 1
        else:
            missed.append(event)
    return Missed(tuple(reversed(missed)), known, skipped, oldest)


async def feed(publisher: Publisher, prefix: str, tokens: Sequence[str], event: RecentEvent) -> None:
    """Write an event to ``dr-webhooks`` as the relay would have done, signed with the current token.

    Raises:
        BrokerUnavailable: Not acknowledged within the limit; it may or may not be there, and may be fed again.
        RecordTooLarge: It does not fit into a record.
    """
    key = None if event.about is None else event.about.encode()
    await publisher.send(prefixed(prefix, Topic.DR_WEBHOOKS), key, event.body, signature_headers(tokens, event.body))
