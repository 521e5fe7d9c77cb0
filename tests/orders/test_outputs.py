"""What the lane promises to those who read its topics: state changes, snapshots, the index, and who may see what."""

from __future__ import annotations

import asyncio
import json
import uuid
from itertools import pairwise
from typing import Any

from aiokafka import ConsumerRecord
from structlog.testing import capture_logs

from producers.topics import Topic
from tests.orders.lane import Given, Lane, Outputs, given, key_on, make_topics, order_lane
from tests.unit.statemachine.river import River
from tests.unit.statemachine.story import cart

#: What the contract promises of a snapshot.
SNAPSHOT_KEYS = [
    "order_id",
    "state",
    "sequence",
    "payment",
    "amounts",
    "lines",
    "shipments",
    "refunds",
    "returns",
    "documents",
    "digital_river",
    "deadlines",
    "parked",
    "attention",
    "definition",
    "internal",
]
AMOUNT_KEYS = ["currency", "total", "tax", "captured", "cancelled", "refunded", "charged_back"]

_PERSON = {
    "name": "Pat Doe",
    "line1": "1 Test Rd",
    "city": "Minneapolis",
    "state": "MN",
    "postal_code": "55401",
    "country": "US",
    "phone": "+16125550100",
}
PERSONAL = (
    "pat@example.org",
    "Pat Doe",
    "1 Test Rd",
    "Minneapolis",
    "55401",
    "+16125550100",
    "203.0.113.7",
    "Doe & Sons",
)
#: As the Digital River on paper hands them out.
CLIENT_SECRETS = ("secret of the session", "secret of the source")


def _cart() -> dict[str, Any]:
    """Two lines of physical goods, with all the personal data that a cart may have."""
    return cart(
        ("1", 2, "10.00"),
        ("2", 1, "5.00"),
        bill_to=_PERSON,
        ship_to=_PERSON,
        ship_from={"country": "US"},
        shipping={"amount": "4.00", "description": "Standard", "service_level": "SG"},
        browser_ip="203.0.113.7",
        organization={"name": "Doe & Sons"},
    )


def _shipped(order_id: str, shipment_id: str, line: str, quantity: int) -> Given:
    items = [{"line": line, "quantity": quantity}]
    data = {"shipment_id": shipment_id, "items": items}
    return given("fulfillment.shipped", order_id, data, event_id=f"{order_id}-{shipment_id}")


async def _tell(lane: Lane, order_id: str, *, method: str = "card", until: str = "submitted") -> None:
    """One order up to its placement, one event after the other."""
    await lane.send(given("checkout.requested", order_id, _cart(), event_id=f"{order_id}-c"))
    await lane.until_state("checkout_open", order_id)
    source = {"source_id": f"sim-{method}-1"}
    await lane.send(given("checkout.source_provided", order_id, source, event_id=f"{order_id}-s"))
    await lane.until_state("checkout_ready", order_id)
    await lane.send(given("order.placed", order_id, {"terms_accepted": True}, event_id=f"{order_id}-p"))
    await lane.until_state(until, order_id)


async def _answered(lane: Lane, order_id: str) -> None:
    """Wait until no command of the order is open and no report of Digital River is on its way for half a second."""
    seen, since = -1, 0.0

    def answered() -> bool:
        nonlocal seen, since
        order, now = lane.order(order_id), asyncio.get_running_loop().time()
        if order["internal"].get("commands") or order["sequence"] != seen:
            seen, since = order["sequence"], now
        return now - since > 0.5

    await lane.until(answered)
    await lane.settled()


async def _whole_life(lane: Lane, order_id: str) -> None:
    """Two shipments, one unit that the warehouse cannot deliver, one event that is refused: complete."""
    await _tell(lane, order_id)
    await lane.send(_shipped(order_id, "s-1", "1", 1))
    await lane.until(lambda: len(lane.order(order_id)["shipments"]) == 1)
    await _answered(lane, order_id)
    await lane.send(_shipped(order_id, "s-2", "2", 7))
    await lane.settled()
    rest = {"items": [{"line": "1", "quantity": 1}]}
    await lane.send(given("fulfillment.cancelled", order_id, rest, event_id=f"{order_id}-w"))
    await lane.until(lambda: bool(lane.order(order_id)["lines"][0]["cancelled"]))
    await _answered(lane, order_id)
    await lane.send(_shipped(order_id, "s-3", "2", 1))
    await lane.until_state("complete", order_id)
    await _answered(lane, order_id)


