"""``orderflow replay rebuild``: each partition's history is decided again, and its snapshots are written under another prefix.

Rules of the file:
- Snapshots and the position that was reached are written in one transaction, so a rebuild that was killed goes on where it was.
- A transactional id of its own holds each partition: a rebuild that starts fences an earlier one, and one that finds another at
  work (its group has a member) does not start.
- Where the history has a gap the rebuild begins after it, from the live snapshots of that time; an order that it cannot know is
  left out, never guessed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError

from consumers.ownership.changelog import ChangelogReader, OffsetReader, ReadRecord, stop_consumer, text_key
from orderflow.replay.comparing import is_change, sequence_of
from orderflow.replay.findings import Task
from orderflow.replay.lane import ReplayedLane
from orderflow.replay.recorded import Recorded, Window, snapshots_before
from orderflow.replay.streams import History, reading
from orderflow.replay.transactions import Transaction
from producers.connection import KafkaConnection, describe, start_client, unreachable, within
from producers.outbox import OutboundRecord, Outbox
from producers.topics import TOPICS, Topic, prefixed
from producers.transaction import TransactionalProducer
from statemachine.errors import BrokerUnavailable, ConfigError

#: So many snapshots are written in one transaction, or what came of so many seconds.
_WRITTEN_AT_ONCE: Final = 2000
_SECONDS_AT_ONCE: Final = 2.0
#: How long a rebuild that was killed is still a member of its group; another one waits for so long.
_SESSION_SECONDS: Final = 6.0
_ALREADY_EXISTS: Final = 36


class Rebuilt(msgspec.Struct, frozen=True):
    """What became of one partition."""

    partition: int
    #: Transactions of its history that were decided in this run, and the snapshots that were written.
    transactions: int
    snapshots: int
    #: An earlier run had come so far already.
    went_on: bool
    #: Orders that began before the history and have no snapshot of that time.
    left_out: tuple[str, ...] = ()
    #: Why the history could not be used from its beginning; None: it was.
    begins: str | None = None


def rebuild_group(into: str) -> str:
    """The group that has the progress of a rebuild: next offset of ``orderflow.positions`` of the live prefix."""
    return f"{into}orderflow.rebuild"


class HeldTable:
    """The right to rebuild under a prefix, held as a member of a group while the context lasts."""

    def __init__(self, connection: KafkaConnection, into: str) -> None:
        self._connection = connection
        self._into = into
        self._group = f"{rebuild_group(into)}.running"
        self._consumer: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> None:
        """Become the member.

        Raises:
            ConfigError: Another rebuild is at work.
        """
        limit = self._connection.limits.operation_seconds
        await within(3 * limit, self._until_alone(), "a look for other rebuilds")
        self._consumer = AIOKafkaConsumer(
            prefixed(self._into, Topic.ORDERS),
            **self._connection.client_options(),
            group_id=self._group,
            enable_auto_commit=False,
            session_timeout_ms=int(_SESSION_SECONDS * 1000),
            heartbeat_interval_ms=1000,
            max_poll_interval_ms=24 * 3600 * 1000,
        )
        await within(3 * limit, start_client(self._consumer), "joining the group of the rebuild")

    async def _until_alone(self) -> None:
        admin = AIOKafkaAdminClient(**self._connection.client_options())
        try:
            await start_client(admin)
            loop = asyncio.get_running_loop()
            until = loop.time() + _SESSION_SECONDS + 2
            while await self._members(admin):
                if loop.time() > until:
                    raise ConfigError(f"another rebuild into {self._into} is running; end it, or wait for it")
                await asyncio.sleep(0.3)
        except KafkaConnectionError as error:
            raise await unreachable(self._connection) from error
        except KafkaError as error:
            raise BrokerUnavailable(f"the group of the rebuild cannot be read: {describe(error)}") from error
        finally:
            with suppress(BrokerUnavailable, KafkaError):
                await within(self._connection.limits.stop_seconds, admin.close(), "closing a client")

    async def _members(self, admin: AIOKafkaAdminClient) -> bool:
        for answer in await admin.describe_consumer_groups([self._group]):
            for group in answer.groups:
                if group[5]:
                    return True
        return False

    async def __aexit__(self, *_: object) -> None:
        if self._consumer is not None:
            await stop_consumer(self._consumer, self._connection.limits.stop_seconds)


async def make_table(connection: KafkaConnection, into: str, partitions: int, replication: int | None = None) -> None:
    """Create ``<into>orders`` with as many partitions as the live topic, unless it is there.

    Raises:
        ConfigError: It has another number of partitions, or Kafka refused it.
    """
    name, limit = prefixed(into, Topic.ORDERS), connection.limits.operation_seconds
    admin = AIOKafkaAdminClient(**connection.client_options())
    try:
        await within(limit, start_client(admin), "a connection")
        if name not in set(await within(limit, admin.list_topics(), "listing topics")):
            brokers = len((await within(limit, admin.describe_cluster(), "counting brokers"))["brokers"])
            new = NewTopic(
                name, partitions, replication or min(3, brokers), topic_configs=TOPICS[Topic.ORDERS].configs()
            )
            answer = await within(limit, admin.create_topics([new]), "creating a topic")
            for _, code, *message in answer.topic_errors:
                if code not in {0, _ALREADY_EXISTS}:
                    raise ConfigError(f"Kafka did not create topic {name}: {message[0] if message else code}")
        (found,) = await within(limit, admin.describe_topics([name]), "describing a topic")
        if len(found["partitions"]) != partitions:
            raise ConfigError(f"topic {name} has {len(found['partitions'])} partitions, the live one has {partitions}")
    except KafkaConnectionError as error:
        raise await unreachable(connection) from error
    except KafkaError as error:
        raise BrokerUnavailable(f"topic {name} could not be made: {describe(error)}") from error
    finally:
        with suppress(BrokerUnavailable, KafkaError):
            await within(connection.limits.stop_seconds, admin.close(), "closing a client")


async def rebuild_partition(
    task: Task, into: str, *, clock: Callable[[], float] = time.time, told: Callable[[int], None] = lambda _: None
) -> Rebuilt:
    """Decide the history of one partition again and write its snapshots under ``into``; goes on where an earlier run was.

    Args:
        task: The partition, of the live prefix, with all orders.
        into: The other prefix.
        clock: Unix seconds, for the timestamps of what is written.
        told: Called with the number of transactions that are done.

    Raises:
        Fenced: Another rebuild has taken over.
        BrokerError: Kafka did not answer or refused; what was committed stays.
    """
    writer = _Writer(task, into, clock)
    try:
        reached = await writer.begin()
        async with reading(task.connection) as history:
            window = Window(task)
            await window.read(history, 0)
            begins = window.begin_after_gaps()
            if not window.transactions:
                return Rebuilt(task.partition, 0, 0, reached is not None, begins=begins)
            return await _rebuild(task, history, window, writer, reached, begins, told)
    finally:
        await writer.close()


async def _rebuild(
    task: Task,
    history: History,
    window: Window,
    writer: _Writer,
    reached: int | None,
    begins: str | None,
    told: Callable[[int], None],
) -> Rebuilt:
    lane = ReplayedLane(
        task.partition, partitions=task.partitions, prefix=task.prefix, policy=task.policy, room=task.connection.room
    )
    left_out: set[str] = set()
    if not window.is_whole:
        known = await snapshots_before(history, task, window)
        left_out = await _older(history, window, known)
        if reached is None:
            writer.add(known)
    else:
        known = {}
    skipped = {one.encode() for one in left_out}
    if reached is not None:
        window.transactions = [one for one in window.transactions if one.offset >= reached]
        known = await writer.written()
    await lane.begin(known)
    if not window.transactions:
        return Rebuilt(task.partition, 0, 0, reached is not None, tuple(sorted(left_out)), begins)
    recorded = Recorded(task, window, skipped)
    await recorded.open(history)
    for count, transaction in enumerate(window.transactions, 1):
        if transaction.history is not None:
            writer.add(await _decided(lane, recorded, transaction, skipped))
        await writer.reached(transaction)
        told(count)
    await writer.flush()
    return Rebuilt(
        task.partition,
        len(window.transactions),
        writer.count,
        reached is not None,
        tuple(sorted(left_out | lane.unreadable)),
        begins,
    )


async def _decided(
    lane: ReplayedLane, recorded: Recorded, transaction: Transaction, skipped: set[bytes]
) -> Mapping[str, bytes | None]:
    history = transaction.history
    assert history is not None  # the caller has looked
    records: list[ConsumerRecord] = []
    for run in history.runs:
        records += await recorded.inputs(run)
    replayed = await lane.decide(records, history, skipped)
    lane.commit(replayed)
    return replayed.overlay.changes


async def _older(history: History, window: Window, known: Mapping[str, bytes]) -> set[str]:
    """Orders that began before the window, without a snapshot: their first change in it is not their first."""
    changes = window.topic(Topic.ORDER_STATE_CHANGES)
    seen, older = set[bytes](), set[str]()
    start = (await history.at([changes], min(window.stamps)))[changes]
    if start is None:
        return older
    async for records in history.whole(changes, start, (await history.ends([changes]))[changes]):
        for record in records:
            if record.key is None or record.key in seen or not is_change(record.value):
                continue
            seen.add(record.key)
            name = record.key.decode(errors="replace")
            if name not in known and (sequence_of(record.value) or 0) > 1:
                older.add(name)
    return older


class _Writer:
    """Writes the snapshots of one partition, and how far the rebuild has come, in transactions."""

    def __init__(self, task: Task, into: str, clock: Callable[[], float]) -> None:
        self._task = task
        self._clock = clock
        self._table = TopicPartition(prefixed(into, Topic.ORDERS), task.partition)
        self._positions = TopicPartition(prefixed(task.prefix, Topic.POSITIONS), task.partition)
        self._group = rebuild_group(into)
        self._producer = TransactionalProducer(
            task.connection, group=self._group, partition=task.partition, topics=(self._table.topic,)
        )
        self._pending: dict[str, bytes | None] = {}
        self._next: tuple[int, str] | None = None
        self._flushed = clock()
        #: Snapshots that were written.
        self.count = 0

    async def begin(self) -> int | None:
        """Fence an earlier run; returns the next offset of the position records, None at the beginning."""
        await self._producer.start()
        reader = OffsetReader(self._task.connection)
        try:
            found = await reader.committed(self._group, self._positions)
        finally:
            await reader.close()
        return None if found is None else found[0]

    async def written(self) -> dict[str, bytes]:
        """The snapshots that earlier runs have written."""
        table: dict[str, bytes] = {}

        def take(read: ReadRecord) -> None:
            name = text_key(read, self._table.topic)
            if read.value is None:
                table.pop(name, None)
            else:
                table[name] = read.value

        reader = ChangelogReader(self._task.connection)
        try:
            await reader.read_all(self._table, take)
        finally:
            await reader.close()
        return table

    def add(self, changes: Mapping[str, bytes | None]) -> None:
        """Snapshots to be written; None removes one."""
        self._pending.update(changes)

    async def reached(self, transaction: Transaction) -> None:
        """All that came of a transaction has been added."""
        moment = "" if transaction.history is None else transaction.history.decided_at.isoformat()
        self._next = (transaction.offset + 1, moment)
        if len(self._pending) >= _WRITTEN_AT_ONCE or self._clock() - self._flushed >= _SECONDS_AT_ONCE:
            await self.flush()

    async def flush(self) -> None:
        """Write what was added, and the position that was reached."""
        if self._next is None:
            return
        outbox = Outbox(self._producer.counts, home=self._task.partition, home_count=self._task.partitions)
        for name, snapshot in self._pending.items():
            outbox.add_to(self._table.topic, self._task.partition, OutboundRecord(name.encode(), snapshot))
        now = self._clock()
        await self._producer.transact(outbox, {self._positions: self._next}, timestamp_ms=int(now * 1000))
        self.count += len(self._pending)
        self._pending, self._next, self._flushed = {}, None, now

    async def close(self) -> None:
        """Close the producer."""
        await self._producer.close()
