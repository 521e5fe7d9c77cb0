"""The state of the payment, derived from charges, units and commands.

It is derived anew after every decision, so that duplicated and reordered facts cannot leave it behind. The first rule that fits
decides; the worst states come first.
"""

from __future__ import annotations

from statemachine.effects.charges import (
    failed_captures,
    has_operations,
    has_pending_void,
    is_authorisation_gone,
    is_voided,
)
from statemachine.effects.guards import is_all_confirmed
from statemachine.order.order import Order, Payment, State, open_units

_AUTHORISED = frozenset({"capturable", "processing", "complete", "cancelled"})


def payment_of(order: Order, state: State) -> Payment:
    """The payment state of ``order`` once it is in ``state``."""
    if order.payment_failed:
        return "captured" if order.amounts.captured else "failed"  # money may be taken for an order that has ended
    if order.digital_river.order_id is None:
        return "none"
    if not order.shipments and not has_operations(order.charges):
        return _quiet(order, state, voiding=False)
    captures = [capture for charge in order.charges for capture in charge.captures]
    voids = [void for charge in order.charges for void in charge.cancels]
    if failed_captures(order):
        return "capture_failed"
    if any(void.state == "failed" for void in voids) and not is_voided(order):
        return "void_failed"
    capturing = any(one.state == "pending" for one in captures) or any(
        one.capture == "pending" for one in order.shipments
    )
    if capturing and not _is_closed(order, state):
        return "capturing"
    return _quiet(order, state, voiding=has_pending_void(order))


def _quiet(order: Order, state: State, *, voiding: bool) -> Payment:
    """The payment when no capture is pending and nothing has failed."""
    if order.remote_state == "blocked" or state in ("cancelled", "blocked"):
        return "captured" if order.amounts.captured else "voided"
    if _is_something_to_ship(order):
        if order.reauth_failed:
            return "reauth_failed"
        if is_authorisation_gone(order):
            return "failed" if all(charge.state == "failed" for charge in order.charges) else "voided"
        return "authorized" if _is_authorised(order) else "pending"
    cancelling = any(command.units for command in order.commands)
    cancelled = is_all_confirmed(order) and any(line.cancelled for line in order.lines)
    if voiding or cancelling or (cancelled and not is_voided(order)):
        return "voiding"
    # An order that costs nothing is captured when it is complete.
    return "captured" if order.amounts.captured or _is_closed(order, state) else "authorized"


def _is_something_to_ship(order: Order) -> bool:
    """Whether units are open, or shipped and not confirmed yet."""
    for command in order.commands:
        for units in command.units:
            if units.ship:
                return True
    return max(open_units(order).values(), default=0) > 0


def _is_closed(order: Order, state: State) -> bool:
    """Whether Digital River closed the order, which ends all captures, whatever came after."""
    closed = ("complete", "returned")
    return state in closed or order.disputed_from in closed


def _is_authorised(order: Order) -> bool:
    """Whether the money is held: Digital River accepted or reviews the order, or every charge is authorised."""
    if order.remote_state not in (None, "pending_payment"):
        return True
    return bool(order.charges) and all(charge.state in _AUTHORISED for charge in order.charges)
