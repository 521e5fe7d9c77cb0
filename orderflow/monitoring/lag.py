"""How far lanes are behind: the records that are not done, and the age of the oldest of them.

Counted by reading, never guessed: ends of transactions and aborted records take offsets and are no records. Where there is more
than is read, ``exact`` is false, and the records are at most so many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from aiokafka import TopicPartition

from consumers.commands.progress import read_progress
from consumers.group.fleet_view import Place, Unfinished, Unread, read_places, read_unread
from consumers.requests.progress import read_request_progress
from producers.connection import KafkaConnection
from producers.topics import Lane

#: A partition number of a lane.
Part = tuple[Lane, int]
#: A committed offset with its metadata.
Committed = tuple[int, str]


class Lag(NamedTuple):
    """How far one partition of a lane is behind, over all its inputs."""

    records: int
    #: False: ``records`` is the most that there can be.
    exact: bool
    #: When the oldest record that is not done was written, in seconds since 1970, of those that can be read and were looked at;
    #: None when there is none.
    oldest: float | None

    def seconds(self, now: float) -> float | None:
        """Its age; 0.0 when nothing is behind, None when it is not known."""
        if self.oldest is not None:
            return max(0.0, now - self.oldest)
        return 0.0 if not self.records else None


async def read_lags(
    connection: KafkaConnection,
    inputs: Mapping[Part, Iterable[TopicPartition]],
    committed: Mapping[TopicPartition, Committed],
    *,
    records_max: int,
) -> dict[Part, Lag]:
    """The lag of each of these partitions; ``inputs`` are theirs, and ``records_max`` how many records of each input are read.

    Raises:
        BrokerUnavailable: Kafka cannot be reached, refuses, or does not answer.
    """
    given = {part: tuple(tps) for part, tps in inputs.items()}
    places = await read_places(connection, [tp for tps in given.values() for tp in tps])
    wanted = {tp: unfinished(part[0], committed.get(tp), places[tp]) for part, tps in given.items() for tp in tps}
    unread = await read_unread(connection, wanted, records_max=records_max)
    return {part: _sum([unread[tp] for tp in tps]) for part, tps in given.items()}


def _sum(inputs: Iterable[Unread]) -> Lag:
    found = list(inputs)
    oldest = min((one.oldest for one in found if one.oldest is not None), default=None)
    return Lag(sum(one.records for one in found), all(one.exact for one in found), oldest)


def unfinished(lane: Lane, committed: Committed | None, place: Place) -> Unfinished:
    """What one input of a lane has that is not done."""
    end = place.end
    if committed is None:
        return _from(place.begin, end)
    offset, metadata = committed
    start = max(offset, place.begin)
    if lane is Lane.COMMANDS:
        done = frozenset(read_progress(offset, metadata).done)
        return Unfinished(start, end, done.__contains__, lambda at: end - at - sum(at <= one < end for one in done))
    if lane in (Lane.WEBHOOKS, Lane.CATALOGUE) and (found := read_request_progress(offset, metadata)) is not None:
        pending, read_to = found.pending, found.read_to
        return Unfinished(
            start,
            end,
            lambda at: at < read_to and at not in pending,
            lambda at: sum(at <= one < read_to for one in pending) + max(0, end - max(read_to, at)),
        )
    return _from(start, end)


def _from(start: int, end: int) -> Unfinished:
    return Unfinished(start, end, lambda _at: False, lambda at: end - at)
