"""Orders at rest leave the table after their time, when somebody has asked for it; and what comes later finds nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from consumers.orders.fuse import Fuse
from consumers.orders.logic import OrderLogic
from consumers.ownership.logic import Batch
from consumers.ownership.store import DictStore, Overlay
from producers.outbox import Outbox
from producers.packing.sizes import Room
from producers.topic_setup import TopicState, find_problems
from producers.topics import ORDER_INPUTS, Topic
from statemachine.order.order import Look, Order
from statemachine.order.policy import Policy
from statemachine.order.snapshot import decode_snapshot, encode_snapshot
from statemachine.waits.retiring import retires_at
from tests.unit.consumers.test_order_batch import COUNTS, consumed
from tests.unit.statemachine.story import Story

WAIT = timedelta(days=180)
LEAVING = Policy(retire_wait=WAIT)


def at_rest() -> Order:
    """An order that was abandoned."""
    order = Story().to_placed().order
    assert order is not None
    return msgspec.structs.replace(order, state="abandoned", deadlines=(), look=None, commands=())


class Lane:
    """One partition with one order."""

    def __init__(self, order: Order, policy: Policy) -> None:
        self.store = DictStore()
        self.store.apply({"A-1": encode_snapshot(order)})
        self.logic = OrderLogic(0, partitions=1, prefix="", policy=policy, fuse=Fuse(records_min=0), room=Room())

    async def step(self, now: datetime, *records: Any) -> Outbox:
        """A batch, committed."""
        outbox, overlay = Outbox(COUNTS, home=0, home_count=1), Overlay(self.store)
        await self.logic.step(Batch(records, now, now), overlay, outbox)
        self.changes = dict(overlay.changes)
        self.store.apply(overlay.changes)
        self.logic.committed(overlay.changes)
        return outbox


async def test_an_order_at_rest_leaves_by_a_tombstone_when_its_time_has_come() -> None:
    """And writes nothing else; a replay of the same firing does the same."""
    lane = Lane(at_rest(), LEAVING)
    await lane.logic.opened(lane.store)
    leaves = at_rest().updated + WAIT
    assert lane.logic.next_due() == leaves
    await lane.step(leaves - timedelta(microseconds=1))
    assert lane.store.get("A-1") is not None
    outbox = await lane.step(leaves)
    assert lane.changes == {"A-1": None}
    assert [batch for batch in outbox.batches.values() if batch] == []
    assert lane.store.get("A-1") is None
    assert lane.logic.next_due() is None


async def test_the_wait_begins_anew_with_each_change_and_a_person_is_waited_for() -> None:
    """It is derived from the snapshot, so a restart does not lose it."""
    leaves = at_rest().updated + WAIT
    called = Lane(msgspec.structs.replace(at_rest(), attention=("a person was called",)), LEAVING)
    changed = Lane(msgspec.structs.replace(at_rest(), updated=at_rest().updated + timedelta(days=9)), LEAVING)
    for lane, due in ((called, None), (changed, leaves + timedelta(days=9))):
        await lane.logic.opened(lane.store)
        assert lane.logic.next_due() == due
        await lane.step(leaves)
        assert lane.store.get("A-1") is not None


async def test_orders_stay_for_ever_by_default() -> None:
    """Nothing leaves unless somebody has asked for it."""
    lane = Lane(at_rest(), Policy())
    await lane.logic.opened(lane.store)
    assert lane.logic.next_due() is None
    await lane.step(datetime(2099, 1, 1, tzinfo=UTC))
    assert lane.store.get("A-1") is not None


async def test_an_event_for_an_order_that_has_left_waits_for_one_that_is_requested_and_expires() -> None:
    """It changes nothing, asks nothing of Digital River, and is a dead letter in the end."""
    lane = Lane(at_rest(), LEAVING)
    await lane.logic.opened(lane.store)
    now = at_rest().updated + WAIT
    await lane.step(now)
    outbox = await lane.step(now, consumed("order.cancel_requested", {}, "e-late"))
    assert decode_snapshot(lane.store.get("A-1") or b"").state == "awaited"
    assert {name for (name, _), batch in outbox.batches.items() if batch} == set()
    outbox = await lane.step(now + LEAVING.parked_max_age)
    assert lane.store.get("A-1") is None
    assert {name for (name, _), batch in outbox.batches.items() if batch} >= {Topic.DEAD_LETTERS.value}
    assert Topic.DR_COMMANDS.value not in {name for (name, _), batch in outbox.batches.items() if batch}


@pytest.mark.parametrize(
    "waits",
    [
        {"state": "submitted"},
        {"deadlines": (Story().to_placed().order or at_rest()).deadlines},
        {"look": Look(datetime(2031, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC), 1)},
        {"attention": ("a person was called",)},
    ],
    ids=lambda waits: next(iter(waits)),
)
def test_an_order_that_waits_for_something_stays(waits: dict[str, Any]) -> None:
    """A person's answer, too."""
    assert retires_at(at_rest(), LEAVING) == at_rest().updated + WAIT
    assert retires_at(msgspec.structs.replace(at_rest(), **waits), LEAVING) is None


@pytest.mark.parametrize(
    ("configs", "stops"),
    [
        ({"retention.ms": str(90 * 86_400_000)}, False),
        ({"retention.ms": str(173 * 86_400_000), "segment.ms": str(7 * 86_400_000)}, False),
        ({"retention.ms": str(174 * 86_400_000)}, True),
        ({"retention.ms": "-1"}, True),
    ],
)
def test_inputs_that_are_kept_longer_than_orders_stop_a_worker(configs: dict[str, str], stops: bool) -> None:
    """A ``checkout.requested`` that is read again would make a second real order; without the setting nobody is stopped."""
    found = {topic: TopicState(1, 1, configs) for topic in ORDER_INPUTS}

    def said(wait: timedelta) -> set[str]:
        problems = find_problems(found, "", retire_wait=wait)
        return {one.topic for one in problems if one.blocking and "ORDERFLOW_RETIRE_WAIT" in one.remedy}

    assert said(WAIT) == ({topic.value for topic in ORDER_INPUTS} if stops else set())
    assert said(timedelta(0)) == set()
