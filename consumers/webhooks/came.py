"""Which webhooks have come, by the ids in ``dr-webhooks``, and which of the provider's events have to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from consumers.group.scanning import Part, Progress, ReadRecord, Window, no_progress, scan
from producers.connection import KafkaConnection
from producers.topics import Topic
from statemachine.errors import DecodeError

#: A webhook is delivered after its event was made, and clocks differ: its record may seem to be older.
_EARLIER: Final = timedelta(minutes=10)


class _Identity(msgspec.Struct):
    id: str


_identities: Final = msgspec.json.Decoder(_Identity)


def concerns_orders(body: bytes, read: Callable[[bytes], object | None]) -> bool:
    """Whether the lane, which reads events by ``read``, would do anything with this one.

    What it cannot read becomes a dead letter, as its webhook would have, which is something.
    """
    try:
        return read(body) is not None
    except DecodeError:
        return True


async def webhooks_since(
    connection: KafkaConnection,
    prefix: str,
    partitions: int,
    since: datetime,
    *,
    counts: Callable[[ReadRecord], bool] = lambda _: True,
    progress: Progress = no_progress,
) -> tuple[set[str], int | None]:
    """The ids of the events that came in webhooks since then, and when the oldest record was written, in milliseconds.

    Takes about 100 bytes of memory for each. What is no event is left out, and what does not count.

    Args:
        connection: How to reach Kafka.
        prefix: Before every topic name.
        partitions: Partition count of ``dr-webhooks``, which exists.
        since: When the oldest of the events may have been made.
        counts: Whether a record counts as a webhook.
        progress: Called while the topic is read.

    Raises:
        BrokerUnavailable: Kafka cannot be reached or does not answer.
    """
    came: set[str] = set()
    oldest: int | None = None

    def take(_: Topic, record: ReadRecord) -> None:
        nonlocal oldest
        oldest = record.timestamp if oldest is None else min(oldest, record.timestamp)
        try:
            event_id = _identities.decode(record.value or b"").id
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return  # the lane makes it a dead letter
        if counts(record):
            came.add(event_id)

    parts = [Part(Topic.DR_WEBHOOKS, number) for number in range(partitions)]
    window = Window(from_ms=max(0, round((since - _EARLIER).timestamp() * 1000)))
    await scan(connection, prefix, parts, take, windows=dict.fromkeys(parts, window), progress=progress)
    return came, oldest
