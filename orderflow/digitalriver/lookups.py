"""Look before you create: what became of a command, found without writing.

Digital River has no idempotency key, and ``upstreamId`` is not unique: an older checkout or order of the same order id may
carry it. So a create is found by ``metadata.command_id``, an order by its checkout, and what does not match is not ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final, TypeVar, assert_never
from urllib.parse import quote

import msgspec

from orderflow.digitalriver import operations, reading, wire
from orderflow.digitalriver.connection import Answer, Connection
from orderflow.digitalriver.decoding import Decoder
from statemachine.errors import OffContract
from statemachine.messages.commands import (
    AcceptReturn,
    AttachSource,
    Command,
    CreateCheckout,
    CreateFulfillment,
    CreateRefund,
    CreateReturn,
    DeleteCheckout,
    Inquire,
    PlaceOrder,
    RefreshOrder,
    RereadOrder,
    name_of,
)
from statemachine.messages.facts import (
    Outcome,
    Problem,
    RemoteCheckout,
    RemoteFulfillment,
    RemoteOrder,
    RemoteRefund,
    RemoteReturn,
)

Item = TypeVar("Item")

#: The most that Digital River gives in one page.
PAGE_LIMIT: Final = 100

#: Far more than one order can have; a list that never ends is off contract, not a reason to ask forever.
PAGES_MAX: Final = 50

_checkouts: Final = Decoder(wire.Checkout)
_checkout_pages: Final = Decoder(wire.Page[wire.Checkout])
_charges: Final = Decoder(wire.Charge)
_orders: Final = Decoder(wire.Order)
_order_pages: Final = Decoder(wire.Page[wire.Order])
_fulfillment_pages: Final = Decoder(wire.Page[wire.Fulfillment])
_refund_pages: Final = Decoder(wire.Page[wire.Refund])
_return_pages: Final = Decoder(wire.Page[wire.Return])
_returns: Final = Decoder(wire.Return)


class Finder:
    """Finds effects of commands. Reads only."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find(self, command: Command) -> Outcome | None:
        """The confirmed outcome of ``command``; None when it has not taken effect.

        Raises:
            DigitalRiverError: No usable answer: still open.
        """
        began = self._connection.clock()
        found = await self._find(command)
        if found is None:
            return None
        return msgspec.structs.replace(found, duration_ms=round((self._connection.clock() - began) * 1000))

    async def _find(self, command: Command) -> Outcome | None:
        match command:
            case CreateCheckout():
                return await self._created_checkout(command)
            case AttachSource():
                return await self._attached_source(command)
            case DeleteCheckout():
                answer = await self._get_checkout(command.checkout_id)
                return _confirmed(command, answer) if answer.status == 404 else None
            case PlaceOrder():
                return await self._placed_order(command)
            case CreateFulfillment():
                return await self._created_fulfillment(command)
            case CreateRefund():
                return await self._created_refund(command)
            case CreateReturn():
                return await self._created_return(command)
            case AcceptReturn():
                return await self._accepted_return(command)
            case RefreshOrder() | RereadOrder() | Inquire():
                # A refresh leaves no trace and is harmless to repeat; a read and an inquire are themselves looks.
                return None
            case _:
                assert_never(command)

    async def _created_checkout(self, command: CreateCheckout) -> Outcome | None:
        query = {"upstreamIds": command.order_id}
        async for answer, checkout in self._list("/checkouts", query, _checkout_pages, lambda item: item.id):
            if reading.command_of(checkout.metadata) == command.command_id:
                read = reading.checkout_of(checkout)
                return _confirmed(command, answer, checkout=read, customer_id=read.customer_id)
        return None

    async def _attached_source(self, command: AttachSource) -> Outcome | None:
        answer = await self._get("/checkouts", command.checkout_id)
        if answer.status == 404:
            return None
        checkout = reading.checkout_of(_decoded(_checkouts, answer, _one("/checkouts")))
        return _confirmed(command, answer, checkout=checkout) if command.source_id in checkout.source_ids else None

    async def _placed_order(self, command: PlaceOrder) -> Outcome | None:
        found = await self._order_of_checkout(command.order_id, command.checkout_id)
        return None if found is None else _confirmed(command, found[0], order=reading.order_of(found[1]))

    async def _order_of_checkout(self, order_id: str, checkout_id: str | None) -> tuple[Answer, wire.Order] | None:
        """The order that was made of a checkout."""
        query = {"upstreamIds": order_id, "checkoutId": checkout_id or ""}
        async for answer, order in self._list("/orders", query, _order_pages, lambda item: item.id):
            # Checked here too: a filter that is ignored must not give us another checkout's order.
            if order.checkout_id == checkout_id:
                return answer, order
        return None

    async def _created_fulfillment(self, command: CreateFulfillment) -> Outcome | None:
        query = {"orderId": command.dr_order_id}
        lines = {item.item_id: item.line for item in command.items}
        async for answer, fulfillment in self._list("/fulfillments", query, _fulfillment_pages, lambda item: item.id):
            if reading.command_of(fulfillment.metadata) == command.command_id:
                return _confirmed(command, answer, fulfillment=reading.fulfillment_of(fulfillment, lines))
        return None

    async def _created_refund(self, command: CreateRefund) -> Outcome | None:
        query = {"orderId": command.dr_order_id}
        lines = {item.item_id: item.line for item in command.items}
        async for answer, refund in self._list("/refunds", query, _refund_pages, lambda item: item.id):
            if reading.command_of(refund.metadata) == command.command_id:
                return _confirmed(command, answer, refund=reading.refund_of(refund, lines))
        return None

    async def _created_return(self, command: CreateReturn) -> Outcome | None:
        query = {"orderId": command.dr_order_id}
        lines = {item.item_id: item.line for item in command.items}
        async for answer, returned in self._list("/returns", query, _return_pages, lambda item: item.id):
            if reading.command_of(returned.metadata) == command.command_id:
                return _confirmed(command, answer, returned=reading.return_of(returned, lines))
        return None

    async def _accepted_return(self, command: AcceptReturn) -> Outcome | None:
        answer = await self._get("/returns", command.dr_return_id)
        if answer.status == 404:
            return None
        returned = reading.return_of(_decoded(_returns, answer, _one("/returns")))
        return _confirmed(command, answer, returned=returned) if returned.state == "accepted" else None

    async def read_whole(self, command: RereadOrder) -> Outcome:
        """All that Digital River has of the order, without writing: ``rejected`` when it has no such order.

        Raises:
            DigitalRiverError: No usable answer.
        """
        answer, found = await self._whole_order(command)
        if answer is None or found is None:
            problem = Problem(code="not_found", message="Digital River has no such order.")
            return Outcome(
                command_id=command.command_id,
                command=name_of(command),
                attempt=command.attempt,
                result="rejected",
                status=None if answer is None else answer.status,
                request_id=None if answer is None else answer.request_id,
                problem=problem,
            )
        query = {"orderId": found.id}
        fulfilled = [
            one async for _, one in self._list("/fulfillments", query, _fulfillment_pages, lambda item: item.id)
        ]
        refunds = [
            reading.refund_of(one)
            async for _, one in self._list("/refunds", query, _refund_pages, lambda item: item.id)
        ]
        returns = [
            reading.return_of(one)
            async for _, one in self._list("/returns", query, _return_pages, lambda item: item.id)
        ]
        return msgspec.structs.replace(
            _confirmed(command, answer, order=reading.order_of(await self._with_fulfillments(found, fulfilled))),
            # the oldest first, as they were made
            fulfillments=tuple(reading.fulfillment_of(one) for one in reversed(fulfilled)),
            refunds=tuple(reversed(refunds)),
            returns=tuple(reversed(returns)),
        )

    async def _whole_order(self, command: RereadOrder) -> tuple[Answer | None, wire.Order | None]:
        """The order by its id, else by its checkout."""
        if command.dr_order_id is None:
            return await self._order_of_checkout(command.order_id, command.checkout_id) or (None, None)
        answer = await self._get("/orders", command.dr_order_id)
        if answer.status == 404:
            return answer, None
        return answer, _decoded(_orders, answer, _one("/orders"))

    async def _with_fulfillments(self, order: wire.Order, fulfilled: list[wire.Fulfillment]) -> wire.Order:
        """The order with the fulfilment of each capture and cancel, which is not given inside an order.

        A fulfilment that lists its operations says it, else the charge by itself. What neither says stays open.
        """
        makers = {name: one.id for one in fulfilled for name in one.charge_operation_ids}
        charges: list[wire.Charge] = []
        for charge in order.payment.charges:
            known = operations.with_fulfillments(charge, makers)
            if fulfilled and operations.has_nameless(known):
                answer = await self._get("/charges", charge.id)
                if answer.status != 404:
                    alone = _decoded(_charges, answer, _one("/charges"))
                    known = operations.with_fulfillments(known, operations.makers_of(alone))
            charges.append(known)
        return msgspec.structs.replace(order, payment=msgspec.structs.replace(order.payment, charges=charges))

    async def _get(self, path: str, item_id: str) -> Answer:
        """The answer that has one item, or the 404 when Digital River does not know it."""
        route = _one(path)
        answer = await self._connection.request("GET", f"{path}/{quote(item_id, safe='')}", route=route)
        if answer.status not in (200, 404):
            raise OffContract(f"{route}: HTTP {answer.status}", status=answer.status, request_id=answer.request_id)
        return answer

    async def _get_checkout(self, checkout_id: str) -> Answer:
        path = f"/checkouts/{quote(checkout_id, safe='')}"
        return await self._connection.request("GET", path, route="GET /checkouts/{id}")

    async def _list(
        self,
        path: str,
        filters: Mapping[str, str],
        decoder: Decoder[wire.Page[Item]],
        id_of: Callable[[Item], str],
    ) -> AsyncIterator[tuple[Answer, Item]]:
        """All items of a filtered list, newest first, each with the answer that brought it; follows the pages."""
        route = f"GET {path}"
        query = {**filters, "limit": str(PAGE_LIMIT)}
        for _ in range(PAGES_MAX):
            answer = await self._connection.request("GET", path, route=route, query=query)
            if answer.status != 200:
                raise OffContract(f"{route}: HTTP {answer.status}", status=answer.status, request_id=answer.request_id)
            page = _decoded(decoder, answer, route)
            for item in page.data:
                yield answer, item
            if not page.has_more or not page.data:
                return
            query["startingAfter"] = id_of(page.data[-1])
        raise OffContract(f"{route}: more than {PAGES_MAX} pages")


def _one(path: str) -> str:
    """The route of one item of a list, as log lines and errors name it."""
    return f"GET {path}/{{id}}"


def _decoded(decoder: Decoder[Item], answer: Answer, route: str) -> Item:
    try:
        return decoder.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise OffContract(
            f"{route}: a body that is not the documented one", status=answer.status, request_id=answer.request_id
        ) from None


def _confirmed(
    command: Command,
    answer: Answer,
    *,
    customer_id: str | None = None,
    checkout: RemoteCheckout | None = None,
    order: RemoteOrder | None = None,
    fulfillment: RemoteFulfillment | None = None,
    refund: RemoteRefund | None = None,
    returned: RemoteReturn | None = None,
) -> Outcome:
    """The outcome of a command whose effect was found; no request of it was written now."""
    return Outcome(
        command_id=command.command_id,
        command=name_of(command),
        attempt=command.attempt,
        result="confirmed",
        status=answer.status,
        request_id=answer.request_id,
        customer_id=customer_id,
        checkout=checkout,
        order=order,
        fulfillment=fulfillment,
        refund=refund,
        returned=returned,
    )
