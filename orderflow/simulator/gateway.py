"""What stands before the resources: the key, the rate limit, faults, gates, and Digital River's error bodies.

The order in which a request passes is the meaning of the fault switches: nothing before ``_effect`` has an effect, what
comes after it only spoils the answer. A late request was taken: nothing that happens afterwards, to its connection or by the
switches, takes its effect back.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Final, cast
from urllib.parse import quote

import msgspec
from aiohttp import hdrs, web
from yarl import URL

from orderflow.simulator.faults import RETRY_AFTER_SECONDS, Faults, RequestGates, Throttle
from orderflow.simulator.resources.call import Call, Route
from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.filters import Query, check, query_of
from orderflow.simulator.state.refusal import TYPES, ApiError
from orderflow.simulator.state.steps import step
from orderflow.simulator.state.world import World

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]

_WRITING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

ADMIN_PREFIX: Final = "/_admin"

#: The name under which faults are kept.
_FAULTS: Final = "faults"

#: A request that is never answered is held so long, in real seconds, then its connection is closed. Above any client's limit.
HELD_SECONDS_MAX: Final = 300.0

#: A host with or without a port, as clients send it.
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")

#: No number of a request has more digits before or behind the point.
DIGITS_MAX: Final = 15

_encoder = msgspec.json.Encoder()


@step
def take_late_effect(
    world: World, token: str, route: tuple[str, str], ids: Mapping[str, str], url: str, content: bytes
) -> None:
    """Carry out a request whose answer was due some time ago."""
    assert world.carry_out_late is not None  # the gateway is there before the clock runs
    world.carry_out_late(token, route, ids, url, content)


class Gateway:
    """The way of one request through the simulator."""

    def __init__(self, world: World) -> None:
        self.world = world
        kept = world.notes.get(_FAULTS, {})
        self.faults = msgspec.convert({name: kept[name] for name in Faults.__struct_fields__ if name in kept}, Faults)
        self.gates = RequestGates()
        self._routes: dict[tuple[str, str], Route] = {}
        #: Requests that are held until their late effect, by token; one of an earlier process is held no more.
        self._held: dict[str, asyncio.Event] = {}
        self._limit = Throttle(world.options.rate_per_second)
        self._authorization = f"Bearer {world.options.key}".encode()
        self._closing = asyncio.Event()
        world.carry_out_late = self._carry_out_late

    def set_faults(self, faults: Faults) -> None:
        """Inject these faults from now on; a state file keeps them."""
        self.faults = faults
        self.world.notes[_FAULTS] = msgspec.to_builtins(faults)

    def release(self) -> None:
        """The simulator shuts down: let go of the requests that are held without an answer.

        What is late comes after the next start, where the state is kept, and never where it is not.
        """
        self._closing.set()

    def serve(self, route: Route) -> Serve:
        """The aiohttp handler of a route."""
        self._routes[route.method, route.path] = route

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                content = await _content_of(route, request)
            except ValueError:
                return answer_of(ApiError(400, "invalid_format", "The form cannot be read.").body(), 400)
            refusal = await self._before(route, request)
            if refusal is not None:
                return refusal
            await self.gates.pass_through(request.method, request.path, "before")
            if request.method in _WRITING and self._hit(self.faults.late_effect):
                return await self._take_effect_late(route, request, content)
            answer = self._effect(route, request, content)
            await self.gates.pass_through(request.method, request.path, "after")
            return self._after(request, answer)

        return handle

    @web.middleware
    async def errors(self, request: web.Request, handler: Serve) -> web.StreamResponse:
        """Unknown paths and methods answer as Digital River does; its request id is on everything."""
        try:
            response = await handler(request)
        except web.HTTPException as error:
            code = (
                "method_not_allowed" if error.status == 405 else "not_found" if error.status == 404 else "unknown_error"
            )
            response = answer_of(ApiError(error.status, code, error.reason).body(), error.status)
            if hdrs.ALLOW in error.headers:
                response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
        finally:
            if request.path.startswith(ADMIN_PREFIX):
                self.world.commit(changed=request.method in _WRITING)
        if not response.prepared:
            response.headers["x-dr-requestid"] = uuid.uuid4().hex
        return response

    async def _before(self, route: Route, request: web.Request) -> web.Response | None:
        """All that can refuse a request before it has an effect."""
        if self.faults.down:
            return _dropped(request)
        sent = request.headers.get(hdrs.AUTHORIZATION, "").encode("utf-8", "surrogateescape")
        if not (route.is_public or hmac.compare_digest(sent, self._authorization)):
            return answer_of({"type": TYPES[401], "errors": [{"message": "The API key is not valid."}]}, 401)
        if not self._limit.take() or self._hit(self.faults.too_many_requests):
            body = ApiError(429, "too_many_requests", "Too many requests.").body()
            response = answer_of(body, 429)
            response.headers[hdrs.RETRY_AFTER] = str(RETRY_AFTER_SECONDS)
            return response
        if self.faults.slow_ms:
            await asyncio.sleep(self.faults.slow_ms / 1000)
        if self._hit(self.faults.error_before_effect):
            return _server_error()
        if self._hit(self.faults.unanswered):
            return await self._hold(request, asyncio.Event())
        return None

    async def _take_effect_late(self, route: Route, request: web.Request, content: bytes) -> web.Response:
        """Schedule the effect on the simulator's clock; the connection is held until then, and closed without an answer."""
        token, happened = uuid.uuid4().hex, asyncio.Event()
        self._held[token] = happened
        path, ids = route.path, dict(request.match_info)
        self.world.after(
            self.faults.late_effect_s, take_late_effect, token, (route.method, path), ids, str(request.rel_url), content
        )
        self.world.commit()
        try:
            return await self._hold(request, happened)
        finally:
            self._held.pop(token, None)

    def _carry_out_late(
        self, token: str, route: tuple[str, str], ids: Mapping[str, str], url: str, content: bytes
    ) -> None:
        self._carry_out(self._routes[route], ids, query_of(URL(url).query.items()), content)
        if token in self._held:
            self._held[token].set()

    async def _hold(self, request: web.Request, until: asyncio.Event) -> web.Response:
        """Answer nothing until ``until`` is set, then close. A client that goes away does not end the wait, it is bounded."""
        waiting = [asyncio.ensure_future(event.wait()) for event in (until, self._closing)]
        try:
            await asyncio.wait(waiting, timeout=HELD_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return _dropped(request)

    def _effect(self, route: Route, request: web.Request, content: bytes) -> web.Response:
        """Run the resource for a request that is there; one with the key says where this simulator is reached."""
        if self.world.options.public_url is None and not route.is_public and _HOST.fullmatch(request.host):
            self.world.base_url = f"{request.scheme}://{request.host}"
        return self._carry_out(route, request.match_info, query_of(request.query.items()), content)

    def _carry_out(self, route: Route, ids: Mapping[str, str], query: Query, content: bytes) -> web.Response:
        """Run the resource: one synchronous step, whose changes are kept before it is answered."""
        try:
            check(route.parameters, query)
            call = Call(ids, query, cast("Json", route.takes(_parsed(content), "")))
            reply = route.serve(self.world, call)
            if reply.content is not None:
                headers = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{quote(reply.file_name)}"'}
                return web.Response(
                    status=reply.status, body=reply.content, content_type=reply.content_type, headers=headers
                )
            return answer_of(reply.body, reply.status)
        except ApiError as refused:
            if refused.status == 404 and not route.may_be_missing:
                refused.status = 400
            return answer_of(refused.body(), refused.status)
        finally:
            self.world.commit(changed=route.method in _WRITING)

    def _after(self, request: web.Request, answer: web.Response) -> web.Response:
        """Spoil the answer of a writing request whose effect has happened."""
        if request.method in _WRITING:
            if self._hit(self.faults.drop_after_effect):
                return _dropped(request)
            if self._hit(self.faults.error_after_effect):
                return _server_error()
        return answer

    def _hit(self, rate: float) -> bool:
        return rate > 0 and self.world.random.random() < rate


async def _content_of(route: Route, request: web.Request) -> bytes:
    """The body; a form, where one is taken, as JSON with its file in Base64.

    Raises:
        ValueError: The form cannot be read.
    """
    if not (route.takes_form and request.content_type == "multipart/form-data"):
        return await request.read()
    members: Json = {}
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            members[name] = base64.b64encode(value.file.read()).decode()
            members.setdefault("fileName", value.filename)
        else:
            members[name] = str(value)
    return _encoder.encode(members)


def answer_of(body: Json | list[Json] | None, status: int) -> web.Response:
    """A JSON answer."""
    if body is None:
        return web.Response(status=status)
    return web.Response(status=status, body=_encoder.encode(body), content_type="application/json")


def _parsed(content: bytes) -> Json:
    """The body's object with decimals; empty when there is no body."""
    if not content:
        return {}
    try:
        body = json.loads(content, parse_float=_number, parse_int=_whole, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ApiError(400, "invalid_format", "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise ApiError(400, "invalid_format", "The body is not a JSON object.")
    return body


def _number(text: str) -> Decimal:
    value = Decimal(text)
    if value.adjusted() >= DIGITS_MAX or value.adjusted() < -DIGITS_MAX:
        raise ValueError("a number out of bounds")
    return value


def _whole(text: str) -> int:
    return int(_number(text))


def _refuse_constant(_: str) -> float:
    """NaN and Infinity are not JSON."""
    raise ValueError("not a JSON number")


def _server_error() -> web.Response:
    return answer_of(ApiError(500, "internal_error", "Internal server error.").body(), 500)


def _dropped(request: web.Request) -> web.Response:
    """Close the connection without a byte of an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
