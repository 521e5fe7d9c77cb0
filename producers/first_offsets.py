"""The first committed offsets of the command lane, in new topics.

They may never be guessed: when a partition has commands but no offset, the commands may all have been carried out. So the offset
is committed before the first command is written, with metadata saying that nothing was called before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownMemberIdError,
)

from producers.connection import KafkaConnection, describe, start_client, unreachable, within
from producers.topics import Lane, Topic, group_id, prefixed
from statemachine.errors import BrokerUnavailable, ConfigError

#: Metadata of an offset before which no command was ever called.
NO_EARLIER_CALL: Final = "nothing was called before this offset"
#: A new cluster creates its offsets topic when the first group needs it, which takes seconds.
_FIRST_GROUP_SECONDS: Final = 60.0


async def commit_first_offsets(connection: KafkaConnection, prefix: str, partitions: int) -> list[int]:
    """Commit the command lane's offset for every empty partition of ``dr-commands`` that has none; returns which.

    Safe to repeat. A partition with records and no offset is left as it is: a person decides (``orderflow partitions accept``).

    Raises:
        ConfigError: A right is missing.
        BrokerUnavailable: Kafka did not answer within the limit.
    """
    group, topic = group_id(prefix, Lane.COMMANDS), prefixed(prefix, Topic.DR_COMMANDS)
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    consumer = AIOKafkaConsumer(
        **connection.client_options(), group_id=group, enable_auto_commit=False, auto_offset_reset="none"
    )
    limit = connection.limits.operation_seconds
    try:
        await within(limit, start_client(consumer), "the start of a consumer")
        seconds = max(limit, _FIRST_GROUP_SECONDS)
        return await within(seconds, _commit(consumer, tps), f"writing the first offsets of group {group}")
    except (GroupAuthorizationFailedError, TopicAuthorizationFailedError) as error:
        raise ConfigError(
            f"the first offsets of group {group} were not written, and the command lane does not start without them: grant "
            f"Read on the group and on {topic}, then run this again"
        ) from error
    except KafkaConnectionError as error:
        raise await unreachable(connection) from error
    except KafkaError as error:
        raise BrokerUnavailable(f"the first offsets of group {group} were not written: {describe(error)}") from error
    finally:
        with suppress(BrokerUnavailable, KafkaError):
            await within(connection.limits.stop_seconds, consumer.stop(), "closing a client")


async def _commit(consumer: AIOKafkaConsumer, tps: list[TopicPartition]) -> list[int]:
    consumer.assign(tps)
    while True:
        try:
            missing = await _without_offset(consumer, tps)
            if missing:
                await consumer.commit({tp: (offset, NO_EARLIER_CALL) for tp, offset in missing.items()})
            return sorted(tp.partition for tp in missing)
        except (CommitFailedError, UnknownMemberIdError):
            return []  # the lane is running and commits them itself
        except KafkaError as error:
            if not error.retriable:
                raise
            await asyncio.sleep(0.1)  # the topic was just created and is not known to all brokers


async def _without_offset(consumer: AIOKafkaConsumer, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """The empty partitions without a committed offset, and where they begin."""
    missing = [tp for tp in tps if await consumer.committed(tp) is None]
    if not missing:
        return {}
    begins, ends = await consumer.beginning_offsets(missing), await consumer.end_offsets(missing)
    return {tp: begins[tp] for tp in missing if begins[tp] == ends[tp]}
