"""Whole workers of every lane behind a proxy that lets one request arrive late: outputs once, nothing stopped or started over."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from aiokafka import TopicPartition
from structlog.testing import capture_logs

from consumers.catalogue.lane import make_catalogue_lane
from consumers.commands.calls import CallOptions
from consumers.commands.lane import make_command_lane
from consumers.commands.reader import CommandReader
from consumers.group.membership import Membership
from consumers.lanes import LaneContext
from consumers.orders.lane import make_order_lane
from consumers.ownership.owner import PartitionOwner, PartitionState
from consumers.webhooks.lane import make_webhook_lane
from producers.connection import KafkaConnection, Limits
from producers.encoding import encode_command
from producers.topics import Lane, Topic, group_id, prefixed
from producers.transaction import TransactionalProducer
from statemachine.messages.commands import DeleteCheckout
from statemachine.messages.envelope import Headers
from statemachine.messages.ids import CheckoutId, CommandId, OrderId
from statemachine.order.policy import Policy
from tests.kafka.frames import FrameProxy, Held, Kind
from tests.lanes.kafka import group_options, make_topics, read_all, running, until, write
from tests.lanes.river import FileRiver
from tests.unit.statemachine.story import cart

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(90)]

#: Records of one step of a scenario; each makes one record in the lane's output.
STEP: Final = 6
Written = tuple[bytes, bytes, Headers]
_SETTLED: Final = {PartitionState.RUNNING, PartitionState.STOPPED}


@dataclass(frozen=True)
class Work:
    """One lane: what goes in, what comes out, and a member of it."""

    topic: Topic
    output: Topic
    #: The record that makes the n-th output record, whose name is ``n``.
    record: Callable[[int], Written]
    #: Which one an output record belongs to.
    number: Callable[[bytes, bytes], int]
    member: Callable[[KafkaConnection, str, FileRiver], Membership]
    others: tuple[Topic, ...]


def _event(kind: str, number: int, data: object) -> bytes:
    event = {"specversion": "1.0", "id": f"e{number}", "source": "/shop", "type": kind, "subject": f"A-{number}"}
    return json.dumps({**event, "data": data}).encode()


def _order(number: int) -> Written:
    return f"A-{number}".encode(), _event("checkout.requested", number, cart()), ()


def _command(number: int) -> Written:
    command = DeleteCheckout(
        command_id=CommandId(f"c{number}"), order_id=OrderId(f"A-{number}"), checkout_id=CheckoutId("k")
    )
    return command.order_id.encode(), encode_command(command, time=datetime.now(UTC)), ()


def _webhook(number: int) -> Written:
    body = {"id": f"e{number}", "type": "order.accepted", "upstream": f"A-{number}"}
    return b"any", json.dumps(body).encode(), ()


def _sku(number: int) -> Written:
    data = {"name": "n", "tax_code": "4323.310_A", "country_of_origin": "US", "eccn": "EAR99"}
    event = {"specversion": "1.0", "id": f"e{number}", "source": "/c", "type": "sku.upserted", "data": data}
    return f"A-{number}".encode(), json.dumps(event).encode(), ()


def _orders(connection: KafkaConnection, prefix: str, river: FileRiver) -> Membership:
    context = LaneContext(connection, prefix=prefix, partitions=1, incarnation=uuid.uuid4().hex, group=group_options())
    return make_order_lane(
        context,
        policy=Policy(),
    )


def _commands(connection: KafkaConnection, prefix: str, river: FileRiver) -> Membership:
    context = LaneContext(connection, prefix=prefix, partitions=1, incarnation=uuid.uuid4().hex, group=group_options())
    return make_command_lane(
        context,
        provider=river,
        rate=0,
        calls=CallOptions(http_timeout_seconds=2.0, settle_seconds=0.5),
        lease_seconds=2.0,
    )


def _webhooks(connection: KafkaConnection, prefix: str, river: FileRiver) -> Membership:
    context = LaneContext(connection, prefix=prefix, partitions=1, incarnation=uuid.uuid4().hex, group=group_options())
    return make_webhook_lane(
        context,
        provider=river,
        verify=lambda _body, _header: True,
        rate=0,
    )


def _catalogue(connection: KafkaConnection, prefix: str, river: FileRiver) -> Membership:
    context = LaneContext(connection, prefix=prefix, partitions=1, incarnation=uuid.uuid4().hex, group=group_options())
    return make_catalogue_lane(
        context,
        provider=river,
        rate=0,
        lease_seconds=2.0,
    )


def _key_number(key: bytes, _value: bytes) -> int:
    return int(key.decode().removeprefix("A-"))


WORK: Final[dict[Lane, Work]] = {
    Lane.ORDERS: Work(
        Topic.CHECKOUT_EVENTS,
        Topic.ORDER_STATE_CHANGES,
        _order,
        _key_number,
        _orders,
        (
            Topic.ORDER_EVENTS,
            Topic.FULFILLMENT_EVENTS,
            Topic.INBOX,
            Topic.ORDERS,
            Topic.POSITIONS,
            Topic.DR_COMMANDS,
            Topic.INDEX,
        ),
    ),
    Lane.COMMANDS: Work(Topic.DR_COMMANDS, Topic.INBOX, _command, _key_number, _commands, ()),
    Lane.WEBHOOKS: Work(Topic.DR_WEBHOOKS, Topic.INBOX, _webhook, _key_number, _webhooks, ()),
    Lane.CATALOGUE: Work(Topic.CATALOG_EVENTS, Topic.SKUS, _sku, _key_number, _catalogue, ()),
}


@dataclass
class Play:
    """A lane behind the proxy."""

    lane: Lane
    bootstrap: str
    prefix: str
    proxy: FrameProxy
    river: FileRiver
    written: int = 0

    @property
    def work(self) -> Work:
        """The lane's."""
        return WORK[self.lane]

    @property
    def client(self) -> str:
        """What the producer of the lane's one partition calls itself."""
        return f"{group_id(self.prefix, self.lane)}-0"

    async def feed(self, count: int = STEP, seconds: float = 10.0) -> None:
        """Write one step's records, and wait until each has its output. One record is one transaction."""
        first, self.written = self.written, self.written + count
        records = [self.work.record(number) for number in range(first, self.written)]
        await write(self.bootstrap, prefixed(self.prefix, self.work.topic), records)
        await until(self.bootstrap, prefixed(self.prefix, self.work.output), self.written, seconds)

    async def outputs(self) -> Counter[int]:
        """How many output records each input record has."""
        records = await read_all(self.bootstrap, prefixed(self.prefix, self.work.output))
        return Counter(self.work.number(record.key, record.value) for record in records)

    @asynccontextmanager
    async def member(self, *, tidy: bool = True) -> AsyncIterator[PartitionOwner]:
        """A worker and its partition; one that is not ``tidy`` ends as if it were killed, without a last transaction."""
        connection = KafkaConnection(self.proxy.bootstrap, limits=Limits(operation_seconds=6.0))
        membership = self.work.member(connection, self.prefix, self.river)
        async with running(membership):
            async with asyncio.timeout(20.0):
                while 0 not in membership.partitions or membership.partitions[0].state not in _SETTLED:  # noqa: ASYNC110  # not announced
                    await asyncio.sleep(0.02)
            part = membership.partitions[0]
            yield part
            if not tidy:
                part._finish = _nothing  # type: ignore[method-assign]  # the last words of a worker that leaves

    async def committed(self) -> None:
        """Wait until the group's offset says that all input is done: a command that is looked up first comes last."""
        source = TopicPartition(prefixed(self.prefix, self.work.topic), 0)
        group = group_id(self.prefix, self.lane)
        reader = CommandReader(KafkaConnection(self.bootstrap))
        try:
            async with asyncio.timeout(20.0):
                while (found := await reader.progress(group, source)) is None or found.offset < self.written:  # noqa: ASYNC110  # not announced
                    await asyncio.sleep(0.1)
        finally:
            await reader.close()

    async def inits(self, count: int) -> None:
        """Wait until Kafka has answered so many inits."""
        async with asyncio.timeout(10.0):
            while self.proxy.passed.get(Kind.INIT_PRODUCER_ID, 0) < count:  # noqa: ASYNC110  # not announced
                await asyncio.sleep(0.02)


