"""One order at a provider, by the port alone, and the laws that hold for every command."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from consumers.provider import Provider
from statemachine.messages.commands import (
    AcceptReturn,
    Command,
    CreateRefund,
    CreateReturn,
    RereadOrder,
    ReturnItem,
)
from statemachine.messages.facts import Outcome, RemoteOrder
from statemachine.messages.ids import CommandId, RemoteReturnId
from tests.contract.port.bench import PortBench
from tests.contract.provider.bench import attach, create, fulfil, place, refund

#: How long what is pending may take, beyond what ``settle`` waits for.
_TRIES: Final = 50
_PAUSE_SECONDS: Final = 0.1


class NotNow(Exception):  # says what it means
    """What ``may_write`` of the lanes raises when the lease has run out."""


def not_now() -> None:
    """A lease that has run out."""
    raise NotNow


class Shop:
    """A shop with one order; ids are new in each test, because a sandbox may be shared."""

    def __init__(self, bench: PortBench) -> None:
        self.bench = bench
        self.provider: Provider = bench.provider
        self.order_id = f"T-{uuid.uuid4().hex[:12]}"
        #: How often a request was about to be written.
        self.written = 0

    def may_write(self) -> None:
        """A lease that holds."""
        self.written += 1

    async def call(self, command: Command) -> Outcome:
        """Carry a command out."""
        return await self.provider.call(command, self.may_write)

    async def carry_out(self, command: Command) -> Outcome:
        """Carry a command out that takes effect, and hold it to the laws of all such commands."""
        assert await self.provider.look(command) is None, "it was found before it was called"
        with pytest.raises(NotNow):
            await self.provider.call(command, not_now)
        assert await self.provider.look(command) is None, "it took effect though it was not allowed to be written"
        self.written = 0
        outcome = await self.call(command)
        assert outcome.result == "confirmed", outcome.problem
        assert (outcome.command_id, outcome.attempt) == (command.command_id, command.attempt)
        assert outcome.tries == self.written >= 1, "may_write runs before each writing request"
        self.written = 0
        found = await self.provider.look(command)
        assert found is not None, "it was not found after it was called"
        assert effect(found) == effect(outcome)
        assert self.written == 0
        return outcome

    async def refused(self, command: Command) -> Outcome:
        """Carry a command out that is refused, and hold it to the laws of all such commands."""
        outcome = await self.call(command)
        assert outcome.result == "rejected"
        assert outcome.problem is not None
        assert outcome.problem.code
        assert (outcome.command_id, outcome.attempt) == (command.command_id, command.attempt)
        assert await self.provider.look(command) is None, "it was refused and took effect"
        return outcome

    async def checkout(self, suffix: str = "") -> str:
        """A checkout without a source."""
        outcome = await self.call(create(self.order_id, command_id=f"{self.order_id}-create{suffix}"))
        assert outcome.checkout is not None
        return outcome.checkout.checkout_id

    async def placed(self) -> RemoteOrder:
        """An order that was placed."""
        checkout_id = await self.checkout()
        await self.call(attach(self.order_id, checkout_id, self.bench.source_id(self.order_id)))
        outcome = await self.call(place(self.order_id, checkout_id))
        assert outcome.order is not None
        return outcome.order

    async def captured(self) -> RemoteOrder:
        """An order whose three units are shipped and paid for."""
        order = await self.placed()
        await self.call(fulfil(self.order_id, order, (3, 0)))
        return await self.until(order, lambda now: now.captured == order.total)

    async def read(self, order: RemoteOrder) -> RemoteOrder:
        """The order as it is now."""
        fact = await self.provider.read_order(order.dr_order_id)
        assert fact is not None
        assert fact.order is not None
        return fact.order

    async def until(self, order: RemoteOrder, holds: Callable[[RemoteOrder], bool]) -> RemoteOrder:
        """Read the order until something holds."""
        now = order
        for _ in range(_TRIES):
            await self.bench.settle()
            now = await self.read(order)
            if holds(now):
                return now
            await asyncio.sleep(_PAUSE_SECONDS)
        raise AssertionError(now)

    def refund(self, order: RemoteOrder, name: str, amount: int | None) -> CreateRefund:
        """The command that asks for a refund; all that is left without an amount."""
        return replace(refund(order, f"{self.order_id}-{name}", amount=amount), order_id=self.order_id)

    def send_back(self, order: RemoteOrder, units: int) -> CreateReturn:
        """The command that announces a return of the first line."""
        (item, *_) = order.items
        assert item.line is not None
        return CreateReturn(
            command_id=CommandId(f"{self.order_id}-return"),
            order_id=create(self.order_id).order_id,
            dr_order_id=order.dr_order_id,
            currency=order.currency,
            return_id=f"{self.order_id}-t-1",
            items=(ReturnItem(item.line, item.item_id, units),),
        )

    def accept(self, order: RemoteOrder, dr_return_id: str) -> AcceptReturn:
        """The command that accepts a return."""
        return AcceptReturn(
            command_id=CommandId(f"{self.order_id}-accept"),
            order_id=create(self.order_id).order_id,
            dr_order_id=order.dr_order_id,
            currency=order.currency,
            dr_return_id=RemoteReturnId(dr_return_id),
            return_id=f"{self.order_id}-t-1",
        )

    def reread(self, order: RemoteOrder) -> RereadOrder:
        """The command that reads the whole order."""
        return RereadOrder(
            command_id=CommandId(f"{self.order_id}-reread"),
            order_id=create(self.order_id).order_id,
            currency=order.currency,
            dr_order_id=order.dr_order_id,
            checkout_id=order.checkout_id,
        )


def effect(outcome: Outcome) -> tuple[object, ...]:
    """What an outcome says has taken effect; the object may have gone on since."""
    return (
        outcome.command_id,
        outcome.command,
        outcome.attempt,
        outcome.result,
        outcome.checkout and outcome.checkout.checkout_id,
        outcome.order and outcome.order.dr_order_id,
        outcome.fulfillment and outcome.fulfillment.fulfillment_id,
        outcome.refund and outcome.refund.dr_refund_id,
        outcome.returned and outcome.returned.dr_return_id,
    )
