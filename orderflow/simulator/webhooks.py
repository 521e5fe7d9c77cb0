"""The sender of webhooks: at least once, concurrent, in no promised order, as Digital River's.

Documented: an answer that is not 2xx within 3 s is a failure, redirects too; live mode retries for 72 h with exponential
back-off, test mode retries three times over a few hours; each attempt is signed afresh. In test mode that is the first attempt
and three retries, four attempts in all. The waits are an assumption, on the simulator's clock: in live mode 1 s, doubling up to
an hour, in test mode 2 s, 15 s and 2 h.
"""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Callable
from typing import Final

import aiohttp
from aiohttp import hdrs

from orderflow.digitalriver.signature import SIGNATURE_HEADER, sign
from orderflow.simulator.faults import Faults
from orderflow.simulator.state.records import Delivery, Endpoint, Event
from orderflow.simulator.state.steps import Transient
from orderflow.simulator.state.world import World

ANSWER_SECONDS_MAX: Final = 3.0
RETRY_SECONDS_MIN: Final = 1.0
RETRY_SECONDS_MAX: Final = 3600.0
GIVE_UP_SECONDS: Final = 72 * 3600.0
#: The waits before the three retries of test mode.
TEST_RETRY_SECONDS: Final = (2.0, 15.0, 2 * 3600.0)

#: The note in the world that names the endpoint of the options.
_FIRST: Final = "first_endpoint"

#: More doublings than any limit needs, and no overflow.
_DOUBLINGS_MAX: Final = 20

#: A webhook that the reorder fault picks is held back for up to this long.
REORDER_SECONDS_MAX: Final = 2.0

#: Digital River's own core subscription, and the rest that an order machine needs.
CORE_TYPES: Final = frozenset(
    [
        "order.accepted",
        "order.review_opened",
        "order.pending_payment",
        "order.blocked",
        "order.charge.failed",
        "order.cancelled",
        "fulfillment.created",
        "order.fulfilled",
        "order.charge.capture.complete",
        "order.charge.capture.failed",
        "order.charge.cancel.complete",
        "order.complete",
        "order.invoice.created",
        "order.credit_memo.created",
        "order.refunded",
        "refund.pending",
        "refund.pending_information",
        "refund.complete",
        "refund.failed",
        "order.charge.refund.complete",
        "order.charge.refund.failed",
        "order.dispute",
        "order.dispute.resolved",
        "order.chargeback",
        "order.charge.reauth.failed",
        "order.charge.cancel.failed",
        "return.accepted",
    ]
)


