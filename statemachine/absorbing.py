"""Facts of Digital River are absorbed, not obeyed: whatever says it, in whatever order and how often, ends in the same order.

The answer to a command, a webhook and a later read all come through the same functions. Nothing goes back: operations and
states have ranks. Facts about an earlier checkout or order at Digital River are left alone. The booleans ``captured`` and
``refunded`` and the figure ``capturedAmount`` of Digital River are never used: they count what is pending or has failed.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from statemachine.commanding import close_command
from statemachine.decision import IndexEntry
from statemachine.disputes import follow_dispute
from statemachine.draft import Draft
from statemachine.facts import ChargeOperation, Fact, Problem, RemoteCharge, RemoteFulfillment, RemoteOrder
from statemachine.identity import mark_of
from statemachine.money import format_money
from statemachine.order import CaptureState, Charge, Document, Item, Operation, Order, RemoteIds, Shipment, Units
from statemachine.refunds import compare_refunded, recount
from statemachine.returns import count_returned
from statemachine.rules import PAYING, REMOTE_RANKS

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

#: States of an order at Digital River in which its payment was authorised.
_HOLDS_MONEY: Final = frozenset({"accepted", "in_review", "fulfilled", "complete", "returned", "dispute"})

REVIEW_CLOSED: Final = "order.review_closed"
REAUTH_FAILED: Final = "order.charge.reauth.failed"
NOT_RENEWED: Final = "the authorisation ran out and was not renewed; captures will likely fail"
CHARGE_FAILED: Final = "order.charge.failed"
CAPTURE_FAILED: Final = "capture failed"
VOID_FAILED: Final = "void failed"


def absorb_order(draft: Draft) -> None:
    """An order of Digital River, whatever brought it. Sets the trigger that its state stands for."""
    remote = draft.remote_order()
    if remote is None:
        draft.call_attention("Digital River confirmed a command about an order without telling the order")
        return
    if not _is_current(draft, remote):
        _note_earlier(draft, remote)
        return
    order = draft.order
    if not order.placed:
        draft.call_attention("Digital River has an order for a checkout that was not placed here")
        return
    draft.remote = remote
    _absorb_ids(draft, remote)
    _absorb_charges(draft, remote.charges)
    if remote.refunded or order.remote_refunded:
        compare_refunded(draft, remote.refunded)
    if isinstance(draft.event.data, Fact):
        _heed_type(draft, draft.event.data.type, remote)
    if follow_dispute(draft, remote):
        return
    if remote.state not in REMOTE_RANKS:
        draft.follow = "remote.other"
    elif _is_newest(draft, remote):
        if remote.state != order.remote_state:
            draft.put(remote_state=remote.state)
        draft.follow = f"remote.{remote.state}"
    elif order.payment_failed and REMOTE_RANKS[remote.state] >= REMOTE_RANKS["accepted"]:
        draft.follow = f"remote.{remote.state}"  # no older fact: what was never paid was never accepted


def _is_newest(draft: Draft, remote: RemoteOrder) -> bool:
    """Whether no later state of the order is known. Only a review may be followed by an earlier one, once it is over."""
    known = draft.order.remote_state or ""
    if draft.order.reviewed and {known, remote.state} == {"in_review", "pending_payment"}:
        return remote.state == "pending_payment"
    return REMOTE_RANKS[remote.state] >= REMOTE_RANKS.get(known, 0)


def _heed_type(draft: Draft, kind: str, remote: RemoteOrder) -> None:
    """What only the type of a report tells: the object in it is an order like any other (section 3.4)."""
    if kind == REAUTH_FAILED:
        draft.put(reauth_failed=True)
        draft.call_attention(NOT_RENEWED)
    elif kind == REVIEW_CLOSED and remote.state == "pending_payment" and draft.state in PAYING:
        draft.put(reviewed=True)


def _note_earlier(draft: Draft, remote: RemoteOrder) -> None:
    """An earlier order, or one for an earlier checkout, never moves this one; but one that holds money is not passed over."""
    former = draft.order.former
    if remote.state in _HOLDS_MONEY and (remote.dr_order_id in former or remote.checkout_id in former):
        draft.call_attention("an earlier order at Digital River was accepted; money may be held or taken there")


def _is_current(draft: Draft, remote: RemoteOrder) -> bool:
    """Whether the remote order is the one of the current checkout: never by ``upstreamId`` alone, which older orders share."""
    order = draft.order
    ids = order.digital_river
    if remote.dr_order_id in order.former or remote.checkout_id in order.former:
        return False
    if ids.order_id is not None:
        return remote.dr_order_id == ids.order_id
    if draft.closing is not None and draft.closing.name == "place_order":
        return True
    if remote.checkout_id is None:
        return order.state == "placing" and remote.upstream_id == order.order_id
    return remote.checkout_id == ids.checkout_id


def _absorb_ids(draft: Draft, remote: RemoteOrder) -> None:
    order = draft.order
    if order.digital_river.order_id is None:
        ids = order.digital_river
        draft.put(digital_river=RemoteIds(ids.checkout_id, remote.dr_order_id, ids.customer_id))
        draft.effects.append(IndexEntry(remote.dr_order_id, "order", order.order_id))
        if remote.currency != order.amounts.currency or remote.total != order.amounts.total:
            draft.call_attention(_disagreement(order, remote))
    # A webhook that is faster than the answer proves that the order was placed: nothing is left to inquire about.
    for command in draft.order.commands:
        if command.name == "place_order":
            close_command(draft, command)
    if not order.items and remote.items:
        items = _items(order, remote)
        if len(items) == len(order.lines):
            draft.put(items=items)
            _compare_quantities(draft, remote)
        else:
            draft.call_attention("the lines of the order at Digital River are not the lines of the cart")


def _disagreement(order: Order, remote: RemoteOrder) -> str:
    """What was quoted and what is authorised, as two figures."""
    if remote.currency != order.amounts.currency:
        return "the order at Digital River is in another currency than the quote"
    authorised, quoted = format_money(remote.total, remote.currency), format_money(order.amounts.total, remote.currency)
    return f"the order at Digital River is over {authorised}, the quote was over {quoted}"


def _items(order: Order, remote: RemoteOrder) -> tuple[Item, ...]:
    """Digital River's item of each of our lines: by the line id in its metadata, else by SKU and quantity."""
    left = list(remote.items)
    found = []
    for line in order.lines:
        named = [item for item in left if item.line == line.line]
        alike = [
            item for item in left if item.line is None and item.sku_id == line.sku_id and item.quantity == line.ordered
        ]
        for item in (named or alike)[:1]:
            left.remove(item)
            found.append(Item(line.line, item.item_id, item.amount, item.tax))
    return tuple(found)


