"""``orderflow webhooks backfill`` and ``orderflow reconcile`` as an operator calls them, while webhooks are lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp
import pytest
from click.testing import CliRunner

from orderflow.demonstration.environment import WEBHOOK_TOKEN, DemoEnvironment, demo_environment
from orderflow.demonstration.scenario import named
from orderflow.demonstration.scenario_runner import ScenarioRunner, start_runner
from orderflow.event_lines import EventLine
from tests.cli.command import Command
from tests.cli.in_thread import in_thread
from tests.eventually import eventually

T = TypeVar("T")
ORDER = "S-card"


class Shop:
    """The whole stack in a thread of its own; its webhooks can be lost."""

    def __init__(self, place: DemoEnvironment, runner: ScenarioRunner, loop: asyncio.AbstractEventLoop) -> None:
        self.place, self.runner, self._loop = place, runner, loop

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the shop's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def ask(self, path: str, body: dict[str, object]) -> None:
        """Ask the simulator's administration, or place an order at it that nobody here knows."""
        async with aiohttp.ClientSession() as http, http.post(self.place.simulator_url + path, json=body) as answer:
            assert answer.status < 300, await answer.text()

    @property
    def state(self) -> str:
        """The order's state, as its changes say."""
        changes = self.runner.watch.changes.get(ORDER)
        return changes[-1].state if changes else ""

    async def until(self, state: str) -> None:
        """Wait until the order is in a state."""
        await eventually(lambda: self.state == state)


async def _play(shop: Shop) -> None:
    """An order up to the point at which its capture is done, and the report of it lost."""
    await shop.ask("/_admin/faults", {"lose_webhooks": 1.0})
    scenario = named("card")
    await shop.runner.fill_catalogue()
    for step in scenario.steps:
        if isinstance(step, EventLine):
            await shop.runner._do(step)
            await asyncio.sleep(0.3)
    await shop.until("fulfilled")
    await asyncio.sleep(0.5)


@asynccontextmanager
async def _opened() -> AsyncIterator[tuple[DemoEnvironment, ScenarioRunner]]:
    async with demo_environment(delay_seconds=0.2) as place, start_runner(place) as runner:
        yield place, runner


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A shop whose only order waits for a report that was lost."""
    with in_thread(_opened, seconds=20.0) as ((place, runner), loop):
        made = Shop(place, runner, loop)
        made.do(_play(made))
        yield made


@pytest.fixture
def orderflow(monkeypatch: pytest.MonkeyPatch, shop: Shop) -> Command:
    """The command line, beside the shop."""
    command = Command(CliRunner(), monkeypatch)
    settings = shop.place.settings
    command.set(
        kafka_bootstrap=settings.kafka_bootstrap,
        digitalriver_url=settings.digitalriver_url,
        digitalriver_rate="0",
        webhook_tokens=WEBHOOK_TOKEN,
        actor="pat",
    )
    return command


def lines(stdout: str) -> list[dict[str, Any]]:
    """JSON lines."""
    return [json.loads(line) for line in stdout.splitlines()]


@pytest.mark.timeout(60)
def test_what_was_missed_is_shown_and_with_apply_fed(orderflow: Command, shop: Shop) -> None:
    """Nothing is fed without --apply; fed, the order ends, and the second time nothing is missing."""
    foreseen = orderflow("webhooks", "backfill", "--since", "1h", "--json")
    assert foreseen.exit_code == 0, foreseen.stderr
    documents = lines(foreseen.stdout)
    assert {one["sent"] for one in documents} == {False}
    assert "order.complete" in {one["type"] for one in documents}
    assert shop.state == "fulfilled"
    table = orderflow("webhooks", "backfill", "--since", "1h")
    assert "order.complete" in table.stdout
    assert "repeat with --apply" in table.stderr
    assert orderflow("webhooks", "backfill", "--since", "1h", "--apply").exit_code == 0
    shop.do(shop.until("complete"))
    again = orderflow("webhooks", "backfill", "--since", "1h")
    assert (again.exit_code, again.stdout) == (0, "nothing is missing\n")


@pytest.mark.timeout(60)
def test_what_differs_is_shown_and_with_apply_absorbed(orderflow: Command, shop: Shop) -> None:
    """Exit code 1 while an order differs; its refresh names who and why; then nothing differs."""
    shown = orderflow("reconcile", "--json")
    assert shown.exit_code == 1
    [found] = lines(shown.stdout)
    assert (found["order_id"], found["state"], found["becomes"]) == (ORDER, "fulfilled", "complete")
    assert {"state", "payment", "amounts", "documents"} <= set(found["differences"])
    text = orderflow("reconcile", "--order", ORDER)
    assert f"{ORDER}  fulfilled -> complete: " in text.stdout
    assert "repeat with --apply" in text.stderr
    applied = orderflow("reconcile", "--apply")
    assert applied.exit_code == 0, applied.stderr
    shop.do(shop.until("complete"))
    change = shop.runner.watch.changes[ORDER][-1].data
    assert change["cause"]["type"] == "digitalriver.order_reread"
    assert orderflow("reconcile", "--all").exit_code == 0


@pytest.mark.timeout(60)
def test_an_order_that_nobody_here_asked_for_is_told(orderflow: Command, shop: Shop) -> None:
    """With its reason, and with an exit code for a timer's alarm."""
    shop.do(shop.until("fulfilled"))
    shop.do(_foreign_order(shop))
    shown = orderflow("reconcile", "--json")
    assert shown.exit_code == 1
    foreign = [one for one in lines(shown.stdout) if "why" in one]
    assert [(one["upstream_id"], one["why"]) for one in foreign] == [
        ("web-77", "no order of this id was requested here")
    ]
    assert "1 order at Digital River that nobody here asked for" in shown.stderr


