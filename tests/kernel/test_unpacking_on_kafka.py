"""Few bytes on the broker that are very many once unpacked: memory stays bounded, and what is not read is told, not lost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from consumers.group.unpacking import BATCH_BYTES_MAX
from consumers.ownership.owner import PartitionState
from tests.eventually import eventually
from tests.kernel.counting import make_topics
from tests.kernel.members import member, part
from tests.kernel.process import Worker, faults, publish, read_changes, workers

pytestmark = pytest.mark.timeout(120)

MIB = 1024 * 1024
#: What a worker may take at its peak while it reads gigabytes: itself, a call's records and a queue, with room to spare.
PEAK_MIB_MAX = 700


async def send_packed(bootstrap: str, topic: str, first: int, *, batches: int, records: int) -> int:
    """Batches to partition 0, each of ``records`` records ``e<first>`` and following of a MiB; the bytes that Kafka keeps."""
    size, room = 0, (records + 1) * MIB + 1000
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type="zstd", max_batch_size=room, max_request_size=room
    ) as producer:
        for number in range(batches):
            batch = producer.create_batch()
            for at in range(records):
                value = json.dumps({"id": f"e{first + number * records + at}", "padding": "0" * MIB}).encode()
                assert batch.append(timestamp=None, key=b"packed", value=value) is not None
            batch.close()
            size += len(batch._build())
            await (await producer.send_batch(batch, topic, partition=0))
    return size


async def test_a_batch_that_would_fill_the_memory_stops_its_partition_only(kafka: str, prefix: str) -> None:
    """It is never unpacked. What lies before it is done, its offsets are named, and the other partition works."""
    await make_topics(kafka, prefix, 2)
    topic, too_many = TopicPartition(f"{prefix}left", 0), BATCH_BYTES_MAX // MIB + 1
    assert await send_packed(kafka, topic.topic, 0, batches=1, records=3) < 10_000
    assert await send_packed(kafka, topic.topic, 1000, batches=1, records=too_many) < 100_000
    async with member(kafka, prefix, 2) as membership:
        await eventually(lambda: 0 in membership.partitions and part(membership, 0).state is PartitionState.STOPPED)
        assert part(membership, 0).problem == (
            f"partition 0 stopped: the batch of {topic.topic} at offsets 3 to {too_many + 2} would take more than "
            "64 MiB unpacked, so it is not read"
        )
        assert part(membership, 0).read_position(topic) == 3, "a good record before it was passed over"
        await publish(kafka, prefix, 24, 24)
        await eventually(lambda: part(membership, 1).counters.records > 0)
        assert part(membership, 1).state is PartitionState.RUNNING


def peak_mib(worker: Worker) -> int:
    """The most memory that a process has had."""
    status = Path(f"/proc/{worker._process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) // 1024


@pytest.mark.kafka
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of another process is read from /proc")
async def test_a_fetch_that_unpacks_to_gigabytes_is_worked_through_in_bounded_memory(
    apache_kafka: str, prefix: str
) -> None:
    """Kafka's limits count packed bytes; ours count what they become, so that every record is done."""
    await make_topics(apache_kafka, prefix, 1)
    batches, records = 25, BATCH_BYTES_MAX // MIB - 4
    packed = await send_packed(apache_kafka, f"{prefix}left", 0, batches=batches, records=records)
    assert packed < 200_000, "one fetch takes all of it"
    async with workers(apache_kafka, prefix, 1) as starter:
        worker = await starter.start("one")
        changes = await read_changes(apache_kafka, prefix, 1, batches * records, seconds=80)
        assert faults(changes, batches * records) == []
        assert peak_mib(worker) < PEAK_MIB_MAX
