"""An embedded Kafka in a thread of its own, as a server beside the commands of a test, and what it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from orderflow.embedded_kafka import EmbeddedKafka
from tests.cli.in_thread import in_thread


def kafka_in_thread() -> AbstractContextManager[tuple[EmbeddedKafka, asyncio.AbstractEventLoop]]:
    """The broker, and the event loop that it runs in, while the context lasts."""
    return in_thread(EmbeddedKafka)


def read_topics(bootstrap: str, topics: Sequence[str], partitions: int) -> list[ConsumerRecord]:
    """All records of topics, each with so many partitions."""

    async def work() -> list[ConsumerRecord]:
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
        await consumer.start()
        try:
            places = [TopicPartition(topic, number) for topic in topics for number in range(partitions)]
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            records: list[ConsumerRecord] = []
            while len(records) < sum(ends.values()):
                for found in (await consumer.getmany(timeout_ms=200)).values():
                    records += found
            return records
        finally:
            await consumer.stop()

    return asyncio.run(work())