async def test_state_changes_are_gapless_and_bring_what_they_name(kafka: str, prefix: str) -> None:
    """Per order: sequence 1, 2, 3 ...; each ``from`` is the ``to`` before; each changed name has its value; ids differ."""
    await make_topics(kafka, prefix)
    orders = (key_on(0), key_on(1))
    async with order_lane(kafka, prefix) as lane:
        for order_id in orders:
            await _whole_life(lane, order_id)
        outputs = await lane.outputs()
    ids = [change["id"] for change in outputs.changes]
    assert len(set(ids)) == len(ids)
    assert {uuid.UUID(one).version for one in ids} == {5}
    for order_id in orders:
        changes = outputs.changes_of(order_id)
        order = outputs.orders[order_id]
        assert [change["sequence"] for change in changes] == list(range(1, order["sequence"] + 1))
        assert changes[0]["from"] == "awaited"
        for before, after in pairwise(changes):
            assert after["from"] == before["to"]
        for change in changes:
            assert change["changed"]
            assert all(name in change for name in change["changed"])
            assert ("state" in change["changed"]) == (change["from"] != change["to"])
            assert list(change["amounts"]) == AMOUNT_KEYS
            assert {"order_id", "payment", "digital_river", "attention"} <= set(change)
            assert {"type", "id", "source", "topic", "partition", "offset"} <= set(change["cause"])
        for name in ("state", "payment", "amounts", "lines", "shipments", "documents", "attention"):
            reported = [change[name] for change in changes if name in change["changed"]]
            assert (reported[-1] if reported else order[name]) == order[name], (
                f"the last {name} that was told is the order's"
            )
        _holds_the_right_sums(order)


def _holds_the_right_sums(order: dict[str, Any]) -> None:
    assert (order["state"], order["payment"]) == ("complete", "captured")
    shipments = [(one["shipment_id"], one["capture"]) for one in order["shipments"]]
    assert shipments == [("s-1", "complete"), ("s-3", "complete")]
    cents = {name: round(float(order["amounts"][name]) * 100) for name in ("total", "captured", "cancelled")}
    assert cents["captured"] + cents["cancelled"] == cents["total"] == 2750
    assert order["attention"] == ["fulfillment.shipped was refused: more units were shipped than are open"]


async def test_snapshots_have_all_promised_keys_and_come_once_per_transaction(kafka: str, prefix: str) -> None:
    """Two snapshots of one order never stand in one transaction, however many events were carried out in it."""
    await make_topics(kafka, prefix)
    order_id = key_on(0)
    async with order_lane(kafka, prefix, answering=False) as lane:
        await lane.send(*(given("order.placed", order_id, {"terms_accepted": True}) for _ in range(40)))
        await lane.send(*(given("order.payment_returned", order_id, {}) for _ in range(10)))
        await lane.settled()
        outputs = await lane.outputs()
    snapshots = outputs.raw[Topic.ORDERS]
    assert 0 < len(snapshots) < 50
    for keys in _transactions(snapshots):
        assert len(set(keys)) == len(keys)
    for record in snapshots:
        assert list(json.loads(record.value))[: len(SNAPSHOT_KEYS) - 2] == SNAPSHOT_KEYS[:-2]
        assert set(SNAPSHOT_KEYS) <= set(json.loads(record.value))
    transactions = [json.loads(record.value)["transaction"] for record in outputs.raw[Topic.POSITIONS]]
    assert transactions == sorted(set(transactions)), "each transaction wrote one position record of its own"


def _transactions(records: list[ConsumerRecord]) -> list[list[bytes]]:
    """Keys by transaction: the marker that ends one takes an offset of its own."""
    found: list[list[bytes]] = []
    last = None
    for record in records:
        if last is None or (record.partition, record.offset) != (last.partition, last.offset + 1):
            found.append([])
        found[-1].append(record.key)
        last = record
    return found


async def test_a_replay_gives_the_same_ids(kafka: str, prefix: str) -> None:
    """The same events carried out again elsewhere make the same changes, refusals and commands, by the same names."""
    order_id = key_on(0)
    reported = []
    for place in (f"{prefix}a.", f"{prefix}b."):
        await make_topics(kafka, place)
        async with order_lane(kafka, place, river=River()) as lane:
            await _whole_life(lane, order_id)
            outputs = await lane.outputs()
        changes = [(one["id"], one["data"]["to"], one["data"]["changed"]) for one in outputs.changes]
        commands = [json.loads(record.value)["id"] for record in outputs.raw[Topic.DR_COMMANDS]]
        reported.append((changes, [one["id"] for one in outputs.refused], commands))
    assert reported[0] == reported[1]
    assert all(reported[0])


