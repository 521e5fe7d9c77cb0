"""The table of orders made anew: equal to the live one, also after a kill, never by two at once; adopted, it goes live."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import pytest

from consumers.ownership.positions import decode_position
from orderflow.embedded_kafka import EmbeddedKafka
from orderflow.replay.check import tasks_of
from orderflow.replay.table.adoption import adopt_snapshots
from orderflow.replay.table.comparison import compare_tables, compared
from orderflow.replay.table.rebuilding import HeldTable, Rebuilt, make_table, rebuild_partition
from orderflow.settings import Settings
from producers.partitioner import partition_of
from producers.topics import Topic
from statemachine.errors import ConfigError, Fenced
from tests.orders.lane import PARTITIONS, Given, given, order_lane, read, write
from tests.replay.shop import POLICY, lived, replayed, settings_of, shop
from tests.unit.statemachine.mutants import applied, mutants

NAMES = [f"A-{number}" for number in range(16)]


async def rebuilt(settings: Settings, into: str) -> list[Rebuilt]:
    """All partitions."""
    tasks = await tasks_of(settings, since=0)
    await make_table(settings.connection(), into, PARTITIONS)
    return [await rebuild_partition(task, into) for task in tasks]


async def newest(bootstrap: str, prefix: str) -> dict[str, bytes]:
    """The table's values by key."""
    found: dict[str, bytes | None] = {}
    for record in (await read(bootstrap, prefix, Topic.ORDERS))[Topic.ORDERS]:
        found[record.key.decode()] = record.value
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.timeout(90)
async def test_a_rebuilt_table_is_the_live_one_byte_for_byte(prefix: str) -> None:
    """Repeated, it takes in what was decided since; and nothing of the live topics has changed."""
    into = f"{prefix}anew."
    async with EmbeddedKafka() as kafka:
        settings = settings_of(kafka.bootstrap, prefix)
        async with shop(kafka.bootstrap, prefix) as lane:
            await lived(lane, NAMES)
        before = await newest(kafka.bootstrap, prefix)
        first = await rebuilt(settings, into)
        assert before
        assert await newest(kafka.bootstrap, into) == before
        assert [(one.went_on, one.left_out, one.begins) for one in first] == [(False, (), None)] * PARTITIONS
        found = await compare_tables(settings.connection(), prefix, into, PARTITIONS)
        assert (found.same, found.differences) == (len(before), ())
        async with order_lane(kafka.bootstrap, prefix, policy=POLICY, answering=False) as lane:
            await lived(lane, ["B-0", "B-1"], quiet=1.0)
        moved = await compare_tables(settings.connection(), prefix, into, PARTITIONS)
        assert {one.order_id for one in moved.differences} == {"B-0", "B-1"}
        assert moved.differ == 0
        again = await rebuilt(settings, into)
        assert all(one.went_on for one in again)
        assert sum(one.transactions for one in again) < sum(one.transactions for one in first)
        assert await newest(kafka.bootstrap, into) == await newest(kafka.bootstrap, prefix)


