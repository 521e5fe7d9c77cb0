"""An order as one JSON object of the topic ``orders``, and back.

The document is public: its top-level keys are the contract's and always there, empty or not. What only the worker needs is
under ``internal``. Called once per order and transaction, so nothing is computed here but the amounts' decimal strings.
An older snapshot is upgraded on read by the functions in ``upgrades.py``, one per version.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from statemachine.amounts import AmountsText, amounts_of, amounts_text
from statemachine.envelope import Headers, Record
from statemachine.errors import ConfigError, InvariantBroken
from statemachine.money import format_money, parse_money
from statemachine.order import (
    DEFINITION,
    Charge,
    Deadline,
    Document,
    Item,
    Line,
    OpenCommand,
    Order,
    Parked,
    Payment,
    Refund,
    RefundState,
    RefundUnits,
    RemoteIds,
    Return,
    ReturnState,
    ReturnUnits,
    Shipment,
    State,
)
from statemachine.upgrades import UPGRADES


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
    """A parked event in public: what waits and since when, no content."""

    type: str
    since: datetime


class _ParkedRecord(msgspec.Struct, frozen=True, array_like=True):
    """A parked record: its key is the order id, its value was JSON and thus is text."""

    mark: bytes
    topic: str
    partition: int
    offset: int
    value: str
    headers: Headers = ()


class _RefundRecord(msgspec.Struct, frozen=True, array_like=True):
    """The worker's part of the refund at the same place in ``refunds``."""

    taken: int
    units: tuple[RefundUnits, ...]
    mark: bytes
    due: datetime | None
    token_told: bool = False
    part: str | None = None


class _ReturnRecord(msgspec.Struct, frozen=True, array_like=True):
    """The worker's part of the return at the same place in ``returns``."""

    remote_id: str | None
    units: tuple[ReturnUnits, ...]
    receipts: bytes
    due: datetime | None


class _Internal(msgspec.Struct, frozen=True, omit_defaults=True):
    seen: bytes = b""
    facts: bytes = b""
    commands: tuple[OpenCommand, ...] = ()
    parked: tuple[_ParkedRecord, ...] = ()
    items: tuple[Item, ...] = ()
    charges: tuple[Charge, ...] = ()
    voids: tuple[str, ...] = ()
    former: tuple[str, ...] = ()
    placed: bool = False
    source_id: str | None = None
    remote_state: str | None = None
    remote_refunded: int = 0
    next_action: str | None = None
    reviewed: bool = False
    payment_failed: bool = False
    reauth_failed: bool = False
    refunds: tuple[_RefundRecord, ...] = ()
    returns: tuple[_ReturnRecord, ...] = ()
    disputed_from: State | None = None
    dispute_began: datetime | None = None
    dispute_ended: datetime | None = None
    refused: tuple[OpenCommand, ...] = ()
    made: bytes = b""


class _Snapshot(msgspec.Struct, frozen=True):
    """The document of the topic ``orders``."""

    order_id: str
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
    internal: _Internal


class _Version(msgspec.Struct):
    definition: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Snapshot)
_version_decoder = msgspec.json.Decoder(_Version)


def encode_snapshot(order: Order) -> bytes:
    """The JSON document of ``order``."""
    currency = order.amounts.currency
    return _encoder.encode(
        _Snapshot(
            order.order_id,
            order.state,
            order.sequence,
            order.payment,
            amounts_text(order.amounts),
            order.lines,
            order.shipments,
            tuple([refund_text(refund, currency) for refund in order.refunds]),
            tuple([ReturnView(one.return_id, one.state) for one in order.returns]),
            order.documents,
            order.digital_river,
            order.deadlines,
            tuple([ParkedView(entry.type, entry.arrived) for entry in order.parked]),
            order.attention,
            order.definition,
            order.updated,
            _Internal(
                order.seen,
                order.facts,
                order.commands,
                tuple([_parked_record(entry) for entry in order.parked]),
                order.items,
                order.charges,
                order.voids,
                order.former,
                order.placed,
                order.source_id,
                order.remote_state,
                order.remote_refunded,
                order.next_action,
                order.reviewed,
                order.payment_failed,
                order.reauth_failed,
                tuple(
                    [
                        _RefundRecord(one.taken, one.units, one.mark, one.due, one.token_told, one.part)
                        for one in order.refunds
                    ]
                ),
                tuple([_ReturnRecord(one.remote_id, one.units, one.receipts, one.due) for one in order.returns]),
                order.disputed_from,
                order.dispute_began,
                order.dispute_ended,
                order.refused,
                order.made,
            ),
        )
    )


def decode_snapshot(data: bytes) -> Order:
    """The order in a document that ``encode_snapshot`` of this or an earlier version wrote.

    Raises:
        ConfigError: The document is of a newer definition than this code: roll the worker forward.
        InvariantBroken: Not a snapshot at all, or one whose parts do not fit together.
    """
    try:
        snapshot = _decoder.decode(data)
        if snapshot.definition != DEFINITION:
            snapshot = _upgraded(data, snapshot.definition)
    except msgspec.MsgspecError:
        snapshot = _of_another_version(data)
    try:
        return _order(snapshot)
    except ValueError:  # money that is none, or the worker's part of something that is not there in public
        raise InvariantBroken(BROKEN) from None


