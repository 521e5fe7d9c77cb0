"""Facts of Digital River are absorbed, not obeyed: whatever says it, in whatever order and how often, ends in the same order.

The answer to a command, a webhook and a later read all come through the same functions. Nothing goes back: operations and
states have ranks. Facts about an earlier checkout or order at Digital River are left alone, and the boolean ``refunded`` is
never used: it is set by what is pending or has failed too. Charges are merged in ``charges.py``.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from statemachine.aftersale.paid_back import compare_refunded
from statemachine.aftersale.returns import count_returned
from statemachine.drafts.commanding import close_command
from statemachine.drafts.draft import Draft
from statemachine.effects.charges import EARLIER_ORDER, absorb_charges, absorb_operations, capture_of, has_captured
from statemachine.effects.disputes import follow_dispute
from statemachine.messages.facts import Fact, RemoteFulfillment, RemoteItem, RemoteOrder
from statemachine.messages.identity import holds, mark_of, with_sorted
from statemachine.messages.ids import CommandId, FulfillmentId
from statemachine.messages.money import apportion, format_money
from statemachine.order.decision import IndexEntry
from statemachine.order.order import Document, KnownItem, Line, Order, RemoteIds, Shipment, Units
from statemachine.order.states import PAYING
from statemachine.tables.rules import REMOTE_RANKS

#: States of an order at Digital River in which its payment was authorised.
_HOLDS_MONEY: Final = frozenset({"accepted", "in_review", "fulfilled", "complete", "returned", "dispute"})

REVIEW_CLOSED: Final = "order.review_closed"
REAUTH_FAILED: Final = "order.charge.reauth.failed"
NOT_RENEWED: Final = "the authorisation ran out and was not renewed; captures will likely fail"
CHARGE_FAILED: Final = "order.charge.failed"
FULFILLED_TWICE: Final = "Digital River has two fulfilments for one command; units may be captured or cancelled twice"
ORDERED_TWICE: Final = "Digital River has two orders for one checkout; money may be held or taken twice"


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
    if remote.currency == order.amounts.currency:
        absorb_charges(draft, remote.charges)
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
            draft.order = replace(draft.order, remote_state=remote.state)
            absorb_operations(draft)  # an order that is complete makes failed captures good
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
    if remote.dr_order_id in former or remote.checkout_id in former:
        if remote.state in _HOLDS_MONEY or has_captured(remote.charges):
            draft.call_attention(EARLIER_ORDER)
    elif remote.checkout_id is not None and remote.checkout_id == draft.order.digital_river.checkout_id:
        draft.call_attention(ORDERED_TWICE)


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
        draft.order = replace(order, digital_river=RemoteIds(ids.checkout_id, remote.dr_order_id, ids.customer_id))
        draft.effects.append(IndexEntry(remote.dr_order_id, "order", order.order_id))
        if remote.currency != order.amounts.currency or remote.total != order.amounts.total:
            draft.call_attention(_disagreement(order, remote))
    # A webhook that is faster than the answer proves that the order was placed: nothing is left to inquire about.
    for command in draft.order.commands:
        if command.name == "place_order":
            close_command(draft, command)
    if not order.items and remote.items:
        _absorb_items(draft, remote)


def _disagreement(order: Order, remote: RemoteOrder) -> str:
    """What was quoted and what is authorised, as two figures."""
    if remote.currency != order.amounts.currency:
        return "the order at Digital River is in another currency than the quote"
    authorised, quoted = format_money(remote.total, remote.currency), format_money(order.amounts.total, remote.currency)
    return f"the order at Digital River is over {authorised}, the quote was over {quoted}"


def _absorb_items(draft: Draft, remote: RemoteOrder) -> None:
    """Digital River's item of each of our lines: by the line id in its metadata, else by SKU and quantity."""
    lines = draft.order.lines
    named = {item.line: item for item in reversed(remote.items)}  # of several with one line id the first
    nameless = [item for item in remote.items if item.line is None]
    discounts = apportion(remote.discount, [item.amount or 0 for item in remote.items])
    discount_of = {item.item_id: discount for item, discount in zip(remote.items, discounts, strict=True)}
    is_known = remote.currency == draft.order.amounts.currency  # else the line costs nobody knows how much
    items = []
    for line in lines:
        item = named.get(line.line) or _alike(nameless, line)
        if item is not None:
            amount = item.amount if is_known else None
            items.append(KnownItem(line.line, item.item_id, amount, item.tax, discount_of[item.item_id]))
            if item.quantity != line.ordered and len(remote.items) >= len(lines):
                draft.call_attention(
                    f"Digital River has {item.quantity} units of a line of which {line.ordered} were ordered"
                )
    if len(items) == len(lines):
        draft.order = replace(draft.order, items=tuple(items))
    else:
        draft.call_attention("the lines of the order at Digital River are not the lines of the cart")


def _alike(nameless: list[RemoteItem], line: Line) -> RemoteItem | None:
    """Take the first item without a line id that is like the line."""
    for item in nameless:
        if item.sku_id == line.sku_id and item.quantity == line.ordered:
            nameless.remove(item)
            return item
    return None


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
    _count_command(draft, command.command_id if command is not None else remote.command_id)
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
        capture = capture_of(draft.order, remote.fulfillment_id)
        parcel = Shipment(shipment_id, remote.fulfillment_id, capture)
        # Reports come in any order and must end in the same one.
        draft.put(shipments=tuple(sorted((*draft.order.shipments, parcel), key=lambda one: one.fulfillment_id)))
        draft.effects.append(IndexEntry(remote.fulfillment_id, "fulfillment", order.order_id))


def _count_command(draft: Draft, command_id: CommandId | None) -> None:
    """One command makes one fulfilment: a second one means that the command took effect twice."""
    if command_id is None:
        return
    mark = mark_of(command_id)
    if holds(draft.order.made, mark):
        draft.call_attention(FULFILLED_TWICE)
    else:
        draft.put(made=with_sorted(draft.order.made, mark))


def _is_counted(order: Order, fulfillment_id: FulfillmentId) -> bool:
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
    data = draft.data_as(Fact)
    assert data.document is not None  # that is why it is a fact.document
    about = data.document.dr_order_id or data.dr_order_id
    document = Document(data.document.file_id, data.document.purpose)
    if about is not None and about == draft.order.digital_river.order_id and document not in draft.order.documents:
        draft.put(
            documents=tuple(sorted((*draft.order.documents, document), key=lambda one: (one.file_id, one.purpose)))
        )
