"""``orderflow events trigger``: each type is valid and accepted, and what becomes of it is told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from orderflow.demonstration.environment import WEBHOOK_TOKEN, DemoEnvironment, demo_environment
from orderflow.digitalriver.webhook import KNOWN_TYPES, read_webhook
from orderflow.sandbox.defaults import PREDECESSORS, TOPIC_OF, default_event, with_values
from orderflow.sandbox.triggering import Asked, planned
from orderflow.simulator import SimulatorOptions
from statemachine.messages.decoding import decode
from statemachine.messages.envelope import Record
from statemachine.messages.events import REGISTRY
from tests.cli.command import Command
from tests.cli.in_thread import in_thread
from tests.cli.simulated import make_order, request, ship, simulator_in_thread

#: They share one environment, which starts in the first.
pytestmark = pytest.mark.timeout(120)

NOW = datetime(2031, 3, 4, 10, 11, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def environment() -> Iterator[DemoEnvironment]:
    """Kafka, a relay, a simulator and a worker, in a thread of their own."""
    with in_thread(lambda: demo_environment(delay_seconds=0.2), seconds=60) as (made, _):
        yield made


@pytest.fixture
def shop(orderflow: Command, environment: DemoEnvironment) -> Command:
    """The command line with the environment's settings."""
    orderflow.set(
        kafka_bootstrap=environment.settings.kafka_bootstrap,
        digitalriver_url=environment.simulator_url,
        webhook_tokens=WEBHOOK_TOKEN,
    )
    return orderflow


def _triggered(shop: Command, *words: str, exit_code: int = 0) -> dict[str, Any]:
    result = shop("events", "trigger", *words, "--json", "--timeout", "40")
    assert result.exit_code == exit_code, result.stderr + result.stdout
    # The worker of the environment logs in this process, too.
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def _decode(line: dict[str, Any]) -> None:
    decode(Record(line["topic"], 0, 0, line["key"].encode(), msgspec.json.encode(line["value"])))


def test_each_type_of_ours_can_be_triggered_and_its_event_is_valid() -> None:
    """Law: none is missing, and the decoder that workers run takes each, also for another order."""
    assert {kind for kinds in REGISTRY.values() for kind in kinds} == set(TOPIC_OF) == set(PREDECESSORS)
    for kind in TOPIC_OF:
        for event in (*planned(Asked(kind), "m1", None), *planned(Asked(kind, "A-1"), "m1", None)):
            _decode({"topic": event.topic, "key": event.key, "value": event.value(NOW)})


@pytest.mark.parametrize("kind", list(TOPIC_OF))
def test_each_type_of_ours_is_accepted_after_its_predecessors(shop: Command, kind: str) -> None:
    """Law: about a new order no default event is refused, and none waits for ever."""
    told = _triggered(shop, kind)
    assert told["followed"]["verdict"] in ("changed", "noted"), told
    assert told["before"] == list(PREDECESSORS[kind]) if PREDECESSORS[kind] else "before" not in told


def test_an_order_is_led_through_its_life(shop: Command) -> None:
    """Law: with --order an event fits the order as it is."""
    placed = _triggered(shop, "order.placed")
    order = placed["key"]
    assert placed["followed"]["state"] in ("placing", "checkout_ready", "checkout_open")
    part = _triggered(shop, "fulfillment.shipped", "--order", order, "--set", "items.0.quantity=1")
    assert part["followed"]["verdict"] in ("changed", "noted"), part
    for kind in ("fulfillment.shipped", "order.return_requested", "fulfillment.return_received"):
        told = _triggered(shop, kind, "--order", order)
        assert told["followed"]["verdict"] in ("changed", "noted"), told
    shown = json.loads(shop("orders", "show", order, "--json").stdout)
    assert shown["lines"][0]["shipped"] >= 1
    again = _triggered(shop, "fulfillment.shipped", "--order", order, exit_code=1)
    assert (again["followed"]["verdict"], again["followed"]["reason"]) == ("set_aside", "refused")


def test_what_is_too_early_is_told_as_parked(shop: Command) -> None:
    """Law: when the time is over, it still waits, and that is no failure."""
    result = shop("events", "trigger", "fulfillment.shipped", "--order", "early-1", "--timeout", "3")
    assert (result.exit_code, "parked, it is too early; early-1 is awaited" in result.stdout) == (0, True), (
        result.stdout
    )


def test_what_comes_for_a_held_order_waits_for_its_release(shop: Command) -> None:
    """Law: nothing moves until a person releases it, so that is told at once."""
    order = _triggered(shop, "checkout.requested")["key"]
    assert shop("orders", "hold", order, "--reason", "a test", "--apply").exit_code == 0
    began = time.monotonic()
    result = shop("events", "trigger", "checkout.source_provided", "--order", order, "--timeout", "40")
    assert (result.exit_code, "parked, the order is held, it waits for the release" in result.stdout) == (0, True)
    assert time.monotonic() - began < 20


def test_what_workers_would_refuse_is_not_sent_unless_it_is_wanted(shop: Command) -> None:
    """Law: the check is the workers' own; with --no-check the dead letter is told."""
    words = ("order.placed", "--order", "bad-1", "--set", "terms_accepted=false")
    refused = shop("events", "trigger", *words)
    assert (refused.exit_code, "workers would refuse it: refused: data.terms_accepted" in refused.stderr) == (1, True)
    told = _triggered(shop, *words, "--no-check", exit_code=1)
    assert (told["followed"]["verdict"], told["followed"]["reason"]) == ("set_aside", "refused")


