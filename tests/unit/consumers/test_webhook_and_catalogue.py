"""What the webhook lane and the catalogue lane make of a batch, without Kafka."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from consumers.catalogue.logic import CatalogueLogic
from consumers.ownership.lease import Lease
from consumers.ownership.logic import Batch
from consumers.ownership.store import DictStore, Overlay
from consumers.provider import RecentEvent
from consumers.requests.rate_limit import RateLimit
from consumers.requests.records import RequestOptions
from consumers.requests.retrying import RetryingRequests
from consumers.webhooks.logic import WebhookLogic
from consumers.webhooks.missed import MissedEvents, MissedOptions
from consumers.webhooks.order_cache import OrderCache
from producers.outbox import OutboundRecord, Outbox
from producers.packing.sizes import Room
from producers.partitioner import partition_of
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
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Record
from statemachine.messages.facts import Fact, Problem
from statemachine.messages.ids import OrderId, RemoteOrderId
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
    options: RequestOptions = field(default_factory=RequestOptions)

    def __post_init__(self) -> None:
        self.time = Steady()
        self.river = FileRiver(self.books, fail=self._fail)
        self.river.clock = self.time
        self.requests = RetryingRequests(
            RateLimit(0, lambda: 1.0), clock=self.time, sleep=self.time.sleep, jitter=lambda: 1.0
        )
        self.cache = OrderCache()
        self.lease = Lease(5.0, self.time)
        self.webhooks = WebhookLogic(
            prefix="",
            provider=self.river,
            verify=self._verify,
            cache=self.cache,
            requests=self.requests,
            room=Room(),
            options=self.options,
        )
        self.catalogue = CatalogueLogic(
            prefix="",
            provider=self.river,
            requests=self.requests,
            room=Room(),
            lease=self.lease,
            options=self.options,
        )
        self.lease.renew(self.time())
        self.offset = 0

    def _fail(self, what: str, count: int) -> Exception | None:
        return self.fail(what, count)  # tests may set it later

    def _verify(self, _body: bytes, header: bytes | None) -> bool:
        return self.good is None or header == self.good

    async def step(
        self,
        logic: WebhookLogic | CatalogueLogic,
        *records: Consumed,
        until: Callable[[Outbox], bool] = lambda _outbox: False,
    ) -> Outbox:
        """Transaction after transaction until nothing waits, or ``until`` it is as wanted; what all of them wrote."""
        outbox = Outbox({"orderflow.inbox": INBOX_COUNT, "orderflow.dead-letters": 1}, home=0, home_count=0)
        for record in records:
            record.offset = record.offset or self.offset
            self.offset = record.offset + 1
        await logic.opened(self.store)
        wake, batch = asyncio.Event(), Batch(records, None, NOW)
        logic.queues.wake = wake.set
        while True:
            overlay = Overlay(self.store)
            await logic.step(batch, overlay, outbox)
            self.store.apply(overlay.changes)
            self.lease.renew(self.time())
            logic.committed(overlay.changes)
            batch = Batch([], None, NOW)
            while not logic.queues.ready:
                if logic.queues.crash is not None:
                    raise logic.queues.crash
                if not logic.queues.busy or until(outbox):
                    return outbox
                wake.clear()
                if logic.queues.calling:
                    await wake.wait()
                else:
                    await self.time.sleep(logic.queues.due_in or 0.0)
                    if logic is self.webhooks:
                        logic.queues.start()


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
        requests=lane.requests,
        room=Room(record_bytes_max=600),
        options=lane.options,
    )
    outbox = await lane.step(
        lane.webhooks, Consumed(webhook("e" * 400, upstream="A-1")), Consumed(webhook(upstream="A-1"))
    )
    assert reasons(outbox) == ["too_large"]
    assert len(written(outbox, "orderflow.inbox")) == 1


async def test_a_missed_event_that_does_not_fit_into_its_topic_is_left_out_with_a_line(lane: Lane) -> None:
    """Else its transaction would be refused for ever; the others are fed, signed and with their key."""

    async def events(_since: datetime) -> AsyncIterator[RecentEvent]:
        for name, size in (("long", 900), ("short", 9)):
            yield RecentEvent(name, "order.dispute", None, webhook(name, upstream="A" * size), "DR1")

    async def came(_since: datetime) -> set[str]:
        return set()

    async def at_once(_seconds: float) -> None:
        await asyncio.sleep(0)

    options = MissedOptions(events, lambda _: (("DigitalRiver-Signature", b"good"),), timedelta(hours=1))
    missed = MissedEvents(options, read=lane.river.read_webhook, came=came, clock=lambda: NOW, sleep=at_once)
    lane.webhooks = WebhookLogic(
        prefix="",
        provider=lane.river,
        verify=lane._verify,
        cache=lane.cache,
        requests=lane.requests,
        room=Room(record_bytes_max=600),
        missed=missed,
    )
    found = asyncio.Event()
    missed.begin(None, found.set, lambda: False)
    await found.wait()
    outbox = Outbox({"dr-webhooks": 1}, home=0, home_count=0)
    with capture_logs() as logs:
        await lane.webhooks.step(Batch([], None, NOW), Overlay(lane.store), outbox)
    await missed.stop()
    [record] = written(outbox, "dr-webhooks")
    assert (record.key, json.loads(record.value or b"")["id"]) == (b"DR1", "short")
    assert list(record.headers) == [("DigitalRiver-Signature", b"good")]
    assert [line["event"] for line in logs] == ["event_too_large"]


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
    """Unknown at Digital River, without ``upstreamId`` there, without any order, or with one that is not an order id."""
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
    assert lane.webhooks.skipped.counts == {"other.thing": 1}


ALL_FAIL: list[DigitalRiverError] = [
    Denied("401", status=401),
    Denied("403", status=403),
    Unavailable("503", status=503),
    TransportFailure("refused", sent=False),
    TransportFailure("no answer", sent=True),
    OffContract("302", status=302),
]


@pytest.mark.parametrize("error", ALL_FAIL)
async def test_while_digital_river_cannot_be_asked_nothing_is_set_aside(lane: Lane, error: DigitalRiverError) -> None:
    """However long it takes: time in which nobody is answered does not count. Then all is handed over, in order."""
    lane.options = RequestOptions(age_seconds_max=300)
    lane.__post_init__()
    orders = [f"DR{n}" for n in range(20)]
    lane.fail = lambda what, _count: error if what == "read" else None
    began = lane.time.now
    bodies = [Consumed(webhook(f"{order}-{n}", order=order)) for n in range(2) for order in orders]
    outbox = await lane.step(
        lane.webhooks, *bodies, until=lambda _: lane.time.now > began + 2 * lane.options.age_seconds_max
    )
    assert outbox.count == 0
    assert lane.webhooks.problem == str(error)
    assert lane.river.count("read") < 2 * lane.options.age_seconds_max / 4, "one probe after the other, not all of them"
    lane.fail = lambda _what, _count: None
    lane.river.orders.update({order: f"A-{order}" for order in orders})
    outbox = await lane.step(lane.webhooks)
    ids = [json.loads(record.value or b"")["id"] for record in written(outbox, "orderflow.inbox")]
    assert sorted(ids) == sorted(f"{order}-{n}" for order in orders for n in range(2))
    assert all(ids.index(f"{order}-0") < ids.index(f"{order}-1") for order in orders)
    assert reasons(outbox) == []
    assert lane.webhooks.problem is None


def fail_for(lane: Lane, about: str, error: DigitalRiverError, what: str = "read") -> None:
    """Let calls about one object fail."""
    lane.river.fails = {f"{what} {about}": error}


@pytest.mark.parametrize("error", ALL_FAIL[1:])
async def test_an_order_that_alone_cannot_be_read_is_set_aside_by_name_at_its_age(
    lane: Lane, error: DigitalRiverError
) -> None:
    """The others do not wait for it; its own webhooks do, and each becomes a dead letter that says why."""
    fail_for(lane, "DR-bad", error)
    bodies = [Consumed(webhook(f"bad-{n}", order="DR-bad")) for n in range(3)]
    began = lane.time.now
    outbox = await lane.step(lane.webhooks, *bodies, until=lambda _: lane.river.count("read") > 1)
    with capture_logs() as logs:
        for n in range(400):  # one good one every half minute
            lane.river.orders[f"DR{n}"] = f"A-{n}"
            came = lane.time.now
            good = await lane.step(
                lane.webhooks,
                Consumed(webhook(f"e{n}", order=f"DR{n}")),
                until=lambda _, came=came: lane.time.now >= came + 30,  # type: ignore[misc]  # the loop's value
            )
            assert [record.key for record in written(good, "orderflow.inbox")] == [f"A-{n}".encode()]
            outbox = good
            if reasons(good):
                break
    assert reasons(outbox) == ["unroutable"] * 3
    assert lane.options.age_seconds_max <= lane.time.now - began < 2 * lane.options.age_seconds_max
    details = [
        (dict(letter.headers)["orderflow-detail"] or b"").decode()
        for letter in written(outbox, "orderflow.dead-letters")
    ]
    assert all(str(error) in detail for detail in details)
    [reported] = [line for line in logs if line["event"] == "object_unanswered"]
    assert (reported["dr_order_id"], reported["topic"]) == ("DR-bad", "dr-webhooks")
    assert not lane.webhooks.queues.busy


async def test_an_order_that_can_be_read_again_loses_nothing(lane: Lane) -> None:
    """Its webhooks are handed over in the order in which they came."""
    fail_for(lane, "DR-bad", Unavailable("500", status=500))
    lane.river.orders["DR-bad"] = "A-bad"
    first = [Consumed(webhook(f"bad-{n}", order="DR-bad")) for n in range(2)]
    await lane.step(lane.webhooks, *first, until=lambda _: lane.river.count("read") > 5)
    lane.river.fails = {}
    outbox = await lane.step(lane.webhooks, Consumed(webhook("bad-2", order="DR-bad")))
    ids = [json.loads(record.value or b"")["id"] for record in written(outbox, "orderflow.inbox")]
    assert ids == ["bad-0", "bad-1", "bad-2"]


async def test_a_webhook_that_tells_whose_order_it_is_ends_the_wait_of_the_others(lane: Lane) -> None:
    """What waited goes first."""
    fail_for(lane, "DR1", Unavailable("500", status=500))
    await lane.step(lane.webhooks, Consumed(webhook("e1", order="DR1")), until=lambda _: lane.river.count("read") > 2)
    outbox = await lane.step(lane.webhooks, Consumed(webhook("e2", order="DR1", upstream="A-1")))
    assert [json.loads(record.value or b"")["id"] for record in written(outbox, "orderflow.inbox")] == ["e1", "e2"]


def test_the_cache_forgets_what_was_not_seen_for_longest() -> None:
    """It is bounded."""
    cache = OrderCache(2)
    for number in (1, 2, 1, 3):
        cache.put(RemoteOrderId(f"DR{number}"), OrderId(f"A-{number}"))
    assert [cache.get(RemoteOrderId(f"DR{number}")) for number in (1, 2, 3)] == ["A-1", None, "A-3"]


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
    """What is denied was not done, and is done when the key is right; what was done is not repeated."""
    lane.fail = lambda what, count: Denied("401", status=401) if what == "put" and 2 <= count <= 5 else None
    await lane.step(lane.catalogue, sku("1", "first"), sku("2", "second"))
    assert names(lane) == ["first", "second"]


UNANSWERED: list[DigitalRiverError] = [
    TransportFailure("no answer", sent=True),
    *(Unavailable(str(status), status=status) for status in (408, 500, 502, 503, 504)),
]


@pytest.mark.parametrize("error", UNANSWERED)
async def test_after_an_unanswered_write_the_same_sku_is_written_again_only_when_the_request_is_over(
    lane: Lane, error: DigitalRiverError
) -> None:
    """The old request might come late and undo the newer one; other SKUs do not wait for it."""
    lane.river.fail_after_writing = {"put 1": error}
    began = lane.time.now
    await lane.step(lane.catalogue, sku("1", "first"), sku("2", "second"), sku("3", "other", key=b"S-2"))
    assert [(name, at - began >= lane.options.over_seconds) for name, at in lane.river.written] == [
        ("first", False),
        ("other", False),
        ("first", True),
        ("second", True),
    ]


HARMLESS: list[DigitalRiverError] = [TransportFailure("refused", sent=False), Throttled("429", retry_after_seconds=1.0)]


@pytest.mark.parametrize("error", HARMLESS)
async def test_what_took_no_effect_is_written_again_soon(lane: Lane, error: DigitalRiverError) -> None:
    """Nothing can come late."""
    lane.fail = lambda what, count: error if (what, count) == ("put", 1) else None
    began = lane.time.now
    await lane.step(lane.catalogue, sku("1", "first"))
    assert names(lane) == ["first"]
    assert lane.time.now - began < 5


async def test_a_sku_that_alone_fails_is_refused_at_its_age_and_the_others_are_written_once(lane: Lane) -> None:
    """Its event is a dead letter, ``skus`` says why, and a later event of it is tried as ever."""
    lane.options = RequestOptions(age_seconds_max=300)
    lane.__post_init__()
    fail_for(lane, "S-bad", Unavailable("PUT /skus/{id}: HTTP 500", status=500), "put")
    good = [sku(f"g{n}", f"name-{n}", key=f"S-{n}".encode()) for n in range(20)]
    outbox = await lane.step(
        lane.catalogue,
        sku("bad", "bad", key=b"S-bad"),
        *good,
        until=lambda _: all(lane.store.get(f"S-{n}") for n in range(20)) and lane.river.count("put S-bad") > 1,
    )
    assert reasons(outbox) == []
    for n in range(20, 60):
        came = lane.time.now
        outbox = await lane.step(
            lane.catalogue,
            sku(f"g{n}", f"name-{n}", key=f"S-{n}".encode()),
            until=lambda _, came=came: lane.time.now >= came + 30,  # type: ignore[misc]  # the loop's value
        )
        if reasons(outbox):
            break
    assert reasons(outbox) == ["expired"]
    assert state(lane, "S-bad") == "refused"
    problem = json.loads(lane.store.get("S-bad") or b"")["problem"]
    assert (problem["code"], problem["status"]) == ("unanswered", 500)
    reported = [effect["name"] for effect in lane.river.effects()]
    assert len(reported) == len(set(reported)) > 20, "a good SKU is written once"
    lane.river.fails = {}
    await lane.step(lane.catalogue, sku("bad", "mended", key=b"S-bad"))
    assert state(lane, "S-bad") == "known"


async def test_a_sku_that_none_of_ours_wrote_stops_its_partition(lane: Lane) -> None:
    """With a line that names it; it would crash the worker otherwise, again and again."""
    lane.store.apply({"S-1": b"{"})
    with pytest.raises(UnreadableTable, match="the snapshot of SKU S-1 in skus cannot be read") as raised:
        await lane.step(lane.catalogue, sku("1", "first"))
    assert raised.value.disposition is Disposition.STOP_PARTITION


async def test_skus_run_side_by_side_and_each_in_order(lane: Lane) -> None:
    """A slow SKU does not hold up the others."""
    lane.river.slow = {"S-1": 0.05}
    await lane.step(lane.catalogue, sku("1", "first"), sku("2", "last"), sku("3", "fast", key=b"S-2"))
    assert [name for name, _ in lane.river.written] == ["fast", "first", "last"]


def test_a_snapshot_keeps_the_contract_shape(lane: Lane) -> None:
    """``sku_id`` and ``state`` are there, ``problem`` only when there is one."""
    asyncio.run(lane.step(lane.catalogue, sku("1", "first")))
    snapshot = msgspec.json.decode(lane.store.get("S-1") or b"")
    assert set(snapshot) == {"sku_id", "state", "updated", "internal"}


@pytest.mark.parametrize("name", ["late", None])
async def test_a_sku_is_not_written_once_the_lease_has_run_out(lane: Lane, name: str | None) -> None:
    """Frozen for so long, somebody else may have written newer things: safe to repeat is not safe to come late."""
    await lane.step(lane.catalogue, sku("1", "first"))
    lane.time.now += 5.0
    record = sku("2", name)
    record.offset = lane.offset
    await lane.catalogue.step(Batch([record], None, NOW), Overlay(lane.store), Outbox({}, home=0, home_count=0))
    lane.catalogue.committed({})  # but the transaction that renews the lease is not there
    for _ in range(500):
        await asyncio.sleep(0)
    assert lane.catalogue.queues.renewal_wanted
    assert names(lane) == ["first"]
    await lane.step(lane.catalogue)
    assert names(lane) == ["first", name or ""], "with a new lease it is written"


async def test_a_sku_is_not_written_before_its_record_is_named_in_committed_progress(lane: Lane) -> None:
    """Else a successor could not know what may be on its way."""
    record = sku("1", "first")
    await lane.catalogue.step(Batch([record], None, NOW), Overlay(lane.store), Outbox({}, home=0, home_count=0))
    for _ in range(500):
        await asyncio.sleep(0)
    assert lane.river.count("put") == 0
    progress = lane.catalogue.queues.progress(1)
    assert (progress.offset, progress.read_to, dict(progress.pending)) == (0, 1, {0: 0})
    lane.catalogue.committed({})
    await lane.step(lane.catalogue)
    assert names(lane) == ["first"]
