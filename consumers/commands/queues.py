"""The commands that a partition has at hand: orders side by side, one order's commands strictly one after the other.

One task serves one order for as long as it has commands. What is done waits in ``finished`` until a transaction has written it;
the partition takes it from there. No Kafka in this file.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from consumers.commands.calls import Caller
from consumers.commands.records import PendingCommand
from consumers.ownership.lease import Lease
from statemachine.messages.facts import Outcome


class CommandDesk:
    """Runs commands and keeps what came of them."""

    def __init__(
        self,
        caller: Caller,
        lease: Lease,
        *,
        mark: Callable[[PendingCommand], None],
        finish: Callable[[PendingCommand, Outcome], None],
        wake: asyncio.Event,
    ) -> None:
        """Args:
        caller: Carries a command out.
        lease: The partition's; renewed by its transactions.
        mark: Says of a command whose turn it is what is known of earlier calls of it.
        finish: Takes an outcome.
        wake: Set when the partition has something to do.
        """
        self.lease = lease
        self.leaving = False
        #: A command waits for a transaction.
        self.renewal_wanted = False
        #: What ended a task that should not end: a fault of ours.
        self.crash: BaseException | None = None
        self._caller = caller
        self._mark = mark
        self._finish = finish
        self._wake = wake
        self._renewed = asyncio.Event()
        self._scanned = asyncio.Event()
        self._orders: dict[str, deque[PendingCommand]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def active(self) -> bool:
        """Commands wait or are on their way."""
        return bool(self._orders)

    def unfinished(self) -> Iterator[PendingCommand]:
        """All commands without an outcome."""
        for queue in self._orders.values():
            yield from queue

    def add(self, pending: PendingCommand) -> None:
        """Queue a command behind those of its order."""
        order_id = pending.command.order_id
        queue = self._orders.get(order_id)
        if queue is not None:
            queue.append(pending)
            return
        self._orders[order_id] = deque([pending])
        self._start(order_id)

    def _start(self, order_id: str) -> None:
        task = asyncio.create_task(self._serve(order_id), name=f"commands of {order_id}")
        self._tasks[order_id] = task
        task.add_done_callback(lambda done: self._ended(order_id, done))

    async def _serve(self, order_id: str) -> None:
        queue = self._orders[order_id]
        while queue:
            self._mark(queue[0])
            outcome = await self._caller.carry_out(queue[0], self)
            if outcome is None:
                return
            self._finish(queue.popleft(), outcome)
            self._wake.set()
        del self._orders[order_id]

    def _ended(self, order_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(order_id) is task:
            del self._tasks[order_id]
        if not task.cancelled() and task.exception() is not None:
            self.crash = task.exception()
            self._wake.set()
        elif order_id in self._orders and not self.leaving and order_id not in self._tasks:
            self._start(order_id)  # the partition came back while the call was ending

    async def renew(self) -> None:
        """Return once a transaction has committed that makes the lease fresh, or has not for as long as a lease lasts.

        Who waits may hold the one place of a probe, which the other partitions need when this one's broker is away.
        """
        self.renewal_wanted = True
        self._wake.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._renewed.wait(), self.lease.seconds)

    def renewed(self, begun_at: float) -> None:
        """A transaction that began at ``begun_at`` has committed."""
        self.lease.renew(begun_at)
        self.renewal_wanted = False
        waiting, self._renewed = self._renewed, asyncio.Event()
        waiting.set()

    async def scanned(self, pending: PendingCommand) -> None:
        """Return once the past of the partition is known and the command is marked by it, or at its ``unsure_until``."""
        self._mark(pending)
        if pending.seen is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._scanned.wait(), max(0.0, pending.unsure_until - self._caller.clock()))
            self._mark(pending)

    def past_is_known(self) -> None:
        """A scan of the partition's past is done."""
        waiting, self._scanned = self._scanned, asyncio.Event()
        waiting.set()

    def stop_calls(self) -> None:
        """Start no request any more; those that were written go on."""
        self.leaving = True

    async def leave(self, grace_seconds: float) -> None:
        """Start no request any more, and give those on their way ``grace_seconds``. Then they go on by themselves.

        Kept is what may have been called; the commands behind and beside it are read again by whoever has the partition next.
        """
        self.stop_calls()
        waiting, calling = [], []
        for order_id, task in self._tasks.items():
            queue = self._orders.get(order_id)  # gone when the task has just ended
            if queue and queue[0].calling:
                calling.append(task)
            else:
                task.cancel()
                waiting.append(task)
        if waiting:
            await asyncio.wait(waiting)
        if calling:
            await asyncio.wait(calling, timeout=grace_seconds)
        given_up: list[asyncio.Task[None]] = []
        for order_id, queue in list(self._orders.items()):
            if queue[0].look_first:
                while len(queue) > 1:
                    queue.pop()
                continue
            del self._orders[order_id]
            if order_id in self._tasks:
                given_up.append(self._tasks[order_id])
        for task in given_up:
            task.cancel()
        if given_up:
            await asyncio.wait(given_up)

    def come_back(self) -> None:
        """The partition is ours again and nobody else had it: go on with what was kept."""
        self.leaving = False
        for order_id in self._orders:
            if order_id not in self._tasks:
                self._start(order_id)

    async def calls_ended(self, seconds: float) -> None:
        """Wait for the calls that are still on their way, but no longer than ``seconds``."""
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()), timeout=seconds)

    async def cut(self) -> None:
        """End what still runs; calls on their way are cut off and may have taken effect."""
        self.lease.drop()
        self.stop_calls()
        for task in self._tasks.values():
            task.cancel()
        while self._tasks:
            await asyncio.wait(set(self._tasks.values()))

    async def drop(self) -> None:
        """Forget all commands, and end what still runs."""
        await self.cut()
        self._orders.clear()
        self.renewal_wanted = False
        self.leaving = False
