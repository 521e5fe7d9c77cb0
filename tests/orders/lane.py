"""A worker of the order lane in this process, fed with real records, and everything that it wrote, read back.

Digital River is the one on paper (``River``): a desk answers the lane's commands through the inbox, as the command lane would.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumers.commands.records import outcome_event, read_command
from consumers.group.membership import GroupOptions, Membership
from consumers.lanes import LaneContext
from consumers.orders.lane import make_order_lane
from consumers.orders.logic import OrderLogic
from consumers.ownership.options import LaneOptions
from consumers.ownership.owner import PartitionState
from consumers.ownership.partition import OwnedPartition
from consumers.ownership.records import record_of
from producers.connection import KafkaConnection
from producers.encoding import encode_event
from producers.packing.sizes import RECORD_BYTES_MAX
from producers.partitioner import partition_of
from producers.topics import INPUT_BYTES_MAX, ORDER_INPUTS, TOPICS, Topic, prefixed
from statemachine.messages.envelope import CloudEvent
from statemachine.order.policy import Policy
from tests.unit.statemachine.river import River
from tests.visible import visible_ends

PARTITIONS = 2
_TOPIC_OF = {
    "checkout": Topic.CHECKOUT_EVENTS,
    "order": Topic.ORDER_EVENTS,
    "fulfillment": Topic.FULFILLMENT_EVENTS,
    "digitalriver": Topic.INBOX,
}

#: Header values may be null in Kafka.
RawHeaders = tuple[tuple[str, bytes | None], ...]


class Given(NamedTuple):
    """A record to write, with no more sense than a test gives it."""

    topic: Topic
    key: bytes | None
    value: bytes | None
    headers: RawHeaders = ()
    #: None: where murmur2 puts it.
    partition: int | None = None
    compression: str | None = None


class Place(NamedTuple):
    """Where a record lies, by the contract's name of its topic."""

    topic: str
    partition: int
    offset: int


def event(kind: str, order_id: str, data: object, *, event_id: str | None = None, **more: object) -> bytes:
    """A CloudEvent in structured mode."""
    known = {
        "specversion": "1.0",
        "id": event_id or uuid.uuid4().hex,
        "source": "/shop",
        "type": kind,
        "subject": order_id,
        "data": data,
    }
    return json.dumps({**known, **more}).encode()


def given(kind: str, order_id: str, data: object, **more: object) -> Given:
    """A good event on its own topic."""
    topic = _TOPIC_OF[kind.split(".", maxsplit=1)[0]]
    return Given(topic, order_id.encode(), event(kind, order_id, data, **more))  # type: ignore[arg-type]  # event_id is a str


def key_on(number: int, name: str = "K", *, partitions: int = PARTITIONS) -> str:
    """An order id that hashes to partition ``number``."""
    return next(found for at in range(10_000) if partition_of((found := f"{name}-{at}").encode(), partitions) == number)


async def make_topics(
    bootstrap: str, prefix: str, *, partitions: int = PARTITIONS, input_bytes_max: int = INPUT_BYTES_MAX
) -> None:
    """The topics of the order lane; inputs take records of ``input_bytes_max``."""
    names = (
        *ORDER_INPUTS,
        Topic.ORDERS,
        Topic.POSITIONS,
        Topic.ORDER_STATE_CHANGES,
        Topic.ORDER_EVENT_REFUSALS,
        Topic.DR_COMMANDS,
        Topic.DEAD_LETTERS,
        Topic.INDEX,
    )
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics(
            [
                NewTopic(
                    prefixed(prefix, name),
                    partitions,
                    1,
                    topic_configs=TOPICS[name].configs(input_bytes_max=input_bytes_max)
                    | ({} if TOPICS[name].ours else {"max.message.bytes": str(input_bytes_max)}),
                )
                for name in names
            ]
        )
    finally:
        await admin.close()


async def write(bootstrap: str, prefix: str, records: Iterable[Given], *, partitions: int = PARTITIONS) -> list[Place]:
    """Write records one by one and say where each of them lies."""
    places: list[Place] = []
    producers: dict[str | None, AIOKafkaProducer] = {}
    try:
        for record in records:
            producer = producers.get(record.compression)
            if producer is None:
                producer = producers[record.compression] = AIOKafkaProducer(
                    bootstrap_servers=bootstrap,
                    compression_type=record.compression,
                    max_request_size=8_000_000,
                    max_batch_size=8_000_000,
                )
                await producer.start()
            number = record.partition
            if number is None:
                number = 0 if record.key is None else partition_of(record.key, partitions)
            batch = producer.create_batch()
            assert batch.append(key=record.key, value=record.value, timestamp=None, headers=list(record.headers))
            sent = await producer.send_batch(batch, prefixed(prefix, record.topic), partition=number)
            places.append(Place(record.topic.value, number, (await sent).offset))
    finally:
        for producer in producers.values():
            await producer.stop()
    return places


