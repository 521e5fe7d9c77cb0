"""Commands that are paused wait, with those behind them in their order; all others go on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from consumers.commands.pipeline import CommandPipeline
from consumers.commands.progress import WINDOW_OFFSETS
from consumers.commands.reader import command_topics
from consumers.commands.records import PendingCommand
from consumers.ownership.options import LaneOptions
from consumers.ownership.owner import Counters
from consumers.pauses.records import Pause
from consumers.pauses.scopes import Scope
from consumers.pauses.table import Pauses
from producers.encoding import encode_command
from producers.packing.sizes import Room
from producers.topics import Lane
from statemachine.errors import TransportFailure
from statemachine.messages.commands import Command, RefreshOrder
from statemachine.messages.ids import CommandId, OrderId, RemoteOrderId
from tests.unit.consumers.steady import Bench, delete
from tests.unit.consumers.test_command_queues import Queues, until_called

NOW = datetime(2031, 3, 4, tzinfo=UTC)


def refresh(command_id: str, order_id: str) -> RefreshOrder:
    """A command of another kind than ``delete``."""
    return RefreshOrder(
        command_id=CommandId(command_id),
        order_id=OrderId(order_id),
        dr_order_id=RemoteOrderId(f"dr-{order_id}"),
        currency="USD",
    )


def paused(at: Queues, *names: str) -> None:
    """Pause these names of commands, and no others."""
    at.permit.is_paused = lambda name: name in names
    at.queues.pauses_changed()


async def settled() -> None:
    """Let all tasks go as far as they can."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_a_paused_kind_waits_with_what_is_behind_it_and_others_go_on(tmp_path: Path) -> None:
    """Law: one order's commands stay in order; when it is resumed each takes effect once."""
    at = Queues(tmp_path / "books")
    paused(at, "delete_checkout")
    at.queues.add(PendingCommand(0, delete("c0", "A-1")))
    at.queues.add(PendingCommand(1, refresh("c1", "A-1")))
    at.queues.add(PendingCommand(2, refresh("c2", "A-2")))
    at.queues.add(PendingCommand(3, delete("c3", "A-2")))
    await settled()
    assert [one for one, _ in at.finished.seen] == ["c2"]
    assert (at.queues.held, at.queues.working, at.queues.active) == (3, False, True)
    assert at.queues._tasks == {}
    paused(at)
    await at.until_idle()
    assert sorted(one for one, _ in at.finished.seen) == ["c0", "c1", "c2", "c3"]
    assert [one for one, _ in at.finished.seen].index("c0") < [one for one, _ in at.finished.seen].index("c1")
    assert [at.bench.effects(f"c{n}") for n in range(4)] == [1, 1, 1, 1]
    assert (at.queues.held, at.queues.working) == (0, False)
    await at.end()


async def test_a_call_in_flight_ends_and_the_next_one_does_not_begin(tmp_path: Path) -> None:
    """Law: a pause takes no answer away."""
    at = Queues(tmp_path / "books")
    at.bench.river._answer_seconds = 0.05
    at.queues.add(PendingCommand(0, delete("c0")))
    at.queues.add(PendingCommand(1, delete("c1")))
    await until_called(at)
    paused(at, "delete_checkout")
    async with asyncio.timeout(5):
        while at.queues._tasks:  # noqa: ASYNC110  # nothing tells a test
            await asyncio.sleep(0.005)
    assert at.finished.seen == [("c0", "confirmed")]
    assert (at.bench.effects("c1"), at.queues.held) == (0, 1)
    paused(at)
    await at.until_idle()
    assert at.bench.effects("c1") == 1
    await at.end()


async def test_a_command_that_waited_for_a_slot_when_it_was_paused_is_not_called(tmp_path: Path) -> None:
    """Law: within the time that one request takes nothing paused is begun, however long the queue for slots is."""
    at = Queues(tmp_path / "books")
    slots = asyncio.Semaphore(1)
    at.bench.caller._slots = slots
    at.bench.river._answer_seconds = 0.05
    at.queues.add(PendingCommand(0, delete("c0", "A-0")))
    at.queues.add(PendingCommand(1, delete("c1", "A-1")))
    await until_called(at)
    paused(at, "delete_checkout")
    async with asyncio.timeout(5):
        while at.queues._tasks:  # noqa: ASYNC110  # nothing tells a test
            await asyncio.sleep(0.005)
    assert (at.bench.effects("c0"), at.bench.effects("c1")) == (1, 0)
    assert (at.queues.held, slots.locked()) == (1, False)
    await at.end()


async def test_an_unanswered_call_is_looked_up_only_when_the_pause_is_over(tmp_path: Path) -> None:
    """Law: a pause neither repeats a call nor forgets that one may have taken effect."""
    at = Queues(tmp_path / "books")
    at.bench.fail = lambda what, count: TransportFailure("cut", sent=True) if (what, count) == ("after", 1) else None
    at.bench.river._answer_seconds = 0.05
    at.queues.add(PendingCommand(0, delete("c0")))
    await until_called(at)
    paused(at, "delete_checkout")
    async with asyncio.timeout(5):
        while at.queues._tasks:  # noqa: ASYNC110  # nothing tells a test
            await asyncio.sleep(0.005)
    assert at.bench.river.count("look") == 0
    (kept,) = at.queues.unfinished()
    assert kept.look_first
    paused(at)
    await at.until_idle()
    assert (at.bench.effects("c0"), at.finished.seen) == (1, [("c0", "confirmed")])
    await at.end()


