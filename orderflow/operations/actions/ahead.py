"""The records that an action brings back, read some time before they are sent."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka import ConsumerRecord

from orderflow.operations.actions.reading import TopicReader
from orderflow.operations.actions.records import Item
from orderflow.operations.actions.tracker import Tracker
from orderflow.operations.letters.letter import LetterId, first_received, read_letter
from producers.topics import Topic
from statemachine.messages.envelope import Record

#: Items and bytes that are read at a time, at most.
_ITEMS_MAX, _BYTES_MAX = 1000, 32 * 1024 * 1024


class RecordsAhead:
    """Records by the numbers of their items."""

    def __init__(self, reader: TopicReader, items: Sequence[Item]) -> None:
        self._reader = reader
        self._items = items
        #: None: Kafka does not have it any more.
        self._found: dict[int, ConsumerRecord | None] = {}

    def __contains__(self, number: object) -> bool:
        return number in self._found

    async def read(self, tracker: Tracker) -> None:
        """Have at least the record of the next item.

        Raises:
            BrokerUnavailable: Kafka does not answer.
        """
        first = tracker.next_waiting()
        if first is None or first in self._found:
            return
        items = self._items
        wanted = {
            (items[number].partition, items[number].offset): number
            for number in range(first, min(first + _ITEMS_MAX, len(items)))
            if tracker.waiting(number) and number not in self._found
        }
        source = Topic.DEAD_LETTERS if items[first].reason else Topic(items[first].topic)
        found = await self._reader.records(source, wanted.keys(), bytes_max=_BYTES_MAX)
        for place, record in found.items():
            self._found[wanted[place]] = record
        self._found.setdefault(first, None)

    def pop(self, number: int) -> Record | None:
        """The record as it first came in; None when Kafka does not have it any more. It is forgotten here."""
        item, consumed = self._items[number], self._found.pop(number)
        if consumed is None:
            return None
        headers = tuple(consumed.headers or ())
        if not item.reason:
            return Record(item.topic, consumed.partition, consumed.offset, consumed.key, consumed.value, headers)
        letter_id = LetterId(consumed.partition, consumed.offset)
        letter = read_letter(letter_id, consumed.key, consumed.value, headers)
        return None if letter is None else first_received(letter, consumed.key, consumed.value, headers)
