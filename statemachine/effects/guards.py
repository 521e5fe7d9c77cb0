"""The guards that the life cycle's table names: conditions on a draft, which they do not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from statemachine.aftersale import refundable, returnable
from statemachine.drafts import fulfilling
from statemachine.drafts.commanding import command_as, is_unknown_sku_retryable
from statemachine.drafts.contents import fact_of, report_in, units_in
from statemachine.drafts.draft import Draft
from statemachine.effects import absorbing, disputes, operating
from statemachine.messages.commands import AttachSource
from statemachine.messages.events import (
    CancelRequested,
    Cart,
    LineQuantity,
    OrderPlaced,
    PaymentReturned,
    SourceProvided,
)
from statemachine.messages.facts import Fact
from statemachine.messages.identity import content_of, mark_of
from statemachine.order.order import Charge, Order, open_units


def _named_checkout(draft: Draft) -> str | None:
    """The checkout that the event names."""
    data = draft.event.data
    return data.checkout_id if isinstance(data, SourceProvided | OrderPlaced | PaymentReturned) else None


def is_for_replaced_checkout(draft: Draft) -> bool:
    """The event names a checkout that has been replaced since."""
    named = _named_checkout(draft)
    return named is not None and named in draft.order.former


def is_for_another_checkout(draft: Draft) -> bool:
    """The event names a checkout that is not the current one (nor, by the rule before, an earlier one)."""
    named = _named_checkout(draft)
    return named is not None and named != draft.order.digital_river.checkout_id


def is_for_current_checkout(draft: Draft) -> bool:
    """The event names the current checkout."""
    named = _named_checkout(draft)
    return named is not None and named == draft.order.digital_river.checkout_id


def is_placed_already(draft: Draft) -> bool:
    """``order.placed`` was applied to the current checkout before, and the event names no later one."""
    order = draft.order
    return order.placed and _named_checkout(draft) in (None, order.digital_river.checkout_id)


def acceptance_mark(event_mark: bytes) -> bytes:
    """The mark in ``Order.facts`` of an acceptance that was refused because the total changed."""
    return mark_of("acceptance", event_mark.hex())


def is_acceptance_of_another_total(draft: Draft) -> bool:
    """The same event was refused before, because the total changed after it was sent."""
    event = draft.event
    mark = acceptance_mark(mark_of(event.source, event.id))
    return content_of(draft.order.facts, mark) is not None


def is_source_in_flight(draft: Draft) -> bool:
    """A source of the current checkout is being attached."""
    return any(command.wanted and command.name == "attach_source" for command in draft.order.commands)


def is_refresh_in_flight(draft: Draft) -> bool:
    """The order is being refreshed at Digital River; a refresh that was given up does not count."""
    return any(command.name == "refresh_order" and command.step != "stuck" for command in draft.order.commands)


def is_source_displaced(draft: Draft) -> bool:
    """An earlier source of this checkout was attached after the latest one, and no open command corrects that."""
    closing, order = draft.closing, draft.order
    if closing is None or closing.name != "attach_source" or is_source_in_flight(draft):
        return False
    attached = command_as(AttachSource, closing)
    return attached.checkout_id == order.digital_river.checkout_id and order.source_id not in (
        None,
        attached.source_id,
    )


def is_other_currency(draft: Draft) -> bool:
    """The cart is in another currency than the order."""
    data = draft.event.data
    return isinstance(data, Cart) and data.currency != draft.order.amounts.currency


def was_parked(draft: Draft) -> bool:
    """The event was parked in the order."""
    return draft.was_parked


def is_never_placed(draft: Draft) -> bool:
    """The order ended before its placement was asked for."""
    return not draft.order.placed and draft.order.digital_river.order_id is None


def has_items(draft: Draft) -> bool:
    """The cancel names lines."""
    data = draft.event.data
    return isinstance(data, CancelRequested) and data.items is not None


def requested_units(draft: Draft) -> tuple[LineQuantity, ...]:
    """The units that the event ships or cancels; a cancel without lines means all open units.

    A parked cancel is applied after the shipments that were parked with it, and to the units that they have left open.
    """
    data = units_in(draft)
    if data.items is not None and not (isinstance(data, CancelRequested) and draft.was_parked):
        return data.items
    left = open_units(draft.order)
    most = left if data.items is None else {item.line: item.quantity for item in data.items}
    return tuple(
        LineQuantity(line=line, quantity=min(quantity, left.get(line, 0)))
        for line, quantity in most.items()
        if left.get(line, 0) > 0
    )


def has_unknown_line(draft: Draft) -> bool:
    """The event names a line that the order does not have."""
    known = open_units(draft.order)
    return any(item.line not in known for item in report_in(draft).items or ())


def is_above_open(draft: Draft) -> bool:
    """The event ships or cancels more than is open, or nothing is open at all."""
    left = open_units(draft.order)
    requested = requested_units(draft)
    return not requested or any(item.quantity > left.get(item.line, 0) for item in requested)


def is_known_fact(draft: Draft) -> bool:
    """The same shipment, cancellation, refund or return, with the same content, came under another event id before."""
    fact = fact_of(draft)
    return fact is not None and content_of(draft.order.facts, fact[0]) == fact[1]


def is_other_fact(draft: Draft) -> bool:
    """The same shipment, cancellation, refund or return id came before with other content."""
    fact = fact_of(draft)
    return fact is not None and content_of(draft.order.facts, fact[0]) not in (None, fact[1])


def is_wanted(draft: Draft) -> bool:
    """The answered command is the latest of its kind: no new cart, newer source or cancel has arrived meanwhile."""
    closing = draft.answered
    for command in reversed(draft.order.commands):
        if command.name == closing.name and command.wanted:
            return command.command_id == closing.command_id
    return False


def is_quote_valid(draft: Draft) -> bool:
    """The checkout that Digital River answered is in the order's currency."""
    outcome = draft.outcome
    return (
        outcome is not None
        and outcome.checkout is not None
        and outcome.checkout.currency == draft.order.amounts.currency
    )


