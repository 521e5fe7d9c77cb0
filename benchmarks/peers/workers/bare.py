"""A loop of our own on aiokafka: the least that exactly-once costs with it. One producer, orders in a dictionary of bytes.

It has no rebalancing, no bounds and no recovery from errors: it shows a floor, not a worker that could be run.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.peers.machine import advance

_BATCH_BYTES = 512 * 1024
#: A transaction at most this often, as the other peers' commit interval.
_INTERVAL_SECONDS = 0.1


class _Out:
    """The batches of one transaction."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._open: dict[tuple[str, int], Any] = {}
        self._sent: list[asyncio.Future[object]] = []
        self._stamp = int(time.time() * 1000)

    async def add(self, topic: str, partition: int, key: bytes, value: bytes) -> None:
        batch = self._open.get((topic, partition)) or self._producer.create_batch()
        if batch.append(timestamp=self._stamp, key=key, value=value) is None:
            self._sent.append(await self._producer.send_batch(batch, topic, partition=partition))
            batch = self._producer.create_batch()
            batch.append(timestamp=self._stamp, key=key, value=value)
        self._open[topic, partition] = batch

    async def flush(self) -> None:
        for (topic, partition), batch in self._open.items():
            self._sent.append(await self._producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*self._sent)


async def _restored(bootstrap: str, topic: str, partitions: int) -> dict[bytes, bytes]:
    """The orders as the topic has them; read to its end after the producer has ended what its predecessor left open."""
    orders: dict[bytes, bytes] = {}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", max_partition_fetch_bytes=8_000_000
    )
    await consumer.start()
    parts = [TopicPartition(topic, number) for number in range(partitions)]
    consumer.assign(parts)
    await consumer.seek_to_beginning()
    for part, end in (await consumer.end_offsets(parts)).items():
        while await consumer.position(part) < end:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                orders.update((record.key, record.value) for record in records)
    await consumer.stop()
    return orders


async def run(bootstrap: str, prefix: str, partitions: int) -> None:
    """Restore, then read, decide and write until the process is ended."""
    group, entry = f"{prefix}bare", f"{prefix}orders.in"
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=group, compression_type="lz4", max_batch_size=_BATCH_BYTES
    )
    await producer.start()
    orders = await _restored(bootstrap, f"{prefix}state", partitions)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=1_200_000,
    )
    await consumer.start()
    consumer.assign([TopicPartition(entry, number) for number in range(partitions)])
    while True:
        began = time.monotonic()
        fetched = await consumer.getmany(timeout_ms=50, max_records=4000)
        if not fetched:
            continue
        await producer.begin_transaction()
        out, offsets = _Out(producer), {}
        for part, records in fetched.items():
            for record in records:
                step = advance(orders.get(record.key), record.value)
                if step is not None:
                    orders[record.key] = step.order
                    await out.add(f"{prefix}state", part.partition, record.key, step.order)
                    await out.add(f"{prefix}changes", part.partition, record.key, step.change)
                    if step.command is not None:
                        await out.add(f"{prefix}commands", part.partition, record.key, step.command)
            offsets[part] = records[-1].offset + 1
        await out.flush()
        await producer.send_offsets_to_transaction(offsets, group)
        await producer.commit_transaction()
        if sum(map(len, fetched.values())) < 1000:
            await asyncio.sleep(max(0.0, began + _INTERVAL_SECONDS - time.monotonic()))


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
