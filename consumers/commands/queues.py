"""The command queues of a partition: orders side by side, one order's commands strictly one after the other.

One task serves one order for as long as it has commands: it marks the first with what is known of earlier calls, hands it to the
caller, and puts the outcome that comes back into ``FinishedCommands``, from where the partition writes it. No Kafka in this file.

An order whose first command is paused has no task: it and all behind it are *held* until the pause is over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

from consumers.commands.calls import Caller
from consumers.commands.records import PendingCommand
from consumers.commands.transactions import FinishedCommands
from consumers.commands.uncertain import CallHistory
from consumers.requests.permit import CallPermit
from statemachine.messages.commands import name_of
from statemachine.messages.ids import OrderId


class CommandQueues:
    """The commands of one partition that have no outcome yet, by order."""

    def __init__(
        self,
        caller: Caller,
        permit: CallPermit,
        *,
        history: CallHistory,
        finished: FinishedCommands,
        wake: asyncio.Event,
    ) -> None:
        """Args:
        caller: Carries a command out and returns its outcome.
        permit: The partition's, handed on to the caller.
        history: What is known of earlier calls.
        finished: Takes the outcomes.
        wake: Set when the partition has something to do.
        """
        #: What ended a task that should not end: a bug.
        self.crash: BaseException | None = None
        self._caller = caller
        self._permit = permit
        self._history = history
        self._finished = finished
        self._wake = wake
        self._orders: dict[OrderId, deque[PendingCommand]] = {}
        self._tasks: dict[OrderId, asyncio.Task[None]] = {}
        self._held_orders: set[OrderId] = set()
        #: Commands that wait for the end of a pause: those that are paused, and those behind them.
        self.held = 0

    @property
    def active(self) -> bool:
        """Commands wait or have a call in flight."""
        return bool(self._orders)

    @property
    def working(self) -> bool:
        """The same, but for commands that wait for the end of a pause only."""
        return len(self._orders) > len(self._held_orders)

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
            self.held += order_id in self._held_orders
            return
        self._orders[order_id] = deque([pending])
        self._start(order_id)

    def _is_paused(self, pending: PendingCommand) -> bool:
        return self._permit.is_paused(name_of(pending.command))

    def _start(self, order_id: OrderId) -> None:
        """Serve an order, or hold it when its first command is paused."""
        queue = self._orders[order_id]
        if queue and self._is_paused(queue[0]):
            self._held_orders.add(order_id)
            self.held += len(queue)
            return
        task = asyncio.create_task(self._serve(order_id), name=f"commands of {order_id}")
        self._tasks[order_id] = task
        task.add_done_callback(lambda done: self._ended(order_id, done))

    async def _serve(self, order_id: OrderId) -> None:
        """Carry out the commands of one order, each from its mark to its outcome."""
        queue = self._orders[order_id]
        while queue:
            if self._is_paused(queue[0]):
                return
            self._history.mark(queue[0])
            outcome = await self._caller.carry_out(queue[0], self._permit, self._history)
            if outcome is None:
                return
            pending = queue.popleft()
            outcome = self._finished.add_outcome(pending, outcome)
            self._history.learn(pending, outcome)  # before the next one, which may be a later attempt, is marked
            self._wake.set()
        del self._orders[order_id]

    def _ended(self, order_id: OrderId, task: asyncio.Task[None]) -> None:
        if self._tasks.get(order_id) is task:
            del self._tasks[order_id]
        if not task.cancelled() and task.exception() is not None:
            self.crash = task.exception()
            self._wake.set()
        elif order_id in self._orders and not self._permit.withdrawn and order_id not in self._tasks:
            self._start(order_id)  # the partition came back while the call was ending, or the next command is paused

    async def leave(self, grace_seconds: float) -> None:
        """Start no request any more, and give those in flight ``grace_seconds``. Then they continue by themselves.

        Kept is what may have been called; the commands behind and beside it are read again by the next owner.
        """
        self._permit.withdraw()
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
        self._held_orders.clear()
        self.held = 0
        for task in given_up:
            task.cancel()
        if given_up:
            await asyncio.wait(given_up)

    def come_back(self) -> None:
        """The partition is ours again and nobody else had it: continue with what was kept."""
        self._permit.grant()
        self.pauses_changed()

    def pauses_changed(self) -> None:
        """Start what waits and may go on, hold what is paused now; a call that was written ends by itself."""
        if self._permit.withdrawn:
            return
        self._held_orders.clear()
        self.held = 0
        for order_id in self._orders:
            if order_id not in self._tasks:
                self._start(order_id)

    async def calls_ended(self, seconds: float) -> None:
        """Wait for the calls that are still in flight, but no longer than ``seconds``."""
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()), timeout=seconds)

    async def cancel(self) -> None:
        """End all tasks; calls in flight are cancelled and may have taken effect."""
        self._permit.lease.drop()
        self._permit.withdraw()
        for task in self._tasks.values():
            task.cancel()
        while self._tasks:
            await asyncio.wait(set(self._tasks.values()))

    async def drop(self) -> None:
        """Forget all commands, and end all tasks."""
        await self.cancel()
        self._orders.clear()
        self._held_orders.clear()
        self.held = 0
        self._permit.renewal_wanted = False
        self._permit.grant()