async def test_a_pause_gives_the_probe_of_the_breaker_back(tmp_path: Path) -> None:
    """Law: a paused command that was to probe does not keep the breaker open for the others."""
    at = Queues(tmp_path / "books")
    at.bench.breaker.denied("the key", at.bench.time.now)
    at.queues.add(PendingCommand(0, delete("c0")))
    probed: list[str] = []

    def is_paused(name: str) -> bool:
        """From the moment on at which it is the probe."""
        if at.bench.breaker._probing:
            probed.append(name)
        return bool(probed) and name == "delete_checkout"

    at.permit.is_paused = is_paused
    async with asyncio.timeout(5):
        while at.queues._tasks:  # noqa: ASYNC110  # nothing tells a test
            await asyncio.sleep(0.001)
    assert (probed[0], at.queues.held) == ("delete_checkout", 1)
    assert not at.bench.breaker._probing
    at.queues.add(PendingCommand(1, refresh("c1", "A-2")))
    async with asyncio.timeout(5):
        while not at.finished.seen:  # noqa: ASYNC110  # nothing tells a test
            await asyncio.sleep(0.001)
    assert (at.finished.seen[0][0], at.bench.breaker.closed) == ("c1", True)
    await at.end()


@pytest.fixture
async def line(tmp_path: Path) -> Any:
    """A pipeline, its bench and its pauses."""
    bench, pauses = Bench(tmp_path / "books"), Pauses()
    made = CommandPipeline(
        TopicPartition("dr-commands", 0),
        topics=command_topics(""),
        incarnation="one",
        caller=bench.caller,
        lease_seconds=5.0,
        options=LaneOptions(),
        room=Room(),
        counters=Counters(),
        clock=lambda: NOW,
        wake=asyncio.Event(),
        pauses=pauses.of(Lane.COMMANDS, 0),
    )
    made.history.seen.begin(0, 0)
    made.permit.lease.renew(bench.time.now)
    yield made, pauses, bench
    await made.forget()


def read(offset: int, command: Command) -> ConsumerRecord:
    """A record of ``dr-commands``."""
    key, value = command.order_id.encode(), encode_command(command, time=NOW)
    at = int(NOW.timestamp() * 1000)
    return ConsumerRecord("dr-commands", 0, offset, at, 0, key, value, None, len(key), len(value), ())


def pause_of(scope: Scope) -> dict[Scope, Pause]:
    """One pause."""
    return {scope: Pause(scope, "ann", "maintenance", NOW)}


ROOMY = 64 * 1024 * 1024


async def test_ten_thousand_paused_commands_leave_room_for_others(line: Any) -> None:
    """Law: they take neither tasks nor the places of others; the watermark stays at the first of them, done ones above it."""
    pipeline, pauses, _ = cast("tuple[CommandPipeline, Pauses, Bench]", line)
    pauses.replace(pause_of(Scope(Lane.COMMANDS, command="delete_checkout")))
    assert pipeline.take([read(n, delete(f"c{n}", f"A-{n}")) for n in range(10_000)], ROOMY) is None
    assert (pipeline.queues.held, len(pipeline.queues._tasks)) == (10_000, 0)
    assert (pipeline.has_room(ROOMY), pipeline.must_write, pipeline.crowded_out(ROOMY)) == (True, False, None)
    assert pipeline.transactions.watermark.pending_bytes < 10_000 * 2048
    assert pipeline.take([read(n, refresh(f"c{n}", f"B-{n}")) for n in range(10_000, 10_050)], ROOMY) is None
    await settled()
    assert len(pipeline.finished) == 50
    after = pipeline.transactions.watermark.with_finished(pipeline.finished.offsets)
    assert (after.offset, after.read_to, after.pending) == (0, 10_050, 10_000)


async def test_when_the_window_is_full_of_what_is_paused_a_line_says_so(line: Any) -> None:
    """Law: who waits for a paused command without being paused is told about."""
    pipeline, pauses, _ = cast("tuple[CommandPipeline, Pauses, Bench]", line)
    pauses.replace(pause_of(Scope(Lane.COMMANDS, command="delete_checkout")))
    assert pipeline.take([read(0, delete("c0"))], ROOMY) is None
    left_at = pipeline.take([read(WINDOW_OFFSETS + 5, refresh("c1", "B-1"))], ROOMY)
    assert left_at == WINDOW_OFFSETS + 5
    assert pipeline.crowded_out(ROOMY) is not None
    pauses.replace({})
    assert pipeline.crowded_out(ROOMY) is None


async def test_a_paused_partition_takes_nothing_and_starts_nothing(line: Any) -> None:
    """Law: the lane and the partition as scopes hold commands of every name, and write no transaction for the lease."""
    pipeline, pauses, bench = cast("tuple[CommandPipeline, Pauses, Bench]", line)
    assert pipeline.take([read(0, delete("c0"))], ROOMY) is None
    pauses.replace(pause_of(Scope(Lane.COMMANDS, 0)))
    assert pipeline.take([read(1, delete("c1", "A-2"))], ROOMY) == 1
    await settled()
    assert (bench.river.count("call"), pipeline.queues.held) == (0, 1)
    bench.time.now += 60.0
    assert not pipeline.must_write
    pauses.replace(pause_of(Scope(Lane.COMMANDS, 7)))
    pipeline.permit.lease.renew(bench.time.now)
    await settled()
    assert (bench.effects("c0"), pipeline.has_room(ROOMY)) == (1, True)
