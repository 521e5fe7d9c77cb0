"""One partition of ``dr-commands``: commands in, calls to Digital River, outcomes out.

This file has the life of the partition: take-over, the loop of transactions, and leaving. The way of a command is in
``pipeline.py``: down through the queue of its order (``queues.py``), the caller (``calls.py``) and the provider; its outcome is
their return value, and the next transaction writes it (``transactions.py``).

Rules of the file:
- One producer per partition, initialised before anything is read; its time-out is short, because an open transaction holds back
  every reader of the inbox. No HTTP inside a transaction.
- Outcomes, the low watermark and what is done above it are written in one transaction (``progress.py``). A command that is done
  is never called again.
- A call may start only within the lease (``lease.py``). A successor initialises its producer, waits L and reads the high
  watermark: what lies above, nobody has read; what lies below may have been called. L and all other waits are its predecessor's,
  committed beside the offset.
- Nobody else was here when the committed footprint is ours, or a transaction with the kept producer commits, because a call
  needs a committed transaction: then the partition continues without waits.
- Leaving: start no call, commit which commands have calls in flight, and go; a rebalance never waits for Digital River. Those
  calls continue, and their outcomes are written when the partition comes back and nobody else had it. A successor looks those
  commands up and has no waits for any other.
- No offset is ever guessed: where the group has none, and there are commands, an operator decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from consumers.commands.calls import Caller
from consumers.commands.pipeline import CommandPipeline
from consumers.commands.progress import Progress
from consumers.commands.reader import CommandReader, CommandTopics
from consumers.commands.take_over import CommandTakeOver
from consumers.commands.transactions import Newest
from consumers.ownership.options import LaneOptions
from consumers.ownership.owner import PartitionOwner, PartitionState
from consumers.pauses.table import PartitionPauses
from producers.connection import KafkaConnection, within
from producers.transaction import Probe, TransactionalProducer
from statemachine.errors import BrokerUnavailable, OrderflowError, TransactionAborted

log = structlog.get_logger(__name__)

#: Milliseconds after which Kafka ends a transaction of ours that stays open: it holds back all readers of the inbox.
TRANSACTION_TIMEOUT_MS = 10_000
#: Calls in flight may end for so long after a revoke, so that most of them need no look-up. The group waits meanwhile.
_GRACE_SECONDS = 0.5
#: After so long without a command, a position that has only passed transaction markers is committed.
_IDLE_SECONDS = 30.0
#: How often a partition with work checks its lease and the breaker, at least.
_LOOK_SECONDS = 0.5


def make_producer(
    connection: KafkaConnection, group: str, number: int, topics: CommandTopics, probe: Probe | None
) -> TransactionalProducer:
    """The producer of a partition, to be started; its time-out is short."""
    return TransactionalProducer(
        connection,
        group=group,
        partition=number,
        topics=(topics.inbox, topics.letters, topics.refusals),
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        probe=probe,
    )


class CommandPartition(PartitionOwner):
    """Partition p of the command lane in one process."""

    def __init__(
        self,
        number: int,
        *,
        group: str,
        topics: CommandTopics,
        options: LaneOptions,
        connection: KafkaConnection,
        consumer: AIOKafkaConsumer,
        reader: CommandReader,
        incarnation: str,
        caller: Caller,
        lease_seconds: float,
        clock: Callable[[], datetime],
        pauses: PartitionPauses,
        probe: Probe | None = None,
    ) -> None:
        self._tp = TopicPartition(topics.commands, number)
        super().__init__(
            number,
            group=group,
            inputs=[self._tp],
            options=options,
            consumer=consumer,
            steady=caller.clock,
            pauses=pauses,
        )
        self._connection = connection
        self._caller = caller
        self._new_producer = partial(make_producer, connection, group, number, topics, probe)
        self._pipeline = CommandPipeline(
            self._tp,
            topics=topics,
            incarnation=incarnation,
            caller=caller,
            lease_seconds=lease_seconds,
            options=options,
            room=connection.room,
            counters=self.counters,
            clock=clock,
            wake=self._wake,
            pauses=pauses,
        )
        self._takeover = CommandTakeOver(
            self._tp,
            reader=reader,
            history=self._pipeline.history,
            transactions=self._pipeline.transactions,
            steady=caller.clock,
            backoff_seconds=options.backoff_seconds_max,
        )
        self._producer: TransactionalProducer | None = None
        self._paused = True

    # -- seen from the membership

    @property
    def accepts_records(self) -> bool:
        """Running, and with room for more commands: see ``CommandPipeline.has_room``."""
        return self.state is PartitionState.RUNNING and self._pipeline.has_room(self.queue_bytes_max)

    def feed(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        """Take fetched commands as far as there is room; the others are left in Kafka."""
        if self.state is not PartitionState.RUNNING:
            return
        left_at = self._pipeline.take(records, self.queue_bytes_max)
        if left_at is not None:
            self._paused = True
            self._consumer.pause(partition)
            self._consumer.seek(partition, left_at)
        self._takeover.scan.look_after()
        self._wake.set()

    def read_position(self, partition: TopicPartition) -> int:
        """The next offset that has not been read."""
        return self._pipeline.transactions.watermark.read_to

    def leave(self) -> None:
        """No request is written from now on; then as for every partition."""
        self._pipeline.permit.withdraw()
        super().leave()

    async def close(self) -> None:
        """Close the producer for good, once the calls in flight have ended.

        Their outcomes are still written if nobody has taken over meanwhile: Kafka would fence the producer. A producer that would
        have to be initialised first writes nothing: it would fence the rightful successor.
        """
        if not self._pipeline.idle and self._can_write():
            await self._pipeline.queues.calls_ended(self._caller.options.http_timeout_seconds)
            await self._write_last(given_away=True)
        await self._pipeline.queues.cancel()
        await self._takeover.scan.stop()
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()

    # -- taking over

    async def _resume(self) -> bool:
        """Continue with the dormant producer, if a transaction with it commits: then nobody else had the partition."""
        if not self._can_write():
            return False
        try:
            await self._transact()
        except OrderflowError as error:
            log.info("partition_not_resumed", partition=self.number, group=self._group, error=error)
            return False
        return True

    async def _take_over(self) -> None:
        """Fence, read how far the lane has come, find out what may have been called; this order is the guarantee."""
        if self._producer is not None:
            self._producer.discard()
        self._producer = self._new_producer()
        async with self._turns:
            await self._producer.start()  # 1. fences the old owner: its lease ends within L from here
        fenced_at = self._steady()
        found = await self._takeover.committed(self._group)  # 2. never stale after the init
        if self._is_ours(found):
            self.counters.resumes += 1
            return
        await self._forget()
        await self._takeover.begin(
            found, fenced_at=fenced_at, rest=self._rest_unless_revoked
        )  # 3. may still wait for L
        self._pipeline.transactions.proven = True
        if found is None:  # from now on a missing offset means that it was lost
            await self._transact()

    async def _rest_unless_revoked(self, seconds: float) -> None:
        await self._rest(seconds)
        if self._leaving.is_set():
            raise BrokerUnavailable("revoked while taking over")

    def _is_ours(self, found: Progress | None) -> bool:
        """Whether the newest transaction is ours, so that what we have is still right."""
        newest = self._pipeline.transactions.compare(found)
        if newest is Newest.OURS_IN_DOUBT:
            self._worked()  # only its answer was lost
        return newest is not Newest.NOT_OURS

    async def _forget(self) -> None:
        """Drop what we have: another owner may have worked since."""
        await self._takeover.scan.stop()
        await self._pipeline.forget()

    # -- reading

    def _start_reading(self) -> None:
        if self._leaving.is_set():
            return
        read_from = self._pipeline.begin()
        self._become(PartitionState.RUNNING)
        self._consumer.seek(self._tp, read_from)
        self._consumer.resume(self._tp)
        self._paused = False

    def _pause_reading(self) -> None:
        self._paused = True
        super()._pause_reading()

    # -- working

    async def _work(self) -> None:
        """Write what is finished and keep the lease while commands wait for it."""
        while not self._leaving.is_set():
            if self._pipeline.queues.crash is not None:
                raise self._pipeline.queues.crash
            if self._producer is not None:
                # Before the wait: a late frame may arrive while nothing is written.
                await self._producer.renew()
            if self._leaving.is_set():  # with a problem that must not be overwritten, when the offset is lost
                break
            self.problem = self._pipeline.problem(self.queue_bytes_max) or self._watch.problem
            if self._paused and self.accepts_records:
                self._consumer.resume(self._tp)
                self._paused = False
            if self._pipeline.must_write:
                # 5 to 20 transactions a second: back to back they pay 20 ms each for CONCURRENT_TRANSACTIONS.
                last_begin = self._pipeline.transactions.last_begin
                await self._rest(last_begin + self._options.batch_interval_seconds - self._steady())
                await self._transact()
                continue
            self._wake.clear()
            busy = bool(self._pipeline.queues.working or self._paused or self.problem)
            try:
                await asyncio.wait_for(self._wake.wait(), _LOOK_SECONDS if busy else _IDLE_SECONDS)
            except TimeoutError:
                if not busy and await self._passed_markers():
                    await self._transact()

    async def _passed_markers(self) -> bool:
        """Idle: whether the position has passed markers only; it is committed then, or retention would overtake it."""
        limit = self._connection.limits.operation_seconds
        position = await within(limit, self._consumer.position(self._tp), "a look at a position")
        watermark = self._pipeline.transactions.watermark
        idle = self.state is PartitionState.RUNNING and self._pipeline.idle and not self._paused
        if not idle or watermark.pending or position <= watermark.read_to:
            return False
        watermark.reach(position)
        return True

    def _can_write(self) -> bool:
        """The producer is alive, and under it everything that we have is proven. Not so after a take-over that was cancelled."""
        alive = self._producer is not None and self._producer.alive
        return self._taken and alive and self._pipeline.transactions.settled

    async def _finish(self) -> None:
        """Start no call, write all outcomes and which commands have a call in flight; never wait for Digital River."""
        self._pause_reading()
        await self._pipeline.queues.leave(_GRACE_SECONDS)
        if self._can_write():
            await self._write_last(given_away=False)

    async def _write_last(self, *, given_away: bool) -> None:
        """Write what is finished, and with it what the next owner has to know.

        ``given_away``: the next owner may be there, so the producer must not be initialised any more. Before that it is replaced
        at once if an answer was lost: later, the outcomes of calls in flight can be written only without an init.
        """
        producer, written = self._producer, given_away
        try:
            while producer is not None and (self._pipeline.finished or not written):
                if given_away and producer.unanswered:
                    count = len(self._pipeline.finished)
                    log.warning("outcomes_not_written", partition=self.number, group=self._group, count=count)
                    return
                await self._transact(leaving=True)
                written = True
            if producer is not None and not given_away:
                await producer.renew()
        except (OrderflowError, KafkaError) as error:  # the next owner is there, or waits and looks up as after a crash
            log.warning("partition_leave_failed", partition=self.number, group=self._group, error=error)

    async def _ended(self) -> None:
        await self._pipeline.queues.leave(0.0)

    async def _transact(self, *, leaving: bool = False) -> None:
        """One transaction of what is finished; ``leaving``: with what the next owner has to know."""
        if self._producer is None:
            raise TransactionAborted("the partition lost its producer")
        await self._pipeline.commit(self._producer, leaving=leaving)
        self._worked()
        self.counters.transactions += 1
