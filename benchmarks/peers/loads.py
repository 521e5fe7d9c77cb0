"""The two loads: order workload v1 for the peers, and orderflow's own events, from the same order of orders.

In both an order has six events of about 700 bytes in, and its key is its id. An order is open after two of them. What differs is
said on the page of figures: orderflow decides by its own tables, and its events are those of shops and of Digital River.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec

from benchmarks.peers.machine import COMMANDS, EVENTS_PER_ORDER, ROWS, Cart, Customer, Event, Item
from benchmarks.workload import OneOrder

#: After so many events an order is open: it waits for the shopper.
OPENING_EVENTS: Final = 2
WINDOW: Final = 2_000

_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Made:
    """An event, and how many changes and commands a worker must write for it."""

    key: bytes
    value: bytes
    changes: int
    commands: int


class Source(Protocol):
    """One order: makes its events one after the other."""

    def make(self, now: float) -> Made:
        """The next event, sent at ``now`` (seconds since the epoch)."""
        ...


class PeerOrder:
    """An order of workload v1."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._step = 0

    def make(self, now: float) -> Made:
        """The next event."""
        number, kind = self._number, ROWS[self._step][1]
        order_id = f"bench-{number:08d}"
        event = Event(
            id=f"{order_id}-{self._step}",
            source="/bench/storefront",
            type=kind,
            subject=order_id,
            time=datetime.fromtimestamp(now, UTC).isoformat(),
            producetime=int(now * 1e6),
            data=_cart(number),
        )
        self._step += 1
        return Made(order_id.encode(), _encode(event), 1, int(kind in COMMANDS))


def _cart(number: int) -> Cart:
    items = [
        Item(f"sku-{number % 500:06d}", f"A mug of the series {number % 500}, with a handle and a lid", 2, 1990),
        Item(f"sku-{number % 300 + 500:06d}", f"A spoon of the series {number % 300}, made of bamboo wood", 1, 500),
    ]
    customer = Customer(f"customer-{number * 7 % 100_003:09d}", f"shopper{number}@example.com", "US")
    return Cart(f"checkout-{number:012d}", customer, "USD", 4480 + number % 1000, 336, 495, items, note="x" * 64)


class OwnOrder:
    """An order of orderflow: each event is made from what the core answered to the last one."""

    def __init__(self, number: int) -> None:
        self._order = OneOrder(number)

    def make(self, now: float) -> Made:
        """The next event; its id ends with ``now``, which the change of it names."""
        order = self._order
        value, written = order.next_event(event_id=f"{order.order_id}-{order.step}@{now:.6f}")
        return Made(order.order_id.encode(), value, len(written.changes), len(written.commands))


#: Makes the order of a number.
Maker = Callable[[int], Source]


def interleaved(
    make: Maker,
    numbers: Iterable[int],
    *,
    first: int = 0,
    last: int = EVENTS_PER_ORDER,
    window: int = WINDOW,
    seed: int = 1,
) -> Iterator[Source]:
    """The order that gets its next event, again and again: a random one of a window of open ones.

    Each order is given out ``last`` - ``first`` times; its events before ``first`` are made and thrown away.
    """
    chance, waiting = random.Random(seed), iter(numbers)
    open_orders: list[tuple[Source, int]] = []

    def begin() -> None:
        number = next(waiting, None)
        if number is not None:
            source = make(number)
            for _ in range(first):
                source.make(0.0)
            open_orders.append((source, last - first))

    for _ in range(window):
        begin()
    while open_orders:
        at = chance.randrange(len(open_orders))
        source, left = open_orders[at]
        yield source
        if left > 1:
            open_orders[at] = (source, left - 1)
        else:
            open_orders[at] = open_orders[-1]
            open_orders.pop()
            begin()