class WebhookSender:
    """Delivers events to the endpoints of the world. What is not acknowledged yet is in the world's ``deliveries``."""

    def __init__(self, world: World, faults: Callable[[], Faults]) -> None:
        """``faults`` is asked anew for each event."""
        self._world = world
        self._faults = faults
        self._turns = asyncio.Semaphore(world.options.webhook_concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._add_first()

    def _add_first(self) -> None:
        """The endpoint of the options; that of an earlier start, where the state is kept, goes with its address."""
        world, url = self._world, self._world.options.webhook_url
        earlier = world.notes.get(_FIRST, {}).get("id")
        chosen = None if url is None else str(uuid.uuid5(uuid.NAMESPACE_URL, url))
        if earlier is not None and earlier != chosen:
            world.endpoints.pop(str(earlier), None)
        if url is not None and chosen is not None and chosen not in world.endpoints:
            types, now = world.options.webhook_types or CORE_TYPES, world.now()
            world.endpoints[chosen] = Endpoint(chosen, url, sorted(types), now, now)
        if chosen != earlier:
            world.notes[_FIRST] = {"id": chosen}

    async def open(self) -> None:
        """Make the connection pool, listen to the world, and go on with what an earlier process did not deliver."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._world.options.webhook_concurrency),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX),
        )
        self._world.listener = self._take
        for number in list(self._world.deliveries):
            self._schedule(number)

    async def close(self) -> None:
        """Stop delivering; what is under way is given up, or goes on after the next start where the state is kept."""
        self._world.listener = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def takes(self, kind: str) -> bool:
        """Whether an endpoint has subscribed to a type."""
        return any(endpoint.takes(kind) for endpoint in self._world.endpoints.values())

    def resend(self, event: Event) -> None:
        """Send an event again to whoever subscribed to it, to all when nobody did; no fault holds it up."""
        endpoints = [one for one in self._world.endpoints.values() if one.enabled]
        for endpoint in [one for one in endpoints if event.kind in one.types] or endpoints:
            self._begin(event, endpoint, self._world.now(), 0.0)

    def _take(self, event: Event) -> None:
        for endpoint in list(self._world.endpoints.values()):
            if endpoint.takes(event.kind):
                self._send(event, endpoint)

    def _send(self, event: Event, endpoint: Endpoint) -> None:
        """Send it, or do with it what the faults want."""
        dice, faults = self._world.random, self._faults()
        if dice.random() < faults.lose_webhooks:
            self._count("lost")
            return
        copies = 2 if dice.random() < faults.duplicate_webhooks else 1
        for _ in range(copies):
            late = dice.random() < faults.reorder_webhooks
            self._begin(event, endpoint, event.created, dice.uniform(0.1, REORDER_SECONDS_MAX) if late else 0.0)

    def _begin(self, event: Event, endpoint: Endpoint, since: float, delay: float) -> None:
        world = self._world
        world.deliveries_made += 1
        number = str(world.deliveries_made)
        world.deliveries[number] = Delivery(event.id, endpoint.id, since, event.body, world.now() + delay)
        self._schedule(number)

    def _schedule(self, number: str) -> None:
        wait = self._world.deliveries[number].due - self._world.now()
        self._world.clock.after(wait, Transient(lambda: self._spawn(number)))

    def _spawn(self, number: str) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(number))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, number: str) -> None:
        """One try; a failed one is scheduled again on the simulator's clock. Nothing for an endpoint that was removed."""
        world = self._world
        delivery = world.deliveries[number]
        endpoint = world.endpoints.get(delivery.endpoint_id)
        acknowledged = False
        if endpoint is not None:
            async with self._turns:
                acknowledged = await self._post(endpoint, delivery.body)
        pause = None if acknowledged or endpoint is None else self._pause(delivery)
        if pause is None:
            if endpoint is not None:
                self._count("acknowledged" if acknowledged else "given_up")
            del world.deliveries[number]
        else:
            # Jitter, so that a receiver that comes back is not hit by all at once.
            due = world.now() + pause * world.random.uniform(0.8, 1.2)
            world.deliveries[number] = delivery._replace(due=due, tried=delivery.tried + 1)
            self._schedule(number)
        world.commit()

    def _pause(self, delivery: Delivery) -> float | None:
        """Seconds until the next try; None when there is none."""
        if self._world.options.retries == "test":
            return TEST_RETRY_SECONDS[delivery.tried] if delivery.tried < len(TEST_RETRY_SECONDS) else None
        pause = min(RETRY_SECONDS_MIN * 2.0 ** min(delivery.tried, _DOUBLINGS_MAX), RETRY_SECONDS_MAX)
        return pause if self._world.now() + pause <= delivery.since + GIVE_UP_SECONDS else None

    def _count(self, name: str) -> None:
        self._world.webhook_counts[name] += 1

    async def _post(self, endpoint: Endpoint, body: bytes) -> bool:
        assert self._session is not None  # opened before it listens
        self._count("tried")
        timestamp = str(int(self._world.clock.real_now()))
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: sign(self._world.options.webhook_token, timestamp, body),
        }
        try:
            headers |= await _authorization(self._session, endpoint)
            async with self._session.post(
                endpoint.address, data=body, headers=headers, allow_redirects=False
            ) as answer:
                await answer.read()
                return 200 <= answer.status < 300
        except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError):
            return False  # the latter ones: no token in what the token endpoint answered


async def _authorization(session: aiohttp.ClientSession, endpoint: Endpoint) -> dict[str, str]:
    """What an endpoint wants beside the signature: nothing, HTTP Basic, or a token that its own token endpoint gives."""
    access = {name: str(value) for name, value in (endpoint.access or {}).items()}
    if not access:
        return {}
    user, password = access.get("username") or access.get("userName", ""), access.get("password", "")
    if endpoint.transport == "HTTP":
        return {hdrs.AUTHORIZATION: f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    form = {
        "grant_type": access.get("grantType", "password"),
        "client_id": access["clientID"],
        "client_secret": access["clientSecret"],
        "username": user,
        "password": password,
    }
    async with session.post(access["tokenEndPoint"], data=form) as answer:
        granted = await answer.json(content_type=None)
    return {hdrs.AUTHORIZATION: f"Bearer {granted['access_token']}"}
