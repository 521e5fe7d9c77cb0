"""What is paused: scopes and records, the table that lanes ask, and what a partition does meanwhile. No Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from consumers.group.pause_reader import PauseReader, take_all
from consumers.ownership.changelog import ChangelogReader
from consumers.ownership.logic import Batch
from consumers.ownership.options import LaneOptions, LaneTopics, PartitionContext
from consumers.ownership.owner import PartitionState
from consumers.ownership.partition import OwnedPartition, with_deadlines
from consumers.ownership.store import DictStore, Overlay, Store
from consumers.pauses.records import Pause, read_pause, shown
from consumers.pauses.scopes import Scope, read_scope
from consumers.pauses.table import Pauses
from producers.connection import KafkaConnection
from producers.outbox import Outbox
from producers.topics import Lane

NOW = datetime(2031, 3, 4, 10, 11, 12, tzinfo=UTC)
TP = TopicPartition("input", 0)


def pause(scope: Scope, reason: str = "maintenance") -> Pause:
    """A pause by Ann."""
    return Pause(scope, "ann", reason, NOW)


def of(*scopes: Scope) -> dict[Scope, Pause]:
    """A table of pauses."""
    return {scope: pause(scope) for scope in scopes}


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("lane/orders", Scope(Lane.ORDERS)),
        ("partition/webhooks/12", Scope(Lane.WEBHOOKS, 12)),
        ("command/create_refund", Scope(Lane.COMMANDS, command="create_refund")),
        ("command/of_a_newer_version", Scope(Lane.COMMANDS, command="of_a_newer_version")),
    ],
)
def test_a_scope_is_read_as_it_is_written(text: str, scope: Scope) -> None:
    """Law: what is written is what is obeyed."""
    assert read_scope(text) == scope
    assert str(scope) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lane",
        "lane/",
        "lane/order",
        "partition/orders",
        "partition/orders/01",
        "partition/orders/-1",
        "command/",
        "x",
    ],
)
def test_what_is_no_scope_pauses_nothing(text: str) -> None:
    """A typing error of another tool must not pause a lane."""
    assert read_scope(text) is None


def test_what_operators_wrote_is_short_and_on_one_line() -> None:
    """Law: nothing in a reason can forge a line of a log or move a terminal's cursor."""
    assert shown("a\nb\x1b[2J\tc\u2028d") == "a b [2J c d"
    assert len(shown("x" * 10_000)) == 200
    found = read_pause(Scope(Lane.ORDERS), b'{"scope":"lane/orders","actor":"ann\\n","reason":"a\\u0000b"}')
    assert (found.actor, found.reason, found.since) == ("ann", "a b", None)


def test_a_pause_that_cannot_be_read_is_a_pause() -> None:
    """Who writes such a key wants something to stop."""
    assert read_pause(Scope(Lane.ORDERS), b"no json").reason == "the record of the pause cannot be read"


def test_a_partition_is_paused_by_its_lane_or_itself_and_a_command_by_its_name_too() -> None:
    """Law: no scope reaches further than it says."""
    pauses = Pauses()
    changes: list[int] = []
    pauses.listen(lambda: changes.append(1))
    orders, commands = pauses.of(Lane.ORDERS, 3), pauses.of(Lane.COMMANDS, 3)
    pauses.replace(of(Scope(Lane.ORDERS, 3), Scope(Lane.COMMANDS, command="create_refund")))
    assert orders.current == pause(Scope(Lane.ORDERS, 3))
    assert pauses.of(Lane.ORDERS, 2).current is None
    assert (commands.current, commands.of_command("create_return")) == (None, None)
    assert commands.of_command("create_refund") is not None
    pauses.replace(of(Scope(Lane.COMMANDS)))
    assert pauses.of(Lane.ORDERS, 3).current is None
    assert commands.of_command("create_return") == pause(Scope(Lane.COMMANDS))
    assert len(changes) == 2


