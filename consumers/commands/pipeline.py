"""The way of a command through one partition: taken from a record, queued, carried out, written.

``take`` reads the record and puts the command into its order's queue. The queue has the caller carry it out; the outcome that
comes back waits in ``finished`` until ``commit`` writes it. Knows no consumer and no take-over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from aiokafka import ConsumerRecord, TopicPartition

from consumers.commands.calls import Caller
from consumers.commands.progress import Waits
from consumers.commands.queues import CommandQueues
from consumers.commands.reader import CommandTopics
from consumers.commands.records import PendingCommand, command_id_of, read_command
from consumers.commands.transactions import CommandTransactions, FinishedCommands
from consumers.commands.uncertain import CallHistory
from consumers.ownership.lease import Lease
from consumers.ownership.options import LaneOptions
from consumers.ownership.owner import Counters
from consumers.ownership.records import record_bytes, record_of
from consumers.pauses.table import PartitionPauses
from consumers.requests.permit import CallPermit
from producers.packing.sizes import Room
from producers.topics import Topic
from producers.transaction import TransactionalProducer
from statemachine.errors import DecodeError


class CommandPipeline:
    """What one partition has taken and not yet forgotten: commands, outcomes, and what is known of earlier calls."""

    def __init__(
        self,
        partition: TopicPartition,
        *,
        topics: CommandTopics,
        incarnation: str,
        caller: Caller,
        lease_seconds: float,
        options: LaneOptions,
        room: Room,
        counters: Counters,
        clock: Callable[[], datetime],
        wake: asyncio.Event,
        pauses: PartitionPauses,
    ) -> None:
        """Args:
        partition: Of ``dr-commands``, by its full name.
        topics: The lane's.
        incarnation: Unique to this process start.
        caller: Carries commands out; its clock is the steady one.
        lease_seconds: L.
        options: Batching and limits.
        room: The producer's limit of a record's size.
        counters: The partition's.
        clock: UTC now.
        wake: Set when the partition has something to do.
        pauses: What operators have paused of it.
        """
        calls = caller.options
        waits = Waits(lease_seconds, calls.http_timeout_seconds, calls.settle_seconds)
        self.history = CallHistory(waits, clock=caller.clock)
        self.permit = CallPermit(
            Lease(lease_seconds, caller.clock), wake=wake, is_paused=lambda name: pauses.of_command(name) is not None
        )
        self.finished = FinishedCommands(topics, clock=clock, room=room)
        self.queues = CommandQueues(caller, self.permit, history=self.history, finished=self.finished, wake=wake)
        self.transactions = CommandTransactions(
            partition,
            incarnation=incarnation,
            finished=self.finished,
            history=self.history,
            permit=self.permit,
            records_max=options.batch_records_max,
            clock=clock,
            steady=caller.clock,
        )
        pauses.listen(self.queues.pauses_changed)
        self._pauses = pauses
        self._caller = caller
        self._options = options
        self._counters = counters
        self._clock = clock

    @property
    def idle(self) -> bool:
        """No command waits or is in flight, and nothing is to be written."""
        return not (self.queues.active or self.finished)

    # -- in

    def has_room(self, bytes_max: int) -> bool:
        """Not paused, Digital River answers or is to be probed, and there is room for more commands, in ``bytes_max`` bytes.

        While the breaker is open commands wait in Kafka. Once its pause is over they are taken again, for the probe: those that
        opened it may all have ended, and then no command is left to probe with.

        Commands that wait for the end of a pause take none of the places of the others: what bounds them is the window of the
        watermark, and the memory.
        """
        watermark = self.transactions.watermark
        return (
            self._pauses.current is None
            and not self._caller.breaker.blocked(self._caller.clock())
            and not watermark.full
            and watermark.pending - self.queues.held < self._options.queue_records_max
            and watermark.pending_bytes < bytes_max
        )

    def take(self, records: Sequence[ConsumerRecord], bytes_max: int) -> int | None:
        """Take fetched commands as far as there is room; the offset of the first that has none, None when all have."""
        watermark = self.transactions.watermark
        for record in records:
            # More than there is room for, or the breaker has opened since the fetch.
            if not self.has_room(bytes_max) or not watermark.reach(record.offset):
                return record.offset  # type: ignore[no-any-return]  # aiokafka has no types
            if watermark.take(record.offset, record_bytes(record)):
                self._take(record)
            elif (done := command_id_of(record.value)) is not None:
                self.history.seen.read(record.offset, done)
        return None

    def _take(self, consumed: ConsumerRecord) -> None:
        self._counters.records += 1
        record = record_of(consumed, Topic.DR_COMMANDS)
        try:
            command = read_command(record)
        except DecodeError as error:
            self.finished.add_dead_letter(record, error)
            self._caller.measures.words[f"dead.{error.reason}"] += 1
            return
        age = max(0.0, self._clock().timestamp() - consumed.timestamp / 1000)
        seen = self.history.seen.read(consumed.offset, command.command_id)
        asked_at = self._caller.clock() - age
        span = self._caller.begin_span(command, record.headers) if record.headers else None
        self.queues.add(PendingCommand(consumed.offset, command, asked_at=asked_at, seen=seen, span=span))

    def problem(self, bytes_max: int) -> str | None:
        """Why no calls are made although they may be, in a line; a pause of the partition is no problem."""
        if self._pauses.current is not None:
            return None
        return self._caller.problem or self.crowded_out(bytes_max)

    def crowded_out(self, bytes_max: int) -> str | None:
        """Why commands that are not paused wait for those that are, in a line; None when they do not."""
        watermark = self.transactions.watermark
        held, crowded = self.queues.held, watermark.full or watermark.pending_bytes >= bytes_max
        if not crowded or not held or 2 * held < watermark.pending:
            return None
        return (
            f"no more commands are taken: {held} wait for the end of a pause, {watermark.read_to - watermark.offset} "
            f"offsets ({watermark.pending_bytes / 1024 / 1024:.0f} MiB) after the first of them; resume it"
        )

    # -- out

    @property
    def must_write(self) -> bool:
        """A transaction is due: for what is finished, or for the lease while commands need it."""
        if self.finished or self.permit.renewal_wanted:
            return True
        lease = self.permit.lease
        blocked = self._caller.breaker.blocked(self._caller.clock())
        return self.queues.working and not blocked and lease.age > lease.seconds / 3

    async def commit(self, producer: TransactionalProducer, *, leaving: bool) -> None:
        """One transaction; ``leaving``: with what the next owner has to know of our calls. Raises as ``producer.transact``."""
        written = await self.transactions.commit(producer, leaving=self.queues.unfinished() if leaving else None)
        self._caller.measures.transacted(self._caller.clock() - self.transactions.last_begin, written)

    # -- ownership

    def begin(self) -> int:
        """The partition is ours: continue with what was kept; the offset to read from."""
        if self.permit.withdrawn or not self.queues.active:
            unfinished = [pending.offset for pending in self.queues.unfinished()]
            self.transactions.watermark.rewind([*self.finished.offsets, *unfinished])
        self.queues.come_back()
        return self.transactions.watermark.read_to

    async def forget(self) -> None:
        """Drop everything that another owner may have made out of date."""
        self.transactions.forget()
        self.finished.clear()
        self.history.uncertain.forget()
        await self.queues.drop()
