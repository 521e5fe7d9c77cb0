"""Values of the records that orderflow writes: CloudEvents 1.0 in structured JSON mode, one encoder for all lanes."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from producers.dead_letters import one_line
from producers.outbox import OutboundRecord
from statemachine.errors import Reason
from statemachine.messages.commands import Command, name_of
from statemachine.messages.decoding import order_id_in
from statemachine.messages.envelope import Cause, CloudEvent, Record
from statemachine.messages.identity import name_id
from statemachine.messages.ids import OrderId
from statemachine.order.decision import IndexEntry, StateChange

#: ``source`` of what the order lane writes.
ORDERS_SOURCE = "orderflow/orders"

_encoder = msgspec.json.Encoder()


#: Reasons of dead letters of which the sender is told in any case; of others when the event is not one of our own lanes'.
ALWAYS_TOLD: Final[frozenset[Reason]] = frozenset({"refused", "invalid", "undecodable"})


class RefusedCause(msgspec.Struct, frozen=True, omit_defaults=True):
    """The record that was refused: where it first came in, and its event, unless that cannot be told."""

    topic: str
    partition: int
    offset: int
    type: str | None = None
    id: str | None = None
    source: str | None = None


class EventRefused(msgspec.Struct, frozen=True):
    """Data of ``order.event_refused``; it has no sequence.

    ``reason`` is that of the dead letter, ``code`` the stable name of the rule (``statemachine/refusals.py``), for programs, and
    ``detail`` a line for a person, without any value.
    """

    order_id: OrderId
    cause: RefusedCause
    reason: Reason
    code: str
    detail: str


class Refusal(NamedTuple):
    """Why a record is set aside."""

    reason: Reason
    code: str
    detail: str


def encode_event(event: CloudEvent) -> bytes:
    """The record value of an event."""
    return _encoder.encode(event)


def encode_state_change(change: StateChange) -> bytes:
    """The record value of an ``order.state_changed``."""
    return _encoder.encode(
        CloudEvent(
            change.event_id,
            ORDERS_SOURCE,
            "order.state_changed",
            change.order_id,
            change.time,
            msgspec.Raw(change.data),
        )
    )


def event_refused(
    record: Record, cause: Cause | None, refusal: Refusal, *, time: datetime, place: Record | None = None
) -> OutboundRecord | None:
    """The ``order.event_refused`` about ``record``, which is as it first came in; None when its key is no order id.

    Its id identifies the refusal of this record: the same on a replay, a new one when the event is sent and refused again.
    ``cause``: the event in the record, None when it cannot be identified. ``place``: what was refused, when it is not the record
    but one that delivers it again.
    """
    order_id = order_id_in(record)
    if order_id is None:
        return None
    came = place or record
    if cause is None:
        told, names = RefusedCause(record.topic, record.partition, record.offset), ("", "")
    else:
        told, names = _told(record, cause), (cause.source, cause.id)
    event_id = name_id(order_id, *names, f"refused {came.topic}/{came.partition}/{came.offset}")
    data = _encoder.encode(EventRefused(order_id, told, refusal.reason, refusal.code, one_line(refusal.detail)))
    event = CloudEvent(event_id, ORDERS_SOURCE, "order.event_refused", order_id, time, msgspec.Raw(data))
    return OutboundRecord(record.key, _encoder.encode(event))


def _told(record: Record, cause: Cause) -> RefusedCause:
    return RefusedCause(record.topic, record.partition, record.offset, cause.type, cause.id, cause.source)


def encode_command(command: Command, *, time: datetime) -> bytes:
    """The record value of a command in ``dr-commands``; the event id is ``<command_id>:<attempt>``."""
    return _encoder.encode(
        CloudEvent(
            f"{command.command_id}:{command.attempt}",
            ORDERS_SOURCE,
            f"command.{name_of(command)}",
            command.order_id,
            time,
            msgspec.Raw(_encoder.encode(command)),
        )
    )


class _IndexValue(msgspec.Struct):
    order_id: OrderId
    kind: str


def encode_index_entry(entry: IndexEntry) -> bytes:
    """The record value of ``orderflow.index``; its key is the Digital River id."""
    return _encoder.encode(_IndexValue(entry.order_id, entry.kind))
