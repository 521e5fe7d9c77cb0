"""One batch of the order lane without Kafka: what an order has no room for, and what in its table is not a snapshot."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from aiokafka import ConsumerRecord

from consumers.orders.fuse import Fuse
from consumers.orders.logic import OrderLogic
from consumers.ownership.logic import Batch
from consumers.ownership.store import DictStore, Overlay
from producers.outbox import Outbox
from producers.packing.sizes import Room
from producers.topics import Topic
from statemachine.errors import Disposition, UnreadableTable
from statemachine.order.policy import Policy
from statemachine.order.snapshot import encode_snapshot
from tests.unit.statemachine.story import TOPICS, Story, record, units

COUNTS = {topic.value: 1 for topic in Topic}


def logic(snapshot_bytes_max: int) -> OrderLogic:
    """A lane's logic whose snapshots may be that large."""
    return OrderLogic(
        0,
        partitions=1,
        prefix="",
        policy=Policy(),
        fuse=Fuse(records_min=0),
        room=Room(),
        snapshot_bytes_max=snapshot_bytes_max,
    )


def consumed(kind: str, data: dict[str, Any], event_id: str = "e-9") -> ConsumerRecord[bytes, bytes]:
    """A record as aiokafka gives it."""
    made = record(kind, data, event_id=event_id)
    assert made.value is not None
    size = len(made.value)
    return ConsumerRecord(TOPICS[kind], 0, 7, 0, 0, made.key, made.value, None, 3, size, ())


async def step(story: Story, store: DictStore, taking: OrderLogic, *records: ConsumerRecord[bytes, bytes]) -> Outbox:
    """Work one batch and commit it."""
    outbox, overlay = Outbox(COUNTS, home=0, home_count=1), Overlay(store)
    await taking.step(Batch(records, None, story.now), overlay, outbox)
    store.apply(overlay.changes)
    return outbox


def values(outbox: Outbox, topic: Topic) -> list[Any]:
    """The data of what was written to a topic."""
    written = [one for (name, _), batch in outbox.batches.items() if name == topic.value for one in batch]
    return [msgspec.json.decode(one.value or b"null")["data"] for one in written]


@pytest.mark.parametrize("kind", ["fulfillment.shipped", "fulfillment.cancelled", "order.cancel_requested"])
async def test_an_order_at_its_size_limit_still_calls_a_person(kind: str) -> None:
    """The event becomes a dead letter; that it was lost stands in the order, whose snapshot stays within its limit."""
    story, store = Story().to_placed(), DictStore()
    assert story.order is not None
    full = encode_snapshot(story.order)
    store.apply({"A-1": full})
    limit = len(full) + 8 * 1024
    taking = logic(limit)
    data = {"items": units(l1=1)} | ({"shipment_id": "s-1"} if kind == "fulfillment.shipped" else {})
    outbox = await step(story, store, taking, consumed(kind, data), consumed(kind, data, "e-10"))
    assert taking.counts["dead.too_large"] == 2
    kept = store.get("A-1")
    assert kept is not None
    assert len(kept) <= limit
    assert msgspec.json.decode(kept)["attention"] == [f"{kind} was refused: the order has no room for it"]
    changes = [one for one in values(outbox, Topic.ORDER_STATE_CHANGES) if "changed" in one]
    assert [one["changed"] for one in changes] == [["attention"]]
    assert values(outbox, Topic.DR_COMMANDS) == []


async def test_a_snapshot_that_is_none_stops_the_partition_by_name() -> None:
    """Nothing is decided on it, and no library's error gets out."""
    story, store = Story().to_placed(), DictStore()
    assert story.order is not None
    made = msgspec.json.decode(encode_snapshot(story.order))
    made["amounts"]["total"] = "much"
    store.apply({"A-1": msgspec.json.encode(made)})
    with pytest.raises(UnreadableTable, match="the snapshot of order A-1 in orders cannot be read") as raised:
        await step(story, store, logic(1 << 20), consumed("order.cancel_requested", {}))
    assert raised.value.disposition is Disposition.STOP_PARTITION
