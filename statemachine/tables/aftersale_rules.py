"""The rules of the life cycle for refunds and returns that services ask for. See ``life_cycle.py``."""

from __future__ import annotations

from typing import Final

from statemachine.order.order import State
from statemachine.order.states import FINAL, GOING, PAYING, SHIPPED, SHOPPING
from statemachine.tables.rules import move, others, park, refuse, same

UNKNOWN_LINE: Final = "the event names a line that the order does not have"
BEFORE_SUBMITTED: Final[tuple[State, ...]] = ("awaited", *SHOPPING, *PAYING)
#: States of an order of which nothing is delivered, and for which money may still have been captured: a payment that came late.
_NOTHING_SHIPPED: Final[tuple[State, ...]] = ("declined", "abandoned", "cancelled", "blocked")
_CAPTURED: Final[tuple[State, ...]] = (*GOING, *_NOTHING_SHIPPED)
_REFUNDED_LATER = tuple(state for state in BEFORE_SUBMITTED if state != "declined")

REFUND_RULES: Final = (
    park("order.refund_requested", _REFUNDED_LATER),
    same("order.refund_requested", others(*_REFUNDED_LATER), when="is_known_refund"),
    refuse(
        "order.refund_requested",
        others(*_REFUNDED_LATER),
        "this refund_id was already used with other content",
        code="refund.id_reused",
        when="is_other_refund",
    ),
    park("order.refund_requested", ("declined",), when="is_never_captured"),
    refuse(
        "order.refund_requested",
        ("abandoned", "cancelled", "blocked"),
        "the order has ended; nothing was captured",
        code="refund.nothing_captured",
        when="is_never_captured",
    ),
    refuse(
        "order.refund_requested",
        _NOTHING_SHIPPED,
        "no line was shipped; refund by amount, or all that was captured",
        code="refund.nothing_shipped",
        when="is_refund_of_lines",
    ),
    refuse("order.refund_requested", _CAPTURED, UNKNOWN_LINE, code="refund.unknown_line", when="has_unknown_line"),
    refuse(
        "order.refund_requested",
        _CAPTURED,
        "an amount must be above 0 and have exactly the decimals of the order's currency",
        code="refund.amount_unsound",
        when="is_amount_invalid",
    ),
    park("order.refund_requested", GOING, when="is_nothing_captured"),
    refuse(
        "order.refund_requested",
        _CAPTURED,
        "nothing of the line is left to refund",
        code="refund.nothing_left",
        when="has_nothing_to_refund",
    ),
    refuse(
        "order.refund_requested",
        _CAPTURED,
        "the request exceeds what is left to refund",
        code="refund.above_left",
        when="is_above_refundable",
    ),
    move("order.refund_requested", _CAPTURED, None, do="ask_refund remember_fact"),
    park("order.refund_requested", ("disputed",)),
)

RETURN_RULES: Final = (
    park("order.return_requested", BEFORE_SUBMITTED),
    same("order.return_requested", others(*BEFORE_SUBMITTED), when="is_known_return"),
    refuse(
        "order.return_requested",
        others(*BEFORE_SUBMITTED),
        "this return_id was already used with other content",
        code="return.id_reused",
        when="is_other_return",
    ),
    # no items: it is withdrawn. Digital River knows no such thing, so nothing is asked of it
    park("order.return_requested", GOING, when="is_withdrawn_too_early"),
    refuse(
        "order.return_requested",
        GOING,
        "all units of the return were received and Digital River refunds them; it can no longer be withdrawn",
        code="return.withdrawn_too_late",
        when="is_withdrawn_too_late",
    ),
    move("order.return_requested", GOING, None, when="is_withdrawal", do="withdraw_return"),
    refuse("order.return_requested", GOING, UNKNOWN_LINE, code="return.unknown_line", when="has_unknown_line"),
    refuse(
        "order.return_requested",
        GOING,
        "more units than were ordered, less those already being returned or refunded",
        code="return.above_ordered",
        when="is_above_returnable",
    ),
    park("order.return_requested", ("submitted",), when="is_above_shipped"),
    refuse(
        "order.return_requested",
        SHIPPED,
        "more units than were shipped, less those already being returned or refunded",
        code="return.above_shipped",
        when="is_above_shipped",
    ),
    move("order.return_requested", GOING, None, do="ask_return remember_fact"),
    park("order.return_requested", ("disputed",)),
    refuse("order.return_requested", FINAL, "the order has ended; nothing was shipped", code="return.order_ended"),
    park("fulfillment.return_received", BEFORE_SUBMITTED),
    same("fulfillment.return_received", GOING, when="is_known_receipt"),
    refuse(
        "fulfillment.return_received",
        GOING,
        "this receipt_id was already used with other content",
        code="receipt.id_reused",
        when="is_other_receipt",
    ),
    same("fulfillment.return_received", GOING, when="is_return_over"),
    refuse(
        "fulfillment.return_received",
        GOING,
        "the return was withdrawn, but units of it arrived",
        code="receipt.return_withdrawn",
        when="is_return_withdrawn",
        attention=True,
    ),
    park("fulfillment.return_received", GOING, when="is_return_unknown"),
    # Digital River pays back what was captured by the time that it accepts the return, and nothing later
    park("fulfillment.return_received", ("submitted", "fulfilled"), when="is_money_to_come"),
    refuse(
        "fulfillment.return_received",
        GOING,
        "the receipt names a line that the return does not have, or more units than are outstanding",
        code="receipt.above_outstanding",
        when="is_above_asked",
    ),
    move("fulfillment.return_received", GOING, None, do="take_receipt remember_fact"),
    park("fulfillment.return_received", ("disputed",)),
    refuse(
        "fulfillment.return_received", FINAL, "the order has ended; nothing was shipped", code="receipt.order_ended"
    ),
)
