"""Which orders of a partition are looked at next: no faster than looks may use Digital River, and few at a time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from consumers.orders.deadline_heap import DeadlineHeap
from statemachine.messages.ids import OrderId
from statemachine.order.order import Look

#: The part of the fleet's rate that looks use at most.
LOOKS_PART: Final = 0.1
#: Requests of one look: the order, its fulfilments, refunds and returns, as a rule a page of each, and its charge.
_REQUESTS: Final = 5
#: Looks of a partition without an answer: while there are so many no other is asked, so that commands never wait behind them.
UNANSWERED_MAX: Final = 32

_PAST: Final = datetime.min.replace(tzinfo=UTC)


def looks_per_second(rate: float, partitions: int) -> float:
    """How many looks a second one of ``partitions`` may ask for; ``rate``: requests a second of the fleet, 0 for no limit."""
    return rate * LOOKS_PART / _REQUESTS / partitions


class Looks:
    """The next look of each order of a partition. Kept in memory only; derived from the snapshots on every restore."""

    def __init__(self, per_second: float) -> None:
        """``per_second``: looks a second, 0 for no limit."""
        self._wait = timedelta(seconds=1 / per_second) if per_second > 0 else None
        self._heap = DeadlineHeap()
        #: When each of them is made again, and no longer counts: an answer can be lost.
        self._unanswered: dict[OrderId, datetime] = {}
        self._next_at = _PAST

    def set(self, order_id: OrderId, look: Look | None) -> None:
        """The order's next look is ``look`` now; None: it has none."""
        self._heap.set(order_id, None if look is None else look.due)
        if look is not None and look.asked is not None:
            self._unanswered[order_id] = look.due
        else:
            self._unanswered.pop(order_id, None)

    def next_due(self) -> datetime | None:
        """When the next look may be asked."""
        due = self._heap.next_due()
        if due is None:
            return None
        free = min(self._unanswered.values()) if len(self._unanswered) >= UNANSWERED_MAX else _PAST
        return max(due, free, self._next_at)

    def due_until(self, until: datetime) -> list[OrderId]:
        """The orders to look at now, which are due at ``until`` or before."""
        for order_id in [one for one, due in self._unanswered.items() if due <= until]:
            del self._unanswered[order_id]
        next_due = self.next_due()
        if next_due is None or next_due > until:
            return []
        if self._wait is None:
            return self._heap.due_until(until, UNANSWERED_MAX - len(self._unanswered))
        self._next_at = until + self._wait
        return self._heap.due_until(until, 1)


def earliest(dues: Iterable[datetime | None]) -> datetime | None:
    """The earliest of those that are set."""
    return min((due for due in dues if due is not None), default=None)