async def _foreign_order(shop: Shop) -> None:
    headers = {"Authorization": "Bearer sk_test_simulator", "DigitalRiver-Version": "2021-12-13"}
    address = {"line1": "1 Test Rd", "city": "Minneapolis", "state": "MN", "postalCode": "55401", "country": "US"}
    owner = {"name": "Pat Doe", "email": "pat@example.org", "address": address}
    body = {
        "currency": "USD",
        "email": "pat@example.org",
        "locale": "en_US",
        "browserIp": "192.0.2.1",
        "upstreamId": "web-77",
        "billTo": owner,
        "shipTo": owner,
        "shipFrom": {"address": address},
        "shippingChoice": {"amount": 5},
        "items": [{"skuId": "tea-towel", "quantity": 1, "price": 10}],
    }
    async with aiohttp.ClientSession(headers=headers, raise_for_status=False) as http:
        url = shop.place.simulator_url
        body["items"] = [{"skuId": next(iter(shop.runner.watch.skus)), "quantity": 1, "price": 10}]
        async with http.post(f"{url}/checkouts", json=body) as answer:
            checkout = await answer.json()
            assert answer.status == 201, checkout
        async with http.post(f"{url}/checkouts/{checkout['id']}/sources/sim-card-77") as answer:
            assert answer.status in (200, 201), await answer.text()
        async with http.post(f"{url}/orders", json={"checkoutId": checkout["id"]}) as answer:
            assert answer.status == 201, await answer.text()


@pytest.mark.timeout(60)
def test_what_cannot_be_done_ends_with_its_code_and_reason(orderflow: Command, shop: Shop) -> None:
    """One line each: no such order, too long ago, nobody there."""
    wrong: list[tuple[tuple[str, ...], int, str]] = [
        (("reconcile", "--order", "nobody"), 3, "there is no order nobody"),
        (("webhooks", "backfill", "--since", "31d"), 2, "Digital River keeps events for 30 days"),
        (("webhooks", "backfill"), 2, "Missing option '--since'"),
        (("reconcile", "--reason", " "), 2, "must have 1 to 200 characters"),
    ]
    for words, code, says in wrong:
        result = orderflow(*words)
        assert (result.exit_code, says in result.stderr, result.stdout) == (code, True, ""), words
    orderflow.set(digitalriver_url="http://127.0.0.1:1")
    check: Callable[..., Any] = orderflow
    for verb in (("reconcile",), ("webhooks", "backfill", "--since", "1h")):
        assert check(*verb).exit_code == 4
    orderflow.set(kafka_bootstrap="127.0.0.1:1")
    for verb in (("reconcile",), ("webhooks", "backfill", "--since", "1h")):
        assert check(*verb).exit_code == 4
