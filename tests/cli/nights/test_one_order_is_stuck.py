"""The night of docs/how-to/one-order-is-stuck.md: each of its commands is run as it stands there, and does what the page says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from producers.topics import Topic
from statemachine.order.snapshot import encode_snapshot
from tests.cli.command import Command
from tests.cli.nights.page import Page
from tests.cli.shop import Shop, order_shop
from tests.operating.desk import BadRelease
from tests.orders.lane import Given, Outputs, given, key_on, make_topics, write
from tests.unit.statemachine.river import River
from tests.unit.statemachine.story import Story, cart
from tests.unit.statemachine.test_operators import given_up

PAGE = "one-order-is-stuck.md"


def stuck(river: River, order_id: str, *, took_effect: bool) -> tuple[Given, str]:
    """The snapshot of an order whose placement was given up, and the command's id."""
    story = Story(river=river, order_id=order_id).to_ready()
    story.tell("order.placed", terms_accepted=True)
    if took_effect:
        river.answer(story.commands[-1])
    found = given_up(story, "place_order")
    assert story.order is not None
    return Given(Topic.ORDERS, order_id.encode(), encode_snapshot(story.order)), found.command_id


#: Orders with a placement that was given up, by what becomes of it.
GIVEN_UP = {name: key_on(0, name) for name in ("retried", "dropped")}


@pytest.fixture(scope="module")
def river() -> River:
    """The one of this shop."""
    return River()


@pytest.fixture(scope="module")
def command_ids(embedded: str, river: River) -> dict[str, str]:
    """The ids of the commands that were given up, before the workers start."""
    made = {name: stuck(river, order_id, took_effect=name == "retried") for name, order_id in GIVEN_UP.items()}
    river.facts.clear()

    async def written() -> None:
        await make_topics(embedded, "stuck-")
        await write(embedded, "stuck-", [record for record, _ in made.values()])

    asyncio.run(written())
    return {name: command_id for name, (_, command_id) in made.items()}


@pytest.fixture(scope="module")
def shop(embedded: str, river: River, command_ids: dict[str, str]) -> Iterator[Shop]:
    """Workers at work."""
    with order_shop(embedded, "stuck-", river=river) as shop:
        yield shop


@pytest.fixture
def operator(orderflow: Command, shop: Shop, embedded: str) -> Command:
    """The command line of somebody at night."""
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=shop.prefix, actor="pat@desk")
    return orderflow


def ready(shop: Shop, name: str, method: str = "card") -> str:
    """An order that can be placed."""
    order_id = key_on(0, name)
    shop.send("checkout.requested", order_id, cart(), state="checkout_open")
    shop.send("checkout.source_provided", order_id, {"source_id": f"sim-{method}-1"}, state="checkout_ready")
    return order_id


def changes_of(shop: Shop, order_id: str) -> list[dict[str, Any]]:
    """All changes of an order."""
    outputs: Outputs = shop.do(shop.lane.outputs())
    return outputs.changes_of(order_id)


PLACED = {"terms_accepted": True}


