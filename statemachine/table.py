"""The life cycle of an order as one table of rules: who accepts what, when, and what follows.

The table is the only description of the life cycle. ``machine.py`` drives it, ``checker.py`` proves it complete, ``diagram.py``
draws it, tests and documents are made from it. A cell is all rules of one trigger for one state; they are tried in the order of
this file and the first whose guards hold decides. The last rule of a cell has no guard, so every cell has an answer.

Triggers: the types of the public events; ``digitalriver.<outcome>`` for the answer to one of our commands; ``command.*`` for a
command without an answer; ``fact.<kind>`` for what Digital River reports by itself; ``remote.<state>``, fired after an order
of Digital River has been absorbed; ``deadline.<name>``; and ``settle``, fired last after everything, which moves what the facts
together imply. Guards are named after ``guards.py``, effects after ``effects.py`` and ``absorbing.py``. Never put code here.
"""

from __future__ import annotations

from typing import Final

from statemachine.order import State
from statemachine.rules import (
    ALL,
    ENDED_EARLY,
    FINAL,
    PAYING,
    PLACED,
    SHIPPED,
    SHOPPING,
    Rule,
    move,
    others,
    park,
    refuse,
    same,
)

#: What the refusals of parts that are still to come end with.
_LATER: Final = "is not carried out by this version of orderflow"

_REPLACED = "it stands for a checkout that was replaced"
_PLACED_ALREADY = "an order was placed for this checkout already"

CHECKOUT_RULES: Final = (
    move("checkout.requested", ("awaited",), "checkout_pending", do="take_cart ask_create_checkout"),
    refuse(
        "checkout.requested", others("awaited"), "the order was requested before; checkout.updated changes its cart"
    ),
    park("checkout.updated", ("awaited",)),
    refuse("checkout.updated", SHOPPING, "the currency of an order cannot change", when="is_other_currency"),
    move("checkout.updated", SHOPPING, "checkout_pending", do="release_checkout take_cart ask_create_checkout"),
    refuse("checkout.updated", (*PLACED, *FINAL), "the order was placed or has ended, its cart cannot change"),
    park("checkout.source_provided", ("awaited",)),
    same("checkout.source_provided", ENDED_EARLY, when="was_parked"),
    # a cancel may overtake, on its own topic, the steps that it ends
    same("checkout.source_provided", ("cancelled",), when="is_never_placed"),
    refuse("checkout.source_provided", others("awaited"), _REPLACED, when="is_for_replaced_checkout"),
    park("checkout.source_provided", ("checkout_open", "checkout_ready"), when="is_for_another_checkout"),
    move("checkout.source_provided", ("checkout_open", "checkout_ready"), None, do="ask_attach_source"),
    park("checkout.source_provided", ("checkout_pending",)),
    refuse(
        "checkout.source_provided",
        ("checkout_rejected", "declined"),
        "this checkout can take no other source; checkout.updated makes a new one",
        when="is_for_current_checkout",
    ),
    park("checkout.source_provided", ("checkout_rejected", "declined")),
    refuse(
        "checkout.source_provided", (*PLACED, *FINAL), "the order was placed or has ended, it takes no other source"
    ),
    park("checkout.abandoned", ("awaited",)),
    move("checkout.abandoned", SHOPPING, "abandoned", do="release_checkout"),
    same("checkout.abandoned", ("abandoned",)),
    refuse(
        "checkout.abandoned",
        (*PLACED, "cancelled", "blocked"),
        "the order was placed or has ended, it cannot be abandoned",
    ),
)

