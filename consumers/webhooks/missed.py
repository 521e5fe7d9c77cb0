"""Events whose webhooks never came: found in the provider's list of events by the owner of partition 0, and fed to the lane.

Rules of the file:
- They are written to ``dr-webhooks``, signed, and take the way of every webhook: verified, correlated, absorbed.
- An event has come when a webhook with its id and a good signature is in ``dr-webhooks``. What came is not fed again.
- They are written in a transaction of the partition, the last of a round together with how far the list has been read. So an
  owner that was fenced writes neither. A round that was cut off begins again, and finds what it has fed in the topic.
- While an operator has paused the partition nothing is read and nothing is fed.
- A webhook may still be on its way: what was made in the last minutes is left to the next round.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from consumers.provider import RecentEvent
from consumers.webhooks.came import concerns_orders
from producers.outbox import HeaderList
from statemachine.errors import OrderflowError
from statemachine.messages.times import read_time

log = structlog.get_logger(__name__)

#: The partition whose owner reads the list.
READER: Final = 0
#: The provider's list reaches back so far, and so does the first round of all.
_AGE_MAX, _FIRST_AGE = timedelta(days=30), timedelta(days=1)
#: How far before the end of the last round the list is read again: events may be listed late, and clocks differ.
_OVERLAP: Final = timedelta(hours=1)
#: For so long after an event its webhook may be on its way, and so much the provider's clock may be ahead.
_DELIVERY, _AHEAD = timedelta(minutes=5), timedelta(minutes=1)
#: A new owner waits for so long before its first round: owners may change often. After a failure a round is tried again so soon.
_SETTLING, _RETRY = timedelta(minutes=1), timedelta(minutes=5)
#: Events of one transaction.
_AT_ONCE: Final = 100
#: How often a pause is looked at, in seconds.
_PAUSED_SECONDS: Final = 1.0

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MissedOptions:
    """How missed events are looked for; None in its place: they are not."""

    #: The provider's events since then, newest first, read at the pace that they may have.
    events: Callable[[datetime], AsyncIterator[RecentEvent]]
    #: The headers of a webhook with this body.
    sign: Callable[[bytes], HeaderList]
    #: Between two rounds.
    wait: timedelta


class MissedEvents:
    """The ``SideWork`` of partition 0: a round of the list now and then."""

    def __init__(
        self,
        options: MissedOptions,
        *,
        read: Callable[[bytes], object | None],
        came: Callable[[datetime], Awaitable[set[str]]],
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Args:
        options: The list, and how often it is read.
        read: How the lane reads an event; None for one that does not concern orders.
        came: The ids of the events whose webhooks came since then.
        clock: UTC now.
        sleep: Waits so many seconds.
        """
        self.sign = options.sign
        self._events = options.events
        self._wait = options.wait
        self._read = read
        self._came = came
        self._clock = clock
        self._sleep = sleep
        self._wake: Callable[[], None] = lambda: None
        self._is_paused: Callable[[], bool] = lambda: False
        self._task: asyncio.Task[None] | None = None
        #: Found and not written yet, newest first.
        self._found: list[RecentEvent] = []
        #: Up to where the list has been read, in ms: by what is committed, once ``_found`` is, and once this transaction is.
        self._known: int | None = None
        self._reached: int | None = None
        self._offered: int | None = None
        self._taken = False
        self._written = asyncio.Event()
        self.ready = False
        self.crash: BaseException | None = None

    # -- called by the intake

    def begin(self, known: int | None, wake: Callable[[], None], is_paused: Callable[[], bool]) -> None:
        """Begin with what is committed."""
        self._known, self._wake, self._is_paused = known, wake, is_paused
        self.crash = None
        self._task = asyncio.create_task(self._run())

    @property
    def read_to(self) -> int | None:
        """Up to where the list has been read once the transaction at hand has committed."""
        return self._known if self._offered is None else self._offered

    async def stop(self) -> None:
        """Read and offer nothing any more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._found, self._reached, self._offered = [], None, None
        self.ready = self._taken = False

    # -- called by the logic

    def take(self) -> list[RecentEvent]:
        """What the transaction at hand is to write, oldest first."""
        if not self.ready:
            return []
        self.ready, self._taken = False, True
        taken, self._found = self._found, []
        self._offered = self._reached
        return taken[::-1]

    def committed(self) -> None:
        """The transaction has committed."""
        if not self._taken:
            return
        self._known, self._taken, self._offered = self.read_to, False, None
        self._written.set()

    # -- rounds

    async def _run(self) -> None:
        try:
            await self._sleep(self._first_wait().total_seconds())
            while True:
                began, wait = self._clock(), self._wait
                try:
                    await self._round(began)
                except OrderflowError as error:
                    log.warning("events_not_read", error=error)
                    wait = min(wait, _RETRY)
                await self._sleep(max(0.01, (began + wait - self._clock()).total_seconds()))
        except Exception as error:  # noqa: BLE001  # raised in the partition's own task
            self.crash = error
            self._wake()

    def _first_wait(self) -> timedelta:
        soon = min(self._wait, _SETTLING)
        if self._known is None:
            return soon
        due = _time_of(self._known) + self._wait - self._clock()
        return max(soon, min(due, self._wait))  # the clock of an earlier owner may have been ahead

    async def _round(self, began: datetime) -> None:
        await self._while_paused()
        known = began - _FIRST_AGE if self._known is None else min(began, _time_of(self._known))
        since = max(began - _AGE_MAX, known - _OVERLAP)
        came = await self._came(since)
        fed = 0
        async for event in self._events(since):
            if event.needed and event.id not in came and self._is_missed(event, began):
                came.add(event.id)
                fed += 1
                self._found.append(event)
            if len(self._found) >= _AT_ONCE:
                await self._write()
            await self._while_paused()
        self._reached = round((began - _EPOCH) / timedelta(milliseconds=1))
        await self._write()
        self._reached = None
        if fed:
            log.warning("webhooks_missed", count=fed)

    def _is_missed(self, event: RecentEvent, now: datetime) -> bool:
        created = read_time(event.created)
        if created is not None and now - min(_DELIVERY, self._wait) < created <= now + _AHEAD:
            return False
        return concerns_orders(event.body, self._read)

    async def _write(self) -> None:
        """Have what was found written, and wait until it is."""
        self._written.clear()
        self.ready = True
        self._wake()
        await self._written.wait()

    async def _while_paused(self) -> None:
        while self._is_paused():
            await self._sleep(_PAUSED_SECONDS)


def _time_of(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)
