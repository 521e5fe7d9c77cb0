"""The recorded side of a replay: what Kafka has of a partition's inputs and outputs in a window.

A record belongs to the transaction with the same timestamp: the lane gives all records of a transaction one time. Records of a
time that no transaction of the window has were written before it, after it, or by another lane.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from aiokafka import ConsumerRecord, TopicPartition

from consumers.ownership.positions import Run
from orderflow.replay.comparing import Outputs, Written, is_change, refusals, sequence_of
from orderflow.replay.findings import Task
from orderflow.replay.streams import History, Stream, last_before
from orderflow.replay.transactions import Gap, Short, Transaction, readable_from, transactions_of
from producers.partitioner import partition_of
from producers.topics import ORDER_INPUTS, Topic, prefixed
from statemachine.errors import ConfigError

#: What a transaction writes, as far as it is compared.
OUTPUTS: Final = (Topic.ORDER_STATE_CHANGES, Topic.DR_COMMANDS, Topic.DEAD_LETTERS)
#: Kafka's number of the time that the producer set.
_CREATE_TIME: Final = 0


class HistoryLost(Exception):
    """A topic no longer has what a transaction read. The rest of its partition is not replayed. Remedy: a longer retention."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.topic = topic


class Window:
    """The transactions of one partition in a window, and what shortens it."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.transactions: list[Transaction] = []
        self.short: list[Short] = []
        #: First available offset of each input, by contract name.
        self.begins: dict[str, int] = {}
        #: The first transaction of the partition is in the window: no order is older.
        self.is_whole = False

    def topic(self, topic: Topic, number: int | None = None) -> TopicPartition:
        """A partition of a topic; this one unless another is named."""
        return TopicPartition(prefixed(self._task.prefix, topic), self._task.partition if number is None else number)

    @property
    def stamps(self) -> set[int]:
        """The times of all transactions."""
        return {one.stamp for one in self.transactions}

    async def read(self, history: History, since: int) -> None:
        """Read the position records from ``since`` on, in milliseconds, and find where a replay of them can begin.

        Raises:
            ConfigError: The topics take Kafka's time instead of the producer's.
        """
        positions = self.topic(Topic.POSITIONS)
        end = (await history.ends([positions]))[positions]
        begin = (await history.begins([positions]))[positions]
        start = (await history.at([positions], since))[positions]
        if start is None or start >= end:
            return
        before = await last_before(history, positions, begin, start)
        records: list[ConsumerRecord] = []
        until = self._task.until
        async for some in history.whole(positions, start, end):
            records += [one for one in some if until is None or one.timestamp <= until]
            if some[-1].timestamp_type != _CREATE_TIME:
                raise ConfigError(
                    f"{positions.topic} has message.timestamp.type=LogAppendTime: a replay finds the records of a transaction "
                    "by the time that the worker gave them; set CreateTime"
                )
        found = transactions_of(records, topic=positions.topic, partition=positions.partition, before=before)
        self.transactions = found
        if found and before is None:
            self._note_beginning(found[0])
        await self._leave_out_deleted(history)

    def _note_beginning(self, first: Transaction) -> None:
        """Without an earlier record, the first one must be the partition's first."""
        self.is_whole = first.number == 1
        if not self.is_whole:
            self._note(Topic.POSITIONS, first, "its first records are gone")

    async def _leave_out_deleted(self, history: History) -> None:
        """Drop the transactions that Kafka no longer has the inputs or the outputs of."""
        inputs = {self.topic(topic): topic.value for topic in ORDER_INPUTS}
        self.begins = {inputs[tp]: offset for tp, offset in (await history.begins(inputs)).items()}
        start, topics = readable_from(self.transactions, self.begins)
        for topic in topics:
            self._note_deleted(Topic(topic), start)
        for output in (Topic.ORDER_STATE_CHANGES, Topic.DR_COMMANDS):
            since = await self._first_stamp(history, self.topic(output))
            # of the first transaction that it has something of, it may not have all
            late = next((at for at, one in enumerate(self.transactions) if one.stamp > since), len(self.transactions))
            if any(_decided(one) for one in self.transactions[start:late]):
                self._note_deleted(output, late)
                start = late
        if start:
            self.transactions, self.is_whole = self.transactions[start:], False

    @staticmethod
    async def _first_stamp(history: History, partition: TopicPartition) -> int:
        """The time of the first record that was not deleted; 0 when none was."""
        begin, end = (await history.begins([partition]))[partition], (await history.ends([partition]))[partition]
        if begin == 0:
            return 0
        async with aclosing(history.whole(partition, begin, end)) as some:
            async for records in some:
                return int(records[0].timestamp)
        return 0

    def _note_deleted(self, topic: Topic, start: int) -> None:
        left = self.transactions[start] if start < len(self.transactions) else None
        self._note(topic, left, "its first records were deleted")

    def _note(self, topic: Topic, first: Transaction | None, why: str) -> None:
        since = None if first is None else datetime.fromtimestamp(first.stamp / 1000, UTC)
        name = prefixed(self._task.prefix, topic)
        self.short.append(Short(name, self._task.partition, since, why))

    def begin_after_gaps(self) -> str | None:
        """Leave out all transactions up to the last gap; returns why, None when there is no gap and nothing is missing."""
        why = self.short[0].why if self.short else None
        for at in range(len(self.transactions) - 1, -1, -1):
            one = self.transactions[at]
            if one.history is None or one.after_hole:
                self.is_whole = False
                why = one.gap or "position records are missing"
                self.transactions = self.transactions[at + (one.history is None) :]
                break
        return why

    def note_hole(self, transaction: Transaction) -> None:
        """Position records before this transaction are missing."""
        self._note(Topic.POSITIONS, transaction, "records in the middle of it are missing")

    def note_lost(self, topic: str) -> None:
        """A topic lacks what a transaction has read."""
        self._note(Topic(topic), None, "records in the middle of it are missing, or were deleted meanwhile")

    def gap(self, transaction: Transaction) -> Gap:
        """A transaction that does not say what it decided."""
        at = datetime.fromtimestamp(transaction.stamp / 1000, UTC)
        return Gap(self._task.partition, transaction.offset, at, transaction.gap or "")


