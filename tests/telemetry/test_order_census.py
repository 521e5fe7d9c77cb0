"""The census counts what orders wait for, and how long, from their snapshots alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from msgspec.structs import replace

from consumers.orders.census import Census
from statemachine.messages.ids import CommandId, OrderId
from statemachine.order.order import Amounts, Deadline, Look, OpenCommand, Order, State
from statemachine.order.policy import Policy
from statemachine.order.snapshot import encode_snapshot
from statemachine.order.standing import Hold

NOW = datetime(2031, 3, 4, 10, 11, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def counted(*orders: Order) -> Census:
    """The census of these orders."""
    census = Census()
    for order in orders:
        census.take(encode_snapshot(order), Policy(), NOW)
    return census


def order(state: State, name: str = "A-1") -> Order:
    """An order that changed an hour ago and knows no more."""
    return Order(order_id=OrderId(name), state=state, amounts=Amounts("USD"), updated=NOW - HOUR)


def test_the_oldest_order_of_a_state_is_the_one_that_entered_it_first() -> None:
    """Law: a change inside the state does not make it younger, where deadline, look or command tell when it was entered."""
    policy = Policy()
    waiting = replace(
        order("checkout_open"), deadlines=(Deadline("abandon", NOW - 5 * HOUR + policy.checkout_open_wait),)
    )
    looked = replace(order("submitted"), look=Look(NOW - 7 * HOUR, NOW + HOUR))
    asked = OpenCommand(CommandId("c"), "place_order", msgspec.Raw(b"{}"), first_asked=NOW - 9 * HOUR, asked=NOW)
    placing = replace(order("placing"), commands=(asked,))
    found = counted(waiting, order("checkout_open", "A-2"), looked, placing, order("complete"))
    ages = {state: NOW - since for state, since in found.oldest.items()}
    assert ages == {"checkout_open": 5 * HOUR, "submitted": 7 * HOUR, "placing": 9 * HOUR}
    assert found.states == {"checkout_open": 2, "submitted": 1, "placing": 1, "complete": 1}
    assert found.steps == {"answer": 1}


def test_a_deadline_is_overdue_a_minute_after_it_was_due() -> None:
    """Law: one of a held order is not, for it does not fire; nor is a look, which keeps to its rate."""
    late = replace(order("submitted"), deadlines=(Deadline("overdue", NOW - timedelta(seconds=61)),))
    soon = replace(late, deadlines=(Deadline("overdue", NOW - timedelta(seconds=59)),))
    held = replace(late, held=Hold(NOW, "ann", "a test"))
    looked = replace(order("submitted"), look=Look(NOW - HOUR, NOW - HOUR))
    found = counted(late, soon, held, looked)
    assert found.deadlines == {"overdue": 3, "reconcile": 1}
    assert found.overdue["overdue"] == 1
    assert found.overdue["reconcile"] == 0
    assert found.held == 1


def test_a_snapshot_of_another_version_is_counted_as_far_as_it_is_known() -> None:
    """Law: names that this version does not know are counted together, and make no new series."""
    census = Census()
    census.take(
        b'{"state":"floating","updated":"2031-03-04T10:00:00Z","deadlines":[{"name":"land","due":"2031-03-04T09:00:00Z"}],'
        b'"internal":{"commands":[{"name":"fly","step":"glide","first_asked":"2031-03-04T09:00:00Z"}]}}',
        Policy(),
        NOW,
    )
    census.take(b"not a snapshot", Policy(), NOW)
    assert (census.states, census.deadlines, census.steps) == ({"other": 1}, {"other": 1}, {"other": 1})
    assert census.oldest == {}
