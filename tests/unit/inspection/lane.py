"""The order lane of one partition without Kafka: it works batches, and keeps every record that it would have written."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from aiokafka import ConsumerRecord

from consumers.commands.records import outcome_event, read_command
from consumers.orders.fuse import Fuse
from consumers.orders.logic import OrderLogic
from consumers.ownership.logic import Batch
from consumers.ownership.positions import PositionRecord
from consumers.ownership.records import record_of
from consumers.ownership.store import DictStore, Overlay
from orderflow.inspection.entries import KeptRecord
from orderflow.inspection.past import Evidence, OldSnapshot, numbered_changes, relevant
from orderflow.inspection.reading import kept
from producers.encoding import encode_event
from producers.outbox import OutboundRecord, Outbox
from producers.packing.sizes import Room
from producers.topics import ORDER_INPUTS, TOPICS, Topic
from statemachine.messages.envelope import CloudEvent
from statemachine.order.policy import Policy
from tests.unit.statemachine.river import River
from tests.unit.statemachine.story import TOPICS as HOME
from tests.unit.statemachine.story import cart, record, units

BEGIN: Final = datetime(2031, 3, 4, 10, 0, tzinfo=UTC)


def consumed(topic: str, offset: int, key: bytes | None, value: bytes | None, at: datetime) -> ConsumerRecord:
    """A record as the consumer would return it."""
    return ConsumerRecord(
        topic, 0, offset, round(at.timestamp() * 1000), 0, key, value, None, len(key or b""), len(value or b""), ()
    )


@dataclass
class PaperLane:
    """Partition 0 of 1; nothing happens by itself."""

    policy: Policy = field(default_factory=Policy)
    river: River = field(default_factory=River)
    now: datetime = BEGIN
    log: dict[Topic, list[ConsumerRecord]] = field(default_factory=lambda: defaultdict(list))
    positions: list[PositionRecord] = field(default_factory=list)
    #: Every snapshot that there ever was, with the time of its transaction.
    snapshots: dict[str, list[OldSnapshot]] = field(default_factory=lambda: defaultdict(list))
    #: Written and not decided yet.
    unread: list[ConsumerRecord] = field(default_factory=list)
    #: What became of each input by itself, where a transaction had one record: by topic and offset.
    verdicts: dict[tuple[str, int], str] = field(default_factory=dict)
    answered: int = 0
    numbers: int = 0

    def __post_init__(self) -> None:
        self._store = DictStore()
        self._logic = OrderLogic(
            0,
            partitions=1,
            prefix="",
            policy=self.policy,
            fuse=Fuse(records_min=0),
            room=Room(),
            code="1.0",
        )

    def write(self, topic: Topic, key: bytes | None, value: bytes | None) -> None:
        """A record comes in; offsets have gaps, as those of transactions have."""
        offset = self.log[topic][-1].offset + 1 + self.numbers % 3 if self.log[topic] else 0
        made = consumed(topic.value, offset, key, value, self.now)
        self.log[topic].append(made)
        self.unread.append(made)

    def tell(self, order_id: str, kind: str, **data: object) -> None:
        """A public event comes in."""
        self.numbers += 1
        made = record(kind, data, key=order_id, event_id=f"e-{self.numbers}")
        self.write(Topic(HOME[kind]), made.key, made.value)

    def answer(self) -> None:
        """Digital River answers all commands that it has not answered, and reports what it has to."""
        commands = self.log[Topic.DR_COMMANDS]
        for one in commands[self.answered :]:
            command = read_command(record_of(one, Topic.DR_COMMANDS))
            self.write(Topic.INBOX, one.key, outcome_event(command, self.river.answer(command), time=self.now))
        self.answered = len(commands)
        for order_id, fact in self.river.facts:
            self.numbers += 1
            event = CloudEvent(
                f"w-{self.numbers}", "digitalriver", f"digitalriver.{fact.type}", order_id, self.now, _raw(fact)
            )
            self.write(Topic.INBOX, order_id.encode(), encode_event(event))
        self.river.facts.clear()

    async def work(self, most: int = 1000, *, fire: bool = True) -> None:
        """One transaction about at most so many records."""
        batch, self.unread = self.unread[:most], self.unread[most:]
        self.now += timedelta(milliseconds=137)
        overlay = Overlay(self._store)
        outbox = Outbox(dict.fromkeys(map(str, TOPICS), 1), home=0, home_count=1)
        before = self._logic.counts.copy()
        history = await self._logic.step(Batch(batch, self.now if fire else None, self.now), overlay, outbox)
        if len(batch) == 1 and not history.fired:
            after = self._logic.counts - before
            words = [word for word in ("moved", "parked", "repeated", "dead") if after[word]]
            self.verdicts[batch[0].topic, batch[0].offset] = words[0]
        self._store.apply(overlay.changes)
        self._logic.committed(overlay.changes)
        reached = dict(self.positions[-1].next_offsets) if self.positions else {}
        reached |= {one.topic: one.offset + 1 for one in batch}
        full = {topic.value: reached.get(topic.value, 0) for topic in ORDER_INPUTS}
        self.positions.append(PositionRecord(0, 1, len(self.positions) + 1, "x", full, history))
        for order_id, snapshot in overlay.changes.items():
            self.snapshots[order_id].append(OldSnapshot(self.now, snapshot))
        self._keep(outbox)

    def _keep(self, outbox: Outbox) -> None:
        for (topic, _), records in outbox.batches.items():
            for written in records:
                if topic == Topic.INBOX:
                    self.write(Topic.INBOX, written.key, written.value)
                else:
                    self._append(Topic(topic), written)

    def _append(self, topic: Topic, written: OutboundRecord) -> None:
        made = consumed(topic.value, len(self.log[topic]), written.key, written.value, self.now)
        made = ConsumerRecord(**{**made.__dict__, "headers": tuple(written.headers)})
        self.log[topic].append(made)

    def records(self, order_id: str) -> dict[Topic, list[KeptRecord]]:
        """An order's records."""
        key = order_id.encode()
        return {topic: kept([one for one in log if one.key == key], topic) for topic, log in self.log.items()}

    def evidence(
        self, order_id: str, *, left: int = 1, transactions: Sequence[PositionRecord] | None = None
    ) -> Evidence:
        """What the topics have of an order when ``orders`` still has its last ``left`` snapshots."""
        key = order_id.encode()
        inputs = {topic.value: [one for one in self.log[topic] if one.key == key] for topic in ORDER_INPUTS}
        offsets = {name: [one.offset for one in records] for name, records in inputs.items()}
        positions = self.positions if transactions is None else transactions
        changes = [one.value for one in self.log[Topic.ORDER_STATE_CHANGES] if one.key == key]
        return Evidence(
            order_id=order_id,
            prefix="",
            number=0,
            partitions=1,
            snapshots=self.snapshots[order_id][-left:] if left else [],
            inputs=inputs,
            transactions=[one for one in positions if relevant(one, order_id, offsets)],
            reached=self.positions[-1].next_offsets,
            changes=numbered_changes(changes),
        )


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


