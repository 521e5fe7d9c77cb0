"""An order as one JSON document of the topic ``orders``, and back.

The document is public: its top-level keys are always there, empty or not. What only the worker needs is under ``internal``.
This runs once per order and transaction, so it computes nothing but the decimal strings of amounts.
An older snapshot is upgraded on read by the functions in ``upgrades.py``, one per version.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from statemachine.errors import ConfigError, InvariantBroken
from statemachine.order.amounts import amounts_of, amounts_text
from statemachine.order.order import (
    DEFINITION,
    Order,
    ParkedEvent,
)
from statemachine.order.snapshot_parts import (
    parked_of,
    parked_records,
    refund_records,
    refund_text,
    refunds_of,
    return_records,
    returns_of,
)
from statemachine.order.snapshot_types import Internal, ParkedView, ReturnView, Snapshot, Version
from statemachine.order.upgrades import UPGRADES

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Snapshot)
_version_decoder = msgspec.json.Decoder(Version)


def encode_snapshot(order: Order) -> bytes:
    """The JSON document of ``order``."""
    currency = order.amounts.currency
    parked = order.parked + order.queue if order.queue else order.parked
    return _encoder.encode(
        Snapshot(
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
            tuple([ParkedView(entry.type, entry.arrived) for entry in parked]),
            order.attention,
            order.definition,
            order.updated,
            Internal(
                order.seen,
                order.facts,
                order.commands,
                parked_records(parked),
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
                refund_records(order.refunds),
                return_records(order.returns),
                order.disputed_from,
                order.dispute_began,
                order.dispute_ended,
                order.refused,
                order.made,
                order.chargebacks,
                len(order.queue),
                order.failed,
                order.acknowledged,
                order.look,
                order.quiet,
                order.trace,
            ),
            order.held,
            order.requested_at,
            order.placed_at,
            order.problem,
        )
    )


def decode_snapshot(data: bytes) -> Order:
    """The order in a document that ``encode_snapshot`` of this or an earlier version wrote.

    Raises:
        ConfigError: The document is of a newer definition than this code: roll the worker forward.
        InvariantBroken: It is not a snapshot, or its parts contradict each other.
    """
    try:
        snapshot = _decoder.decode(data)
        if snapshot.definition != DEFINITION:
            snapshot = _upgraded(data, snapshot.definition)
    except msgspec.MsgspecError:
        snapshot = _of_another_version(data)
    try:
        return _order(snapshot)
    except ValueError:  # malformed money, or internal parts without their public ones
        raise InvariantBroken(BROKEN) from None


def _order(snapshot: Snapshot) -> Order:
    internal = snapshot.internal
    parked, queue = _parked(snapshot) if snapshot.parked or internal.parked or internal.queued else ((), ())
    asked = internal.commands + internal.refused
    if asked:
        names = {line.line for line in snapshot.lines}
        if any(units.line not in names for command in asked for units in command.units):
            raise ValueError("a command is about a line that the order does not have")
    return Order(
        order_id=snapshot.order_id,
        state=snapshot.state,
        sequence=snapshot.sequence,
        requested_at=snapshot.requested,
        placed_at=snapshot.placed,
        payment=snapshot.payment,
        amounts=amounts_of(snapshot.amounts),
        lines=snapshot.lines,
        shipments=snapshot.shipments,
        refunds=refunds_of(snapshot.refunds, internal.refunds, snapshot.amounts.currency or "")
        if snapshot.refunds or internal.refunds
        else (),
        returns=returns_of(snapshot.returns, internal.returns) if snapshot.returns or internal.returns else (),
        documents=snapshot.documents,
        digital_river=snapshot.digital_river,
        deadlines=snapshot.deadlines,
        parked=parked,
        attention=snapshot.attention,
        updated=snapshot.updated,
        held=snapshot.held,
        problem=snapshot.problem,
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
        chargebacks=internal.chargebacks,
        queue=queue,
        failed=internal.failed,
        acknowledged=internal.acknowledged,
        look=internal.look,
        quiet=internal.quiet,
        trace=internal.trace,
    )


def _parked(snapshot: Snapshot) -> tuple[tuple[ParkedEvent, ...], tuple[ParkedEvent, ...]]:
    """The parked events, and the queue of a held order."""
    parked = parked_of(snapshot.order_id, snapshot.parked, snapshot.internal.parked)
    first = len(parked) - snapshot.internal.queued
    if first < 0:
        raise ValueError("more events are queued than parked")
    return parked[:first], parked[first:]


BROKEN: Final = "the parts of the snapshot contradict each other"


def newer_snapshot(version: int) -> ConfigError:
    """The error of a worker that reads a snapshot of a newer version."""
    return ConfigError(f"a snapshot has definition {version}, this worker knows {DEFINITION}: run the newer version")


def _of_another_version(data: bytes) -> Snapshot:
    try:
        version = _version_decoder.decode(data).definition
    except msgspec.MsgspecError:
        raise InvariantBroken("the record is not a snapshot") from None
    if version == DEFINITION:
        raise InvariantBroken(BROKEN)
    return _upgraded(data, version)


def _upgraded(data: bytes, version: int) -> Snapshot:
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
    except (TypeError, ValueError, LookupError):  # an upgrade expects a valid document
        raise InvariantBroken(BROKEN) from None
