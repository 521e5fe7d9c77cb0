"""``orderflow orders find|explain|history|show --at|watch`` over orders that the real worker and the simulator made."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from consumers.group.scanning import Part, ReadRecord, scan
from consumers.ownership.records import record_of
from orderflow.demonstration.environment import PARTITIONS, demo_environment
from orderflow.demonstration.scenario import Scenario, available, load
from orderflow.demonstration.scenario_runner import run_all, start_runner
from orderflow.embedded_kafka import EmbeddedKafka
from orderflow.inspection.following import watch
from orderflow.inspection.reading import open_reader
from producers.connection import KafkaConnection
from producers.topics import ORDER_INPUTS, Topic
from statemachine.messages.decoding import decode
from tests.architecture.sources import ROOT
from tests.cli.command import Command
from tests.cli.embedded import kafka_in_thread

#: Played side by side, each with another end.
NAMES: Final = (
    "card",
    "card-declined",
    "early-events",
    "over-shipped",
    "placed-twice",
    "refund-failed",
    "refund-needs-account",
    "return-whole",
    "review-blocked",
    "shipped-early",
    "two-parcels",
    "void-failed",
    "warehouse-short",
    "wire-paid",
)
SCENARIOS: Final = {path.stem: load(path) for path in available() if path.stem in NAMES}


@dataclass
class Played:
    """What was played: where it lies, and every record of it."""

    bootstrap: str
    kafka: EmbeddedKafka
    loop: asyncio.AbstractEventLoop
    records: dict[Topic, list[ReadRecord]] = field(default_factory=dict)
    compacted: bool = False

    def of(self, order_id: str, *topics: Topic) -> list[ReadRecord]:
        """An order's records."""
        return [one for topic in topics for one in self.records[topic] if one.key == order_id.encode()]

    def order(self, name: str) -> str:
        """The order's id of a scenario."""
        return SCENARIOS[name].order

    def latest(self, name: str) -> dict[str, Any]:
        """The newest snapshot of a scenario's order."""
        document: dict[str, Any] = json.loads(self.of(self.order(name), Topic.ORDERS)[-1].value)
        return document

    def compact(self) -> None:
        """Kafka cleans ``orders``, once for all tests."""

        async def clean() -> int:
            return self.kafka.compact("orders")

        gone = asyncio.run_coroutine_threadsafe(clean(), self.loop).result(10)
        assert self.compacted or gone > 0
        self.compacted = True


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    """All scenarios, played to their ends on a Kafka in a thread of its own, which stays."""
    with kafka_in_thread() as (kafka, loop):
        made = Played(kafka.bootstrap, kafka, loop)
        asyncio.run(_play(made))
        yield made


async def _play(played: Played) -> None:
    async with (
        demo_environment(bootstrap=played.bootstrap, delay_seconds=0.2) as place,
        start_runner(place) as runner,
    ):
        assert await run_all(runner, list(SCENARIOS.values())) == []
    topics = (*ORDER_INPUTS, Topic.ORDERS, Topic.ORDER_STATE_CHANGES, Topic.DR_COMMANDS, Topic.DEAD_LETTERS)
    played.records = {topic: [] for topic in topics}
    parts = [Part(topic, number) for topic in topics for number in range(PARTITIONS)]
    await scan(KafkaConnection(played.bootstrap), "", parts, lambda topic, one: played.records[topic].append(one))


@pytest.fixture(autouse=True)
def _settings(orderflow: Command, played: Played) -> None:
    orderflow.set(kafka_bootstrap=played.bootstrap)


