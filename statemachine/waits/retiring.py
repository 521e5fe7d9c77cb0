"""When an order at rest leaves the table. Off unless the policy says after how long.

What it needs is that nothing comes any more: an event of an order that has left finds an order that nobody knows, and a
``checkout.requested`` that is read again would make a second real order. So the wait must be longer than inputs are kept.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from statemachine.order.order import Order, State
from statemachine.order.policy import Policy
from statemachine.order.states import FINAL, RESTING

AT_REST: Final[frozenset[State]] = frozenset((*RESTING, *FINAL))


def retires_at(order: Order, policy: Policy) -> datetime | None:
    """When the order leaves the table; None while it waits for something, a person included, or when orders stay for ever."""
    if not policy.retire_wait or order.state not in AT_REST:
        return None
    waits = order.held or order.deadlines or order.look or order.commands or order.parked or order.queue
    return None if waits or order.attention else order.updated + policy.retire_wait
