"""A provider beside a served simulator, the commands of one order, and the simulator's admin side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
import msgspec

from orderflow.digitalriver.provider import DigitalRiverProvider
from orderflow.digitalriver.webhook import read_webhook
from orderflow.sandbox.defaults import ADDRESS
from orderflow.simulator import SimulatorOptions, serve_simulator
from statemachine.messages.commands import (
    AttachSource,
    Command,
    CreateCheckout,
    CreateFulfillment,
    CreateRefund,
    FulfillmentItem,
    PlaceOrder,
    RefundCommandItem,
)
from statemachine.messages.facts import Fact, Outcome, RemoteCheckout, RemoteOrder
from statemachine.messages.ids import CheckoutId, CommandId, LineId, OrderId

#: Three units of 10.00 to 55401 with 5.00 shipping: 37.81 with the documented rate.
CART: Mapping[str, object] = {
    "currency": "USD",
    "locale": "en_US",
    "email": "pat@example.org",
    "customer": {"kind": "guest"},
    "bill_to": ADDRESS,
    "ship_to": ADDRESS,
    "ship_from": {"country": "US", "postal_code": "55344"},
    "shipping": {"amount": "5.00", "description": "standard", "service_level": "SG"},
    "items": [{"line": "1", "sku_id": "kb-01", "quantity": 3, "price": "10.00"}],
}

SKU: Mapping[str, object] = {
    "name": "Keyboard",
    "tax_code": "4323.310_A",
    "country_of_origin": "US",
    "eccn": "EAR99",
    "weight": "20",
    "weight_unit": "oz",
}


def allow() -> None:
    """A lease that holds."""


def create(order_id: str, cart: Mapping[str, object] | None = None, command_id: str | None = None) -> CreateCheckout:
    """The command that creates a checkout."""
    raw = msgspec.Raw(msgspec.json.encode(cart or CART))
    return CreateCheckout(
        command_id=CommandId(command_id or f"{order_id}-create"), order_id=OrderId(order_id), cart=raw
    )


def cart_with(**changes: object) -> dict[str, object]:
    """The cart of the samples with some members changed."""
    return {**CART, **changes}


@dataclass(slots=True)
class Bench:
    """The provider under test and the other side of it."""

    provider: DigitalRiverProvider
    url: str
    session: aiohttp.ClientSession
    orders: dict[str, RemoteOrder] = field(default_factory=dict)

    async def call(self, command: Command) -> Outcome:
        """Carry a command out with a lease that holds."""
        return await self.provider.call(command, allow)

    async def admin(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        """Post to the simulator's admin side."""
        async with self.session.post(f"{self.url}/_admin/{path}", json=dict(body)) as answer:
            assert answer.status < 300, await answer.text()
            return msgspec.json.decode(await answer.read(), type=dict[str, object])

    async def books(self, order_id: str) -> dict[str, object]:
        """The simulator's books of one order."""
        async with self.session.get(f"{self.url}/_admin/books") as answer:
            return msgspec.json.decode(await answer.read(), type=dict[str, dict[str, object]])[order_id]

    async def faults(self, **rates: float | bool) -> None:
        """Set fault rates."""
        await self.admin("faults", rates)

    async def advance(self, seconds: float) -> None:
        """Move the simulator's clock."""
        await self.admin("clock", {"advance_s": seconds})

    async def ready_checkout(
        self, order_id: str, method: str = "card", cart: Mapping[str, object] | None = None
    ) -> RemoteCheckout:
        """A checkout with its source attached."""
        created = await self.call(create(order_id, cart))
        assert created.checkout is not None, created
        attached = await self.call(attach(order_id, created.checkout.checkout_id, f"sim-{method}-{order_id}"))
        assert attached.checkout is not None, attached
        return attached.checkout

    async def placed(
        self, order_id: str, method: str = "card", cart: Mapping[str, object] | None = None
    ) -> RemoteOrder:
        """An order that was placed."""
        checkout = await self.ready_checkout(order_id, method, cart)
        outcome = await self.call(place(order_id, checkout.checkout_id))
        assert outcome.order is not None, outcome
        return outcome.order

    async def read(self, order: RemoteOrder) -> RemoteOrder:
        """The order as it is now."""
        fact = await self.provider.read_order(order.dr_order_id)
        assert fact is not None
        assert fact.order is not None
        return fact.order


