"""Orders by an id: first the snapshots and the index, and only where they have none the events."""

from __future__ import annotations

from typing import Final

from consumers.group.scanning import ReadRecord
from orderflow.inspection.matching import Match, Matcher, in_order
from orderflow.inspection.reading import TopicReader
from producers.topics import ORDER_INPUTS, Topic

#: Compacted topics: of each key the newest record counts.
_TABLES: Final = (Topic.ORDERS, Topic.INDEX)


async def find(reader: TopicReader, text: str) -> list[Match]:
    """The ids that are ``text`` or begin with it, whole ids first; of every order that the topics have.

    Raises:
        BrokerUnavailable: Kafka cannot be reached or does not answer.
    """
    matcher = Matcher(text)
    found: dict[tuple[Topic, bytes], list[Match]] = {}

    def take(topic: Topic, record: ReadRecord) -> None:
        key = record.key or b""
        matches: list[Match] = []
        if record.value is not None:
            name = key.decode(errors="replace")
            searched = matcher.in_snapshot if topic == Topic.ORDERS else matcher.in_index
            matches = list(searched(name, record.value))
        if matches:
            found[topic, key] = matches
        else:
            found.pop((topic, key), None)

    await reader.scan([part for topic in _TABLES for part in reader.all_parts(topic)], take)
    if found:
        return in_order([match for matches in found.values() for match in matches], text)
    return await _find_event(reader, matcher, text)


async def _find_event(reader: TopicReader, matcher: Matcher, text: str) -> list[Match]:
    matches: list[Match] = []

    def take(_: Topic, record: ReadRecord) -> None:
        matches.extend(matcher.in_event(record.key, record.value, tuple(record.headers or ())))

    await reader.scan([part for topic in ORDER_INPUTS for part in reader.all_parts(topic)], take)
    return in_order(matches, text)
