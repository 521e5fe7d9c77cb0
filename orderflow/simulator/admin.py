"""``/_admin``: the books, faults, the clock, and what people outside do (pay, review, heal a card). No key, no limits, no faults.

Nothing here exists at Digital River; that is why it has a prefix of its own.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import msgspec
from aiohttp import web

from orderflow.simulator.admin_events import order_named, refusal
from orderflow.simulator.books import books
from orderflow.simulator.gateway import ADMIN_PREFIX, Gateway, answer_of
from orderflow.simulator.resources import disputes, orders, refunds
from orderflow.simulator.resources.rendering import source_json
from orderflow.simulator.state.clock import fine_stamp
from orderflow.simulator.state.filters import names_in, query_of
from orderflow.simulator.state.methods import method_of
from orderflow.simulator.state.records import Order, Source
from statemachine.messages.money import has_exact_digits, parse_money

#: A clock moved further than this is a slip of the pen.
ADVANCE_SECONDS_MAX: Final = 10 * 365 * 86_400


class _Advance(msgspec.Struct, forbid_unknown_fields=True):
    advance_s: float


class _Shut(msgspec.Struct, forbid_unknown_fields=True):
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    point: Literal["before", "after"] = "after"


class _Open(msgspec.Struct, forbid_unknown_fields=True):
    gate: str | None = None


class _Review(msgspec.Struct, forbid_unknown_fields=True):
    passed: bool


class _Payment(msgspec.Struct, forbid_unknown_fields=True):
    received: bool


class _Refunds(msgspec.Struct, forbid_unknown_fields=True):
    end: Literal["succeeded", "failed", "expired"]


class _Dispute(msgspec.Struct, forbid_unknown_fields=True):
    action: Literal["open", "resolve", "chargeback"]
    amount: str | None = None
    type: disputes.ChargebackType = "fraud_chargeback"
    as_accepted: bool = False


class _Method(msgspec.Struct, forbid_unknown_fields=True):
    method: str


class Admin:
    """The handlers of ``/_admin``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._world = gateway.world

    def add_to(self, app: web.Application) -> None:
        """Serve these paths."""
        add = app.router.add_route
        add("GET", f"{ADMIN_PREFIX}/books", self.books)
        add("GET", f"{ADMIN_PREFIX}/faults", self.show_faults)
        add("POST", f"{ADMIN_PREFIX}/faults", self.set_faults)
        add("GET", f"{ADMIN_PREFIX}/clock", self.show_clock)
        add("POST", f"{ADMIN_PREFIX}/clock", self.move_clock)
        add("GET", f"{ADMIN_PREFIX}/gates", self.show_gates)
        add("POST", f"{ADMIN_PREFIX}/gates", self.shut_gate)
        add("POST", f"{ADMIN_PREFIX}/gates/open", self.open_gates)
        add("POST", f"{ADMIN_PREFIX}/orders/{{id}}/review", self.review)
        add("POST", f"{ADMIN_PREFIX}/orders/{{id}}/payment", self.payment)
        add("POST", f"{ADMIN_PREFIX}/orders/{{id}}/refunds", self.end_refunds)
        add("POST", f"{ADMIN_PREFIX}/orders/{{id}}/dispute", self.dispute)
        add("POST", f"{ADMIN_PREFIX}/orders/{{id}}/method", self.set_order_method)
        add("POST", f"{ADMIN_PREFIX}/sources/{{id}}", self.set_method)
        add("GET", f"{ADMIN_PREFIX}/webhooks", self.webhooks)

    async def books(self, request: web.Request) -> web.Response:
        """The books of all orders, or of those in ``?upstreamIds=``."""
        return answer_of(books(self._world, names_in(query_of(request.query.items()), "upstreamIds")), 200)

    async def show_faults(self, _: web.Request) -> web.Response:
        """The faults as they are."""
        return answer_of(msgspec.to_builtins(self._gateway.faults), 200)

    async def set_faults(self, request: web.Request) -> web.Response:
        """Change the named faults; the others stay."""
        try:
            self._gateway.set_faults(self._gateway.faults.merged(await request.read()))
        except msgspec.DecodeError as error:
            return refusal(str(error))
        return await self.show_faults(request)

    async def show_clock(self, _: web.Request) -> web.Response:
        """The simulator's time."""
        return answer_of({"now": fine_stamp(self._world.now())}, 200)

    async def move_clock(self, request: web.Request) -> web.Response:
        """Move the clock ahead; what falls due has happened when this answers."""
        try:
            seconds = msgspec.json.decode(await request.read(), type=_Advance).advance_s
        except msgspec.DecodeError as error:
            return refusal(str(error))
        if not (math.isfinite(seconds) and 0 <= seconds <= ADVANCE_SECONDS_MAX):
            return refusal("advance_s must be from 0 to ten years")
        self._world.clock.advance(seconds)
        return await self.show_clock(request)

    async def show_gates(self, _: web.Request) -> web.Response:
        """How many requests wait at each gate."""
        return answer_of({"waiting": self._gateway.gates.waiting()}, 200)

    async def shut_gate(self, request: web.Request) -> web.Response:
        """Hold requests of one method and path prefix, ``before`` or ``after`` their effect."""
        try:
            shut = msgspec.json.decode(await request.read(), type=_Shut)
        except msgspec.DecodeError as error:
            return refusal(str(error))
        return answer_of({"gate": self._gateway.gates.shut(shut.method, shut.path, shut.point)}, 201)

    async def open_gates(self, request: web.Request) -> web.Response:
        """Open one gate, or all."""
        content = await request.read()
        try:
            name = msgspec.json.decode(content, type=_Open).gate if content else None
        except msgspec.DecodeError as error:
            return refusal(str(error))
        return answer_of({"released": self._gateway.gates.open(name)}, 200)

    async def review(self, request: web.Request) -> web.Response:
        """The fraud review decides now."""
        order = self._order(request)
        try:
            passed = msgspec.json.decode(await request.read(), type=_Review).passed
        except msgspec.DecodeError as error:
            return refusal(str(error))
        orders.end_review(self._world, order, passed=passed)
        return answer_of({"state": order.state}, 200)

    async def payment(self, request: web.Request) -> web.Response:
        """The money of a pending order arrives now, or never."""
        order = self._order(request)
        try:
            received = msgspec.json.decode(await request.read(), type=_Payment).received
        except msgspec.DecodeError as error:
            return refusal(str(error))
        (orders.receive_payment if received else orders.fail_payment)(self._world, order)
        return answer_of({"state": order.state}, 200)

    async def end_refunds(self, request: web.Request) -> web.Response:
        """All refunds of an order that have not ended end now; ``succeeded`` also stands for a shopper's naming an account."""
        order = self._order(request)
        try:
            state = msgspec.json.decode(await request.read(), type=_Refunds).end
        except msgspec.DecodeError as error:
            return refusal(str(error))
        for refund in order.refunds:
            refunds.end(self._world, refund, state)
        return answer_of({"refunds": {refund.id: refund.state for refund in order.refunds}}, 200)

    async def dispute(self, request: web.Request) -> web.Response:
        """The bank opens a dispute, decides it, or takes money back (``amount`` as a decimal string)."""
        order = self._order(request)
        try:
            asked = msgspec.json.decode(await request.read(), type=_Dispute)
        except msgspec.DecodeError as error:
            return refusal(str(error))
        currency = order.checkout.price.currency
        if asked.action == "open":
            if not disputes.open_dispute(self._world, order):
                return refusal(f"an order that is {order.state} cannot be in dispute")
        elif asked.action == "resolve":
            disputes.resolve_dispute(self._world, order, as_accepted=asked.as_accepted)
        elif asked.amount is None or not has_exact_digits(asked.amount, currency):
            return refusal("a chargeback needs an amount with the digits of the currency")
        elif not disputes.charge_back(self._world, order, parse_money(asked.amount, currency), asked.type):
            return refusal("more than was captured cannot be charged back")
        return answer_of({"state": order.state}, 200)

    async def set_order_method(self, request: web.Request) -> web.Response:
        """Let the source of an order behave like another method from now on."""
        return await self._set_method(request, self._order(request).source)

    async def set_method(self, request: web.Request) -> web.Response:
        """Let a source behave like another method from now on: a card is healed, or spoiled, or its challenge is passed."""
        return await self._set_method(request, self._world.sources.get(request.match_info["id"]))

    async def _set_method(self, request: web.Request, source: Source | None) -> web.Response:
        if source is None:
            raise web.HTTPNotFound
        try:
            name = msgspec.json.decode(await request.read(), type=_Method).method
        except msgspec.DecodeError as error:
            return refusal(str(error))
        method = method_of(name)
        if method is None:
            return refusal("no such method")
        source.method = method
        if source.state == "requires_action" and method.made == "chargeable":
            source.state = method.made
            self._world.emit("source.chargeable", source_json(source))
        return answer_of({"method": name}, 200)

    async def webhooks(self, _: web.Request) -> web.Response:
        """How many webhooks were tried, acknowledged, lost on purpose and given up."""
        return answer_of(dict(self._world.webhook_counts), 200)

    def _order(self, request: web.Request) -> Order:
        return order_named(self._world, request.match_info["id"])
