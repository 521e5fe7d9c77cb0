"""The sender of webhooks: at least once, concurrent, in no promised order, as Digital River's.

Documented: an answer that is not 2xx within 3 s is a failure, redirects too; live mode tries again for 72 h with exponential
back-off; each try is signed afresh. The steps are an assumption: 1 s, doubling up to an hour, on the simulator's clock, in
test mode too (Digital River tries only three times there, which would make a restart of the receiver a loss).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import aiohttp

from orderflow.digitalriver.signature import SIGNATURE_HEADER, sign
from orderflow.simulator.faults import Faults
from orderflow.simulator.state.records import Delivery, Event
from orderflow.simulator.state.steps import Transient
from orderflow.simulator.state.world import World

ANSWER_SECONDS_MAX: Final = 3.0
RETRY_SECONDS_MIN: Final = 1.0
RETRY_SECONDS_MAX: Final = 3600.0
GIVE_UP_SECONDS: Final = 72 * 3600.0

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
    """Delivers events to one address. What is not acknowledged yet is in the world's ``deliveries``."""

    def __init__(self, world: World, url: str, faults: Callable[[], Faults]) -> None:
        """``faults`` is asked anew for each event."""
        self._world = world
        self._url = url
        self._faults = faults
        self._types = world.options.webhook_types or CORE_TYPES
        self._turns = asyncio.Semaphore(world.options.webhook_concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

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
        """Whether the address has subscribed to a type."""
        return kind in self._types

    def resend(self, event: Event) -> None:
        """Send an event again, or one that this address has not subscribed to; no fault holds it up."""
        self._begin(event, self._world.now(), 0.0)

    def _take(self, event: Event) -> None:
        if event.kind not in self._types:
            return
        dice, faults = self._world.random, self._faults()
        if dice.random() < faults.lose_webhooks:
            self._count("lost")
            return
        copies = 2 if dice.random() < faults.duplicate_webhooks else 1
        for _ in range(copies):
            late = dice.random() < faults.reorder_webhooks
            self._begin(event, event.created, dice.uniform(0.1, REORDER_SECONDS_MAX) if late else 0.0)

    def _begin(self, event: Event, since: float, delay: float) -> None:
        world = self._world
        world.deliveries_made += 1
        number = str(world.deliveries_made)
        world.deliveries[number] = Delivery(event.id, since, event.body, world.now() + delay, RETRY_SECONDS_MIN)
        self._schedule(number)

    def _schedule(self, number: str) -> None:
        wait = self._world.deliveries[number].due - self._world.now()
        self._world.clock.after(wait, Transient(lambda: self._spawn(number)))

    def _spawn(self, number: str) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(number))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, number: str) -> None:
        """One try; a failed one is scheduled again on the simulator's clock."""
        world = self._world
        delivery = world.deliveries[number]
        async with self._turns:
            acknowledged = await self._post(delivery.body)
        retry = delivery.retry_seconds
        if acknowledged or world.now() + retry > delivery.since + GIVE_UP_SECONDS:
            self._count("acknowledged" if acknowledged else "given_up")
            del world.deliveries[number]
        else:
            # Jitter, so that a receiver that comes back is not hit by all at once.
            due = world.now() + retry * world.random.uniform(0.8, 1.2)
            world.deliveries[number] = delivery._replace(due=due, retry_seconds=min(retry * 2, RETRY_SECONDS_MAX))
            self._schedule(number)
        world.commit()

    def _count(self, name: str) -> None:
        self._world.webhook_counts[name] += 1

    async def _post(self, body: bytes) -> bool:
        assert self._session is not None  # opened before it listens
        self._count("tried")
        timestamp = str(int(self._world.clock.real_now()))
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: sign(self._world.options.webhook_token, timestamp, body),
        }
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                return 200 <= answer.status < 300
        except (aiohttp.ClientError, OSError):
            return False
