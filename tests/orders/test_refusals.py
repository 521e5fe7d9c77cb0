"""Sound events that an order cannot take: refused with a reason, and the order goes on as if they had never come."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from producers.topics import Topic
from tests.orders.lane import Given, Lane, Place, event, given, key_on, make_topics, now, order_lane
from tests.unit.statemachine.story import cart, units


async def _to_submitted(lane: Lane, *order_ids: str) -> None:
    await lane.send(
        *(given("checkout.requested", key, cart()) for key in order_ids),
        *(given("checkout.source_provided", key, {"source_id": "sim-card-1"}) for key in order_ids),
        *(given("order.placed", key, {"terms_accepted": True}, event_id=f"placed-{key}") for key in order_ids),
    )
    await lane.until_state("submitted", *order_ids)


def _shipped(order_id: str, shipment_id: str = "s-1", *, line: str = "1", quantity: int = 2) -> Given:
    items = [{"line": line, "quantity": quantity}]
    return given("fulfillment.shipped", order_id, {"shipment_id": shipment_id, "items": items})


async def test_what_a_submitted_order_cannot_take_is_refused_and_it_still_completes(kafka: str, prefix: str) -> None:
    """Unknown lines, too many units, a second placement, a new cart: each a dead letter and a refusal, none moves the order."""
    await make_topics(kafka, prefix)
    order_id, other = key_on(0), key_on(1)
    wrong: dict[str, Given] = {
        "an order was already placed for this checkout": given("order.placed", order_id, {"terms_accepted": True}),
        "the event names a line that the order does not have": _shipped(order_id, "s-9", line="9"),
        "more units were shipped than are open": _shipped(order_id, "s-8", quantity=3),
        "the order was placed or has ended; its cart cannot change": given("checkout.updated", order_id, cart()),
        "no unit is open any more, or more units were to be cancelled than are open": given(
            "order.cancel_requested", order_id, {"items": [{"line": "1", "quantity": 3}]}
        ),
        "the order was already requested": given("checkout.requested", order_id, cart()),
    }
    async with order_lane(kafka, prefix) as lane:
        await _to_submitted(lane, order_id, other)
        places = await lane.send(*wrong.values())
        await lane.settled()
        await lane.send(_shipped(order_id), _shipped(other))
        await lane.until_state("complete", order_id, other)
        outputs = await lane.outputs()
    for (words, record), place in zip(wrong.items(), places, strict=True):
        letter = outputs.letter_at(place)
        assert (letter.reason, letter.key, letter.value) == ("refused", record.key, record.value)
        assert words in letter.detail
    assert len(outputs.refused) == len(wrong)
    order = outputs.orders[order_id]
    assert order["attention"] == [
        "fulfillment.shipped was refused: the event names a line that the order does not have",
        "fulfillment.shipped was refused: more units were shipped than are open",
    ]
    assert (order["lines"][0]["shipped"], order["payment"]) == (2, "captured")
    assert outputs.orders[other]["attention"] == []
    assert len(lane.river.orders) == 2, "one order at Digital River per order id"


async def test_the_same_event_again_changes_nothing_and_is_not_a_dead_letter(kafka: str, prefix: str) -> None:
    """A redelivered record, wherever it arrives, is the same fact."""
    await make_topics(kafka, prefix)
    order_id = key_on(0)
    records = [
        given("checkout.requested", order_id, cart()),
        given("checkout.source_provided", order_id, {"source_id": "sim-card-1"}),
        given("order.placed", order_id, {"terms_accepted": True}),
        _shipped(order_id),
    ]
    async with order_lane(kafka, prefix) as lane:
        await lane.send(*records)
        await lane.until_state("complete", order_id)
        before = await lane.outputs()
        await lane.send(*records, *(record._replace(topic=Topic.INBOX) for record in records))
        await lane.settled()
        after = await lane.outputs()
    assert after.changes == before.changes
    assert (after.letters, after.refused) == ([], [])
    assert len(after.raw[Topic.DR_COMMANDS]) == len(before.raw[Topic.DR_COMMANDS])


async def test_an_order_that_would_hold_more_than_fits_keeps_what_it_has(kafka: str, prefix: str) -> None:
    """What would make a snapshot too large, or would be the 65th event to wait, is a dead letter ``too_large``."""
    await make_topics(kafka, prefix)
    large, many = key_on(0, "large"), key_on(0, "many")
    big = [
        given("fulfillment.cancelled", large, {"items": units(l1=1), "note": "x" * 200_000, "reason": str(n)})
        for n in range(4)
    ]
    small = [given("order.placed", many, {"terms_accepted": True}) for _ in range(66)]
    async with order_lane(kafka, prefix, answering=False) as lane:
        places = await lane.send(*big, *small)
        await lane.settled()
        outputs = await lane.outputs()
    for place, record, words in (
        (places[2], big[2], "would no longer fit into its snapshot"),
        (places[3], big[3], "would no longer fit into its snapshot"),
        (places[4 + 64], small[64], "the order already has 64 parked events"),
        (places[4 + 65], small[65], "the order already has 64 parked events"),
    ):
        letter = outputs.letter_at(place)
        assert (letter.reason, letter.value) == ("too_large", record.value)
        assert words in letter.detail
    assert len(outputs.orders[large]["parked"]) == 2
    assert len(outputs.orders[many]["parked"]) == 64
    assert len(outputs.refused) == 4
    assert all(len(record.value) < 512 * 1024 for record in outputs.raw[Topic.ORDERS])


async def test_events_of_an_order_that_was_never_requested_expire(kafka: str, prefix: str) -> None:
    """They wait for ``checkout.requested`` until their age limit, then become dead letters with their first coordinates."""
    await make_topics(kafka, prefix)
    orphan, good = key_on(0, "orphan"), key_on(0, "good")
    passed = timedelta(days=-10)
    async with order_lane(kafka, prefix, clock=lambda: now() + passed) as lane:
        placed = given("order.placed", orphan, {"terms_accepted": True})
        headers = (("trace", b"\x00\xff"), ("trace", None))
        places = await lane.send(placed._replace(headers=headers), _shipped(orphan))
        await lane.settled()
        assert lane.order(orphan)["state"] == "awaited"
        waiting = sorted(entry["type"] for entry in lane.order(orphan)["parked"])
        assert waiting == ["fulfillment.shipped", "order.placed"]
        passed = timedelta(days=-2)
        await lane.send(given("checkout.requested", good, cart()))
        await lane.until_state("checkout_open", good)
        # nothing is known of the order any more: it leaves the public table
        await lane.until(lambda: lane.order(orphan) == {})
        outputs = await lane.outputs()
    letter = outputs.letter_at(places[0])
    assert (letter.reason, letter.key, letter.value, letter.headers) == ("expired", placed.key, placed.value, headers)
    assert letter.detail == "the order was never requested"
    assert outputs.letter_at(places[1]).reason == "expired"
    causes = [one["data"]["cause"] for one in outputs.refused]
    assert sorted(Place(c["topic"], c["partition"], c["offset"]) for c in causes) == sorted(places)
    assert outputs.changes_of(orphan) == []


async def test_an_event_that_is_early_is_carried_out_when_its_order_comes(kafka: str, prefix: str) -> None:
    """Events before ``checkout.requested`` wait and then count as if they had come in time."""
    await make_topics(kafka, prefix)
    order_id = key_on(1)
    async with order_lane(kafka, prefix) as lane:
        await lane.send(
            _shipped(order_id),
            given("order.placed", order_id, {"terms_accepted": True}),
            given("checkout.source_provided", order_id, {"source_id": "sim-card-1"}),
        )
        await lane.settled()
        await lane.send(given("checkout.requested", order_id, cart()))
        await lane.until_state("complete", order_id)
        outputs = await lane.outputs()
    assert (outputs.letters, outputs.refused) == ([], [])
    assert [change["sequence"] for change in outputs.changes_of(order_id)] == list(
        range(1, outputs.orders[order_id]["sequence"] + 1)
    )


def _binary(kind: str, data: Any, event_id: str) -> tuple[bytes, tuple[tuple[str, bytes | None], ...]]:
    headers: tuple[tuple[str, bytes | None], ...] = (
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_source", b"/shop"),
        ("ce_type", kind.encode()),
        ("ce_time", b"2031-03-04T10:11:12Z"),
        ("traceparent", None),
    )
    return json.dumps(data).encode(), headers


async def test_unusual_but_sound_records_are_taken(kafka: str, prefix: str) -> None:
    """Binary mode, null headers, a name twice in an object, deep nesting, umlauts and unknown fields are accepted."""
    await make_topics(kafka, prefix)
    order_id = key_on(0)
    key = order_id.encode()
    bill_to = {**cart()["bill_to"], "name": "Zoë Müller-Łukasiewicz 山田"}
    wanted = {**cart(bill_to=bill_to), "note": "?"}
    deep = json.dumps(wanted, ensure_ascii=False).replace('"?"', "[" * 100 + "]" * 100).encode()
    source, source_headers = _binary("checkout.source_provided", {"source_id": "sim-card-1"}, "s-1")
    placed = event("order.placed", order_id, {"terms_accepted": True})
    twice = placed.replace(b'"terms_accepted": true', b'"terms_accepted": false, "terms_accepted": true')
    _, cart_headers = _binary("checkout.requested", {}, "c-1")
    async with order_lane(kafka, prefix) as lane:
        await lane.send(
            Given(Topic.CHECKOUT_EVENTS, key, deep, cart_headers, compression="zstd"),
            Given(Topic.CHECKOUT_EVENTS, key, source, source_headers),
            Given(Topic.ORDER_EVENTS, key, twice, (("x", None), ("x", b""), ("\u00fc", b"\xff"))),
        )
        await lane.until_state("submitted", order_id)
        outputs = await lane.outputs()
    assert (outputs.letters, outputs.refused) == ([], [])
    assert outputs.orders[order_id]["attention"] == []
