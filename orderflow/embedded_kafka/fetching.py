"""Fetch and ListOffsets: what a reader may see, and how long it waits for it."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, TypeAlias

from orderflow.embedded_kafka.groups.members import Client
from orderflow.embedded_kafka.log.log import PartitionLog
from orderflow.embedded_kafka.log.topics import Topics
from orderflow.embedded_kafka.protocol.codes import Code, KafkaApiError
from orderflow.embedded_kafka.protocol.timers import Timer, Timers

Fields: TypeAlias = tuple[object, ...]
READ_COMMITTED = 1
LATEST = -1
EARLIEST = -2
_UNKNOWN = -1
_NO_REPLICA = -1
_NO_SESSION = 0


class Wish(NamedTuple):
    """One partition of a fetch request."""

    partition: int
    leader_epoch: int
    offset: int
    log_start: int
    max_bytes: int


Wishes: TypeAlias = list[tuple[str, list[tuple[int, int, int, int, int]]]]


class Fetched(NamedTuple):
    """An answer so far: its size in bytes, and whether a partition was refused, which must be answered at once."""

    fields: Fields
    size_bytes: int
    refused: bool


class Fetching:
    """Answers readers."""

    def __init__(self, topics: Topics, timers: Timers) -> None:
        self._topics = topics
        self._timers = timers

    def fetch(
        self,
        client: Client,
        replica_id: int,
        max_wait_ms: int,
        min_bytes: int,
        max_bytes: int,
        isolation: int,
        session_id: int,
        session_epoch: int,
        wishes: Wishes,
        forgotten: list[tuple[str, list[int]]],
        rack: str,
    ) -> Fields | asyncio.Future[Fields]:
        """Fetch v11, without sessions: at once with enough bytes or an error, else when there are, or after the wait."""
        fetched = self.collect(wishes, max_bytes, isolation)
        if fetched.refused or fetched.size_bytes >= min_bytes or max_wait_ms <= 0:
            return fetched.fields
        waiting = _Waiting(self, wishes, min_bytes, max_bytes, isolation)
        waiting.begin(self._timers, max_wait_ms / 1000, self._logs(wishes))
        return waiting.answer

    def _logs(self, wishes: Wishes) -> list[PartitionLog]:
        return [self._topics.log(topic, wish[0]) for topic, partitions in wishes for wish in partitions]

    def collect(self, wishes: Wishes, max_bytes: int, isolation: int) -> Fetched:
        """What the reader could be given now."""
        size = 0
        refused = False
        answers: list[tuple[str, list[Fields]]] = []
        for topic, partitions in wishes:
            answered: list[Fields] = []
            for each in partitions:
                wish = Wish(*each)
                try:
                    found, fields = self._read(topic, wish, max_bytes - size, isolation, nothing_yet=size == 0)
                    size += found
                except KafkaApiError as error:
                    refused = True
                    fields = (wish.partition, error.code, _UNKNOWN, _UNKNOWN, _UNKNOWN, None, _NO_REPLICA, b"")
                answered.append(fields)
            answers.append((topic, answered))
        return Fetched((0, Code.NONE, _NO_SESSION, answers), size, refused)

    def _read(
        self, topic: str, wish: Wish, bytes_left: int, isolation: int, *, nothing_yet: bool
    ) -> tuple[int, Fields]:
        log = self._topics.log(topic, wish.partition)
        if not log.start <= wish.offset <= log.end:
            raise KafkaApiError(Code.OFFSET_OUT_OF_RANGE)
        committed_only = isolation == READ_COMMITTED
        stable_end = log.stable_end
        end = stable_end if committed_only else log.end
        # The first partition with data gives a batch of any size, so that a large one cannot stop a reader (KIP-74).
        found = log.read(wish.offset, end, min(wish.max_bytes, bytes_left), at_least_one=nothing_yet)
        data = b"".join(found)
        aborted = log.aborted_between(wish.offset, end) if committed_only else None
        return len(data), (
            wish.partition,
            Code.NONE,
            log.end,
            stable_end,
            log.start,
            aborted,
            _NO_REPLICA,
            data,
        )

    def list_offsets(
        self, client: Client, replica_id: int, isolation: int, topics: list[tuple[str, list[tuple[int, int]]]]
    ) -> Fields:
        """ListOffsets v3."""
        return 0, [
            (topic, [self._offset_at(topic, number, timestamp, isolation) for number, timestamp in partitions])
            for topic, partitions in topics
        ]

    def _offset_at(self, topic: str, partition: int, timestamp: int, isolation: int) -> Fields:
        try:
            log = self._topics.log(topic, partition)
        except KafkaApiError as refused:
            return partition, refused.code, _UNKNOWN, _UNKNOWN
        end = log.stable_end if isolation == READ_COMMITTED else log.end
        if timestamp == LATEST:
            return partition, Code.NONE, _UNKNOWN, end
        if timestamp == EARLIEST:
            return partition, Code.NONE, _UNKNOWN, log.start
        found = log.find_time(timestamp, end)
        return (partition, Code.NONE, *(found or (_UNKNOWN, _UNKNOWN)))


class _Waiting:
    """A fetch that waits: looked at again after each change of a partition it reads, once per turn of the loop.

    Waiting for the turn's end lets one produce request fill several partitions before the reader is answered.
    """

    def __init__(self, fetching: Fetching, wishes: Wishes, min_bytes: int, max_bytes: int, isolation: int) -> None:
        self._fetching = fetching
        self._wishes = wishes
        self._min_bytes = min_bytes
        self._max_bytes = max_bytes
        self._isolation = isolation
        self._logs: list[PartitionLog] = []
        self._timer: Timer | None = None
        self._looks_again = False
        self.answer: asyncio.Future[Fields] = asyncio.get_running_loop().create_future()

    def begin(self, timers: Timers, seconds: float, logs: list[PartitionLog]) -> None:
        self._logs = logs
        self._timer = timers.after(seconds, lambda: self._look(at_last=True))
        self.answer.add_done_callback(lambda _: self._end())
        for log in logs:
            log.watch(self._changed)

    def _changed(self) -> None:
        if not self._looks_again:
            self._looks_again = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self, *, at_last: bool = False) -> None:
        self._looks_again = False
        if self.answer.done():
            return
        fetched = self._fetching.collect(self._wishes, self._max_bytes, self._isolation)
        if at_last or fetched.refused or fetched.size_bytes >= self._min_bytes:
            self.answer.set_result(fetched.fields)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for log in self._logs:
            log.unwatch(self._changed)
