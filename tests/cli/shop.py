"""The order lane in a thread of its own, fed from a test that runs commands beside it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

from tests.cli.in_thread import in_thread
from tests.orders.lane import Lane, given, make_topics, order_lane
from tests.unit.statemachine.river import River

T = TypeVar("T")


class Shop:
    """What the test does with the lane."""

    def __init__(self, lane: Lane, loop: asyncio.AbstractEventLoop) -> None:
        self.lane = lane
        self.prefix = lane.prefix
        self._loop = loop

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the lane's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def send(self, kind: str, order_id: str, data: object, *, state: str) -> None:
        """An event comes in; returns when its order is in ``state``."""

        async def sent() -> None:
            await self.lane.send(given(kind, order_id, data))
            await self.lane.until_state(state, order_id)

        self.do(sent())


@contextlib.contextmanager
def order_shop(bootstrap: str, prefix: str, *, river: River | None = None) -> Iterator[Shop]:
    """A shop with its topics, while the context lasts."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Lane]:
        await make_topics(bootstrap, prefix)
        async with order_lane(bootstrap, prefix, river=river) as lane:
            yield lane

    with in_thread(opened, seconds=20.0) as (lane, loop):
        yield Shop(lane, loop)
