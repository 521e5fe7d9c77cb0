"""What the webhook lane and the catalogue lane make of a batch, without Kafka."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from consumers.catalogue_lane import CatalogueLogic
from consumers.lease import Lease, LeaseExpired
from consumers.partition import Batch, Overlay
from consumers.rate import RateLimit
from consumers.reading import Asking, in_order
from consumers.store import DictStore
from consumers.webhook_lane import OrderCache, WebhookLogic
from producers.outbox import OutboundRecord, Outbox
from producers.partitioner import partition_of
from producers.sizes import Room
from statemachine.decoding import decode
from statemachine.envelope import Record
from statemachine.errors import (
    Denied,
    DigitalRiverError,
    Disposition,
    OffContract,
    Throttled,
    TransportFailure,
    Unavailable,
    UnreadableTable,
)
from statemachine.facts import Fact, Problem
from statemachine.sku import decode_sku
from tests.lanes.river import FileRiver
from tests.unit.consumers.steady import Steady

NOW = datetime(2031, 3, 4, 10, 11, 12, tzinfo=UTC)
INBOX_COUNT = 5


@dataclass
class Consumed:
    """A record as aiokafka hands it out."""

    value: bytes | None
    key: bytes | None = b"any"
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int = 0
    offset: int = 0
    topic: str = "whatever"
    timestamp: int = 0


@dataclass
class Lane:
    """A logic, its fake Digital River and what it wrote."""

    books: Path
    fail: Callable[[str, int], Exception | None] = lambda _what, _count: None
    store: DictStore = field(default_factory=DictStore)
    good: bytes | None = None
    #: Seconds since the lease of a batch was renewed.
    lease_age: float = 0.0

    def __post_init__(self) -> None:
        self.time = Steady()
        self.river = FileRiver(self.books, fail=self._fail)
        self.asking = Asking(RateLimit(0, lambda: 1.0), clock=self.time, sleep=self.time.sleep, jitter=lambda: 1.0)
        self.cache = OrderCache()
        self.webhooks = WebhookLogic(
            prefix="", provider=self.river, verify=self._verify, cache=self.cache, asking=self.asking, room=Room()
        )
        self.catalogue = CatalogueLogic(prefix="", provider=self.river, asking=self.asking, room=Room())

    def _fail(self, what: str, count: int) -> Exception | None:
        return self.fail(what, count)  # tests may set it later

    def _verify(self, _body: bytes, header: bytes | None) -> bool:
        return self.good is None or header == self.good

    async def step(self, logic: WebhookLogic | CatalogueLogic, *records: Consumed) -> Outbox:
        """One batch; the changes are folded into the store as after its commit."""
        outbox = Outbox({"orderflow.inbox": INBOX_COUNT, "orderflow.dead-letters": 1}, home=0, home_count=0)
        overlay = Overlay(self.store)
        lease = Lease(5.0, self.time)
        lease.renew(self.time() - self.lease_age)
        await logic.step(Batch(records, None, NOW, lease), overlay, outbox)
        self.store.apply(overlay.changes)
        return outbox


def written(outbox: Outbox, topic: str) -> list[OutboundRecord]:
    """The records for a topic."""
    return [record for (name, _), records in outbox.batches.items() if name == topic for record in records]


def reasons(outbox: Outbox) -> list[str]:
    """Why records were set aside."""
    letters = written(outbox, "orderflow.dead-letters")
    return [(dict(letter.headers)["orderflow-reason"] or b"").decode() for letter in letters]


def webhook(event_id: str = "e1", kind: str = "order.accepted", **more: str) -> bytes:
    """A webhook as the fake Digital River words it."""
    return json.dumps({"id": event_id, "type": kind, **more}).encode()


@pytest.fixture
def lane(tmp_path: Path) -> Lane:
    """A lane to test."""
    return Lane(tmp_path / "books")


async def test_a_webhook_reaches_the_inbox_of_its_order_as_a_fact(lane: Lane) -> None:
    """Digital River's event id and type, the order id as key and subject, on the partition of the key."""
    outbox = await lane.step(lane.webhooks, Consumed(webhook("e1", upstream="A-1", order="DR1")))
    assert list(outbox.batches) == [("orderflow.inbox", partition_of(b"A-1", INBOX_COUNT))]
    [record] = written(outbox, "orderflow.inbox")
    event = decode(Record("orderflow.inbox", 0, 0, record.key, record.value, tuple(record.headers)))
    came = (event.cause.topic, event.cause.partition, event.cause.offset)
    assert came == ("dr-webhooks", 0, 0), "a change tells where its event first came in"
    assert (event.id, event.source, event.type, event.order_id) == (
        "e1",
        "/digitalriver",
        "digitalriver.order.accepted",
        "A-1",
    )
    assert isinstance(event.data, Fact)
    assert event.data.dr_order_id == "DR1"