def _compare_quantities(draft: Draft, remote: RemoteOrder) -> None:
    """Units of each line there and here, when Digital River's order is first seen."""
    line_of = {item.item_id: item.line for item in draft.order.items}
    there = {line_of[item.item_id]: item.quantity for item in remote.items if item.item_id in line_of}
    for line in draft.order.lines:
        if there.get(line.line, line.ordered) != line.ordered:
            draft.call_attention(
                f"Digital River has {there[line.line]} units of a line of which {line.ordered} were ordered"
            )


def absorb_charge(draft: Draft) -> None:
    """A charge, reported by itself."""
    data = draft.event.data
    assert isinstance(data, Fact)
    assert data.charge is not None  # that is why it is a fact.charge
    about = data.charge.dr_order_id or data.dr_order_id
    if about is not None and about == draft.order.digital_river.order_id:
        _absorb_charges(draft, (data.charge,))
        if draft.state == "pending_payment" and data.charge.state == "failed":
            draft.follow = "remote.pending_payment"


def _absorb_charges(draft: Draft, reported: tuple[RemoteCharge, ...]) -> None:
    if not reported:
        return
    before = draft.order.charges
    known = {charge.mark: charge for charge in before}
    for charge in reported:
        mark = mark_of(charge.charge_id)
        known[mark] = _merged_charge(known.get(mark) or Charge(mark, charge.state, charge.amount), charge)
    charges = tuple(known.values())
    if charges != before:
        draft.put(charges=charges)
        _absorb_operations(draft)
        draft.problem = _problem(before, reported)


def _merged_charge(known: Charge, charge: RemoteCharge) -> Charge:
    older = _CHARGE_RANKS.get(charge.state, 0) < _CHARGE_RANKS.get(known.state, 0)
    return Charge(
        known.mark,
        known.state if older else charge.state,
        charge.amount,
        _merged_operations(known.captures, charge.captures),
        _merged_operations(known.cancels, charge.cancels),
    )


def _merged_operations(known: tuple[Operation, ...], reported: tuple[ChargeOperation, ...]) -> tuple[Operation, ...]:
    """Operations by id (or, without one, by fulfilment and amount), each with the state furthest along."""
    if not reported:
        return known
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
    captures = [capture for charge in order.charges for capture in charge.captures]
    voids = [void for charge in order.charges for void in charge.cancels]
    captured = sum(capture.amount for capture in captures if capture.state == "complete")
    cancelled = sum(void.amount for void in voids if void.state == "complete")
    if (captured, cancelled) != (order.amounts.captured, order.amounts.cancelled):
        draft.put(amounts=replace(order.amounts, captured=captured, cancelled=cancelled))
    shipments = tuple(
        [replace(shipment, capture=_capture_of(order, shipment.fulfillment_id)) for shipment in order.shipments]
    )
    if shipments != order.shipments:
        draft.put(shipments=shipments)
    tell(draft, CAPTURE_FAILED, bool(failed_captures(draft.order)))
    tell(draft, VOID_FAILED, any(void.state == "failed" for void in voids) and not is_voided(draft.order))
    if order.refunds or order.amounts.charged_back:
        recount(draft)


