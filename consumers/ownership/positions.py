"""The position record: how far the last committed transaction of a partition had read, its number, and what it decided.

It is written in every transaction, into ``orderflow.positions[p]``, and has three uses:
- checksum: its offsets equal the group's committed offsets, or the partition does not start;
- proof: ``transaction`` and ``incarnation`` show a worker that lost its producer whether its store is still current;
- history: a replay decides the same records again, in the same order, at the same times.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

import msgspec

from statemachine.errors import ConfigError, UnreadableTable


class Run(msgspec.Struct, frozen=True, array_like=True):
    """Records of one input that were decided one after the other, before records of another input.

    ``first`` and ``last`` are their offsets, inclusive; transaction markers and aborted records may lie between.
    """

    #: The contract's name.
    topic: str
    first: int
    last: int


class DecisionHistory(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a transaction decided, as exactly as a replay needs it to decide the same again."""

    #: The time of every decision of the transaction.
    decided_at: datetime
    #: The version of orderflow.
    code: str
    #: The version of tables and snapshots.
    definition: int
    #: A digest of the policy: waits and limits.
    policy: str
    #: What was read, in the order in which it was decided.
    runs: tuple[Run, ...] = ()
    #: After the records the deadlines that were due until then fired; None: none fired.
    fire_until: datetime | None = None
    #: The orders whose deadlines fired, in this order.
    fired: tuple[str, ...] = ()


class PositionRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One committed transaction of a partition."""

    partition: int
    #: Partition count N that all input topics, ``orders`` and ``orderflow.positions`` had when it was written.
    partitions: int
    #: Number of transactions committed for this partition, this one included.
    transaction: int
    #: Which process wrote it; new at every process start.
    incarnation: str
    #: Next offset to read, by input topic (contract names).
    next_offsets: dict[str, int]
    #: Without runs for a transaction that decided nothing; None for one that repaired the offsets, and from older versions.
    history: DecisionHistory | None = None


_decoder = msgspec.json.Decoder(PositionRecord)
_encoder = msgspec.json.Encoder()


def encode_position(record: PositionRecord) -> bytes:
    """The record's value in ``orderflow.positions``."""
    return _encoder.encode(record)


def decode_position(value: bytes, topic: str, partition: int) -> PositionRecord:
    """Read the newest value of a partition of ``orderflow.positions``.

    Raises:
        UnreadableTable: Not a position record.
    """
    try:
        return _decoder.decode(value)
    except msgspec.DecodeError:
        raise UnreadableTable(
            f"the position record of partition {partition} in {topic} cannot be read; "
            f"orderflow partitions accept {partition} --use committed --reason TEXT writes a new one"
        ) from None


class Freshness(Enum):
    """How a store compares with the newest position record."""

    #: The store holds exactly what that transaction left.
    CURRENT = "current"
    #: The transaction in doubt has committed: with its changes the store is current.
    ONE_BEHIND = "one_behind"
    #: Somebody else has written since: the store must be restored.
    STALE = "stale"


def freshness(
    found: PositionRecord | None, known: PositionRecord | None, *, incarnation: str, in_doubt: int | None
) -> Freshness:
    """Compare a store with the newest position record, read to the high watermark after an init.

    Args:
        found: The newest record in the topic.
        known: The record that the store corresponds to.
        incarnation: Ours.
        in_doubt: The transaction count of ours whose commit was not confirmed, if there is one.
    """
    if found == known:
        return Freshness.CURRENT
    base = 0 if known is None else known.transaction
    if found is not None and found.incarnation == incarnation and found.transaction == base + 1 == in_doubt:
        return Freshness.ONE_BEHIND
    return Freshness.STALE


def same_offsets(record: PositionRecord | None, committed: Mapping[str, int | None]) -> bool:
    """Whether the record and the group's committed offsets, by contract topic, are equal."""
    if record is None:
        return all(offset is None for offset in committed.values())
    return dict(committed) == dict(record.next_offsets)


def other_partition_count(partition: int, written: int, partitions: int) -> ConfigError:
    """The error for topics that have ``partitions`` partitions although the last position record has ``written``."""
    return ConfigError(
        f"partition {partition} was last written with {written} partitions, the topics have {partitions}: "
        "orders would change their partition; drain the old topics into new ones instead"
    )
