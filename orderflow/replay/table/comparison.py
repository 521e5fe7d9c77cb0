"""``orderflow replay compare``: what differs between the live table of orders and one that was rebuilt."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec
from aiokafka import TopicPartition

from consumers.group.table_reader import read_table
from consumers.ownership.changelog import OffsetReader
from orderflow.replay.table.rebuilding import rebuild_group
from producers.connection import KafkaConnection
from producers.partitioner import partition_of
from producers.topics import Topic, prefixed


class TableDifference(msgspec.Struct, frozen=True):
    """One order that is not the same in both tables."""

    order_id: str
    #: ``moved``: the live order has moved on since the rebuild.
    kind: Literal["differs", "only_live", "only_rebuilt", "moved", "unreadable"]
    #: Members of the snapshot that differ.
    members: tuple[str, ...] = ()


class TableComparison(msgspec.Struct, frozen=True):
    """Both tables side by side."""

    same: int
    differences: tuple[TableDifference, ...]

    @property
    def differ(self) -> int:
        """Orders that the rebuild does not explain."""
        return sum(one.kind != "moved" for one in self.differences)


class _Dated(msgspec.Struct):
    updated: datetime


_dated = msgspec.json.Decoder(_Dated)


async def compare_tables(connection: KafkaConnection, prefix: str, into: str, partitions: int) -> TableComparison:
    """Compare each order byte for byte.

    Raises:
        ConfigError: A topic does not exist.
        BrokerUnavailable: Kafka cannot be reached.
    """
    rebuilt = await read_table(connection, into, Topic.ORDERS)
    live = await read_table(connection, prefix, Topic.ORDERS)
    reached = await _reached(connection, prefix, into, partitions)
    return compared(live, rebuilt, {name: reached[partition_of(name.encode(), partitions)] for name in live})


def compared(
    live: Mapping[str, bytes], rebuilt: Mapping[str, bytes], reached: Mapping[str, datetime | None]
) -> TableComparison:
    """The differences by order id; ``reached``: to which time the rebuild has decided, by live order."""
    same, found = 0, []
    for name in sorted({*live, *rebuilt}):
        old, new = live.get(name), rebuilt.get(name)
        if old == new or _same_but_trace(old, new):
            same += 1
        elif old is None:
            found.append(TableDifference(name, "only_rebuilt"))
        else:
            found.append(_difference(name, old, new, reached[name]))
    return TableComparison(same, tuple(found))


def _same_but_trace(old: bytes | None, new: bytes | None) -> bool:
    """Whether only the trace context differs: a rebuild makes no spans."""
    if old is None or new is None:
        return False
    try:
        was, now = msgspec.json.decode(old), msgspec.json.decode(new)
        for snapshot in (was, now):
            snapshot["internal"].pop("trace", None)
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError):  # something else than a snapshot
        return False
    return bool(was == now)


def _difference(name: str, old: bytes, new: bytes | None, reached: datetime | None) -> TableDifference:
    try:
        updated = _dated.decode(old).updated
        was: dict[str, Any] = msgspec.json.decode(old)
        now: dict[str, Any] = {} if new is None else msgspec.json.decode(new)
    except msgspec.DecodeError:
        return TableDifference(name, "unreadable")
    if reached is None or updated > reached:
        return TableDifference(name, "moved")
    if new is None:
        return TableDifference(name, "only_live")
    members = tuple(member for member in dict.fromkeys((*was, *now)) if was.get(member) != now.get(member))
    return TableDifference(name, "differs", members)


async def _reached(connection: KafkaConnection, prefix: str, into: str, partitions: int) -> dict[int, datetime | None]:
    """To which time the history of each partition was decided."""
    reader, found = OffsetReader(connection), dict[int, datetime | None]()
    try:
        for number in range(partitions):
            place = TopicPartition(prefixed(prefix, Topic.POSITIONS), number)
            committed = await reader.committed(rebuild_group(into), place)
            found[number] = datetime.fromisoformat(committed[1]) if committed is not None and committed[1] else None
    finally:
        await reader.close()
    return found
