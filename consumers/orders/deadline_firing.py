"""Firing the deadlines of one order that are due."""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

import msgspec
import structlog

from consumers.orders.traces import BatchTraces
from consumers.orders.working_orders import WorkingOrder, WorkingOrders
from producers.topics import Topic
from statemachine.decide import decide
from statemachine.errors import ConfigError
from statemachine.messages.events import Event
from statemachine.messages.ids import OrderId
from statemachine.order.decision import Moved, Parked, Refused, Repeated
from statemachine.order.order import Deadline, Order
from statemachine.order.policy import Policy
from statemachine.waits.deadlines import deadline_event
from statemachine.waits.looking import LOOK, deadlines_with_look
from statemachine.waits.retiring import retires_at

log = structlog.get_logger(__name__)

#: A deadline that is still due after it fired this often in a row is a fault of ours.
_FIRINGS_MAX = 20


def fire_deadlines(
    order_id: OrderId,
    until: datetime,
    orders: WorkingOrders,
    *,
    policy: Policy,
    number: int,
    traces: BatchTraces | None = None,
) -> None:
    """Fire the deadlines of an order that are due at ``until``, earliest first; each firing may move the others.

    An order at rest whose time has come leaves the table instead.

    A held order's do not fire. One that fails holds its order; it fires again when the order is released.

    ``number``: the partition's, for the log.
    """
    working = orders.find(order_id) or orders.add(order_id)
    for _ in range(_FIRINGS_MAX):
        order = working.order
        due = (
            []
            if order is None or order.held is not None
            else sorted((d for d in deadlines_with_look(order) if d.due <= until), key=lambda d: d.due)
        )
        if order is None or not due:
            if order is not None and (leaves := retires_at(order, policy)) is not None and leaves <= until:
                orders.retire(working)
            return
        with orders.transaction.within(None if traces is None else traces.fires(order, due[0])):
            if not _fire(order, due[0], orders, working, policy=policy, number=number):
                return


def _fire(
    order: Order, deadline: Deadline, orders: WorkingOrders, working: WorkingOrder, *, policy: Policy, number: int
) -> bool:
    """Fire one deadline of an order; False when it failed by a fault of ours."""
    transaction = orders.transaction
    event = deadline_event(order, deadline)
    transaction.counts["fired"] += 1
    try:
        decision = decide(order, event, now=transaction.now, policy=policy)
    except ConfigError:
        raise
    except Exception as error:
        place = {"topic": Topic.ORDERS.value, "partition": number}  # a deadline is in the order's snapshot
        log.exception("deadline_failed", order_id=order.order_id, deadline=deadline.name, due=deadline.due, **place)
        orders.hold_failed(working, event, None, failure(error))
        transaction.batch.fired("failed")
        return False
    match decision:
        case Moved(moved, effects):
            working.change(moved)
            transaction.add(effects)
            transaction.batch.fired("moved")
            transaction.batch.moved(order, moved, transaction.now, policy)
        case Parked() | Repeated() | Refused():
            _drop(orders, working, event, deadline, f"deadline {deadline.name} moved nothing")
            transaction.batch.fired("refused")
        case _:
            assert_never(decision)
    return True


def _drop(orders: WorkingOrders, working: WorkingOrder, event: Event, deadline: Deadline, detail: str) -> None:
    """Take out a deadline that cannot be carried out, with attention: it would fail again for ever."""
    orders.mark_failed(working, event, detail)
    if working.order is not None:
        left = tuple(d for d in working.order.deadlines if (d.name, d.due) != (deadline.name, deadline.due))
        look = None if deadline.name == LOOK else working.order.look
        working.change(msgspec.structs.replace(working.order, deadlines=left, look=look))


def failure(error: Exception) -> str:
    """What went wrong, without values: only our own errors speak in sentences made for people."""
    if type(error).__module__.startswith("statemachine"):
        return str(error)
    return f"internal error ({type(error).__name__}); the worker's log has the details"
