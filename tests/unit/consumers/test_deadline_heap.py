"""The deadlines of a partition: the earliest first, whatever moved, and little memory for each."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from consumers.orders import deadline_heap
from consumers.orders.deadline_heap import DeadlineHeap
from statemachine.messages.ids import OrderId

NOW = datetime(2026, 11, 27, 12, 0, 0, 123457, tzinfo=UTC)


def due_by_hand(model: dict[OrderId, datetime], until: datetime, most: int) -> list[OrderId]:
    """What must be due, from all deadlines."""
    return [name for due, name in sorted((due, name) for name, due in model.items()) if due <= until][:most]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("rebuild_min", [20, 10_000])
def test_the_earliest_deadlines_come_first_whatever_was_set(
    seed: int, rebuild_min: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a table that is sorted anew each time: near and far, moved, dropped, set again, and fired as time passes."""
    monkeypatch.setattr(deadline_heap, "_REBUILD_MIN", rebuild_min)
    chance, heap, model, now = random.Random(seed), DeadlineHeap(), dict[OrderId, datetime](), NOW
    for _ in range(1500):
        order_id = OrderId(f"O-{chance.randrange(60)}")
        wait = chance.choice((timedelta(seconds=1), timedelta(minutes=15), timedelta(hours=2), timedelta(days=9)))
        due = None if chance.random() < 0.2 else now + wait * (chance.random() * 2 - 0.3)
        heap.set(order_id, due)
        if due is None:
            model.pop(order_id, None)
        else:
            model[order_id] = due
        if chance.random() < 0.2:
            now += timedelta(minutes=chance.random() * 20)
        if chance.random() < 0.3:
            assert heap.next_due() == min(model.values(), default=None)
        if chance.random() < 0.3:
            assert heap.due_until(now, 7) == due_by_hand(model, now, 7)
            for fired in heap.due_until(now, 7):
                heap.set(fired, None)
                del model[fired]
        assert len(heap) == len(model)


def test_a_deadline_is_kept_to_the_microsecond_and_is_due_at_its_time() -> None:
    """A replay decides at the same times again."""
    heap = DeadlineHeap()
    heap.set(OrderId("A"), NOW)
    assert heap.next_due() == NOW
    assert heap.due_until(NOW - timedelta(microseconds=1), 9) == []
    assert heap.due_until(NOW, 9) == ["A"]
    assert heap.due_until(NOW, 9) == ["A"], "it stays until it is moved"


def test_what_orders_have_moved_away_from_is_dropped() -> None:
    """Else a lane that runs for weeks would keep each deadline that it ever had."""
    orders, heap = [OrderId(f"O-{number:08d}") for number in range(2000)], DeadlineHeap()
    for turn in range(12):
        for number, order_id in enumerate(orders):
            heap.set(order_id, NOW + timedelta(minutes=(number * 7919 + turn * 104_729) % 10_000))
    kept = len(heap._near) + sum(map(len, heap._later.values()))
    assert kept == heap._entries <= deadline_heap._REBUILD_MIN
