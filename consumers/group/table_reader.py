"""Reading a topic from outside the lanes, as a table or as one key's history: what operators' commands need.

Unlike a restore it stops at the last stable offset, so that a frozen worker's open transaction does not delay an operator.
"""

from __future__ import annotations

from collections.abc import Callable

from consumers.group.scanning import Part, ReadRecord, scan
from producers.connection import KafkaConnection
from producers.partitioner import partition_of
from producers.topic_setup import read_topics
from producers.topics import Topic, prefixed
from statemachine.errors import ConfigError


async def read_table(
    connection: KafkaConnection, prefix: str, topic: Topic, *, key: str | None = None
) -> dict[str, bytes]:
    """The newest committed value of each key in key order, as they were when reading began.

    Args:
        connection: How to reach Kafka.
        prefix: Before every topic name.
        topic: A compacted topic.
        key: Read only this key, from the one partition where it hashes to.

    Raises:
        ConfigError: The topic does not exist.
        BrokerUnavailable: Kafka cannot be reached or does not answer.
    """
    table: dict[str, bytes] = {}

    def take(row: str, value: bytes | None) -> None:
        if value is None:
            table.pop(row, None)
        else:
            table[row] = value

    await _read(connection, prefix, topic, key, take)
    return dict(sorted(table.items()))


async def read_history(connection: KafkaConnection, prefix: str, topic: Topic, *, key: str) -> list[bytes]:
    """The committed values of one key that the topic still has, the oldest first, as they were when reading began.

    Raises:
        ConfigError: The topic does not exist.
        BrokerUnavailable: Kafka cannot be reached or does not answer.
    """
    history: list[bytes] = []

    def take(_: str, value: bytes | None) -> None:
        if value is not None:
            history.append(value)

    await _read(connection, prefix, topic, key, take)
    return history


async def _read(
    connection: KafkaConnection, prefix: str, topic: Topic, key: str | None, take: Callable[[str, bytes | None], None]
) -> None:
    """Give each record of ``key``, or of all keys, to ``take``."""
    name = prefixed(prefix, topic)
    state = (await read_topics(connection, prefix)).get(topic)
    if state is None:
        raise ConfigError(f"topic {name} does not exist; run `orderflow topics create`")
    numbers = range(state.partitions) if key is None else [partition_of(key.encode(), state.partitions)]

    def take_mine(_: Topic, record: ReadRecord) -> None:
        row = (record.key or b"").decode(errors="replace")
        if key is None or row == key:
            take(row, record.value)

    await scan(connection, prefix, [Part(topic, number) for number in numbers], take_mine)
