"""Records that lie on another partition than murmur2 gives their key, and orderflow's own header in the wrong hands."""

from __future__ import annotations

from producers.partitioner import partition_of
from producers.topics import Topic
from statemachine.messages.decoding import ORIGIN_HEADER
from tests.orders.bad_records import largest
from tests.orders.lane import Given, Place, event, given, key_on, make_topics, order_lane
from tests.unit.statemachine.story import cart

PARTITIONS = 3


def _elsewhere(record: Given, shift: int = 1) -> Given:
    """The record as a producer with another partitioner would put it."""
    assert record.key is not None
    return record._replace(partition=(partition_of(record.key, PARTITIONS) + shift) % PARTITIONS)


def _history(order_id: str) -> list[Given]:
    shipped = {"shipment_id": "s-1", "items": [{"line": "1", "quantity": 2}]}
    return [
        given("checkout.requested", order_id, cart(), event_id="c"),
        given("checkout.source_provided", order_id, {"source_id": "sim-card-1"}, event_id="s"),
        given("order.placed", order_id, {"terms_accepted": True}, event_id="p"),
        given("fulfillment.shipped", order_id, shipped, event_id="f"),
    ]


async def test_records_on_every_partition_but_their_own_cost_a_hop_and_nothing_else(kafka: str, prefix: str) -> None:
    """All are forwarded through the inbox and counted; orders complete gapless, and causes name where the records came in."""
    await make_topics(kafka, prefix, partitions=PARTITIONS)
    order_ids = [key_on(number, f"o{number}", partitions=PARTITIONS) for number in range(PARTITIONS)]
    records = [_elsewhere(record, 1 + at % 2) for order_id in order_ids for at, record in enumerate(_history(order_id))]
    async with order_lane(kafka, prefix, partitions=PARTITIONS) as lane:
        places = await lane.send(*records)
        await lane.until_state("complete", *order_ids)
        await lane.settled()
        assert lane.counts("forwarded") == len(records)
        outputs = await lane.outputs()
    assert (outputs.letters, outputs.refused) == ([], [])
    came_in = {record.value: place for record, place in zip(records, places, strict=True)}
    assert len(came_in) == len(records)
    for order_id in order_ids:
        changes = outputs.changes_of(order_id)
        assert [change["sequence"] for change in changes] == list(range(1, len(changes) + 1))
        causes = {change["cause"]["id"]: change["cause"] for change in changes}
        for record, place in zip(records, places, strict=True):
            if record.key == order_id.encode():
                cause = causes.get(_id_of(record))
                if cause is None:  # it only asks Digital River for something, which is no news yet
                    assert _id_of(record) in {"s", "f"}
                    continue
                assert Place(cause["topic"], cause["partition"], cause["offset"]) == place


def _id_of(record: Given) -> str:
    return {b"checkout.requested": "c", b"checkout.source": "s", b"order.placed": "p", b"fulfillment.shipped": "f"}[
        next(
            word
            for word in (b"checkout.requested", b"checkout.source", b"order.placed", b"fulfillment.shipped")
            if b'"type": "' + word in (record.value or b"")
        )
    ]


async def test_a_forwarded_record_that_is_refused_is_the_same_dead_letter_as_at_home(kafka: str, prefix: str) -> None:
    """Key, value, headers and coordinates are those of its first arrival; the mark of the hop is not in the letter."""
    await make_topics(kafka, prefix, partitions=PARTITIONS)
    order_id = key_on(0, partitions=PARTITIONS)
    refused = given("checkout.requested", order_id, cart(), event_id="again")._replace(
        headers=(("trace", None), ("t", b"1"))
    )
    async with order_lane(kafka, prefix, partitions=PARTITIONS) as lane:
        await lane.send(given("checkout.requested", order_id, cart()))
        await lane.until_state("checkout_open", order_id)
        (place,) = await lane.send(_elsewhere(refused))
        await lane.settled()
        outputs = await lane.outputs()
    letter = outputs.letter_at(place)
    assert (letter.reason, letter.key, letter.value) == ("refused", refused.key, refused.value)
    assert letter.headers == refused.headers
    (reported,) = outputs.refused
    assert Place(*(reported["data"]["cause"][part] for part in ("topic", "partition", "offset"))) == place