@pytest.mark.timeout(90)
async def test_a_rebuild_that_is_cut_off_goes_on_where_it_was(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots and position are one transaction: cut off at any point, the table is the same in the end."""
    monkeypatch.setattr("orderflow.replay.table.rebuilding._WRITTEN_AT_ONCE", 3)
    into = f"{prefix}anew."
    async with EmbeddedKafka() as kafka:
        settings = settings_of(kafka.bootstrap, prefix)
        async with shop(kafka.bootstrap, prefix) as lane:
            await lived(lane, NAMES, quiet=1.5)
        await make_table(settings.connection(), into, PARTITIONS)
        runs = 0
        for task in await tasks_of(settings, since=0):
            for cut_at in (3, 7, 12, 10_000):

                def told(done: int, cut_at: int = cut_at) -> None:
                    if done == cut_at:
                        raise asyncio.CancelledError

                with suppress(asyncio.CancelledError):
                    one = await rebuild_partition(task, into, told=told)
                    assert one.went_on
                runs += 1
        assert runs == 4 * PARTITIONS
        assert await newest(kafka.bootstrap, into) == await newest(kafka.bootstrap, prefix)


@pytest.mark.timeout(90)
async def test_two_rebuilds_never_write_the_same_table(prefix: str) -> None:
    """The second one does not start while the first is at work; one that started all the same is fenced off."""
    into = f"{prefix}anew."
    async with EmbeddedKafka() as kafka:
        settings = settings_of(kafka.bootstrap, prefix)
        async with shop(kafka.bootstrap, prefix) as lane:
            await lived(lane, NAMES[:4], quiet=1.0)
        await make_table(settings.connection(), into, PARTITIONS)
        async with HeldTable(settings.connection(), into):
            await asyncio.sleep(1)  # it has joined
            with pytest.raises(ConfigError, match=r"another rebuild into .* is running"):
                async with HeldTable(settings.connection(), into):
                    pass
        async with HeldTable(settings.connection(), into):
            pass
        task = (await tasks_of(settings, since=0))[partition_of(b"A-0", PARTITIONS)]
        twin: list[asyncio.Task[Rebuilt]] = []

        def told(done: int) -> None:
            if done == 1:
                twin.append(asyncio.create_task(rebuild_partition(task, into)))

        clock = iter(range(0, 10_000_000, 10))  # each transaction is written by itself

        with suppress(Fenced):
            await rebuild_partition(task, into, told=told, clock=lambda: float(next(clock)))
        await twin[0]
        live = await newest(kafka.bootstrap, prefix)
        mine = {name for name in live if partition_of(name.encode(), PARTITIONS) == task.partition}
        made = await newest(kafka.bootstrap, into)
        assert {name: made[name] for name in mine} == {name: live[name] for name in mine}


@pytest.mark.timeout(120)
async def test_adopted_snapshots_go_live_and_the_lane_goes_on_with_them(prefix: str) -> None:
    """The plan changes nothing; applied, a worker restores them, sequences go on, and a later check names the place."""
    into, name = f"{prefix}anew.", "A-0"
    number = partition_of(name.encode(), PARTITIONS)
    async with EmbeddedKafka() as kafka:
        settings = settings_of(kafka.bootstrap, prefix)
        async with shop(kafka.bootstrap, prefix) as lane:
            await lived(lane, NAMES[:8], quiet=1.0)
        before = await newest(kafka.bootstrap, prefix)
        spoilt = json.dumps({**json.loads(before[name]), "deadlines": [], "attention": ["spoilt"]}).encode()
        await write(kafka.bootstrap, prefix, [Given(Topic.ORDERS, name.encode(), spoilt)])
        await rebuilt(settings, into)
        found = await compare_tables(settings.connection(), prefix, into, PARTITIONS)
        assert [(one.order_id, one.kind) for one in found.differences] == [(name, "differs")]
        for apply in (False, True):
            told = await adopt_snapshots(
                settings.connection(),
                prefix,
                into,
                number,
                [name],
                partitions=PARTITIONS,
                actor="pat@desk",
                reason="it was spoilt",
                apply=apply,
                timestamp_ms=1,
            )
            assert [(one.order_id, one.applied) for one in told] == [(name, apply)]
            live = await newest(kafka.bootstrap, prefix)
            assert live[name] == (before[name] if apply else spoilt)
        async with order_lane(kafka.bootstrap, prefix, policy=POLICY, answering=False) as lane:
            refund = {"refund_id": "late", "amount": "1.00"}
            await lane.send(given("order.refund_requested", name, refund, event_id="late"))
            await lane.settled()
            changes = (await lane.outputs()).changes_of(name)
        assert [one["sequence"] for one in changes] == list(range(1, len(changes) + 1))
        positions = (await read(kafka.bootstrap, prefix, Topic.POSITIONS))[Topic.POSITIONS]
        adopted = [one for one in positions if one.partition == number and dict(one.headers)]
        assert [dict(one.headers)["orderflow-reason"] for one in adopted] == [b"it was spoilt"]
        assert [dict(one.headers)["orderflow-actor"] for one in adopted] == [b"pat@desk"]
        assert decode_position(adopted[0].value, "", number).history is None
        gaps = (await replayed(settings)).gaps
        assert [one.why for one in gaps] == ["an operator repaired it: it was spoilt"]
        with pytest.raises(ConfigError, match="order nobody was not rebuilt"):
            await adopt_snapshots(
                settings.connection(), prefix, into, 0, ["nobody"],
                partitions=PARTITIONS, actor="pat", reason="x", apply=False, timestamp_ms=1,
            )  # fmt: skip


@pytest.mark.timeout(90)
async def test_other_tables_make_another_table_which_is_told_by_its_members(prefix: str) -> None:
    """What would be if they had been in force from the beginning."""
    into = f"{prefix}anew."
    mutant = next(one for one in mutants() if one.name.endswith("checkout_open: without ask_attach_source"))
    async with EmbeddedKafka() as kafka:
        settings = settings_of(kafka.bootstrap, prefix)
        async with shop(kafka.bootstrap, prefix) as lane:
            await lived(lane, NAMES[:3], quiet=1.0)
        with applied(mutant):
            await rebuilt(settings, into)
        found = await compare_tables(settings.connection(), prefix, into, PARTITIONS)
    assert found.differ >= 1
    assert all("internal" in one.members for one in found.differences if one.kind == "differs")


def test_tables_are_compared_order_by_order() -> None:
    """What cannot be read is told, too."""
    found = compared({"A": b"1", "B": b"{", "C": b"same"}, {"A": b"1", "C": b"same", "D": b"x"}, {"B": None})
    assert found.same == 2
    assert [(one.order_id, one.kind) for one in found.differences] == [("B", "unreadable"), ("D", "only_rebuilt")]


def test_a_trace_context_is_no_difference_of_a_table() -> None:
    """A rebuild makes no spans, so its orders keep no context."""
    live = {
        "A": b'{"state":"placing","internal":{"trace":"00-1"}}',
        "B": b'{"internal":{"trace":"00-1","placed":true}}',
    }
    found = compared(live, {"A": b'{"state":"placing","internal":{}}', "B": b'{"internal":{}}'}, dict.fromkeys("AB"))
    assert (found.same, [one.order_id for one in found.differences]) == (1, ["B"])