def is_funded(draft: Draft) -> bool:
    """Nothing is left to fund: the session only waits for the order (``requires_confirmation``, Digital River's word)."""
    outcome = draft.outcome
    if outcome is None or outcome.checkout is None or outcome.checkout.session is None:
        return False
    session = outcome.checkout.session
    return session.state == "requires_confirmation" and session.remaining == 0


def is_free(draft: Draft) -> bool:
    """The quote is known and there is nothing to fund."""
    order = draft.order
    return order.digital_river.checkout_id is not None and order.amounts.total == 0


def is_payment_lost(draft: Draft) -> bool:
    """Digital River still reports a pending payment, but it cannot succeed any more: session or charge failed.

    An unpaid wire has no charges, and the order may still be ``pending_funds``: then only the event's type tells. A shopper who
    declined at the page comes back the same way as one who approved; the refresh then reports ``pending_redirect``, and
    the payment is lost (docs/digital-river.md, "Orders and fraud review").
    """
    remote, data = draft.remote, draft.event.data
    session = remote.session if remote is not None else None
    refreshed = draft.closing is not None and draft.closing.name == "refresh_order"
    lost = ("failed", "cancelled", "pending_redirect") if refreshed else ("failed", "cancelled")
    return (
        (isinstance(data, Fact) and data.type == absorbing.CHARGE_FAILED)
        or (session is not None and session.state in lost)
        or any(charge.state == "failed" for charge in draft.order.charges)
    )


def is_next_action_new(draft: Draft) -> bool:
    """The report says what the shopper must do, and the order does not know it yet."""
    session = draft.remote.session if draft.remote is not None else None
    return draft.order.next_action is None and session is not None and session.next_action is not None


def is_redirect(draft: Draft) -> bool:
    """The shopper pays on a page of a third party, unlike a push payment, which has instructions."""
    return draft.order.next_action == "redirect"


def is_nothing_left(draft: Draft) -> bool:
    """Digital River has confirmed shipping or cancelling of every unit."""
    return is_all_confirmed(draft.order)


def is_all_confirmed(order: Order) -> bool:
    """Whether Digital River has confirmed that every ordered unit was shipped or cancelled."""
    for line in order.lines:  # noqa: SIM110 - asked several times in a decision; a generator costs twice as much
        if line.shipped + line.cancelled < line.ordered:
            return False
    return True


def is_something_shipped(draft: Draft) -> bool:
    """Digital River has confirmed at least one unit as shipped."""
    return any(line.shipped for line in draft.order.lines)


def is_void_confirmed(draft: Draft) -> bool:
    """The authorisation is released: the charges are cancelled, or their voids add up to them."""
    order = draft.order
    return bool(order.charges) and all(
        charge.state == "cancelled"
        or sum(void.amount for void in charge.cancels if void.state == "complete") >= charge.amount
        for charge in order.charges
    )


def is_money_settled(draft: Draft) -> bool:
    """Every capture is complete and nothing is pending, by Digital River's state or by the money itself."""
    order = draft.order
    if order.remote_state in ("complete", "returned"):
        return True
    if not order.charges or any(shipment.capture != "complete" for shipment in order.shipments):
        return False
    return all(_is_charge_settled(charge, order) for charge in order.charges)


def _is_charge_settled(charge: Charge, order: Order) -> bool:
    if charge.state == "complete":
        return True
    operations = (*charge.captures, *charge.cancels)
    if any(operation.state != "complete" for operation in operations):
        return False
    # Digital River's own shares may drift by a minor unit per line.
    return sum(operation.amount for operation in operations) + len(order.lines) >= charge.amount


def is_returned_whole(draft: Draft) -> bool:
    """Digital River's order is ``returned``: only its state says so, never an event's name.

    See docs/digital-river.md, "Webhooks and event types".
    """
    return draft.order.remote_state == "returned"


def is_order_id_awaited(draft: Draft) -> bool:
    """A report about an order at Digital River while the placement is not answered: it may be this order's.

    The webhook lane has found that Digital River's order carries our order id; an earlier one is known by its id.
    """
    fact, order = draft.event.data, draft.order
    if not isinstance(fact, Fact) or order.digital_river.order_id is not None:
        return False
    about = fact.charge or fact.fulfillment or fact.document or fact.refund or fact.returned
    dr_order_id = (about.dr_order_id if about is not None else None) or fact.dr_order_id
    return dr_order_id is not None and dr_order_id not in order.former


