"""The task of a lane that reads: it fetches for all partitions that want records, and feeds each its own in order.

Rules of the file:
- One task reads for all partitions: aiokafka fetches from a broker again only when nothing of its last response is left.
- What a call takes is bounded in records and in bytes (``unpacking.py``); what it leaves is taken by the next one.
- A record that cannot be read stops its own partition, at exactly that record: those before it are fed, nothing is skipped.
- Errors of a broken client say nothing about records: then no partition is stopped (``client_watch.py`` ends the worker).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CorruptRecordException,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from consumers.group.client_watch import ClientWatch
from consumers.group.unpacking import BATCH_BYTES_MAX, CALL_BYTES_MAX, BatchTooLarge, budget_of
from consumers.ownership.lease import steady_clock
from consumers.ownership.owner import PartitionOwner, PartitionState
from consumers.ownership.records import record_bytes
from statemachine.errors import ConfigError

log = structlog.get_logger(__name__)

#: How long partitions are read one by one after something in one of them could not be read: longer than a fetch takes.
_CAREFUL_SECONDS = 10.0
#: The most records that one call takes: some milliseconds of work.
_CALL_RECORDS_MAX: Final = 4000


class Fetching:
    """Reads for the partitions of one lane in one process."""

    def __init__(
        self,
        group: str,
        consumer: AIOKafkaConsumer,
        partitions: Mapping[int, PartitionOwner],
        *,
        watch: ClientWatch,
        refusal: Callable[[], ConfigError | None],
        steady: Callable[[], float] = steady_clock,
    ) -> None:
        """``refusal``: why partitions cannot be assigned; ``steady``: seconds of a monotonic clock."""
        self._group = group
        self._consumer = consumer
        self._partitions = partitions
        self._budget = budget_of(consumer)
        self._watch = watch
        self._refusal = refusal
        self._steady = steady
        #: Until when partitions are read one by one, because something in one of them could not be read.
        self._careful_until = float("-inf")
        #: Those that are read record by record meanwhile, to find the record that cannot be read.
        self._suspects: set[TopicPartition] = set()
        self._call_records_max = _CALL_RECORDS_MAX

    async def run(self) -> None:
        """Read until cancelled.

        Raises:
            ConfigError: The partitions cannot be assigned: a topic's partition count has changed.
        """
        while True:
            refusal = self._refusal()
            if refusal is not None:
                raise refusal
            wanted = self._wanted()
            if not wanted:
                await asyncio.sleep(0.02)
            elif self._steady() < self._careful_until:
                for tp in wanted:
                    await self._read_one(tp)
                await asyncio.sleep(0.02)
            else:
                self._suspects.clear()
                await self._read_all(wanted)

    def _wanted(self) -> list[TopicPartition]:
        """What is read now: all inputs of the partitions that want records."""
        partitions = self._partitions
        return [
            tp
            for tp in self._consumer.assignment()
            if (part := partitions.get(tp.partition)) is not None and part.accepts_records
        ]

    async def _read_all(self, wanted: list[TopicPartition]) -> None:
        try:
            fetched = await self._fetch(*wanted, timeout_ms=20, records_max=self._call_records_max)
        except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
            self._offset_lost(error)
            await asyncio.sleep(0.02)
        except Exception as error:  # noqa: BLE001  # whatever a parser raises on bytes that it does not know
            self._log_failed(error)
            self._read_carefully(wanted)
            await asyncio.sleep(0.5 if isinstance(error, KafkaError) else 0.02)
        else:
            for tp, records in fetched.items():
                self._partitions[tp.partition].feed(tp, records)
            self._learn_sizes(fetched)

    async def _fetch(
        self, *wanted: TopicPartition, timeout_ms: int, records_max: int
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """One call for records."""
        self._budget.reset()
        try:
            return dict(await self._consumer.getmany(*wanted, timeout_ms=timeout_ms, max_records=records_max))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # a task of the client was cancelled, not this one
            raise KafkaError("a part of the Kafka client was cancelled") from None

    def _learn_sizes(self, fetched: Mapping[TopicPartition, list[ConsumerRecord]]) -> None:
        """Take fewer records at once where they are large: what exceeds the budget of a call would have to be fetched again."""
        count = sum(map(len, fetched.values()))
        if count >= min(100, self._call_records_max):
            average = sum(
                record_bytes(records[len(records) // 2]) * len(records) for records in fetched.values() if records
            )
            self._call_records_max = max(1, min(_CALL_RECORDS_MAX, CALL_BYTES_MAX // 2 * count // average))

    def _log_failed(self, error: Exception) -> None:
        log.warning("fetch_failed", group=self._group, error=type(error).__name__)

    def _read_carefully(self, wanted: list[TopicPartition]) -> None:
        """Read again what the failed call lost, and for a while each partition by itself.

        aiokafka takes from all partitions before it returns: when one of them raises, the records of the others are gone, and
        their positions have passed them.
        """
        self._careful_until = self._steady() + _CAREFUL_SECONDS
        for tp in wanted:
            self._read_again(tp)

    def _read_again(self, tp: TopicPartition) -> None:
        """Set the position back to what was fed, also when no more is wanted now: later it would be skipped."""
        partition = self._partitions[tp.partition]
        if tp in self._consumer.assignment() and partition.state is PartitionState.RUNNING:
            self._consumer.seek(tp, partition.read_position(tp))

    async def _read_one(self, tp: TopicPartition) -> None:
        """Fetch for one partition; what cannot be read stops that one, not the worker.

        A suspect is read record by record, so that all records before the one that cannot be read are fed.
        """
        partition, suspect = self._partitions[tp.partition], tp in self._suspects
        while (
            tp in self._consumer.assignment() and partition.accepts_records
        ):  # not taken away, nor full, since the round began
            try:
                fetched = await self._fetch(tp, timeout_ms=0, records_max=1 if suspect else _CALL_RECORDS_MAX)
            except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
                self._offset_lost(error)
                return
            except Exception as error:  # noqa: BLE001  # the same
                self._cannot_read(tp, error)
                return
            partition.feed(tp, fetched.get(tp, []))
            if not suspect or not fetched:
                return

    def _cannot_read(self, tp: TopicPartition, error: Exception) -> None:
        """Reading one partition failed: it is retried, then read record by record, then the partition stops."""
        unreadable = isinstance(error, CorruptRecordException) or not isinstance(error, KafkaError)
        if not unreadable or self._watch.broken():
            self._log_failed(error)
            self._read_again(tp)
        elif tp not in self._suspects:
            self._suspects.add(tp)
            self._careful_until = self._steady() + _CAREFUL_SECONDS
            self._read_again(tp)
        else:
            self._suspects.discard(tp)
            log.error(
                "fetch_unreadable", group=self._group, topic=tp.topic, partition=tp.partition, kind=type(error).__name__
            )
            self._partitions[tp.partition].lost_offset(self._describe(tp, error))

    def _describe(self, tp: TopicPartition, error: Exception) -> str:
        if isinstance(error, BatchTooLarge):
            return (
                f"partition {tp.partition} stopped: the batch of {tp.topic} at offsets {error.first} to {error.last} would take "
                f"more than {BATCH_BYTES_MAX // 1024 // 1024} MiB unpacked, so it is not read"
            )
        offset = self._partitions[tp.partition].read_position(tp)
        return (
            f"partition {tp.partition} stopped: a record of {tp.topic} at offset {offset} or soon after "
            f"cannot be read at all ({type(error).__name__}); its bytes are not a Kafka record that this client knows"
        )

    def _offset_lost(self, error: KafkaError) -> None:
        """A partition that is running reads past what Kafka has; paused ones have no position yet, which is not an error."""
        if not isinstance(error, OffsetOutOfRangeError):
            return
        lost = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        for tp, offset in lost.items():
            partition = self._partitions.get(tp.partition)
            if partition is not None and partition.accepts_records:
                partition.lost_offset(f"partition {tp.partition} stopped: {tp.topic} has no offset {offset} any more")