async def test_a_cause_tells_where_its_record_came_in(kafka: str, prefix: str) -> None:
    """Topic, partition and offset of a cause are those of the record that has its id."""
    await make_topics(kafka, prefix)
    order_id = key_on(1)
    records = (
        given("checkout.requested", order_id, cart(), event_id="first"),
        given("order.placed", order_id, {"terms_accepted": True}, event_id="second"),
    )
    async with order_lane(kafka, prefix) as lane:
        places = await lane.send(*records)
        await lane.send(given("checkout.source_provided", order_id, {"source_id": "sim-card-1"}))
        await lane.until_state("submitted", order_id)
        outputs = await lane.outputs()
    causes = {one["cause"]["id"]: one["cause"] for one in outputs.changes_of(order_id)}
    for name, record, place in zip(("first", "second"), records, places, strict=True):
        kind = json.loads(record.value or b"")["type"]
        where = {"topic": place.topic, "partition": place.partition, "offset": place.offset}
        assert causes[name] == {"type": kind, "id": name, "source": "/shop", **where}


async def test_the_index_finds_the_order_of_each_id_of_digital_river(kafka: str, prefix: str) -> None:
    """Checkout, order and fulfilment ids lead to our order."""
    await make_topics(kafka, prefix)
    order_id = key_on(0)
    async with order_lane(kafka, prefix) as lane:
        await _whole_life(lane, order_id)
        outputs = await lane.outputs()
    index = {record.key.decode(): json.loads(record.value) for record in outputs.raw[Topic.INDEX]}
    order = outputs.orders[order_id]
    wanted = {
        order["digital_river"]["checkout_id"]: "checkout",
        order["digital_river"]["order_id"]: "order",
        **{shipment["fulfillment_id"]: "fulfillment" for shipment in order["shipments"]},
    }
    assert wanted.items() <= {name: entry["kind"] for name, entry in index.items()}.items()
    assert {entry["order_id"] for entry in index.values()} == {order_id}


async def _tell_all(lane: Lane) -> None:
    """A card order to its end, one that waits for a wire, and records that are set aside."""
    card, wire = key_on(0, "card"), key_on(1, "wire")
    await _whole_life(lane, card)
    await _tell(lane, wire, method="wire", until="pending_payment")
    bad = [
        given("checkout.requested", card, _cart()),
        given("checkout.requested", wire, {**_cart(), "currency": "pat@example.org"}),
        given("checkout.requested", wire, {**_cart(), "metadata": {"Pat Doe": [1]}}),
        given("checkout.updated", wire, {**_cart(), "bill_to": {"name": "Pat Doe", "1 Test Rd": 1}}),
    ]
    await lane.send(*bad)
    await lane.settled()


async def test_personal_data_and_secrets_stay_where_they_belong(kafka: str, prefix: str) -> None:
    """Idle orders, changes, the index, details of letters and the log name nobody; client secrets are in changes only."""
    await make_topics(kafka, prefix)
    with capture_logs() as logs:
        async with order_lane(kafka, prefix) as lane:
            await _tell_all(lane)
            outputs = await lane.outputs()
    assert len(outputs.letters) == 5
    impersonal = [
        *(json.dumps(order, ensure_ascii=False) for order in outputs.orders.values()),
        *(letter.detail for letter in outputs.letters),
        *_texts(outputs, Topic.ORDER_STATE_CHANGES, Topic.INDEX, Topic.POSITIONS),
        *(repr(line) for line in logs),
    ]
    assert not [text for text in impersonal if any(word in text for word in PERSONAL)]
    unsecret = [
        *_texts(outputs, Topic.ORDERS, Topic.DR_COMMANDS, Topic.DEAD_LETTERS, Topic.INDEX, Topic.POSITIONS),
        *(repr(line) for line in logs),
    ]
    assert not [text for text in unsecret if any(word in text for word in CLIENT_SECRETS)]
    changes = "".join(_texts(outputs, Topic.ORDER_STATE_CHANGES))
    assert all(secret in changes for secret in CLIENT_SECRETS)
    assert "203.0.113.7" in "".join(_texts(outputs, Topic.DR_COMMANDS)), "the test would see personal data"


def _texts(outputs: Outputs, *topics: Topic) -> list[str]:
    return [(record.value or b"").decode(errors="replace") for topic in topics for record in outputs.raw[topic]]
