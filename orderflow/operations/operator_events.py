"""Operators' events: made, tried on the order's snapshot, written to the inbox, and followed until the order lane has decided.

An act is an event like any other, with a unique id: the table decides it, and the change or the refusal says who and why.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
from aiokafka import TopicPartition

from consumers.group.scanning import ReadRecord, open_reader, scan_partitions
from consumers.group.table_reader import read_table
from producers.connection import KafkaConnection, within
from producers.encoding import encode_event
from producers.partitioner import partition_of
from producers.publisher import Publisher
from producers.topic_setup import read_topics
from producers.topics import Lane, Topic, group_id, prefixed
from statemachine.decide import decide
from statemachine.errors import ConfigError, DecodeError
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import CloudEvent, Record
from statemachine.messages.ids import OrderId
from statemachine.order.decision import Decision, SetAside, StateChange
from statemachine.order.order import Order
from statemachine.order.policy import Policy
from statemachine.order.snapshot import decode_snapshot

#: ``source`` of operators' events.
OPERATOR_SOURCE: Final = "orderflow/operator"
#: Between two looks at how far the order lane has come, in seconds.
_LOOK_SECONDS: Final = 0.2

#: Where the result of an act appears.
_RESULTS: Final = (Topic.ORDER_STATE_CHANGES, Topic.ORDER_EVENT_REFUSALS)

#: What became of an act. ``same``: it changed nothing. ``waiting``: the order is held, and it waits for the release.
#: ``pending``: the order lane has not come to it yet.
Verdict = Literal["changed", "same", "waiting", "refused", "pending"]


class Act(msgspec.Struct, frozen=True):
    """One act: the event's type without its prefix, and its data but for actor and reason."""

    kind: str
    order_id: str
    data: Mapping[str, Any] = {}


class Sent(msgspec.Struct, frozen=True):
    """An act in the inbox, and from where on its result may appear: the partitions of its order's changes and refusals."""

    event_id: str
    order_id: str
    partition: int
    offset: int
    results: Mapping[TopicPartition, int]


class ActResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became, or would become, of an act on one order."""

    order_id: str
    event: str
    verdict: Verdict
    applied: bool = False
    event_id: str | None = None
    #: Why it was refused, or why it changed nothing where that is not plain.
    detail: str | None = None
    state_before: str | None = None
    state: str | None = None
    #: The data of each change, the act's own first.
    changes: tuple[dict[str, Any], ...] = ()
    #: Events of the order that became dead letters by it: type, reason and detail.
    letters: tuple[dict[str, str], ...] = ()
    commands: tuple[str, ...] = ()
    #: Letters that are done with since it: those of the event that held the order.
    closed: tuple[str, ...] = ()


def encode_act(act: Act, *, actor: str, reason: str, event_id: str, now: datetime) -> bytes:
    """The record value of an act."""
    data = msgspec.json.encode({"actor": actor, "reason": reason, **act.data})
    kind, order_id = f"operator.{act.kind}", OrderId(act.order_id)
    return encode_event(CloudEvent(event_id, OPERATOR_SOURCE, kind, order_id, now, msgspec.Raw(data)))


async def read_order(connection: KafkaConnection, prefix: str, order_id: str) -> Order | None:
    """The order as its last snapshot has it; None when there is none.

    Raises:
        BrokerUnavailable: Kafka cannot be reached or does not answer.
    """
    found = (await read_table(connection, prefix, Topic.ORDERS, key=order_id)).get(order_id)
    return None if found is None else decode_snapshot(found)


def foresee(order: Order, act: Act, *, actor: str, reason: str, now: datetime, policy: Policy) -> ActResult:
    """What would become of an act, decided on the order as it is now; nothing is written."""
    value = encode_act(act, actor=actor, reason=reason, event_id=str(uuid.uuid4()), now=now)
    kind = f"operator.{act.kind}"
    before = order.state
    try:
        event = decode(Record(Topic.INBOX.value, 0, 0, act.order_id.encode(), value))
        decision = decide(order, event, now=now, policy=policy)
    except DecodeError as error:
        return ActResult(act.order_id, kind, "refused", detail=error.detail, state_before=before, state=before)
    after = _after(decision) or order
    return ActResult(
        act.order_id,
        kind,
        _VERDICTS[type(decision).__name__],
        detail=getattr(decision, "detail", None),
        state_before=before,
        state=after.state,
        changes=tuple(msgspec.json.decode(one.data) for one in _effects(decision) if isinstance(one, StateChange)),
        letters=tuple(
            {"type": one.cause.type, "reason": one.reason, "detail": one.detail}
            for one in _effects(decision)
            if isinstance(one, SetAside)
        ),
        commands=tuple(
            str(type(one).__struct_config__.tag) for one in _effects(decision) if hasattr(one, "command_id")
        ),
    )


_VERDICTS: Final[dict[str, Verdict]] = {
    "Moved": "changed",
    "Repeated": "same",
    "Parked": "waiting",
    "Refused": "refused",
}


def _after(decision: Decision) -> Order | None:
    return getattr(decision, "order", None)


def _effects(decision: Decision) -> tuple[Any, ...]:
    return getattr(decision, "effects", ())


async def send_act(
    connection: KafkaConnection, prefix: str, publisher: Publisher, act: Act, *, actor: str, reason: str
) -> Sent:
    """Write an act to the inbox, and say where its result will appear.

    Raises:
        ConfigError: A topic does not exist.
        BrokerUnavailable: Not acknowledged within the limit; it may or may not be there.
        RecordTooLarge: It does not fit into a record; nothing was sent.
    """
    topics = await read_topics(connection, prefix)
    inbox = topics.get(Topic.INBOX)
    if inbox is None or any(topic not in topics for topic in _RESULTS):
        raise ConfigError("topics are missing; run `orderflow topics create`")
    key = act.order_id.encode()
    homes = [TopicPartition(prefixed(prefix, topic), partition_of(key, topics[topic].partitions)) for topic in _RESULTS]
    begins = await _ends_of(connection, homes)
    event_id = str(uuid.uuid4())
    value = encode_act(act, actor=actor, reason=reason, event_id=event_id, now=datetime.now(UTC))
    offset = await publisher.send(prefixed(prefix, Topic.INBOX), key, value)
    return Sent(event_id, act.order_id, partition_of(key, inbox.partitions), offset, begins)


async def _ends_of(connection: KafkaConnection, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    """The last stable offsets of partitions."""
    async with open_reader(connection) as consumer:
        limit = connection.limits.operation_seconds
        ends = await within(limit, consumer.end_offsets(partitions), "a request for end offsets")
        return {partition: int(end) for partition, end in ends.items()}


async def follow_act(connection: KafkaConnection, prefix: str, sent: Sent, *, kind: str, seconds: float) -> ActResult:
    """What became of an act; ``pending`` when the order lane has not decided it within ``seconds``.

    The lane commits its offset in the transaction that holds the result: once it is past the act, the result is there or there
    is none.

    Raises:
        BrokerUnavailable: Kafka cannot be reached or does not answer.
    """
    event, until = f"operator.{kind}", time.monotonic() + seconds
    inbox = TopicPartition(prefixed(prefix, Topic.INBOX), sent.partition)
    limit = connection.limits.operation_seconds
    async with open_reader(connection, group=group_id(prefix, Lane.ORDERS)) as consumer:
        consumer.assign([inbox])
        while True:
            committed = await within(limit, consumer.committed(inbox), "a request for committed offsets")
            if committed is not None and committed > sent.offset:
                break
            if time.monotonic() > until:
                return ActResult(sent.order_id, event, "pending", applied=True, event_id=sent.event_id)
            await asyncio.sleep(_LOOK_SECONDS)
    documents = await _read_result(connection, sent)
    changes = tuple(one["data"] for one in documents if one["type"] == "order.state_changed")
    refusals = [one["data"] for one in documents if one["type"] == "order.event_refused"]
    own = [one for one in changes if one["cause"]["id"] == sent.event_id]
    if any(one["cause"].get("id") == sent.event_id for one in refusals):
        reason = next(one["detail"] for one in refusals if one["cause"].get("id") == sent.event_id)
        return ActResult(sent.order_id, event, "refused", applied=True, event_id=sent.event_id, detail=reason)
    if own:
        return ActResult(
            sent.order_id,
            event,
            "changed",
            applied=True,
            event_id=sent.event_id,
            state_before=own[0]["from"],
            state=changes[-1]["to"],
            changes=changes,
        )
    order = await read_order(connection, prefix, sent.order_id)
    waits = order is not None and any(
        (one.record.partition, one.record.offset) == (sent.partition, sent.offset)
        for one in order.queue
        if one.record.topic == Topic.INBOX
    )
    state = None if order is None else order.state
    verdict: Verdict = "waiting" if waits else "same"
    return ActResult(
        sent.order_id, event, verdict, applied=True, event_id=sent.event_id, state_before=state, state=state
    )


async def _read_result(connection: KafkaConnection, sent: Sent) -> list[dict[str, Any]]:
    """The order's changes and refusals from the act's own on."""
    key = sent.order_id.encode()
    found: list[dict[str, Any]] = []

    def take(record: ReadRecord) -> None:
        if record.key == key:
            document = msgspec.json.decode(record.value or b"null")
            if found or document["data"]["cause"].get("id") == sent.event_id:
                found.append(document)

    await scan_partitions(connection, list(sent.results), take, starts=sent.results)
    return found
