"""Order workload v1: what a peer does with one event. Imports msgspec only, because each peer has an environment of its own.

An order passes seven states by six events. Each event makes the next snapshot of the order and a change event, two of the six
also a command. An event that came before is dropped; one that does not fit is an error, since the load has none.
"""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple

import msgspec

#: The state before an event, the event, the state after it.
ROWS: Final = (
    ("new", "checkout.created", "created"),
    ("created", "source.attached", "sourced"),
    ("sourced", "order.submitted", "submitted"),
    ("submitted", "payment.authorized", "authorized"),
    ("authorized", "fulfilment.created", "fulfilling"),
    ("fulfilling", "order.completed", "completed"),
)
EVENTS_PER_ORDER: Final = len(ROWS)
NEXT: Final = {(before, kind): after for before, kind, after in ROWS}
#: What an event asks somebody else to do.
COMMANDS: Final = {"order.submitted": "authorize_payment", "fulfilment.created": "ship_items"}
HISTORY_MAX: Final = 4


class Item(msgspec.Struct):
    """A line of a cart; amounts in cents."""

    sku: str
    name: str
    quantity: int
    amount: int


class Customer(msgspec.Struct):
    """Who buys."""

    id: str
    email: str
    country: str


class Cart(msgspec.Struct):
    """What an event says of its order."""

    checkout_id: str
    customer: Customer
    currency: str
    amount: int
    tax: int
    shipping: int
    items: list[Item]
    #: Read and not kept.
    note: str = ""


class Event(msgspec.Struct):
    """An input, a CloudEvent; ``producetime`` is microseconds since the epoch."""

    id: str
    source: str
    type: str
    subject: str
    time: str
    producetime: int
    data: Cart
    specversion: str = "1.0"


class Status(msgspec.Struct):
    """A state that an order was in, since when, and by which event."""

    status: str
    since: int
    event: str


class Order(msgspec.Struct):
    """The snapshot of an order."""

    order_id: str
    status: str
    version: int
    last_event_id: str
    checkout_id: str
    customer: Customer
    currency: str
    amount: int
    tax: int
    shipping: int
    items: list[Item]
    updated: int
    history: list[Status]


class Step(NamedTuple):
    """What is written for one event: the snapshot, the change, and the command where there is one."""

    order: bytes
    change: bytes
    command: bytes | None


_encode: Final = msgspec.json.Encoder().encode
_event: Final = msgspec.json.Decoder(Event).decode
_order: Final = msgspec.json.Decoder(Order).decode


def advance(snapshot: bytes | None, value: bytes) -> Step | None:
    """The step that an event makes from a snapshot; None when it is the order's last event again.

    Raises:
        ValueError: The event does not fit the order's state.
    """
    event, now = _event(value), int(time.time() * 1e6)
    order = None if snapshot is None else _order(snapshot)
    if order is not None and order.last_event_id == event.id:
        return None
    before = "new" if order is None else order.status
    after = NEXT.get((before, event.type))
    if after is None:
        raise ValueError(f"{event.type} in state {before} of {event.subject}")
    cart = event.data
    if order is None:
        order = Order(
            event.subject, after, 0, event.id, cart.checkout_id, cart.customer, cart.currency, cart.amount, cart.tax,
            cart.shipping, cart.items, now, [],
        )  # fmt: skip
    order.status = after
    order.version += 1
    order.last_event_id = event.id
    order.updated = now
    order.history = [*order.history[1 - HISTORY_MAX :], Status(after, now, event.id)]
    command = COMMANDS.get(event.type)
    return Step(
        _encode(order),
        _encode(_change(order, event, before, now)),
        None if command is None else _encode(_command(order, event, command, now)),
    )


def _change(order: Order, event: Event, before: str, now: int) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"{order.order_id}/{order.version}",
        "source": "bench/orders",
        "type": "order.changed",
        "subject": order.order_id,
        "producetime": now,
        "data": {
            "from": before,
            "to": order.status,
            "version": order.version,
            "cause": {
                "id": event.id,
                "source": event.source,
                "type": event.type,
                "time": event.time,
                "producetime": event.producetime,
            },
            "checkout_id": order.checkout_id,
            "customer": order.customer.id,
            "country": order.customer.country,
            "currency": order.currency,
            "amount": order.amount,
            "tax": order.tax,
            "shipping": order.shipping,
            "items": order.items,
            "history": order.history[-2:],
        },
    }


def _command(order: Order, event: Event, name: str, now: int) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"{order.order_id}/{order.version}/{name}",
        "source": "bench/orders",
        "type": f"command.{name}",
        "subject": order.order_id,
        "producetime": now,
        "data": {
            "checkout_id": order.checkout_id,
            "customer": order.customer.id,
            "country": order.customer.country,
            "currency": order.currency,
            "amount": order.amount,
            "cause": event.id,
            "version": order.version,
        },
    }
