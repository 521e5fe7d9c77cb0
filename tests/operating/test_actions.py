"""Actions: paused, aborted and gone on with from elsewhere; killed anywhere, each record counts once."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest

from orderflow.operations.actions.acting import request
from orderflow.operations.actions.attempt import TakenOver
from orderflow.operations.actions.execution import carry_out
from orderflow.operations.actions.records import Changed
from producers.topics import Topic
from producers.transaction import TransactionStep
from tests.operating.desk import ACTOR, REASON, Desk, counts, desk
from tests.orders.lane import Lane, given, order_lane, read
from tests.unit.statemachine.story import cart

GO_ON = Changed("sam@host", "go on", datetime(2031, 3, 4, tzinfo=UTC))


class Killed(BaseException):
    """The process ends here."""


async def refused(operator: Desk, lane: Lane, orders: int) -> None:
    """A letter ``invalid`` for each of some orders; retried, it is refused again."""
    bad = {**cart(), "currency": "usd"}
    await lane.send(*[given("checkout.requested", f"O-{number}", bad) for number in range(orders)])
    await lane.settled()
    assert len(await operator.open_letters()) == orders


@pytest.mark.parametrize(
    "step", [TransactionStep.RECORDS_SENT, TransactionStep.COMMIT_IN_FLIGHT, TransactionStep.COMMITTED]
)
@pytest.mark.parametrize("at", [1, 2, 3])
async def test_an_action_that_is_killed_anywhere_is_gone_on_with_and_each_record_counts_once(
    kafka: str, prefix: str, step: TransactionStep, at: int
) -> None:
    """Whatever had been committed: no record is sent twice, and the counts add up."""
    operator = await desk(kafka, prefix)
    async with order_lane(kafka, prefix) as lane:
        await refused(operator, lane, 12)
        made = await operator.make("retry", await operator.plan())
        reached = 0

        async def kill(_: str, now: TransactionStep) -> None:
            nonlocal reached
            reached += now is step
            if now is step and reached == at:
                raise Killed

        with pytest.raises(Killed):
            await carry_out(await operator.reader(), made.action, probe=kill)
        done = await carry_out(await operator.reader(), made.action, resumed=GO_ON)
        assert (done.state, counts(done)) == ("done", {"refused": 12})
        again = await operator.open_letters()
        assert [letter.redelivered for letter in again] == [1] * 12
        sent = list((await read(kafka, prefix, Topic.INBOX))[Topic.INBOX])
        assert len(sent) == 12


async def test_a_pause_from_elsewhere_holds_within_two_seconds_and_the_action_goes_on_later(
    kafka: str, prefix: str
) -> None:
    """Who paused it and why is kept; what was sent before keeps its result."""
    operator = await desk(kafka, prefix)
    async with order_lane(kafka, prefix) as lane:
        await refused(operator, lane, 30)
        made = await operator.make("retry", await operator.plan(), rate=4.0)
        running = asyncio.create_task(carry_out(await operator.reader(), made.action, told=operator.told.append))
        await lane.until(lambda: any(record.refused for record in operator.told))
        asked = time.monotonic()
        paused = await request(await operator.reader(), made.action, "pause", actor="sam@host", reason="too fast")
        assert time.monotonic() - asked < 2.0
        assert paused.state == "paused"
        assert (await running).left == paused.left > 0
        assert paused.changed is not None
        assert (paused.changed.actor, paused.changed.reason) == ("sam@host", "too fast")
        _, table = await operator.letters()
        shown = table.actions[made.action].shown()
        assert (shown["actor"], shown["reason"], shown["state"]) == (ACTOR, REASON, "paused")
        assert "internal" not in shown
        # nobody carries it out now: an abort is done by who asks for it
        ended = await request(await operator.reader(), made.action, "abort", actor="sam@host", reason="enough")
        assert ended.state == "aborted"
        assert ended.left == 30 - ended.refused > 0


async def test_who_goes_on_with_an_action_stops_whoever_carried_it_out(kafka: str, prefix: str) -> None:
    """The first finds out at its next transaction; each record still counts once."""
    operator = await desk(kafka, prefix)
    async with order_lane(kafka, prefix) as lane:
        await refused(operator, lane, 20)
        made = await operator.make("retry", await operator.plan(), rate=5.0)
        first = asyncio.create_task(carry_out(await operator.reader(), made.action, told=operator.told.append))
        await lane.until(lambda: any(record.refused for record in operator.told))
        done = await carry_out(await operator.reader(), made.action, resumed=GO_ON)
        with pytest.raises(TakenOver):
            await first
    assert (done.state, counts(done)) == ("done", {"refused": 20})
    assert done.changed == GO_ON


async def test_what_was_sent_before_a_kill_has_no_result_until_a_worker_has_decided_it(kafka: str, prefix: str) -> None:
    """The next holder looks in the inbox for what is out: without a worker nothing of it has ended."""
    operator = await desk(kafka, prefix)
    async with order_lane(kafka, prefix) as lane:
        await refused(operator, lane, 6)
    made = await operator.make("retry", await operator.plan())
    reached = 0

    async def kill(_: str, now: TransactionStep) -> None:
        nonlocal reached
        reached += now is TransactionStep.COMMITTED
        if reached == 2:
            raise Killed

    with pytest.raises(Killed):
        await carry_out(await operator.reader(), made.action, probe=kill)
    resumed = asyncio.create_task(
        carry_out(await operator.reader(), made.action, resumed=GO_ON, told=operator.told.append)
    )
    await asyncio.sleep(2.0)
    assert operator.told[-1].left == 6
    async with order_lane(kafka, prefix):
        done = await resumed
    assert counts(done) == {"refused": 6}


async def test_who_only_looks_does_not_wait_for_a_transaction_that_a_killed_command_left_open(
    kafka: str, prefix: str
) -> None:
    """Kafka ends it after a while; until then everything that was committed before it is shown."""
    operator = await desk(kafka, prefix)
    async with order_lane(kafka, prefix) as lane:
        await refused(operator, lane, 2)
        made = await operator.make("retry", await operator.plan())

        async def kill(_: str, now: TransactionStep) -> None:
            if now is TransactionStep.RECORDS_SENT:
                raise Killed

        with pytest.raises(Killed):
            await carry_out(await operator.reader(), made.action, probe=kill)
        async with asyncio.timeout(5):
            _, table = await operator.letters()
        assert table.actions[made.action].state == "planned"
        done = await carry_out(await operator.reader(), made.action, resumed=GO_ON)
        assert counts(done) == {"refused": 2}