async def busy(seed: int, *, orders: int = 6, steps: int = 60, batches: tuple[int, ...] = (1, 3, 1000)) -> PaperLane:
    """A lane with several orders at once: carts, sources, placements, shipments, cancels, refunds, returns, silence."""
    chance, lane = random.Random(seed), PaperLane()
    names = [f"A-{number}" for number in range(orders)]
    for _ in range(steps):
        for order_id in chance.sample(names, chance.randint(1, 3)):
            _send(lane, order_id, chance)
        if chance.random() < 0.6:
            lane.answer()
        if chance.random() < 0.3:
            lane.river.tick()
            lane.river.pay_back()
        if chance.random() < 0.2:
            lane.now += timedelta(minutes=chance.choice([1, 3, 60, 60 * 30]))
        await lane.work(chance.choice(batches), fire=chance.random() < 0.7)
    lane.answer()
    while lane.unread:
        await lane.work(max(batches))
    return lane


def _send(lane: PaperLane, order_id: str, chance: random.Random) -> None:
    number = chance.randint(1, 3)
    kinds: list[tuple[str, dict[str, object]]] = [
        ("checkout.requested", cart()),
        ("checkout.requested", cart()),
        ("checkout.updated", cart(("1", 3, "5.00"))),
        ("checkout.source_provided", {"source_id": chance.choice(["sim-card-1", "sim-unknown-1", "sim-wire-1"])}),
        ("checkout.source_provided", {"source_id": "sim-card-2"}),
        ("order.placed", {"terms_accepted": True}),
        ("order.placed", {"terms_accepted": True}),
        ("fulfillment.shipped", {"shipment_id": f"s-{number}", "items": units(l1=1)}),
        ("fulfillment.shipped", {"shipment_id": f"s-{number}", "items": units(l1=2)}),
        ("order.cancel_requested", {"items": units(l1=1)}),
        ("order.refund_requested", {"refund_id": f"r-{number}", "amount": "1.00"}),
        ("order.return_requested", {"return_id": f"t-{number}", "items": units(l1=1)}),
        ("fulfillment.return_received", {"return_id": f"t-{number}", "items": units(l1=1)}),
    ]
    kind, data = chance.choice(kinds)
    lane.tell(order_id, kind, **data)
