"""Which order of a partition has the next deadline. Derived from the snapshots, never stored: rebuilt on every restore."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from datetime import datetime

from statemachine.messages.ids import OrderId

#: The heap is rebuilt when stale entries outnumber the live ones, and are at least this many.
_REBUILD_MIN = 10_000


class DeadlineHeap:
    """The earliest deadline of each order; which deadline that is, is in the order's snapshot."""

    __slots__ = ("_due", "_heap")

    def __init__(self) -> None:
        self._due: dict[OrderId, datetime] = {}
        self._heap: list[tuple[datetime, OrderId]] = []

    def __len__(self) -> int:
        return len(self._due)

    def fill(self, dues: Iterable[tuple[OrderId, datetime]]) -> None:
        """Start anew from all orders that have a deadline."""
        self._due = dict(dues)
        self._heap = [(due, order_id) for order_id, due in self._due.items()]
        heapq.heapify(self._heap)

    def set(self, order_id: OrderId, due: datetime | None) -> None:
        """The order's earliest deadline is ``due`` now, or it has none."""
        if due is None:
            self._due.pop(order_id, None)
        elif self._due.get(order_id) != due:
            self._due[order_id] = due
            heapq.heappush(self._heap, (due, order_id))
            if len(self._heap) > max(_REBUILD_MIN, 2 * len(self._due)):
                self.fill(self._due.items())

    def next_due(self) -> datetime | None:
        """The earliest deadline of all orders."""
        heap, due = self._heap, self._due
        while heap and due.get(heap[0][1]) != heap[0][0]:  # an entry that its order has moved away from
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due_until(self, until: datetime, most: int) -> list[OrderId]:
        """Up to ``most`` orders with a deadline at or before ``until``, earliest first. They stay until ``set`` moves them."""
        found: list[tuple[datetime, OrderId]] = []
        while len(found) < most and (due := self.next_due()) is not None and due <= until:
            found.append(heapq.heappop(self._heap))
        for entry in found:
            heapq.heappush(self._heap, entry)
        return list(dict.fromkeys(order_id for _, order_id in found))