ORDER_RULES: Final = (
    park("order.placed", ("awaited",)),
    same("order.placed", ENDED_EARLY, when="was_parked"),
    same("order.placed", ("cancelled",), when="is_never_placed"),
    refuse("order.placed", others("awaited"), _REPLACED, when="is_for_replaced_checkout"),
    refuse("order.placed", SHOPPING, _PLACED_ALREADY, when="is_placed_already"),
    park("order.placed", ("checkout_ready",), when="is_for_another_checkout"),
    park("order.placed", ("checkout_ready",), when="is_source_in_flight"),
    move("order.placed", ("checkout_ready",), "placing", do="ask_place_order"),
    park("order.placed", ("checkout_pending", "checkout_open", "checkout_rejected", "declined")),
    refuse("order.placed", PLACED, _PLACED_ALREADY),
    refuse("order.placed", FINAL, "the order has ended"),
    park("order.payment_returned", ("awaited", "checkout_pending", "checkout_open", "checkout_ready", "placing")),
    same("order.payment_returned", ("pending_payment",), when="is_refresh_in_flight"),
    move("order.payment_returned", ("pending_payment",), None, do="ask_refresh_order"),
    same(
        "order.payment_returned",
        others("awaited", "checkout_pending", "checkout_open", "checkout_ready", "placing", "pending_payment"),
    ),
    park("order.cancel_requested", ("awaited",)),
    same("order.cancel_requested", others("awaited"), when="is_known_cancellation"),
    refuse(
        "order.cancel_requested",
        others("awaited"),
        "this cancellation_id came with other content",
        when="is_other_cancellation",
    ),
    refuse(
        "order.cancel_requested", SHOPPING, "nothing is placed yet; checkout.updated changes the cart", when="has_items"
    ),
    move("order.cancel_requested", SHOPPING, "cancelled", do="release_checkout remember_fact"),
    park("order.cancel_requested", PAYING),
    refuse(
        "order.cancel_requested",
        ("submitted",),
        "it names a line that the order does not have",
        when="has_unknown_line",
    ),
    refuse(
        "order.cancel_requested",
        ("submitted",),
        "nothing is open any more, or more than is open was asked for",
        when="is_above_open",
    ),
    move("order.cancel_requested", ("submitted",), None, do="ask_cancel"),
    park("order.cancel_requested", ("disputed",)),
    same("order.cancel_requested", ENDED_EARLY, when="was_parked"),
    refuse("order.cancel_requested", (*SHIPPED, *FINAL), "nothing is open any more"),
    refuse("order.refund_requested", ALL, f"a refund {_LATER}"),
    refuse("order.return_requested", ALL, f"a return {_LATER}"),
)

_BEFORE_SUBMITTED = ("awaited", *SHOPPING, *PAYING)

FULFILLMENT_RULES: Final = (
    park("fulfillment.shipped", _BEFORE_SUBMITTED),
    same("fulfillment.shipped", others(*_BEFORE_SUBMITTED), when="is_known_shipment"),
    refuse(
        "fulfillment.shipped",
        others(*_BEFORE_SUBMITTED),
        "this shipment_id came with other content",
        when="is_other_shipment",
        attention=True,
    ),
    refuse(
        "fulfillment.shipped",
        ("submitted",),
        "it names a line that the order does not have",
        when="has_unknown_line",
        attention=True,
    ),
    refuse(
        "fulfillment.shipped", ("submitted",), "more was shipped than is open", when="is_above_open", attention=True
    ),
    move("fulfillment.shipped", ("submitted",), None, do="ask_ship"),
    park("fulfillment.shipped", ("disputed",)),
    refuse("fulfillment.shipped", (*SHIPPED, *FINAL), "nothing is open any more", attention=True),
    park("fulfillment.cancelled", _BEFORE_SUBMITTED),
    same("fulfillment.cancelled", others(*_BEFORE_SUBMITTED), when="is_known_cancellation"),
    refuse(
        "fulfillment.cancelled",
        others(*_BEFORE_SUBMITTED),
        "this cancellation_id came with other content",
        when="is_other_cancellation",
    ),
    refuse(
        "fulfillment.cancelled", ("submitted",), "it names a line that the order does not have", when="has_unknown_line"
    ),
    refuse("fulfillment.cancelled", ("submitted",), "more was cancelled than is open", when="is_above_open"),
    move("fulfillment.cancelled", ("submitted",), None, do="ask_cancel"),
    park("fulfillment.cancelled", ("disputed",)),
    same("fulfillment.cancelled", ENDED_EARLY, when="was_parked"),
    refuse("fulfillment.cancelled", (*SHIPPED, *FINAL), "nothing is open any more"),
    refuse("fulfillment.return_received", ALL, f"a return {_LATER}"),
)

