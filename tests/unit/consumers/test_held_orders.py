"""Held orders in the order lane, without Kafka: what fails holds its order, and no deadline of it is due."""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from aiokafka import ConsumerRecord

from consumers.orders import deadline_firing, logic
from consumers.orders.fuse import Fuse
from consumers.orders.logic import OrderLogic
from consumers.ownership.logic import Batch
from consumers.ownership.store import DictStore, Overlay
from producers.outbox import OutboundRecord, Outbox
from producers.packing.sizes import Room
from producers.topics import Topic
from statemachine.decide import decide
from statemachine.order.policy import Policy
from statemachine.order.snapshot import decode_snapshot, encode_snapshot
from tests.unit.statemachine.story import TOPICS, Story, cart, record, units

COUNTS = {topic.value: 1 for topic in Topic}


class Lane:
    """One partition of the order lane: batches go in, what they write comes out."""

    def __init__(self, story: Story, *, snapshot_bytes_max: int = 512 * 1024) -> None:
        self.store = DictStore()
        if story.order is not None:
            self.store.apply({"A-1": encode_snapshot(story.order)})
        self.now = story.now
        self.offset = 100
        self.logic = OrderLogic(
            0,
            partitions=1,
            prefix="",
            policy=Policy(),
            fuse=Fuse(records_min=0),
            room=Room(),
            snapshot_bytes_max=snapshot_bytes_max,
        )

    async def step(self, *records: ConsumerRecord[bytes, bytes], fire: bool = False) -> Outbox:
        """Work one batch and commit it."""
        outbox, overlay = Outbox(COUNTS, home=0, home_count=1), Overlay(self.store)
        await self.logic.step(Batch(records, self.now if fire else None, self.now), overlay, outbox)
        self.store.apply(overlay.changes)
        self.logic.committed(overlay.changes)
        return outbox

    def consumed(self, kind: str, data: dict[str, Any], event_id: str) -> ConsumerRecord[bytes, bytes]:
        """A record as aiokafka gives it."""
        self.offset += 1
        made = record(kind, data, event_id=event_id)
        assert made.value is not None
        topic = TOPICS.get(kind, Topic.INBOX.value)
        return ConsumerRecord(topic, 0, self.offset, 0, 0, made.key, made.value, None, 3, len(made.value), ())

    def act(self, kind: str, event_id: str, **data: Any) -> ConsumerRecord[bytes, bytes]:
        """An operator's event."""
        return self.consumed(f"operator.{kind}", {"actor": "pat@host", "reason": "a test", **data}, event_id)

    def redelivered(self, letter: OutboundRecord, event_id: str) -> ConsumerRecord[bytes, bytes]:
        """An operator's event that delivers a dead letter again, as a tool makes it."""
        headers = dict(letter.headers)
        ours = {name for name in headers if name.startswith("orderflow-") and name != "orderflow-redelivered"}
        place = {name: (headers[f"orderflow-{name}"] or b"").decode() for name in ("topic", "partition", "offset")}
        return self.act(
            "redelivered",
            event_id,
            topic=place["topic"],
            partition=int(place["partition"]),
            offset=int(place["offset"]),
            key=_text(letter.key),
            value=_text(letter.value),
            headers=[[name, _text(content)] for name, content in letter.headers if name not in ours],
        )

    @property
    def snapshot(self) -> dict[str, Any]:
        """The order as anybody reads it."""
        found: dict[str, Any] = msgspec.json.decode(self.store.get("A-1") or b"{}")
        return found


def _text(content: bytes | None) -> str | None:
    return None if content is None else b64encode(content).decode()


def written(outbox: Outbox, topic: Topic) -> list[OutboundRecord]:
    """What was written to a topic."""
    return [one for (name, _), batch in outbox.batches.items() if name == topic.value for one in batch]


def changes(outbox: Outbox) -> list[dict[str, Any]]:
    """The documents in the topic of the changes."""
    return [msgspec.json.decode(one.value or b"") for one in written(outbox, Topic.ORDER_STATE_CHANGES)]


def refusals(outbox: Outbox) -> list[dict[str, Any]]:
    """The documents in the topic of the refusals."""
    return [msgspec.json.decode(one.value or b"") for one in written(outbox, Topic.ORDER_EVENT_REFUSALS)]


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """A release whose ``decide`` fails on the types in this set."""
    broken: set[str] = set()

    def faulty(order: Any, event: Any, **more: Any) -> Any:
        waits = order is not None and order.held is not None
        if event.type in broken and not waits:
            raise KeyError("personal data")
        return decide(order, event, **more)

    monkeypatch.setattr(logic, "decide", faulty)
    monkeypatch.setattr(deadline_firing, "decide", faulty)
    return broken


