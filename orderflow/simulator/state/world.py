"""The simulator's memory: all resources with the indexes that requests need, the clock, ids, and the log of events.

Requests of orderflow name an order, a checkout or an upstream id, and an index finds it. Requests that only people make walk over
everything: lists without a filter, ``GET /charges/{id}``, the books of all orders. Nothing here knows HTTP.
"""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import Concatenate, Final, ParamSpec, Protocol

import msgspec

from orderflow.simulator.state.clock import Clock, fine_stamp
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.options import SimulatorOptions
from orderflow.simulator.state.records import (
    Checkout,
    Customer,
    Delivery,
    Endpoint,
    Event,
    File,
    FileLink,
    Fulfillment,
    Order,
    Refund,
    Return,
    Sku,
    Source,
)
from orderflow.simulator.state.steps import Step, step_name

#: Order and line ids are digits at Digital River.
_ORDER_ID_FIRST: Final = 900_100_000_000
_LINE_ID_FIRST: Final = 700_500_000_000

#: ``GET /events`` reaches back 30 days; the count is ours, it bounds the memory of a long soak.
EVENT_AGE_SECONDS_MAX: Final = 30 * 86_400
EVENTS_MAX: Final = 100_000


P = ParamSpec("P")


class Keeper(Protocol):
    """Keeps the state beyond the process."""

    def commit(self) -> None:
        """Keep all that was changed since the last time."""

    def skip(self) -> None:
        """Nothing was changed since the last time, whatever was looked at."""


class World:
    """All that one simulator knows.

    Its dictionaries, counters and events are its state: ``keeping`` finds them by their types, and keeps every new one.
    """

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        #: Where the simulator is reached, for the addresses that it gives out.
        self.base_url = options.base_url
        self.clock = Clock()
        self.random = random.Random(options.seed)
        self.skus: dict[str, Sku] = {}
        self.customers: dict[str, Customer] = {}
        self.sources: dict[str, Source] = {}
        self.checkouts: dict[str, Checkout] = {}
        self.orders: dict[str, Order] = {}
        self.fulfillments: dict[str, Fulfillment] = {}
        self.refunds: dict[str, Refund] = {}
        self.returns: dict[str, Return] = {}
        self.checkouts_by_upstream: dict[str, list[Checkout]] = {}
        self.orders_by_upstream: dict[str, list[Order]] = {}
        self.orders_by_source: dict[str, Order] = {}
        self.fulfillments_by_order: dict[str, list[Fulfillment]] = {}
        self.files: dict[str, File] = {}
        self.file_links: dict[str, FileLink] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.events: deque[Event] = deque(maxlen=EVENTS_MAX)
        #: Webhooks that are not acknowledged yet, by number.
        self.deliveries: dict[str, Delivery] = {}
        #: Webhooks that were tried, acknowledged, given up, lost on purpose.
        self.webhook_counts: dict[str, int] = {"tried": 0, "acknowledged": 0, "given_up": 0, "lost": 0}
        #: What other parts want to be kept, such as the faults.
        self.notes: dict[str, Json] = {}
        self.deliveries_made = 0
        #: Called for each event; the webhook sender is the one listener.
        self.listener: Callable[[Event], None] | None = None
        #: Carries out a request late: by token, route, ids in the path, address and body. The gateway does it.
        self.carry_out_late: Callable[[str, tuple[str, str], Mapping[str, str], str, bytes], None] | None = None
        #: Keeps the state in a file; None when it ends with the process.
        self.keeper: Keeper | None = None
        self._orders_made = 0
        self._lines_made = 0

    def after(
        self,
        delay_seconds: float,
        function: Callable[Concatenate[World, P], object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Call ``function``, which is marked as a step, once ``delay_seconds`` have passed; at once when that is zero."""
        self.clock.after(delay_seconds, Step(self, step_name(function), args, kwargs))

    def commit(self, *, changed: bool = True) -> None:
        """Keep what was changed, where the state is kept: before anybody is told. ``changed``: it may have been."""
        if self.keeper is not None:
            (self.keeper.commit if changed else self.keeper.skip)()

    def now(self) -> float:
        """The simulator's time."""
        return self.clock.now()

    def uuid(self) -> str:
        """A random id, repeatable by the seed."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def order_id(self) -> str:
        """An order's id: digits."""
        self._orders_made += 1
        return str(_ORDER_ID_FIRST + self._orders_made)

    def line_id(self) -> str:
        """A line's id: digits."""
        self._lines_made += 1
        return str(_LINE_ID_FIRST + self._lines_made)

    def add_checkout(self, checkout: Checkout) -> None:
        """Keep a new checkout."""
        self.checkouts[checkout.id] = checkout
        if checkout.upstream_id is not None:
            self.checkouts_by_upstream.setdefault(checkout.upstream_id, []).append(checkout)

    def move_checkout(self, checkout: Checkout, before: str | None) -> None:
        """A checkout that had the upstream id ``before`` is found by the one that it has now."""
        if checkout.upstream_id == before:
            return
        if before is not None:
            self.checkouts_by_upstream[before].remove(checkout)
        if checkout.upstream_id is not None:
            self.checkouts_by_upstream.setdefault(checkout.upstream_id, []).append(checkout)

    def add_order(self, order: Order) -> None:
        """Keep a new order; its checkout is consumed by it."""
        self.orders[order.id] = order
        if order.source is not None:
            self.orders_by_source[order.source.id] = order
        order.checkout.order_id = order.id
        if order.upstream_id is not None:
            self.orders_by_upstream.setdefault(order.upstream_id, []).append(order)

    def add_fulfillment(self, fulfillment: Fulfillment) -> None:
        """Keep a new fulfilment."""
        self.fulfillments[fulfillment.id] = fulfillment
        self.fulfillments_by_order.setdefault(fulfillment.order.id, []).append(fulfillment)

    def emit(self, kind: str, body: Json, order_id: str | None = None) -> None:
        """Log an event with its object as it is now, and notify the listener."""
        now = self.now()
        event_id = self.uuid()
        envelope = {
            "id": event_id,
            "type": kind,
            "data": {"object": body},
            "liveMode": False,
            "createdTime": fine_stamp(now),
            # The OpenAPI document requires it: how many endpoints are to be notified when it is made.
            "pendingWebhooks": sum(endpoint.takes(kind) for endpoint in self.endpoints.values()),
            "digitalriverVersion": "2021-12-13",
        }
        event = Event(event_id, kind, now, msgspec.json.encode(envelope), order_id)
        self.events.append(event)
        while self.events and self.events[0].created < now - EVENT_AGE_SECONDS_MAX:
            self.events.popleft()
        if self.listener is not None:
            self.listener(event)
