"""Looks keep to their part of the rate, few are open at a time, and a restart knows them from the snapshots."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest

from consumers.orders.fuse import Fuse
from consumers.orders.logic import OrderLogic
from consumers.orders.looks import LOOKS_PART, UNANSWERED_MAX, looks_per_second
from consumers.ownership.logic import Batch
from consumers.ownership.store import DictStore, Overlay
from producers.outbox import Outbox
from producers.packing.sizes import Room
from producers.topics import Topic
from statemachine.errors import UnreadableTable
from statemachine.order.order import DEFINITION
from statemachine.order.policy import Policy
from statemachine.order.snapshot import decode_snapshot, encode_snapshot
from tests.unit.statemachine.story import Story

COUNTS = {topic.value: 1 for topic in Topic}
ORDERS = 100


def waiting() -> Story:
    """An order that waits for its money."""
    story = Story().to_placed(method="wire")
    story.river.facts.clear()
    return story


class Lane:
    """One partition with many orders that wait for Digital River."""

    def __init__(self, *, per_second: float = 0.0) -> None:
        story = waiting()
        assert story.order is not None
        self.store = DictStore()
        self.store.apply(
            {
                f"O-{number}": encode_snapshot(msgspec.structs.replace(story.order, order_id=f"O-{number}"))
                for number in range(ORDERS)
            }
        )
        self.now = story.now + Policy().reconcile_first_wait
        self.per_second = per_second
        self.logic = self.new_logic()

    def new_logic(self) -> OrderLogic:
        """A partition that begins."""
        return OrderLogic(
            0,
            partitions=1,
            prefix="",
            policy=Policy(),
            fuse=Fuse(records_min=0),
            room=Room(),
            looks_per_second=self.per_second,
        )

    async def open(self) -> None:
        """A restart."""
        self.logic = self.new_logic()
        await self.logic.opened(self.store)

    async def fire(self) -> int:
        """What is due fires; how many looks were asked."""
        outbox, overlay = Outbox(COUNTS, home=0, home_count=1), Overlay(self.store)
        await self.logic.step(Batch([], self.now, self.now), overlay, outbox)
        self.store.apply(overlay.changes)
        self.logic.committed(overlay.changes)
        assert not any(batch for (name, _), batch in outbox.batches.items() if name == Topic.ORDER_STATE_CHANGES.value)
        return sum(len(batch) for (name, _), batch in outbox.batches.items() if name == Topic.DR_COMMANDS.value)

    def answer(self, number: int) -> None:
        """The look of one order is answered without news, by whatever way."""
        order = decode_snapshot(self.store.get(f"O-{number}") or b"")
        assert order.look is not None
        done = msgspec.structs.replace(order, look=msgspec.structs.replace(order.look, asked=None, asked_at=None))
        self.store.apply({f"O-{number}": encode_snapshot(done)})


async def test_few_looks_are_open_at_a_time() -> None:
    """The next one is asked when one was answered, also after a restart."""
    lane = Lane()
    await lane.open()
    assert await lane.fire() == UNANSWERED_MAX
    assert lane.logic.next_due() != lane.now
    assert await lane.fire() == 0
    await lane.open()
    assert await lane.fire() == 0
    for number in range(ORDERS):
        order = decode_snapshot(lane.store.get(f"O-{number}") or b"")
        if order.look is not None and order.look.asked is not None:
            lane.answer(number)
            break
    await lane.open()
    assert await lane.fire() == 1


async def test_looks_whose_answers_are_lost_do_not_stop_the_others() -> None:
    """They count until they are due again: then they are made again, and others with them."""
    lane = Lane()
    await lane.open()
    assert await lane.fire() == UNANSWERED_MAX
    due = lane.logic.next_due()
    assert due is not None
    assert lane.now < due <= lane.now + 2 * Policy().reconcile_first_wait
    lane.now = due
    assert await lane.fire() > 0


async def test_looks_keep_to_their_part_of_the_rate() -> None:
    """One look a second, whatever is due: what is later is not lost."""
    lane = Lane(per_second=1.0)
    await lane.open()
    asked = 0
    for _ in range(10):
        asked += await lane.fire()
        due = lane.logic.next_due()
        assert due is not None
        assert due > lane.now
        lane.now = due
    assert asked == 10


@pytest.mark.parametrize(("rate", "partitions"), [(25.0, 8), (250.0, 100), (0.0, 8)])
def test_looks_take_a_tenth_of_the_rate(rate: float, partitions: int) -> None:
    """Of all partitions together, with the requests of one look; no limit has no limit."""
    assert looks_per_second(rate, partitions) * partitions * 5 == pytest.approx(rate * LOOKS_PART)


async def test_an_older_snapshot_is_looked_at_after_the_upgrade() -> None:
    """It has no look yet; what waited when the release came is not forgotten."""
    lane = Lane()
    order = msgspec.json.decode(lane.store.get("O-0") or b"")
    del order["internal"]["look"]
    lane.store.apply({f"O-{number}": None for number in range(ORDERS)})
    lane.store.apply({"O-0": msgspec.json.encode(order | {"definition": 4})})
    await lane.open()
    updated = datetime.fromisoformat(order["updated"])
    assert lane.logic.next_due() == updated + Policy().reconcile_first_wait
    lane.now = updated + timedelta(days=1)
    assert await lane.fire() == 1


async def test_an_older_snapshot_that_is_broken_stops_the_opening() -> None:
    """As every other."""
    lane = Lane()
    lane.store.apply({"bad": msgspec.json.encode({"definition": DEFINITION - 1})})
    with pytest.raises(UnreadableTable, match="the snapshot of order bad"):
        await lane.open()