def test_an_order_that_a_fault_holds_is_released_after_the_repair(
    operator: Command, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order says what failed; released, the event is decided, or left out with its dead letter."""
    first, second = ready(shop, "fault"), ready(shop, "unwanted")
    release = BadRelease(monkeypatch)
    release.broken.add("order.placed")
    for order_id in (first, second):
        shop.do(shop.lane.send(given("order.placed", order_id, PLACED)))
    shop.do(shop.lane.until(lambda: all(shop.lane.order(one).get("held") for one in (first, second))))
    shown = operator("orders", "show", first).stdout
    assert "held since" in shown
    assert "order.placed failed" in shown
    release.broken.clear()
    retried = Page(PAGE, {"A-1001": first}).commands("An event failed")[0]
    assert operator(*retried).exit_code == 0
    shop.do(shop.lane.until_state("submitted", first))
    dropped = Page(PAGE, {"A-1001": second}).commands("An event failed")[1]
    assert operator(*dropped).exit_code == 0
    assert shop.lane.order(second)["state"] == "checkout_ready"
    assert shop.lane.order(second).get("held") is None
    letters = shop.do(shop.lane.outputs()).letters
    assert {letter.key for letter in letters} >= {second.encode()}
    reasons = [one["reason"] for one in changes_of(shop, first) if one.get("actor")]
    assert reasons == ["1.4.2 repairs it"]


def test_an_order_is_looked_at_in_peace(operator: Command, shop: Shop) -> None:
    """What comes while it is held waits, and is decided after the release."""
    order_id = ready(shop, "peace")
    page = Page(PAGE, {"A-1001": order_id})
    page.play(operator, "Look at an order in peace")
    shop.do(shop.lane.send(given("order.placed", order_id, PLACED)))
    shop.do(shop.lane.settled())
    assert shop.lane.order(order_id)["state"] == "checkout_ready"
    assert "held since" in operator("orders", "show", order_id).stdout
    assert operator("orders", "release", order_id, "--reason", "looked at", "--apply").exit_code == 0
    shop.do(shop.lane.until_state("submitted", order_id))


def test_a_refresh_absorbs_what_no_webhook_told(operator: Command, shop: Shop, river: River) -> None:
    """Digital River has the money, and its report was lost: the order knows it after the page's command."""
    order_id = ready(shop, "lost", "wire")
    shop.send("order.placed", order_id, PLACED, state="pending_payment")

    async def paid_and_lost() -> None:
        river.release_payment(next(one for one in river.orders if river.orders[one].checkout.upstream_id == order_id))
        river.facts.clear()

    shop.do(paid_and_lost())
    assert shop.lane.order(order_id)["state"] == "pending_payment"
    Page(PAGE, {"A-1001": order_id}).play(operator, "Digital River knows more than the order")
    shop.do(shop.lane.until_state("submitted", order_id))
    assert "no capture after two days" in [one.get("reason") for one in changes_of(shop, order_id)]


@pytest.mark.parametrize(("name", "state"), [("retried", "submitted"), ("dropped", "checkout_rejected")])
def test_a_command_that_was_given_up_is_asked_again_or_given_up_for_good(
    operator: Command, shop: Shop, river: River, command_ids: dict[str, str], name: str, state: str
) -> None:
    """The order says which; looked up it has had its effect and has no other, given up it needs a new checkout."""
    order_id = GIVEN_UP[name]
    shown = json.loads(operator("orders", "show", order_id, "--json").stdout)
    assert shown["attention"] == ["place_order: its outcome at Digital River could not be determined"]
    page = Page(PAGE, {"A-1001": order_id, "COMMAND_ID": command_ids[name]})
    asked, dropped = page.commands("A command was given up")
    unknown = operator(*[word.replace(command_ids[name], "c-unknown") for word in asked])
    assert (unknown.exit_code, command_ids[name] in unknown.stderr) == (1, True)
    assert operator(*(asked if name == "retried" else dropped)).exit_code == 0
    shop.do(shop.lane.until_state(state, order_id))
    placed = [one for one in river.orders.values() if one.checkout.upstream_id == order_id]
    assert len(placed) == (name == "retried")


def test_an_order_is_moved_along_its_edges_only(operator: Command, shop: Shop) -> None:
    """A wire that never came ends the order; any other order is refused that move."""
    waits = ready(shop, "wire", "wire")
    shop.send("order.placed", waits, PLACED, state="pending_payment")
    Page(PAGE, {"A-1001": waits}).play(operator, "The order cannot get out of its state")
    shop.do(shop.lane.until_state("cancelled", waits))
    open_one = ready(shop, "open")
    Page(PAGE, {"A-1001": open_one}).play(operator, "The order cannot get out of its state", code=1)


def test_the_page_has_no_command_that_is_not_played() -> None:
    """A section that is added needs its part of the night."""
    text = Page(PAGE).text
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "An event failed",
        "Look at an order in peace",
        "Digital River knows more than the order",
        "A command was given up",
        "The order cannot get out of its state",
    ]
    assert [len(Page(PAGE).commands(heading)) for heading in headings] == [2, 1, 1, 2, 1]
