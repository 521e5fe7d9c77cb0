"""The life cycle of an order as one table of rules: which state accepts which event, under which conditions, and what follows.

The table is the only description of the life cycle. ``machine.py`` drives it, ``checker.py`` proves it complete, ``diagram.py``
draws it, tests and documents are made from it. A cell is all rules of one trigger for one state; they are tried in the order of
this file and the first whose guards hold decides. The last rule of a cell has no guard, so every cell has an answer.

Triggers: the types of the public events, and of what operators do (``operator_rules.py``); ``digitalriver.<outcome>`` for the
answer to one of our commands; ``command.*`` for a command without an answer; ``look.*`` for the answer to a look
(``looking.py``); ``fact.<kind>`` for what Digital River reports by itself; ``remote.<state>`` and ``dispute.ended``, fired after
an order of Digital River has been absorbed; ``deadline.<name>``; ``settle``, fired last after everything, which moves what the
facts together imply; and ``quote.published``, fired after the change that published an open checkout's quote. The rules of what
Digital River says are in ``provider_rules.py``, those of refunds and returns in ``aftersale_rules.py``. Guards are named as in
``guards.py``, effects as in ``effects.py``. Never put code here.
"""

from __future__ import annotations

from typing import Final

from statemachine.order.order import State
from statemachine.order.states import ALL, BEFORE_PLACING, FINAL, PAYING, PLACED, RESTING, SHIPPED, SHOPPING
from statemachine.tables.aftersale_rules import BEFORE_SUBMITTED, REFUND_RULES, RETURN_RULES, UNKNOWN_LINE
from statemachine.tables.operator_rules import OPERATOR_RULES
from statemachine.tables.provider_rules import FACT_RULES, OUTCOME_RULES, REMOTE_RULES
from statemachine.tables.rules import Rule, move, others, park, refuse, same

_REPLACED = "the event is about a checkout that has been replaced"
PRICE_CHANGED: Final = (
    "the total changed after this event was sent: show the new quote and send order.placed with a new event id"
)
#: The code of the refusal ``PRICE_CHANGED``.
TOTAL_CHANGED: Final = "placement.total_changed"
_PLACED_ALREADY = "an order was already placed for this checkout"

CHECKOUT_RULES: Final = (
    move("checkout.requested", ("awaited",), "checkout_pending", do="take_cart ask_create_checkout"),
    refuse(
        "checkout.requested",
        others("awaited"),
        "the order was already requested; send checkout.updated to change its cart",
        code="checkout.requested_already",
    ),
    park("checkout.updated", ("awaited",)),
    refuse(
        "checkout.updated",
        SHOPPING,
        "the currency of an order cannot change",
        code="checkout.currency_changed",
        when="is_other_currency",
    ),
    move("checkout.updated", SHOPPING, "checkout_pending", do="release_checkout take_cart ask_create_checkout"),
    refuse(
        "checkout.updated",
        (*PLACED, *FINAL),
        "the order was placed or has ended; its cart cannot change",
        code="checkout.cart_closed",
    ),
    park("checkout.source_provided", ("awaited",)),
    # a cancel may overtake, on its own topic, the steps that it ends
    same("checkout.source_provided", ("cancelled",), when="is_never_placed"),
    refuse(
        "checkout.source_provided",
        others("awaited"),
        _REPLACED,
        code="source.checkout_replaced",
        when="is_for_replaced_checkout",
    ),
    park("checkout.source_provided", ("checkout_open", "checkout_ready"), when="is_for_another_checkout"),
    move("checkout.source_provided", ("checkout_open", "checkout_ready"), None, do="ask_attach_source"),
    park("checkout.source_provided", ("checkout_pending",)),
    refuse(
        "checkout.source_provided",
        ("checkout_rejected", "declined"),
        "this checkout takes no other source; send checkout.updated for a new one",
        code="source.checkout_closed",
        when="is_for_current_checkout",
    ),
    park("checkout.source_provided", ("checkout_rejected", "declined")),
    refuse(
        "checkout.source_provided",
        (*PLACED, *FINAL),
        "the order was placed or has ended; it takes no other source",
        code="source.order_closed",
    ),
    park("checkout.abandoned", ("awaited",)),
    move("checkout.abandoned", BEFORE_PLACING, "abandoned", do="release_checkout"),
    same("checkout.abandoned", ("abandoned",)),
    refuse(
        "checkout.abandoned",
        ("declined", *PLACED, "cancelled", "blocked"),
        "the order was placed or has ended; it cannot be abandoned",
        code="abandonment.order_closed",
    ),
)

