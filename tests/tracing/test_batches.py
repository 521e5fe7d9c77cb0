"""Which records of the order lane are steps of a trace, and where what is written continues it."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import pytest
from aiokafka import ConsumerRecord
from structlog.testing import capture_logs

from consumers.orders.fuse import Fuse
from consumers.orders.logic import OrderLogic
from consumers.ownership.logic import Batch
from consumers.ownership.store import DictStore, Overlay
from consumers.tracing import TRACE_HEADER, current_span
from producers.outbox import OutboundRecord, Outbox
from producers.packing.sizes import Room
from producers.partitioner import partition_of
from producers.topics import Topic
from statemachine.messages.envelope import Headers, Record
from statemachine.messages.facts import Fact
from statemachine.order.order import Order
from statemachine.order.policy import Policy
from statemachine.order.snapshot import decode_snapshot, encode_snapshot
from tests.tracing.recorder import PaperSpan, Recorder
from tests.tracing.test_contexts import GARBAGE, GOOD, TRACE
from tests.unit.statemachine.story import Story, cart, record, units

SAMPLED: Headers = ((TRACE_HEADER, GOOD.encode()),)
UNSAMPLED: Headers = ((TRACE_HEADER, f"{GOOD[:-2]}00".encode()),)


class Lane:
    """A lane's logic with one partition, or more."""

    def __init__(self, *, sampled: bool = False, traced: bool = True, partitions: int = 1) -> None:
        self.tracing = Recorder(sampled=sampled)
        self.story = Story()
        self.store = DictStore()
        self.partitions = partitions
        self.logic = OrderLogic(
            0,
            partitions=partitions,
            prefix="",
            policy=Policy(),
            fuse=Fuse(records_min=0),
            room=Room(),
            tracing=self.tracing if traced else None,
        )
        self.offset = 0

    async def work(self, *records: Record, commit: bool = True, fire: bool = False) -> Outbox:
        """One batch."""
        overlay, outbox = Overlay(self.store), Outbox({topic.value: 1 for topic in Topic}, home=0, home_count=1)
        batch = Batch([self._consumed(one) for one in records], self.story.now if fire else None, self.story.now)
        await self.logic.step(batch, overlay, outbox)
        if commit:
            self.store.apply(overlay.changes)
            self.logic.committed(overlay.changes)
        return outbox

    def _consumed(self, one: Record) -> ConsumerRecord[Any, Any]:
        self.offset += 1
        size = len(one.value or b"")
        return ConsumerRecord(
            one.topic, 0, self.offset, 1_000, 0, one.key, one.value, None, 3, size, tuple(one.headers)
        )

    def order(self) -> Order:
        """The order as it is kept."""
        kept = self.store.get("A-1")
        assert kept is not None
        return decode_snapshot(kept)

    def put(self, order: Order | None, trace: str | None) -> None:
        """Keep an order that is in a trace, or in none."""
        assert order is not None
        self.store.apply({"A-1": encode_snapshot(msgspec.structs.replace(order, trace=trace))})


def requested(headers: Headers = (), *, key: str = "A-1") -> Record:
    """The event that begins an order."""
    return msgspec.structs.replace(record("checkout.requested", cart(), key=key), headers=headers)


def shipped(headers: Headers = (), shipment: str = "s-1", quantity: int = 1) -> Record:
    """An event of the warehouse."""
    data = {"shipment_id": shipment, "items": units(l1=quantity)}
    return msgspec.structs.replace(record("fulfillment.shipped", data, event_id=shipment), headers=headers)


def written(outbox: Outbox, topic: Topic) -> list[OutboundRecord]:
    """What was written to a topic."""
    return [one for (name, _), batch in outbox.batches.items() if name == topic.value for one in batch]


def contexts(outbox: Outbox, topic: Topic) -> list[str | None]:
    """The trace contexts of what was written to a topic."""
    found = [dict(one.headers).get(TRACE_HEADER) for one in written(outbox, topic)]
    return [None if value is None else value.decode() for value in found]


def named(tracing: Recorder, name: str) -> PaperSpan:
    """The span of that name."""
    (found,) = [span for span in tracing.spans if span.name == name]
    return found


async def test_a_sampled_context_is_obeyed_and_goes_on_with_command_and_change() -> None:
    """The sender's span is the parent; whoever reads what was written continues the decision."""
    lane = Lane()
    outbox = await lane.work(requested(SAMPLED))
    arrival, decision = lane.tracing.spans
    assert (arrival.name, arrival.parent, decision.parent) == ("receive checkout.requested", GOOD, arrival.context)
    assert contexts(outbox, Topic.DR_COMMANDS) == contexts(outbox, Topic.ORDER_STATE_CHANGES) == [decision.context]
    assert lane.order().trace == decision.context
    assert decision.told["orderflow.verdict"] == "moved"
    assert (lane.tracing.ended, lane.tracing.asked) == ([arrival.name, decision.name], 0)
    assert current_span() is None


@pytest.mark.parametrize("value", [*GARBAGE, UNSAMPLED[0][1]])
async def test_garbage_and_what_is_not_sampled_make_no_span_and_change_nothing(value: bytes | None) -> None:
    """The event is decided as it would be without the header."""
    lane, plain = Lane(), Lane(traced=False)
    outbox, same = await lane.work(requested(((TRACE_HEADER, value),))), await plain.work(requested())
    assert lane.tracing.spans == []
    assert outbox.batches == same.batches
    assert lane.store.get("A-1") == plain.store.get("A-1")


