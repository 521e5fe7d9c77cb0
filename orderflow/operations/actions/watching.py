"""Watches what becomes of the events that an action sent: reads what the order lane writes, from the offsets that are kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiokafka import ConsumerRecord, TopicPartition

from orderflow.operations.actions.outcomes import Flight, Outcomes
from orderflow.operations.actions.reading import Tail, TopicReader, written_ends
from orderflow.operations.actions.records import ACTION_KEY, LETTER_KEY, ActionTable, Request, Result, read_request
from orderflow.operations.actions.redelivery import HOWS, Hold, How, event_id, hold_of
from orderflow.operations.actions.tracker import Tracker
from orderflow.operations.actions.writing import ActionWriter
from orderflow.operations.letters.letter import LetterId, name_of_event, read_letter
from producers.topics import Topic, prefixed

#: The topics in which results show.
WATCHED: Final = (Topic.ORDER_STATE_CHANGES, Topic.DEAD_LETTERS, Topic.ORDERS, Topic.POSITIONS)
#: Milliseconds to wait for results.
WAIT_MS: Final = 50

#: Offsets by topic and partition.
Cursors = Mapping[str, Mapping[str, int]]


@dataclass(slots=True)
class _Sent:
    """What one transaction sent, and from where its results are to be read."""

    cursors: Cursors
    numbers: set[int] = field(default_factory=set)


class Watch:
    """Of one action."""

    _tail: Tail

    def __init__(self, reader: TopicReader, action: str, tracker: Tracker, writer: ActionWriter) -> None:
        self._reader, self._action, self._tracker, self._writer = reader, action, tracker, writer
        topics = (*WATCHED, Topic.INBOX, Topic.OPERATIONS)
        self._topics = {prefixed(reader.prefix, topic): topic for topic in topics}
        self._request_key = f"{ACTION_KEY}{action}/request".encode()
        self._outcomes = Outcomes()
        self._holds: dict[bytes, Hold | None] = {}
        self._sent: deque[_Sent] = deque()
        self._inbox_from: dict[int, int] = {}
        self._barrier: tuple[Mapping[TopicPartition, int], set[int]] | None = None

    # -- the beginning

    async def starts(self, saved: Cursors) -> dict[TopicPartition, int]:
        """From where the outputs are read: where results that are still out can be, else from their ends."""
        watched = [tp for topic in WATCHED for tp in self._reader.partitions(topic)]
        watched += self._reader.partitions(Topic.OPERATIONS)
        inbox = self._reader.partitions(Topic.INBOX)
        ends = await written_ends(self._reader, [*watched, *inbox])
        starts = {
            tp: min(end, saved.get(self._topics[tp.topic].value, {}).get(str(tp.partition), end))
            for tp, end in ends.items()
        }
        self._inbox_from = {tp.partition: starts[tp] for tp in inbox}
        return {tp: starts[tp] for tp in watched}

    async def begin(self, tail: Tail, saved: Cursors) -> None:
        """Find what was sent before and has no result yet, and read all that is there now."""
        self._tail = tail
        await self._find_out(saved)
        keys = {item.key for item in self._tracker.items if item.event is not None and item.key is not None}
        snapshots = await self._reader.snapshots(keys)
        self._holds = {key.encode(): hold_of(snapshots.get(key)) for key in keys}
        ends = await tail.ends()
        while not await tail.reached(ends):
            await self.fold(WAIT_MS)

    async def _find_out(self, saved: Cursors) -> None:
        if not self._tracker.out:
            return
        found: dict[int, tuple[How, int]] = {}
        by_id: dict[str, tuple[int, How]] = {
            event_id(self._action, self._tracker.items[number], how): (number, how)
            for number in self._tracker.out
            for how in HOWS
        }

        def take(consumed: ConsumerRecord) -> None:
            _, event, _ = name_of_event(consumed.value, {})
            if event in by_id:
                number, how = by_id[event]
                found[number] = (how, consumed.offset)

        inbox = self._reader.partitions(Topic.INBOX)
        starts = {tp: self._inbox_from[tp.partition] for tp in inbox}
        await self._reader.scan(inbox, take, starts=starts)
        group = _Sent(saved)
        for number in self._tracker.out:
            how, offset = found.get(number, ("redelivered", -1))  # what is not there any more was decided long ago
            self._outcomes.add(self._writer.flight(number, how))
            self._outcomes.located(number, offset)
            group.numbers.add(number)
        self._sent.append(group)

    # -- what comes

    async def fold(self, timeout_ms: int) -> Request | None:
        """Read what was written; what an operator wants, if anything."""
        wanted: Request | None = None
        for consumed in await self._tail.poll(timeout_ms):
            topic = self._topics[consumed.topic]
            if topic is Topic.POSITIONS:
                self._outcomes.take_position(consumed.value)
            elif topic is Topic.OPERATIONS:
                wanted = (read_request(consumed.value) if consumed.key == self._request_key else None) or wanted
                self._take_letter_record(consumed)
            elif consumed.key in self._outcomes or consumed.key in self._holds:
                self._take_output(topic, consumed)
        return wanted

    def _take_letter_record(self, consumed: ConsumerRecord) -> None:
        """What others do with letters meanwhile; what this action writes is known already."""
        if (consumed.key or b"").startswith(LETTER_KEY.encode()):
            table = ActionTable()
            table.take(consumed.key, consumed.value)
            for record in table.letters.values():
                if record.action != self._action:
                    self._writer.learn(record)

    def _take_output(self, topic: Topic, consumed: ConsumerRecord) -> None:
        if topic is Topic.ORDER_STATE_CHANGES:
            self._outcomes.take_change(consumed.key, consumed.value)
        elif topic is Topic.ORDERS:
            self._outcomes.take_snapshot(consumed.key, consumed.value)
            if consumed.key in self._holds:
                self._holds[consumed.key] = hold_of(consumed.value)
        else:
            letter_id = LetterId(consumed.partition, consumed.offset)
            letter = read_letter(letter_id, consumed.key, consumed.value, tuple(consumed.headers or ()))
            if letter is not None:
                self._outcomes.take_letter(letter)

    def hold(self, key: str | None) -> Hold | None:
        """What holds an order that a letter ``failed`` is of."""
        return self._holds.get((key or "").encode())

    async def decided(self) -> list[int]:
        """What was decided, once all that was written about it has been read; each is to be settled."""
        if self._barrier is None:
            numbers = self._outcomes.decided_numbers()
            if not numbers:
                return []
            self._barrier = (await self._tail.ends(), numbers)
        ends, numbers = self._barrier
        if not await self._tail.reached(ends):
            return []
        self._barrier = None
        return sorted(numbers)

    def settle(self, number: int) -> tuple[Result, bool]:
        """The result of an item that was decided, and whether its letter stays open, because no new one says more."""
        item = self._tracker.items[number]
        result, has_letter = self._outcomes.settle((item.key or "").encode())
        for group in self._sent:
            group.numbers.discard(number)
        while self._sent and not self._sent[0].numbers:
            self._sent.popleft()
        hold = self.hold(item.key)
        if has_letter or item.event is None or hold is None or hold.failed != item.event:
            return result, False
        # it failed again; or an operator holds the order, and the event waits there
        return ("failed" if hold.by_itself else "same"), True

    # -- what goes

    def sent(self, flights: Iterable[Flight], cursors: Cursors) -> None:
        """These go into the next transaction; ``cursors`` are those before it."""
        group = _Sent(cursors)
        for flight in flights:
            self._outcomes.add(flight)
            group.numbers.add(flight.number)
        if group.numbers:
            self._sent.append(group)

    def located(self, number: int, offset: int) -> None:
        """An event lies at or before this offset of the inbox."""
        self._outcomes.located(number, offset)

    async def cursors(self) -> Cursors:
        """From here on the results of what is sent now are to be read."""
        cursors: dict[str, dict[str, int]] = {}
        for tp, position in (await self._tail.positions()).items():
            cursors.setdefault(self._topics[tp.topic].value, {})[str(tp.partition)] = position
        decided = self._outcomes.decided
        cursors[Topic.INBOX.value] = {
            str(number): max(offset, decided.get(number, 0)) for number, offset in self._inbox_from.items()
        }
        return cursors

    def oldest(self, cursors: Cursors) -> Cursors:
        """From where the results of all that is out are to be read; ``cursors`` when nothing is."""
        return self._sent[0].cursors if self._sent else cursors
