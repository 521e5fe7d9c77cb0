"""Records of the input topics as lines of an events file, which ``orderflow events send`` writes again byte for byte."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from consumers.group.scanning import ReadRecord, Window
from orderflow.event_lines import line_of
from orderflow.inspection.reading import TopicReader
from producers.topics import Topic
from statemachine.messages.envelope import Record


class ExportedLine(NamedTuple):
    """A line, and by what lines are sorted: the record's time, then where it lies."""

    time_ms: int
    place: tuple[str, int, int]
    line: dict[str, object]


async def export_lines(
    reader: TopicReader,
    topics: Sequence[Topic],
    *,
    keys: Collection[bytes] = (),
    begin: datetime | None = None,
    end: datetime | None = None,
) -> list[dict[str, object]]:
    """The lines of the committed records, by the times of the records; those of a partition keep their order.

    All of them are held in memory. Every partition is read, because a sender may have chosen another one than Kafka's Java
    client would.

    Args:
        reader: Reads the topics.
        topics: Those that are exported; they exist.
        keys: Only records with one of these keys; none for all.
        begin: Only records from this time on.
        end: Only records before this time.

    Raises:
        ConfigError: A topic does not exist.
        BrokerUnavailable: Kafka cannot be reached or does not answer.
    """
    found: list[ExportedLine] = []
    wanted, last = frozenset(keys), dict[tuple[str, int], int]()
    from_ms, until_ms = _milliseconds(begin), _milliseconds(end)

    def take(topic: Topic, read: ReadRecord) -> None:
        # Clocks of senders differ; a later record of a partition is never sorted before an earlier one.
        place = (topic.value, read.partition)
        time_ms = last[place] = max(read.timestamp, last.get(place, 0))
        if wanted and read.key not in wanted:
            return
        if (from_ms is not None and read.timestamp < from_ms) or (until_ms is not None and read.timestamp >= until_ms):
            return
        record = Record(topic.value, read.partition, read.offset, read.key, read.value, tuple(read.headers or ()))
        found.append(ExportedLine(time_ms, (*place, read.offset), line_of(record)))

    parts = []
    for topic in topics:
        reader.partitions(topic)
        parts += reader.all_parts(topic)
    window = Window(from_ms, until_ms)
    await reader.scan(parts, take, windows=dict.fromkeys(parts, window))
    return [one.line for one in sorted(found, key=lambda one: one[:2])]


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
