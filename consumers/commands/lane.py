"""The command lane: commands in, calls to Digital River, outcomes out; each takes effect at most once, and in the end once."""

from __future__ import annotations

import asyncio
import random

from aiokafka import AIOKafkaConsumer

from consumers.commands.calls import Caller, CallOptions, CallProbe
from consumers.commands.partition import CommandPartition
from consumers.commands.reader import CommandReader, command_topics
from consumers.group.membership import Membership
from consumers.lanes import LaneContext
from consumers.ownership.lease import LEASE_SECONDS
from consumers.provider import Provider
from consumers.requests.breaker import Breaker
from consumers.requests.rate_limit import COMMANDS_PART, RateLimit
from producers.topics import Lane


def make_command_lane(
    context: LaneContext,
    *,
    provider: Provider,
    rate: float,
    calls: CallOptions | None = None,
    lease_seconds: float = LEASE_SECONDS,
    breaker: Breaker | None = None,
    call_probe: CallProbe | None = None,
) -> Membership:
    """A member of the command lane's group, ready for ``run``.

    Args:
        context: What every lane is made with; its partition count is that of ``dr-commands``.
        provider: Digital River.
        rate: Requests a second for the whole fleet; 0 for no limit.
        calls: How commands are called.
        lease_seconds: L; a successor waits for its predecessor's.
        breaker: For tests.
        call_probe: For fault-injection tests: points of a call.
    """
    topics = command_topics(context.prefix)
    reader = CommandReader(context.connection)
    call_options = calls or CallOptions()

    def rate_share() -> float:
        """The part of the fleet's rate that this process' partitions stand for; the rest is for reads."""
        return COMMANDS_PART * len(membership.owned) / context.partitions

    caller = Caller(
        provider,
        options=call_options,
        breaker=breaker or Breaker(),
        rate=RateLimit(rate, rate_share),
        slots=asyncio.Semaphore(call_options.concurrency),
        clock=context.steady,
        sleep=asyncio.sleep,
        jitter=random.random,
        probe=call_probe,
        measures=context.measures,
        tracing=context.tracing,
    )

    def make_partition(number: int, consumer: AIOKafkaConsumer) -> CommandPartition:
        return CommandPartition(
            number,
            group=context.group_name(Lane.COMMANDS),
            topics=topics,
            options=context.options,
            connection=context.connection,
            consumer=consumer,
            reader=reader,
            incarnation=context.incarnation,
            caller=caller,
            lease_seconds=lease_seconds,
            clock=context.clock,
            probe=context.probe,
            pauses=context.pauses.of(Lane.COMMANDS, number),
        )

    membership = context.make_member(Lane.COMMANDS, [topics.commands], reader, make_partition)
    return membership
