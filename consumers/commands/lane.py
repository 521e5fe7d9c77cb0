"""The command lane: commands in, calls to Digital River, outcomes out; each takes effect at most once, and in the end once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import datetime

from consumers.commands.calls import Caller, CallOptions, CallProbe
from consumers.commands.partition import CommandPartition
from consumers.commands.reader import CommandReader
from consumers.commands.topics import command_topics
from consumers.group.membership import GroupOptions, Membership, make_consumer
from consumers.lanes import utc_now
from consumers.ownership.lease import LEASE_SECONDS, steady_clock
from consumers.ownership.options import LaneOptions
from consumers.provider import Provider
from consumers.requests.breaker import Breaker
from consumers.requests.rate_limit import COMMANDS_PART, RateLimit
from producers.connection import KafkaConnection
from producers.topics import Lane, group_id
from producers.transaction import Probe


def make_command_lane(
    connection: KafkaConnection,
    *,
    prefix: str,
    partitions: int,
    incarnation: str,
    group: GroupOptions,
    provider: Provider,
    rate: float,
    calls: CallOptions | None = None,
    options: LaneOptions | None = None,
    lease_seconds: float = LEASE_SECONDS,
    breaker: Breaker | None = None,
    clock: Callable[[], datetime] = utc_now,
    probe: Probe | None = None,
    call_probe: CallProbe | None = None,
) -> Membership:
    """A member of the command lane's group, ready for ``run``.

    Args:
        connection: How to reach Kafka.
        prefix: Before every topic name and group id.
        partitions: Partition count of ``dr-commands``.
        incarnation: Unique to this process start.
        group: Session and worker name.
        provider: Digital River.
        rate: Requests a second for the whole fleet; 0 for no limit.
        calls: How commands are called.
        options: Batching of transactions.
        lease_seconds: L; a successor waits by its predecessor's.
        breaker: For tests.
        clock: UTC now.
        probe: For fault-injection tests: points of a transaction.
        call_probe: For fault-injection tests: points of a call.
    """
    name = group_id(prefix, Lane.COMMANDS)
    topics = command_topics(prefix)
    consumer, assignor = make_consumer(connection, name, group)
    reader = CommandReader(connection)
    lane_options = options or LaneOptions(heartbeat_seconds=group.heartbeat_interval_ms / 1000)
    call_options = calls or CallOptions()

    def share() -> float:
        """The part of the fleet's rate that this process' partitions stand for; the rest is for reads."""
        return COMMANDS_PART * len(membership.owned) / partitions

    caller = Caller(
        provider,
        options=call_options,
        breaker=breaker or Breaker(),
        rate=RateLimit(rate, share),
        slots=asyncio.Semaphore(call_options.concurrency),
        clock=steady_clock,
        sleep=asyncio.sleep,
        jitter=random.random,
        probe=call_probe,
    )

    def make_partition(number: int) -> CommandPartition:
        return CommandPartition(
            number,
            group=name,
            topics=topics,
            options=lane_options,
            connection=connection,
            consumer=consumer,
            reader=reader,
            incarnation=incarnation,
            caller=caller,
            lease_seconds=lease_seconds,
            clock=clock,
            probe=probe,
        )

    membership = Membership(
        connection=connection,
        group=name,
        topics=[topics.commands],
        consumer=consumer,
        assignor=assignor,
        make_partition=make_partition,
        reader=reader,
    )
    return membership
