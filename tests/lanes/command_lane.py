"""The command lane on Apache Kafka as several tests use it: its topics, a member, commands, and what took effect."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from consumers.commands.calls import CallOptions
from consumers.commands.lane import make_command_lane
from consumers.commands.partition import CommandPartition
from consumers.group.membership import Membership
from consumers.lanes import LaneContext
from consumers.ownership.options import LaneOptions
from consumers.requests.breaker import Breaker
from producers.connection import KafkaConnection, Limits
from producers.encoding import encode_command
from producers.topics import Topic, prefixed
from statemachine.messages.commands import DeleteCheckout
from statemachine.messages.ids import CheckoutId, CommandId, OrderId
from tests.lanes.kafka import group_options, make_topics, write
from tests.lanes.river import FileRiver

PARTITIONS = 4
#: Longer than any of these tests may take: who waits for them has failed.
LEASE, HTTP = 5.0, 60.0


def commands_member(
    bootstrap: str,
    prefix: str,
    river: FileRiver,
    worker: str = "one",
    *,
    http: float = HTTP,
    lease: float = LEASE,
    options: LaneOptions | None = None,
) -> Membership:
    """A member of the command lane."""
    context = LaneContext(
        KafkaConnection(bootstrap, limits=Limits(operation_seconds=5.0), request_timeout_ms=5000),
        prefix=prefix,
        partitions=PARTITIONS,
        incarnation=uuid.uuid4().hex,
        group=group_options(worker),
        lane_options=options,
    )
    return make_command_lane(
        context,
        provider=river,
        rate=0,
        calls=CallOptions(http_timeout_seconds=http, settle_seconds=1.0, backoff_seconds=0.05),
        breaker=Breaker(pause_seconds=0.1, pause_seconds_max=0.3),
        lease_seconds=lease,
    )


async def command_topics(bootstrap: str, prefix: str) -> None:
    """The topics of the command lane."""
    counts = {
        Topic.DR_COMMANDS: PARTITIONS,
        Topic.INBOX: PARTITIONS,
        Topic.DEAD_LETTERS: 1,
        Topic.ORDER_EVENT_REFUSALS: 1,
    }
    await make_topics(bootstrap, prefix, counts)


async def ask(bootstrap: str, prefix: str, first: int, count: int) -> None:
    """Write commands ``c<first>`` and following, each for an order of its own."""
    commands = [
        DeleteCheckout(command_id=CommandId(f"c{n}"), order_id=OrderId(f"A-{n}"), checkout_id=CheckoutId("k"))
        for n in range(first, first + count)
    ]
    records = [(c.order_id.encode(), encode_command(c, time=datetime.now(UTC)), ()) for c in commands]
    await write(bootstrap, prefixed(prefix, Topic.DR_COMMANDS), records)


def effects(river: FileRiver) -> list[str]:
    """Which commands took effect."""
    return sorted(effect["command_id"] for effect in river.effects())


def ids(count: int) -> list[str]:
    """The ids of so many commands."""
    return sorted(f"c{n}" for n in range(count))


def parts(membership: Membership) -> list[CommandPartition]:
    """The partitions that a member has owned."""
    found = [part for part in membership.partitions.values() if isinstance(part, CommandPartition)]
    assert len(found) == len(membership.partitions)
    return found
