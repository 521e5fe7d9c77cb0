"""The command lane's topics, and where a partition of them may begin."""

from __future__ import annotations

from typing import NamedTuple

from aiokafka import TopicPartition

from consumers.commands.progress import Progress
from producers.outbox import OutboundRecord
from producers.topics import Topic, prefixed
from statemachine.errors import PositionGap


class CommandTopics(NamedTuple):
    """The lane's topics, by their full names."""

    commands: str
    inbox: str
    letters: str


def command_topics(prefix: str) -> CommandTopics:
    """The lane's topics under a prefix."""
    return CommandTopics(*(prefixed(prefix, topic) for topic in (Topic.DR_COMMANDS, Topic.INBOX, Topic.DEAD_LETTERS)))


class Finished(NamedTuple):
    """What a command left behind, waiting for its transaction."""

    offset: int
    topic: str
    record: OutboundRecord


def check_offset(partition: TopicPartition, found: Progress | None, begin: int, end: int) -> None:
    """The committed offset (None: there is none) beside what Kafka has.

    Raises:
        PositionGap: Going on there would lose commands, or carry out again what was carried out.
    """
    number = partition.partition
    repair = f"orderflow partitions accept {number} --lane commands --use end|beginning --reason TEXT"
    if found is None:
        if begin < end:
            raise PositionGap(
                f"partition {number} stopped: the group has no committed offset for {partition.topic}, which has {begin} to "
                f"{end}, so nobody knows which commands were carried out; they are not carried out again. Repair: {repair}"
            )
    elif not begin <= found.offset <= end:
        raise PositionGap(
            f"partition {number} of {partition.topic} should go on at offset {found.offset}, but Kafka has "
            f"{begin} to {end}: commands were deleted unread, or the topic was made anew. Repair: {repair}"
        )