def _order(snapshot: _Snapshot) -> Order:
    internal = snapshot.internal
    asked = internal.commands + internal.refused
    if asked:
        names = {line.line for line in snapshot.lines}
        if any(units.line not in names for command in asked for units in command.units):
            raise ValueError("a command is about a line that the order does not have")
    return Order(
        order_id=snapshot.order_id,
        state=snapshot.state,
        sequence=snapshot.sequence,
        payment=snapshot.payment,
        amounts=amounts_of(snapshot.amounts),
        lines=snapshot.lines,
        shipments=snapshot.shipments,
        refunds=_refunds(snapshot) if snapshot.refunds or internal.refunds else (),
        returns=_returns(snapshot) if snapshot.returns or internal.returns else (),
        documents=snapshot.documents,
        digital_river=snapshot.digital_river,
        deadlines=snapshot.deadlines,
        parked=_parked(snapshot) if snapshot.parked or internal.parked else (),
        attention=snapshot.attention,
        updated=snapshot.updated,
        definition=DEFINITION,
        seen=internal.seen,
        facts=internal.facts,
        commands=internal.commands,
        items=internal.items,
        charges=internal.charges,
        voids=internal.voids,
        former=internal.former,
        placed=internal.placed,
        source_id=internal.source_id,
        remote_state=internal.remote_state,
        remote_refunded=internal.remote_refunded,
        next_action=internal.next_action,
        reviewed=internal.reviewed,
        payment_failed=internal.payment_failed,
        reauth_failed=internal.reauth_failed,
        disputed_from=internal.disputed_from,
        dispute_began=internal.dispute_began,
        dispute_ended=internal.dispute_ended,
        refused=internal.refused,
        made=internal.made,
    )


def refund_text(refund: Refund, currency: str) -> RefundText:
    """A refund as the contract writes it."""
    return RefundText(
        refund.refund_id, refund.state, None if refund.amount is None else format_money(refund.amount, currency)
    )


def _refunds(snapshot: _Snapshot) -> tuple[Refund, ...]:
    currency = snapshot.amounts.currency or ""
    return tuple(
        Refund(
            text.refund_id,
            text.state,
            None if text.amount is None else parse_money(text.amount, currency),
            kept.taken,
            kept.units,
            kept.mark,
            kept.due,
            kept.token_told,
            kept.part,
        )
        for text, kept in zip(snapshot.refunds, snapshot.internal.refunds, strict=True)
    )


def _returns(snapshot: _Snapshot) -> tuple[Return, ...]:
    return tuple(
        Return(view.return_id, view.state, kept.remote_id, kept.units, kept.receipts, kept.due)
        for view, kept in zip(snapshot.returns, snapshot.internal.returns, strict=True)
    )


def _parked_record(entry: Parked) -> _ParkedRecord:
    record = entry.record
    assert record.value is not None  # decoding refuses records without a value
    return _ParkedRecord(
        entry.mark, record.topic, record.partition, record.offset, record.value.decode(), record.headers
    )


def _parked(snapshot: _Snapshot) -> tuple[Parked, ...]:
    key = snapshot.order_id.encode()
    return tuple(
        Parked(
            view.type,
            view.since,
            kept.mark,
            Record(kept.topic, kept.partition, kept.offset, key, kept.value.encode(), kept.headers),
        )
        for view, kept in zip(snapshot.parked, snapshot.internal.parked, strict=True)
    )


BROKEN: Final = "a snapshot that breaks its own definition"


def newer_snapshot(version: int) -> ConfigError:
    """What stops a worker that is older than what it reads."""
    return ConfigError(f"a snapshot has definition {version}, this worker knows {DEFINITION}: run the newer version")


def _of_another_version(data: bytes) -> _Snapshot:
    try:
        version = _version_decoder.decode(data).definition
    except msgspec.MsgspecError:
        raise InvariantBroken("a snapshot that is no snapshot") from None
    if version == DEFINITION:
        raise InvariantBroken(BROKEN)
    return _upgraded(data, version)


def _upgraded(data: bytes, version: int) -> _Snapshot:
    if version > DEFINITION:
        raise newer_snapshot(version)
    document: dict[str, Any] = msgspec.json.decode(data)
    try:
        for step in range(version, DEFINITION):
            upgrade = UPGRADES.get(step)
            if upgrade is None:
                raise ConfigError(f"a snapshot has definition {version}, from which this version has no upgrade")
            document = upgrade(document)
        # as JSON once more: a command's payload stays as it was written, which only a decoder can do
        return _decoder.decode(msgspec.json.encode(document))
    except (TypeError, ValueError, LookupError):  # an upgrade relies on what it upgrades
        raise InvariantBroken(BROKEN) from None