async def test_an_event_that_fails_holds_its_order_and_later_events_wait(fault: set[str]) -> None:
    """The letter is written once; the events after it are decided after it, once it is repaired."""
    lane = Lane(Story().to_ready())
    fault.add("order.placed")
    outbox = await lane.step(
        lane.consumed("order.placed", {"terms_accepted": True}, "e-placed"),
        lane.consumed("fulfillment.shipped", {"shipment_id": "s-1", "items": units(l1=1)}, "e-ship"),
    )
    (letter,) = written(outbox, Topic.DEAD_LETTERS)
    assert dict(letter.headers)["orderflow-reason"] == b"failed"
    assert lane.snapshot["held"]["actor"] == "orderflow"
    assert [one["type"] for one in lane.snapshot["parked"]] == ["order.placed", "fulfillment.shipped"]
    fault.clear()
    outbox = await lane.step(lane.act("released", "release"))
    assert lane.snapshot["state"] == "placing"
    assert lane.snapshot["held"] is None
    assert len(written(outbox, Topic.DR_COMMANDS)) == 1
    assert not written(outbox, Topic.DEAD_LETTERS)
    assert [one["data"]["cause"]["type"] for one in changes(outbox)] == ["operator.released", "order.placed"]


async def test_the_first_event_of_an_order_that_fails_is_kept_in_a_held_order(fault: set[str]) -> None:
    """Else its cart would come after its payment."""
    lane = Lane(Story())
    fault.add("checkout.requested")
    await lane.step(lane.consumed("checkout.requested", cart(), "e-cart"))
    assert (lane.snapshot["state"], lane.snapshot["held"]["actor"]) == ("awaited", "orderflow")
    fault.clear()
    await lane.step(lane.act("released", "release"))
    assert lane.snapshot["state"] == "checkout_pending"


async def test_no_deadline_of_a_held_order_is_due_and_after_the_release_it_is() -> None:
    """Also for a worker that takes the partition over."""
    story = Story().to_open()
    lane = Lane(story)
    await lane.logic.opened(lane.store)
    assert lane.logic.next_due() is not None
    await lane.step(lane.act("held", "hold"))
    assert lane.logic.next_due() is None
    again = Lane(story)
    await again.logic.opened(lane.store)
    assert again.logic.next_due() is None
    lane.now += timedelta(days=2)
    await lane.step(fire=True)
    assert lane.snapshot["state"] == "checkout_open"
    await lane.step(lane.act("released", "release"))
    assert lane.logic.next_due() is not None
    await lane.step(fire=True)
    assert lane.snapshot["state"] == "abandoned"


async def test_a_deadline_that_fails_holds_its_order_and_fires_after_the_release(fault: set[str]) -> None:
    """It fires once, not until the release."""
    lane = Lane(Story().to_open())
    await lane.logic.opened(lane.store)
    fault.add("orderflow.deadline")
    lane.now += timedelta(days=2)
    outbox = await lane.step(fire=True)
    assert lane.logic.counts["fired"] == 1
    assert not written(outbox, Topic.DEAD_LETTERS)
    assert lane.snapshot["attention"] == [
        "deadline abandon failed: internal error (KeyError); the worker's log has the details"
    ]
    assert lane.logic.next_due() is None
    fault.clear()
    await lane.step(lane.act("released", "release"), fire=True)
    await lane.step(fire=True)
    assert lane.snapshot["state"] == "abandoned"
    assert lane.snapshot["attention"] == []


async def test_a_failed_event_that_does_not_fit_is_only_in_its_letter(fault: set[str]) -> None:
    """The snapshot stays within its limit, and the order holds all the same."""
    story = Story().to_ready()
    assert story.order is not None
    fault.add("order.cancel_requested")
    limit = len(encode_snapshot(story.order)) + 8 * 1024 + 500
    lane = Lane(story, snapshot_bytes_max=limit)
    outbox = await lane.step(lane.consumed("order.cancel_requested", {"reason": "\\" * 250}, "e-cancel"))
    assert len(written(outbox, Topic.DEAD_LETTERS)) == 1
    assert lane.snapshot["held"] is not None
    assert lane.snapshot["parked"] == []
    assert "only its dead letter has it" in lane.snapshot["attention"][-1]
    assert len(lane.store.get("A-1") or b"") <= limit