def _problem(before: tuple[Charge, ...], reported: tuple[RemoteCharge, ...]) -> Problem | None:
    """What Digital River says of a capture, a void or a charge that has just failed."""
    known = {
        mark
        for charge in before
        for mark, state in (
            *((one.mark, one.state) for one in (*charge.captures, *charge.cancels)),
            (charge.mark, charge.state),
        )
        if state == "failed"
    }
    for charge in reported:
        told = [(_mark(one), one.state, one.failure_code) for one in (*charge.captures, *charge.cancels)]
        for mark, state, code in (*told, (mark_of(charge.charge_id), charge.state, charge.failure_code)):
            if state == "failed" and mark not in known:
                return Problem(code=code or "payment_failed")
    return None


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


def _capture_of(order: Order, fulfillment_id: str) -> CaptureState:
    """State of a shipment's capture: complete once any of its captures or the whole charge is, failed when the others are."""
    if not order.amounts.total or (order.charges and all(charge.state == "complete" for charge in order.charges)):
        return "complete"  # what costs nothing is never captured
    mark = mark_of(fulfillment_id)
    states = [capture.state for charge in order.charges for capture in charge.captures if capture.fulfillment == mark]
    if "complete" in states:
        return "complete"
    return "failed" if "failed" in states and "pending" not in states else "pending"


def absorb_fulfillment(draft: Draft) -> None:
    """A fulfilment: units shipped or cancelled, by Digital River's word. Each one counts once, by its id."""
    remote = draft.remote_fulfillment()
    order = draft.order
    if remote is None or remote.dr_order_id != order.digital_river.order_id:
        if draft.closing is not None:
            draft.call_attention("Digital River confirmed a fulfilment without telling it")
        return
    if _is_counted(order, remote.fulfillment_id):
        return
    command = draft.closing
    if command is None:
        command = next((one for one in order.commands if one.command_id == remote.command_id), None)
        if command is not None:
            # The webhook was faster than the answer.
            close_command(draft, command)
        elif remote.command_id is None:
            draft.call_attention("a fulfilment at Digital River that was not asked for here")
    units = _units(order, remote) or (command.units if command is not None else ())
    lines, over = [], ""
    for line in draft.order.lines:
        ship = sum(one.ship for one in units if one.line == line.line)
        cancel = sum(one.cancel for one in units if one.line == line.line)
        left = line.ordered - line.shipped - line.cancelled
        if ship + cancel > left:
            over = over or f"{line.shipped + line.cancelled + ship + cancel} of {line.ordered}"
        shipped = min(ship, left)
        cancelled = min(cancel, left - shipped)
        lines.append(replace(line, shipped=line.shipped + shipped, cancelled=line.cancelled + cancelled))
    if over:
        draft.call_attention(f"Digital River shipped or cancelled more units of a line than were ordered: {over}")
    if len(_units(order, remote)) < len(remote.items):
        draft.call_attention("Digital River shipped or cancelled a line that the order does not have")
    draft.put(lines=tuple(lines))
    count_returned(draft)
    if not any(one.ship for one in units):
        draft.put(voids=tuple(sorted((*order.voids, remote.fulfillment_id))))
    else:
        shipment_id = remote.shipment_id or (command.shipment_id if command is not None else None)
        capture = _capture_of(draft.order, remote.fulfillment_id)
        parcel = Shipment(shipment_id, remote.fulfillment_id, capture)
        # Reports come in any order and must end in the same one.
        draft.put(shipments=tuple(sorted((*draft.order.shipments, parcel), key=lambda one: one.fulfillment_id)))
        draft.effects.append(IndexEntry(remote.fulfillment_id, "fulfillment", order.order_id))


def _is_counted(order: Order, fulfillment_id: str) -> bool:
    return fulfillment_id in order.voids or any(one.fulfillment_id == fulfillment_id for one in order.shipments)


def _units(order: Order, remote: RemoteFulfillment) -> tuple[Units, ...]:
    line_of = {item.item_id: item.line for item in order.items}
    return tuple(
        Units(line_of[item.item_id], item.quantity, item.cancel_quantity)
        for item in remote.items
        if item.item_id in line_of
    )


def absorb_document(draft: Draft) -> None:
    """An invoice or a credit memo is there."""
    data = draft.event.data
    assert isinstance(data, Fact)
    assert data.document is not None  # that is why it is a fact.document
    about = data.document.dr_order_id or data.dr_order_id
    document = Document(data.document.file_id, data.document.purpose)
    if about is not None and about == draft.order.digital_river.order_id and document not in draft.order.documents:
        draft.put(
            documents=tuple(sorted((*draft.order.documents, document), key=lambda one: (one.file_id, one.purpose)))
        )