ORDER_RULES: Final = (
    park("order.placed", ("awaited",)),
    same("order.placed", ("cancelled",), when="is_never_placed"),
    refuse(
        "order.placed",
        others("awaited"),
        _REPLACED,
        code="placement.checkout_replaced",
        when="is_for_replaced_checkout",
    ),
    refuse("order.placed", SHOPPING, _PLACED_ALREADY, code="placement.repeated", when="is_placed_already"),
    refuse(
        "order.placed",
        BEFORE_PLACING,
        PRICE_CHANGED,
        code=TOTAL_CHANGED,
        when="is_acceptance_of_another_total",
    ),
    park("order.placed", ("checkout_ready",), when="is_for_another_checkout"),
    park("order.placed", ("checkout_ready",), when="is_source_in_flight"),
    move("order.placed", ("checkout_ready",), "placing", do="ask_place_order"),
    park("order.placed", ("checkout_pending", "checkout_open", "checkout_rejected", "declined")),
    refuse("order.placed", PLACED, _PLACED_ALREADY, code="placement.repeated"),
    refuse("order.placed", FINAL, "the order has ended", code="placement.order_ended"),
    park("order.payment_returned", ("awaited",)),
    # about a payment that is over, or never began: the shopper's browser may load the page again at any time
    same("order.payment_returned", others("awaited"), when="is_for_another_checkout"),
    park("order.payment_returned", ("placing",)),
    same("order.payment_returned", ("pending_payment",), when="is_refresh_in_flight"),
    move("order.payment_returned", ("pending_payment",), None, do="ask_refresh_order"),
    refuse(
        "order.payment_returned",
        ("abandoned",),
        "the order has ended; nothing was placed",
        code="payment_return.nothing_placed",
    ),
    same("order.payment_returned", others("awaited", "placing", "pending_payment", "abandoned")),
    park("order.cancel_requested", ("awaited",)),
    same("order.cancel_requested", others("awaited"), when="is_known_cancellation"),
    refuse(
        "order.cancel_requested",
        others("awaited"),
        "this cancellation_id was already used with other content",
        code="cancellation.id_reused",
        when="is_other_cancellation",
    ),
    refuse(
        "order.cancel_requested",
        SHOPPING,
        "no order is placed yet; send checkout.updated to change the cart",
        code="cancellation.items_before_placement",
        when="has_items",
    ),
    move("order.cancel_requested", SHOPPING, "cancelled", do="release_checkout remember_fact"),
    park("order.cancel_requested", PAYING),
    refuse(
        "order.cancel_requested",
        ("submitted",),
        UNKNOWN_LINE,
        code="cancellation.unknown_line",
        when="has_unknown_line",
    ),
    refuse(
        "order.cancel_requested",
        ("submitted",),
        "no unit is open any more, or more units were to be cancelled than are open",
        code="cancellation.above_open",
        when="is_above_open",
    ),
    move("order.cancel_requested", ("submitted",), None, do="ask_cancel"),
    park("order.cancel_requested", ("disputed",)),
    # what it asked for has happened while it was parked
    same("order.cancel_requested", ("cancelled",), when="was_parked"),
    refuse("order.cancel_requested", (*SHIPPED, *FINAL), "no unit is open any more", code="cancellation.nothing_open"),
)

