"""The orders that a batch works on. Each is decoded once and encoded once; nothing but the overlay is changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from consumers.orders.order_transaction import OrderTransaction
from consumers.ownership.store import Overlay
from statemachine.effects.attention import mark_failed, mark_too_large
from statemachine.errors import InvariantBroken, UnreadableTable
from statemachine.holding import hold_failed
from statemachine.messages.envelope import Record
from statemachine.messages.events import Event
from statemachine.messages.ids import OrderId
from statemachine.order.decision import Moved
from statemachine.order.order import Look, Order
from statemachine.order.policy import Policy
from statemachine.order.snapshot import decode_snapshot, encode_snapshot
from statemachine.waits.expiring import has_nothing_to_keep
from statemachine.waits.retiring import retires_at

#: Largest snapshot of one order.
SNAPSHOT_BYTES_MAX = 512 * 1024
#: JSON text inside a JSON string grows by escapes; and what a decision may add of its own.
_GROWTH_FACTOR, _GROWTH_BYTES = 2, 8 * 1024
#: Bytes of a snapshot that are kept free for ``attention``: as many reasons as an order keeps, and what encodes them.
_ATTENTION_BYTES = 8 * 1024


class NextDue(NamedTuple):
    """What an order waits for by time: its earliest deadline, and its next look."""

    deadline: datetime | None
    look: Look | None


def next_due(order: Order, policy: Policy) -> NextDue:
    """What ``order`` waits for by time: nothing while it is held; at rest, to leave the table."""
    if order.held is not None:
        return NextDue(None, None)
    due = min([deadline.due for deadline in order.deadlines], default=None)
    return NextDue(retires_at(order, policy) if due is None else due, order.look)


class WorkingOrder:
    """One order while a batch works on it."""

    __slots__ = ("changed", "order", "size_bound")

    def __init__(self, order: Order | None, size: int) -> None:
        self.order = order
        self.changed = False
        #: The encoded size is at most this; exact encoding is for those that come near the limit.
        self.size_bound = size

    def change(self, order: Order) -> None:
        """The order is ``order`` now."""
        self.order, self.changed = order, True


class WorkingOrders:
    """All of one batch."""

    def __init__(
        self, overlay: Overlay, transaction: OrderTransaction, *, table: str, bytes_max: int, policy: Policy
    ) -> None:
        """``table``: the topic of the snapshots; ``bytes_max``: the largest snapshot of one order."""
        self._policy = policy
        self._overlay = overlay
        self.transaction = transaction
        self._table = table
        self._bytes_max = bytes_max
        self._orders: dict[OrderId, WorkingOrder] = {}

    def find(self, order_id: OrderId) -> WorkingOrder | None:
        """The order, if it is in the batch already or has a snapshot.

        Raises:
            UnreadableTable: Its snapshot cannot be read.
        """
        working = self._orders.get(order_id)
        if working is None and (snapshot := self._overlay.get(order_id)) is not None:
            try:
                working = self._orders[order_id] = WorkingOrder(decode_snapshot(snapshot), len(snapshot))
            except InvariantBroken:
                raise unreadable(order_id, self._table) from None
        return working

    def add(self, order_id: OrderId) -> WorkingOrder:
        """An order that is new."""
        working = self._orders[order_id] = WorkingOrder(None, 0)
        return working

    def replace(self, working: WorkingOrder, order: Order, record: Record, event: Event) -> bool:
        """Change the order; if its snapshot would exceed the limit, the event is a dead letter and the order gets attention."""
        bound = working.size_bound + len(record.value or b"") * _GROWTH_FACTOR + _GROWTH_BYTES
        if bound > self._bytes_max:
            bound = len(encode_snapshot(order))
            most = self._bytes_max - _ATTENTION_BYTES
            if bound > most:
                detail = f"the order would take {bound} bytes, more than the {most} that one may take"
                self.transaction.set_aside(record, event.cause, "too_large", detail, "order.no_room")
                self._mark(working, event, mark_too_large, "the order has no room for it")
                return False
        working.change(order)
        working.size_bound = bound
        return True

    def retire(self, working: WorkingOrder) -> None:
        """The order leaves the table."""
        working.order, working.changed = None, True

    def mark_failed(self, working: WorkingOrder, event: Event, detail: str) -> None:
        """Raise attention on an order that could not carry a deadline out."""
        self._mark(working, event, mark_failed, detail)

    def hold_failed(self, working: WorkingOrder, event: Event, record: Record | None, detail: str) -> None:
        """Hold an order whose decision failed, with the event first in its queue if it fits; a deadline has no ``record``."""
        held = self._held(working, event, detail)
        size = 0 if record is None else len(record.value or b"") * _GROWTH_FACTOR
        bound = working.size_bound + size + _GROWTH_BYTES
        if bound > self._bytes_max:
            bound = len(encode_snapshot(held.order))
            if bound > self._bytes_max - _ATTENTION_BYTES:
                held = self._held(working, event, detail, room=False)
        working.change(held.order)
        working.size_bound = bound
        self.transaction.add(held.effects)

    def _held(self, working: WorkingOrder, event: Event, detail: str, *, room: bool = True) -> Moved:
        return hold_failed(working.order, event, detail, now=self.transaction.now, policy=self._policy, room=room)

    def _mark(self, working: WorkingOrder, event: Event, mark: Callable[..., Moved | None], detail: str) -> None:
        marked = None if working.order is None else mark(working.order, event, detail, now=self.transaction.now)
        if marked is not None:
            working.change(marked.order)
            self.transaction.add(marked.effects)

    def write_snapshots(self) -> dict[OrderId, NextDue]:
        """Put one snapshot per changed order into the overlay; what each waits for by time."""
        dues: dict[OrderId, NextDue] = {}
        for order_id, working in self._orders.items():
            if working.changed and working.order is not None:
                # an order that was never requested goes with the last event that waited in it
                gone = has_nothing_to_keep(working.order)
                self._overlay.put(order_id, None if gone else encode_snapshot(working.order))
                dues[order_id] = next_due(working.order, self._policy)
            elif working.order is None:
                if working.changed:
                    self._overlay.put(order_id, None)
                dues[order_id] = NextDue(None, None)
        return dues


def unreadable(order_id: OrderId, table: str) -> UnreadableTable:
    """The error for a snapshot that is none."""
    return UnreadableTable(
        f"the snapshot of order {order_id} in {table} cannot be read: write a valid one, or remove it with a tombstone"
    )
