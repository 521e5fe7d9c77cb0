"""Counts what the orders of a worker wait for, one partition after the other, again and again, for its metrics.

Snapshots are bytes that nobody else keeps decoded, so a count costs some microseconds an order. It is spread out: with 500,000
orders a round takes minutes, and no event waits for it longer than for one slice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Final, NamedTuple

import structlog

from consumers.lanes import utc_now
from consumers.orders.census import Census
from consumers.ownership.owner import PartitionOwner
from consumers.ownership.partition import OwnedPartition
from consumers.ownership.store import Store
from statemachine.order.policy import Policy

log = structlog.get_logger(__name__)

#: Between two rounds, in seconds, and after each slice so many times what the slice took: 1 % of a core at most.
ROUND_SECONDS: Final = 5.0
_REST_TIMES: Final = 99
#: Orders in one slice: about a millisecond.
_SLICE: Final = 250

#: The partitions of the order lane that this process owns, by number.
OwnedNow = Callable[[], Mapping[int, PartitionOwner]]


class Counted(NamedTuple):
    """The last complete count of a partition, and when it began, in steady seconds."""

    census: Census
    at: float


class OrderCensus:
    """Keeps the last count of each owned partition."""

    def __init__(
        self,
        owned: OwnedNow,
        policy: Policy,
        *,
        clock: Callable[[], datetime] = utc_now,
        steady: Callable[[], float] = time.monotonic,
        round_seconds: float = ROUND_SECONDS,
    ) -> None:
        """``clock`` is UTC, ``steady`` in seconds."""
        self._owned = owned
        self._policy = policy
        self._clock = clock
        self._steady = steady
        self._round_seconds = round_seconds
        self._counted: dict[int, Counted] = {}

    def counted(self) -> Iterable[Counted]:
        """The counts of the partitions that are owned now."""
        owned = self._owned()
        return [one for number, one in self._counted.items() if number in owned]

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            try:
                await self.count_all()
            except Exception:
                log.exception("measuring_failed", name="orders")
            await asyncio.sleep(self._round_seconds)

    async def count_all(self) -> None:
        """One round over all partitions that are owned."""
        for number in sorted(self._owned()):
            store = self._store(number)
            if store is not None:
                await self._count(number, store)
        owned = self._owned()
        self._counted = {number: one for number, one in self._counted.items() if number in owned}

    def _store(self, number: int) -> Store | None:
        partition = self._owned().get(number)
        return partition.snapshots if isinstance(partition, OwnedPartition) else None

    async def _count(self, number: int, store: Store) -> None:
        """Count one partition; nothing is kept when it is lost meanwhile."""
        began, census = self._steady(), Census()
        keys = iter(store.keys())
        while True:
            busy_from, now = self._steady(), self._clock()
            if self._store(number) is not store:
                return
            lot = list(islice(keys, _SLICE))
            if not lot:
                break
            for key in lot:
                if (snapshot := store.get(key)) is not None:
                    census.take(snapshot, self._policy, now)
            await asyncio.sleep((self._steady() - busy_from) * _REST_TIMES)
        self._counted[number] = Counted(census, began)
