"""What ``decide`` returns: a decision, with the effects that the lane writes in one transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from statemachine.errors import Reason
from statemachine.messages.commands import Command
from statemachine.messages.envelope import Cause, Record
from statemachine.messages.ids import OrderId, RemoteId
from statemachine.order.order import Order


class StateChange(msgspec.Struct, frozen=True):
    """One ``order.state_changed``: ``data`` is the encoded data of the event, ``event_id`` a UUIDv5 that a replay gives again."""

    event_id: str
    order_id: OrderId
    time: datetime
    data: bytes


class SetAside(msgspec.Struct, frozen=True):
    """A parked event that is refused, has failed or is too old: the lane writes a dead letter and an ``order.event_refused``."""

    record: Record
    cause: Cause
    reason: Reason
    detail: str
    #: The stable name of the rule that refused it (``refusals.py``).
    code: str


class IndexEntry(msgspec.Struct, frozen=True):
    """A Digital River id that belongs to the order, for ``orderflow.index``."""

    dr_id: RemoteId
    kind: Literal["checkout", "order", "fulfillment", "customer"]
    order_id: OrderId


Effect = StateChange | Command | SetAside | IndexEntry


class Moved(msgspec.Struct, frozen=True):
    """The event changed the order. The effects are in the order in which they were made.

    Without a state change among them only what the worker needs has changed: a new snapshot, the same sequence.
    """

    order: Order
    effects: tuple[Effect, ...]


class Repeated(msgspec.Struct, frozen=True):
    """The same event or fact again, or one without news: nothing changes and nothing is written."""


class Parked(msgspec.Struct, frozen=True):
    """The event is valid but too early: the order keeps it. A new snapshot, no state change."""

    order: Order


class Refused(msgspec.Struct, frozen=True):
    """The event is set aside with a reason.

    ``order`` is set when the refusal also raised ``attention``; ``effects`` then hold that change.
    """

    reason: Reason
    detail: str
    #: The stable name of the rule that refused it (``refusals.py``).
    code: str
    order: Order | None = None
    effects: tuple[Effect, ...] = ()


Decision = Moved | Repeated | Parked | Refused
