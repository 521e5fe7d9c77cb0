"""The events that actions send into ``orderflow.inbox``, and what of a snapshot decides which one it is. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple

import msgspec

from orderflow.operations.actions.records import Item, Kind
from orderflow.operations.operator_events import OPERATOR_SOURCE
from producers.encoding import encode_event
from statemachine.drafts.parked import cause_of_parked
from statemachine.errors import InvariantBroken
from statemachine.holding import OURSELVES
from statemachine.messages.envelope import CloudEvent, Record
from statemachine.messages.identity import name_id
from statemachine.order.order import failed_event
from statemachine.order.snapshot import decode_snapshot

#: How a record is brought back: delivered again; its order, which it holds, released; released without it.
How = Literal["redelivered", "released", "dropped"]
HOWS: Final[tuple[How, ...]] = ("redelivered", "released", "dropped")

_encoder = msgspec.json.Encoder()


class Hold(NamedTuple):
    """What holds an order."""

    actor: str
    #: Id and source of the event that failed and is first in the queue; None when none did.
    failed: tuple[str, str] | None

    @property
    def by_itself(self) -> bool:
        """Nobody asked for it: an event failed by a fault of ours."""
        return self.actor == OURSELVES


def hold_of(snapshot: bytes | None) -> Hold | None:
    """What holds the order; None when nothing does, or there is no order, or this version cannot read it."""
    if snapshot is None:
        return None
    try:
        order = decode_snapshot(snapshot)
    except InvariantBroken:
        return None
    if order.held is None:
        return None
    entry = failed_event(order)
    cause = None if entry is None else cause_of_parked(entry)
    return Hold(order.held.actor, None if cause is None else (cause.id, cause.source))


def how_to(kind: Kind, item: Item, hold: Hold | None) -> How | None:
    """How an action brings the record of ``item`` back; None when it sends nothing."""
    holds = item.event is not None and hold is not None and hold.failed == item.event
    if kind == "drop":
        return "dropped" if holds else None
    return "released" if holds and hold is not None and hold.by_itself else "redelivered"


def event_id(action: str, item: Item, how: How) -> str:
    """The id of the event: the same whenever the action sends it for this record."""
    return name_id("operator", action, item.name, how)


def operator_event(
    item: Item, record: Record | None, how: How, *, action: str, actor: str, reason: str, now: datetime
) -> tuple[bytes, bytes]:
    """Key and value of the record for ``orderflow.inbox``. ``record`` is what is delivered again."""
    order_id = item.key or ""
    data: dict[str, object] = {"actor": actor, "reason": reason}
    if how == "redelivered":
        assert record is not None
        data |= redelivered_data(record, letter=item.letter, action=action)
    elif how == "dropped":
        assert item.event is not None  # only such a letter holds an order
        data["drop"] = {"id": item.event[0], "source": item.event[1]}
    kind = "operator.redelivered" if how == "redelivered" else "operator.released"
    return _inbox_record(event_id(action, item, how), kind, order_id, data, now)


def edited_event(
    record: Record, *, order_id: str, letter: str, actor: str, reason: str, act: str, now: datetime
) -> tuple[bytes, bytes]:
    """Key and value of the inbox record that delivers an edited ``record``; ``act`` identifies the edit."""
    data: dict[str, object] = {"actor": actor, "reason": reason, **redelivered_data(record, letter=letter)}
    return _inbox_record(act, "operator.redelivered", order_id, data, now)


def redelivered_data(record: Record, *, letter: str | None = None, action: str | None = None) -> Mapping[str, object]:
    """What the data of an ``operator.redelivered`` says about the record."""
    data: dict[str, object] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": _base64(record.key),
        "value": _base64(record.value),
        "headers": [[name, _base64(content)] for name, content in record.headers],
    }
    if letter is not None:
        data["letter"] = letter
    if action is not None:
        data["action"] = action
    return data


def _base64(content: bytes | None) -> str | None:
    return None if content is None else b64encode(content).decode()


def _inbox_record(
    event: str, kind: str, order_id: str, data: Mapping[str, object], now: datetime
) -> tuple[bytes, bytes]:
    told = CloudEvent(event, OPERATOR_SOURCE, kind, order_id, now, msgspec.Raw(_encoder.encode(data)))
    return order_id.encode(), encode_event(told)
