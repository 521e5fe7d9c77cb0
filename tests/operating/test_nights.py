"""How-to pages played: their commands are run as they stand, on a Kafka where what they are about has happened."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.operating.desk import BadRelease, Desk, desk
from tests.orders.lane import Lane, given, key_on, order_lane
from tests.unit.statemachine.story import cart

PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to"
#: A command of a step: it is indented as a block within a list.
_COMMAND = re.compile(r"^ {7}orderflow (.+)$", re.MULTILINE)

pytestmark = pytest.mark.timeout(120)


async def play(kafka: str, prefix: str, page: str, *, order: str = "A-1001") -> list[str]:
    """Run the commands of a page's steps, about ``order`` where they name one; what each printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFLOW_")}
    environment = {**kept, "ORDERFLOW_KAFKA_BOOTSTRAP": kafka, "ORDERFLOW_TOPIC_PREFIX": prefix}
    printed: list[str] = []
    for words in _COMMAND.findall((PAGES / page).read_text().replace("A-1001", order)):
        group = re.search(r"\w+-[0-9a-f]{6}", printed[0]) if printed else None
        command = shlex.split(words.replace("GROUP", group[0] if group else ""))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "orderflow",
            *command,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, f"{words}: {out.decode()} {err.decode()}"
        printed.append(out.decode() + err.decode())
    assert printed, "the page has no commands"
    return printed


async def _open(operator: Desk) -> int:
    return len(await operator.open_letters())


async def _sender_deployed_nonsense(operator: Desk, lane: Lane) -> list[str]:
    orders = [key_on(0, f"N{number}") for number in range(5)]
    await lane.send(*[given("checkout.requested", one, {**cart(), "currency": "usd"}) for one in orders])
    await lane.settled()
    assert await _open(operator) == 5
    return orders


@pytest.mark.parametrize("page", ["a-sender-deployed-nonsense.md", "our-own-bad-deploy.md"])
async def test_the_night_of_a_page_is_played(
    kafka: str, prefix: str, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its end no letter is open, and the orders are where they should be."""
    operator = await desk(kafka, prefix)
    release = BadRelease(monkeypatch)
    async with order_lane(kafka, prefix) as lane:
        if page == "a-sender-deployed-nonsense.md":
            orders = await _sender_deployed_nonsense(operator, lane)
            printed = await play(kafka, prefix, page)
            await lane.until_state("checkout_open", orders[0])
            assert lane.order(orders[1]) == {}
        else:
            orders = [key_on(0, f"D{number}") for number in range(5)]
            release.broken.add("checkout.requested")
            await lane.send(*[given("checkout.requested", one, cart()) for one in orders])
            await lane.settled()
            assert await _open(operator) == 5
            release.broken.clear()
            printed = await play(kafka, prefix, page)
            await lane.until_state("checkout_open", *orders)
        assert "5" in printed[0]
    assert await _open(operator) == 0
    _, table = await operator.letters()
    assert all(record.left == 0 for record in table.actions.values())


async def test_the_night_of_a_lag_is_played(kafka: str, prefix: str) -> None:
    """The steps show the lanes, and the cause of the dead letters."""
    operator = await desk(kafka, prefix)
    async with order_lane(kafka, prefix) as lane:
        await _sender_deployed_nonsense(operator, lane)
        lanes, acts, causes = await play(kafka, prefix, "lag-rises.md")
    assert "orders" in lanes
    assert "commands" in lanes
    assert acts
    assert "invalid" in causes
    assert "5" in causes