async def test_an_origin_that_a_sender_made_up_is_not_believed(kafka: str, prefix: str) -> None:
    """The lane's own header counts only where the lane put it, so a public record cannot pose as one of another topic."""
    await make_topics(kafka, prefix, partitions=PARTITIONS)
    order_id = key_on(0, partitions=PARTITIONS)
    made_up = (("orderflow-origin", b"order-events/2/77"),)
    record = _elsewhere(given("checkout.requested", order_id, cart(), event_id="c")._replace(headers=made_up))
    async with order_lane(kafka, prefix, partitions=PARTITIONS) as lane:
        (place,) = await lane.send(record)
        await lane.until_state("checkout_open", order_id)
        outputs = await lane.outputs()
    cause = outputs.changes_of(order_id)[0]["cause"]
    assert Place(cause["topic"], cause["partition"], cause["offset"]) == place
    assert outputs.letters == []


async def test_records_at_the_size_limit_are_forwarded_or_set_aside_but_never_stop_a_partition(
    kafka: str, prefix: str
) -> None:
    """The largest plain record fits through the inbox; one that only its compression let in is a dead letter ``too_large``."""
    await make_topics(kafka, prefix, partitions=PARTITIONS)
    order_id, good = key_on(0, partitions=PARTITIONS), key_on(1, partitions=PARTITIONS)
    key = order_id.encode()
    placed = event("order.placed", order_id, {"terms_accepted": True, "note": "?"})
    plain = largest()
    assert plain.value is not None
    filled = placed.replace(b"?", b"x" * (len(plain.value) - len(placed) - len(key)))
    digits = plain.value[:900_000].hex().encode()
    dense = placed.replace(b"?", digits)
    async with order_lane(kafka, prefix, partitions=PARTITIONS) as lane:
        places = await lane.send(
            _elsewhere(Given(Topic.ORDER_EVENTS, key, filled)),
            _elsewhere(Given(Topic.ORDER_EVENTS, key, dense, compression="gzip")),
            given("checkout.requested", good, cart()),
        )
        await lane.until_state("checkout_open", good)
        await lane.settled()
        assert lane.counts("forwarded") == 1
        outputs = await lane.outputs()
    forwarded, too_dense = (outputs.letter_at(place) for place in places[:2])
    assert (forwarded.reason, forwarded.value) == ("too_large", filled), "too large for a snapshot, not for the inbox"
    assert (too_dense.reason, too_dense.value) == ("too_large", b"")
    assert "too large to be forwarded" in too_dense.detail
    assert len(outputs.refused) == 2


async def test_a_fact_that_is_set_aside_is_a_letter_of_the_inbox(kafka: str, prefix: str) -> None:
    """Its value is the fact, not the webhook that it came from: written back to the inbox it is read again."""
    await make_topics(kafka, prefix)
    order_id = key_on(1)
    remote = {"dr_order_id": "DR-1", "state": "accepted", "currency": "USD", "total": 100}
    fact = Given(
        Topic.INBOX,
        order_id.encode(),
        event("digitalriver.order.accepted", order_id, {"type": "order.accepted", "order": remote}),
        headers=((ORIGIN_HEADER, b"dr-webhooks/3/17"),),
    )
    async with order_lane(kafka, prefix) as lane:
        (place,) = await lane.send(fact)
        await lane.settled()
        outputs = await lane.outputs()
    letter = outputs.letter_at(place)
    assert (letter.reason, letter.value, letter.headers) == ("unroutable", fact.value, fact.headers)
    assert outputs.refused == [], "nobody outside waits for news of a webhook"
