"""Orders live on another provider, chosen by a setting, from ``checkout.requested`` to their end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from examples.provider.ledger import Ledger
from orderflow.cli.reconciling.reconciling import _reconcile
from orderflow.demonstration.environment import WEBHOOK_TOKEN, DemoEnvironment, demo_environment
from orderflow.demonstration.scenario import WaitStep, named
from orderflow.demonstration.scenario_runner import ScenarioRunner, start_runner
from orderflow.digitalriver.signature import SIGNATURE_HEADER, sign
from orderflow.event_lines import EventLine
from tests.eventually import eventually

PROVIDER: Final = "examples.provider.ledger:make"
#: Bought; refunded in part; sent back; cancelled.
STORIES: Final = {
    "card": ("complete", "captured"),
    "refund-part": ("complete", "captured"),
    "return-whole": ("returned", "captured"),
    "cancel-submitted": ("cancelled", "voided"),
}


@asynccontextmanager
async def delivering(ledger: Ledger, relay_url: str) -> AsyncIterator[None]:
    """Deliver the ledger's webhooks to the relay, each once, signed as the relay expects."""

    async def deliver() -> None:
        sent = 0
        async with aiohttp.ClientSession() as http:
            while True:
                for body in ledger.webhooks()[sent:]:
                    headers = {SIGNATURE_HEADER: sign(WEBHOOK_TOKEN, str(int(time.time())), body)}
                    async with http.post(f"{relay_url}/webhooks", data=body, headers=headers) as answer:
                        assert answer.status == 202, await answer.text()
                    sent += 1
                await asyncio.sleep(0.1)

    task = asyncio.create_task(deliver())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def play(runner: ScenarioRunner, name: str) -> None:
    """Send a scenario's events, each when the order is there, and wait for its end, at which no person is called.

    The report of an order may overtake that of the refund that it counts: it calls a person until the refund is there.
    """
    scenario = named(name)
    changes = runner.watch.changes

    def has_been(state: str | None) -> bool:
        return any(change.state in (state, "complete") for change in changes.get(scenario.order, ()))

    for step in scenario.steps:
        if isinstance(step, EventLine):
            await runner._do(step)
        elif isinstance(step, WaitStep) and step.wait.state is not None:
            wanted = step.wait.state
            await eventually(lambda wanted=wanted: has_been(wanted))  # type: ignore[misc]
    end: tuple[object, ...] = (*STORIES[name], [])

    def last() -> dict[str, object]:
        return changes[scenario.order][-1].data if scenario.order in changes else {}

    await eventually(lambda: tuple(last().get(name) for name in ("to", "payment", "attention")) == end)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("webhooks", [True, False])
async def test_orders_live_on_another_provider(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, *, webhooks: bool
) -> None:
    """With its webhooks, and without them by looks; no line of the lanes knows which provider it is."""
    monkeypatch.setenv("LEDGER_FILE", str(tmp_path / "ledger"))
    settings = {"provider": PROVIDER} | ({} if webhooks else {"reconcile_first_wait": "1s"})
    ledger = Ledger(tmp_path / "ledger")
    async with demo_environment(settings=settings) as place, start_runner(place) as runner:
        async with delivering(ledger, place.relay_url) if webhooks else asyncio.timeout(50):
            await asyncio.gather(*(play(runner, name) for name in STORIES))
        assert runner.watch.refused == {}
        if webhooks:
            assert await _nothing_differs(place)
            assert f"the provider {PROVIDER} has no list of orders: those" in capsys.readouterr().err
        async with aiohttp.ClientSession() as http, http.get(f"{place.simulator_url}/_admin/books") as answer:
            assert await answer.json() == {}, "Digital River was not asked for anything"


async def _nothing_differs(place: DemoEnvironment) -> bool:
    """Whether ``orderflow reconcile --all`` finds the orders here as they are there."""
    since = datetime.now(UTC) - timedelta(hours=1)
    choice: dict[str, Any] = {"order_ids": (), "all_orders": True, "since": since, "rate": 0.0, "reason": "a test"}
    return await _reconcile(place.settings, apply_it=False, as_json=False, **choice) is None