def _decided(transaction: Transaction) -> bool:
    history = transaction.history
    return history is not None and bool(history.runs or history.fired)


class Recorded:
    """The streams of inputs and outputs of one partition, read along with its transactions."""

    def __init__(self, task: Task, window: Window, skipped: set[bytes]) -> None:
        """``skipped``: the keys of orders that are not looked at any more; it grows."""
        self._task = task
        self._window = window
        self._skipped = skipped
        self._stamps = window.stamps
        self._inputs: dict[str, Stream] = {}
        self._outputs: dict[Topic, list[Stream]] = {}
        self._all = task.scope.is_all

    async def open(self, history: History) -> None:
        """Begin to read. The ends are taken after those of the position records: they have all that these name."""
        window = self._window
        first: dict[str, int] = {}
        for transaction in window.transactions:
            for run in () if transaction.history is None else transaction.history.runs:
                first.setdefault(run.topic, run.first)
        inputs = {topic.value: window.topic(topic) for topic in ORDER_INPUTS if topic.value in first}
        ends = await history.ends(inputs.values())
        for name, tp in inputs.items():
            self._inputs[name] = history.stream(tp, first[name], ends[tp])
        earliest = min(self._stamps)
        for topic in OUTPUTS:
            parts = [window.topic(topic, number) for number in self._partitions_of(topic)]
            ends, starts = await history.ends(parts), await history.at(parts, earliest)
            found = [(tp, start) for tp, start in starts.items() if start is not None]
            self._outputs[topic] = [history.stream(tp, start, ends[tp]) for tp, start in found]

    def _partitions_of(self, topic: Topic) -> Sequence[int]:
        """Where the records of the partition's orders are: the same partition, or anywhere when the counts differ."""
        count = self._task.counts[prefixed(self._task.prefix, topic)]
        return [self._task.partition] if count == self._task.partitions else range(count)

    async def inputs(self, run: Run) -> Sequence[ConsumerRecord]:
        """The records of a run.

        Raises:
            HistoryLost: They are not there.
        """
        stream = self._inputs[run.topic]
        taken = await stream.upto(run.first, run.last)
        if taken is None:
            raise HistoryLost(run.topic)
        if self._all and not self._skipped:
            return taken
        return [record for record in taken if self._wants(record.key)]

    def _wants(self, key: bytes | None) -> bool:
        return key not in self._skipped and (self._all or self._task.scope.wants(key))

    async def outputs(self, stamp: int) -> Outputs:
        """What the transaction of this time wrote for the orders that are looked at."""
        changes = [one for one in await self._taken(Topic.ORDER_STATE_CHANGES, stamp) if is_change(one.value)]
        commands = await self._taken(Topic.DR_COMMANDS, stamp)
        letters = await self._taken(Topic.DEAD_LETTERS, stamp)
        return Outputs(changes, commands, self.refusals(letters) if letters else [])

    def refusals(self, letters: Sequence[Written]) -> list[Written]:
        """The letters of records that first came in on this partition and belong there."""
        found = refusals(letters, partition=self._task.partition, topics=self._window.begins)
        return [one for one in found if partition_of(one.key, self._task.partitions) == self._task.partition]

    async def _taken(self, topic: Topic, stamp: int) -> list[Written]:
        found: list[Written] = []
        wants: Callable[[bytes | None], bool] | None = None if self._all and not self._skipped else self._wants
        streams = self._outputs[topic]
        for stream in streams:
            while stream.at < len(stream.records) or await stream.more():
                if _take(stream, stamp, self._stamps, found, wants):
                    break
        if len(streams) > 1:
            partition, count = self._task.partition, self._task.partitions
            found = [one for one in found if partition_of(one.key, count) == partition]
        return found


