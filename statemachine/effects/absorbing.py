"""Merges facts of Digital River into an order: the same facts give the same order, in whatever order and how often they arrive.

The answer to a command, a webhook and a later read all go through the same functions. States and operations have ranks, so that
an older fact never reverts a newer one. Facts about an earlier checkout or order at Digital River are ignored. The flag
``refunded`` is never used: it is also set by a refund that is pending or has failed. Charges are merged in ``charges.py``.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from statemachine.aftersale.paid_back import compare_refunded
from statemachine.aftersale.returns import count_returned
from statemachine.drafts.commanding import close_command
from statemachine.drafts.draft import Draft
from statemachine.effects.charges import (
    EARLIER_ORDER,
    absorb_charges,
    absorb_operations,
    capture_of,
    captured_of,
    has_captured,
)
from statemachine.effects.disputes import follow_dispute
from statemachine.messages.facts import Fact, RemoteDocument, RemoteFulfillment, RemoteItem, RemoteOrder
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
    """Merge an order of Digital River from any source, and set the trigger of its state."""
    remote = draft.remote_order()
    if remote is None:
        draft.call_attention("Digital River confirmed a command, but its answer has no order")
        return
    if not _is_current(draft, remote):
        _note_earlier(draft, remote)
        return
    order = draft.order
    if not order.placed:
        draft.call_attention("Digital River has an order for a checkout that was not placed here")
        return
    draft.remote = remote
    _absorb_contents(draft, remote)
    if isinstance(draft.event.data, Fact):
        _apply_event_type(draft, draft.event.data.type, remote)
    if follow_dispute(draft, remote):
        return
    if remote.state not in REMOTE_RANKS:
        draft.follow = "remote.other"
    elif _is_newest(draft, remote):
        if remote.state != order.remote_state:
            draft.order = replace(draft.order, remote_state=remote.state)
            absorb_operations(draft)  # when the order is complete, failed captures were repeated
        draft.follow = f"remote.{remote.state}"
    elif order.payment_failed and REMOTE_RANKS[remote.state] >= REMOTE_RANKS["accepted"]:
        draft.follow = f"remote.{remote.state}"  # not an older fact: an unpaid order is never accepted


def _absorb_contents(draft: Draft, remote: RemoteOrder) -> None:
    order = draft.order
    _absorb_ids(draft, remote)
    if remote.currency == order.amounts.currency:
        absorb_charges(draft, remote.charges)
        if remote.refunded or order.remote_refunded:
            compare_refunded(draft, remote.refunded)
    if remote.documents:
        _add_documents(draft, remote.documents)


def _is_newest(draft: Draft, remote: RemoteOrder) -> bool:
    """Whether no later state is known. Only a review may be followed by a state of a lower rank, once it is over."""
    known = draft.order.remote_state or ""
    if draft.order.reviewed and {known, remote.state} == {"in_review", "pending_payment"}:
        return remote.state == "pending_payment"
    return REMOTE_RANKS[remote.state] >= REMOTE_RANKS.get(known, 0)


def _apply_event_type(draft: Draft, kind: str, remote: RemoteOrder) -> None:
    """What only the type of a report tells, because the object in it is an order like any other.

    See docs/digital-river.md, "Webhooks and event types".
    """
    if kind == REAUTH_FAILED:
        draft.put(reauth_failed=True)
        draft.call_attention(NOT_RENEWED)
    elif kind == REVIEW_CLOSED and remote.state == "pending_payment" and draft.state in PAYING:
        draft.put(reviewed=True)


def _note_earlier(draft: Draft, remote: RemoteOrder) -> None:
    """An earlier order, or one for an earlier checkout, never moves this one; when it holds money, call a person."""
    former = draft.order.former
    if remote.dr_order_id in former or remote.checkout_id in former:
        if remote.state in _HOLDS_MONEY or has_captured(remote.charges):
            draft.call_attention(EARLIER_ORDER)
    elif remote.checkout_id is not None and remote.checkout_id == draft.order.digital_river.checkout_id:
        draft.call_attention(ORDERED_TWICE)


def _is_current(draft: Draft, remote: RemoteOrder) -> bool:
    """Whether it is the order of the current checkout; ``upstreamId`` alone does not show that, since older orders share it."""
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
    # A webhook before the answer proves that the order was placed: there is nothing to inquire about.
    for command in draft.order.commands:
        if command.name == "place_order":
            close_command(draft, command)
    if not order.items and remote.items:
        _absorb_items(draft, remote)


def _disagreement(order: Order, remote: RemoteOrder) -> str:
    """How the order differs from the quote, with both figures."""
    if remote.currency != order.amounts.currency:
        return "the order at Digital River is in another currency than the quote"
    authorised, quoted = format_money(remote.total, remote.currency), format_money(order.amounts.total, remote.currency)
    return f"the order at Digital River costs {authorised}, the quote was {quoted}"


def _absorb_items(draft: Draft, remote: RemoteOrder) -> None:
    """Digital River's item of each of our lines: by the line id in its metadata, else by SKU and quantity."""
    lines = draft.order.lines
    named = {item.line: item for item in reversed(remote.items)}  # the first of several with the same line id
    nameless = [item for item in remote.items if item.line is None]
    discounts = apportion(remote.discount, [item.amount or 0 for item in remote.items])
    discount_of = {item.item_id: discount for item, discount in zip(remote.items, discounts, strict=True)}
    is_known = remote.currency == draft.order.amounts.currency  # else the price of the line is not known
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
    """Take the first item without a line id that has the SKU and quantity of the line."""
    for item in nameless:
        if item.sku_id == line.sku_id and item.quantity == line.ordered:
            nameless.remove(item)
            return item
    return None


