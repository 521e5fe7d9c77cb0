"""Values of the records that orderflow writes: CloudEvents 1.0 in structured JSON mode, one encoder for all lanes."""

from __future__ import annotations

from datetime import datetime

import msgspec

from statemachine.messages.commands import Command, name_of
from statemachine.messages.envelope import Cause, CloudEvent, Record
from statemachine.messages.identity import name_id
from statemachine.messages.ids import OrderId
from statemachine.order.decision import IndexEntry, StateChange

#: ``source`` of what the order lane writes.
ORDERS_SOURCE = "orderflow/orders"

_encoder = msgspec.json.Encoder()


class _EventRefused(msgspec.Struct, omit_defaults=True):
    order_id: OrderId
    cause: Cause
    reason: str


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


def encode_event_refused(
    order_id: OrderId, cause: Cause, reason: str, *, time: datetime, place: Cause | Record | None = None
) -> bytes:
    """The record value of an ``order.event_refused``, for the service that sent the event.

    Its id identifies the refusal of this record: the same on a replay, a new one when the event is sent and refused again.
    ``place``: what was refused, when it is not the record of ``cause`` but one that delivers it again.
    """
    came = place or cause
    event_id = name_id(order_id, cause.source, cause.id, f"refused {came.topic}/{came.partition}/{came.offset}")
    data = _encoder.encode(_EventRefused(order_id, cause, reason))
    return _encoder.encode(
        CloudEvent(event_id, ORDERS_SOURCE, "order.event_refused", order_id, time, msgspec.Raw(data))
    )


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
