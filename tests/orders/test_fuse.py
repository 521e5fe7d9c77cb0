"""When most of what comes in is garbage, the partition stops instead of emptying its topics into the dead letters."""

from __future__ import annotations

import json

from consumers.ownership.owner import PartitionState
from producers.topics import Topic
from tests.orders.lane import Given, event, given, key_on, make_topics, order_lane, read_outputs
from tests.unit.statemachine.story import cart

RECORDS = 1500


def _flood() -> list[Given]:
    """Nine of ten records are garbage, the tenth is a good event of an order of its own; all on partition 0."""
    good = key_on(0, "good").encode()
    return [
        Given(Topic.ORDER_EVENTS, good, event("order.payment_returned", good.decode(), {"n": number}))
        if number % 10 == 0 and number < 600
        else Given(Topic.ORDER_EVENTS, good, f"garbage {number}".encode())
        for number in range(RECORDS)
    ]


async def test_a_flood_of_garbage_stops_its_partition_before_more_is_set_aside(kafka: str, prefix: str) -> None:
    """The line says what happened and what to do; nothing is committed past the stop; the other partition works on."""
    await make_topics(kafka, prefix)
    async with order_lane(kafka, prefix, fuse_records_min=500, answering=False) as lane:
        await lane.send(*_flood())
        stopped = await lane.until_partition(0, PartitionState.STOPPED)
        assert stopped.problem is not None
        assert "records became dead letters, so the partition stopped" in stopped.problem
        assert "find out what changed, then restart the worker" in stopped.problem
        other = key_on(1)
        await lane.send(given("checkout.requested", other, cart()))
        await lane.until_state("checkout_pending", other)
        at_stop = await lane.outputs()
    outputs = await read_outputs(kafka, prefix)
    assert outputs.letters == at_stop.letters, "leaving does not commit what the stop held back"
    positions = [json.loads(record.value) for record in outputs.raw[Topic.POSITIONS] if record.partition == 0]
    committed = positions[-1]["next_offsets"]["order-events"] if positions else 0
    assert committed < 500
    letters = [letter.place.offset for letter in outputs.letters]
    assert sorted(letters) == [number for number in range(committed) if number % 10]


async def test_after_the_cause_is_gone_a_restarted_worker_takes_all_that_was_held_back(kafka: str, prefix: str) -> None:
    """Nothing that the fuse held back is lost: with the fuse off every record is accounted for, each garbage once."""
    await make_topics(kafka, prefix)
    flood = _flood()[:700]
    async with order_lane(kafka, prefix, fuse_records_min=500, answering=False) as lane:
        await lane.send(*flood)
        await lane.until_partition(0, PartitionState.STOPPED)
    async with order_lane(kafka, prefix, fuse_records_min=0, answering=False) as lane:
        await lane.until(lambda: lane.counts("dead") + lane.counts("parked") + lane.counts("repeated") > 0)
        await lane.until(lambda: any(tp_next == 700 for tp_next in lane.partition(0)._input.next_offsets.values()))
    outputs = await read_outputs(kafka, prefix)
    garbage = [number for number, record in enumerate(flood) if (record.value or b"").startswith(b"garbage")]
    assert sorted(letter.place.offset for letter in outputs.letters) == garbage