def attach(order_id: str, checkout_id: str, source_id: str) -> AttachSource:
    """The command that attaches a source."""
    return AttachSource(
        command_id=CommandId(f"{order_id}-attach"),
        order_id=OrderId(order_id),
        checkout_id=CheckoutId(checkout_id),
        source_id=source_id,
        currency="USD",
    )


def place(order_id: str, checkout_id: str) -> PlaceOrder:
    """The command that places the order."""
    return PlaceOrder(
        command_id=CommandId(f"{order_id}-place"),
        order_id=OrderId(order_id),
        checkout_id=CheckoutId(checkout_id),
        currency="USD",
    )


def fulfil(
    order_id: str, order: RemoteOrder, *units: tuple[int, int], command_id: str = "ship", at: int = 0
) -> CreateFulfillment:
    """The command that ships and cancels ``units`` of the order's lines, from the line ``at`` on."""
    return CreateFulfillment(
        command_id=CommandId(f"{order_id}-{command_id}"),
        order_id=OrderId(order_id),
        dr_order_id=order.dr_order_id,
        currency=order.currency,
        items=tuple(
            FulfillmentItem(
                line=LineId(item.line or ""), item_id=item.item_id, quantity=quantity, cancel_quantity=cancelled
            )
            for item, (quantity, cancelled) in zip(order.items[at:], units, strict=False)
        ),
        shipment_id=command_id,
    )


def refund(
    order: RemoteOrder,
    refund_id: str = "r-1",
    *,
    amount: int | None = None,
    items: tuple[RefundCommandItem, ...] = (),
    kind: Literal["shipping", "tax", "duty"] | None = None,
) -> CreateRefund:
    """The command that asks for a refund."""
    return CreateRefund(
        command_id=CommandId(f"{refund_id}-command"),
        order_id=OrderId("A-1"),
        dr_order_id=order.dr_order_id,
        currency="USD",
        refund_id=refund_id,
        amount=amount,
        items=items,
        kind=kind,
    )


async def events(bench: Bench, *kinds: str) -> list[dict[str, object]]:
    """The events of these types, oldest first."""
    headers = {"Authorization": "Bearer sk_test_simulator"}
    async with bench.session.get(f"{bench.url}/events?limit=100", headers=headers) as answer:
        page = msgspec.json.decode(await answer.read())
    return [event for event in reversed(page["data"]) if event["type"] in kinds]


async def facts(bench: Bench, *kinds: str) -> list[Fact]:
    """What webhooks of these types would tell, oldest first, as the webhook lane reads them."""
    found: list[Fact] = []
    for event in await events(bench, *kinds):
        read = read_webhook(msgspec.json.encode(event))
        assert read is not None
        found.append(read[1])
    return found


@asynccontextmanager
async def open_bench(options: SimulatorOptions | None = None, timeout_seconds: float = 5.0) -> AsyncIterator[Bench]:
    """A bench on a simulator without a rate limit, whose steps take 60 s of its own clock."""
    chosen = options or SimulatorOptions(
        port=0, rate=0, seed=7, capture_delay=60.0, wire_delay=60.0, review_delay=60.0, refund_delay=60.0
    )
    async with (
        serve_simulator(chosen) as served,
        DigitalRiverProvider(served.url, chosen.key, timeout_seconds=timeout_seconds) as provider,
        aiohttp.ClientSession() as session,
    ):
        bench = Bench(provider, served.url, session)
        assert (await provider.put_sku("kb-01", SKU, allow)).problem is None
        yield bench
