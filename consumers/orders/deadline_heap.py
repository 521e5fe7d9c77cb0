"""Which order of a partition has the next deadline. Derived from the snapshots, never stored: rebuilt on every restore.

Almost all deadlines are far away and are moved before they are due, so only the near ones are in a heap; the others wait in
lists, one for each quarter of an hour, which are looked at when their time comes. An order takes about 120 bytes.
"""

from __future__ import annotations

import heapq
from datetime import UTC, datetime, timedelta
from typing import Final

from statemachine.messages.ids import OrderId

#: Everything is filed anew when stale entries outnumber the live ones, and are at least this many.
_REBUILD_MIN: Final = 10_000
#: The span of a list, in microseconds.
_SPAN: Final = 15 * 60 * 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class DeadlineHeap:
    """The earliest deadline of each order; which deadline that is, is in the order's snapshot."""

    __slots__ = ("_due", "_entries", "_later", "_near", "_near_until", "_spans")

    def __init__(self) -> None:
        #: In whole microseconds since 1970: exact as a float, which is half as large as a datetime.
        self._due: dict[OrderId, float] = {}
        #: Those before ``_near_until``; like all entries, some of which their orders have moved away from.
        self._near: list[tuple[float, OrderId]] = []
        self._near_until = 0.0
        #: The others, by the span in which they are due.
        self._later: dict[int, list[OrderId]] = {}
        self._spans: list[int] = []
        self._entries = 0

    def __len__(self) -> int:
        return len(self._due)

    def set(self, order_id: OrderId, due: datetime | None) -> None:
        """The order's earliest deadline is ``due`` now, or it has none."""
        if due is None:
            self._due.pop(order_id, None)
            return
        at = float((due - _EPOCH) // _MICROSECOND)
        if self._due.get(order_id) == at:
            return
        self._due[order_id] = at
        self._file(order_id, at)
        if self._entries > max(_REBUILD_MIN, 2 * len(self._due)):
            self._file_all()

    def _file(self, order_id: OrderId, at: float) -> None:
        self._entries += 1
        if at < self._near_until:
            heapq.heappush(self._near, (at, order_id))
            return
        span = int(at // _SPAN)
        entries = self._later.get(span)
        if entries is None:
            self._later[span] = [order_id]
            heapq.heappush(self._spans, span)
        else:
            entries.append(order_id)

    def _file_all(self) -> None:
        """Without what is stale."""
        self._near, self._near_until, self._later, self._spans, self._entries = [], 0.0, {}, [], 0
        for order_id, at in self._due.items():
            self._file(order_id, at)

    def _first(self) -> float | None:
        """The earliest deadline of all orders, which is the first of the near ones then."""
        near, due = self._near, self._due
        while True:
            while near and due.get(near[0][1]) != near[0][0]:  # an entry that its order has moved away from
                heapq.heappop(near)
                self._entries -= 1
            if near:
                return near[0][0]
            if not self._spans:
                return None
            self._open_span(heapq.heappop(self._spans))

    def _open_span(self, span: int) -> None:
        """The next span is near now."""
        entries, due = self._later.pop(span), self._due
        self._near_until = float((span + 1) * _SPAN)
        near = [(at, order_id) for order_id in dict.fromkeys(entries) if (at := due.get(order_id)) is not None]
        self._near.extend(one for one in near if span * _SPAN <= one[0] < self._near_until)
        heapq.heapify(self._near)
        self._entries += len(self._near) - len(entries)

    def next_due(self) -> datetime | None:
        """The earliest deadline of all orders."""
        first = self._first()
        return None if first is None else _EPOCH + timedelta(microseconds=int(first))

    def due_until(self, until: datetime, most: int) -> list[OrderId]:
        """Up to ``most`` orders with a deadline at or before ``until``, earliest first. They stay until ``set`` moves them."""
        limit = float((until - _EPOCH) // _MICROSECOND)
        found: list[tuple[float, OrderId]] = []
        while len(found) < most and (due := self._first()) is not None and due <= limit:
            found.append(heapq.heappop(self._near))
        for entry in found:
            heapq.heappush(self._near, entry)
        return list(dict.fromkeys(order_id for _, order_id in found))