def _take(
    stream: Stream,
    stamp: int,
    stamps: set[int],
    found: list[Any],
    wants: Callable[[bytes | None], bool] | None,
) -> bool:
    """Take the records at hand that have this time; True when a record of a later transaction follows them."""
    records, at = stream.records, stream.at
    for record in records[at:] if at else records:
        its = record.timestamp
        if its == stamp:
            if record.key is not None and (wants is None or wants(record.key)):
                found.append(
                    record
                )  # it has the members of Written; one more object a record would cost as much as comparing it
        elif its in stamps:
            stream.at = at
            return True
        at += 1
    stream.at = at
    return False


async def snapshots_before(history: History, task: Task, window: Window) -> dict[str, bytes]:
    """The newest snapshot, before the window, of each order that still has one there.

    Compaction removes a snapshot only when a newer one is there: the newest that is left before the window is the order as it
    was when the window began.
    """
    orders = window.topic(Topic.ORDERS)
    begin, end = (await history.begins([orders]))[orders], (await history.ends([orders]))[orders]
    stamps, found = window.stamps, dict[str, bytes]()
    start = (await history.at([orders], min(stamps)))[orders]
    end = end if start is None else min(end, start)  # records of the window begin there
    wants = None if task.scope.is_all else task.scope.wants
    async for records in history.whole(orders, begin, end):
        for record in records:
            if record.key is None or (wants is not None and not wants(record.key)):
                continue
            name = record.key.decode(errors="replace")
            if record.value is None:
                found.pop(name, None)
            else:
                found[name] = record.value
    return found


class _Sequenced(msgspec.Struct):
    sequence: int = 0


_sequenced = msgspec.json.Decoder(_Sequenced)


async def newest_sequences(history: History, task: Task, window: Window, names: Collection[str]) -> dict[str, int]:
    """Of orders without a known beginning: how many changes each had when the window began, at least, plus one.

    It is the sequence of the first change in the window, or, where there is none, of the newest snapshot and one more.
    """
    changes, orders, keys = (
        window.topic(Topic.ORDER_STATE_CHANGES),
        window.topic(Topic.ORDERS),
        {one.encode() for one in names},
    )
    found: dict[str, int] = {}
    start = (await history.at([changes], min(window.stamps)))[changes]
    if start is not None:
        async for records in history.whole(changes, start, (await history.ends([changes]))[changes]):
            for record in records:
                if record.key in keys and is_change(record.value) and (sequence := sequence_of(record.value)):
                    found.setdefault(record.key.decode(), sequence)
    newest: dict[str, int] = {}
    begin, end = (await history.begins([orders]))[orders], (await history.ends([orders]))[orders]
    async for records in history.whole(orders, begin, end):
        for record in records:
            if record.key in keys:
                newest[record.key.decode()] = 0 if record.value is None else _sequenced.decode(record.value).sequence
    return {name: sequence + 1 for name, sequence in newest.items()} | found
