"""Follows the pauses in ``orderflow.operations``: one reader for all lanes of a process.

Rules of the file:
- No lane may begin before the topic has been read to its end once (``known``): a pause holds over a restart.
- Every partition is read from its beginning, without a group. A new reader starts from nothing and replaces the table as a whole,
  so that a tombstone that Kafka has removed meanwhile is not missed.
- Pauses are never written in a transaction, so records are read as soon as Kafka has them: a transaction of another tool that
  hangs in this topic delays no pause.
- Every wait has a limit, and nothing ends the reader but a cancellation. While Kafka is away what was known last holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from consumers.ownership.changelog import stop_consumer
from consumers.ownership.lease import steady_clock
from consumers.pauses.records import Pause, read_pause, read_resumed, scope_of
from consumers.pauses.scopes import Scope
from consumers.pauses.table import Pauses
from producers.connection import KafkaConnection, start_client, within
from producers.topics import Topic, prefixed
from statemachine.errors import BrokerUnavailable

log = structlog.get_logger(__name__)

#: Milliseconds that one fetch waits for a record: an idle worker asks twice a second and hears of a pause at once.
_FETCH_WAIT_MS = 500
#: Kafka is asked so often whether there is more than was read, and has so long to answer; in seconds.
_CONTACT_SECONDS, _ANSWER_SECONDS = 1.0, 3.0
#: Records that are there and do not come for so long: the client is replaced. Kafka silent for so long: it is reported.
_STUCK_SECONDS, _SILENCE_SECONDS_MAX = 3.0, 8.0
#: Between two attempts.
_BACKOFF_SECONDS = 0.5


class PauseReader:
    """Keeps ``pauses`` as the topic says."""

    def __init__(
        self,
        connection: KafkaConnection,
        prefix: str,
        partitions: int,
        pauses: Pauses,
        *,
        steady: Callable[[], float] = steady_clock,
    ) -> None:
        """``partitions`` is the topic's partition count; ``steady``: seconds of a monotonic clock."""
        self._connection = connection
        self._tps = [TopicPartition(prefixed(prefix, Topic.OPERATIONS), number) for number in range(partitions)]
        self._pauses = pauses
        self._steady = steady
        self._known = asyncio.Event()
        self._heard_at = steady()
        self._reported = False

    async def known(self) -> Literal[True]:
        """Return once the topic has been read to its end."""
        return await self._known.wait()

    @property
    def problem(self) -> str | None:
        """Why it is not known what is paused, in a line; None when it is."""
        silent = self._steady() - self._heard_at
        if not self._known.is_set():
            return f"reading {self._tps[0].topic}: no lane works before it is known what is paused"
        if silent > _SILENCE_SECONDS_MAX:
            return f"{self._tps[0].topic} was last read {silent:.0f} s ago: a newer pause or resume is not obeyed yet"
        return None

    async def run(self) -> None:
        """Follow the topic until cancelled."""
        while True:
            try:
                await self._follow()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                self._report("a part of the Kafka client was cancelled")
            except Exception as error:  # noqa: BLE001  # whatever the client raises: a worker without pauses is worse
                self._report(error)
            await asyncio.sleep(_BACKOFF_SECONDS)

    def _report(self, error: Exception | str) -> None:
        """One line for each outage."""
        if not self._reported:
            self._reported = True
            log.warning("pauses_unread", topic=self._tps[0].topic, error=error)

    # -- reading

    async def _follow(self) -> None:
        """Read from the beginning to the end, then what comes.

        Raises:
            BrokerUnavailable: Kafka did not answer within a limit, or records do not come.
            KafkaError: It refused.
        """
        consumer = AIOKafkaConsumer(
            **self._connection.client_options(),
            group_id=None,
            isolation_level="read_uncommitted",
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=_FETCH_WAIT_MS,
        )
        try:
            seconds = self._connection.limits.operation_seconds
            await within(seconds, start_client(consumer), "the start of a reader")
            consumer.assign(self._tps)
            begins = await within(seconds, consumer.beginning_offsets(self._tps), "a request for offsets")
            for tp in self._tps:
                consumer.seek(tp, begins[tp])
            found, resumed = await self._read_to_end(consumer)
            self._put(found, resumed)
            self._reported = False
            self._known.set()
            await self._read_on(consumer, found)
        finally:
            await stop_consumer(consumer, self._connection.limits.stop_seconds)

    async def _read_to_end(self, consumer: AIOKafkaConsumer) -> tuple[dict[Scope, Pause], dict[Scope, tuple[str, str]]]:
        """What is paused at the end that the topic has now, and by whom what is not."""
        seconds = self._connection.limits.operation_seconds
        ends = await within(seconds, consumer.end_offsets(self._tps), "a request for offsets")
        found: dict[Scope, Pause] = {}
        resumed: dict[Scope, tuple[str, str]] = {}
        moved = self._steady()
        while await self._behind(consumer, ends):
            records = await self._fetch(consumer)
            take_all(records, found, resumed)
            if records:
                moved = self._steady()
            elif self._steady() - moved > seconds:
                raise BrokerUnavailable("Kafka does not deliver the records that it has")
        self._heard_at = self._steady()
        return found, resumed

    async def _read_on(self, consumer: AIOKafkaConsumer, found: dict[Scope, Pause]) -> None:
        """Follow until an error."""
        asked_at = moved = self._steady()
        while True:
            records = await self._fetch(consumer)
            if records:
                resumed: dict[Scope, tuple[str, str]] = {}
                take_all(records, found, resumed)
                self._put(found, resumed)
                self._heard_at = moved = self._steady()
            if self._steady() - asked_at < _CONTACT_SECONDS:
                continue
            asked_at = self._steady()
            ends = await within(_ANSWER_SECONDS, consumer.end_offsets(self._tps), "a request for offsets")
            if not await self._behind(consumer, ends):
                self._heard_at = moved = self._steady()
            elif self._steady() - moved > _STUCK_SECONDS:
                raise BrokerUnavailable("Kafka does not deliver the records that it has")

    async def _fetch(self, consumer: AIOKafkaConsumer) -> Sequence[ConsumerRecord]:
        """The next records; none when nothing came for a while."""
        limit = self._connection.limits.operation_seconds
        fetched = await within(limit, consumer.getmany(timeout_ms=_FETCH_WAIT_MS), "a fetch")
        return [record for records in fetched.values() for record in records]

    async def _behind(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
        limit = self._connection.limits.operation_seconds
        for tp in self._tps:
            if await within(limit, consumer.position(tp), "a look at a position") < ends[tp]:
                return True
        return False

    def _put(self, found: Mapping[Scope, Pause], resumed: Mapping[Scope, tuple[str, str]]) -> None:
        """Make it the table of the process, with one line in the log for each pause that begins or ends."""
        before = {pause.scope: pause for pause in self._pauses}
        if before == found:
            return
        self._pauses.replace(found)
        for scope in sorted({*before, *found}, key=str):
            pause = found.get(scope)
            if pause is None:
                actor, reason = resumed.get(scope, ("unknown", ""))
                log.info("pause_ended", scope=str(scope), actor=actor, reason=reason)
            elif pause != before.get(scope):
                since = None if pause.since is None else pause.since.isoformat()
                log.warning("pause_began", scope=str(scope), actor=pause.actor, reason=pause.reason, since=since)


def take_all(
    records: Sequence[ConsumerRecord], found: dict[Scope, Pause], resumed: dict[Scope, tuple[str, str]]
) -> None:
    """Apply records to what is paused; what is not about a pause is passed over."""
    for record in records:
        scope = scope_of(record.key)
        if scope is None:
            continue
        if record.value is not None:
            found[scope] = read_pause(scope, record.value)
        elif found.pop(scope, None) is not None:
            resumed[scope] = read_resumed(record.headers or ())


@asynccontextmanager
async def following(reader: PauseReader) -> AsyncIterator[PauseReader]:
    """The reader at work while the context lasts."""
    task = asyncio.create_task(reader.run(), name="reader of pauses")
    try:
        yield reader
    finally:
        task.cancel()
        await asyncio.wait([task])
