"""``DigitalRiverProvider``: commands become HTTP requests, answers become outcomes.

Each writing request goes out once. Digital River has no idempotency key, so whatever left an outcome open is looked up
(``lookups.py``) before the command lane calls again. Nothing here retries, waits for a rate or remembers an order.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal, Self, TypeVar, assert_never
from urllib.parse import quote

import msgspec

from consumers.provider import MayWrite, SkuAnswer
from orderflow.digitalriver import reading, webhook, wire, writing
from orderflow.digitalriver.connection import REQUEST_TIMEOUT_SECONDS, Answer, Connection
from orderflow.digitalriver.decoding import Decoder
from orderflow.digitalriver.lookups import Finder
from orderflow.digitalriver.recent import RecentReader
from statemachine.errors import (
    DecodeError,
    Denied,
    DigitalRiverError,
    OffContract,
    Throttled,
    TransportFailure,
    Unavailable,
)
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
    decode_command,
    name_of,
)
from statemachine.messages.facts import (
    Fact,
    Outcome,
    Problem,
    RemoteCheckout,
    RemoteFulfillment,
    RemoteOrder,
    RemoteRefund,
    RemoteReturn,
)
from statemachine.messages.ids import RemoteOrderId

Read = TypeVar("Read")

_checkouts: Final = Decoder(wire.Checkout)
_orders: Final = Decoder(wire.Order)
_fulfillments: Final = Decoder(wire.Fulfillment)
_refunds: Final = Decoder(wire.Refund)
_returns: Final = Decoder(wire.Return)


class _Call:
    """One execution of a command: counts the requests that were written and shapes the outcome."""

    def __init__(self, command: Command, may_write: MayWrite, clock: Callable[[], float]) -> None:
        self.command = command
        self.tries = 0
        self._may_write = may_write
        self._clock = clock
        self._began = clock()

    def may_write(self) -> None:
        """Ask the lane, then count: a request that may not be written was not a try."""
        self._may_write()
        self.tries += 1

    def outcome(
        self,
        answer: Answer,
        *,
        problem: Problem | None = None,
        unknown_sku: bool = False,
        customer_id: str | None = None,
        checkout: RemoteCheckout | None = None,
        order: RemoteOrder | None = None,
        fulfillment: RemoteFulfillment | None = None,
        refund: RemoteRefund | None = None,
        returned: RemoteReturn | None = None,
    ) -> Outcome:
        """The outcome of the command: rejected when there is a ``problem``, else confirmed."""
        result: Literal["confirmed", "rejected"] = "rejected" if problem is not None else "confirmed"
        return Outcome(
            command_id=self.command.command_id,
            command=name_of(self.command),
            attempt=self.command.attempt,
            result=result,
            tries=self.tries,
            status=answer.status,
            request_id=answer.request_id,
            duration_ms=round((self._clock() - self._began) * 1000),
            problem=problem,
            unknown_sku=unknown_sku,
            customer_id=customer_id,
            checkout=checkout,
            order=order,
            fulfillment=fulfillment,
            refund=refund,
            returned=returned,
        )


class DigitalRiverProvider:
    """Digital River over HTTP. Open it (``async with``) in the loop that uses it."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        connections_max: int = 100,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` is steady, in seconds."""
        self._connection = Connection(
            url, key, connections_max=connections_max, timeout_seconds=timeout_seconds, clock=clock
        )
        self._finder = Finder(self._connection)

    @property
    def problem(self) -> str | None:
        """Why calls of this process bring nothing, in a line; None while Digital River answers."""
        return self._connection.reachability.problem

    def recent(self, *, per_second: float) -> RecentReader:
        """The lists of events and orders, read at so many requests a second; 0 for no limit."""
        return RecentReader(self._connection, per_second=per_second)

    async def __aenter__(self) -> Self:
        await self._connection.open()  # sends nothing yet
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()  # calls in flight fail

    async def look(self, command: Command) -> Outcome | None:
        """Find the effect of ``command`` without writing; see ``consumers.provider.Provider.look``."""
        if not isinstance(command, Inquire):
            return await self._finder.find(command)
        try:
            about = decode_command(command.about)
        except msgspec.DecodeError:
            raise DecodeError(
                "invalid", "an inquire about something that is not a command", "command.content_unsound"
            ) from None
        found = await self.look(about)
        if found is None:
            found = Outcome(command_id=about.command_id, command=name_of(about), attempt=about.attempt, result="absent")
        return msgspec.structs.replace(found, inquired_by=command.command_id)

    async def call(self, command: Command, may_write: MayWrite) -> Outcome:
        """Carry the command out once; see ``consumers.provider.Provider.call``."""
        call = _Call(command, may_write, self._connection.clock)
        match command:
            case CreateCheckout():
                return await self._create_checkout(command, call)
            case AttachSource():
                return await self._attach_source(command, call)
            case DeleteCheckout():
                return await self._delete_checkout(command, call)
            case PlaceOrder():
                return await self._place_order(command, call)
            case RefreshOrder():
                return await self._refresh_order(command, call)
            case RereadOrder():
                return await self._finder.read_whole(command)
            case CreateFulfillment():
                return await self._create_fulfillment(command, call)
            case CreateRefund():
                return await self._create_refund(command, call)
            case CreateReturn():
                return await self._create_return(command, call)
            case AcceptReturn():
                return await self._accept_return(command, call)
            case Inquire():
                found = await self.look(command)
                assert found is not None  # an inquire always has an outcome
                return found
            case _:
                assert_never(command)

    async def put_sku(self, sku_id: str, sku: Mapping[str, object], may_write: MayWrite) -> SkuAnswer:
        """Create or replace a SKU (201 or 200); safe to repeat."""
        route = "PUT /skus/{id}"
        body = writing.encode(writing.sku_body(sku))
        path = f"/skus/{_segment(sku_id)}"
        answer = await self._connection.request("PUT", path, route=route, body=body, may_write=may_write)
        return SkuAnswer(problem=_problem(answer, route))

    async def delete_sku(self, sku_id: str, may_write: MayWrite) -> SkuAnswer:
        """Delete a SKU; 404 counts as deleted."""
        route = "DELETE /skus/{id}"
        answer = await self._connection.request("DELETE", f"/skus/{_segment(sku_id)}", route=route, may_write=may_write)
        return SkuAnswer(problem=None if answer.status == 404 else _problem(answer, route))

    async def read_order(self, dr_order_id: RemoteOrderId) -> Fact | None:
        """The order as it is now; None when Digital River does not know it."""
        route = "GET /orders/{id}"
        answer = await self._connection.request("GET", f"/orders/{_segment(dr_order_id)}", route=route)
        if answer.status == 404:
            return None
        _require_success(answer, route)
        return webhook.order_fact(_read(_orders, answer, route), "order_read")

    def read_webhook(self, body: bytes) -> tuple[str, Fact] | None:
        """The event's id and its fact; see ``orderflow.digitalriver.webhook.read_webhook``."""
        return webhook.read_webhook(body)

    async def _create_checkout(self, command: CreateCheckout, call: _Call) -> Outcome:
        cart = writing.cart_of(command)
        customer_id: str | None = None
        if cart.customer.kind == "registered":
            customer_id = cart.customer.id
            route = "POST /customers"
            body = writing.encode(writing.customer_body(cart, customer_id, command.command_id))
            answer = await self._post("/customers", route, call, body)
            # 409: the shopper has bought before. The id is the platform's, so it is the same customer.
            if not _succeeded(answer) and answer.status != 409:
                refusal = reading.refusal_of(answer, route)
                if not any(error.code == "already_exists" for error in refusal.errors):
                    return call.outcome(answer, problem=reading.problem_of(refusal, answer.status))
        route = "POST /checkouts"
        answer = await self._post("/checkouts", route, call, writing.encode(writing.checkout_body(cart, command)))
        if not _succeeded(answer):
            refusal = reading.refusal_of(answer, route)
            return call.outcome(
                answer,
                problem=reading.problem_of(refusal, answer.status),
                unknown_sku=reading.only_unknown_skus(refusal),
                customer_id=customer_id,
            )
        checkout = reading.checkout_of(_read(_checkouts, answer, route))
        return call.outcome(answer, customer_id=checkout.customer_id or customer_id, checkout=checkout)

    async def _attach_source(self, command: AttachSource, call: _Call) -> Outcome:
        route = "POST /checkouts/{id}/sources/{id}"
        path = f"/checkouts/{_segment(command.checkout_id)}/sources/{_segment(command.source_id)}"
        answer = await self._post(path, route, call)
        problem = None if _succeeded(answer) else _problem(answer, route)
        # The answer is the source alone. What is left to fund, and the quote that a refused shopper is back at, only the
        # checkout says.
        route = "GET /checkouts/{id}"
        path = f"/checkouts/{_segment(command.checkout_id)}"
        if problem is not None:
            return call.outcome(answer, problem=problem, checkout=await self._read_quote(path, route))
        read = await _after_a_write(self._connection.request("GET", path, route=route), route)
        _require_success(read, route)
        return call.outcome(answer, checkout=reading.checkout_of(_read(_checkouts, read, route)))

    async def _read_quote(self, path: str, route: str) -> RemoteCheckout | None:
        """The checkout as it is now; None when it cannot be read: the refusal stands without it."""
        try:
            read = await self._connection.request("GET", path, route=route)
            return reading.checkout_of(_read(_checkouts, read, route)) if _succeeded(read) else None
        except DigitalRiverError:
            return None

    async def _delete_checkout(self, command: DeleteCheckout, call: _Call) -> Outcome:
        route = "DELETE /checkouts/{id}"
        path = f"/checkouts/{_segment(command.checkout_id)}"
        answer = await self._connection.request("DELETE", path, route=route, may_write=call.may_write)
        gone = answer.status == 404 or _succeeded(answer)
        return call.outcome(answer, problem=None if gone else _problem(answer, route))

    async def _place_order(self, command: PlaceOrder, call: _Call) -> Outcome:
        route = "POST /orders"
        answer = await self._post("/orders", route, call, writing.encode({"checkoutId": command.checkout_id}))
        if _succeeded(answer):
            return call.outcome(answer, order=reading.order_of(_read(_orders, answer, route)))
        refusal = reading.refusal_of(answer, route)
        problem = reading.problem_of(refusal, answer.status)
        if answer.status != 404:
            return call.outcome(answer, problem=problem)
        # A consumed checkout answers 404: already ordered. That order is the effect of the command.
        found = await _after_a_write(self._finder.find(command), route)
        if found is not None:
            return msgspec.structs.replace(found, tries=call.tries, duration_ms=call.outcome(answer).duration_ms)
        if problem.parameter == "orderId":
            # Digital River names an order that its list does not show yet: open, to be looked up again.
            raise Unavailable(
                f"{route}: the checkout is consumed but its order is not listed",
                status=404,
                request_id=answer.request_id,
            )
        return call.outcome(answer, problem=problem)

    async def _refresh_order(self, command: RefreshOrder, call: _Call) -> Outcome:
        route = "POST /orders/{id}/refresh"
        answer = await self._post(f"/orders/{_segment(command.dr_order_id)}/refresh", route, call)
        if not _succeeded(answer):
            return call.outcome(answer, problem=_problem(answer, route))
        return call.outcome(answer, order=reading.order_of(_read(_orders, answer, route)))

    async def _create_fulfillment(self, command: CreateFulfillment, call: _Call) -> Outcome:
        route = "POST /fulfillments"
        answer = await self._post("/fulfillments", route, call, writing.encode(writing.fulfillment_body(command)))
        if not _succeeded(answer):
            return call.outcome(answer, problem=_problem(answer, route))
        lines = {item.item_id: item.line for item in command.items}
        return call.outcome(answer, fulfillment=reading.fulfillment_of(_read(_fulfillments, answer, route), lines))

    async def _create_refund(self, command: CreateRefund, call: _Call) -> Outcome:
        route = "POST /refunds"
        answer = await self._post("/refunds", route, call, writing.encode(writing.refund_body(command)))
        if not _succeeded(answer):
            return call.outcome(answer, problem=_problem(answer, route))
        lines = {item.item_id: item.line for item in command.items}
        return call.outcome(answer, refund=reading.refund_of(_read(_refunds, answer, route), lines))

    async def _create_return(self, command: CreateReturn, call: _Call) -> Outcome:
        route = "POST /returns"
        answer = await self._post("/returns", route, call, writing.encode(writing.return_body(command)))
        if not _succeeded(answer):
            return call.outcome(answer, problem=_problem(answer, route))
        lines = {item.item_id: item.line for item in command.items}
        return call.outcome(answer, returned=reading.return_of(_read(_returns, answer, route), lines))

    async def _accept_return(self, command: AcceptReturn, call: _Call) -> Outcome:
        route = "POST /returns/{id}"
        path = f"/returns/{_segment(command.dr_return_id)}"
        answer = await self._post(path, route, call, writing.encode({"state": "accepted"}))
        if _succeeded(answer):
            return call.outcome(answer, returned=reading.return_of(_read(_returns, answer, route)))
        problem = _problem(answer, route)
        # A return that is accepted already may refuse to be accepted again: the command has its effect.
        found = await _after_a_write(self._finder.find(command), route)
        if found is not None:
            return msgspec.structs.replace(found, tries=call.tries, duration_ms=call.outcome(answer).duration_ms)
        return call.outcome(answer, problem=problem)

    async def _post(self, path: str, route: str, call: _Call, body: bytes | None = None) -> Answer:
        return await self._connection.request("POST", path, route=route, body=body, may_write=call.may_write)


