"""What a position record says of a transaction: a replay of it decides the same records again, in the same order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from aiokafka import ConsumerRecord

from consumers.orders.fuse import Fuse
from consumers.orders.logic import OrderLogic
from consumers.ownership.logic import Batch
from consumers.ownership.positions import PositionRecord, Run, decode_position, encode_position
from consumers.ownership.store import DictStore, Overlay
from producers.outbox import Outbox
from producers.packing.sizes import Room
from producers.topics import Topic
from statemachine.order.order import DEFINITION
from statemachine.order.policy import Policy
from statemachine.order.snapshot import encode_snapshot
from tests.unit.statemachine.story import Story

COUNTS = {topic.value: 1 for topic in Topic}
PREFIX = "shop."


def logic() -> OrderLogic:
    """The logic of a lane whose topics have a prefix."""
    return OrderLogic(
        0, partitions=1, prefix=PREFIX, policy=Policy(), fuse=Fuse(records_min=0), room=Room(), code="1.2.3"
    )


def consumed(topic: Topic, offset: int) -> ConsumerRecord[bytes, bytes]:
    """A record that cannot be decoded: what becomes of it does not matter here."""
    return ConsumerRecord(PREFIX + topic.value, 0, offset, 0, 0, b"A-1", b"x", None, 3, 1, ())


async def test_runs_keep_the_order_in_which_records_were_decided() -> None:
    """A run ends where another topic begins, and a gap of markers lies inside a run."""
    records = [
        consumed(Topic.ORDER_EVENTS, 5),
        consumed(Topic.ORDER_EVENTS, 7),
        consumed(Topic.INBOX, 2),
        consumed(Topic.ORDER_EVENTS, 8),
    ]
    outbox, overlay = Outbox({PREFIX + topic: 1 for topic in COUNTS}, home=0, home_count=1), Overlay(DictStore())
    now = datetime(2031, 3, 4, 10, 11, 12, 345678, tzinfo=UTC)
    history = await logic().step(Batch(records, None, now), overlay, outbox)
    assert history.runs == (
        Run("order-events", 5, 7),
        Run("orderflow.inbox", 2, 2),
        Run("order-events", 8, 8),
    )
    assert (history.decided_at, history.code, history.definition) == (now, "1.2.3", DEFINITION)
    assert (history.fired, history.fire_until) == ((), None)


async def test_deadlines_that_fired_are_named_in_their_order() -> None:
    """With the time until which they were due, which may be before the decision."""
    story, store = Story().to_placed(), DictStore()
    assert story.order is not None
    store.apply({"A-1": encode_snapshot(story.order)})
    taking = logic()
    await taking.opened(store)
    due = taking.next_due()
    assert due is not None
    outbox, overlay = Outbox({PREFIX + topic: 1 for topic in COUNTS}, home=0, home_count=1), Overlay(store)
    history = await taking.step(Batch([], due, due + timedelta(seconds=3)), overlay, outbox)
    assert (history.runs, history.fire_until, history.fired) == ((), due, ("A-1",))
    assert history.decided_at == due + timedelta(seconds=3)


def test_a_policy_is_told_apart_by_its_digest() -> None:
    """Equal policies have the same digest, others do not: a replay knows that it decides by other waits."""
    assert Policy().digest() == Policy().digest()
    assert Policy().digest() != Policy(attempts_max=6).digest()


async def test_a_record_is_read_back_as_it_was_written() -> None:
    """The proof that a store is current compares the record that was written with the one that was read."""
    overlay = Overlay(DictStore())
    outbox = Outbox({PREFIX + topic: 1 for topic in COUNTS}, home=0, home_count=1)
    now = datetime(2031, 3, 4, 10, 11, 12, 345678, tzinfo=UTC)
    history = await logic().step(Batch([consumed(Topic.INBOX, 2)], None, now), overlay, outbox)
    written = PositionRecord(0, 1, 7, "me", {"orderflow.inbox": 3}, history)
    assert decode_position(encode_position(written), "orderflow.positions", 0) == written


def test_a_record_without_history_is_read() -> None:
    """Older versions wrote none."""
    value = msgspec.json.encode(
        {"partition": 0, "partitions": 1, "transaction": 7, "incarnation": "me", "next_offsets": {}}
    )
    assert decode_position(value, "orderflow.positions", 0).history is None