async def read(bootstrap: str, prefix: str, *topics: Topic) -> dict[Topic, list[ConsumerRecord]]:
    """Every committed record of topics, by partition and offset."""
    by_name = {prefixed(prefix, topic): topic for topic in topics}
    found: dict[Topic, list[ConsumerRecord]] = {topic: [] for topic in topics}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="none",
        enable_auto_commit=False,
        max_partition_fetch_bytes=8_000_000,
        fetch_max_wait_ms=50,
    )
    await consumer.start()
    try:
        await consumer._client.set_topics(list(by_name))
        tps = [TopicPartition(name, number) for name in by_name for number in consumer.partitions_for_topic(name)]
        consumer.assign(tps)
        ends = await visible_ends(consumer, bootstrap, tps)
        await consumer.seek_to_beginning(*tps)
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for tp, records in (await consumer.getmany(timeout_ms=50)).items():
                found[by_name[tp.topic]].extend(records)
    finally:
        await consumer.stop()
    for records in found.values():
        records.sort(key=lambda record: (record.partition, record.offset))
    return found


class Letter(NamedTuple):
    """A dead letter, its headers told apart."""

    key: bytes | None
    value: bytes | None
    headers: RawHeaders
    reason: str
    detail: str
    place: Place
    at: str


_LETTER_HEADERS = tuple(f"orderflow-{name}" for name in ("reason", "detail", "topic", "partition", "offset", "at"))


def letter_of(record: ConsumerRecord) -> Letter:
    """Read a dead letter; its own six headers must be there, each once."""
    ours = {name: raw.decode() for name, raw in record.headers if name in _LETTER_HEADERS}
    assert [name for name, _ in record.headers if name in _LETTER_HEADERS] == list(_LETTER_HEADERS)
    place = Place(ours["orderflow-topic"], int(ours["orderflow-partition"]), int(ours["orderflow-offset"]))
    return Letter(
        record.key,
        record.value,
        tuple((name, raw) for name, raw in record.headers if name not in _LETTER_HEADERS),
        ours["orderflow-reason"],
        ours["orderflow-detail"],
        place,
        ours["orderflow-at"],
    )


@dataclass
class Outputs:
    """What the lane has written, decoded."""

    #: The CloudEvents of ``order-state-changes``, in the order of their partition.
    changes: list[dict[str, Any]]
    #: Those of ``order-event-refusals``.
    refused: list[dict[str, Any]]
    letters: list[Letter]
    #: The newest snapshot of each order.
    orders: dict[str, dict[str, Any]]
    raw: dict[Topic, list[ConsumerRecord]]

    def changes_of(self, order_id: str) -> list[dict[str, Any]]:
        """The data of one order's changes."""
        return [change["data"] for change in self.changes if change["subject"] == order_id]

    def letter_at(self, place: Place) -> Letter:
        """The one dead letter of a record."""
        found = [letter for letter in self.letters if letter.place == place]
        assert len(found) == 1, f"{len(found)} dead letters for {place}"
        return found[0]


OUTPUT_TOPICS = (
    Topic.ORDER_STATE_CHANGES,
    Topic.ORDER_EVENT_REFUSALS,
    Topic.DEAD_LETTERS,
    Topic.ORDERS,
    Topic.DR_COMMANDS,
    Topic.INBOX,
    Topic.INDEX,
    Topic.POSITIONS,
)


async def read_outputs(bootstrap: str, prefix: str) -> Outputs:
    """All that is committed now."""
    raw = await read(bootstrap, prefix, *OUTPUT_TOPICS)
    newest = {record.key.decode(): record.value for record in raw[Topic.ORDERS]}
    return Outputs(
        changes=[json.loads(record.value) for record in raw[Topic.ORDER_STATE_CHANGES]],
        refused=[json.loads(record.value) for record in raw[Topic.ORDER_EVENT_REFUSALS]],
        letters=[letter_of(record) for record in raw[Topic.DEAD_LETTERS]],
        orders={key: json.loads(value) for key, value in newest.items() if value is not None},
        raw=raw,
    )