def is_void_report(draft: Draft) -> bool:
    """The fulfilment only cancels: in a cancelled order that changes nothing."""
    remote = draft.remote_fulfillment()
    return remote is not None and not any(item.quantity for item in remote.items)


GUARDS: Final[dict[str, Callable[[Draft], bool]]] = {
    "has_items": has_items,
    "has_nothing_to_refund": refundable.has_nothing_to_refund,
    "has_unknown_line": has_unknown_line,
    "is_acceptance_of_another_total": is_acceptance_of_another_total,
    "is_above_asked": returnable.is_above_asked,
    "is_above_refundable": refundable.is_above_refundable,
    "is_above_open": is_above_open,
    "is_above_returnable": returnable.is_above_returnable,
    "is_above_shipped": returnable.is_above_shipped,
    "is_for_another_checkout": is_for_another_checkout,
    "is_for_current_checkout": is_for_current_checkout,
    "is_for_replaced_checkout": is_for_replaced_checkout,
    "is_free": is_free,
    "is_funded": is_funded,
    "is_known_cancellation": is_known_fact,
    "is_known_receipt": is_known_fact,
    "is_known_refund": is_known_fact,
    "is_known_return": is_known_fact,
    "is_known_shipment": is_known_fact,
    "is_money_settled": is_money_settled,
    "is_money_to_come": returnable.is_money_to_come,
    "is_next_action_new": is_next_action_new,
    "is_amount_invalid": refundable.is_amount_invalid,
    "is_never_captured": refundable.is_never_captured,
    "is_nothing_captured": refundable.is_nothing_captured,
    "is_nothing_left": is_nothing_left,
    "is_other_cancellation": is_other_fact,
    "is_other_currency": is_other_currency,
    "is_other_receipt": is_other_fact,
    "is_other_refund": is_other_fact,
    "is_other_return": is_other_fact,
    "is_other_shipment": is_other_fact,
    "is_payment_lost": is_payment_lost,
    "is_order_id_awaited": is_order_id_awaited,
    "is_placed_already": is_placed_already,
    "is_quote_valid": is_quote_valid,
    "is_redirect": is_redirect,
    "is_refund_of_lines": refundable.is_refund_of_lines,
    "is_refused_before_a_dispute_ended": fulfilling.is_refused_before_a_dispute_ended,
    "is_refresh_in_flight": is_refresh_in_flight,
    "is_return_over": returnable.is_return_over,
    "is_return_unknown": returnable.is_return_unknown,
    "is_return_withdrawn": returnable.is_return_withdrawn,
    "is_returned_whole": is_returned_whole,
    "is_something_shipped": is_something_shipped,
    "is_source_displaced": is_source_displaced,
    "is_source_in_flight": is_source_in_flight,
    "is_unknown_sku_retryable": is_unknown_sku_retryable,
    "is_void_confirmed": is_void_confirmed,
    "is_never_placed": is_never_placed,
    "is_void_report": is_void_report,
    "is_wanted": is_wanted,
    "is_withdrawal": returnable.is_withdrawal,
    "is_withdrawn_too_early": returnable.is_withdrawn_too_early,
    "is_withdrawn_too_late": returnable.is_withdrawn_too_late,
    "is_never_heard_of": operating.is_never_heard_of,
    "is_held": operating.is_held,
    "is_not_held": operating.is_not_held,
    "is_drop_of_another_event": operating.is_drop_of_another_event,
    "is_nothing_to_acknowledge": operating.is_nothing_to_acknowledge,
    "is_there_already": operating.is_there_already,
    "is_to_abandoned": operating.is_to_abandoned,
    "is_to_checkout_rejected": operating.is_to_checkout_rejected,
    "is_to_cancelled": operating.is_to_cancelled,
    "is_to_submitted": operating.is_to_submitted,
    "is_to_fulfilled": operating.is_to_fulfilled,
    "is_to_complete": operating.is_to_complete,
    "is_to_returned": operating.is_to_returned,
    "is_placement_given_up": operating.is_placement_given_up,
    "is_no_money_there": operating.is_no_money_there,
    "is_no_money_moving": operating.is_no_money_moving,
    "is_every_unit_returned": operating.is_every_unit_returned,
    "was_complete": operating.was_complete,
    "is_command_not_given_up": operating.is_command_not_given_up,
    "is_wanted_checkout": operating.is_wanted_checkout,
    "is_placement": operating.is_placement,
    "is_fulfillment": operating.is_fulfillment,
    "is_refund": operating.is_refund,
    "is_return": operating.is_return,
    "is_acceptance": operating.is_acceptance,
    "is_reread_in_flight": operating.is_reread_in_flight,
    "was_fulfilled": disputes.was_fulfilled,
    "was_parked": was_parked,
    "was_returned": disputes.was_returned,
    "was_submitted": disputes.was_submitted,
}