#: Answers to our own commands; ``decide`` fires them only while the command is open.
OUTCOME_RULES: Final = (
    move(
        "digitalriver.checkout_created",
        ("checkout_pending",),
        "checkout_open",
        when="is_wanted is_quote_sound",
        do="close take_checkout",
    ),
    move(
        "digitalriver.checkout_created",
        ("checkout_pending",),
        "checkout_rejected",
        when="is_wanted",
        do="close note_unsound_quote drop_created_checkout",
    ),
    move("digitalriver.checkout_created", ALL, None, do="close drop_created_checkout"),
    move(
        "digitalriver.checkout_refused",
        ("checkout_pending",),
        None,
        when="is_wanted is_unknown_sku_retryable",
        do="retry_checkout",
    ),
    move(
        "digitalriver.checkout_refused",
        ("checkout_pending",),
        "checkout_rejected",
        when="is_wanted",
        do="close tell_problem",
    ),
    move("digitalriver.checkout_refused", ALL, None, do="close"),
    move(
        "digitalriver.source_attached",
        ("checkout_open", "checkout_ready"),
        "checkout_ready",
        when="is_wanted is_funded is_quote_sound",
        do="close take_attached",
    ),
    move(
        "digitalriver.source_attached",
        ("checkout_open", "checkout_ready"),
        "checkout_open",
        when="is_wanted",
        do="close tell_not_funded",
    ),
    move("digitalriver.source_attached", ALL, None, do="close"),
    move(
        "digitalriver.source_refused",
        ("checkout_open", "checkout_ready"),
        "checkout_open",
        when="is_wanted",
        do="close tell_problem",
    ),
    move("digitalriver.source_refused", ALL, None, do="close"),
    move("digitalriver.checkout_deleted", ALL, None, do="close"),
    move("digitalriver.checkout_kept", ALL, None, do="close"),
    move("digitalriver.order_placed", ALL, None, do="close absorb_order"),
    move("digitalriver.order_declined", ("placing",), "declined", do="close note_payment_failed tell_problem"),
    move("digitalriver.order_declined", others("placing"), None, do="close"),
    move("digitalriver.order_refused", ("placing",), "checkout_rejected", do="close tell_problem"),
    move("digitalriver.order_refused", others("placing"), None, do="close"),
    move("digitalriver.order_read", ALL, None, do="close absorb_order"),
    move("digitalriver.refresh_refused", ALL, None, do="close note_refresh_refused tell_problem"),
    move("digitalriver.fulfillment_created", ALL, None, do="close absorb_fulfillment"),
    move("digitalriver.fulfillment_refused", ALL, None, do="close forget_fact note_fulfillment_refused tell_problem"),
    move("digitalriver.refund_created", ALL, None, do="close"),
    move("digitalriver.refund_refused", ALL, None, do="close tell_problem"),
    move("digitalriver.return_created", ALL, None, do="close"),
    move("digitalriver.return_refused", ALL, None, do="close tell_problem"),
    move("digitalriver.return_accepted", ALL, None, do="close"),
    move("digitalriver.return_not_accepted", ALL, None, do="close tell_problem"),
    move("command.unknown", ALL, None, do="inquire_later"),
    move("command.absent", ALL, None, do="ask_again_after_absence"),
)

_UNKNOWN_ORDER = "no order with this id was requested here"

#: What Digital River reports by itself: webhooks, and reads of our own.
FACT_RULES: Final = (
    refuse("fact.order", ("awaited",), _UNKNOWN_ORDER),
    move("fact.order", others("awaited"), None, do="absorb_order"),
    refuse("fact.charge", ("awaited",), _UNKNOWN_ORDER),
    move("fact.charge", others("awaited"), None, do="absorb_charge"),
    refuse("fact.fulfillment", ("awaited",), _UNKNOWN_ORDER),
    same("fact.fulfillment", ("cancelled",), when="is_void_report"),
    move("fact.fulfillment", others("awaited"), None, do="absorb_fulfillment"),
    refuse("fact.document", ("awaited",), _UNKNOWN_ORDER),
    move("fact.document", others("awaited"), None, do="absorb_document"),
    same("fact.note", ALL),
    refuse("fact.chargeback", ALL, f"a chargeback {_LATER}", attention=True),
)