@dataclass
class Lane:
    """The worker, and how to talk to it."""

    bootstrap: str
    prefix: str
    membership: Membership
    partitions: int = PARTITIONS
    river: River = field(default_factory=River)
    #: Records that this worker has to carry out.
    sent: int = 0
    #: Its ``run``.
    running: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether the worker has stopped."""
        return self.running is not None and self.running.done()

    def partition(self, number: int) -> OwnedPartition:
        """A partition of the worker's."""
        partition = self.membership.partitions[number]
        assert isinstance(partition, OwnedPartition)
        return partition

    def counts(self, word: str) -> int:
        """What became of records, over all partitions."""
        logics = [self.partition(number)._logic for number in self.membership.partitions]
        return sum(logic.counts[word] for logic in logics if isinstance(logic, OrderLogic))

    def records(self) -> int:
        """How many records were carried out and committed."""
        return sum(self.partition(number).counters.records for number in self.membership.partitions)

    def order(self, order_id: str) -> dict[str, Any]:
        """The committed snapshot in the worker's store; empty when there is none."""
        number = partition_of(order_id.encode(), self.partitions)
        proven = self.partition(number)._proven if number in self.membership.partitions else None
        snapshot = None if proven is None else proven.store.get(order_id)
        return {} if snapshot is None else json.loads(snapshot)

    async def send(self, *records: Given) -> list[Place]:
        """Write records."""
        self.sent += len(records)
        return await write(self.bootstrap, self.prefix, records, partitions=self.partitions)

    async def settled(self) -> None:
        """Wait until all records sent so far, and those that the lane forwarded to itself, are carried out and committed."""
        await self.until(lambda: self.records() >= self.sent + self.counts("forwarded"))

    async def until(self, condition: Callable[[], bool], seconds: float = 25.0) -> None:
        """Wait for something in this process."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  # not announced
                await asyncio.sleep(0.02)

    async def until_state(self, state: str, *order_ids: str) -> None:
        """Wait until orders are in a state."""
        try:
            await self.until(lambda: all(self.order(one).get("state") == state for one in order_ids))
        except TimeoutError:
            found = {one: self.order(one).get("state") for one in order_ids}
            raise AssertionError(f"not all became {state}: {found}") from None

    async def until_partition(self, number: int, state: PartitionState) -> OwnedPartition:
        """Wait until a partition is in a state."""
        await self.until(
            lambda: number in self.membership.partitions and self.partition(number).state is state,
        )
        return self.partition(number)

    async def outputs(self) -> Outputs:
        """All that is committed now."""
        return await read_outputs(self.bootstrap, self.prefix)


def now() -> datetime:
    """The time, as the lane sees it when a test does not say otherwise."""
    return datetime.now(UTC)


@asynccontextmanager
async def order_lane(
    bootstrap: str,
    prefix: str,
    *,
    policy: Policy | None = None,
    clock: Callable[[], datetime] = now,
    fuse_records_min: int = 0,
    partitions: int = PARTITIONS,
    river: River | None = None,
    answering: bool = True,
    record_bytes_max: int = RECORD_BYTES_MAX,
) -> AsyncIterator[Lane]:
    """A worker at work; at the end it leaves as on SIGTERM. ``answering`` False leaves its commands without an outcome."""
    context = LaneContext(
        KafkaConnection(bootstrap, record_bytes_max=record_bytes_max),
        prefix=prefix,
        partitions=partitions,
        incarnation=uuid.uuid4().hex,
        group=GroupOptions(worker="one", session_timeout_ms=6000, heartbeat_interval_ms=300),
        lane_options=LaneOptions(heartbeat_seconds=0.3, position_wait_seconds=0.4, batch_interval_seconds=0.02),
        clock=clock,
    )
    membership = make_order_lane(context, policy=policy or Policy(), fuse_records_min=fuse_records_min)
    lane = Lane(bootstrap, prefix, membership, partitions, river or River())
    stop = asyncio.Event()
    lane.running = asyncio.create_task(membership.run(stop))
    tasks = [lane.running]
    if answering:
        tasks.append(asyncio.create_task(_answer(lane, stop)))
    try:
        yield lane
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def _answer(lane: Lane, stop: asyncio.Event) -> None:
    """The desk: each command of the lane gets its outcome, then come the webhooks that it leads to."""
    commands = prefixed(lane.prefix, Topic.DR_COMMANDS)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=lane.bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(commands, number) for number in range(lane.partitions)])
        while not stop.is_set():
            answers = []
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    command = read_command(record_of(record, Topic.DR_COMMANDS))
                    outcome = outcome_event(command, lane.river.answer(command), time=now())
                    answers.append(Given(Topic.INBOX, record.key, outcome))
            if not answers:
                lane.river.tick()
            await lane.send(*answers, *_reported(lane.river))
    finally:
        await consumer.stop()


def _reported(river: River) -> list[Given]:
    facts, river.facts = river.facts, []
    river.numbers += len(facts)  # what makes the names of webhooks, the same whenever the same is done
    return [
        Given(
            Topic.INBOX,
            order_id.encode(),
            encode_event(
                CloudEvent(
                    f"evt-{number}",
                    "digitalriver",
                    f"digitalriver.{fact.type}",
                    order_id,
                    now(),
                    msgspec.Raw(msgspec.json.encode(fact)),
                )
            ),
        )
        for number, (order_id, fact) in enumerate(facts, river.numbers)
    ]
