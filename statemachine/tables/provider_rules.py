"""The rules of the life cycle for what Digital River reports: the part of the table that is not about public events.

Answers to our commands, facts that it reports by itself, and where its order's state takes ours. See ``life_cycle.py``.
"""

from __future__ import annotations

from typing import Final

from statemachine.order.order import State
from statemachine.order.states import ALL, GOING, PAYING, SHIPPED, SHOPPING
from statemachine.tables.rules import move, others, park, refuse, same

#: Answers to our own commands; ``decide`` fires them only while the command is open.
OUTCOME_RULES: Final = (
    move(
        "digitalriver.checkout_created",
        ("checkout_pending",),
        "checkout_open",
        when="is_wanted is_quote_valid",
        do="close take_checkout",
    ),
    move(
        "digitalriver.checkout_created",
        ("checkout_pending",),
        "checkout_rejected",
        when="is_wanted",
        do="close note_invalid_quote drop_created_checkout",
    ),
    move("digitalriver.checkout_created", ALL, None, do="close drop_created_checkout"),
    move(
        "digitalriver.checkout_refused",
        ("checkout_pending",),
        None,
        when="is_wanted is_unknown_sku_retryable",
        do="retry_checkout publish_problem",
    ),
    move(
        "digitalriver.checkout_refused",
        ("checkout_pending",),
        "checkout_rejected",
        when="is_wanted",
        do="close publish_problem",
    ),
    move("digitalriver.checkout_refused", ALL, None, do="close publish_problem"),
    move(
        "digitalriver.source_attached",
        ("checkout_open", "checkout_ready"),
        "checkout_ready",
        when="is_wanted is_funded is_quote_valid",
        do="close take_attached",
    ),
    move(
        "digitalriver.source_attached",
        ("checkout_open", "checkout_ready"),
        "checkout_open",
        when="is_wanted",
        do="close publish_not_funded",
    ),
    move(
        "digitalriver.source_attached",
        ("checkout_ready",),
        None,
        when="is_source_displaced",
        do="close attach_latest",
    ),
    move("digitalriver.source_attached", ALL, None, do="close"),
    move(
        "digitalriver.source_refused",
        ("checkout_open", "checkout_ready"),
        "checkout_open",
        when="is_wanted",
        do="close publish_problem publish_quote",
    ),
    move("digitalriver.source_refused", ALL, None, do="close publish_problem"),
    move("digitalriver.checkout_deleted", ALL, None, do="close"),
    move("digitalriver.checkout_kept", ALL, None, do="close publish_problem"),
    move("digitalriver.order_placed", ALL, None, do="close absorb_order"),
    move("digitalriver.order_declined", ("placing",), "declined", do="close note_payment_failed publish_problem"),
    move("digitalriver.order_declined", others("placing"), None, do="close publish_problem"),
    move("digitalriver.order_refused", ("placing",), "checkout_rejected", do="close publish_problem"),
    move("digitalriver.order_refused", others("placing"), None, do="close publish_problem"),
    move("digitalriver.order_read", ALL, None, do="close absorb_order"),
    move("digitalriver.refresh_refused", ALL, None, do="close note_refresh_refused publish_problem"),
    move("digitalriver.order_reread", ALL, None, do="close absorb_reread"),
    move("digitalriver.reread_refused", ALL, None, do="close publish_problem"),
    move("look.confirmed", ALL, None, do="end_look absorb_reread"),
    move("look.rejected", ALL, None, do="end_look note_unknown_there publish_problem"),
    move("look.failed", ALL, None, do="end_look"),
    move("digitalriver.fulfillment_created", ALL, None, do="close absorb_fulfillment"),
    move(
        "digitalriver.fulfillment_refused", ALL, None, do="close note_fulfillment_refused forget_fact publish_problem"
    ),
    move("digitalriver.refund_created", ALL, None, do="close absorb_refund"),
    move("digitalriver.refund_refused", ALL, None, do="close fail_refund publish_problem"),
    move("digitalriver.return_created", ALL, None, do="close absorb_return"),
    move("digitalriver.return_refused", ALL, None, do="close forget_fact drop_return publish_problem"),
    move("digitalriver.return_accepted", ALL, None, do="close absorb_return"),
    move("digitalriver.return_not_accepted", ALL, None, do="close note_return_not_accepted publish_problem"),
    move("command.unknown", ALL, None, do="inquire_later"),
    move("command.absent", ALL, None, do="ask_again_after_absence"),
)

_UNKNOWN_ORDER = "no order with this id was requested here"