def operation(key: bytes, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> ConsumerRecord:
    """A record of ``orderflow.operations``."""
    return ConsumerRecord("orderflow.operations", 0, 0, 0, 0, key, value, None, 0, 0, tuple(headers))


def test_the_reader_takes_pauses_and_tombstones_and_passes_over_all_else() -> None:
    """Actions, letters and keys that nobody knows share the topic."""
    found: dict[Scope, Pause] = {}
    resumed: dict[Scope, tuple[str, str]] = {}
    records = [
        operation(b"action/1", b"{}"),
        operation(b"pause/lane/nothing", b"{}"),
        operation(b"pause/lane/orders", b'{"actor":"ann","reason":"r"}'),
        operation(b"pause/lane/webhooks", b'{"actor":"ann","reason":"r"}'),
        operation(b"pause/lane/orders", None, [("orderflow-actor", b"bob"), ("orderflow-reason", b"over")]),
        operation(b"\xff", b"{}"),
    ]
    take_all(records, found, resumed)
    assert set(found) == {Scope(Lane.WEBHOOKS)}
    assert resumed == {Scope(Lane.ORDERS): ("bob", "over")}


def test_a_reader_that_knows_nothing_yet_says_so() -> None:
    """Law: a worker that cannot read what is paused is not ready."""
    reader = PauseReader(KafkaConnection("127.0.0.1:1"), "shop.", 1, Pauses())
    assert reader.problem == "reading shop.orderflow.operations: no lane works before it is known what is paused"


class PaperConsumer:
    """A consumer that is only told what to do."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def assignment(self) -> set[TopicPartition]:
        """All of it."""
        return {TP}

    def pause(self, *tps: TopicPartition) -> None:
        """Note it."""
        self.told.append(("pause", *tps))

    def resume(self, *tps: TopicPartition) -> None:
        """Note it."""
        self.told.append(("resume", *tps))

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Note it."""
        self.told.append(("seek", tp, offset))

    async def position(self, _tp: TopicPartition) -> int:
        """Nothing is beyond what was fed."""
        await asyncio.sleep(0)
        return 0


class DueLogic:
    """Has a deadline that is always due."""

    async def opened(self, store: Store) -> None:
        """Nothing is derived."""

    async def step(self, batch: Batch, overlay: Overlay, outbox: Outbox) -> None:
        """Nothing is written."""

    def committed(self, changes: Mapping[str, bytes | None]) -> None:
        """Nothing was."""

    def next_due(self) -> datetime | None:
        """Long ago."""
        return NOW - timedelta(days=1)


class PaperReader:
    """Knows the ends of topics."""

    async def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Nothing is unread."""
        return dict.fromkeys(partitions, 0)


def order_partition(pauses: Pauses, consumer: PaperConsumer) -> OwnedPartition:
    """A partition with deadlines, as it is once it has taken over."""
    context = PartitionContext(
        0,
        partitions=1,
        group="g",
        topics=LaneTopics(inputs={"input": "input"}, changelog=None, positions=None, outputs=()),
        options=LaneOptions(batch_interval_seconds=0.0),
        connection=KafkaConnection("127.0.0.1:1"),
        consumer=consumer,
        reader=cast("ChangelogReader", PaperReader()),
        incarnation="one",
        clock=lambda: NOW,
        pauses=pauses.of(Lane.ORDERS, 0),
    )
    made = OwnedPartition(
        context, make_store=lambda _number: DictStore(), make_intake=with_deadlines(lambda _number: DueLogic())
    )
    made._logic = made._intake.new_logic()
    made._input.next_offsets = {TP: 0}
    made._start_reading()
    return made


def fetched(count: int) -> list[Any]:
    """Records of the input."""
    return [ConsumerRecord("input", 0, offset, 0, 0, b"k", b"v", None, 1, 1, ()) for offset in range(count)]


async def worked(partition: OwnedPartition, until: Callable[[], bool]) -> list[Batch]:
    """The batches that a partition takes until a condition holds."""
    batches: list[Batch] = []

    async def carry_out(batch: Batch) -> None:
        await asyncio.sleep(0.001)
        batches.append(batch)
        partition._input.next_offsets = {TP: partition._input.reached(batch.records)[TP]}

    partition._carry_out = carry_out  # type: ignore[method-assign]  # without Kafka
    working = asyncio.create_task(partition._work())
    async with asyncio.timeout(5):
        while not until():  # noqa: ASYNC110  # nothing tells a test
            await asyncio.sleep(0.005)
    partition._leaving.set()
    partition._wake.set()
    await working
    return batches


async def test_a_paused_partition_takes_no_batch_and_fires_no_deadline_and_stays_ours() -> None:
    """It reads nothing either, so that nothing is held in memory; what had been fetched is read again afterwards."""
    pauses, consumer = Pauses(), PaperConsumer()
    partition = order_partition(pauses, consumer)
    partition.feed(TP, fetched(3))
    pauses.replace(of(Scope(Lane.ORDERS)))
    held = 0

    def a_while() -> bool:
        nonlocal held
        held += 1
        partition.feed(TP, fetched(3))
        return held > 20

    assert await worked(partition, a_while) == []
    assert (partition.state, partition.accepts_records, partition.problem) == (PartitionState.RUNNING, False, None)
    assert (len(partition._input), consumer.told[-1]) == (0, ("pause", TP))
    assert partition.pause == pause(Scope(Lane.ORDERS))


async def test_a_partition_that_is_resumed_reads_on_where_it_stood_and_fires() -> None:
    """Law: a pause loses nothing, doubles nothing and reorders nothing."""
    pauses, consumer = Pauses(), PaperConsumer()
    partition = order_partition(pauses, consumer)
    pauses.replace(of(Scope(Lane.ORDERS, 0)))
    turns = 0

    def resumed() -> bool:
        nonlocal turns
        turns += 1
        if turns == 5:
            partition.feed(TP, fetched(3))  # fetched before reading stopped: dropped
            pauses.replace({})
        if turns > 10 and consumer.told[-1] == ("resume", TP) and turns % 2:
            partition.feed(TP, [record for record in fetched(3) if record.offset >= partition.read_position(TP)])
        return turns > 40

    batches = await worked(partition, resumed)
    assert [record.offset for batch in batches for record in batch.records] == [0, 1, 2]
    assert any(batch.fire_until is not None for batch in batches)
    assert consumer.told[-2:] == [("seek", TP, 0), ("resume", TP)]


async def test_a_take_over_during_a_pause_stays_paused() -> None:
    """Law: who starts or takes over begins nothing that is paused."""
    pauses = Pauses()
    pauses.replace(of(Scope(Lane.ORDERS)))
    partition = order_partition(pauses, PaperConsumer())
    partition.feed(TP, fetched(3))
    turns = iter(range(20))
    assert await worked(partition, lambda: next(turns, None) is None) == []
