"""A partition whose records need Digital River: one that waits does not hold up those behind it.

It is ``OwnedPartition`` with two differences. Records are worked on beside the transactions, by the lane's ``AskingDesk``; a
transaction writes what has come to its end. And what is committed is the first offset that is not done, with the others in its
metadata (``progress.py``), so that a restart repeats nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumers.ownership.lease import Lease
from consumers.ownership.offset_reader import OffsetReader
from consumers.ownership.options import LaneOptions, LaneTopics
from consumers.ownership.partition import Batch, OwnedPartition, PartitionLogic
from consumers.ownership.store import Store
from consumers.requests.progress import AskingProgress, read_asking_progress
from consumers.requests.queues import AskingDesk
from producers.connection import KafkaConnection
from producers.transaction import Probe
from statemachine.errors import OrderflowError

log = structlog.get_logger(__name__)

#: How often a partition with nothing to do looks after its position, in seconds.
_IDLE_SECONDS = 30.0
#: How long a partition that leaves waits for the answers of writes that are on their way.
_LEAVE_SECONDS = 2.0


class AskingLogic(PartitionLogic, Protocol):
    """What such a lane does with its partition."""

    #: The records that wait.
    desk: AskingDesk[Any, Any]

    @property
    def problem(self) -> str | None:
        """Why nothing is asked at the moment, in a line."""
        ...


#: Makes the logic of a partition; the lease is there for a lane that writes.
MakeLogic = Callable[[int, Lease | None], AskingLogic]


class AskingPartition(OwnedPartition):
    """Partition p of the webhook or the catalogue lane in one process."""

    def __init__(
        self,
        number: int,
        *,
        partitions: int,
        group: str,
        topics: LaneTopics,
        options: LaneOptions,
        connection: KafkaConnection,
        consumer: AIOKafkaConsumer,
        reader: OffsetReader,
        incarnation: str,
        make_store: Callable[[int], Store],
        make_logic: MakeLogic,
        clock: Callable[[], datetime],
        probe: Probe | None = None,
    ) -> None:
        super().__init__(
            number,
            partitions=partitions,
            group=group,
            topics=topics,
            options=options,
            connection=connection,
            consumer=consumer,
            reader=reader,
            incarnation=incarnation,
            make_store=make_store,
            make_logic=self._remember,
            clock=clock,
            probe=probe,
        )
        (self._tp,) = self.inputs  # such a lane has one
        self._make_asker = make_logic
        self._committed_reader = reader
        self._asker: AskingLogic | None = None
        self._found: tuple[int, str] | None = None
        #: What is committed; None: nothing, or by somebody of whom nothing is known.
        self._last: AskingProgress | None = None
        self._offered: AskingProgress | None = None
        #: The topic's end when somebody of whom nothing is known may have worked up to it.
        self._end: int | None = None
        #: The desk is at work; else it is as it was left, and what is committed counts.
        self._begun = False
        self._tidy = False

    def _remember(self, number: int) -> AskingLogic:
        self._asker = self._make_asker(number, self._lease)
        self._asker.desk.wake = self._wake.set
        return self._asker

    # -- taking over

    async def _take_over(self) -> None:
        await super()._take_over()
        self._last, self._end = None, None
        if self._found is not None:
            self._last = read_asking_progress(*self._found)
            if self._last is None:
                self._end = (await self._reader.ends([self._tp]))[self._tp]

    async def _committed(self, partition: TopicPartition) -> int | None:
        self._found = await self._committed_reader.committed(self._group, partition)
        return None if self._found is None else self._found[0]

    async def _forget(self) -> None:
        if self._asker is not None:
            await self._asker.desk.stop()
        await super()._forget()

    def _start_reading(self) -> None:
        if not self._leaving.is_set() and self._asker is not None:
            offset = self._next[self._tp] if self._last is None else self._last.offset
            self._next = {self._tp: offset}
            self._asker.desk.begin(offset, self._last, self._end)
            self._begun = True
        super()._start_reading()

    # -- working

    async def _work(self) -> None:
        try:
            await super()._work()
        except BaseException:
            await self._halt()
            raise

    async def _next_batch(self) -> Batch | None:
        """Wait until something is to be written or read; None when everything must be looked at again."""
        assert self._asker is not None  # made when the store was opened
        desk = self._asker.desk
        if desk.crash is not None:
            raise desk.crash
        self.problem = self._asker.problem or self._watch.problem
        if self._lease is None:
            desk.start()
        if not (desk.ready or (self._queue and desk.room) or self._renewal_in(desk) == 0.0):
            self._wake.clear()
            waits = [wait for wait in (desk.due_in, self._renewal_in(desk)) if wait is not None]
            try:
                await asyncio.wait_for(self._wake.wait(), max(0.01, min(waits, default=_IDLE_SECONDS)))
            except TimeoutError:
                if not desk.busy and await self._passed_markers():
                    return Batch([], None, self._clock())
            return None
        # 5 to 20 transactions a second: back to back they pay 20 ms each for CONCURRENT_TRANSACTIONS.
        await self._rest(self._last_begin + self._options.batch_interval_seconds - self._steady())
        if self._leaving.is_set():
            return None
        records = self._take_queued(min(self._options.batch_records_max, desk.room))
        self._last_begin = self._steady()
        return Batch(records, None, self._clock())

    def _renewal_in(self, desk: AskingDesk[Any, Any]) -> float | None:
        """Seconds until a transaction must renew the lease for writes that are on their way; None when none are."""
        assert self._asker is not None
        if self._lease is None or not desk.calling or self._asker.problem is not None:
            return None
        return max(0.0, self._lease.seconds / 3 - self._lease.age)

    def _offsets(self, reached: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int | tuple[int, str]]:
        assert self._asker is not None  # made when the store was opened
        desk, offset = self._asker.desk, reached[self._tp]
        if self._begun:
            self._offered = desk.progress(offset, leaving=self._tidy)
        else:  # going on: as it was left
            self._offered = self._last or desk.unbegun(offset, self._end)
        return {self._tp: (self._offered.offset, self._offered.encode())}

    async def _transact(self, *given: Any) -> None:
        await super()._transact(*given)
        self._last = self._offered

    # -- leaving

    async def _finish(self) -> None:
        """Wait a little for writes on their way, then commit what has ended, and name what may still take effect."""
        self._pause_reading()
        if not self._begun or self._asker is None:
            return
        desk, producer, proven = self._asker.desk, self._producer, self._proven
        await desk.leave(_LEAVE_SECONDS if self._lease is not None else 0.0)
        if not desk.busy or producer is None or not producer.alive or proven is None or proven.in_doubt is not None:
            return
        self._tidy = True
        try:
            await self._carry_out(Batch([], None, self._clock()))
        except (OrderflowError, KafkaError) as error:  # the next owner waits, as after a crash
            log.warning("partition_leave_failed", partition=self.number, group=self._group, error=error)
        finally:
            self._tidy = False

    async def _ended(self) -> None:
        await self._halt()

    async def _halt(self) -> None:
        """Cut off what is on its way: from here on what is committed counts."""
        self._begun = False
        if self._asker is not None:
            await self._asker.desk.stop()
