"""The order lane derives its deadlines from a million snapshots, and the loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from consumers.orders.fuse import Fuse
from consumers.orders.logic import OrderLogic
from consumers.ownership.store import DictStore
from producers.packing.sizes import Room
from statemachine.errors import UnreadableTable
from statemachine.order.order import DEFINITION
from statemachine.order.policy import Policy

ORDERS = 30_000
BEGIN = datetime(2031, 1, 1, tzinfo=UTC)


def logic() -> OrderLogic:
    """A partition's logic without orders."""
    return OrderLogic(0, partitions=1, prefix="", policy=Policy(), fuse=Fuse(), room=Room("lz4", 1_000_000))


def store_of(count: int, **more: bytes) -> DictStore:
    """A store of orders with a deadline each, the last one due first."""
    store = DictStore()
    snapshot = '{{"definition":{},"deadlines":[{{"name":"abandon","due":"{}"}}]}}'
    store.apply(
        {
            f"O-{number}": snapshot.format(DEFINITION, (BEGIN - timedelta(seconds=number)).isoformat()).encode()
            for number in range(count)
        }
    )
    store.apply(more)
    return store


async def test_opening_a_large_store_lets_the_loop_go_on() -> None:
    """Heartbeats and the batches of other partitions wait for 50 ms at most, of this thread's own time, by the best of three."""
    store, shortest = store_of(ORDERS), 1.0
    for _ in range(3):
        opened = logic()
        opening = asyncio.create_task(opened.opened(store))
        longest, last = 0.0, time.thread_time()
        while not opening.done():
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now
        await opening
        assert opened.next_due() == BEGIN - timedelta(seconds=ORDERS - 1)
        shortest = min(shortest, longest)
    assert shortest < 0.05


async def test_opening_that_is_cut_off_leaves_nothing_behind() -> None:
    """A revoke ends it at the next pause; who opens the store again gets all deadlines."""
    store, cut_off = store_of(20_000), logic()
    opening = asyncio.create_task(cut_off.opened(store))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    again = logic()
    await again.opened(store)
    assert again.next_due() == BEGIN - timedelta(seconds=19_999)


async def test_opening_stops_at_a_snapshot_that_cannot_be_read() -> None:
    """Wherever it lies."""
    with pytest.raises(UnreadableTable, match="the snapshot of order bad"):
        await logic().opened(store_of(5000, bad=b"no json"))