async def test_a_wrong_or_missing_signature_never_reaches_an_order(lane: Lane) -> None:
    """The record is set aside, whatever it says."""
    lane.good = b"good"
    body = webhook(upstream="A-1")
    outbox = await lane.step(
        lane.webhooks, Consumed(body), Consumed(body, headers=(("DigitalRiver-Signature", b"bad"),))
    )
    assert reasons(outbox) == ["bad_signature", "bad_signature"]
    assert not written(outbox, "orderflow.inbox")


@pytest.mark.parametrize(("name", "topic"), [("webhooks", "dr-webhooks"), ("catalogue", "catalog-events")])
async def test_the_log_says_where_a_dead_letter_came_from(lane: Lane, name: str, topic: str) -> None:
    """Both lanes number their partitions alike: without the topic nobody could find the record."""
    logic = lane.webhooks if name == "webhooks" else lane.catalogue
    with capture_logs() as logs:
        await lane.step(logic, Consumed(b"rubbish", partition=3, offset=812))
    [line] = [line for line in logs if line["event"] == "dead_letter"]
    assert (line["topic"], line["partition"], line["offset"]) == (topic, 3, 812)
    assert line["reason"] == "undecodable"
    assert line["detail"]


async def test_a_fact_that_does_not_fit_into_the_inbox_is_set_aside(lane: Lane) -> None:
    """Else its transaction would be refused for ever, and the webhooks behind it never read."""
    lane.webhooks = WebhookLogic(
        prefix="",
        provider=lane.river,
        verify=lane._verify,
        cache=lane.cache,
        asking=lane.asking,
        room=Room(record_bytes_max=600),
    )
    outbox = await lane.step(
        lane.webhooks, Consumed(webhook("e" * 400, upstream="A-1")), Consumed(webhook(upstream="A-1"))
    )
    assert reasons(outbox) == ["too_large"]
    assert len(written(outbox, "orderflow.inbox")) == 1


async def test_the_signature_header_is_found_in_any_case(lane: Lane) -> None:
    """HTTP header names have no case, and relays change it."""
    lane.good = b"good"
    for name in ("DigitalRiver-Signature", "digitalriver-signature", "DIGITALRIVER-SIGNATURE"):
        outbox = await lane.step(lane.webhooks, Consumed(webhook(upstream="A-1"), headers=((name, b"good"),)))
        assert len(written(outbox, "orderflow.inbox")) == 1


async def test_an_object_without_its_order_is_found_by_what_was_seen_before(lane: Lane) -> None:
    """A charge names only Digital River's order; an order seen earlier says whose it is."""
    await lane.step(lane.webhooks, Consumed(webhook("e1", upstream="A-1", order="DR1")))
    outbox = await lane.step(lane.webhooks, Consumed(webhook("e2", "order.charge.captured", order="DR1")))
    assert [record.key for record in written(outbox, "orderflow.inbox")] == [b"A-1"]
    assert lane.river.count("read") == 0


async def test_an_object_of_an_unknown_order_is_asked_for_once(lane: Lane) -> None:
    """Digital River is asked once for an order, and then it is remembered."""
    lane.river.orders["DR1"] = "A-1"
    bodies = [Consumed(webhook(f"e{n}", order="DR1")) for n in range(5)]
    outbox = await lane.step(lane.webhooks, *bodies)
    await lane.step(lane.webhooks, Consumed(webhook("e9", order="DR1")))
    events = [json.loads(record.value or b"")["id"] for record in written(outbox, "orderflow.inbox")]
    assert events == ["e0", "e1", "e2", "e3", "e4"]
    assert lane.river.count("read") == 1