async def test_a_redelivered_record_that_is_refused_again_is_a_letter_of_itself() -> None:
    """With its first place, how often it was delivered again, and its sender is told again."""
    lane = Lane(Story().to_placed())
    outbox = await lane.step(lane.consumed("checkout.requested", cart(), "e-cart"))
    (letter,) = written(outbox, Topic.DEAD_LETTERS)
    (told,) = refusals(outbox)
    assert "orderflow-redelivered" not in dict(letter.headers)
    for count in (1, 2, 3):
        outbox = await lane.step(lane.redelivered(letter, f"again-{count}"))
        (again,) = written(outbox, Topic.DEAD_LETTERS)
        headers = dict(again.headers)
        assert headers.pop("orderflow-redelivered") == str(count).encode()
        before = {name: content for name, content in letter.headers if name != "orderflow-redelivered"}
        assert (again.key, again.value, headers) == (letter.key, letter.value, before)
        (told_again,) = refusals(outbox)
        assert told_again["data"] == told["data"]
        assert told_again["id"] != told["id"]
        letter, told = again, told_again


async def test_a_redelivered_record_that_cannot_be_read_is_a_letter_of_itself() -> None:
    """Whatever the fault is, the record that an operator sees is the one that was sent."""
    lane = Lane(Story().to_placed())
    headers = (("orderflow-topic", b"order-events"), ("orderflow-partition", b"0"), ("orderflow-offset", b"7"))
    outbox = await lane.step(lane.redelivered(OutboundRecord(b"A-1", b"no event", headers), "again"))
    (letter,) = written(outbox, Topic.DEAD_LETTERS)
    found = dict(letter.headers)
    assert (letter.value, found["orderflow-reason"]) == (b"no event", b"undecodable")
    assert (found["orderflow-topic"], found["orderflow-offset"]) == (b"order-events", b"7")
    assert found["orderflow-redelivered"] == b"1"


async def test_a_count_of_redeliveries_that_is_none_begins_anew() -> None:
    """A sender may have set the header."""
    lane = Lane(Story().to_placed())
    place = (("orderflow-topic", b"order-events"), ("orderflow-partition", b"0"), ("orderflow-offset", b"7"))
    for content in (b"many", b"9" * 30, None):
        given = OutboundRecord(b"A-1", b"no event", (*place, ("orderflow-redelivered", content)))
        (letter,) = written(await lane.step(lane.redelivered(given, f"x-{content!r}")), Topic.DEAD_LETTERS)
        assert dict(letter.headers)["orderflow-redelivered"] == b"1"


async def test_a_redelivered_record_that_fails_holds_its_order_and_goes_on_after_the_repair(fault: set[str]) -> None:
    """The letter is of the record; the change after the release names the operator who delivered it."""
    lane = Lane(Story().to_ready())
    place = (("orderflow-topic", b"order-events"), ("orderflow-partition", b"0"), ("orderflow-offset", b"7"))
    given = lane.consumed("order.placed", {"terms_accepted": True}, "e-placed")
    fault.add("order.placed")
    outbox = await lane.step(lane.redelivered(OutboundRecord(b"A-1", given.value, place), "again"))
    (letter,) = written(outbox, Topic.DEAD_LETTERS)
    assert (letter.value, dict(letter.headers)["orderflow-reason"]) == (given.value, b"failed")
    assert decode_snapshot(lane.store.get("A-1") or b"").queue[0].type == "order.placed"
    fault.clear()
    outbox = await lane.step(lane.act("released", "release"))
    moved = changes(outbox)[-1]["data"]
    assert (moved["to"], moved["cause"]["id"], moved["actor"]) == ("placing", "again", "pat@host")


async def test_a_refused_act_is_told_like_any_other_event() -> None:
    """Whoever sent it can wait for the refusal; the order is not changed."""
    lane = Lane(Story().to_placed())
    outbox = await lane.step(lane.act("moved", "move", to="complete"))
    (told,) = refusals(outbox)
    assert (told["type"], told["data"]["cause"]["id"]) == ("order.event_refused", "move")
    assert (told["data"]["reason"], told["data"]["code"]) == ("refused", "move.no_such_edge")
    assert changes(outbox) == []
    assert len(written(outbox, Topic.DEAD_LETTERS)) == 1