_ENDED_BEFORE_PLACED: Final[tuple[State, ...]] = ("awaited", *SHOPPING, "abandoned")

#: Where an absorbed order of Digital River, known to be this order's current one, takes the life cycle.
REMOTE_RULES: Final = (
    move("remote.accepted", PAYING, "submitted"),
    same("remote.accepted", ("submitted", *SHIPPED, "disputed")),
    # news from before the void, brought late: the charge says what became of it
    same("remote.accepted", ("cancelled",), when="is_void_confirmed"),
    move("remote.accepted", (*_ENDED_BEFORE_PLACED, "cancelled", "blocked"), None, do="note_contradiction"),
    move("remote.in_review", ("placing", "pending_payment"), "in_review"),
    same("remote.in_review", others("placing", "pending_payment")),
    move("remote.pending_payment", PAYING, "declined", when="is_payment_lost is_redirect", do="note_payment_failed"),
    move(
        "remote.pending_payment", PAYING, "cancelled", when="is_payment_lost", do="note_payment_failed cancel_all_lines"
    ),
    move("remote.pending_payment", ("placing", "in_review"), "pending_payment", do="tell_next_action"),
    same("remote.pending_payment", others("placing", "in_review")),
    move("remote.blocked", PAYING, "blocked", do="cancel_all_lines"),
    move(
        "remote.blocked",
        ("submitted", *SHIPPED, "disputed", *_ENDED_BEFORE_PLACED, "cancelled"),
        None,
        do="note_contradiction",
    ),
    same("remote.blocked", ("blocked",)),
    move("remote.cancelled", ("placing", "pending_payment"), "declined", when="is_redirect", do="note_payment_failed"),
    move("remote.cancelled", ("placing", "pending_payment"), "cancelled", do="note_payment_failed cancel_all_lines"),
    move("remote.cancelled", ("in_review",), "cancelled", do="note_unasked_cancel cancel_all_lines"),
    move("remote.cancelled", ("submitted",), None, when="is_something_shipped", do="note_contradiction"),
    move("remote.cancelled", ("submitted",), "cancelled", do="note_unasked_cancel cancel_all_lines"),
    move("remote.cancelled", (*SHIPPED, "disputed"), None, do="note_contradiction"),
    same("remote.cancelled", (*_ENDED_BEFORE_PLACED, "cancelled", "blocked")),
    # What these three imply follows from the quantities and the money, which ``settle`` looks at.
    move("remote.fulfilled", PAYING, "submitted", do="note_contradiction"),
    same("remote.fulfilled", others(*PAYING)),
    move("remote.complete", PAYING, "submitted", do="note_contradiction"),
    same("remote.complete", others(*PAYING)),
    same("remote.returned", ALL),
    move("remote.dispute", ALL, None, do="note_dispute"),
    move("remote.other", ALL, None, do="note_contradiction"),
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
    same("deadline.expire", others("awaited")),
)

SETTLE_RULES: Final = (
    move("settle", ("submitted",), "fulfilled", when="is_nothing_left is_something_shipped"),
    move("settle", ("submitted",), "cancelled", when="is_nothing_left is_void_confirmed"),
    move("settle", ("fulfilled",), "complete", when="is_money_settled"),
    same("settle", ALL),
)

RULES: Final[tuple[Rule, ...]] = (
    *CHECKOUT_RULES,
    *ORDER_RULES,
    *FULFILLMENT_RULES,
    *OUTCOME_RULES,
    *FACT_RULES,
    *REMOTE_RULES,
    *DEADLINE_RULES,
    *SETTLE_RULES,
)