async def test_what_no_order_can_be_found_for_is_set_aside(lane: Lane) -> None:
    """Unknown at Digital River, without ``upstreamId`` there, without any order, or with one that is no order id."""
    lane.river.orders["DR2"] = None
    outbox = await lane.step(
        lane.webhooks,
        Consumed(webhook("e1", order="DR1")),
        Consumed(webhook("e2", order="DR2")),
        Consumed(webhook("e3")),
        Consumed(webhook("e4", upstream="no key/")),
        Consumed(webhook("e5", upstream="A-5")),
    )
    assert reasons(outbox) == ["unroutable"] * 4
    assert [record.key for record in written(outbox, "orderflow.inbox")] == [b"A-5"]


async def test_types_that_orders_have_no_use_for_are_counted_and_skipped(lane: Lane) -> None:
    """Digital River adds types at any time."""
    outbox = await lane.step(lane.webhooks, Consumed(webhook("e1", "other.thing")), Consumed(b"junk"))
    assert (outbox.count, lane.webhooks.counts["skipped"], reasons(outbox)) == (1, 1, ["undecodable"])


@pytest.mark.parametrize("error", [Denied("401"), Unavailable("503"), TransportFailure("refused", sent=False)])
async def test_while_digital_river_cannot_be_asked_the_lane_waits(lane: Lane, error: DigitalRiverError) -> None:
    """The batch fails as a whole; nothing is set aside."""
    lane.fail = lambda what, _count: error if what == "read" else None
    with pytest.raises(type(error)):
        await lane.step(lane.webhooks, Consumed(webhook(order="DR1")))
    assert not [word for word in lane.webhooks.counts if word.startswith("dead")]


async def test_an_answer_that_cannot_be_understood_does_not_stop_the_lane(lane: Lane) -> None:
    """One order's odd answer is that record's dead letter; the others go on."""
    lane.river.orders["DR2"] = "A-2"
    lane.fail = lambda what, count: OffContract("302") if (what, count) == ("read", 1) else None
    outbox = await lane.step(lane.webhooks, Consumed(webhook("e1", order="DR1")), Consumed(webhook("e2", order="DR2")))
    assert reasons(outbox) == ["unroutable"]
    assert [record.key for record in written(outbox, "orderflow.inbox")] == [b"A-2"]


def test_the_cache_forgets_what_was_not_seen_for_longest() -> None:
    """It is bounded."""
    cache = OrderCache(2)
    for number in (1, 2, 1, 3):
        cache.put(f"DR{number}", f"A-{number}")
    assert [cache.get(f"DR{number}") for number in (1, 2, 3)] == ["A-1", None, "A-3"]


def sku(event_id: str, name: str | None, key: bytes = b"S-1") -> Consumed:
    """A catalogue event: an upsert under a name, or a removal."""
    data = {} if name is None else {"name": name, "tax_code": "4323.310_A", "country_of_origin": "US", "eccn": "EAR99"}
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/catalogue",
        "type": "sku.removed" if name is None else "sku.upserted",
        "data": data,
    }
    return Consumed(json.dumps(event).encode(), key=key)


def state(lane: Lane, sku_id: str = "S-1") -> str:
    """The SKU's state as ``skus`` would have it."""
    snapshot = lane.store.get(sku_id)
    assert snapshot is not None
    return decode_sku(snapshot).state


def names(lane: Lane, sku_id: str = "S-1") -> list[str]:
    """What Digital River was told of a SKU, in order."""
    return [effect["name"] for effect in lane.river.effects() if effect["sku_id"] == sku_id]


async def test_a_sku_goes_through_known_and_removed(lane: Lane) -> None:
    """Each event is carried out at Digital River, in order."""
    await lane.step(lane.catalogue, sku("1", "first"), sku("2", "second"))
    assert (state(lane), names(lane)) == ("known", ["first", "second"])
    await lane.step(lane.catalogue, sku("3", None))
    assert (state(lane), names(lane)) == ("removed", ["first", "second", ""])


async def test_an_old_event_that_comes_again_never_reverts_a_newer_one(lane: Lane) -> None:
    """Neither in the same batch nor later."""
    await lane.step(lane.catalogue, sku("1", "first"), sku("2", "second"), sku("1", "first"))
    await lane.step(lane.catalogue, sku("1", "first"), sku("2", "second"))
    assert names(lane) == ["first", "second"]


