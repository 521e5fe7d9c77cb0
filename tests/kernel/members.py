"""Workers of the counting lane in the test's own process, for steps that only a hand inside can cut off."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

from consumers.group.membership import Membership
from consumers.ownership.options import LaneOptions
from consumers.ownership.partition import OwnedPartition
from producers.connection import KafkaConnection, Limits
from producers.transaction import Probe
from tests.kernel.counting import make_membership
from tests.kernel.stores import open_stores


@contextlib.asynccontextmanager
async def member(
    bootstrap: str,
    prefix: str,
    partitions: int,
    name: str = "one",
    *,
    probe: Probe | None = None,
    trouble_seconds_max: float = 60.0,
    session_timeout_ms: int = 6000,
    operation_seconds: float = 6.0,
) -> AsyncIterator[Membership]:
    """A worker of the counting lane in this process."""
    with open_stores(prefix, partitions, name) as make_store:
        membership = make_membership(
            KafkaConnection(bootstrap, limits=Limits(operation_seconds=operation_seconds), request_timeout_ms=4000),
            prefix,
            partitions,
            worker=name,
            incarnation=uuid.uuid4().hex,
            make_store=make_store,
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=300,
            options=LaneOptions(
                heartbeat_seconds=0.3,
                position_wait_seconds=1.0,
                trouble_seconds_max=trouble_seconds_max,
                backoff_seconds_max=0.5,
            ),
            probe=probe,
        )
        stop = asyncio.Event()
        running = asyncio.create_task(membership.run(stop))
        try:
            yield membership
        finally:
            stop.set()
            await running


def part(membership: Membership, number: int) -> OwnedPartition:
    """A partition of the counting lane."""
    found = membership.partitions[number]
    assert isinstance(found, OwnedPartition)
    return found


async def send_unreadable(bootstrap: str, topic: str, partition: int) -> None:
    """A batch that breaks the client library: a header name in it is not valid UTF-8."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as writer:
        batch = writer.create_batch()
        batch.append(timestamp=None, key=b"k", value=b"{}", headers=[("xy", b"")])
        broken = bytes(batch._build()).replace(b"\x04xy", b"\x04\xff\xfe")
        builder = writer.create_batch()
        builder.append(timestamp=None, key=b"k", value=b"{}")
        builder.close()
        crc = calc_crc32c(broken[21:])
        builder._buffer = broken[:17] + crc.to_bytes(4, "big") + broken[21:]
        await (await writer.send_batch(builder, topic, partition=partition))
