"""Bad input, one record of each kind among good orders: what becomes of it, and that nothing else suffers.

One worker takes all of it once on each Kafka; the tests look at what it left behind.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from orderflow.embedded_kafka import EmbeddedKafka
from producers.topics import Topic
from statemachine.messages.decoding import cause_of
from statemachine.messages.envelope import Record
from statemachine.refusals import MEANINGS
from tests.orders.bad_records import CANARY, Bad, bad_records
from tests.orders.lane import Outputs, Place, given, key_on, make_topics, order_lane
from tests.unit.statemachine.story import cart

#: Never to be found in what the lane says: the canary, and whatever is personal in the carts.
SECRETS = (CANARY, "pat@example.org", "Pat Doe", "1 Test Rd", "203.0.113.7")

CASES = bad_records()
GOOD = tuple(key_on(number % 2, f"good{number}") for number in range(8))


@dataclass
class Aftermath:
    """What a worker left behind."""

    places: dict[str, Place]
    outputs: Outputs
    logs: list[Any]
    #: Records that changed nothing, in the worker's own count.
    dead: int


async def _work(bootstrap: str, prefix: str) -> Aftermath:
    """Good orders; then all bad records with the shipments of the good orders between them; then the end of the good ones."""
    await make_topics(bootstrap, prefix)
    places: dict[str, Place] = {}
    with capture_logs() as logs:
        async with order_lane(bootstrap, prefix) as lane:
            await lane.send(*(given("checkout.requested", key, cart()) for key in GOOD))
            await lane.until_state("checkout_open", *GOOD)
            await lane.send(
                *(given("checkout.source_provided", key, {"source_id": "sim-card-1"}) for key in GOOD),
                *(given("order.placed", key, {"terms_accepted": True}) for key in GOOD),
            )
            await lane.until_state("submitted", *GOOD)
            mixed = [(case.name, case.record) for case in CASES]
            for at, key in enumerate(GOOD):
                shipped = {"shipment_id": "s-1", "items": [{"line": "1", "quantity": 2}]}
                mixed.insert(at * len(CASES) // len(GOOD), (key, given("fulfillment.shipped", key, shipped)))
            found = await lane.send(*(record for _, record in mixed))
            places = {name: place for (name, _), place in zip(mixed, found, strict=True)}
            await lane.until_state("complete", *GOOD)
            await lane.settled()
            dead = lane.counts("dead")
            outputs = await lane.outputs()
    return Aftermath(places, outputs, logs, dead)


async def _work_embedded(prefix: str) -> Aftermath:
    async with EmbeddedKafka() as kafka:
        return await _work(kafka.bootstrap, prefix)


_done: dict[str, Aftermath] = {}


@pytest.fixture(params=[pytest.param("apache", marks=pytest.mark.kafka), "embedded"])
def aftermath(request: pytest.FixtureRequest, prefix: str) -> Aftermath:
    """What the worker left behind on this Kafka; worked once."""
    kind = str(request.param)
    if kind not in _done:
        work = _work_embedded(prefix) if kind == "embedded" else _work(request.getfixturevalue("apache_kafka"), prefix)
        _done[kind] = asyncio.run(work)
    return _done[kind]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_bad_record_becomes_a_dead_letter_that_holds_it_whole_and_says_why(aftermath: Aftermath, case: Bad) -> None:
    """Reason, one line for a person, where it lay and when; key, value and headers byte for byte."""
    letter = aftermath.outputs.letter_at(aftermath.places[case.name])
    assert letter.reason == case.reason
    assert case.words in letter.detail
    assert re.fullmatch(r"[ -~]{10,200}", letter.detail), "one line of plain words"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", letter.at)
    assert letter.key == case.record.key
    assert letter.headers == case.record.headers
    assert letter.value == (b"" if case.value_left_out else case.record.value)


def _record(case: Bad, place: Place) -> Record:
    return Record(place.topic, place.partition, place.offset, case.record.key, case.record.value, case.record.headers)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_service_that_sent_a_refused_event_is_told(aftermath: Aftermath, case: Bad) -> None:
    """An order id as key makes one ``order.event_refused`` with first coordinates, reason, code and detail; no other key does."""
    place = aftermath.places[case.name]
    reported = [
        one["data"]
        for one in aftermath.outputs.refused
        if Place(*(one["data"]["cause"][part] for part in ("topic", "partition", "offset"))) == place
    ]
    assert len(reported) == (1 if case.reported else 0)
    for one in reported:
        assert case.record.key is not None
        assert one["order_id"] == case.record.key.decode()
        letter = aftermath.outputs.letter_at(place)
        assert set(one) == {"order_id", "cause", "reason", "code", "detail"}
        assert (one["reason"], one["detail"].split(" (value of")[0]) == (
            letter.reason,
            letter.detail.split(" (value of")[0],
        )
        assert one["code"] in MEANINGS
        cause = one["cause"]
        assert "id" not in cause or (cause["source"], bool(cause["type"])) == ("/shop", True)
        assert ("id" in cause) is (cause_of(_record(case, place)) is not None)


def test_the_orders_around_bad_records_end_as_they_should(aftermath: Aftermath) -> None:
    """Good orders among all that are complete, paid, without attention, and told without a gap."""
    for key in GOOD:
        order = aftermath.outputs.orders[key]
        assert (order["state"], order["payment"], order["attention"]) == ("complete", "captured", [])
        assert order["amounts"]["captured"] == order["amounts"]["total"] == "22.00"
        changes = aftermath.outputs.changes_of(key)
        assert [change["sequence"] for change in changes] == list(range(1, order["sequence"] + 1))


def test_a_bad_record_makes_no_order_and_no_change(aftermath: Aftermath) -> None:
    """Nothing is known afterwards of an order that only bad records named."""
    assert set(aftermath.outputs.orders) == set(GOOD)
    assert {change["subject"] for change in aftermath.outputs.changes} == set(GOOD)
    assert {record.key.decode() for record in aftermath.outputs.raw[Topic.DR_COMMANDS]} == set(GOOD)
    assert aftermath.dead == len(CASES) == len(aftermath.outputs.letters)


def test_nothing_that_the_lane_says_quotes_a_value(aftermath: Aftermath) -> None:
    """Details, refusals, changes, snapshots of idle orders and log lines hold nothing personal and nothing of a bad record."""
    said = [
        *(letter.detail for letter in aftermath.outputs.letters),
        *(str(one) for one in aftermath.outputs.refused if one["data"]["order_id"] != CANARY),
        *(str(one) for one in aftermath.outputs.changes),
        *(str(one) for one in aftermath.outputs.orders.values()),
        *(repr(line) for line in aftermath.logs),
    ]
    assert len(said) > len(CASES)
    for line in said:
        assert not [secret for secret in SECRETS if secret in line], line
