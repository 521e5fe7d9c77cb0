"""``/_admin``, continued: events on request, webhooks sent again, captures ended by hand. See ``admin.py``."""

from __future__ import annotations

from typing import Literal

import msgspec
from aiohttp import web

from orderflow.simulator import prompted
from orderflow.simulator.gateway import ADMIN_PREFIX, Gateway, answer_of
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.records import Event, Order
from orderflow.simulator.state.world import World
from orderflow.simulator.webhooks import WebhookSender


class _Trigger(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    order: str | None = None
    values: dict[str, object] = {}
    send: bool = True


class _Resend(msgspec.Struct, forbid_unknown_fields=True):
    """``since`` in seconds since the epoch, or ``since_s`` seconds ago; both by the simulator's clock."""

    ids: list[str] | None = None
    types: list[str] | None = None
    order: str | None = None
    since: float | None = None
    since_s: float | None = None


class _Captures(msgspec.Struct, forbid_unknown_fields=True):
    end: Literal["complete", "failed"]


class EventAdmin:
    """The handlers."""

    def __init__(self, gateway: Gateway, sender: WebhookSender) -> None:
        self._world = gateway.world
        self._sender = sender

    def add_to(self, app: web.Application) -> None:
        """Serve these paths."""
        add = app.router.add_route
        add("POST", f"{ADMIN_PREFIX}/events", self.trigger)
        add("POST", f"{ADMIN_PREFIX}/webhooks/resend", self.resend)
        add("POST", f"{ADMIN_PREFIX}/orders/{{id}}/captures", self.end_captures)

    async def trigger(self, request: web.Request) -> web.Response:
        """Log and send an event of a type about an order, by default the newest one; ``send: false`` only shows it."""
        try:
            asked = msgspec.json.decode(await request.read(), type=_Trigger)
        except msgspec.DecodeError as error:
            return refusal(str(error))
        if asked.send and not self._world.endpoints:
            return refusal("this simulator sends no webhooks: start it with --webhook-url")
        order = order_named(self._world, asked.order)
        try:
            body = prompted.with_values(prompted.object_for(self._world, asked.type, order), asked.values)
        except prompted.NothingToTell as error:
            return refusal(str(error))
        if not asked.send:
            return answer_of({"type": asked.type, "order": _name_of(order), "event": {"data": {"object": body}}}, 200)
        event = self._emit(asked.type, body, order)
        document: Json = {
            "id": event.id,
            "type": event.kind,
            "order": _name_of(order),
            "event": msgspec.Raw(event.body),
        }
        return answer_of(document, 201)

    def _emit(self, kind: str, body: Json, order: Order) -> Event:
        """Log an event and send it, whether or not the address has subscribed to its type."""
        world = self._world
        listener, world.listener = world.listener, None
        try:
            world.emit(kind, body, order.id)
        finally:
            world.listener = listener
        event: Event = world.events[-1]
        self._sender.resend(event)
        return event

    async def resend(self, request: web.Request) -> web.Response:
        """Send webhooks again that match all that is given; types that are not subscribed to only when they are named."""
        try:
            asked = msgspec.json.decode(await request.read(), type=_Resend)
        except msgspec.DecodeError as error:
            return refusal(str(error))
        if not self._world.endpoints:
            return refusal("this simulator sends no webhooks: start it with --webhook-url")
        since = asked.since if asked.since_s is None else self._world.now() - asked.since_s
        ids, types = _names(asked.ids), _names(asked.types)
        order = None if asked.order is None else order_named(self._world, asked.order)
        found = [
            event
            for event in prompted.past_events(self._world, ids=ids, types=types, order=order, since=since)
            if ids is not None or types is not None or self._sender.takes(event.kind)
        ]
        for event in found:
            self._sender.resend(event)
        return answer_of({"resent": [{"id": event.id, "type": event.kind} for event in found]}, 200)

    async def end_captures(self, request: web.Request) -> web.Response:
        """All captures of an order that are not complete end now: pending ones, those that are stuck, those that failed."""
        order = order_named(self._world, request.match_info["id"])
        try:
            end = msgspec.json.decode(await request.read(), type=_Captures).end
        except msgspec.DecodeError as error:
            return refusal(str(error))
        ended = prompted.end_captures(self._world, order, end)
        return answer_of({"state": order.state, "ended": ended}, 200)


def order_named(world: World, name: str | None) -> Order:
    """An order by Digital River's id or by ``upstreamId`` (the newest); without a name the newest of all.

    Raises:
        web.HTTPNotFound: There is none.
    """
    if name is None:
        order: Order | None = next(reversed(world.orders.values()), None)
    else:
        order = world.orders.get(name)
        if order is None and world.orders_by_upstream.get(name):
            order = world.orders_by_upstream[name][-1]
    if order is None:
        raise web.HTTPNotFound
    return order


def refusal(detail: str) -> web.Response:
    """What was asked for cannot be done."""
    return answer_of({"error": detail}, 400)


def _name_of(order: Order) -> str:
    return order.upstream_id or order.id


def _names(given: list[str] | None) -> frozenset[str] | None:
    return None if given is None else frozenset(given)
