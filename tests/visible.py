"""Committed records, and how far they reach once what is being committed can be read.

Apache Kafka answers a commit before it has written the markers that make the transaction's records
visible (KIP-98, "EndTxnRequest"), so a reader that starts right after a commit may find nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition


async def visible_ends(
    consumer: AIOKafkaConsumer, bootstrap: str, partitions: Sequence[TopicPartition], *, seconds: float = 5.0
) -> dict[TopicPartition, int]:
    """The ends of partitions for a read_committed ``consumer``.

    Waits until they pass all that lies there now, at most ``seconds``: a transaction that stays open holds them back.
    """
    anyone = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await anyone.start()
    try:
        written: dict[TopicPartition, int] = await anyone.end_offsets(partitions)
    finally:
        await anyone.stop()
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while True:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        if loop.time() > until or all(ends[tp] >= written[tp] for tp in partitions):
            return ends
        await asyncio.sleep(0.02)


async def committed_records(bootstrap: str, topic: str, partitions: int) -> list[tuple[str, bytes]]:
    """All committed records of a topic, key and value, in order per partition."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest", group_id=None
    )
    await consumer.start()
    found: list[tuple[str, bytes]] = []
    try:
        tps = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(tps)
        ends = await visible_ends(consumer, bootstrap, tps)
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found.extend(((record.key or b"").decode(), record.value) for record in records)
    finally:
        await consumer.stop()
    return found
