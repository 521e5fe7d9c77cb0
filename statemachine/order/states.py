"""Groups of the states of an order's life cycle, as tables, deadlines and snapshots use them."""

from __future__ import annotations

from typing import Final, get_args

from statemachine.order.order import State

ALL: Final[tuple[State, ...]] = get_args(State)
FINAL: Final[tuple[State, ...]] = ("abandoned", "cancelled", "blocked")
#: No order was placed yet, or Digital River would not place it.
BEFORE_PLACING: Final[tuple[State, ...]] = (
    "checkout_pending",
    "checkout_open",
    "checkout_ready",
    "checkout_rejected",
)
#: A new cart is accepted.
SHOPPING: Final[tuple[State, ...]] = (*BEFORE_PLACING, "declined")
#: Placed, but not yet sure to be paid.
PAYING: Final[tuple[State, ...]] = ("placing", "pending_payment", "in_review")
#: Everything was shipped or cancelled.
SHIPPED: Final[tuple[State, ...]] = ("fulfilled", "complete", "returned")
#: Money may have been captured, goods may have left.
GOING: Final[tuple[State, ...]] = ("submitted", *SHIPPED)
PLACED: Final[tuple[State, ...]] = (*PAYING, *GOING, "disputed")

#: States in which nothing has to follow, though a return or a dispute may.
RESTING: Final[tuple[State, ...]] = ("complete", "returned")