def _documents(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def _find(orderflow: Command, text: str) -> list[tuple[str, str, str]]:
    result = orderflow("orders", "find", text, "--json")
    assert result.exit_code == 0, result.stderr
    return [(one["order_id"], one["matched"], one["value"]) for one in _documents(result.stdout)]


def test_an_order_is_found_by_each_of_its_ids(orderflow: Command, played: Played) -> None:
    """Law: whichever id a person has, as a whole or its begin, names the order and says what the id is of."""
    order_id, latest = played.order("return-whole"), played.latest("return-whole")
    remote = latest["digital_river"]
    shipment, [returned] = latest["shipments"][0], latest["returns"]
    for value, matched in (
        (order_id, "order"),
        (remote["checkout_id"], "checkout"),
        (remote["order_id"], "digital_river_order"),
        (shipment["fulfillment_id"], "fulfillment"),
    ):
        assert (order_id, matched, value) in _find(orderflow, value)
        assert (order_id, matched, value) in _find(orderflow, value[:-1])
    assert (order_id, "shipment", shipment["shipment_id"]) in _find(orderflow, shipment["shipment_id"])
    assert (order_id, "return", returned["return_id"]) in _find(orderflow, returned["return_id"])
    refund = played.latest("refund-failed")["refunds"][0]["refund_id"]
    assert (played.order("refund-failed"), "refund", refund) in _find(orderflow, refund)
    document = played.latest("card")["documents"][0]["file_id"]
    assert _find(orderflow, document) == [(played.order("card"), "file", document)]


def test_an_order_is_found_by_the_id_of_an_event(orderflow: Command, played: Played) -> None:
    """Ids of events are in no snapshot: the inputs have them."""
    order_id = played.order("card")
    for record in played.of(order_id, *ORDER_INPUTS):
        event_id = json.loads(record.value)["id"]
        assert (order_id, "event", event_id) in _find(orderflow, event_id)


def test_what_nobody_has_is_not_found(orderflow: Command) -> None:
    """Exit code 3, one line, for each verb."""
    for words in (
        ("find", "nothing-like-it"),
        ("explain", "nobody"),
        ("history", "nobody"),
        ("show", "nobody", "--at", "1m"),
        ("watch", "nobody"),
    ):
        result = orderflow("orders", *words)
        assert (result.exit_code, result.stdout) == (3, ""), words
        assert result.stderr.count("\n") == 1
    result = orderflow("orders", "show", "nobody", "--at", "yesterday")
    assert result.exit_code == 2
    assert "must be a time such as" in result.stderr
    result = orderflow("orders", "show", "nobody", "--at", "2999-01-01T00:00:00Z")
    assert (result.exit_code, "--at is in the future" in result.stderr) == (2, True)


def test_without_kafka_each_verb_says_so(orderflow: Command) -> None:
    """Exit code 4 and one line."""
    orderflow.set(kafka_bootstrap="127.0.0.1:1")
    for words in (("find", "A"), ("explain", "A"), ("history", "A"), ("show", "A", "--at", "1m"), ("watch", "A")):
        result = orderflow("orders", *words)
        assert (result.exit_code, result.stdout) == (4, ""), words
        assert result.stderr == "orderflow: Kafka is not reachable at 127.0.0.1:1\n"


def test_explain_tells_since_when_and_whose_turn_it_is(orderflow: Command, played: Played) -> None:
    """The state's time is that of the change that led to it; an order that is over waits for nothing."""
    for name, turns in (("card", []), ("two-parcels", []), ("over-shipped", None), ("void-failed", None)):
        order_id = played.order(name)
        [told] = _documents(orderflow("orders", "explain", order_id, "--json").stdout)
        changes = [json.loads(one.value) for one in played.of(order_id, Topic.ORDER_STATE_CHANGES)]
        moved = [
            one for one in changes if one["type"] == "order.state_changed" and one["data"]["from"] != told["state"]
        ]
        assert told["since"] == moved[-1]["time"]
        assert told["attention"] == played.latest(name)["attention"]
        if turns is None:
            assert "operator" in [wait["turn"] for wait in told["waiting"]]
            assert all(wait["since"] for wait in told["waiting"])
        else:
            assert told["waiting"] == turns
    shown = orderflow("orders", "explain", played.order("void-failed")).stdout
    assert "an operator's turn: " in shown
    assert "moved on by: " in shown
    assert "It waits for nothing." in orderflow("orders", "explain", played.order("card")).stdout


def test_explain_knows_what_is_paused(orderflow: Command, played: Played) -> None:
    """Who paused the lane has to resume it; then it is the turn of others again."""
    order_id = played.order("void-failed")

    def turns() -> list[str]:
        [told] = _documents(orderflow("orders", "explain", order_id, "--json").stdout)
        return [f"{wait['turn']}: {wait['what']}" for wait in told["waiting"]]

    before = turns()
    assert orderflow("pause", "lane/orders", "--reason", "a look", "--apply").exit_code == 0
    first, *others = turns()
    assert first.startswith("operator: a person to resume lane/orders: a look (paused by ")
    assert others == before
    assert orderflow("resume", "lane/orders", "--reason", "looked", "--apply").exit_code == 0
    assert turns() == before


@pytest.mark.parametrize("name", NAMES)
def test_history_has_each_record_once_and_in_order(orderflow: Command, played: Played, name: str) -> None:
    """Law: every event, change, command and dead letter of the order is there once, and time does not go back."""
    order_id = played.order(name)
    entries = _documents(orderflow("orders", "history", order_id, "--json").stdout)
    times = [
        datetime.fromisoformat(one["at"]) for one in entries
    ]  # as text a whole second would come after its fractions
    assert times == sorted(times)
    causes = [decode(record_of(one, Topic(one.topic))).cause for one in played.of(order_id, *ORDER_INPUTS)]
    inputs = sorted((one.topic, one.partition, one.offset) for one in causes)  # where each first came in
    events = [one for one in entries if one["kind"] == "event"]
    assert sorted((one["topic"], one["partition"], one["offset"]) for one in events) == inputs
    changes = [json.loads(one.value) for one in played.of(order_id, Topic.ORDER_STATE_CHANGES)]
    told = [one["sequence"] for one in entries if one["kind"] == "change"]
    assert told == [one["data"]["sequence"] for one in changes if one["type"] == "order.state_changed"]
    asked = [json.loads(one.value)["data"] for one in played.of(order_id, Topic.DR_COMMANDS)]
    commands = [one for one in entries if one["kind"] == "command"]
    assert sorted((one["command_id"], one["attempt"]) for one in commands) == sorted(
        (one["command_id"], one.get("attempt", 1)) for one in asked
    )
    assert all(one["outcome"]["request_id"] for one in commands)
    letters = [one for one in entries if one["kind"] == "letter"]
    assert len(letters) == len(played.of(order_id, Topic.DEAD_LETTERS))
    became = {one["became"].partition(":")[0] for one in events}
    assert became <= {"changed", "parked", "no news", "set aside"}


def test_history_tells_what_became_of_each_event(orderflow: Command, played: Played) -> None:
    """An early event was parked before it changed the order; a refused one is followed by its dead letter."""
    early = _documents(orderflow("orders", "history", played.order("shipped-early"), "--json").stdout)
    [shipped] = [one for one in early if one.get("type") == "fulfillment.shipped"]
    assert shipped["became"] == "parked"
    caused = [one for one in early if one["kind"] == "command" and one["command"] == "create_fulfillment"]
    assert early.index(shipped) < early.index(caused[0])
    over = _documents(orderflow("orders", "history", played.order("over-shipped"), "--json").stdout)
    at = next(at for at, one in enumerate(over) if one["kind"] == "letter")
    [event] = [one for one in over[:at] if one["kind"] == "event" and one["became"] == "set aside: refused"]
    assert event["type"] == "fulfillment.shipped"
    assert [event[name] for name in ("topic", "partition", "offset")] == [
        over[at][name] for name in ("topic", "partition", "offset")
    ]


def test_history_is_a_table_that_a_person_reads(
    orderflow: Command, played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line or a few for each entry, at most 80 columns wide, with commands and their requests."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = orderflow("orders", "history", played.order("card")).stdout
    assert max(map(len, shown.splitlines())) <= 80
    for words in ("checkout.requested", "awaited -> checkout_pending", "place_order, attempt", "HTTP 201", "1 request"):
        assert words in " ".join(shown.split())


def test_secrets_and_personal_data_are_masked(orderflow: Command, played: Played) -> None:
    """Law: nothing that names a shopper or lets somebody act as one is shown unless it is asked for."""
    for name in ("card", "refund-needs-account"):
        order_id = played.order(name)
        cart = json.loads(played.of(order_id, Topic.CHECKOUT_EVENTS)[0].value)["data"]
        secrets = [cart["email"], cart["bill_to"]["line1"], cart["bill_to"]["name"]]
        for record in played.of(order_id, Topic.ORDER_STATE_CHANGES):
            data = json.loads(record.value)["data"]
            secrets += [data["payment_session"]["client_secret"]] if "payment_session" in data else []
            secrets += [one["token"] for one in data.get("refunds", ()) if one.get("token")]
        assert len(secrets) >= 4
        masked = orderflow("orders", "history", order_id, "--json").stdout
        whole = orderflow("orders", "history", order_id, "--json", "--secrets").stdout
        table = orderflow("orders", "history", order_id).stdout
        for secret in secrets:
            assert secret not in masked
            assert secret not in table
            assert secret in whole
        assert '"sku_id"' in masked


_BLOCK: Final = re.compile(r"^```console\n\$ orderflow (.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_finds_out_what_happened_to_a_shipment(orderflow: Command, played: Played) -> None:
    """Law: who has nothing but a shipment's id and types what the page says sees what it shows, line after line."""
    page = (ROOT / "docs/how-to/find-what-happened.md").read_text()
    names = {"A-1001": played.order("over-shipped"), "PARCEL-7": "S-over-shipped-parcel-1"}
    for ours, theirs in names.items():
        page = page.replace(ours, theirs)
    steps = _BLOCK.findall(page)
    assert [words.split()[1] for words, _ in steps] == ["find", "explain", "history", "show"]
    for words, shown in steps:
        result = orderflow(*words.split())
        assert result.exit_code == 0, result.stderr
        told, at = " ".join(result.stdout.split()), 0
        for line in shown.splitlines():
            pattern = ".*?".join(re.escape(" ".join(part.split())) for part in line.split("..."))
            found = re.compile(pattern).search(told, at)
            assert found is not None, f"{words}: {line}"
            at = found.end()


def _then(snapshots: list[tuple[datetime, dict[str, Any]]], moment: datetime) -> dict[str, Any] | None:
    before = [document for at, document in snapshots if at <= moment]
    return before[-1] if before else None


def _snapshots(played: Played, order_id: str) -> list[tuple[datetime, dict[str, Any]]]:
    """Every snapshot that there was, with the time at which it was decided; public parts."""
    found = []
    for record in played.of(order_id, Topic.ORDERS):
        document = json.loads(record.value)
        document.pop("internal")
        found.append((datetime.fromisoformat(document["updated"]), document))
    return found


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.timeout(90)
def test_an_order_at_a_time_is_the_snapshot_of_then(orderflow: Command, played: Played, *, compacted: bool) -> None:
    """Law: for random orders and times it is what was in ``orders`` then, also when Kafka has cleaned it away since."""
    if compacted:
        played.compact()
    chance = random.Random(7)
    for name in NAMES[compacted::3]:
        order_id = played.order(name)
        snapshots = _snapshots(played, order_id)
        first, last = snapshots[0][0], snapshots[-1][0]
        moments = [first + (last - first) * chance.random() for _ in range(2)]
        for moment in (*moments, snapshots[len(snapshots) // 2][0], datetime.now(UTC)):
            result = orderflow("orders", "show", order_id, "--at", moment.isoformat(), "--json")
            assert result.exit_code == 0, result.stderr
            assert (
                result.stdout == json.dumps(_then(snapshots, moment), separators=(",", ":"), ensure_ascii=False) + "\n"
            )
        before = orderflow("orders", "show", order_id, "--at", (first - timedelta(seconds=1)).isoformat())
        assert (before.exit_code, before.stdout) == (3, "")
    shown = orderflow("orders", "show", played.order("card"), "--at", "0s")
    assert "complete, payment captured" in shown.stdout


def test_a_history_that_is_too_thin_is_told(orderflow: Command, played: Played) -> None:
    """Other waits than the workers' make other deadlines: exit code 5 and one line, never a wrong snapshot."""
    played.compact()
    played.records[Topic.ORDERS].sort(key=lambda one: one.offset)
    order_id = played.order("card")
    moment = _snapshots(played, order_id)[0][0]
    assert orderflow("orders", "show", order_id, "--at", moment.isoformat()).exit_code == 0
    orderflow.set(submitted_wait="9d")
    result = orderflow("orders", "show", order_id, "--at", moment.isoformat())
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.startswith(f"orderflow: order {order_id} at ")
    assert result.stderr.count("\n") == 1


async def test_watch_follows_an_order_to_its_end() -> None:
    """Law: the order as it is, then each change once, and it ends by itself when the order waits for nothing more."""
    async with demo_environment(delay_seconds=0.2) as place, start_runner(place) as runner:
        scenario: Scenario = SCENARIOS["card"]
        playing = asyncio.create_task(run_all(runner, [scenario]))
        while scenario.order not in runner.watch.changes:  # noqa: ASYNC110  # not announced here
            await asyncio.sleep(0.02)
        reader = await open_reader(place.settings.connection(), place.settings.topic_prefix)
        changes, states = [], []
        async with asyncio.timeout(20), aclosing(watch(reader, scenario.order)) as news:
            async for one in news:
                if isinstance(one, dict):
                    changes.append(one["sequence"])
                else:
                    states.append(one.state)
        assert await playing == []
        assert changes == list(range(changes[0], changes[-1] + 1))
        assert (len(states), states[-1]) == (2, "complete")


def test_watch_ends_at_once_when_an_order_waits_for_nothing(orderflow: Command, played: Played) -> None:
    """There is nothing to follow: it says so and is done."""
    result = orderflow("orders", "watch", played.order("card"))
    assert result.exit_code == 0
    assert "It waits for nothing." in result.stdout
    assert orderflow("orders", "watch", played.order("card"), "--json").stdout == ""


def test_times_are_taken_without_an_offset_and_as_ages(orderflow: Command, played: Played) -> None:
    """A time without an offset is in UTC, an age counts back from now."""
    order_id, now = played.order("card"), datetime.now(UTC)
    plain = orderflow("orders", "show", order_id, "--at", f"{now:%Y-%m-%dT%H:%M:%S}", "--json")
    assert json.loads(plain.stdout)["state"] == "complete"
    assert orderflow("orders", "show", order_id, "--at", "1h").exit_code == 3