#: What Digital River reports by itself: webhooks, and reads of our own. What comes before the placement's answer waits for it.
FACT_RULES: Final = (
    refuse("fact.order", ("awaited",), _UNKNOWN_ORDER, code="digitalriver.unknown_order"),
    move("fact.order", others("awaited"), None, do="absorb_order"),
    refuse("fact.charge", ("awaited",), _UNKNOWN_ORDER, code="digitalriver.unknown_order"),
    park("fact.charge", ("placing",), when="is_order_id_awaited"),
    move("fact.charge", others("awaited"), None, do="absorb_charge"),
    refuse("fact.fulfillment", ("awaited",), _UNKNOWN_ORDER, code="digitalriver.unknown_order"),
    same("fact.fulfillment", ("cancelled",), when="is_void_report"),
    park("fact.fulfillment", ("placing",), when="is_order_id_awaited"),
    move("fact.fulfillment", others("awaited"), None, do="absorb_fulfillment"),
    refuse("fact.document", ("awaited",), _UNKNOWN_ORDER, code="digitalriver.unknown_order"),
    park("fact.document", ("placing",), when="is_order_id_awaited"),
    move("fact.document", others("awaited"), None, do="absorb_document"),
    refuse("fact.refund", ("awaited",), _UNKNOWN_ORDER, code="digitalriver.unknown_order"),
    park("fact.refund", ("placing",), when="is_order_id_awaited"),
    move("fact.refund", others("awaited"), None, do="absorb_refund"),
    refuse("fact.return", ("awaited",), _UNKNOWN_ORDER, code="digitalriver.unknown_order"),
    park("fact.return", ("placing",), when="is_order_id_awaited"),
    move("fact.return", others("awaited"), None, do="absorb_return"),
    refuse("fact.chargeback", ("awaited",), _UNKNOWN_ORDER, code="digitalriver.unknown_order"),
    park("fact.chargeback", ("placing",), when="is_order_id_awaited"),
    move("fact.chargeback", others("awaited"), None, do="absorb_chargeback"),
    same("fact.note", ALL),
)

_ENDED_BEFORE_PLACED: Final[tuple[State, ...]] = ("awaited", *SHOPPING, "abandoned")

#: Where an absorbed order of Digital River, known to be this order's current one, takes the life cycle.
REMOTE_RULES: Final = (
    move("remote.accepted", PAYING, "submitted"),
    same("remote.accepted", ("submitted", *SHIPPED, "disputed")),
    move("remote.accepted", (*_ENDED_BEFORE_PLACED, "cancelled", "blocked"), None, do="note_contradiction"),
    move("remote.in_review", ("placing", "pending_payment"), "in_review"),
    same("remote.in_review", others("placing", "pending_payment")),
    move("remote.pending_payment", PAYING, "declined", when="is_payment_lost is_redirect", do="note_payment_failed"),
    move(
        "remote.pending_payment", PAYING, "cancelled", when="is_payment_lost", do="note_payment_failed cancel_all_lines"
    ),
    # from a review only once it is over: a report from before it that arrives late is an older fact
    move("remote.pending_payment", ("placing", "in_review"), "pending_payment", do="publish_next_action"),
    # the answer and the webhook come in any order, and only one of them may say what to do
    move("remote.pending_payment", ("pending_payment",), None, when="is_next_action_new", do="publish_next_action"),
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
    # What these three imply follows from the quantities and the money, which ``settle`` and ``reconciling.py`` look at.
    move("remote.fulfilled", PAYING, "submitted"),
    same("remote.fulfilled", others(*PAYING)),
    move("remote.complete", PAYING, "submitted"),
    same("remote.complete", others(*PAYING)),
    move("remote.returned", PAYING, "submitted"),
    same("remote.returned", others(*PAYING)),
    move("remote.dispute", (*PAYING, *GOING), "disputed", do="remember_state clear_fulfillment_refusals"),
    same("remote.dispute", ("disputed",)),
    move("remote.dispute", (*_ENDED_BEFORE_PLACED, "cancelled", "blocked"), None, do="note_contradiction"),
    # The remembered state, never the one that Digital River's order shows after a dispute
    # (docs/digital-river.md, "Disputes and chargebacks").
    move("dispute.ended", ("disputed",), "submitted", when="was_submitted", do="forget_dispute"),
    move("dispute.ended", ("disputed",), "fulfilled", when="was_fulfilled", do="forget_dispute"),
    move("dispute.ended", ("disputed",), "returned", when="was_returned", do="forget_dispute"),
    move("dispute.ended", ("disputed",), "complete", do="forget_dispute"),
    # only an accepted order is disputed; a later report of the begin is an older fact
    move("dispute.ended", PAYING, "submitted"),
    same("dispute.ended", others("disputed", *PAYING)),
    move("remote.other", ALL, None, do="note_contradiction"),
)
