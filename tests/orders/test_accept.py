"""A partition whose committed offsets and position record disagree: it stops, an operator decides, and it goes on."""

from __future__ import annotations

import gc
import json
import time

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from consumers.orders.offset_repair import OrderOffsetRepair, Use, repair_order_offsets
from consumers.ownership.owner import PartitionState
from consumers.ownership.positions import PositionRecord, encode_position
from producers.connection import KafkaConnection
from producers.topics import ORDER_INPUTS, Lane, Topic, group_id, prefixed
from statemachine.errors import ConfigError
from tests.orders.lane import PARTITIONS, Given, given, key_on, make_topics, order_lane, read_outputs, write
from tests.unit.statemachine.story import cart

pytestmark = pytest.mark.kafka


@pytest.fixture
def kafka(apache_kafka: str) -> str:
    """Apache Kafka only: what is decided here does not depend on the broker, and each stop takes its time."""
    return apache_kafka


#: The cart and two updates of one order, on partition 0.
ORDER = key_on(0)
EVENTS = (
    given("checkout.requested", ORDER, cart(), event_id="e-0"),
    given("checkout.updated", ORDER, cart(("1", 3, "10.00")), event_id="e-1"),
    given("checkout.updated", ORDER, cart(("1", 4, "10.00")), event_id="e-2"),
)
LATER = given("checkout.updated", ORDER, cart(("1", 5, "10.00")), event_id="e-3")


async def _worked(kafka: str, prefix: str) -> None:
    """A worker carries the first events out and leaves."""
    await make_topics(kafka, prefix)
    async with order_lane(kafka, prefix, answering=False) as lane:
        await lane.send(*EVENTS)
        await lane.settled()


async def _commit(kafka: str, prefix: str, offsets: dict[Topic, int]) -> None:
    """What an operator can do with the tools of Kafka while no worker runs."""
    group = group_id(prefix, Lane.ORDERS)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        tps = {TopicPartition(prefixed(prefix, topic), 0): offset for topic, offset in offsets.items()}
        consumer.assign(list(tps))
        await consumer.commit(tps)
    finally:
        await consumer.stop()


