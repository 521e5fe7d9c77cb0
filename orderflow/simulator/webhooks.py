"""The sender of webhooks: at least once, concurrent, in no promised order, as Digital River's.

Documented: an answer that is not 2xx within 3 s is a failure, redirects too; live mode tries again for 72 h with exponential
back-off; each try is signed afresh. The steps are an assumption: 1 s, doubling up to an hour, on the simulator's clock, in
test mode too (Digital River tries only three times there, which would make a restart of the receiver a loss).
"""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from orderflow.digitalriver.signature import SIGNATURE_HEADER, sign
from orderflow.simulator.faults import Faults
from orderflow.simulator.state.records import Event
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
    """Delivers events to one address; ``faults`` is read anew for each event."""

    def __init__(self, world: World, url: str) -> None:
        self._world = world
        self._url = url
        self._types = world.options.webhook_types or CORE_TYPES
        self._turns = asyncio.Semaphore(world.options.webhook_concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self.faults = Faults()
        #: Tries, deliveries that were acknowledged, and events given up or lost on purpose.
        self.counts = {"tried": 0, "acknowledged": 0, "given_up": 0, "lost": 0}

    async def open(self) -> None:
        """Make the connection pool and listen to the world."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._world.options.webhook_concurrency),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX),
        )
        self._world.listener = self._take

    async def close(self) -> None:
        """Stop delivering; what is under way is given up."""
        self._world.listener = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _take(self, event: Event) -> None:
        if event.kind not in self._types:
            return
        dice = self._world.random
        if dice.random() < self.faults.lose_webhooks:
            self.counts["lost"] += 1
            return
        copies = 2 if dice.random() < self.faults.duplicate_webhooks else 1
        for _ in range(copies):
            late = dice.random() < self.faults.reorder_webhooks
            delay = dice.uniform(0.1, REORDER_SECONDS_MAX) if late else 0.0
            self._world.clock.after(delay, lambda: self._spawn(event, RETRY_SECONDS_MIN))

    def _spawn(self, event: Event, retry_seconds: float) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(event, retry_seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, event: Event, retry_seconds: float) -> None:
        """One try; a failed one is scheduled again on the simulator's clock."""
        async with self._turns:
            if await self._post(event.body):
                self.counts["acknowledged"] += 1
                return
        if self._world.now() + retry_seconds > event.created + GIVE_UP_SECONDS:
            self.counts["given_up"] += 1
            return
        # Jitter, so that a receiver that comes back is not hit by all at once.
        wait = retry_seconds * self._world.random.uniform(0.8, 1.2)
        following = min(retry_seconds * 2, RETRY_SECONDS_MAX)
        self._world.clock.after(wait, lambda: self._spawn(event, following))

    async def _post(self, body: bytes) -> bool:
        assert self._session is not None  # opened before it listens
        self.counts["tried"] += 1
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