async def _nothing() -> None:
    """Nothing is said."""


async def play(
    lane: Lane, held_kind: Kind, before: Kind, bootstrap: str, prefix: str, books: Path, *, renewed: bool
) -> list[str]:
    """A request of one step arrives in the next one; then the worker dies and another goes on. What is wrong after that."""
    work = WORK[lane]
    topics = (work.topic, work.output, *work.others, Topic.DEAD_LETTERS, Topic.ORDER_EVENT_REFUSALS)
    await make_topics(bootstrap, prefix, dict.fromkeys(topics, 1))
    async with FrameProxy(bootstrap) as proxy:
        scenario = Play(lane, bootstrap, prefix, proxy, FileRiver(books))
        with capture_logs() as lines:
            found = await _play(scenario, held_kind, before, renewed=renewed)
    said = {str(line["event"]) for line in lines if line["log_level"] in {"warning", "error"}}
    return [*found, *sorted(said)]


async def _play(scenario: Play, held_kind: Kind, before: Kind, *, renewed: bool) -> list[str]:
    found: list[str] = []
    arrived: list[Held] = []
    async with scenario.member(tidy=False) as part:
        await scenario.feed()
        held = scenario.proxy.hold(held_kind, scenario.client)
        await scenario.feed()
        assert held.caught.is_set()
        if renewed:
            await scenario.inits(2)  # at once, although nothing is to be written

        async def arrive() -> None:
            arrived.append(held)
            await held.let_go()

        async def arm() -> None:
            scenario.proxy.before_answer(before, scenario.client, arrive)

        # once its records are written: the command lane may have a transaction without any before it, for its lease
        if before is Kind.PRODUCE:
            await arm()
        else:
            scenario.proxy.before_answer(Kind.PRODUCE, scenario.client, arm)
        try:
            await scenario.feed(1)
        except TimeoutError:
            found.append("nothing more comes out")
        assert arrived, f"{held_kind.name} was not let go"
        if part.state is not PartitionState.RUNNING or part.counters.takeovers != 1 or part.counters.restores > 1:
            found.append(f"{part.state}, taken over {part.counters.takeovers} times")
    if not found:
        async with scenario.member() as part:
            if part.state is PartitionState.STOPPED:
                found.append(f"after a restart: {part.problem}")
            else:
                await scenario.feed()
                await scenario.committed()
    outputs = await scenario.outputs()
    if outputs != dict.fromkeys(range(scenario.written), 1):
        found.append(f"doubled: {sum(outputs.values()) - len(outputs)}, lost: {scenario.written - len(outputs)}")
    if scenario.lane is Lane.COMMANDS:
        effects = Counter(effect["command_id"] for effect in scenario.river.effects())
        found.extend(f"{name} took effect {count} times" for name, count in effects.items() if count > 1)
    return found


