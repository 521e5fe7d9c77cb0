"""The load of the benchmarks: orders of six events of about 700 bytes, a window of open orders, one partitioned topic.

The shape is that of the peer measurements: 8 partitions, a random one of 2,000 open orders gets its next event, seed 1. Digital
River's answers are generated too, so the order lane is measured alone; everything enters through ``orderflow.inbox``, which keeps
an order's events in their order.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from producers.encoding import encode_command, encode_event, encode_index_entry, encode_state_change
from statemachine.decide import decide
from statemachine.messages.commands import Command, name_of
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import CloudEvent, Record
from statemachine.messages.facts import (
    Outcome,
    QuotedLine,
    RemoteCharge,
    RemoteCheckout,
    RemoteItem,
    RemoteOrder,
    SellingEntity,
    Session,
    outcome_type,
)
from statemachine.messages.ids import ChargeId, CheckoutId, LineId, OrderId, RemoteItemId, RemoteOrderId
from statemachine.order.decision import IndexEntry, Moved, SetAside, StateChange
from statemachine.order.order import Order
from statemachine.order.snapshot import encode_snapshot

EVENTS_PER_ORDER = 6
#: A source that is provided asks a command and has no news.
CHANGES_PER_ORDER = 5
WINDOW = 2_000
START = datetime(2031, 3, 4, 10, 11, 12, tzinfo=UTC)

_json = msgspec.json.Encoder()


@dataclass(slots=True)
class Written:
    """What the order lane writes for one event: the same bytes that a loop without logic writes again."""

    snapshot: bytes
    changes: list[bytes] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)
    index: list[tuple[bytes, bytes]] = field(default_factory=list)


def cart(number: int) -> dict[str, object]:
    """A cart of two lines."""
    address = {
        "name": f"Shopper {number}",
        "line1": f"{number % 999} Test Road",
        "city": "Minneapolis",
        "state": "MN",
        "postal_code": "55401",
        "country": "US",
    }
    return {
        "currency": "USD",
        "locale": "en_US",
        "email": f"shopper{number}@example.com",
        "customer": {"kind": "guest"},
        "bill_to": address,
        "items": [
            {"line": "1", "sku_id": f"sku-{number % 500}", "quantity": 2, "price": "19.90"},
            {"line": "2", "sku_id": f"sku-{number % 300 + 500}", "quantity": 1, "price": "5.00"},
        ],
    }


def _event(order_id: str, event_id: str, kind: str, source: str, data: object) -> bytes:
    raw = msgspec.Raw(_json.encode(data))
    return encode_event(CloudEvent(event_id, source, kind, order_id, START, raw))


class OneOrder:
    """One order: its next event is made from what the core answered to the last one."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.order_id = f"bench-{number:08d}"
        self.step = 0
        self._order: Order | None = None
        self._command: Command | None = None

    def next_event(self, *, event_id: str | None = None) -> tuple[bytes, Written]:
        """The value of the next event, and what the order lane writes for it."""
        name = event_id or f"{self.order_id}-{self.step}"
        match self.step:
            case 0:
                value = _event(self.order_id, name, "checkout.requested", "/storefront", cart(self.number))
            case 2:
                data: dict[str, object] = {"source_id": f"sim-card-{self.number}", "note": "x" * 350}
                value = _event(self.order_id, name, "checkout.source_provided", "/storefront", data)
            case 4:
                placed = {"terms_accepted": True, "note": "x" * 350}
                value = _event(self.order_id, name, "order.placed", "/storefront", placed)
            case _:
                value = self._answer(name)
        self.step += 1
        return value, self._decide(value)

    def _answer(self, event_id: str) -> bytes:
        command = self._command
        assert command is not None
        total = 4816 + self.number % 1000  # orders do not all cost the same
        checkout = RemoteCheckout(
            checkout_id=CheckoutId(f"chk-{self.number}"),
            currency="USD",
            total=total,
            tax=336,
            selling_entity=SellingEntity("C5_INC-ENTITY", "DR globalTech Inc."),
            lines=(QuotedLine(LineId("1"), 3980, 299), QuotedLine(LineId("2"), 500, 37)),
            session=Session(f"ses-{self.number}", "requires_confirmation", 0, f"ses-{self.number}_secret"),
            upstream_id=OrderId(self.order_id),
        )
        order = RemoteOrder(
            dr_order_id=RemoteOrderId(f"9{self.number:011d}"),
            state="accepted",
            currency="USD",
            total=total,
            tax=336,
            checkout_id=checkout.checkout_id,
            upstream_id=OrderId(self.order_id),
            fraud_state="passed",
            items=(
                RemoteItem(RemoteItemId("70001"), 2, LineId("1"), amount=3980, tax=299),
                RemoteItem(RemoteItemId("70002"), 1, LineId("2"), amount=500, tax=37),
            ),
            charges=(RemoteCharge(ChargeId(f"cha-{self.number}"), "capturable", total),),
        )
        name = name_of(command)
        outcome = Outcome(
            command_id=command.command_id,
            command=name,
            attempt=1,
            result="confirmed",
            tries=1,
            status=201,
            request_id=f"req-{self.number}-{self.step}",
            duration_ms=12,
            checkout=None if name == "place_order" else checkout,
            order=order if name == "place_order" else None,
        )
        return _event(self.order_id, event_id, outcome_type(outcome), "orderflow/commands", outcome)

    def _decide(self, value: bytes) -> Written:
        key = self.order_id.encode()
        event = decode(Record("orderflow.inbox", 0, self.step, key, value))
        decision = decide(self._order, event, now=START)
        assert isinstance(decision, Moved), f"{event.type} in {self._order}: {decision}"
        self._order = decision.order
        written = Written(encode_snapshot(decision.order))
        for effect in decision.effects:
            if isinstance(effect, StateChange):
                written.changes.append(encode_state_change(effect))
            elif isinstance(effect, IndexEntry):
                written.index.append((effect.dr_id.encode(), encode_index_entry(effect)))
            else:
                assert not isinstance(effect, SetAside)
                self._command = effect
                written.commands.append(encode_command(effect, time=START))
        return written


def generate(orders: int, *, window: int = WINDOW, seed: int = 1) -> Iterator[tuple[bytes, bytes, Written]]:
    """Key, value and what is written for each event of ``orders`` orders, interleaved over a window of open ones."""
    chance = random.Random(seed)
    waiting = iter(range(orders))
    open_orders = [OneOrder(number) for number in (next(waiting) for _ in range(min(window, orders)))]
    while open_orders:
        at = chance.randrange(len(open_orders))
        order = open_orders[at]
        value, written = order.next_event()
        yield order.order_id.encode(), value, written
        if order.step == EVENTS_PER_ORDER:
            following = next(waiting, None)
            if following is None:
                open_orders[at] = open_orders[-1]
                open_orders.pop()
            else:
                open_orders[at] = OneOrder(following)