def absorb_fulfillment(draft: Draft) -> None:
    """Merge a fulfilment: units shipped or cancelled, as Digital River reports. Each fulfilment counts once, by its id."""
    remote = draft.remote_fulfillment()
    order = draft.order
    if remote is None or remote.dr_order_id != order.digital_river.order_id:
        if draft.closing is not None:
            draft.call_attention("Digital River confirmed a fulfilment, but its answer has none")
        return
    if _is_counted(order, remote.fulfillment_id):
        return
    command = draft.closing
    if command is None:
        command = next((one for one in order.commands if one.command_id == remote.command_id), None)
        if command is not None:
            # The webhook arrived before the answer.
            close_command(draft, command)
        elif remote.command_id is None:
            draft.call_attention("a fulfilment at Digital River that orderflow did not request")
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
        captured = captured_of(draft.order, remote.fulfillment_id)
        parcel = Shipment(shipment_id, remote.fulfillment_id, capture, captured)
        # The same bytes in whatever order the reports arrive.
        draft.put(shipments=tuple(sorted((*draft.order.shipments, parcel), key=lambda one: one.fulfillment_id)))
        draft.effects.append(IndexEntry(remote.fulfillment_id, "fulfillment", order.order_id))


def _count_command(draft: Draft, command_id: CommandId | None) -> None:
    """Remember that the command made its fulfilment: a second one means that it took effect twice."""
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
    """Add an invoice or a credit memo."""
    data = draft.data_as(Fact)
    assert data.document is not None  # that is why it is a fact.document
    about = data.document.dr_order_id or data.dr_order_id
    if about is not None and about == draft.order.digital_river.order_id:
        _add_documents(draft, (data.document,))


def _add_documents(draft: Draft, reported: tuple[RemoteDocument, ...]) -> None:
    known = draft.order.documents
    found = {*known, *(Document(one.file_id, one.purpose) for one in reported)}
    if len(found) > len(known):
        draft.put(documents=tuple(sorted(found, key=lambda one: (one.file_id, one.purpose))))
