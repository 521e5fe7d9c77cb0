"""What somebody else's tools do to our topics and groups: a clear stop that says what to do, and nothing around it harmed."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from consumers.orders.offset_repair import repair_order_offsets
from consumers.ownership.owner import PartitionState
from producers.connection import KafkaConnection
from producers.topics import OUTPUT_MARGIN_BYTES, Lane, Topic, group_id, prefixed
from statemachine.errors import ConfigError
from tests.orders.lane import PARTITIONS, Given, given, key_on, make_topics, order_lane, write
from tests.unit.statemachine.story import cart


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Given(Topic.ORDERS, b"A-1", b"no json", partition=0), "the snapshot of order A-1 in"),
        (Given(Topic.ORDERS, b"\xff\xfe", b"{}", partition=0), "the key at offset 0 of"),
        (Given(Topic.POSITIONS, b"0", b"no json", partition=0), "partitions accept 0 --use committed"),
    ],
    ids=["snapshot", "key", "position"],
)
async def test_a_record_that_none_of_ours_wrote_stops_its_partition_only(
    kafka: str, prefix: str, record: Given, reason: str
) -> None:
    """One line says which record it is; the other partitions work."""
    await make_topics(kafka, prefix)
    await write(kafka, prefix, [record])
    well = key_on(1)
    async with order_lane(kafka, prefix) as lane:
        stopped = await lane.until_partition(0, PartitionState.STOPPED)
        assert reason in (stopped.problem or "")
        await lane.send(given("checkout.requested", well, cart()))
        await lane.until_state("checkout_open", well)


async def test_a_snapshot_of_a_newer_version_stops_the_worker_when_it_is_restored(kafka: str, prefix: str) -> None:
    """Before any event of that order comes in, and though it may hold what this version has no name for."""
    await make_topics(kafka, prefix)
    newer = b'{"definition": 9, "deadlines": [{"name": "settlement", "due": "2031-03-04T10:11:12Z"}]}'
    await write(kafka, prefix, [Given(Topic.ORDERS, b"A-1", newer, partition=0)])
    with pytest.raises(ConfigError, match=r"a snapshot has definition 9, this worker knows \d: run the newer version"):
        await _join(kafka, prefix)


async def test_a_broken_position_record_is_repaired_by_accepting_the_committed_offsets(kafka: str, prefix: str) -> None:
    """The command that the line names counts what it cannot read as no record at all."""
    await make_topics(kafka, prefix)
    first, second = key_on(0, "first"), key_on(0, "second")
    async with order_lane(kafka, prefix) as lane:
        await lane.send(given("checkout.requested", first, cart()))
        await lane.until_state("checkout_open", first)
    await write(kafka, prefix, [Given(Topic.POSITIONS, b"0", b"no json", partition=0)])
    accepted = await repair_order_offsets(
        KafkaConnection(kafka),
        prefix,
        0,
        partitions=PARTITIONS,
        use="committed",
        reason="a broken record",
        apply=True,
        timestamp_ms=int(datetime.now(UTC).timestamp() * 1000),
    )
    assert (accepted.applied, accepted.position) == (True, None)
    async with order_lane(kafka, prefix) as lane:
        await lane.send(given("checkout.requested", second, cart()))
        await lane.until_state("checkout_open", first, second)


async def test_a_partition_count_that_is_changed_under_a_running_worker_stops_it_with_a_line(
    kafka: str, prefix: str
) -> None:
    """Partitions that cannot be shared out any more are nobody's: a worker that stays up would own nothing and say nothing."""
    await make_topics(kafka, prefix)
    with pytest.raises(ConfigError, match="must have the same number of partitions"):
        await _grow_under_a_lane(kafka, prefix)


async def _grow_under_a_lane(bootstrap: str, prefix: str) -> None:
    order_id = key_on(0)
    async with order_lane(bootstrap, prefix) as lane:
        await lane.send(given("checkout.requested", order_id, cart()))
        await lane.until_state("checkout_open", order_id)
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        await admin.create_partitions({prefixed(prefix, Topic.ORDER_EVENTS): NewPartitions(PARTITIONS + 1)})
        await admin.close()
        async with asyncio.timeout(20):
            while not lane.ended:
                await lane.membership._consumer._client.force_metadata_update()  # by itself every five minutes
                await asyncio.sleep(0.2)


async def test_a_dead_letter_keeps_what_a_larger_input_let_in(kafka: str, prefix: str) -> None:
    """Topics of ours take the largest input and 64 KiB more, whatever the largest input is."""
    largest = 3_000_000
    await make_topics(kafka, prefix, input_bytes_max=largest)
    garbage = bytes(random.Random(1).choices(range(1, 256), k=2_000_000))
    async with order_lane(kafka, prefix, record_bytes_max=largest + OUTPUT_MARGIN_BYTES) as lane:
        (place,) = await lane.send(Given(Topic.CHECKOUT_EVENTS, key_on(0).encode(), garbage, partition=0))
        await lane.settled()
        outputs = await lane.outputs()
    letter = outputs.letter_at(place)
    assert (letter.reason, letter.value) == ("undecodable", garbage)


async def test_another_client_in_our_group_is_reported_as_such(kafka: str, prefix: str) -> None:
    """Kafka answers, so it is not unreachable: the line names the group and what Kafka said."""
    await make_topics(kafka, prefix)
    group = group_id(prefix, Lane.ORDERS)
    foreign = AIOKafkaConsumer(
        prefixed(prefix, Topic.CHECKOUT_EVENTS), bootstrap_servers=kafka, group_id=group, enable_auto_commit=False
    )
    await foreign.start()
    try:
        with pytest.raises(ConfigError, match=f"group {group} cannot be joined: InconsistentGroupProtocolError"):
            await _join(kafka, prefix)
    finally:
        await foreign.stop()


async def _join(bootstrap: str, prefix: str) -> None:
    async with order_lane(bootstrap, prefix, answering=False) as lane:
        await lane.until(lambda: lane.ended)
