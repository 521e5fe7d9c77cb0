"""An order as one JSON object of the topic ``orders``, and back.

The document is public: its top-level keys are the contract's and always there, empty or not. What only the worker needs is
under ``internal``. Called once per order and transaction, so nothing is computed here but the amounts' decimal strings.
An older snapshot is upgraded on read by the functions in ``UPGRADES``, one per version.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from statemachine.errors import ConfigError, InvariantBroken
from statemachine.kept import (
    ParkedRecord,
    ParkedView,
    RefundRecord,
    RefundText,
    ReturnRecord,
    ReturnView,
    kept_parked,
    kept_refunds,
    kept_returns,
    minor_of,
    parked_of,
    refund_text,
    refunds_of,
    returns_of,
)
from statemachine.money import format_money
from statemachine.order import (
    DEFINITION,
    Amounts,
    Charge,
    Deadline,
    Document,
    Item,
    Line,
    OpenCommand,
    Order,
    Payment,
    RemoteIds,
    Shipment,
    State,
)


class AmountsText(msgspec.Struct, frozen=True):
    """``amounts`` as decimal strings with exactly the currency's digits; ``currency`` is null before the first cart."""

    currency: str | None
    total: str
    tax: str
    captured: str
    cancelled: str
    refunded: str
    charged_back: str


class _Internal(msgspec.Struct, frozen=True, omit_defaults=True):
    seen: bytes = b""
    facts: bytes = b""
    commands: tuple[OpenCommand, ...] = ()
    parked: tuple[ParkedRecord, ...] = ()
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
    refunds: tuple[RefundRecord, ...] = ()
    returns: tuple[ReturnRecord, ...] = ()
    disputed_from: State | None = None
    dispute_began: datetime | None = None
    dispute_ended: datetime | None = None
    chargebacks: bytes = b""


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


def _followed_disputes(document: dict[str, Any]) -> dict[str, Any]:
    """Definition 1 followed neither refunds nor disputes: a dispute was the last remote state, and hid all later ones."""
    internal = dict(document.get("internal", {}))
    if internal.get("remote_state") == "dispute":
        del internal["remote_state"]  # the next report tells it again
    return {**document, "definition": 2, "internal": internal}


def _told_prices(document: dict[str, Any]) -> dict[str, Any]:
    """Definition 2 had no word for a price that Digital River did not tell: it was 0. And no return was ever ``withdrawn``."""
    internal = dict(document.get("internal", {}))
    if "items" in internal:
        items = [Item(*item) for item in internal["items"]]
        internal["items"] = [item if item.amount or item.tax else replace(item, amount=None) for item in items]
    return {**document, "definition": 3, "internal": internal}


#: Version -> what makes a document of it one of the next version.
UPGRADES: Final[dict[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {1: _followed_disputes, 2: _told_prices}


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
                kept_parked(order.parked),
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
                kept_refunds(order.refunds),
                kept_returns(order.returns),
                order.disputed_from,
                order.dispute_began,
                order.dispute_ended,
                order.chargebacks,
            ),
        )
    )


def decode_snapshot(data: bytes) -> Order:
    """The order in a document that ``encode_snapshot`` of this or an earlier version wrote.

    Raises:
        ConfigError: The document is of a newer definition than this code: roll the worker forward.
        InvariantBroken: Not a snapshot at all.
    """
    try:
        snapshot = _decoder.decode(data)
        if snapshot.definition != DEFINITION:
            snapshot = _upgraded(data, snapshot.definition)
    except msgspec.MsgspecError:
        snapshot = _of_another_version(data)
    internal = snapshot.internal
    return Order(
        order_id=snapshot.order_id,
        state=snapshot.state,
        sequence=snapshot.sequence,
        payment=snapshot.payment,
        amounts=_amounts(snapshot.amounts),
        lines=snapshot.lines,
        shipments=snapshot.shipments,
        refunds=refunds_of(snapshot.refunds, internal.refunds) if snapshot.refunds else (),
        returns=returns_of(snapshot.returns, internal.returns) if snapshot.returns else (),
        documents=snapshot.documents,
        digital_river=snapshot.digital_river,
        deadlines=snapshot.deadlines,
        parked=parked_of(snapshot.order_id, snapshot.parked, internal.parked) if snapshot.parked else (),
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
        chargebacks=internal.chargebacks,
    )


@lru_cache(maxsize=4096)  # an order's amounts stay the same over most of its events, and each writes them twice
def amounts_text(amounts: Amounts) -> AmountsText:
    """Amounts as the contract writes them."""
    currency = amounts.currency
    if not currency:  # a shell: no cart yet, so no digits to write
        return AmountsText(None, "0", "0", "0", "0", "0", "0")
    none = format_money(0, currency)
    return AmountsText(
        currency,
        format_money(amounts.total, currency),
        format_money(amounts.tax, currency) if amounts.tax else none,
        format_money(amounts.captured, currency) if amounts.captured else none,
        format_money(amounts.cancelled, currency) if amounts.cancelled else none,
        format_money(amounts.refunded, currency) if amounts.refunded else none,
        format_money(amounts.charged_back, currency) if amounts.charged_back else none,
    )


def _amounts(text: AmountsText) -> Amounts:
    return Amounts(
        text.currency or "",
        minor_of(text.total),
        minor_of(text.tax),
        minor_of(text.captured),
        minor_of(text.cancelled),
        minor_of(text.refunded),
        minor_of(text.charged_back),
    )


def newer_snapshot(version: int) -> ConfigError:
    """What stops a worker that is older than what it reads."""
    return ConfigError(f"a snapshot has definition {version}, this worker knows {DEFINITION}: run the newer version")


def _of_another_version(data: bytes) -> _Snapshot:
    try:
        version = _version_decoder.decode(data).definition
    except msgspec.MsgspecError:
        raise InvariantBroken("a snapshot that is no snapshot") from None
    if version == DEFINITION:
        raise InvariantBroken("a snapshot that breaks its own definition")
    return _upgraded(data, version)


def _upgraded(data: bytes, version: int) -> _Snapshot:
    if version > DEFINITION:
        raise newer_snapshot(version)
    document: dict[str, Any] = msgspec.json.decode(data)
    for step in range(version, DEFINITION):
        upgrade = UPGRADES.get(step)
        if upgrade is None:
            raise ConfigError(f"a snapshot has definition {version}, from which this version has no upgrade")
        document = upgrade(document)
    try:
        # as JSON once more: a command's payload stays as it was written, which only a decoder can do
        return _decoder.decode(msgspec.json.encode(document))
    except msgspec.ValidationError:
        raise InvariantBroken("a snapshot that breaks its own definition") from None
