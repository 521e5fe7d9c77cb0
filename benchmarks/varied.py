"""Snapshots of varied orders: what a dictionary is trained on, and what memory is measured with.

Each order is driven through the core from a cart of its own: one to eight lines, six currencies, ids in the shapes that shops
use, and left in one of the states on the way to its parcels. Nothing is taken from anybody's data. The same seed makes the same
snapshots.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from benchmarks.workload import START
from producers.encoding import encode_event
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
from statemachine.order.decision import IndexEntry, Moved, StateChange
from statemachine.order.order import Order
from statemachine.order.snapshot import encode_snapshot

_STEPS = 8
_CURRENCIES = ("USD", "EUR", "GBP", "BRL", "CAD", "AUD")
_json = msgspec.json.Encoder()


def varied(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Order id and snapshot of ``count`` orders."""
    chance = random.Random(seed)
    for number in range(count):
        order = _VariedOrder(chance, number)
        for _ in range(chance.choices(range(1, _STEPS + 1), weights=(1, 2, 1, 2, 1, 8, 6, 6))[0]):
            order.advance()
        yield order.order_id, order.snapshot()


class _VariedOrder:
    """One order on its way."""

    def __init__(self, chance: random.Random, number: int) -> None:
        self._chance = chance
        self.order_id = _order_id(chance, number)
        self._currency = chance.choice(_CURRENCIES)
        self._now = START + timedelta(seconds=chance.randrange(10_000_000))
        shape = chance.choice(("{}", "L{}", "{:04d}", "line-{}"))
        self._lines = [
            shape.format(at + 1) for at in range(chance.choices(range(1, 9), weights=(8, 6, 4, 2, 1, 1, 1, 1))[0])
        ]
        self._quantities = [chance.choice((1, 1, 1, 2, 3, 10)) for _ in self._lines]
        self._prices = [chance.randrange(99, 99_999) for _ in self._lines]
        self._taxes = [price * quantity // 12 for price, quantity in zip(self._prices, self._quantities, strict=True)]
        self._checkout_id = _remote_id(chance)
        self._charge_id = _remote_id(chance)
        self._step = 0
        self._order: Order | None = None
        self._command: Command | None = None

    def snapshot(self) -> bytes:
        """The order as the worker keeps it."""
        assert self._order is not None
        return encode_snapshot(self._order)

    def advance(self) -> None:
        """The next event."""
        match self._step:
            case 0:
                self._take("checkout.requested", "/storefront", self._cart())
            case 2:
                self._take("checkout.source_provided", "/storefront", {"source_id": _remote_id(self._chance)})
            case 4:
                self._take("order.placed", "/storefront", {"terms_accepted": True})
            case 6:
                self._take("fulfillment.shipped", "/warehouse", self._parcel())
            case _:
                if self._command is not None:
                    outcome = self._answer(self._command)
                    self._take(outcome_type(outcome), "orderflow/commands", outcome)
        self._step += 1

    def _cart(self) -> dict[str, object]:
        shape = self._chance.choice(("sku-{}", "{:09d}", "ACME-{}-BLK-M", "product.{}"))
        return {
            "currency": self._currency,
            "locale": self._chance.choice(("en_US", "de_DE", "pt_BR", "fr_FR")),
            "email": "shopper@example.com",
            "customer": {"kind": "guest"},
            "bill_to": {
                "name": "A Shopper",
                "line1": "1 Road",
                "city": "Minneapolis",
                "state": "MN",
                "postal_code": "55401",
                "country": "US",
            },
            "items": [
                {
                    "line": line,
                    "sku_id": shape.format(self._chance.randrange(100_000)),
                    "quantity": quantity,
                    "price": f"{price // 100}.{price % 100:02d}",
                }
                for line, quantity, price in zip(self._lines, self._quantities, self._prices, strict=True)
            ],
        }

    def _parcel(self) -> dict[str, object]:
        items = [{"line": line, "quantity": 1} for line in self._lines[: self._chance.randrange(len(self._lines)) + 1]]
        number = f"1Z{self._chance.randrange(10**10):010d}"
        return {"shipment_id": f"P-{number[-5:]}", "items": items, "tracking": {"company": "UPS", "number": number}}

    def _answer(self, command: Command) -> Outcome:
        amounts = [price * quantity for price, quantity in zip(self._prices, self._quantities, strict=True)]
        tax = sum(self._taxes)
        total = sum(amounts) + tax
        checkout = RemoteCheckout(
            checkout_id=CheckoutId(self._checkout_id),
            currency=self._currency,
            total=total,
            tax=tax,
            selling_entity=SellingEntity("C5_INC-ENTITY", "DR globalTech Inc."),
            lines=tuple(
                QuotedLine(LineId(line), amount, one)
                for line, amount, one in zip(self._lines, amounts, self._taxes, strict=True)
            ),
            session=Session(_remote_id(self._chance), "requires_confirmation", 0, _remote_id(self._chance)),
            upstream_id=OrderId(self.order_id),
        )
        order = RemoteOrder(
            dr_order_id=RemoteOrderId(f"{self._chance.randrange(10**11, 10**12)}"),
            state="accepted",
            currency=self._currency,
            total=total,
            tax=tax,
            checkout_id=checkout.checkout_id,
            upstream_id=OrderId(self.order_id),
            fraud_state="passed",
            items=tuple(
                RemoteItem(
                    RemoteItemId(f"{self._chance.randrange(10**10)}"), quantity, LineId(line), amount=amount, tax=one
                )
                for line, quantity, amount, one in zip(self._lines, self._quantities, amounts, self._taxes, strict=True)
            ),
            charges=(RemoteCharge(ChargeId(self._charge_id), "capturable", total),),
        )
        name = name_of(command)
        return Outcome(
            command_id=command.command_id,
            command=name,
            attempt=1,
            result="confirmed",
            tries=1,
            status=201,
            request_id=_remote_id(self._chance),
            duration_ms=12,
            checkout=None if name == "place_order" else checkout,
            order=order if name == "place_order" else None,
        )

    def _take(self, kind: str, source: str, data: object) -> None:
        self._now += timedelta(seconds=self._chance.random() * 5000)
        now: datetime = self._now
        raw = msgspec.Raw(_json.encode(data))
        value = encode_event(CloudEvent(_uuid(self._chance), source, kind, self.order_id, now, raw))
        topic = {"/warehouse": "fulfillment-events", "orderflow/commands": "orderflow.inbox"}.get(source)
        topic = topic or ("order-events" if kind == "order.placed" else "checkout-events")
        decision = decide(self._order, decode(Record(topic, 0, self._step, self.order_id.encode(), value)), now=now)
        if isinstance(decision, Moved):
            self._order = decision.order
            asked = [one for one in decision.effects if not isinstance(one, StateChange | IndexEntry)]
            self._command = asked[0] if asked else None  # type: ignore[assignment]  # nothing is set aside here


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128)))


def _remote_id(chance: random.Random) -> str:
    return chance.choice((_uuid(chance), f"{chance.getrandbits(60):015x}", f"{chance.randrange(10**12)}"))


def _order_id(chance: random.Random, number: int) -> str:
    return chance.choice(
        (f"A-{number:07d}", f"WEB{number:09d}", _uuid(chance), f"2031-{number:08d}", f"{chance.getrandbits(128):032x}")
    )