FULFILLMENT_RULES: Final = (
    park("fulfillment.shipped", BEFORE_SUBMITTED),
    same("fulfillment.shipped", others(*BEFORE_SUBMITTED), when="is_known_shipment"),
    refuse(
        "fulfillment.shipped",
        others(*BEFORE_SUBMITTED),
        "this shipment_id was already used with other content",
        code="shipment.id_reused",
        when="is_other_shipment",
        attention=True,
    ),
    refuse(
        "fulfillment.shipped",
        ("submitted",),
        UNKNOWN_LINE,
        code="shipment.unknown_line",
        when="has_unknown_line",
        attention=True,
    ),
    refuse(
        "fulfillment.shipped",
        ("submitted",),
        "more units were shipped than are open",
        code="shipment.above_open",
        when="is_above_open",
        attention=True,
    ),
    move("fulfillment.shipped", ("submitted",), None, do="ask_ship"),
    park("fulfillment.shipped", ("disputed",)),
    refuse(
        "fulfillment.shipped",
        (*SHIPPED, *FINAL),
        "no unit is open any more",
        code="shipment.nothing_open",
        attention=True,
    ),
    park("fulfillment.cancelled", BEFORE_SUBMITTED),
    same("fulfillment.cancelled", others(*BEFORE_SUBMITTED), when="is_known_cancellation"),
    refuse(
        "fulfillment.cancelled",
        others(*BEFORE_SUBMITTED),
        "this cancellation_id was already used with other content",
        code="undeliverable.id_reused",
        when="is_other_cancellation",
    ),
    refuse(
        "fulfillment.cancelled",
        ("submitted",),
        UNKNOWN_LINE,
        code="undeliverable.unknown_line",
        when="has_unknown_line",
    ),
    refuse(
        "fulfillment.cancelled",
        ("submitted",),
        "more units were cancelled than are open",
        code="undeliverable.above_open",
        when="is_above_open",
    ),
    move("fulfillment.cancelled", ("submitted",), None, do="ask_cancel"),
    park("fulfillment.cancelled", ("disputed",)),
    same("fulfillment.cancelled", ("cancelled",), when="was_parked"),
    refuse("fulfillment.cancelled", (*SHIPPED, *FINAL), "no unit is open any more", code="undeliverable.nothing_open"),
)

DEADLINE_RULES: Final = (
    move(
        "deadline.abandon",
        ("checkout_open", "checkout_ready", "checkout_rejected", "declined"),
        "abandoned",
        do="release_checkout",
    ),
    same("deadline.abandon", others("checkout_open", "checkout_ready", "checkout_rejected", "declined")),
    move(
        "deadline.overdue",
        ("in_review", "pending_payment", "submitted", "fulfilled", "disputed"),
        None,
        do="note_overdue",
    ),
    same("deadline.overdue", others("in_review", "pending_payment", "submitted", "fulfilled", "disputed")),
    move("deadline.inquire", ALL, None, do="inquire_due"),
    move("deadline.ask_again", ALL, None, do="ask_again_due"),
    move("deadline.expire", ("awaited",), None, do="expire_parked"),
    move("deadline.expire", RESTING, None, do="refuse_parked"),
    same("deadline.expire", others("awaited", *RESTING)),
    move("deadline.reconcile", ALL, None, do="ask_look"),
    move("deadline.refund", ALL, None, do="fire_refunds_due"),
    move("deadline.return", ALL, None, do="fire_returns_due"),
)

#: Fired by ``decide`` after the change that published a quote; a move makes a change of its own.
QUOTE_RULES: Final = (
    move("quote.published", ("checkout_open",), "checkout_ready", when="is_free"),
    same("quote.published", ALL),
)

SETTLE_RULES: Final = (
    move("settle", ("submitted",), None, when="is_refused_before_a_dispute_ended", do="ask_refused_again"),
    move("settle", ("submitted",), "fulfilled", when="is_nothing_left is_something_shipped"),
    move("settle", ("submitted",), "cancelled", when="is_nothing_left is_void_confirmed"),
    move("settle", ("fulfilled",), "complete", when="is_money_settled"),
    move("settle", ("complete",), "returned", when="is_returned_whole"),
    same("settle", ALL),
)

RULES: Final[tuple[Rule[State], ...]] = (
    *CHECKOUT_RULES,
    *ORDER_RULES,
    *FULFILLMENT_RULES,
    *REFUND_RULES,
    *RETURN_RULES,
    *OUTCOME_RULES,
    *FACT_RULES,
    *REMOTE_RULES,
    *DEADLINE_RULES,
    *OPERATOR_RULES,
    *QUOTE_RULES,
    *SETTLE_RULES,
)
