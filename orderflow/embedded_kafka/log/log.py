"""The log of one partition: batches in offset order, producers' sequences, open and aborted transactions.

Rules: a reader never sees a change half done (there is no await here); offsets are never given twice; the last batch
always stays, so that a reader can reach the end. No clock, no I/O.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from orderflow.embedded_kafka.log.batches import NO_PRODUCER, NO_SEQUENCE, RecordBatch, place, records_of
from orderflow.embedded_kafka.protocol.codes import Code, KafkaApiError

#: Kafka keeps the last five batches of a producer to recognise a repeated one (five requests in flight are allowed).
REMEMBERED_BATCHES = 5
_LAST_SEQUENCE = 2**31 - 1


class Aborted(NamedTuple):
    """An aborted transaction in this partition: from its first record to its marker, both inclusive."""

    producer_id: int
    first_offset: int
    marker_offset: int


@dataclass(slots=True)
class ProducerState:
    """What the partition knows of one producer: its epoch, its last sequence and its last batches."""

    epoch: int
    last_sequence: int = NO_SEQUENCE
    recent: deque[RecordBatch] = field(default_factory=lambda: deque(maxlen=REMEMBERED_BATCHES))


class PartitionLog:
    """One partition. ``start`` and ``end`` are the first offset kept and the next offset to give."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.start = 0
        self.end = 0
        #: Bytes added since the last compaction, and bytes kept in all.
        self.dirty_bytes = 0
        self.size_bytes = 0
        self.aborted: list[Aborted] = []
        self.batches: list[RecordBatch] = []
        self._last_offsets: list[int] = []
        self._producers: dict[int, ProducerState] = {}
        self._open: dict[int, int] = {}
        self._watchers: set[Callable[[], None]] = set()

    @property
    def stable_end(self) -> int:
        """The last stable offset: the first offset of the oldest open transaction, else the end."""
        return min(self._open.values(), default=self.end)

    def append(self, batch: RecordBatch) -> int:
        """Append a producer's batch and return its base offset; a repeated batch returns the offset that it got before.

        Raises:
            KafkaApiError: the producer's epoch is old or its sequence has a gap.
        """
        if batch.producer_id != NO_PRODUCER:
            duplicate = self._check_sequence(batch)
            if duplicate is not None:
                return duplicate.base_offset
        self._add(batch)
        if batch.producer_id != NO_PRODUCER:
            state = self._producers[batch.producer_id]
            state.last_sequence = batch.last_sequence
            state.recent.append(batch)
            if batch.is_transactional:
                self._open.setdefault(batch.producer_id, batch.base_offset)
        self.notify()
        return batch.base_offset

    def append_marker(self, batch: RecordBatch, *, committed: bool) -> None:
        """End the producer's transaction here with a control batch, also when it wrote nothing here."""
        self._state(batch.producer_id, batch.producer_epoch)
        self._add(batch)
        first_offset = self._open.pop(batch.producer_id, None)
        if first_offset is not None and not committed:
            self.aborted.append(Aborted(batch.producer_id, first_offset, batch.base_offset))
        self.notify()

    def _add(self, batch: RecordBatch) -> None:
        place(batch, self.end)
        self.batches.append(batch)
        self._last_offsets.append(batch.last_offset)
        self.end = batch.last_offset + 1
        self.dirty_bytes += len(batch.data)
        self.size_bytes += len(batch.data)

    def _state(self, producer_id: int, epoch: int) -> ProducerState:
        state = self._producers.get(producer_id)
        if state is None or state.epoch < epoch:
            state = self._producers[producer_id] = ProducerState(epoch)
        return state

    def _check_sequence(self, batch: RecordBatch) -> RecordBatch | None:
        """The earlier copy of a repeated batch, None for one that is next in order.

        As Kafka's ``ProducerAppendInfo``: a partition that knows nothing of the producer takes any sequence, a new epoch
        begins at 0. A marker makes the producer known, which is why a transaction whose first batch was refused
        cannot be followed by another one of the same producer.
        """
        known = self._producers.get(batch.producer_id)
        if known is not None and batch.producer_epoch < known.epoch:
            raise KafkaApiError(Code.INVALID_PRODUCER_EPOCH)
        if known is None:
            self._state(batch.producer_id, batch.producer_epoch)
            return None
        if batch.producer_epoch > known.epoch:
            if batch.base_sequence != 0:
                raise KafkaApiError(Code.OUT_OF_ORDER_SEQUENCE_NUMBER)
            self._state(batch.producer_id, batch.producer_epoch)
            return None
        for earlier in known.recent:
            if (earlier.base_sequence, earlier.last_sequence) == (batch.base_sequence, batch.last_sequence):
                return earlier
        expected = 0 if known.last_sequence == _LAST_SEQUENCE else known.last_sequence + 1
        if batch.base_sequence != expected:
            raise KafkaApiError(Code.OUT_OF_ORDER_SEQUENCE_NUMBER)
        return None

    def read(self, offset: int, end: int, max_bytes: int, *, at_least_one: bool) -> list[bytes]:
        """Whole batches from the one that holds ``offset`` up to ``end`` (exclusive), at most ``max_bytes`` together.

        With ``at_least_one`` the first batch comes whatever its size, so that no reader can be stuck behind it.
        """
        found: list[bytes] = []
        for index in range(bisect_left(self._last_offsets, offset), len(self.batches)):
            batch = self.batches[index]
            if batch.base_offset >= end:
                break
            max_bytes -= len(batch.data)
            if max_bytes < 0 and not (at_least_one and not found):
                break
            found.append(batch.data)
        return found

    def aborted_between(self, offset: int, end: int) -> list[tuple[int, int]]:
        """(producer id, first offset) of the aborted transactions that touch offsets from ``offset`` to ``end``."""
        return [
            (each.producer_id, each.first_offset)
            for each in self.aborted
            if each.marker_offset >= offset and each.first_offset < end
        ]

    def find_time(self, timestamp: int, end: int) -> tuple[int, int] | None:
        """(timestamp, offset) of the first record before ``end`` that is as new as ``timestamp`` (ms), if any."""
        for batch in self.batches:
            if batch.base_offset >= end:
                return None
            if batch.max_timestamp < timestamp or batch.last_offset < self.start or batch.is_control:
                continue
            for record in records_of(batch):
                if record.timestamp >= timestamp and record.offset >= self.start:
                    return record.timestamp, record.offset
        return None

    def delete_before(self, offset: int) -> None:
        """Forget records before ``offset``; whole batches leave memory, a batch cut in two stays.

        Raises:
            KafkaApiError: ``offset`` is beyond the end.
        """
        if offset > self.end:
            raise KafkaApiError(Code.OFFSET_OUT_OF_RANGE)
        self.start = max(self.start, offset)
        keep = bisect_left(self._last_offsets, self.start)
        self.replace(self.batches[keep:])
        self.aborted = [each for each in self.aborted if each.marker_offset >= self.start]
        self.notify()

    def replace(self, batches: list[RecordBatch]) -> None:
        """Keep ``batches`` instead of what was there; offsets must be those that they had."""
        self.batches = batches
        self._last_offsets = [batch.last_offset for batch in batches]
        self.size_bytes = sum(len(batch.data) for batch in batches)
        self.dirty_bytes = min(self.dirty_bytes, self.size_bytes)

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call ``watcher`` at every change until ``unwatch``."""
        self._watchers.add(watcher)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Call ``watcher`` no more."""
        self._watchers.discard(watcher)

    def notify(self) -> None:
        """Tell every watcher that something changed."""
        for watcher in list(self._watchers):
            watcher()