async def _after_a_write(read: Awaitable[Read], route: str) -> Read:
    """The result of a read that follows a write which took effect.

    Raises:
        Unavailable: The read was throttled, denied or never sent. Its own error would say that nothing took effect.
        DigitalRiverError: Any other failure of the read, all of which already mean "look first".
    """
    try:
        return await read
    except (Throttled, Denied, TransportFailure) as error:
        detail = f"{route}: written, but its result could not be read ({type(error).__name__})"
        raise Unavailable(detail, status=error.status, request_id=error.request_id) from error


def _segment(text: str) -> str:
    """An id as a path segment: ids are opaque and may hold special characters."""
    return quote(text, safe="")


def _succeeded(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _problem(answer: Answer, route: str) -> Problem | None:
    if _succeeded(answer):
        return None
    return reading.problem_of(reading.refusal_of(answer, route), answer.status)


def _require_success(answer: Answer, route: str) -> None:
    """A read that the documented API always grants."""
    if not _succeeded(answer):
        raise OffContract(f"{route}: HTTP {answer.status}", status=answer.status, request_id=answer.request_id)


def _read(decoder: Decoder[Read], answer: Answer, route: str) -> Read:
    """The object in an answer.

    Raises:
        OffContract: Not JSON or not that object. Says which member, quotes nothing.
    """
    try:
        return decoder.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        detail = f"{route}: HTTP {answer.status} with a body that is not the documented object"
        raise OffContract(detail, status=answer.status, request_id=answer.request_id) from None
