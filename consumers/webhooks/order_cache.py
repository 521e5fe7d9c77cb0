"""Which of our orders a Digital River order is, as far as this process has seen it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from statemachine.messages.ids import OrderId, RemoteOrderId

#: Digital River orders whose order id is remembered; about 20 MB when full.
REMEMBERED_MAX: Final = 100_000


class OrderCache:
    """Order ids by Digital River order id, the latest ``size_max``; shared by the partitions of a process."""

    def __init__(self, size_max: int = REMEMBERED_MAX) -> None:
        self._size_max = size_max
        self._order_ids: OrderedDict[RemoteOrderId, OrderId] = OrderedDict()

    def get(self, dr_order_id: RemoteOrderId) -> OrderId | None:
        """The order id; None when it is not remembered."""
        return self._order_ids.get(dr_order_id)

    def put(self, dr_order_id: RemoteOrderId, order_id: OrderId) -> None:
        """Remember it; the oldest one is forgotten when there are too many."""
        self._order_ids[dr_order_id] = order_id
        self._order_ids.move_to_end(dr_order_id)
        if len(self._order_ids) > self._size_max:
            self._order_ids.popitem(last=False)
