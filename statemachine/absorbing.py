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
from statemachine.facts import ChargeOperation, Fact, RemoteCharge, RemoteFulfillment, RemoteOrder
from statemachine.identity import mark_of
from statemachine.money import format_money
from statemachine.order import CaptureState, Charge, Document, Item, Operation, Order, RemoteIds, Shipment, Units
from statemachine.refunds import compare_refunded, recount
from statemachine.returns import count_returned
from statemachine.rules import REMOTE_RANKS

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

REAUTH_FAILED: Final = "order.charge.reauth.failed"
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
    if isinstance(draft.event.data, Fact) and draft.event.data.type == REAUTH_FAILED:
        # The object is an order, still accepted: only the type tells (section 3.4).
        draft.put(reauth_failed=True)
        draft.call_attention("the authorisation ran out and was not renewed; captures will likely fail")
    if follow_dispute(draft, remote):
        return
    rank = REMOTE_RANKS.get(remote.state)
    if rank is None:
        draft.follow = "remote.other"
    elif rank >= REMOTE_RANKS.get(order.remote_state or "", 0):
        if remote.state != order.remote_state:
            draft.put(remote_state=remote.state)
        draft.follow = f"remote.{remote.state}"


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
    known = {charge.mark: charge for charge in draft.order.charges}
    for charge in reported:
        mark = mark_of(charge.charge_id)
        known[mark] = _merged_charge(known.get(mark) or Charge(mark, charge.state, charge.amount), charge)
    charges = tuple(known.values())
    if charges != draft.order.charges:
        draft.put(charges=charges)
        _absorb_operations(draft)


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
        mark = mark_of(one.id or f"{one.fulfillment_id} {one.amount}")
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
    authorised = sum(charge.amount for charge in order.charges)
    less = None
    if authorised + len(order.lines) < order.amounts.total:
        figures = [format_money(figure, order.amounts.currency) for figure in (authorised, order.amounts.total)]
        less = "{} of {}".format(*figures)
    draft.settle_attention("less is authorised than the order costs: ", less)
    if captured + cancelled > authorised:
        figures = [format_money(figure, order.amounts.currency) for figure in (captured, cancelled, authorised)]
        draft.call_attention("{} captured and {} cancelled are more than {} authorised".format(*figures))


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
    """Whether all charges ended without a pending or failed void."""
    return bool(order.charges) and all(charge.state in ("cancelled", "complete") for charge in order.charges)


def _capture_of(order: Order, fulfillment_id: str) -> CaptureState:
    """State of a shipment's capture: complete once any of its captures or the whole charge is, failed when the others are."""
    if order.charges and all(charge.state == "complete" for charge in order.charges):
        return "complete"
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
    lines, over = [], False
    for line in draft.order.lines:
        ship = sum(one.ship for one in units if one.line == line.line)
        cancel = sum(one.cancel for one in units if one.line == line.line)
        left = line.ordered - line.shipped - line.cancelled
        over = over or ship + cancel > left
        shipped = min(ship, left)
        cancelled = min(cancel, left - shipped)
        lines.append(replace(line, shipped=line.shipped + shipped, cancelled=line.cancelled + cancelled))
    if over:
        draft.call_attention("Digital River shipped or cancelled more units than were ordered")
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
