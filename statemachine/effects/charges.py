"""Charges of Digital River with their captures and voids: merged by id, each in its most advanced state, then added up.

Digital River's flag ``captured`` and its ``capturedAmount`` are never used: they include what is pending or has
failed (docs/digital-river.md, "Charges and captures").
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from statemachine.aftersale.paid_back import recount
from statemachine.drafts.currency import charges_in_currency
from statemachine.drafts.draft import Draft
from statemachine.messages.facts import ChargeOperation, Fact, Problem, RemoteCharge
from statemachine.messages.identity import mark_of
from statemachine.messages.ids import FulfillmentId, LineId
from statemachine.order.amounts import captured_text
from statemachine.order.order import CaptureState, Charge, Operation, Order

#: Digital River repeats a failed capture; a complete one never fails.
_OPERATION_RANKS: Final[dict[str, int]] = {"pending": 0, "pending_information": 1, "failed": 2, "complete": 3}
_PENDING: Final = ("pending", "pending_information")
#: No two states have the same rank, so that contradicting reports give the same result in any order.
_CHARGE_RANKS: Final[dict[str, int]] = {
    "pending": 0,
    "capturable": 1,
    "processing": 2,
    "failed": 3,
    "cancelled": 4,
    "complete": 5,
}
#: States of a charge that holds no money any more.
_ENDED: Final = ("failed", "cancelled", "complete")
#: States of an order at Digital River that it reaches only when every capture is complete.
_ALL_CAPTURED: Final = ("complete", "returned")

CAPTURE_FAILED: Final = "capture failed"
VOID_FAILED: Final = "void failed"
EARLIER_ORDER: Final = "an earlier order at Digital River was accepted; money may be held or taken there"


def absorb_charge(draft: Draft) -> None:
    """Merge a charge that was reported outside of an order."""
    data = draft.data_as(Fact)
    assert data.charge is not None  # that is why it is a fact.charge
    about = data.charge.dr_order_id or data.dr_order_id
    if about in draft.order.former and has_captured((data.charge,)):
        draft.call_attention(EARLIER_ORDER)
    if about is not None and about == draft.order.digital_river.order_id:
        absorb_charges(draft, (data.charge,))
        if draft.state == "pending_payment" and data.charge.state == "failed":
            draft.follow = "remote.pending_payment"


def absorb_charges(draft: Draft, reported: tuple[RemoteCharge, ...]) -> None:
    """Merge the charges of one report; ``draft.problem`` becomes that of an operation that has just failed."""
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
        absorb_operations(draft)
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
    """Operations by id (or, without one, by fulfilment and amount), each in its most advanced state."""
    merged = {operation.mark: operation for operation in known}
    for one, mark in zip(reported, _marks(reported), strict=True):
        before = merged.get(mark)
        fulfillment = mark_of(one.fulfillment_id) if one.fulfillment_id else b""
        if before is None or _OPERATION_RANKS.get(one.state, 0) > _OPERATION_RANKS.get(before.state, 0):
            merged[mark] = Operation(
                mark, one.state, one.amount, fulfillment or (before.fulfillment if before else b"")
            )
        elif fulfillment and not before.fulfillment:
            merged[mark] = replace(before, fulfillment=fulfillment)
    # Sorted by mark, not by arrival: the same bytes in whatever order the reports arrive.
    return tuple(merged[mark] for mark in sorted(merged))


def absorb_operations(draft: Draft) -> None:
    """Derive from the charges: sums of what is complete, captures of shipments, and attention for failures."""
    order = draft.order
    if not (order.shipments or order.attention or has_operations(order.charges)):
        return  # only authorised, as with the first charge of most orders
    captures = [capture for charge in order.charges for capture in charge.captures]
    voids = [void for charge in order.charges for void in charge.cancels]
    captured = sum(capture.amount for capture in captures if capture.state == "complete")
    cancelled = sum(void.amount for void in voids if void.state == "complete")
    if (captured, cancelled) != (order.amounts.captured, order.amounts.cancelled):
        draft.put(amounts=replace(order.amounts, captured=captured, cancelled=cancelled))
    shipments = tuple(
        [
            replace(
                shipment,
                capture=capture_of(order, shipment.fulfillment_id),
                captured=captured_text(captures, shipment.fulfillment_id, order.amounts.currency),
            )
            for shipment in order.shipments
        ]
    )
    if shipments != order.shipments:
        draft.put(shipments=shipments)
    set_attention(draft, CAPTURE_FAILED, bool(failed_captures(draft.order)))
    set_attention(draft, VOID_FAILED, any(void.state == "failed" for void in voids) and not is_voided(draft.order))
    if order.refunds or order.amounts.charged_back:
        recount(draft)


def has_captured(charges: tuple[RemoteCharge, ...]) -> bool:
    """Whether a report contains a complete capture."""
    return any(capture.state == "complete" for charge in charges for capture in charge.captures)


def is_money_there(order: Order) -> bool:
    """Whether Digital River holds or keeps money of the order, judged by charges and sums."""
    amounts = order.amounts
    kept = amounts.captured > amounts.refunded + amounts.charged_back
    return kept or any(charge.state in ("capturable", "processing") for charge in order.charges)


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
        for operations in (charge.captures, charge.cancels):
            marked = zip(operations, _marks(operations), strict=True)
            found += [(mark, one.failure_code) for one, mark in marked if one.state == "failed"]
        if charge.state == "failed":
            found.append((mark_of(charge.charge_id), charge.failure_code))
    return found


def _problem(before: tuple[Charge, ...], failed: list[tuple[bytes, str | None]]) -> Problem | None:
    """The problem of the first of the ``failed`` that had not failed ``before``."""
    known = {one.mark for charge in before for one in (*charge.captures, *charge.cancels) if one.state == "failed"} | {
        charge.mark for charge in before if charge.state == "failed"
    }
    return next((Problem(code=code or "payment_failed") for mark, code in failed if mark not in known), None)


def _marks(operations: tuple[ChargeOperation, ...]) -> list[bytes]:
    """The mark of each operation of one report. Without ids, equal operations are numbered."""
    marks: list[bytes] = []
    seen: dict[str, int] = {}
    for operation in operations:
        name = operation.id
        if name is None:
            name = f"{operation.fulfillment_id} {operation.amount}"
            number = seen[name] = seen.get(name, 0) + 1
            if number > 1:
                name = f"{name} {number}"
        marks.append(mark_of(name))
    return marks


def set_attention(draft: Draft, reason: str, holds: bool) -> None:
    """Add a reason for attention while its cause ``holds``, and drop it otherwise."""
    if holds:
        if reason not in draft.order.acknowledged:
            draft.call_attention(reason)
    else:
        draft.clear_attention(reason)


def failed_captures(order: Order) -> list[Operation]:
    """Captures that failed and were not repeated with success.

    Digital River captures each line of a fulfilment separately, so another capture of the same fulfilment does not replace a
    failed one. The same capture must become complete, or its whole charge, or the whole order.
    """
    if order.remote_state in _ALL_CAPTURED:
        return []
    return [
        capture
        for charge in order.charges
        if charge.state != "complete"
        for capture in charge.captures
        if capture.state == "failed"
    ]


def has_pending_void(order: Order) -> bool:
    """Whether money is still to be given back: a void is pending, and its charge has not ended without it."""
    return any(void.state in _PENDING for charge in order.charges for void in charge.cancels) and not is_voided(order)


def has_lasting_changes(before: tuple[Charge, ...], after: tuple[Charge, ...]) -> bool:
    """Whether a charge is new, or a charge, capture or void has ended or now has its fulfilment.

    Later reports may not repeat that.
    """
    return not _lasting(after) <= _lasting(before)


def _lasting(charges: tuple[Charge, ...]) -> set[tuple[bytes, str, bytes]]:
    lasting = {(charge.mark, charge.state if charge.state in _ENDED else "", b"") for charge in charges}
    for charge in charges:
        operations = (*charge.captures, *charge.cancels)
        lasting |= {(one.mark, one.state, one.fulfillment) for one in operations if one.state not in _PENDING}
    return lasting


def is_authorisation_gone(order: Order) -> bool:
    """Whether units may still leave that no authorisation covers: all charges have ended, and too little was captured."""
    if not order.charges or not order.amounts.total:
        return False
    slack = len(order.lines)
    if not all(charge.state in _ENDED or _is_used_up(charge, slack) for charge in order.charges):
        return False
    cancelling = {line.line: line.cancelled for line in order.lines}
    for command in order.commands:
        for units in command.units:
            cancelling[units.line] += units.cancel
    return order.amounts.captured + slack < _cost_without(order, cancelling)


def _cost_without(order: Order, cancelled: dict[LineId, int]) -> int:
    """The part of the order's total, in minor units, that is left when ``cancelled`` units of each line are not delivered."""
    prices = {item.line: (item.amount or 0) + item.tax for item in order.items}
    if not any(prices.values()):  # Digital River reported no prices: by units
        prices = {line.line: line.ordered for line in order.lines}
    whole = sum(prices.values())
    kept = sum(prices.get(line.line, 0) * (line.ordered - cancelled[line.line]) // line.ordered for line in order.lines)
    return order.amounts.total * kept // whole


def is_voided(order: Order) -> bool:
    """Whether every charge has ended, by its state or by what was captured and voided."""
    return bool(order.charges) and all(
        charge.state in ("cancelled", "complete") or _is_used_up(charge, len(order.lines)) for charge in order.charges
    )


def captured_of(order: Order, fulfillment_id: FulfillmentId) -> str | msgspec.UnsetType:
    """What was captured of a shipment."""
    captures = [capture for charge in order.charges for capture in charge.captures]
    return captured_text(captures, fulfillment_id, order.amounts.currency)


def _is_used_up(charge: Charge, slack: int) -> bool:
    operations = (*charge.captures, *charge.cancels)
    if any(operation.state in _PENDING for operation in operations):
        return False
    return sum(one.amount for one in operations if one.state == "complete") + slack >= charge.amount


def capture_of(order: Order, fulfillment_id: FulfillmentId) -> CaptureState:
    """A shipment's captures, one for each line at Digital River: complete once all are, failed when one is."""
    if not order.amounts.total or (order.charges and all(charge.state == "complete" for charge in order.charges)):
        return "complete"  # what costs nothing is never captured
    mark = mark_of(fulfillment_id)
    states = {capture.state for charge in order.charges for capture in charge.captures if capture.fulfillment == mark}
    if any(capture.fulfillment == mark for capture in failed_captures(order)):
        return "failed"
    return "complete" if states and states.isdisjoint(_PENDING) else "pending"