async def delete_records(kafka: str, prefix: str, topic: Topic) -> None:
    """What retention does: all records of the topic's partition 0 are gone."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.delete_records({TopicPartition(prefixed(prefix, topic), 0): RecordsToDelete(before_offset=-1)})
    await admin.close()


async def _write_position(kafka: str, prefix: str, offsets: dict[Topic, int]) -> None:
    record = PositionRecord(0, PARTITIONS, 7, "somebody", {topic.value: offset for topic, offset in offsets.items()})
    await write(kafka, prefix, [Given(Topic.POSITIONS, b"0", encode_position(record), partition=0)])


async def _accept(kafka: str, prefix: str, use: Use, *, apply: bool) -> OrderOffsetRepair:
    return await repair_order_offsets(
        KafkaConnection(kafka),
        prefix,
        0,
        partitions=PARTITIONS,
        use=use,
        reason="a test",
        apply=apply,
        timestamp_ms=int(time.time() * 1000),
    )


async def _problem(kafka: str, prefix: str) -> str:
    """Why partition 0 stops; the other one works meanwhile."""
    async with order_lane(kafka, prefix, answering=False) as lane:
        stopped = await lane.until_partition(0, PartitionState.STOPPED)
        await lane.until_partition(1, PartitionState.RUNNING)
        other = key_on(1)
        await lane.send(given("checkout.requested", other, cart()))
        await lane.until_state("checkout_pending", other)
        assert stopped.problem is not None
        return stopped.problem


async def _goes_on(kafka: str, prefix: str, expected: list[str]) -> None:
    """After the repair a later event is carried out, and the causes of all changes of the order are these, each once."""
    async with order_lane(kafka, prefix, answering=False) as lane:
        await lane.send(LATER)
        await lane.until(lambda: any(line["ordered"] == 5 for line in lane.order(ORDER).get("lines", [])))
        outputs = await lane.outputs()
    changes = outputs.changes_of(ORDER)
    assert [change["cause"]["id"] for change in changes] == expected
    assert [change["sequence"] for change in changes] == list(range(1, len(changes) + 1))


@pytest.mark.parametrize("use", ["positions", "committed"])
async def test_offsets_that_were_moved_back_stop_the_partition_until_one_side_is_accepted(
    kafka: str, prefix: str, use: Use
) -> None:
    """The dry run shows both sides and changes nothing; applied, the partition goes on, nothing is lost and nothing doubled."""
    await _worked(kafka, prefix)
    await _commit(kafka, prefix, {Topic.CHECKOUT_EVENTS: 1})
    problem = await _problem(kafka, prefix)
    assert "partitions accept 0 --use positions|committed --reason" in problem
    assert "\n" not in problem
    dry = await _accept(kafka, prefix, use, apply=False)
    assert (dry.applied, dry.agrees) == (False, False)
    assert dry.committed["checkout-events"] == 1
    assert dry.position is not None
    assert dry.position["checkout-events"] == len(EVENTS)
    assert dry.accepted["checkout-events"] == (1 if use == "committed" else len(EVENTS))
    assert await _accept(kafka, prefix, use, apply=False) == dry, "a dry run changes nothing"
    assert (await _accept(kafka, prefix, use, apply=True)).applied
    agreed = await _accept(kafka, prefix, use, apply=False)
    assert agreed.agrees
    outputs = await read_outputs(kafka, prefix)
    newest = [record for record in outputs.raw[Topic.POSITIONS] if record.partition == 0][-1]
    assert dict(newest.headers)["orderflow-reason"] == b"a test", "the reason is kept for those who look later"
    await _goes_on(kafka, prefix, ["e-0", "e-1", "e-2", "e-3"])


async def test_a_position_record_without_committed_offsets_can_only_be_used_as_it_is(kafka: str, prefix: str) -> None:
    """Committed offsets that expired: ``committed`` is refused with a line, ``positions`` repairs."""
    await make_topics(kafka, prefix)
    await write(kafka, prefix, EVENTS[:2])
    await _write_position(kafka, prefix, {topic: 1 if topic is Topic.CHECKOUT_EVENTS else 0 for topic in ORDER_INPUTS})
    assert "partitions accept 0" in await _problem(kafka, prefix)
    with pytest.raises(ConfigError, match=r"there is no committed offset of .*--use positions if that one is right"):
        await _accept(kafka, prefix, "committed", apply=True)
    assert (await _accept(kafka, prefix, "positions", apply=True)).applied
    async with order_lane(kafka, prefix, answering=False) as lane:
        await lane.until(lambda: [one["type"] for one in lane.order(ORDER).get("parked", [])] == ["checkout.updated"])


async def test_committed_offsets_without_a_position_record_can_only_be_used_as_they_are(
    kafka: str, prefix: str
) -> None:
    """A positions topic that was made anew: ``positions`` is refused, ``committed`` repairs; a topic never read begins anew."""
    await make_topics(kafka, prefix)
    await write(kafka, prefix, EVENTS)
    await _commit(kafka, prefix, {Topic.CHECKOUT_EVENTS: 0, Topic.ORDER_EVENTS: 0, Topic.FULFILLMENT_EVENTS: 0})
    assert "no position record" in await _problem(kafka, prefix)
    with pytest.raises(ConfigError, match=r"there is no positions offset of .*--use committed if that one is right"):
        await _accept(kafka, prefix, "positions", apply=True)
    accepted = await _accept(kafka, prefix, "committed", apply=True)
    assert (accepted.applied, accepted.accepted["orderflow.inbox"]) == (True, 0)
    await _goes_on(kafka, prefix, ["e-0", "e-1", "e-2", "e-3"])


async def test_records_that_retention_took_are_skipped_only_when_somebody_accepts_that(kafka: str, prefix: str) -> None:
    """The partition stops and names the gap; accepted, it goes on at the first record that is left."""
    await _worked(kafka, prefix)
    await write(kafka, prefix, [given("checkout.updated", ORDER, cart(), event_id="lost")])
    await delete_records(kafka, prefix, Topic.CHECKOUT_EVENTS)
    problem = await _problem(kafka, prefix)
    assert f"checkout-events should go on at offset {len(EVENTS)}, but Kafka has {len(EVENTS) + 1}" in problem
    assert "partitions accept 0 --use committed" in problem
    found = await _accept(kafka, prefix, "committed", apply=True)
    assert found.accepted["checkout-events"] == len(EVENTS) + 1
    await _goes_on(kafka, prefix, ["e-0", "e-1", "e-2", "e-3"])


async def test_accepting_beside_a_running_worker_costs_it_a_restart_of_the_partition_only(
    kafka: str, prefix: str
) -> None:
    """The repair fences the owner, which comes back with a restored store: nothing is lost or doubled even then."""
    await make_topics(kafka, prefix)
    async with order_lane(kafka, prefix, answering=False) as lane:
        await lane.send(*EVENTS)
        await lane.settled()
        assert (await _accept(kafka, prefix, "positions", apply=True)).applied
        await lane.send(LATER)
        await lane.until(lambda: any(line["ordered"] == 5 for line in lane.order(ORDER).get("lines", [])))
        assert lane.partition(0).counters.restores == 2
        outputs = await lane.outputs()
    assert [change["cause"]["id"] for change in outputs.changes_of(ORDER)] == ["e-0", "e-1", "e-2", "e-3"]
    positions = [
        json.loads(record.value)["transaction"] for record in outputs.raw[Topic.POSITIONS] if record.key == b"0"
    ]
    assert positions == list(range(1, len(positions) + 1))
    # aiokafka never asks a fenced producer's futures how they ended; collected later, in the middle of a compilation, what
    # asyncio says of them breaks CPython 3.11's parser
    gc.collect()


async def test_a_record_of_another_partition_count_is_not_accepted_away(kafka: str, prefix: str) -> None:
    """Orders would be in two partitions: what stops the worker stops the repair, too."""
    await make_topics(kafka, prefix)
    record = PositionRecord(0, PARTITIONS + 1, 7, "somebody", {topic.value: 0 for topic in ORDER_INPUTS})
    await write(kafka, prefix, [Given(Topic.POSITIONS, b"0", encode_position(record), partition=0)])
    for apply in (False, True):
        with pytest.raises(ConfigError, match="drain the old topics into new ones"):
            await _accept(kafka, prefix, "positions", apply=apply)
