"""Reconciliation: where an order and Digital River's order disagree about money or units, attention names both figures; what
Digital River has and nobody here asked for is named by its id.

It is derived from the order after every decision, so that the same facts give the same reasons in any order, and a reason
disappears with its cause. One minor unit for each line may be lost by rounding (docs/digital-river.md, "Money and rounding").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from statemachine.aftersale.repaid import refunds_not_requested, returns_not_requested
from statemachine.drafts.draft import Draft
from statemachine.drafts.fulfilling import FULFILLMENT_REFUSED, is_refusal_settled
from statemachine.effects.absorbing import NOT_RENEWED
from statemachine.effects.charges import failed_captures, is_authorisation_gone
from statemachine.messages.money import format_money
from statemachine.order.order import Order
from statemachine.order.states import GOING
from statemachine.tables.rules import CLOSED_THERE, IMPLIED

#: The order is closed, as far as its money goes.
CLOSED_HERE: Final = ("complete", "returned")
#: The order has ended and nothing will be delivered.
_NOTHING_SOLD: Final = ("declined", "checkout_rejected", "abandoned", "cancelled", "blocked")

LESS_AUTHORISED: Final = "less is authorised than the order costs: "
MORE_TAKEN: Final = "more was captured and given back than was authorised: "
LESS_CAPTURED: Final = "the order is closed with less captured than it costs: "
NOT_HELD: Final = "units are open whose authorisation has ended, captured is "
MONEY_KEPT: Final = "the order has ended, and captured is more than was paid back: "
UNITS_OPEN: Final = "Digital River closed its order with units open here: "
CONTRADICTION: Final = "Digital River says that its order is "
REFUND_NOT_REQUESTED: Final = "refunds at Digital River that orderflow did not request: "
RETURN_NOT_REQUESTED: Final = "returns at Digital River that orderflow did not request: "
#: Ids that one reason names.
_NAMED_MAX: Final = 5


def reconcile(draft: Draft) -> None:
    """Bring the reasons for attention that follow from money and units up to date."""
    order, state = draft.order, draft.state
    if order.charges:
        _compare_money(draft)
    if state == "submitted" and order.remote_state in CLOSED_THERE:
        draft.settle_attention(UNITS_OPEN, _units_open(order))
    if order.refunds or order.returns or order.attention or order.acknowledged:
        draft.settle_attention(REFUND_NOT_REQUESTED, _named(refunds_not_requested(draft.order)))
        draft.settle_attention(RETURN_NOT_REQUESTED, _named(returns_not_requested(draft.order)))
    if order.attention or order.acknowledged:
        _forget_settled(draft)


def _named(ids: Sequence[str]) -> str | None:
    """The ids in a line, as many as a person reads; None when there are none."""
    if not ids:
        return None
    more = f" and {len(ids) - _NAMED_MAX} more" if len(ids) > _NAMED_MAX else ""
    return ", ".join(ids[:_NAMED_MAX]) + more


def _compare_money(draft: Draft) -> None:
    order, amounts, slack = draft.order, draft.order.amounts, len(draft.order.lines)
    authorised, open_there = 0, False
    for charge in order.charges:
        if charge.state != "failed":
            authorised += charge.amount
        open_there = open_there or charge.state != "complete"
    captured, given_back = amounts.captured, amounts.cancelled
    less = authorised + slack < amounts.total and draft.state in GOING
    more = captured + given_back > authorised
    short = not open_there and captured + given_back + slack < amounts.total and draft.state in CLOSED_HERE
    ended = not less and draft.state == "submitted" and is_authorisation_gone(order)
    paid_back = amounts.refunded + amounts.charged_back
    kept = captured > paid_back and draft.state in _NOTHING_SOLD
    if not (less or more or short or ended or kept or order.attention or order.acknowledged):
        return  # formatting the figures costs more than all of the above
    done = "{} captured and {} given back of {}"
    figures = _figures("{} of {}", order, authorised, amounts.total) if less else None
    draft.settle_attention(LESS_AUTHORISED, figures)
    figures = _figures(done, order, captured, given_back, authorised) if more else None
    draft.settle_attention(MORE_TAKEN, figures)
    figures = _figures(done, order, captured, given_back, amounts.total) if short else None
    draft.settle_attention(LESS_CAPTURED, figures)
    figures = _figures("{} of {}", order, captured, amounts.total) if ended else None
    draft.settle_attention(NOT_HELD, figures)
    figures = _figures("{} of {}", order, paid_back, captured) if kept else None
    draft.settle_attention(MONEY_KEPT, figures)


def _figures(text: str, order: Order, *amounts: int) -> str:
    return text.format(*(format_money(amount, order.amounts.currency) for amount in amounts))


def _units_open(order: Order) -> str | None:
    """Units that are neither confirmed nor in flight, of all that were ordered."""
    if any(command.units for command in order.commands):
        return None  # its answer will show
    left = sum(line.ordered - line.shipped - line.cancelled for line in order.lines)
    return f"{left} of {sum(line.ordered for line in order.lines)}" if left else None


def _forget_settled(draft: Draft) -> None:
    """Drop the reasons whose cause is gone."""
    order, state = draft.order, draft.state
    if state != "submitted":
        draft.clear_attention(UNITS_OPEN)
    if draft.remote is not None and draft.remote.state == order.remote_state == IMPLIED.get(state):
        draft.clear_attention(CONTRADICTION)
    if is_refusal_settled(order):
        draft.clear_attention(FULFILLMENT_REFUSED)
    if state in ("complete", "returned", "cancelled") and not failed_captures(order):
        draft.clear_attention(NOT_RENEWED)
