"""What the verbs of letters and actions do: make an action, edit one letter, pause or abort what runs elsewhere."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from aiokafka import ConsumerRecord

from consumers.group.scanning import Progress
from orderflow.operations.actions.attempt import NEEDED
from orderflow.operations.actions.execution import action_producer, carry_out
from orderflow.operations.actions.reading import Tail, TopicReader, written_ends
from orderflow.operations.actions.records import (
    ACT_KEY,
    ACTION_KEY,
    LETTER_KEY,
    Act,
    ActionRecord,
    ActionTable,
    Item,
    Kind,
    LetterRecord,
    Request,
    encode,
)
from orderflow.operations.actions.redelivery import edited_event, event_id, hold_of, how_to, operator_event
from orderflow.operations.actions.selection import in_order_of_arrival, is_order_id, item_of
from orderflow.operations.letters.letter import ORDER_TOPICS, Letter, first_received, name_of_event
from producers.connection import KafkaConnection
from producers.outbox import OutboundRecord, Outbox
from producers.partitioner import partition_of
from producers.publisher import Publisher
from producers.topics import Topic, prefixed
from statemachine.errors import ConfigError
from statemachine.messages.envelope import Record

#: Whoever carries an action out hears of a request at once; after so long nobody does, and it is taken over. In seconds.
_HEARD_SECONDS: Final = 2.0
_WAIT_MS: Final = 100
_RECORD_BYTES_MAX: Final = 64 * 1024 * 1024


async def open_reader(connection: KafkaConnection, prefix: str) -> TopicReader:
    """A reader of all that letters and actions need.

    Raises:
        ConfigError: A topic does not exist.
        BrokerUnavailable: Kafka cannot be reached.
    """
    return await TopicReader.open(connection, prefix, NEEDED)


def new_action(
    kind: Kind, items: Sequence[Item], *, actor: str, reason: str, asked: str, rate: float, now: datetime
) -> ActionRecord:
    """An action that is planned, with an id of its own."""
    action = f"{kind}-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    return ActionRecord(
        action, kind, actor, reason, "planned", len(items), 0, 0, 0, 0, len(items), at=now, asked=asked, rate=rate
    )


async def read_window(
    reader: TopicReader,
    topic: Topic,
    *,
    since: datetime,
    until: datetime | None,
    orders: Sequence[str] = (),
    types: Sequence[str] = (),
    progress: Progress | None = None,
) -> tuple[list[Item], int]:
    """The records of a topic that were written in a window, as items; and how many of them cannot be delivered again.

    Those are records without a sound order id, and operators' acts.

    Raises:
        BrokerUnavailable: Kafka does not answer.
    """
    items: list[Item] = []
    unsound = 0
    keys = {order.encode() for order in orders}
    begin, end = round(since.timestamp() * 1000), None if until is None else round(until.timestamp() * 1000)

    def take(consumed: ConsumerRecord) -> None:
        nonlocal unsound
        if (keys and consumed.key not in keys) or consumed.timestamp < begin:
            return
        if end is not None and consumed.timestamp >= end:
            return
        kind, _, _ = name_of_event(consumed.value, dict(consumed.headers or ()))
        if types and kind not in types:
            return
        key = None if consumed.key is None else consumed.key.decode(errors="replace")
        if not is_order_id(key) or kind.startswith("operator."):
            unsound += 1
            return
        place = (consumed.partition, consumed.offset)
        items.append(Item(*place, key, topic.value, *place))

    await reader.scan(reader.partitions(topic), take, since=since, progress=progress)
    return in_order_of_arrival(items), unsound


async def read_letter_record(reader: TopicReader, letter: Letter) -> Record | None:
    """The record of a letter as it first came in; None when Kafka does not have the letter any more."""
    found = await reader.records(Topic.DEAD_LETTERS, [letter.id], bytes_max=_RECORD_BYTES_MAX)
    consumed = found.get(letter.id)
    if consumed is None:
        return None
    return first_received(letter, consumed.key, consumed.value, tuple(consumed.headers or ()))


async def send_edit(
    reader: TopicReader,
    letter: Letter,
    known: LetterRecord | None,
    record: Record,
    paths: tuple[str, ...],
    *,
    actor: str,
    reason: str,
) -> LetterRecord:
    """Send the edited ``record`` of a letter, and mark the letter, all or nothing.

    An order that the letter holds is released without the event that failed, after the edited one has joined what waits.

    Raises:
        ConfigError: Somebody else did something with the letter meanwhile.
        BrokerError: Kafka did not answer or refused; nothing is half done.
    """
    now, prefix = datetime.now(UTC), reader.prefix
    producer = action_producer(reader.connection, prefix, f"edit-{letter.id}")
    operations = prefixed(prefix, Topic.OPERATIONS)
    item = item_of(letter, known)
    _, event, _ = name_of_event(record.value, dict(record.headers))
    try:
        await producer.start()  # from here on no other edit of this letter is sent
        meanwhile = (await reader.operations_whole()).letters.get(str(letter.id))
        if meanwhile is not None and meanwhile.status != "open":
            raise ConfigError(f"letter {letter.id} was {meanwhile.status} by {meanwhile.actor} meanwhile")
        outbox = Outbox(producer.counts, home=0, home_count=0)
        if letter.topic in ORDER_TOPICS:
            order_id = (record.key or b"").decode()
            name = prefixed(prefix, Topic.INBOX)
            act = event_id(f"edit-{event}", item, "redelivered")
            key, value = edited_event(
                record, order_id=order_id, letter=str(letter.id), actor=actor, reason=reason, act=act, now=now
            )
            outbox.add_foreign(name, key, value)
            snapshots = await reader.snapshots([letter.key] if letter.key else [])
            if how_to("drop", item, hold_of(snapshots.get(letter.key or ""))) == "dropped":
                told = operator_event(
                    item, None, "dropped", action=f"edit-{event}", actor=actor, reason=reason, now=now
                )
                outbox.add_foreign(name, *told)
        else:
            act = event
            name = prefixed(prefix, Topic(letter.topic))
            count = producer.counts[name]
            home = letter.partition % count if record.key is None else partition_of(record.key, count)
            outbox.add_to(name, home, OutboundRecord(record.key, record.value, record.headers))
        marked = LetterRecord(str(letter.id), "edited", actor, reason, now, event=act, edited=paths)
        outbox.add_foreign(operations, f"{LETTER_KEY}{letter.id}".encode(), encode(marked))
        await producer.transact(outbox, {}, timestamp_ms=round(time.time() * 1000))
        return marked
    finally:
        await producer.close()


async def request(
    reader: TopicReader, action: str, want: Literal["pause", "abort"], *, actor: str, reason: str
) -> ActionRecord:
    """Have an action paused or aborted by whoever carries it out; when nobody does, this process does it.

    Raises:
        ConfigError: There is no such action, or its selection is not there.
        BrokerError: Kafka did not answer or refused.
    """
    now = datetime.now(UTC)
    asked = Request(uuid.uuid4().hex, want, actor, reason, now)
    operations = prefixed(reader.prefix, Topic.OPERATIONS)
    key = f"{ACTION_KEY}{action}".encode()
    partitions = reader.partitions(Topic.OPERATIONS)
    home = partitions[partition_of(key, len(partitions))]
    starts = await written_ends(reader, [home])
    async with Tail(reader, starts) as tail:
        async with Publisher(reader.connection) as publisher:
            await write_act(publisher, reader.prefix, Act(want, actor, reason, now, action=action))
            await publisher.send(operations, key + b"/request", encode(asked))
        until = asyncio.get_running_loop().time() + _HEARD_SECONDS
        while asyncio.get_running_loop().time() < until:
            found = _handled(await tail.poll(_WAIT_MS), key, action, asked)
            if found is not None:
                return found
    return await carry_out(reader, action, want=asked)


def _handled(consumed: Sequence[ConsumerRecord], key: bytes, action: str, asked: Request) -> ActionRecord | None:
    """The action, once whoever carries it out has obeyed."""
    table = ActionTable()
    for record in consumed:
        if record.key == key:
            table.take(record.key, record.value)
    found = table.actions.get(action)
    return found if found is not None and found.internal.handled == asked.id else None


async def write_act(publisher: Publisher, prefix: str, act: Act) -> None:
    """Keep who did what, when and why.

    Raises:
        BrokerUnavailable: Kafka did not acknowledge it.
    """
    key = f"{ACT_KEY}{uuid.uuid4()}".encode()
    await publisher.send(prefixed(prefix, Topic.OPERATIONS), key, encode(act))


async def keep_act(reader: TopicReader, act: Act) -> None:
    """The same with a publisher of its own."""
    async with Publisher(reader.connection) as publisher:
        await write_act(publisher, reader.prefix, act)


def topic_of_window(name: str) -> Topic:
    """The topic that a window is delivered again of.

    Raises:
        ConfigError: Its records are never delivered again through the inbox.
    """
    try:
        topic = Topic(name)
    except ValueError:
        topic = None
    if topic is None or topic not in ORDER_TOPICS:
        raise ConfigError(f"--topic must be one of {', '.join(sorted(ORDER_TOPICS))}")
    return topic
