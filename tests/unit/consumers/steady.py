"""A clock that only moves when somebody sleeps, and the parts of the command lane joined by it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from consumers.commands.calls import Caller, CallOptions
from consumers.commands.progress import Waits
from consumers.commands.records import PendingCommand
from consumers.commands.uncertain import CallHistory
from consumers.ownership.lease import Lease
from consumers.requests.breaker import Breaker
from consumers.requests.permit import CallPermit
from consumers.requests.rate_limit import RateLimit
from statemachine.messages.commands import Command, DeleteCheckout
from statemachine.messages.facts import Outcome
from statemachine.messages.ids import CheckoutId, CommandId, OrderId
from tests.lanes.river import FileRiver


class Steady:
    """Time of a test, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()
        self._driver: asyncio.Task[None] | None = None

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Sleep until everybody sleeps and it is our turn."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._count), done))
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive())
        await done

    async def _drive(self) -> None:
        while self._sleepers:
            for _ in range(50):  # let everybody who can go on do so first
                await asyncio.sleep(0)
            moment, _, done = heapq.heappop(self._sleepers)
            self.now = max(self.now, moment)
            if not done.done():
                done.set_result(None)


@dataclass
class Bench:
    """A caller, the fake Digital River that it calls, and a partition that renews its lease whenever it is asked."""

    books: Path
    fail: Callable[[str, int], Exception | None] = lambda _what, _count: None
    options: CallOptions = field(default_factory=CallOptions)
    rate: float = 0.0
    renewals: int = 0
    scan_seconds: float = 3.0
    was_there: bool = False

    def __post_init__(self) -> None:
        self.time = Steady()
        self.river = FileRiver(self.books, fail=self._fail)
        self.breaker = Breaker()
        self.lease = Lease(5.0, self.time)
        self.permit = BenchPermit(self)
        self.history = BenchHistory(self)
        self.caller = Caller(
            self.river,
            options=self.options,
            breaker=self.breaker,
            rate=RateLimit(self.rate, lambda: 1.0),
            slots=asyncio.Semaphore(self.options.concurrency),
            clock=self.time,
            sleep=self.time.sleep,
            jitter=lambda: 1.0,
        )

    def _fail(self, what: str, count: int) -> Exception | None:
        return self.fail(what, count)  # tests may set it later

    async def run(self, command: Command, **marks: object) -> Outcome:
        """Carry a command out to its outcome."""
        pending = PendingCommand(0, command)
        for name, value in marks.items():
            setattr(pending, name, value)
        outcome = await self.caller.carry_out(pending, self.permit, self.history)
        assert outcome is not None
        return outcome

    def effects(self, command_id: str = "c1") -> int:
        """How often a command took effect."""
        return sum(effect["command_id"] == command_id for effect in self.river.effects())


class BenchPermit(CallPermit):
    """The permit of a partition that renews its lease whenever it is asked."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.lease, wake=asyncio.Event())
        self._bench = bench

    async def renew(self) -> None:
        """A transaction commits at once."""
        self._bench.renewals += 1
        self.lease.renew(self._bench.time.now)
        await asyncio.sleep(0)


class BenchHistory(CallHistory):
    """The history of a partition whose scan ends some seconds later."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(Waits(), bench.time)
        self._bench = bench

    async def wait_for_scan(self, pending: PendingCommand) -> None:
        """Now it is known whether the command was there before; if so it waits as ``UncertainCommands`` would have it."""
        await self._bench.time.sleep(self._bench.scan_seconds)
        pending.seen = self._bench.was_there
        if self._bench.was_there:
            pending.mark_uncertain(pending.unsure_until)


def delete(command_id: str = "c1", order_id: str = "A-1", attempt: int = 1) -> DeleteCheckout:
    """A command of the simplest kind."""
    return DeleteCheckout(
        command_id=CommandId(command_id), order_id=OrderId(order_id), attempt=attempt, checkout_id=CheckoutId("chk")
    )