async def test_a_refused_sku_says_why_and_can_be_sent_again(lane: Lane) -> None:
    """The same event is tried again once the reason is gone, unless another one came meanwhile."""
    lane.river.refused_skus["S-1"] = Problem("invalid_parameter", "bad tax code")
    await lane.step(lane.catalogue, sku("1", "first"))
    snapshot = json.loads(lane.store.get("S-1") or b"")
    assert (snapshot["sku_id"], snapshot["state"], snapshot["problem"]["code"]) == (
        "S-1",
        "refused",
        "invalid_parameter",
    )
    del lane.river.refused_skus["S-1"]
    await lane.step(lane.catalogue, sku("1", "first"))
    assert state(lane) == "known"


async def test_a_refused_event_that_was_overtaken_is_an_old_one(lane: Lane) -> None:
    """Sent again after a newer one it changes nothing."""
    lane.river.refused_skus["S-1"] = Problem("invalid_parameter", "bad tax code")
    await lane.step(lane.catalogue, sku("1", "first"))
    del lane.river.refused_skus["S-1"]
    await lane.step(lane.catalogue, sku("2", "second"), sku("1", "first"))
    assert names(lane) == ["first", "second"]


async def test_bad_catalogue_events_are_set_aside_and_the_others_go_on(lane: Lane) -> None:
    """Each with its reason."""
    bad = Consumed(b"junk", key=b"S-9")
    missing = Consumed(
        b'{"specversion":"1.0","id":"x","source":"s","type":"sku.upserted","data":{"name":"n"}}', key=b"S-9"
    )
    outbox = await lane.step(lane.catalogue, bad, sku("1", "first"), missing)
    assert reasons(outbox) == ["undecodable", "invalid"]
    assert state(lane) == "known"


async def test_short_troubles_are_waited_out(lane: Lane) -> None:
    """A 503, a cut connection and a 429 cost time, not a SKU."""
    troubles = [Unavailable("503"), TransportFailure("cut", sent=True), Throttled("429", retry_after_seconds=3.0)]
    lane.fail = lambda what, count: troubles[count - 1] if what == "put" and count <= 3 else None
    began = lane.time.now
    await lane.step(lane.catalogue, sku("1", "first"))
    assert state(lane) == "known"
    assert lane.time.now - began >= 3.0


async def test_a_denied_key_loses_no_sku(lane: Lane) -> None:
    """The batch fails and is done again; what was done before is repeated, which is harmless."""
    lane.fail = lambda what, count: Denied("401") if what == "put" and count == 2 else None
    with pytest.raises(Denied):
        await lane.step(lane.catalogue, sku("1", "first"), sku("2", "second"))
    assert lane.store.get("S-1") is None
    await lane.step(lane.catalogue, sku("1", "first"), sku("2", "second"))
    assert names(lane) == ["first", "first", "second"]


async def test_a_sku_that_none_of_ours_wrote_stops_its_partition(lane: Lane) -> None:
    """With a line that names it; it would crash the worker otherwise, again and again."""
    lane.store.apply({"S-1": b"{"})
    with pytest.raises(UnreadableTable, match="the snapshot of SKU S-1 in skus cannot be read") as raised:
        await lane.step(lane.catalogue, sku("1", "first"))
    assert raised.value.disposition is Disposition.STOP_PARTITION


async def test_skus_run_side_by_side_and_each_in_order() -> None:
    """A slow SKU does not hold up the others."""
    seen: list[str] = []
    gate = asyncio.Event()

    async def slow() -> None:
        await gate.wait()
        seen.append("slow")

    async def fast() -> None:
        seen.append("fast")
        gate.set()

    async def last() -> None:
        seen.append("last")

    await in_order({"a": [slow, last], "b": [fast]})
    assert seen == ["fast", "slow", "last"]


def test_a_snapshot_keeps_the_contract_shape(lane: Lane) -> None:
    """``sku_id`` and ``state`` are there, ``problem`` only when there is one."""
    asyncio.run(lane.step(lane.catalogue, sku("1", "first")))
    snapshot = msgspec.json.decode(lane.store.get("S-1") or b"")
    assert set(snapshot) == {"sku_id", "state", "updated", "internal"}


@pytest.mark.parametrize("name", ["late", None])
async def test_a_sku_is_not_written_once_the_lease_has_run_out(lane: Lane, name: str | None) -> None:
    """Frozen for so long, somebody else may have written newer things: safe to repeat is not safe to come late."""
    await lane.step(lane.catalogue, sku("1", "first"))
    lane.lease_age = 5.0
    with pytest.raises(LeaseExpired):
        await lane.step(lane.catalogue, sku("2", name))
    assert names(lane) == ["first"]
