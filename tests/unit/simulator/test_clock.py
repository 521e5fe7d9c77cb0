"""The simulator's clock: what falls due runs in order, at its own time, however far the clock is moved."""

from __future__ import annotations

import pytest

from orderflow.simulator.faults import Faults
from orderflow.simulator.state.clock import Clock, fine_stamp, stamp
from orderflow.simulator.state.filters import query_of
from orderflow.simulator.state.listing import page

START = 1_000_000.0


def test_due_callbacks_run_in_order_and_see_their_own_time() -> None:
    """Law: moved over many at once, each sees the moment at which it was due, and may schedule the next within the move."""
    clock = Clock(lambda: START)
    seen: list[tuple[str, float]] = []

    def chain() -> None:
        seen.append(("chain", clock.now()))
        clock.after(5, lambda: seen.append(("second", clock.now())))

    clock.after(20, lambda: seen.append(("late", clock.now())))
    clock.after(10, chain)
    clock.after(10_000, lambda: seen.append(("never", clock.now())))
    clock.advance(100)
    assert seen == [("chain", START + 10), ("second", START + 15), ("late", START + 20)]
    assert clock.now() == START + 100


def test_no_delay_is_now() -> None:
    """Law: a delay of zero happens inside the request that asked for it."""
    seen: list[int] = []
    Clock(lambda: START).after(0, lambda: seen.append(1))
    assert seen == [1]


def test_resources_have_whole_seconds_and_events_fractions() -> None:
    """Law: the two time formats of the wire."""
    assert stamp(1_893_456_000.9) == "2030-01-01T00:00:00Z"
    assert fine_stamp(1_893_456_000.5) == "2030-01-01T00:00:00.500000Z"


def test_pages_follow_both_cursors() -> None:
    """Law: following pages gives every item once, forwards and backwards; ``endingBefore`` wins."""
    items = [str(number) for number in range(7)]

    def ask(**query: str) -> list[object]:
        answer = page(items, query_of({"limit": "3", **query}.items()), (), id_of=str, render=str)
        data = answer["data"]
        assert isinstance(data, list)
        return [*data, answer["hasMore"]]

    assert ask() == ["0", "1", "2", True]
    assert ask(startingAfter="2") == ["3", "4", "5", True]
    assert ask(startingAfter="5") == ["6", False]
    assert ask(endingBefore="3", startingAfter="5") == ["0", "1", "2", False]
    assert ask(startingAfter="nobody") == [False]


def test_faults_merge_and_refuse_what_they_do_not_know() -> None:
    """Law: only named faults change; an unknown name or a rate above one is an error."""
    faults = Faults().merged(b'{"down": true}').merged(b'{"slow_ms": 5}')
    assert (faults.down, faults.slow_ms, faults.lose_webhooks) == (True, 5, 0)
    for update in (b'{"unknown": 1}', b'{"drop_after_effect": 2}', b'{"slow_ms": -1}', b'{"down": 1}'):
        with pytest.raises(ValueError, match=r".+"):
            faults.merged(update)
