"""``orderflow orders hold`` and the other repairs of one order, with a worker's order lane beside them on an embedded Kafka."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from producers.topics import Topic
from statemachine.order.snapshot import encode_snapshot
from tests.cli.command import Command
from tests.cli.shop import Shop, order_shop
from tests.orders.lane import Given, key_on, make_topics, write
from tests.unit.statemachine.story import Story, cart

ORDER = key_on(0, "R")


@pytest.fixture(scope="module")
def shop(embedded: str) -> Iterator[Shop]:
    """One with an order that waits for its shopper."""
    with order_shop(embedded, "repairs-") as shop:
        shop.send("checkout.requested", ORDER, cart(), state="checkout_open")
        yield shop


@pytest.fixture
def orders(orderflow: Command, shop: Shop, embedded: str) -> Command:
    """The command line beside the shop, as somebody."""
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=shop.prefix, actor="pat@desk")
    return orderflow


def document(orders: Command, *words: str) -> dict[str, Any]:
    """The one JSON document of a command."""
    found: dict[str, Any] = json.loads(orders("orders", *words, "--reason", "a test", "--json").stdout)
    return found


def test_an_act_changes_nothing_without_apply(orders: Command) -> None:
    """It is decided on the snapshot, and said so."""
    result = orders("orders", "hold", ORDER, "--reason", "a test")
    assert result.exit_code == 0
    assert "operator.held: would be in checkout_open; changed: held" in result.stdout
    assert "nothing was changed; repeat with --apply" in result.stderr
    assert json.loads(orders("orders", "show", ORDER, "--json").stdout)["held"] is None


def test_an_order_is_held_and_released(orders: Command, shop: Shop) -> None:
    """Who and why stand in the change; the same again changes nothing; what comes meanwhile waits, an act, too."""
    held = document(orders, "hold", ORDER, "--apply")
    assert (held["verdict"], held["applied"], held["state"]) == ("changed", True, "checkout_open")
    assert (held["changes"][0]["actor"], held["changes"][0]["reason"]) == ("pat@desk", "a test")
    assert "held since" in orders("orders", "show", ORDER).stdout
    again = orders("orders", "hold", ORDER, "--reason", "a test", "--apply")
    assert (again.exit_code, "operator.held changed nothing: held by pat@desk already: a test\n" in again.stdout) == (
        0,
        True,
    )
    refused = orders("orders", "move", ORDER, "--to", "abandoned", "--reason", "a test", "--apply")
    assert (refused.exit_code, "release it first" in refused.stderr) == (1, True)
    shop.send("checkout.source_provided", ORDER, {"source_id": "sim-card-1"}, state="checkout_open")
    released = document(orders, "release", ORDER, "--apply")
    causes = [one["cause"]["type"] for one in released["changes"]]
    assert causes[0] == "operator.released"
    shop.send("order.placed", ORDER, {"terms_accepted": True}, state="submitted")


def test_a_refresh_and_an_acknowledgement_are_answered(orders: Command) -> None:
    """A refresh asks; without attention there is nothing to acknowledge."""
    foreseen = document(orders, "refresh", ORDER)
    assert foreseen["commands"] == ["reread_order"]
    assert document(orders, "refresh", ORDER, "--apply")["verdict"] == "changed"
    assert document(orders, "acknowledge", ORDER, "--attention", "none", "--apply")["verdict"] == "same"
    held = document(orders, "hold", ORDER, "--apply")
    assert held["verdict"] == "changed"
    waiting = orders("orders", "refresh", ORDER, "--reason", "a test", "--apply")
    assert (waiting.exit_code, "waits for the release" in waiting.stdout) == (0, True)
    assert document(orders, "release", ORDER, "--apply")["verdict"] == "changed"


def test_what_an_act_shows_has_no_secrets(orders: Command, embedded: str) -> None:
    """The changes that a release brings about carry the key of a payment session and its terms; they are masked."""
    orders.set(topic_prefix="secret-")
    story = Story()
    story.request()
    story.tell("operator.held", actor="pat@desk", reason="a look")
    story.answer()
    asyncio.run(_snapshot_without_a_worker(embedded, "secret-", story))
    result = orders("orders", "release", "A-1", "--reason", "x", "--json")
    change = json.loads(result.stdout)["changes"][1]
    assert (change["to"], change["payment_session"]["client_secret"]) == ("checkout_open", "***")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("hold", "Nobody", "--reason", "x"), 3, "there is no order Nobody"),
        (("hold", ORDER), 2, "Missing option '--reason'"),
        (("hold", ORDER, "--reason", " "), 2, "must have 1 to 200 characters"),
        (("hold", ORDER, "--reason", "x" * 201), 2, "must have 1 to 200 characters"),
        (("move", ORDER, "--to", "awaited", "--reason", "x"), 1, "would be refused: no edge for operators"),
        (("release", ORDER, "--drop", "--reason", "x"), 1, "there is nothing to drop"),
        (("retry-command", ORDER, "c-1", "--reason", "x"), 1, "was given up; given up: none"),
        (("drop-command", ORDER, "c-1", "--reason", "x", "--apply"), 1, "no command with this id that was given up"),
    ],
)
def test_what_cannot_be_done_ends_with_its_code_and_reason(
    orders: Command, words: tuple[str, ...], code: int, says: str
) -> None:
    """Found at once, without writing anything."""
    result = orders("orders", *words)
    assert (result.exit_code, says in result.stderr) == (code, True)


def test_without_a_broker_the_command_says_so(orderflow: Command) -> None:
    """In a line, as every command does."""
    result = orderflow("orders", "hold", "A-1", "--reason", "x", "--apply")
    assert result.exit_code == 4


def test_an_act_that_no_worker_decides_is_pending(orders: Command, embedded: str) -> None:
    """It was sent; whoever runs later decides it."""
    orders.set(topic_prefix="quiet-")
    asyncio.run(_snapshot_without_a_worker(embedded, "quiet-", Story().to_open()))
    result = orders("orders", "hold", "A-1", "--reason", "x", "--apply", "--wait", "0.3")
    assert result.exit_code == 4
    assert "was sent and is not decided yet" in result.stdout
    assert "no worker has decided it within 0.3 s" in result.stderr


async def _snapshot_without_a_worker(bootstrap: str, prefix: str, story: Story) -> None:
    assert story.order is not None
    await make_topics(bootstrap, prefix)
    await write(bootstrap, prefix, [Given(Topic.ORDERS, b"A-1", encode_snapshot(story.order))])