async def test_an_order_that_begins_without_a_context_is_sampled_once() -> None:
    """The choice is for the order: its later events do not ask again."""
    lane = Lane(sampled=True)
    await lane.work(requested())
    await lane.work(shipped())
    assert lane.tracing.asked == 1
    assert named(lane.tracing, "receive checkout.requested").parent is None
    assert named(lane.tracing, "receive fulfillment.shipped").parent == lane.order().trace
    quiet = Lane()
    await quiet.work(requested())
    await quiet.work(shipped())
    assert (quiet.tracing.asked, quiet.tracing.spans) == (1, [])


async def test_a_sender_that_chose_not_to_sample_an_order_is_not_overruled() -> None:
    """An unsampled context on the event that begins the order is a choice; later ones do not break the order's trace."""
    lane = Lane(sampled=True)
    await lane.work(requested(UNSAMPLED))
    assert (lane.tracing.asked, lane.tracing.spans) == (0, [])
    other = Lane(sampled=True)
    await other.work(requested())
    await other.work(shipped(UNSAMPLED))
    assert named(other.tracing, "receive fulfillment.shipped").parent == other.order().trace


async def test_a_webhooks_fact_continues_where_it_was_asked_for() -> None:
    """Digital River sends no context back: the order keeps that of the decision which last asked for something."""
    lane = Lane()
    lane.put(lane.story.to_placed().order, GOOD)
    outbox = await lane.work(shipped())
    asked = named(lane.tracing, "decide fulfillment.shipped")
    assert contexts(outbox, Topic.DR_COMMANDS) == [asked.context]
    fact = Fact(type="order.fulfilled", dr_order_id=lane.order().digital_river.order_id)
    headers = (("orderflow-origin", b"dr-webhooks/0/7"),)
    hook = record("digitalriver.order.fulfilled", msgspec.to_builtins(fact), event_id="w-1")
    await lane.work(msgspec.structs.replace(hook, headers=headers))
    arrival = named(lane.tracing, "webhook order.fulfilled")
    assert (arrival.parent, arrival.told["messaging.destination.name"]) == (asked.context, "dr-webhooks")
    assert lane.order().trace == asked.context


async def test_another_trace_is_linked_to_the_orders() -> None:
    """A sender with a trace of its own keeps it; the order's is one step away."""
    lane = Lane()
    kept = f"00-{'1' * 32}-{'2' * 16}-01"
    lane.put(lane.story.to_placed().order, kept)
    await lane.work(shipped(SAMPLED))
    arrival = named(lane.tracing, "receive fulfillment.shipped")
    assert (arrival.trace_id, arrival.link) == (TRACE, kept)


async def test_a_batch_that_fails_leaves_no_span() -> None:
    """What is decided again is one step, that of the transaction that committed."""
    lane = Lane()
    await lane.work(requested(SAMPLED), commit=False)
    await lane.work(requested(SAMPLED))
    assert [span.ended for span in lane.tracing.spans] == [False, False, True, True]


async def test_a_dead_letter_keeps_the_header_and_its_log_line_names_the_trace() -> None:
    """A refused event, and a record in which there is none, are steps of the trace too."""
    lane = Lane()
    unreadable = Record("order-events", 0, 0, b"A-1", b"{", SAMPLED)
    refused = msgspec.structs.replace(record("nonsense", {}, topic="order-events"), headers=SAMPLED)
    with capture_logs() as logs:
        outbox = await lane.work(unreadable, refused)
    assert [one["event"] for one in logs] == ["dead_letter", "dead_letter"]
    assert contexts(outbox, Topic.DEAD_LETTERS) == [GOOD, GOOD]
    assert lane.tracing.ended == ["receive record", "receive record"]
    news = contexts(outbox, Topic.ORDER_EVENT_REFUSALS)
    assert news == [span.context for span in lane.tracing.spans]


async def test_a_forwarded_record_keeps_the_header() -> None:
    """The partition that it is for continues the sender's trace."""
    partitions = 4
    key = next(f"A-{number}" for number in range(99) if partition_of(f"A-{number}".encode(), partitions) != 0)
    outbox = await Lane(partitions=partitions).work(requested(SAMPLED, key=key))
    assert contexts(outbox, Topic.INBOX) == [GOOD]


async def test_a_record_that_is_delivered_again_continues_its_own_trace() -> None:
    """The operator's record has no context; the record in it has."""
    lane = Lane()
    inner = requested()
    again = {
        "key": b64encode(inner.key or b"").decode(),
        "value": b64encode(inner.value or b"").decode(),
        "headers": [(TRACE_HEADER, b64encode(GOOD.encode()).decode())],
    }
    data = {"actor": "pat", "reason": "again", "topic": inner.topic, "partition": 0, "offset": 3, **again}
    await lane.work(record("operator.redelivered", data, event_id="op-1"))
    assert lane.tracing.spans[0].parent == GOOD


async def test_a_deadline_of_a_sampled_order_is_a_step_and_one_of_another_order_is_none() -> None:
    """What it asks for continues it."""
    for trace in (GOOD, None):
        lane = Lane()
        await lane.work(requested())
        lane.put(lane.order(), trace)
        await lane.logic.opened(lane.store)
        lane.story.now = lane.order().deadlines[0].due
        outbox = await lane.work(fire=True)
        assert written(outbox, Topic.DR_COMMANDS)
        expected = {span.context for span in lane.tracing.spans}
        assert len(lane.tracing.ended) == len(expected) == (0 if trace is None else 1)
        assert {one or "" for one in contexts(outbox, Topic.DR_COMMANDS)} == (expected or {""})
