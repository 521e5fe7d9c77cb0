"""Digital River acts on a request that its sender has given up: over real HTTP, every kind of command has one effect."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import pytest

from consumers.commands.calls import Caller, CallOptions
from consumers.commands.progress import Waits
from consumers.commands.records import PendingCommand
from consumers.commands.uncertain import CallHistory
from consumers.ownership.lease import Lease
from consumers.requests.breaker import Breaker
from consumers.requests.permit import CallPermit
from consumers.requests.rate_limit import RateLimit
from statemachine.messages.commands import Command, DeleteCheckout
from statemachine.messages.facts import Outcome
from statemachine.messages.ids import CommandId, OrderId
from tests.contract.provider.bench import Bench, cart_with, create, fulfil, open_bench, place, refund

#: HTTP time-out, late-effect wait, and for how long the first request is held: longer than the one, less than both.
TIMEOUT, SETTLE, HELD = 0.4, 1.4, 1.3


def permit() -> CallPermit:
    """That of a partition which has its lease."""
    lease = Lease(60.0, time.monotonic)
    lease.renew(time.monotonic())
    return CallPermit(lease, wake=asyncio.Event())


async def carry_out(bench: Bench, command: Command) -> Outcome:
    """As the lane does, on the real clock."""
    caller = Caller(
        bench.provider,
        options=CallOptions(http_timeout_seconds=TIMEOUT, settle_seconds=SETTLE, backoff_seconds=0.05),
        breaker=Breaker(),
        rate=RateLimit(0, lambda: 1.0),
        slots=asyncio.Semaphore(4),
        clock=time.monotonic,
        sleep=asyncio.sleep,
        jitter=random.random,
    )
    outcome = await caller.carry_out(PendingCommand(0, command), permit(), CallHistory(Waits(), time.monotonic))
    assert outcome is not None
    return outcome


async def _checkout(_bench: Bench) -> Command:
    return create("A-1")


async def _registered(_bench: Bench) -> Command:
    return create("A-1", cart_with(customer={"kind": "registered", "id": "c-1"}))


async def _order(bench: Bench) -> Command:
    return place("A-1", (await bench.ready_checkout("A-1")).checkout_id)


async def _parcel(bench: Bench) -> Command:
    return fulfil("A-1", await bench.placed("A-1"), (1, 0))


async def _refund(bench: Bench) -> Command:
    order = await bench.placed("A-1")
    await bench.call(fulfil("A-1", order, (3, 0)))
    await bench.advance(3600)
    return refund(order, amount=500)


async def _deletion(bench: Bench) -> Command:
    created = await bench.call(create("A-1"))
    assert created.checkout is not None
    return DeleteCheckout(
        command_id=CommandId("d-1"), order_id=OrderId("A-1"), checkout_id=created.checkout.checkout_id
    )


#: What is commanded, which of its requests is held, and what the books say in the end.
COMMANDS = [
    pytest.param(_checkout, "POST", "/checkouts", {"checkouts": 1}, id="checkout"),
    pytest.param(_registered, "POST", "/checkouts", {"checkouts": 1}, id="checkout-of-a-customer"),
    pytest.param(_registered, "POST", "/customers", {"checkouts": 1}, id="customer"),
    pytest.param(_order, "POST", "/orders", {"orders": 1}, id="order"),
    pytest.param(_parcel, "POST", "/fulfillments", {"captures": 1}, id="fulfilment"),
    pytest.param(_refund, "POST", "/refunds", {"refunds": 1, "refunded": "5.00"}, id="refund"),
    pytest.param(_deletion, "DELETE", "/checkouts/", {"checkouts": 1}, id="deletion"),
]


@pytest.mark.parametrize(("make", "method", "path", "books"), COMMANDS)
async def test_a_timed_out_command_is_not_called_again_before_its_request_is_over(
    make: Callable[[Bench], Awaitable[Command]], method: str, path: str, books: dict[str, object]
) -> None:
    """Held for longer than the time-out: what comes of it late is found, and nothing is made twice."""
    async with open_bench(timeout_seconds=TIMEOUT) as bench:
        command = await make(bench)
        await bench.admin("gates", {"method": method, "path": path, "point": "before"})

        async def let_go() -> None:
            await asyncio.sleep(HELD)
            await bench.admin("gates/open", {})

        opening = asyncio.create_task(let_go())
        outcome = await carry_out(bench, command)
        await opening
        await bench.advance(3600)
        assert outcome.result == "confirmed"
        found = await bench.books("A-1")
        assert {name: found[name] for name in books} == books
