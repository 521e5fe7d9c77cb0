"""What is read of one order: the partitions that can hold its key, and of those its own records.

Keys are compared as bytes; what is not the order's is never decoded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import msgspec

from consumers.group.scanning import Part, Progress, ReadRecord, Window, follow, no_progress, scan
from consumers.ownership.positions import PositionRecord
from consumers.pauses.records import PAUSE_KEY, Pause, read_pause
from consumers.pauses.scopes import Scope
from orderflow.inspection.decisions import in_ms
from orderflow.inspection.entries import KeptRecord
from orderflow.inspection.past import Evidence, OldSnapshot, numbered_changes, relevant, snapshot_time
from orderflow.inspection.paused import scopes_of
from producers.connection import KafkaConnection
from producers.partitioner import partition_of
from producers.topic_setup import TopicState, read_topics
from producers.topics import ORDER_INPUTS, Lane, Topic, prefixed
from statemachine.errors import ConfigError
from statemachine.messages.envelope import Record
from statemachine.order.snapshot import decode_snapshot

#: The records that tell the story of an order, beside ``orderflow.operations``.
STORY_TOPICS: Final = (
    *ORDER_INPUTS,
    Topic.ORDERS,
    Topic.ORDER_STATE_CHANGES,
    Topic.ORDER_EVENT_REFUSALS,
    Topic.DR_COMMANDS,
    Topic.DEAD_LETTERS,
)
#: Position records are read from this long before the order's first record on, and until this long after its first snapshot:
#: clocks of machines differ. Where that is not enough all of them are read.
_MARGIN_MS: Final = 10 * 60 * 1000

#: A position record is written soon after the decisions of its transaction, by the same clock.
_COMMIT_MS: Final = 60 * 1000

_Take: TypeAlias = Callable[[Topic, ReadRecord], None]

_position = msgspec.json.Decoder(PositionRecord)


@dataclass(slots=True)
class OrderRecords:
    """The records of one order by topic, in their order."""

    order_id: str
    found: dict[Topic, list[ReadRecord]] = field(default_factory=lambda: defaultdict(list))

    def values(self, topic: Topic) -> list[bytes]:
        """The values that are there."""
        return [record.value for record in self.found[topic] if record.value is not None]

    @property
    def snapshot(self) -> bytes | None:
        """The newest snapshot; None when there is none, or the order was removed."""
        newest = self.found[Topic.ORDERS][-1:]
        return newest[0].value if newest else None


def kept(records: Iterable[ReadRecord], topic: Topic) -> list[KeptRecord]:
    """Records as the pure code knows them."""
    return [
        KeptRecord(
            Record(topic.value, one.partition, one.offset, one.key, one.value, tuple(one.headers or ())), _moment(one)
        )
        for one in records
    ]


def _moment(record: ReadRecord) -> datetime:
    return datetime.fromtimestamp(record.timestamp / 1000, UTC)


class TopicReader:
    """Reads topics of one Kafka under one prefix."""

    def __init__(
        self,
        connection: KafkaConnection,
        prefix: str,
        topics: Mapping[Topic, TopicState],
        progress: Progress = no_progress,
    ) -> None:
        self._connection = connection
        self._prefix = prefix
        self._topics = topics
        self._progress = progress

    def part(self, topic: Topic, key: str) -> Part:
        """The partition of a topic that holds the records of a key, such as an order's.

        Raises:
            ConfigError: The topic does not exist.
        """
        return Part(topic, partition_of(key.encode(), self.partitions(topic)))

    def partitions(self, topic: Topic) -> int:
        """How many partitions a topic has.

        Raises:
            ConfigError: The topic does not exist.
        """
        state = self._topics.get(topic)
        if state is None:
            raise ConfigError(f"topic {prefixed(self._prefix, topic)} does not exist; run `orderflow topics create`")
        return state.partitions

    def all_parts(self, topic: Topic) -> list[Part]:
        """Every partition of a topic; none when it does not exist."""
        state = self._topics.get(topic)
        return [] if state is None else [Part(topic, number) for number in range(state.partitions)]

    async def read_order(self, order_id: str, topics: Sequence[Topic], *, whole: Sequence[Topic] = ()) -> OrderRecords:
        """The order's records in ``topics``, and all records of the topics in ``whole`` that exist.

        Raises:
            ConfigError: One of ``topics`` does not exist.
            BrokerUnavailable: Kafka cannot be reached or does not answer.
        """
        records, key = OrderRecords(order_id), order_id.encode()
        found, everything = records.found, frozenset(whole)

        def take(topic: Topic, record: ReadRecord) -> None:
            if record.key == key or topic in everything:
                found[topic].append(record)

        parts = [self.part(topic, order_id) for topic in topics]
        parts += [part for topic in whole for part in self.all_parts(topic)]
        await self.scan(parts, take)
        return records

    def partitions_of(self, order_id: str) -> tuple[Scope, Scope]:
        """The order's partitions of the order lane and of the command lane."""
        orders, commands = (self.part(topic, order_id).number for topic in (Topic.ORDERS, Topic.DR_COMMANDS))
        return Scope(Lane.ORDERS, orders), Scope(Lane.COMMANDS, commands)

    async def pauses(self, order_id: str, snapshot: bytes) -> list[Pause]:
        """The pauses in force that may concern an order.

        Raises:
            BrokerUnavailable: Kafka cannot be reached or does not answer.
        """
        scopes = {
            f"{PAUSE_KEY}{scope}": scope
            for scope in scopes_of(decode_snapshot(snapshot), *self.partitions_of(order_id))
        }
        found: dict[str, Pause] = {}

        def take(_: Topic, record: ReadRecord) -> None:
            scope = scopes.get((record.key or b"").decode(errors="replace"))
            if scope is None:
                return
            found.pop(str(scope), None)
            if record.value is not None:
                found[str(scope)] = read_pause(scope, record.value)

        if self.all_parts(Topic.OPERATIONS):
            await self.scan(list({self.part(Topic.OPERATIONS, key) for key in scopes}), take)
        return list(found.values())

    async def scan(self, parts: Sequence[Part], take: _Take, *, windows: Mapping[Part, Window] | None = None) -> None:
        """Give each record of the partitions to ``take``.

        Raises:
            BrokerUnavailable: Kafka cannot be reached or does not answer.
        """
        await scan(self._connection, self._prefix, parts, take, windows=windows, progress=self._progress)

    def follow(
        self, parts: Sequence[Part], begins: Mapping[Part, int]
    ) -> AsyncGenerator[list[tuple[Topic, ReadRecord]], None]:
        """What is committed to the partitions from ``begins`` on, as it comes; the caller closes it."""
        return follow(self._connection, self._prefix, parts, begins)

    async def transactions(self, records: OrderRecords, times: Sequence[datetime]) -> dict[int, set[tuple[str, int]]]:
        """Which of the order's records the transactions at some times read, by their times in milliseconds.

        Raises:
            BrokerUnavailable: Kafka cannot be reached or does not answer.
        """
        offsets = {topic.value: [one.offset for one in records.found[topic]] for topic in ORDER_INPUTS}
        wanted, found = {in_ms(one) for one in times}, dict[int, set[tuple[str, int]]]()

        def take(_: Topic, record: ReadRecord) -> None:
            try:
                history = _position.decode(record.value or b"").history
            except (msgspec.DecodeError, UnicodeDecodeError):
                return
            if history is None or in_ms(history.decided_at) not in wanted:
                return
            read = found.setdefault(in_ms(history.decided_at), set())
            for run in history.runs:
                read |= {(run.topic, one) for one in offsets.get(run.topic, ()) if run.first <= one <= run.last}

        part = self.part(Topic.POSITIONS, records.order_id)
        window = Window(in_ms(min(times)) - _COMMIT_MS, in_ms(max(times)) + _COMMIT_MS)
        await self.scan([part], take, windows={part: window})
        return found

    async def evidence(self, records: OrderRecords, *, whole: bool) -> Evidence:
        """What is known of how an order was decided; its ``records`` are those of the inputs, snapshots and changes.

        ``whole``: all position records are read, not only those of the order's time.
        """
        order_id, found = records.order_id, records.found
        inputs = {topic.value: found[topic] for topic in ORDER_INPUTS}
        offsets = {name: [record.offset for record in records] for name, records in inputs.items()}
        snapshots = [OldSnapshot(snapshot_time(one.value, _moment(one)), one.value) for one in found[Topic.ORDERS]]
        part, transactions, reached = self.part(Topic.POSITIONS, order_id), [], dict[str, int]()

        def take(_: Topic, record: ReadRecord) -> None:
            try:
                position = _position.decode(record.value or b"")
            except (msgspec.DecodeError, UnicodeDecodeError):
                return
            reached.update(position.next_offsets)
            if relevant(position, order_id, offsets):
                transactions.append(position)

        times = [record.timestamp for records in inputs.values() for record in records]
        windows = {}
        if times and not whole:
            last = found[Topic.ORDERS][0].timestamp + _MARGIN_MS if found[Topic.ORDERS] else None
            windows = {part: Window(min(times) - _MARGIN_MS, last)}
        await self.scan([part], take, windows=windows)
        return Evidence(
            order_id=order_id,
            prefix=self._prefix,
            number=part.number,
            partitions=self.partitions(Topic.POSITIONS),
            snapshots=snapshots,
            inputs=inputs,
            transactions=transactions,
            reached=reached,
            changes=numbered_changes(record.value for record in found[Topic.ORDER_STATE_CHANGES]),
        )


async def open_reader(connection: KafkaConnection, prefix: str, progress: Progress = no_progress) -> TopicReader:
    """A reader of the topics that there are.

    Raises:
        BrokerUnavailable: Kafka cannot be reached or does not answer.
    """
    return TopicReader(connection, prefix, await read_topics(connection, prefix), progress)


def parked_places(snapshot: bytes | None) -> dict[tuple[str, int, int], datetime]:
    """Where the records lie that are parked in a snapshot, and since when they are."""
    if snapshot is None:
        return {}
    document: dict[str, Any] = msgspec.json.decode(snapshot)
    places = {}
    for view, record in zip(document["parked"], document["internal"].get("parked", ()), strict=False):
        _, topic, partition, offset = record[:4]
        places[topic, partition, offset] = datetime.fromisoformat(view["since"])
    return places
