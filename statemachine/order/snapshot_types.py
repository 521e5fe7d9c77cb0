"""What a snapshot is made of: the document of the topic ``orders``, and the worker's part of it.

Only shapes live here. Making them of an order, and an order of them, is ``snapshot.py`` and ``snapshot_parts.py``.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from statemachine.messages.envelope import Headers
from statemachine.messages.ids import FulfillmentId, OrderId, RemoteId, RemoteReturnId
from statemachine.order.amounts import AmountsText
from statemachine.order.order import (
    Charge,
    Deadline,
    Document,
    KnownItem,
    Line,
    Look,
    OpenCommand,
    Payment,
    RefundState,
    RefundUnits,
    RemoteIds,
    ReturnState,
    ReturnUnits,
    Shipment,
    State,
)
from statemachine.order.standing import Hold, KeptProblem


class RefundText(msgspec.Struct, frozen=True, omit_defaults=True):
    """A refund in public."""

    refund_id: str
    state: RefundState
    amount: str | None = None


class ReturnView(msgspec.Struct, frozen=True):
    """A return in public."""

    return_id: str
    state: ReturnState


class ParkedView(msgspec.Struct, frozen=True):
    """A parked event in public: its type and when it arrived, without its content."""

    type: str
    since: datetime


class ParkedRecord(msgspec.Struct, frozen=True, array_like=True):
    """A parked record: its key is the order id, its value was JSON and thus is text."""

    mark: bytes
    topic: str
    partition: int
    offset: int
    value: str
    headers: Headers = ()


class RefundRecord(msgspec.Struct, frozen=True, array_like=True):
    """The worker's part of the refund at the same place in ``refunds``."""

    taken: int
    units: tuple[RefundUnits, ...]
    mark: bytes
    due: datetime | None
    token_published: bool = False
    part: str | None = None
    whole: bool = False


class ReturnRecord(msgspec.Struct, frozen=True, array_like=True):
    """The worker's part of the return at the same place in ``returns``."""

    remote_id: RemoteReturnId | None
    units: tuple[ReturnUnits, ...]
    receipts: bytes
    due: datetime | None
    refunds: bytes = b""


class Internal(msgspec.Struct, frozen=True, omit_defaults=True):
    """What only the worker needs."""

    seen: bytes = b""
    facts: bytes = b""
    commands: tuple[OpenCommand, ...] = ()
    parked: tuple[ParkedRecord, ...] = ()
    items: tuple[KnownItem, ...] = ()
    charges: tuple[Charge, ...] = ()
    voids: tuple[FulfillmentId, ...] = ()
    former: tuple[RemoteId, ...] = ()
    placed: bool = False
    source_id: str | None = None
    remote_state: str | None = None
    remote_refunded: int = 0
    next_action: str | None = None
    reviewed: bool = False
    payment_failed: bool = False
    reauth_failed: bool = False
    refunds: tuple[RefundRecord, ...] = ()
    returns: tuple[ReturnRecord, ...] = ()
    disputed_from: State | None = None
    dispute_began: datetime | None = None
    dispute_ended: datetime | None = None
    refused: tuple[OpenCommand, ...] = ()
    made: bytes = b""
    chargebacks: bytes = b""
    #: How many of the last parked events are the queue of a held order.
    queued: int = 0
    failed: str | None = None
    acknowledged: tuple[str, ...] = ()
    look: Look | None = None
    quiet: int = 0
    trace: str | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """The document of the topic ``orders``."""

    order_id: OrderId
    state: State
    sequence: int
    payment: Payment
    amounts: AmountsText
    lines: tuple[Line, ...]
    shipments: tuple[Shipment, ...]
    refunds: tuple[RefundText, ...]
    returns: tuple[ReturnView, ...]
    documents: tuple[Document, ...]
    digital_river: RemoteIds
    deadlines: tuple[Deadline, ...]
    parked: tuple[ParkedView, ...]
    attention: tuple[str, ...]
    definition: int
    updated: datetime
    internal: Internal
    held: Hold | None = None
    requested: datetime | None = None
    placed: datetime | None = None
    problem: KeptProblem | None = None


class Version(msgspec.Struct):
    """As much of a snapshot of any definition as tells which one it is."""

    definition: int
