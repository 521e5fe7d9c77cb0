"""Which order an id belongs to. Pure: from snapshots, from ``orderflow.index``, and from the ids of events.

An id matches when it is the text that was looked for, or begins with it. Values are searched as bytes first, because nearly all
of them hold nothing that matches and are not worth decoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from statemachine.errors import OrderflowError
from statemachine.messages.envelope import Headers
from statemachine.messages.identity import mark_of
from statemachine.order.order import Order
from statemachine.order.snapshot import decode_snapshot


class Match(msgspec.Struct, frozen=True):
    """An order that has the id: ``matched`` is what the id is of, ``value`` the whole id."""

    order_id: str
    matched: str
    value: str


#: Kinds of ``orderflow.index``, as matches name them.
_KINDS: Final = {
    "checkout": "checkout",
    "order": "digital_river_order",
    "fulfillment": "fulfillment",
    "customer": "customer",
}


class Matcher:
    """Looks for one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        #: The text as it stands in JSON.
        self._needle = msgspec.json.encode(text)[1:-1]
        self._mark = mark_of(text)

    def hits(self, value: str | None) -> bool:
        """Whether an id is the text or begins with it."""
        return value is not None and value.startswith(self._text)

    def in_snapshot(self, order_id: str, snapshot: bytes) -> Iterator[Match]:
        """What matches in a record of ``orders``; its key is the order's id."""
        if self.hits(order_id):
            yield Match(order_id, "order", order_id)
        try:
            order = decode_snapshot(snapshot) if self._may_hold(snapshot) else None
        except OrderflowError:
            return
        if order is not None:
            seen = set()
            for matched, value in _ids_of(order):
                if self.hits(value) and (matched, value) not in seen:
                    seen.add((matched, value))
                    yield Match(order_id, matched, str(value))
            yield from self._by_mark(order)

    def _may_hold(self, snapshot: bytes) -> bool:
        """Marks are Base64 in a snapshot: one that begins inside of a group of three bytes cannot be searched for."""
        return self._needle in snapshot or b'"refunds":[{' in snapshot

    def _by_mark(self, order: Order) -> Iterator[Match]:
        """Digital River's ids of refunds are kept as marks only, so that they match as a whole."""
        for refund in order.refunds:
            if refund.mark == self._mark and refund.refund_id != self._text:
                yield Match(order.order_id, "refund", self._text)

    def in_index(self, dr_id: str, value: bytes) -> Iterator[Match]:
        """What matches in a record of ``orderflow.index``."""
        if self.hits(dr_id):
            try:
                entry = msgspec.json.decode(value, type=dict[str, Any])
                yield Match(entry["order_id"], _KINDS.get(entry["kind"], str(entry["kind"])), dr_id)
            except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
                return

    def in_event(self, key: bytes | None, value: bytes | None, headers: Headers) -> Iterator[Match]:
        """What matches in the record of an event, in structured or binary mode."""
        order_id = (key or b"").decode(errors="replace")
        if value is not None and self._needle in value:
            try:
                event = _event.decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError):
                event = _Event()
            if self.hits(event.id):
                yield Match(order_id, "event", str(event.id))
                return
            if isinstance(event.data, dict):
                for name, matched in _EVENT_IDS.items():
                    found = event.data.get(name)
                    if isinstance(found, str) and self.hits(found):
                        yield Match(order_id, matched, found)
        for name, content in headers:
            if name == "ce_id" and self.hits((content or b"").decode(errors="replace")):
                yield Match(order_id, "event", (content or b"").decode(errors="replace"))


class _Event(msgspec.Struct):
    id: str | None = None
    data: Any = None


_event = msgspec.json.Decoder(_Event)
#: Ids in the data of events, and what they are of: an event that was refused or is not decided yet is in no snapshot.
_EVENT_IDS: Final = {
    "shipment_id": "shipment",
    "refund_id": "refund",
    "return_id": "return",
    "checkout_id": "checkout",
    "cancellation_id": "cancellation",
    "receipt_id": "receipt",
}


def _ids_of(order: Order) -> Iterator[tuple[str, str | None]]:
    """Every id in an order, and what it is of."""
    ids = order.digital_river
    yield "checkout", ids.checkout_id
    yield "digital_river_order", ids.order_id
    yield "customer", ids.customer_id
    for former in order.former:
        yield ("checkout" if "-" in former else "digital_river_order"), former
    for shipment in order.shipments:
        yield "shipment", shipment.shipment_id
        yield "fulfillment", shipment.fulfillment_id
    for command in order.commands:
        yield "shipment", command.shipment_id
        yield "command", command.command_id
    for void in order.voids:
        yield "fulfillment", void
    for refund in order.refunds:
        yield "refund", refund.refund_id
    for returned in order.returns:
        yield "return", returned.return_id
        yield "return", returned.remote_id
    for document in order.documents:
        yield "file", document.file_id


def in_order(matches: Sequence[Match], text: str) -> list[Match]:
    """Matches without repetition: whole ids first, then by order."""
    return sorted(dict.fromkeys(matches), key=lambda one: (one.value != text, one.order_id, one.matched, one.value))
