"""Rules of what an operator does to an order. See ``life_cycle.py``.

``operator.moved`` leads along the edges here and no other. Each says why it leaves money and units sound: orderflow never claims
that Digital River captured, released or paid back what it did not report, and no unit becomes open or shipped. What Digital River
says later still counts, and calls a person where it contradicts.
"""

from __future__ import annotations

from typing import Final

from statemachine.order.states import ALL, BEFORE_PLACING
from statemachine.tables.rules import edge, move, refuse, same

_UNKNOWN: Final = "nothing is known of an order with this id"
_NO_STUCK_COMMAND: Final = "the order has no command with this id that was given up"
_PLACEMENT_OPEN: Final = "the placement is still being asked or looked up; an order may come of it"
_DISPUTE: Final = (
    "the order goes where it came from, units and amounts as they are; what the bank took stays charged back"
)

HOLDING_RULES: Final = (
    refuse("operator.held", ("awaited",), _UNKNOWN, code="hold.unknown_order", when="is_never_heard_of"),
    same("operator.held", ALL, when="is_held"),
    move("operator.held", ALL, None, do="hold"),
    same("operator.released", ALL, when="is_not_held"),
    refuse(
        "operator.released",
        ALL,
        "the event to drop is not the one that failed",
        code="release.other_event",
        when="is_drop_of_another_event",
    ),
    move("operator.released", ALL, None, do="release"),
)

ACT_RULES: Final = (
    refuse("operator.refreshed", ("awaited",), _UNKNOWN, code="refresh.unknown_order", when="is_never_heard_of"),
    refuse(
        "operator.refreshed",
        ALL,
        "Digital River has no order to read: none was placed",
        code="refresh.nothing_placed",
        when="is_never_placed",
    ),
    same("operator.refreshed", ALL, when="is_reread_in_flight"),
    move("operator.refreshed", ALL, None, do="ask_reread"),
    same("operator.acknowledged", ALL, when="is_nothing_to_acknowledge"),
    move("operator.acknowledged", ALL, None, do="acknowledge"),
)

COMMAND_RULES: Final = (
    refuse(
        "operator.command_retried",
        ALL,
        _NO_STUCK_COMMAND,
        code="command_retry.not_given_up",
        when="is_command_not_given_up",
    ),
    move("operator.command_retried", ALL, None, do="retry_given_up"),
    refuse(
        "operator.command_dropped",
        ALL,
        _NO_STUCK_COMMAND,
        code="command_drop.not_given_up",
        when="is_command_not_given_up",
    ),
    # the shopper may send another cart, which replaces whatever the command may have made
    move("operator.command_dropped", ("checkout_pending",), "checkout_rejected", when="is_wanted_checkout", do="close"),
    move("operator.command_dropped", ("placing",), "checkout_rejected", when="is_placement", do="close"),
    # as when Digital River refuses it: units are open again, a refund has failed, a return was never asked for
    move("operator.command_dropped", ALL, None, when="is_fulfillment", do="close forget_fact"),
    move("operator.command_dropped", ALL, None, when="is_refund", do="close fail_refund"),
    move("operator.command_dropped", ALL, None, when="is_return", do="close forget_fact drop_return"),
    move("operator.command_dropped", ALL, None, when="is_acceptance", do="close note_return_not_accepted"),
    move("operator.command_dropped", ALL, None, do="close"),
)

MOVE_RULES: Final = (
    same("operator.moved", ALL, when="is_there_already"),
    refuse(
        "operator.moved",
        BEFORE_PLACING,
        "the checkout is deleted by a command, and a held order starts none: release it first",
        code="move.order_held",
        when="is_to_abandoned is_held",
    ),
    edge(
        BEFORE_PLACING,
        "abandoned",
        do="release_checkout",
        why="no order was placed: no money is held and no unit promised; the checkout is deleted, also one that comes late",
    ),
    edge(
        ("placing",),
        "checkout_rejected",
        when="is_placement_given_up",
        do="drop_placement",
        why="the placement was given up, and no order of it is known; a new one needs a new checkout, and an order that "
        "shows up after all is reported as a contradiction",
    ),
    refuse("operator.moved", ("placing",), _PLACEMENT_OPEN, code="move.placement_open", when="is_to_checkout_rejected"),
    edge(
        ("pending_payment",),
        "cancelled",
        when="is_no_money_there",
        do="note_payment_failed cancel_all_lines",
        why="no charge holds or took money and nothing was shipped; money that comes later is reported as a contradiction",
    ),
    refuse(
        "operator.moved",
        ("pending_payment",),
        "Digital River holds or took money for the order",
        code="move.money_held",
        when="is_to_cancelled",
    ),
    edge(
        ("fulfilled",),
        "complete",
        when="is_no_money_moving",
        why="every unit is shipped or cancelled and every capture and void has ended; amounts stay what Digital River reported",
    ),
    refuse(
        "operator.moved",
        ("fulfilled",),
        "a capture or a void is pending or has failed",
        code="move.money_moving",
        when="is_to_complete",
    ),
    edge(
        ("complete",),
        "returned",
        when="is_every_unit_returned",
        why="Digital River accepted the return of every unit that was shipped; what was paid back stays what it reported",
    ),
    refuse(
        "operator.moved",
        ("complete",),
        "not every unit that was shipped has been returned",
        code="move.units_not_returned",
        when="is_to_returned",
    ),
    edge(("disputed",), "submitted", when="was_submitted", do="end_dispute", why=_DISPUTE),
    edge(("disputed",), "fulfilled", when="was_fulfilled", do="end_dispute", why=_DISPUTE),
    edge(("disputed",), "complete", when="was_complete", do="end_dispute", why=_DISPUTE),
    edge(("disputed",), "returned", when="was_returned", do="end_dispute", why=_DISPUTE),
    refuse("operator.moved", ALL, "no edge for operators leads there from this state", code="move.no_such_edge"),
)

OPERATOR_RULES: Final = (*HOLDING_RULES, *ACT_RULES, *COMMAND_RULES, *MOVE_RULES)
