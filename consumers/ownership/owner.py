"""The life cycle of an owned partition: assigned → fenced → (restoring) → running → draining → revoked.

The same for all lanes. Rules of the file:
- A take-over that was cancelled has proven nothing: only a complete one may be resumed, and only with its own producer.
- After any error the partition starts again at *fenced*, or does what the error's disposition says; trouble that lasts becomes
  the partition's problem, which fails readiness.
- A revoke cancels a take-over at once: the rebalance, and with it every other partition, waits for it.
- A stop that only a restart may end (the fuse) outlasts rebalances.
What is read, called or written belongs to the lane: it implements the abstract methods, which call nothing of the life cycle but
the small steps of this class (``_rest``, ``_become``, ``_worked``, ``_pause_reading``).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from consumers.ownership.options import LaneOptions
from consumers.ownership.progress_watch import ProgressWatch
from consumers.pauses.records import Pause
from consumers.pauses.table import PartitionPauses
from producers.connection import describe
from statemachine.errors import (
    BrokerUnavailable,
    DigitalRiverError,
    Disposition,
    FuseBlown,
    OrderflowError,
    PositionGap,
)

log = structlog.get_logger(__name__)

#: So many partitions of a lane in one process are taken over at once: each makes connections and reads a changelog.
TAKE_OVERS_MAX = 8
#: What a lane's partitions may hold unread, in bytes: all of them together, and one by itself.
_QUEUES_BYTES_MAX = 256 * 1024 * 1024
_QUEUE_BYTES_MAX = 64 * 1024 * 1024
_QUEUE_BYTES_MIN = 1024 * 1024


class PartitionState(StrEnum):
    """Where a partition is in its life cycle."""

    ASSIGNED = "assigned"
    FENCED = "fenced"
    RESTORING = "restoring"
    RUNNING = "running"
    DRAINING = "draining"
    REVOKED = "revoked"
    #: Only a person can resolve it: see ``problem``.
    STOPPED = "stopped"


@dataclass(slots=True)
class Counters:
    """What a partition has done since the process started."""

    records: int = 0
    transactions: int = 0
    restores: int = 0
    resumes: int = 0
    takeovers: int = 0
    #: Attempts to take over, or to go on, that an error ended.
    failures: int = 0


class PartitionOwner(ABC):
    """One partition number of one lane in one process. Lives as long as the process; ``run`` is one period of ownership."""

    def __init__(
        self,
        number: int,
        *,
        group: str,
        inputs: Collection[TopicPartition],
        options: LaneOptions,
        consumer: AIOKafkaConsumer,
        steady: Callable[[], float],
        pauses: PartitionPauses,
    ) -> None:
        """``steady``: seconds of a monotonic clock; ``pauses``: what operators have paused of it."""
        self.number = number
        self.state = PartitionState.REVOKED
        self.problem: str | None = None
        self.counters = Counters()
        #: While it is restored: how many offsets of the changelog were read, and how many there are.
        self.restored: tuple[int, int] | None = None
        #: The same time: how many seconds it takes still, at the rate until now; None when that is not known.
        self.restore_seconds_left: float | None = None
        self._group = group
        self._inputs = inputs
        self._options = options
        self._consumer = consumer
        self._steady = steady
        self._wake = asyncio.Event()
        self._leaving = asyncio.Event()
        self._pauses = pauses
        pauses.listen(self._wake.set)
        self._watch = ProgressWatch(number, options.trouble_seconds_max)
        #: The last take-over was completed: what is in memory was proven under the producer that is kept.
        self._taken = False
        self._blown_fuse: FuseBlown | None = None
        self._turns = asyncio.Semaphore(TAKE_OVERS_MAX)
        #: A partition that holds so many bytes unread asks for no more.
        self.queue_bytes_max = _QUEUE_BYTES_MAX

    @property
    def pause(self) -> Pause | None:
        """The pause under which nothing begins here, although the partition stays ours; None when there is none."""
        return self._pauses.current

    # -- called by the membership

    def share(self, turns: asyncio.Semaphore, partitions: int) -> None:
        """Share the turns of take-overs, and the memory for unread records, with the other ``partitions`` of the process."""
        self._turns = turns
        self.queue_bytes_max = max(_QUEUE_BYTES_MIN, min(_QUEUE_BYTES_MAX, _QUEUES_BYTES_MAX // max(1, partitions)))

    @property
    @abstractmethod
    def accepts_records(self) -> bool:
        """Running, and with room for more records."""

    @abstractmethod
    def feed(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        """Take records that were fetched while the partition was running."""

    @abstractmethod
    def read_position(self, partition: TopicPartition) -> int:
        """The offset after the last record that was fed, or from which reading began: where reading goes on."""

    def lost_offset(self, detail: str) -> None:
        """The broker no longer has the offset to be read next, or the client cannot read what is there."""
        self._stop_for(PositionGap(detail))
        self.leave()

    def leave(self) -> None:
        """Ask ``run`` to finish the current transaction and return."""
        if self.state is PartitionState.RUNNING:
            self._become(PartitionState.DRAINING)
        self._leaving.set()
        self._wake.set()

    def revoked(self) -> None:
        """The partition is no longer ours. Producer and store are kept, dormant."""
        if self.state is not PartitionState.STOPPED:
            self._become(PartitionState.REVOKED)

    @abstractmethod
    async def close(self) -> None:
        """Release everything; the partition is not used again."""

    # -- one period of ownership

    async def run(self) -> None:
        """Own the partition until ``leave``: resume or take over, then work, and start again at *fenced* after errors.

        Raises:
            OrderflowError: With disposition STOP: the whole worker must stop.
        """
        if self._blown_fuse is not None:
            self._stop_for(self._blown_fuse)
            return
        self._leaving.clear()
        self._watch.forget()
        self.problem = None
        self._become(PartitionState.ASSIGNED)
        failures = 0
        try:
            while not self._leaving.is_set():
                worked_from: int | None = None
                try:
                    self._watch.begins(self._steady())
                    if not await self._own():
                        break
                    if self._watch.owned():
                        self.problem = None
                    worked_from = self.counters.transactions
                    self._start_reading()
                    await self._work()
                except (OrderflowError, KafkaError) as error:
                    if worked_from is not None and self.counters.transactions > worked_from:
                        failures = 0
                    failures += 1
                    if not await self._recover(error, failures, in_work=worked_from is not None):
                        return
            await self._finish()
        finally:
            await self._ended()

    async def _own(self) -> bool:
        """Resume or take over; False when the partition has to leave before that is done."""
        if self._taken:
            async with self._turns:
                if self._leaving.is_set():  # while it waited for its turn: what was proven stays proven
                    return False
                resumed = await self._resume()
            if resumed:
                self.counters.resumes += 1
                return True
        self._taken = False
        self._become(PartitionState.FENCED)
        self.counters.takeovers += 1
        if not await run_unless_set(self._leaving, self._take_over()):
            return False
        self._taken = True
        return True

    async def _recover(self, error: OrderflowError | KafkaError, failures: int, *, in_work: bool) -> bool:
        """Do what the error's disposition says; False when the partition must not start again."""
        if isinstance(error, KafkaError):
            error = BrokerUnavailable(f"Kafka refused: {describe(error)}")
        self.counters.failures += 1
        self._pause_reading()
        say = log.bind(partition=self.number, group=self._group, error=error, kind=type(error).__name__)
        match error.disposition:
            case Disposition.REFENCE:
                # Fenced: the store may be behind. Wait until a heartbeat had the time to report that this member was removed;
                # if the partition is still ours then, begin again. Giving it up would leave it without an owner.
                say.warning("partition_fenced")
                self._note_failure(error, in_work=in_work)
                await self._forget()
                await self._rest(2 * self._options.heartbeat_seconds * min(failures, 4))
            case Disposition.RETRY:
                say.warning("partition_retries")
                self._note_failure(error, in_work=in_work)
                if isinstance(error, DigitalRiverError):
                    self.problem = str(error)
                await self._rest(min(self._options.backoff_seconds_max, 0.1 * 2 ** min(failures, 10)))
            case Disposition.HOLD:
                say.error("partition_holds")
                self.problem = str(error)
                await self._rest(self._options.backoff_seconds_max)
            case Disposition.STOP_PARTITION | Disposition.DEAD_LETTER:  # such as a snapshot that cannot be read
                if isinstance(error, FuseBlown):
                    self._blown_fuse = error
                self._stop_for(error)
                return False
            case _:
                raise error
        return True

    def _note_failure(self, error: OrderflowError, *, in_work: bool) -> None:
        """Report a problem, logged once, when there was no progress for too long; retries go on."""
        reported = self._watch.problem is not None
        problem = self._watch.failed(error, self._steady(), in_work=in_work)
        if problem is not None and not self._leaving.is_set():
            if not reported:
                log.error("partition_in_trouble", partition=self.number, group=self._group, reason=problem)
            self.problem = problem

    def _worked(self) -> None:
        """Something was committed: a problem, if there was one, is over."""
        if self._watch.worked():
            self.problem = None

    def _stop_for(self, error: OrderflowError) -> None:
        self._pause_reading()
        self.problem = str(error)
        self._become(PartitionState.STOPPED)
        log.error("partition_stopped", partition=self.number, group=self._group, reason=self.problem)

    async def _rest(self, seconds: float) -> None:
        """Wait for ``seconds``, or until the partition has to leave."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._leaving.wait(), seconds)

    def _pause_reading(self) -> None:
        assigned = self._consumer.assignment()
        ours = [tp for tp in self._inputs if tp in assigned]
        if ours:
            self._consumer.pause(*ours)

    def _become(self, state: PartitionState) -> None:
        if state is not self.state:
            log.debug("partition_state", partition=self.number, group=self._group, old=self.state, new=state)
            self.state = state

    # -- implemented by the lane

    @abstractmethod
    async def _resume(self) -> bool:
        """Go on with what is kept, if a transaction with the kept producer commits: then nobody else was the owner."""

    @abstractmethod
    async def _take_over(self) -> None:
        """Fence, then find out how far the partition has come; may be cancelled at any await.

        What reads much from Kafka waits for its turn (``_turns``); what only waits does not hold one.
        """

    @abstractmethod
    def _start_reading(self) -> None:
        """Seek and resume the consumer; do nothing when leaving."""

    @abstractmethod
    async def _work(self) -> None:
        """Work until the partition has to leave."""

    @abstractmethod
    async def _forget(self) -> None:
        """Drop what is in memory: it may be behind."""

    async def _finish(self) -> None:
        """The partition leaves: complete what is in progress."""
        return

    async def _ended(self) -> None:
        """The period of ownership is over, whatever ended it."""
        return


async def run_unless_set(leaving: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Run ``work`` to its end; False when ``leaving`` is set first, which cancels it.

    Raises:
        OrderflowError: What the work raised.
    """
    working, watching = asyncio.create_task(work), asyncio.create_task(leaving.wait())
    try:
        await asyncio.wait([working, watching], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        return working.done()
    finally:
        watching.cancel()
        working.cancel()
        await asyncio.wait([working, watching])
        if not working.cancelled():
            working.exception()
