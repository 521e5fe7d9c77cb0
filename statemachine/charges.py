"""Charges of Digital River and their captures and voids: merged by id, each with the state furthest along, then summed up.

The booleans ``captured`` and the figure ``capturedAmount`` of Digital River are never used: they count what is pending or has
failed (reference: "Data traps").
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from statemachine.currency import charges_in_currency
from statemachine.draft import Draft
from statemachine.facts import ChargeOperation, Fact, Problem, RemoteCharge
from statemachine.identity import mark_of
from statemachine.order import CaptureState, Charge, Operation, Order
from statemachine.paid_back import recount

#: A failed capture is tried again by Digital River, a complete one never fails.
_OPERATION_RANKS: Final[dict[str, int]] = {"pending": 0, "pending_information": 1, "failed": 2, "complete": 3}
_CHARGE_RANKS: Final[dict[str, int]] = {
    "pending": 0,
    "capturable": 1,
    "processing": 2,
    "complete": 3,
    "cancelled": 3,
    "failed": 3,
}

CAPTURE_FAILED: Final = "capture failed"
VOID_FAILED: Final = "void failed"


def absorb_charge(draft: Draft) -> None:
    """A charge, reported by itself."""
    data = draft.event.data
    assert isinstance(data, Fact)
    assert data.charge is not None  # that is why it is a fact.charge
    about = data.charge.dr_order_id or data.dr_order_id
    if about is not None and about == draft.order.digital_river.order_id:
        absorb_charges(draft, (data.charge,))
        if draft.state == "pending_payment" and data.charge.state == "failed":
            draft.follow = "remote.pending_payment"


def absorb_charges(draft: Draft, reported: tuple[RemoteCharge, ...]) -> None:
    """The charges of one report; ``draft.problem`` is what it says of one that has just failed."""
    reported = charges_in_currency(draft, reported)
    if not reported:
        return
    before = draft.order.charges
    known = {charge.mark: charge for charge in before}
    for charge in reported:
        mark = mark_of(charge.charge_id)
        known[mark] = _merged_charge(mark, known.get(mark), charge)
    charges = tuple(known.values())
    if charges != before:
        draft.order = replace(draft.order, charges=charges)
        _absorb_operations(draft)
        failed = _failures(reported)
        if failed:
            draft.problem = _problem(before, failed)


def _merged_charge(mark: bytes, known: Charge | None, charge: RemoteCharge) -> Charge:
    state = charge.state
    captures: tuple[Operation, ...] = ()
    cancels: tuple[Operation, ...] = ()
    if known is not None:
        captures, cancels = known.captures, known.cancels
        if _CHARGE_RANKS.get(state, 0) < _CHARGE_RANKS.get(known.state, 0):
            state = known.state
    if charge.captures:
        captures = _merged_operations(captures, charge.captures)
    if charge.cancels:
        cancels = _merged_operations(cancels, charge.cancels)
    return Charge(mark, state, charge.amount, captures, cancels)


def _merged_operations(known: tuple[Operation, ...], reported: tuple[ChargeOperation, ...]) -> tuple[Operation, ...]:
    """Operations by id (or, without one, by fulfilment and amount), each with the state furthest along."""
    merged = {operation.mark: operation for operation in known}
    for one in reported:
        mark = _mark(one)
        before = merged.get(mark)
        fulfillment = mark_of(one.fulfillment_id) if one.fulfillment_id else b""
        if before is None or _OPERATION_RANKS.get(one.state, 0) > _OPERATION_RANKS.get(before.state, 0):
            merged[mark] = Operation(
                mark, one.state, one.amount, fulfillment or (before.fulfillment if before else b"")
            )
        elif fulfillment and not before.fulfillment:
            merged[mark] = replace(before, fulfillment=fulfillment)
    # Reports come in any order and must end in the same bytes: so sorted by mark, not by arrival.
    return tuple(merged[mark] for mark in sorted(merged))


def _absorb_operations(draft: Draft) -> None:
    """What the charges' operations mean: sums of what is complete, shipments' captures, failures that a person must see."""
    order = draft.order
    if not (order.shipments or order.attention or has_operations(order.charges)):
        return  # just authorised: nothing follows, as with most orders' first charge
    captures = [capture for charge in order.charges for capture in charge.captures]
    voids = [void for charge in order.charges for void in charge.cancels]
    captured = sum(capture.amount for capture in captures if capture.state == "complete")
    cancelled = sum(void.amount for void in voids if void.state == "complete")
    if (captured, cancelled) != (order.amounts.captured, order.amounts.cancelled):
        draft.put(amounts=replace(order.amounts, captured=captured, cancelled=cancelled))
    shipments = tuple(
        [replace(shipment, capture=capture_of(order, shipment.fulfillment_id)) for shipment in order.shipments]
    )
    if shipments != order.shipments:
        draft.put(shipments=shipments)
    tell(draft, CAPTURE_FAILED, bool(failed_captures(draft.order)))
    tell(draft, VOID_FAILED, any(void.state == "failed" for void in voids) and not is_voided(draft.order))
    if order.refunds or order.amounts.charged_back:
        recount(draft)


def has_operations(charges: tuple[Charge, ...]) -> bool:
    """Whether anything was captured or given back, or is to be."""
    for charge in charges:  # noqa: SIM110 - asked twice in a decision; a generator costs twice as much
        if charge.captures or charge.cancels:
            return True
    return False


def _failures(reported: tuple[RemoteCharge, ...]) -> list[tuple[bytes, str | None]]:
    """Mark and code of every capture, void and charge that is reported as failed."""
    found: list[tuple[bytes, str | None]] = []
    for charge in reported:
        operations = (*charge.captures, *charge.cancels)
        found += [(_mark(one), one.failure_code) for one in operations if one.state == "failed"]
        if charge.state == "failed":
            found.append((mark_of(charge.charge_id), charge.failure_code))
    return found


def _problem(before: tuple[Charge, ...], failed: list[tuple[bytes, str | None]]) -> Problem | None:
    """What Digital River says of the first of the ``failed`` that had not failed ``before``."""
    known = {one.mark for charge in before for one in (*charge.captures, *charge.cancels) if one.state == "failed"} | {
        charge.mark for charge in before if charge.state == "failed"
    }
    return next((Problem(code=code or "payment_failed") for mark, code in failed if mark not in known), None)


def _mark(operation: ChargeOperation) -> bytes:
    return mark_of(operation.id or f"{operation.fulfillment_id} {operation.amount}")


def tell(draft: Draft, reason: str, holds: bool) -> None:  # reads as a sentence: tell X when it holds
    """A reason for attention that comes and goes with its cause."""
    if holds:
        draft.call_attention(reason)
    else:
        draft.clear_attention(reason)


def failed_captures(order: Order) -> list[Operation]:
    """Captures that failed and that no later capture of the same fulfilment made good."""
    captures = [capture for charge in order.charges for capture in charge.captures]
    good = {capture.fulfillment for capture in captures if capture.state == "complete"}
    return [capture for capture in captures if capture.state == "failed" and capture.fulfillment not in good]


def is_voided(order: Order) -> bool:
    """Whether every charge ended, by its state or by what was captured and given back of it."""
    return bool(order.charges) and all(
        charge.state in ("cancelled", "complete") or _is_used_up(charge, len(order.lines)) for charge in order.charges
    )


def _is_used_up(charge: Charge, slack: int) -> bool:
    operations = (*charge.captures, *charge.cancels)
    if any(operation.state in ("pending", "pending_information") for operation in operations):
        return False
    return sum(one.amount for one in operations if one.state == "complete") + slack >= charge.amount


def capture_of(order: Order, fulfillment_id: str) -> CaptureState:
    """State of a shipment's capture: complete once any of its captures or the whole charge is, failed when the others are."""
    if not order.amounts.total or (order.charges and all(charge.state == "complete" for charge in order.charges)):
        return "complete"  # what costs nothing is never captured
    mark = mark_of(fulfillment_id)
    states = [capture.state for charge in order.charges for capture in charge.captures if capture.fulfillment == mark]
    if "complete" in states:
        return "complete"
    return "failed" if "failed" in states and "pending" not in states else "pending"