#: A late EndTxn would commit the next step's records without its offsets, a late TxnOffsetCommit put the offsets back.
_SCENARIOS = [(Kind.END_TXN, Kind.ADD_OFFSETS), (Kind.TXN_OFFSET_COMMIT, Kind.TXN_OFFSET_COMMIT)]
_OTHERS = [
    (Kind.END_TXN, Kind.PRODUCE),
    (Kind.ADD_PARTITIONS, Kind.ADD_OFFSETS),
    (Kind.ADD_OFFSETS, Kind.PRODUCE),
    (Kind.PRODUCE, Kind.ADD_OFFSETS),
]


@pytest.mark.parametrize("lane", list(WORK))
@pytest.mark.parametrize(
    ("held", "before"), [*_SCENARIOS, *(pytest.param(*scenario, marks=pytest.mark.soak) for scenario in _OTHERS)]
)
async def test_a_late_request_costs_a_lane_nothing(
    apache_kafka: str, prefix: str, tmp_path: Path, lane: Lane, held: Kind, before: Kind
) -> None:
    """Each record has its output once, over a restart too; the partition went on with store and calls, without a warning."""
    found = await play(lane, held, before, apache_kafka, prefix, tmp_path / "books", renewed=True)
    assert found == []


#: The catalogue lane knows an event again by the SKU's snapshot, so its outputs do not show what was torn.
@pytest.mark.parametrize("lane", [Lane.ORDERS, Lane.COMMANDS, Lane.WEBHOOKS])
@pytest.mark.parametrize(("held", "before"), _SCENARIOS)
async def test_without_the_renewal_a_late_request_doubles_or_stops(
    apache_kafka: str,
    prefix: str,
    tmp_path: Path,
    lane: Lane,
    held: Kind,
    before: Kind,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The check above sees what it is for: doubled outputs, or a partition that is stopped by its position record."""

    async def keep(_producer: TransactionalProducer) -> None:
        return

    monkeypatch.setattr(TransactionalProducer, "renew", keep)
    found = await play(lane, held, before, apache_kafka, prefix, tmp_path / "books", renewed=False)
    assert any(word in fault for fault in found for word in ("doubled", "stopped", "after a restart")), found


async def test_calls_go_on_while_their_partition_gets_a_new_producer(
    apache_kafka: str, prefix: str, tmp_path: Path
) -> None:
    """What is on its way at Digital River ends with its outcome; nothing is looked up, repeated or waited for."""
    await make_topics(
        apache_kafka,
        prefix,
        {Topic.DR_COMMANDS: 1, Topic.INBOX: 1, Topic.DEAD_LETTERS: 1, Topic.ORDER_EVENT_REFUSALS: 1},
    )
    river = FileRiver(tmp_path / "books")
    async with FrameProxy(apache_kafka) as proxy:
        scenario = Play(Lane.COMMANDS, apache_kafka, prefix, proxy, river)
        async with scenario.member() as part:
            await scenario.feed()
            river._answer_seconds = 4.0  # twice as long as a lease: it has to be kept up meanwhile
            feeding = asyncio.create_task(scenario.feed(seconds=20.0))
            async with asyncio.timeout(10.0):
                while river.in_flight < STEP:  # noqa: ASYNC110  # not announced
                    await asyncio.sleep(0.02)
            held = proxy.hold(Kind.END_TXN, scenario.client)
            await asyncio.wait_for(held.caught.wait(), 10.0)
            await scenario.inits(2)
            assert river.in_flight == STEP, "the calls were cut off"
            await feeding
            assert part.counters.takeovers == 1
            assert part.state is PartitionState.RUNNING
        assert await scenario.outputs() == dict.fromkeys(range(scenario.written), 1)
    assert river.count("look") == 0
    assert river.count("call") == scenario.written
