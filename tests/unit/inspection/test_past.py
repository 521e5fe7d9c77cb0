"""``orders show --at``: byte for byte the snapshot that was there, or a line that says why it cannot be told."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
import pytest

from consumers.ownership.positions import PositionRecord
from orderflow.inspection.past import Evidence, OldSnapshot, ThinHistory, snapshot_at
from statemachine.order.policy import Policy
from tests.unit.inspection.lane import BEGIN, PaperLane, busy
from tests.unit.statemachine.story import cart

LATER = timedelta(hours=1)


def _then(snapshots: list[OldSnapshot], moment: datetime) -> bytes | None:
    before = [one for one in snapshots if one.at <= moment]
    return before[-1].value if before else None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("moments", "at_least"), [(4, 24), pytest.param(18, 200, marks=pytest.mark.soak)])
async def test_an_order_at_any_time_is_the_snapshot_of_then(seed: int, moments: int, at_least: int) -> None:
    """Law: for any order, any time and whatever compaction left of ``orders``, the bytes are those that were written then.

    ``moments`` are the random times for each order; the longer form, of the soak, compares more than a thousand.
    """
    lane, chance = await busy(seed), random.Random(seed)
    looked = 0
    for order_id, snapshots in lane.snapshots.items():
        for left in (1, 3):
            evidence = lane.evidence(order_id, left=left)
            for _ in range(moments):
                moment = BEGIN + (lane.now - BEGIN) * chance.random()
                assert await snapshot_at(evidence, moment, policy=lane.policy) == _then(snapshots, moment)
                looked += 1
            for old in chance.sample(snapshots, min(4, len(snapshots))):  # the very times at which it changed
                assert await snapshot_at(evidence, old.at, policy=lane.policy) == old.value
    assert looked >= at_least


async def _one() -> PaperLane:
    """One order, paid."""
    lane = PaperLane()
    for kind, data in (
        ("checkout.requested", cart()),
        ("checkout.source_provided", {"source_id": "sim-card-1"}),
        ("order.placed", {"terms_accepted": True}),
    ):
        lane.tell("A-1", kind, **data)
        await lane.work()
        lane.answer()
        await lane.work()
    return lane


def _at(lane: PaperLane, number: int = 1) -> datetime:
    return lane.snapshots["A-1"][number].at


async def _refused(lane: PaperLane, evidence: Evidence, policy: Policy | None = None) -> str:
    with pytest.raises(ThinHistory) as refused:
        await snapshot_at(evidence, _at(lane), policy=policy or lane.policy)
    return str(refused.value)


async def test_before_its_first_event_there_was_no_order() -> None:
    """Nothing then is an answer, not a lack of history."""
    lane = await _one()
    assert await snapshot_at(lane.evidence("A-1"), BEGIN, policy=lane.policy) is None


async def test_without_the_first_events_it_cannot_be_told() -> None:
    """Retention has eaten the begin of the order: what is left does not lead to the snapshot that there is."""
    lane = await _one()
    evidence = lane.evidence("A-1")
    short = {name: records[1:] for name, records in evidence.inputs.items()}
    assert "records of it are gone" in await _refused(lane, replace(evidence, inputs=short))
    none = replace(evidence, inputs={name: [] for name in evidence.inputs})
    assert "no longer have the events" in await _refused(lane, none)


async def test_without_the_history_of_decisions_it_cannot_be_told() -> None:
    """A position record is gone, or was written before there was a history."""
    lane = await _one()
    assert "does not reach back" in await _refused(lane, lane.evidence("A-1", transactions=lane.positions[1:]))
    bare = [PositionRecord(0, 1, one.transaction, "x", one.next_offsets) for one in lane.positions]
    assert "does not reach back" in await _refused(lane, lane.evidence("A-1", transactions=bare))


async def test_other_waits_or_tables_are_not_guessed() -> None:
    """Another policy would have given other deadlines, another definition another snapshot."""
    lane = await _one()
    other = Policy(answer_wait=timedelta(minutes=7))
    assert await _refused(lane, lane.evidence("A-1"), other)
    newer = [
        msgspec.structs.replace(one, history=msgspec.structs.replace(one.history, definition=1, code="0.1"))
        for one in lane.positions
        if one.history is not None
    ]
    assert "use orderflow 0.1" in await _refused(lane, lane.evidence("A-1", transactions=newer))


async def test_waits_that_left_no_trace_are_told_by_their_digest() -> None:
    """A wait that is over is not in the snapshot that followed: only its digest shows that it was another."""
    lane = await _one()
    evidence = lane.evidence("A-1")
    other = Policy(checkout_rejected_wait=timedelta(minutes=7))
    assert "other waits or limits were in force" in await _refused(lane, evidence, other)


async def test_an_order_that_was_removed_is_proven_by_its_changes() -> None:
    """Without any snapshot left the changes that are made again must be those that were recorded."""
    lane = await _one()
    evidence = lane.evidence("A-1", left=0)
    assert await snapshot_at(evidence, lane.now + LATER, policy=lane.policy) == lane.snapshots["A-1"][-1].value
    assert "recorded" in await _refused(lane, replace(evidence, changes={}))
    forged = {**evidence.changes, 1: b"{}"}
    assert "recorded" in await _refused(lane, replace(evidence, changes=forged))
