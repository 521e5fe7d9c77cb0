"""The intake of a partition whose records need Digital River: one that waits does not delay those behind it.

It differs from that of the order lane in two ways. Records are worked on beside the transactions, by the lane's ``ObjectQueues``;
a transaction writes what is finished. And what is committed is the first offset that is not done, with the others in its metadata
(``progress.py``), so that a restart repeats nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aiokafka import TopicPartition

from consumers.ownership.changelog import OffsetReader
from consumers.ownership.input_queue import InputQueue
from consumers.ownership.lease import Lease
from consumers.ownership.logic import Batch, PartitionLogic
from consumers.ownership.options import PartitionContext
from consumers.requests.progress import RequestProgress, read_request_progress
from consumers.requests.queues import ObjectQueues

#: How often a partition with nothing to do checks its position, in seconds.
_IDLE_SECONDS = 30.0
#: How long a partition that leaves waits for the answers of writes in flight, in seconds.
_LEAVE_SECONDS = 2.0


class SideWork(Protocol):
    """What a partition does by itself, beside its records; the logic writes what comes of it."""

    @property
    def crash(self) -> BaseException | None:
        """What ended it that should not: a bug, which ends the period."""
        ...

    @property
    def ready(self) -> bool:
        """Something is to be written."""
        ...

    @property
    def read_to(self) -> int | None:
        """What is committed beside the offset in the transaction at hand, for ``begin``."""
        ...

    def begin(self, known: int | None, wake: Callable[[], None], is_paused: Callable[[], bool]) -> None:
        """Begin with what is committed; ``wake`` is called when something is ready."""
        ...

    async def stop(self) -> None:
        """Cut it off: from here on what is committed counts."""
        ...


class RequestLogic(PartitionLogic, Protocol):
    """What such a lane does with its partition."""

    #: The records that wait.
    queues: ObjectQueues[Any, Any]

    @property
    def side_work(self) -> SideWork | None:
        """What the partition does beside its records; None: nothing."""
        ...

    @property
    def problem(self) -> str | None:
        """Why no requests are made at the moment, in a line."""
        ...


#: Makes the logic of a partition; the lease is there for a lane that writes.
MakeLogic = Callable[[int, Lease | None], RequestLogic]


class RequestIntake:
    """The ``Intake`` of a partition of the webhook or the catalogue lane."""

    def __init__(
        self,
        context: PartitionContext,
        queue: InputQueue,
        lease: Lease | None,
        *,
        reader: OffsetReader,
        make_logic: MakeLogic,
    ) -> None:
        (self._tp,) = context.inputs  # such a lane has one
        self._context = context
        self._queue = queue
        self._lease = lease
        self._reader = reader
        self._make_logic = make_logic
        self._logic: RequestLogic | None = None
        self._found: tuple[int, str] | None = None
        #: What is committed; None: nothing, or by an unknown writer.
        self._last: RequestProgress | None = None
        self._offered: RequestProgress | None = None
        #: The topic's end when an unknown writer may have worked up to it.
        self._end: int | None = None
        #: The queues are at work; else what is committed counts.
        self._begun = False
        self._tidy = False

    @property
    def problem(self) -> str | None:
        """Why no requests are made at the moment, in a line."""
        return None if self._logic is None else self._logic.problem

    @property
    def _queues(self) -> ObjectQueues[Any, Any]:
        assert self._logic is not None  # made when the store was opened
        return self._logic.queues

    @property
    def _side_work(self) -> SideWork | None:
        return None if self._logic is None else self._logic.side_work

    @property
    def _events_to(self) -> int | None:
        return None if self._last is None else self._last.events_to

    def _is_paused(self) -> bool:
        return self._context.pauses.current is not None

    # -- taking over

    def new_logic(self) -> PartitionLogic:
        """The logic for a store that was just proven or restored."""
        self._logic = self._make_logic(self._context.number, self._lease)
        self._logic.queues.wake = self._queue.wake.set
        self._logic.queues.attempts.is_paused = self._is_paused
        return self._logic

    async def committed_offset(self, partition: TopicPartition) -> int | None:
        """The group's committed offset; None when there is none. Its metadata is kept for ``taken_over``."""
        self._found = await self._reader.committed(self._context.group, partition)
        return None if self._found is None else self._found[0]

    async def taken_over(self) -> None:
        """Read what is committed beside the offset."""
        self._last, self._end = None, None
        if self._found is not None:
            self._last = read_request_progress(*self._found)
            if self._last is None:
                self._end = (await self._reader.ends([self._tp]))[self._tp]

    def begin(self) -> None:
        """Begin to read at the first offset that is not done."""
        offset = self._queue.next_offsets[self._tp] if self._last is None else self._last.offset
        self._queue.next_offsets = {self._tp: offset}
        self._queues.begin(offset, self._last, self._end)
        if self._side_work is not None:
            self._side_work.begin(self._events_to, self._queue.wake.set, self._is_paused)
        self._begun = True

    # -- working

    async def wait_seconds(self) -> float:
        """How long to wait for something to do; 0.0 when something is to be written or read."""
        queues, beside = self._queues, self._side_work
        for crash in (queues.crash, None if beside is None else beside.crash):
            if crash is not None:
                raise crash
        if beside is not None and beside.ready:
            return 0.0
        if self._lease is None:
            queues.start()
        renewal_in = self._renewal_in(queues)
        if queues.ready or (len(self._queue) and queues.room) or renewal_in == 0.0:
            return 0.0
        waits = [wait for wait in (queues.due_in, renewal_in) if wait is not None]
        return max(0.01, min(waits, default=_IDLE_SECONDS))

    @property
    def idle(self) -> bool:
        """Nothing waits for Digital River."""
        return not self._queues.busy

    @property
    def full(self) -> bool:
        """Never: what waits for Digital River gains nothing from more transactions."""
        return False

    def take(self) -> Batch | None:
        """The next records, as many as there is room for; also without a record there is something to write."""
        records = self._queue.take(min(self._context.options.batch_records_max, self._queues.room))
        return Batch(records, None, self._context.clock())

    def take_ended(self) -> Batch | None:
        """What was answered or given up; no request is made meanwhile, so none needs the lease."""
        if self._queues.crash is not None:
            raise self._queues.crash
        return Batch([], None, self._context.clock()) if self._queues.ready else None

    def _renewal_in(self, queues: ObjectQueues[Any, Any]) -> float | None:
        """Seconds until a transaction must renew the lease for writes in flight; None when there are none."""
        if self._lease is None or not queues.calling or self.problem is not None:
            return None
        return max(0.0, self._lease.seconds / 3 - self._lease.age)

    def offsets(self, reached: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int | tuple[int, str]]:
        """The first offset that is not done, with the others in its metadata."""
        queues, offset = self._queues, reached[self._tp]
        if self._begun:
            events_to = self._events_to if self._side_work is None else self._side_work.read_to
            self._offered = queues.progress(offset, leaving=self._tidy, events_to=events_to)
        else:  # not begun yet: what was committed before
            self._offered = self._last or queues.unbegun(offset, self._end)
        return {self._tp: (self._offered.offset, self._offered.encode())}

    def committed(self) -> None:
        """The last ``offsets`` are what is committed."""
        self._last = self._offered

    # -- leaving

    async def leave(self) -> bool:
        """Wait a little for writes in flight; whether a last transaction has to name what may still take effect."""
        if not self._begun:
            return False
        if self._side_work is not None:
            await self._side_work.stop()
        await self._queues.leave(_LEAVE_SECONDS if self._lease is not None else 0.0)
        self._tidy = True
        return self._queues.busy

    async def stop(self) -> None:
        """Cancel the requests in flight: from here on what is committed counts."""
        self._begun = self._tidy = False
        if self._side_work is not None:
            await self._side_work.stop()
        if self._logic is not None:
            await self._logic.queues.stop()
