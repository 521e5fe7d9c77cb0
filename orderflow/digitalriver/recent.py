"""What Digital River has of late: its events and its orders, newest first, read slowly. Reads only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import msgspec

from consumers.provider import RecentEvent
from orderflow.digitalriver import reading, wire
from orderflow.digitalriver.connection import Connection
from orderflow.digitalriver.decoding import Decoder
from orderflow.digitalriver.lookups import PAGE_LIMIT
from orderflow.digitalriver.webhook import NEEDED_TYPES, key_of
from statemachine.errors import OffContract, Throttled
from statemachine.messages.facts import RemoteOrder

Answered = TypeVar("Answered")

#: ``GET /events`` reaches back so far (documented).
EVENTS_AGE_MAX: Final = timedelta(days=30)
#: A read that is throttled is asked for again so often.
_TRIES: Final = 10

_pages: Final = msgspec.json.Decoder(wire.Page[msgspec.Raw])
_events: Final = Decoder(wire.Event)
_orders: Final = Decoder(wire.Order)
_named: Final = Decoder(wire.Named)


class Pace:
    """Sends reads one after the other, each after a wait; one that is throttled is sent again."""

    def __init__(self, wait_seconds: float, sleep: Callable[[float], Awaitable[None]]) -> None:
        """``wait_seconds``: before each read."""
        self._wait = wait_seconds
        self._sleep = sleep

    async def send(self, request: Callable[[], Awaitable[Answered]]) -> Answered:
        """The answer.

        Raises:
            DigitalRiverError: No usable answer; ``Throttled`` after ten tries.
        """
        for left in reversed(range(_TRIES)):
            await self._sleep(self._wait)
            try:
                return await request()
            except Throttled as error:
                if not left:
                    raise
                await self._sleep(error.retry_after_seconds)
        raise AssertionError  # the last try returns or raises


class RecentReader:
    """Reads lists page by page, no faster than it was told."""

    def __init__(
        self,
        connection: Connection,
        *,
        per_second: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``per_second``: requests a second, 0 for no limit."""
        self._connection = connection
        self._pace = Pace(1 / per_second if per_second > 0 else 0.0, sleep)

    async def events(self, since: datetime) -> AsyncIterator[RecentEvent]:
        """The events made since then, newest first; those of the last 30 days are kept.

        Raises:
            DigitalRiverError: No usable answer.
        """
        async for raw in self._list("/events", since):
            try:
                event = _events.decode(raw)
            except msgspec.DecodeError:
                raise OffContract("GET /events: an event without id, type or object") from None
            yield RecentEvent(event.id, event.type, event.created_time, raw, key_of(raw), event.type in NEEDED_TYPES)

    async def orders(self, since: datetime) -> AsyncIterator[RemoteOrder]:
        """The orders made since then, newest first.

        Raises:
            DigitalRiverError: No usable answer.
        """
        async for raw in self._list("/orders", since):
            try:
                order = reading.order_of(_orders.decode(raw))
            except msgspec.DecodeError:
                raise OffContract("GET /orders: an order that is not the documented one") from None
            yield order

    async def _list(self, path: str, since: datetime) -> AsyncIterator[bytes]:
        route = f"GET {path}"
        moment = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        query = {"createdTime[gte]": moment, "limit": str(PAGE_LIMIT)}
        while True:
            page = await self._page(path, route, query)
            for raw in page.data:
                yield bytes(raw)
            if not page.has_more or not page.data:
                return
            try:
                query["startingAfter"] = _named.decode(page.data[-1]).id
            except msgspec.DecodeError:
                raise OffContract(f"{route}: an item without an id") from None

    async def _page(self, path: str, route: str, query: dict[str, str]) -> wire.Page[msgspec.Raw]:
        answer = await self._pace.send(lambda: self._connection.request("GET", path, route=route, query=query))
        if answer.status != 200:
            raise OffContract(f"{route}: HTTP {answer.status}", status=answer.status, request_id=answer.request_id)
        try:
            return _pages.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise OffContract(f"{route}: a body that is not the documented one", status=answer.status) from None
