"""Repair of a partition of commands whose committed offset is missing, or at records that Kafka has deleted.

It is unknown which of its commands were carried out, so an operator decides where the lane continues. At the end: nothing is
carried out again, and an order that still waits for a command retries by itself. From the beginning: every command is looked up,
and called if its effect is not found. The init fences an owner that still works on the partition.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from aiokafka import TopicPartition

from consumers.commands.reader import CommandReader, command_topics
from producers.connection import KafkaConnection
from producers.outbox import Outbox
from producers.topics import Lane, group_id
from producers.transaction import TransactionalProducer
from statemachine.errors import ConfigError

CommandOffsetUse = Literal["end", "beginning"]

#: Letters of the reason that are kept beside the offset.
_REASON_MAX = 1000


class CommandOffsetRepair(msgspec.Struct, frozen=True):
    """The offset that is committed, and the one that the repair would commit."""

    topic: str
    #: None: the group has no offset.
    committed: int | None
    #: The first offset that Kafka has, and the one after the last.
    available: tuple[int, int]
    #: The offset to continue at.
    accepted: int
    applied: bool


async def repair_command_offset(
    connection: KafkaConnection,
    prefix: str,
    number: int,
    *,
    partitions: int,
    use: CommandOffsetUse,
    reason: str,
    apply: bool,
    timestamp_ms: int,
) -> CommandOffsetRepair:
    """Show, or with ``apply`` commit, the offset at which the command lane continues.

    Raises:
        ConfigError: There is no such partition.
        BrokerError: Kafka did not answer or refused; nothing is half done.
    """
    if not 0 <= number < partitions:
        raise ConfigError(f"there is no partition {number}: the topic has 0 to {partitions - 1}")
    group, topics = group_id(prefix, Lane.COMMANDS), command_topics(prefix)
    partition = TopicPartition(topics.commands, number)
    producer = TransactionalProducer(connection, group=group, partition=number, topics=())
    reader = CommandReader(connection)
    try:
        if apply:
            await producer.start()  # before anything is read, as every owner does
        found = await reader.progress(group, partition)
        begin = (await reader.beginnings([partition]))[partition]
        end = (await reader.ends([partition]))[partition]
        accepted = end if use == "end" else begin
        if apply:
            # Metadata that no worker writes: the next owner knows nothing of earlier calls, and waits and looks up.
            offsets = {partition: (accepted, f"accepted: {reason[:_REASON_MAX]}")}
            await producer.transact(
                Outbox(producer.counts, home=number, home_count=0), offsets, timestamp_ms=timestamp_ms
            )
        committed = None if found is None else found.offset
        return CommandOffsetRepair(topics.commands, committed, (begin, end), accepted, applied=apply)
    finally:
        await producer.close()
        await reader.close()
