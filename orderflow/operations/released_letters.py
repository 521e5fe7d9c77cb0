"""The dead letter of an event that held its order: it is done with when a release has decided the event, or dropped it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from orderflow.operations.actions.reading import TopicReader
from orderflow.operations.actions.records import LETTER_KEY, LetterRecord, Result, Status, encode
from orderflow.operations.operator_events import ActResult, read_order
from producers.connection import KafkaConnection
from producers.publisher import Publisher
from producers.topics import Topic, prefixed
from statemachine.drafts.parked import cause_of_parked
from statemachine.order.order import Order, failed_event

_NEEDED: Final = (Topic.DEAD_LETTERS, Topic.OPERATIONS)


async def close_letters(
    connection: KafkaConnection,
    prefix: str,
    held: Order,
    released: ActResult,
    *,
    drop: bool,
    actor: str,
    reason: str,
) -> tuple[str, ...]:
    """Mark the open letters of the event that held the order as retried, or dropped; the ids of those letters.

    Args:
        connection: Of Kafka.
        prefix: Of the topics.
        held: The order before its release.
        released: What became of the release.
        drop: The release gave the event up.
        actor: Who released the order.
        reason: Why.

    Raises:
        ConfigError: A topic does not exist.
        BrokerError: Kafka did not answer, or there is no right to read or to write there; the letters stay open.
    """
    entry = failed_event(held)
    if entry is None or held.held is None or released.verdict != "changed":
        return ()
    after = await read_order(connection, prefix, held.order_id)
    again = None if after is None else failed_event(after)
    if again is not None and again.mark == entry.mark:
        return ()  # it failed again, and its letter waits for the next repair
    cause = cause_of_parked(entry)
    reader = await TopicReader.open(connection, prefix, _NEEDED)
    found = [
        letter
        for letter in await reader.letters(held.held.since)
        if letter.key == held.order_id and (letter.event_id, letter.source) == (cause.id, cause.source)
    ]
    table = await reader.operations()
    mine = [name for one in found if one.reason == "failed" and table.status(name := str(one.id)) == "open"]
    if not mine:
        return ()
    refused = any(one.reason != "failed" for one in found)  # the release has decided it so
    status: Status = "dropped" if drop else "retried"
    result: Result = "refused" if refused else "moved"
    now = datetime.now(UTC)
    async with Publisher(connection) as publisher:
        for one in mine:
            marked = LetterRecord(one, status, actor, reason, now, event=released.event_id, result=result)
            await publisher.send(prefixed(prefix, Topic.OPERATIONS), f"{LETTER_KEY}{one}".encode(), encode(marked))
    return tuple(mine)
