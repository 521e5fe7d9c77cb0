"""When the deadlines of a partition may fire, and the batches of a lane that has deadlines.

A deadline that is due fires only after the lane has read all inputs up to end offsets taken at or after its due time: the answer
that it waits for may already lie in the backlog.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from aiokafka import TopicPartition

from consumers.ownership.input_queue import InputQueue
from consumers.ownership.logic import Batch, PartitionLogic
from consumers.ownership.options import PartitionContext
from producers.connection import within

#: After so long at most a clock that was set back or forward is noticed.
_CLOCK_CHECK_SECONDS = 60.0
#: How often a deadline that is due looks whether the backlog has been read.
_BACKLOG_CHECK_SECONDS = 0.02
#: After so long without a record, positions that have only passed transaction markers are committed.
_IDLE_SECONDS = 30.0


class DeadlineBarrier:
    """Holds deadlines back until all that was written before they were found to be due has been read."""

    def __init__(self, context: PartitionContext, queue: InputQueue) -> None:
        self._number = context.number
        self._inputs = tuple(context.inputs)
        self._reader = context.reader
        self._clock = context.clock
        self._trouble_seconds_max = context.options.trouble_seconds_max
        self._queue = queue
        #: When a deadline was found to be due, and the ends that the inputs had after that.
        self._waiting: tuple[datetime, dict[TopicPartition, int]] | None = None
        #: That deadlines wait for inputs which cannot be read to their end, in a line.
        self.problem: str | None = None

    def clear(self) -> None:
        """No deadline waits."""
        self._waiting, self.problem = None, None

    async def wait_seconds(self, due: datetime | None) -> float | None:
        """How long to wait for records before the next deadline, which is ``due``, is looked at again.

        Returns:
            0.0 when it may fire, None when there is no deadline.

        Raises:
            BrokerUnavailable: Kafka did not answer within the limit.
        """
        now = self._clock()
        if due is None or due > now:
            self.clear()
            return None if due is None else min((due - now).total_seconds(), _CLOCK_CHECK_SECONDS)
        if self._waiting is None:
            # high watermarks: an answer may lie behind a transaction that is still open
            self._waiting = (now, await self._reader.ends(self._inputs))
        await self._queue.refresh()
        if self._is_reached():
            return 0.0
        self._note_unread((now - self._waiting[0]).total_seconds())
        return _BACKLOG_CHECK_SECONDS

    def release(self) -> datetime | None:
        """Deadlines due up to this time may fire now; None: none may."""
        if self._waiting is None or not self._is_reached():
            return None
        fire_until = self._waiting[0]
        self.clear()
        return fire_until

    def _is_reached(self) -> bool:
        return self._waiting is not None and not self._queue.unread(self._waiting[1])

    def _note_unread(self, seconds: float) -> None:
        """A deadline that waits for inputs which cannot be read to their end is a problem, after a while."""
        if seconds >= self._trouble_seconds_max and not len(self._queue) and self._waiting is not None:
            unread = self._queue.unread(self._waiting[1])
            self.problem = (
                f"partition {self._number}: {', '.join(unread)} cannot be read to the end for {seconds:.0f} s, so deadlines "
                "wait. If this persists, a transaction hangs there: kafka-transactions.sh find-hanging"
            )


class DeadlineIntake:
    """The ``Intake`` of a lane that ends every record with its transaction, and has deadlines."""

    def __init__(
        self, context: PartitionContext, queue: InputQueue, make_logic: Callable[[int], PartitionLogic]
    ) -> None:
        self._number = context.number
        self._options = context.options
        self._consumer = context.consumer
        self._limit = context.connection.limits.operation_seconds
        self._clock = context.clock
        self._queue = queue
        self._barrier = DeadlineBarrier(context, queue)
        self._make_logic = make_logic
        self._logic: PartitionLogic | None = None
        #: No deadline is near.
        self.idle = True

    @property
    def problem(self) -> str | None:
        """Why deadlines wait, in a line."""
        return self._barrier.problem

    def new_logic(self) -> PartitionLogic:
        """The logic for a store that was just proven or restored."""
        self._logic = self._make_logic(self._number)
        return self._logic

    async def committed_offset(self, partition: TopicPartition) -> int | None:
        """The group's committed offset; None when there is none."""
        offset: int | None = await within(
            self._limit, self._consumer.committed(partition), "a request for committed offsets"
        )
        return offset

    async def taken_over(self) -> None:
        """The next offsets are all that is kept."""

    def begin(self) -> None:
        """No deadline waits yet."""
        self._barrier.clear()

    async def wait_seconds(self) -> float:
        """How long to wait for something to do; 0.0 when there are records, or a deadline that may fire."""
        due = None if self._logic is None else self._logic.next_due()
        wait = await self._barrier.wait_seconds(due)
        self.idle = wait is None or wait >= _IDLE_SECONDS
        if len(self._queue) or wait == 0.0:
            return 0.0
        return _IDLE_SECONDS if wait is None else min(wait, _IDLE_SECONDS)

    @property
    def full(self) -> bool:
        """Whether there are records for a whole batch, which need not wait for others."""
        return len(self._queue) >= self._options.batch_records_max

    def take(self) -> Batch | None:
        """The next batch; None when there is nothing to do."""
        fire_until = self._barrier.release()
        if not (len(self._queue) or fire_until):
            return None
        return Batch(self._queue.take(self._options.batch_records_max), fire_until, self._clock())

    def take_ended(self) -> Batch | None:
        """Nothing goes on beside the transactions; deadlines that are due wait until the pause is over."""
        self._barrier.clear()
        return None

    def offsets(self, reached: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int | tuple[int, str]]:
        """What to commit: the next offsets."""
        return reached

    def committed(self) -> None:
        """The offsets say it all."""

    async def leave(self) -> bool:
        """Nothing goes on beside the transactions."""
        return False

    async def stop(self) -> None:
        """Nothing goes on beside the transactions."""