def test_the_same_event_again_brings_no_news(shop: Command) -> None:
    """Law: --id names the fact."""
    first = _triggered(shop, "checkout.requested", "--order", "twice-1", "--id", "e-1")
    assert first["followed"]["verdict"] == "changed"
    again = _triggered(shop, "checkout.requested", "--order", "twice-1", "--id", "e-1")
    assert again["followed"]["verdict"] == "noted"


def test_an_event_of_digital_river_comes_as_a_signed_webhook(shop: Command, environment: DemoEnvironment) -> None:
    """Law: through relay, webhook lane and order lane; the simulator's own order stays as it is."""
    placed = _triggered(shop, "fulfillment.shipped", "--set", "items.0.quantity=1")
    order = placed["key"]
    told = _triggered(shop, "order.dispute", "--order", order)
    assert told["followed"]["verdict"] in ("changed", "noted"), told
    assert (told["followed"]["topic"], told["key"]) == ("dr-webhooks", order)
    remote = request(environment.simulator_url, "GET", "/_admin/books")[order]
    assert remote["orders"] == 1
    assert json.loads(shop("orders", "show", order, "--json").stdout)["state"] == "disputed"


def test_types_names_and_values_that_do_not_exist_are_usage_errors(shop: Command) -> None:
    """Law: a type that is not known gets a suggestion, ours and Digital River's."""
    for text, near in (("order.plced", "order.placed"), ("order.acepted", "order.accepted")):
        refused = shop("events", "trigger", text)
        assert (refused.exit_code, f"did you mean {near}?" in refused.stderr) == (2, True)
    for words in (
        ["order.placed", "--set", "terms"],
        ["fulfillment.shipped", "--set", "items.7.quantity=1"],
        ["sku.removed", "--order", "A-1"],
        ["order.placed", "--sku", "mug"],
        ["order.accepted", "--id", "e-1"],
    ):
        assert shop("events", "trigger", *words).exit_code == 2, words
    assert shop("events", "trigger", "order.accepted", "--order", "nobody").exit_code == 3


def test_nothing_is_sent_with_print(shop: Command) -> None:
    """Law: what is printed is a file that `events check` takes."""
    printed = shop("events", "trigger", "order.refund_requested", "--print")
    assert [json.loads(line)["value"]["type"] for line in printed.stdout.splitlines()] == [
        *PREDECESSORS["order.refund_requested"],
        "order.refund_requested",
    ]
    assert shop("events", "check", "-", stdin=printed.stdout).exit_code == 0
    key = json.loads(printed.stdout.splitlines()[-1])["key"]
    assert shop("events", "export", "--key", key).exit_code == 3


def test_without_a_worker_it_says_so(orderflow: Command, embedded: str, prefix: str) -> None:
    """Law: exit code 1 after the time-out, and a question that helps."""
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=prefix)
    assert orderflow("topics", "create", "--partitions", "1").exit_code == 0
    ended = orderflow("events", "trigger", "order.placed", "--order", "A-1", "--timeout", "0.5")
    assert (ended.exit_code, "no worker has come to it" in ended.stderr) == (1, True)


@pytest.mark.parametrize(
    ("kind", "values", "path", "expected"),
    [
        ("order.refund_requested", [("amount", "9.50")], ["amount"], "9.50"),
        ("fulfillment.shipped", [("items.0.quantity", "1")], ["items", 0, "quantity"], 1),
        ("order.placed", [("terms_accepted", "false")], ["terms_accepted"], False),
        ("order.cancel_requested", [("items", '[{"line": "1", "quantity": 1}]')], ["items", 0, "line"], "1"),
        ("order.refund_requested", [("items.0.line", "1")], None, None),
        ("checkout.requested", [("customer", '{"kind": "registered", "id": "7"}')], ["customer", "id"], "7"),
        ("checkout.requested", [("metadata.level", "5")], ["metadata", "level"], "5"),
        ("checkout.requested", [("tax_inclusive", "true"), ("items.0.quantity", "3")], ["items", 0, "quantity"], 3),
    ],
)
def test_a_value_is_a_text_where_the_type_wants_one(
    kind: str, values: list[tuple[str, str]], path: list[str | int] | None, expected: object
) -> None:
    """Law: money stays a string, quantities become numbers."""
    event = default_event(kind, "A-1", mark="m1")
    found: Any = with_values(event, values).data
    for name in path or ():
        found = found[name]
    assert path is None or found == expected


def test_each_event_of_digital_river_that_the_simulator_makes_is_read() -> None:
    """Law: of every type that concerns an order, about an order that has everything."""
    with simulator_in_thread(SimulatorOptions(port=0, rate=0, capture_delay=0.0, refund_delay=0.0)) as url:
        order = make_order(url, "A-1")
        ship(url, order)
        item = order["items"][0]["id"]
        request(url, "POST", "/refunds", {"orderId": order["id"], "currency": "USD", "amount": 1})
        request(url, "POST", "/returns", {"orderId": order["id"], "items": [{"itemId": item, "quantity": 1}]})
        for kind in KNOWN_TYPES:
            shown = request(url, "POST", "/_admin/events", {"type": kind, "order": "A-1", "send": False})
            read = read_webhook(json.dumps({"id": "e-1", "type": kind, **shown["event"]}).encode())
            assert read is not None, kind
            assert read[1].dr_order_id == order["id"], kind
        blocked = request(url, "POST", "/_admin/events", {"type": "order.blocked", "send": False})
        assert blocked["event"]["data"]["object"]["state"] == "blocked"
        assert request(url, "GET", f"/orders/{order['id']}")["state"] != "blocked"
