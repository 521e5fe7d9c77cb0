"""The night of docs/how-to/change-tables-or-roll-back.md: what would be different, going live, orders that a fault left wrong."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import pytest

from producers.topics import Topic
from tests.cli.command import Command
from tests.cli.nights.page import Page
from tests.orders.lane import Given, given, make_topics, order_lane, read, write
from tests.replay.shop import bought, requested, shipped
from tests.unit.statemachine.mutants import applied, mutants

PAGE: Final = Page("change-tables-or-roll-back.md")
#: A change of the tables: a source is not attached any more when it is provided.
CHANGE: Final = "order: checkout.source_provided in checkout_open: without ask_attach_source"
PLACED, OPEN = "A-1001", "A-1002"


async def lived(bootstrap: str, prefix: str) -> None:
    """Two orders of the version before: one that is placed, one that is open."""
    await make_topics(bootstrap, prefix, partitions=1)
    async with order_lane(bootstrap, prefix, partitions=1) as lane:
        await lane.send(*bought(PLACED), requested(OPEN))
        await lane.until_state("submitted", PLACED)
        await lane.until_state("checkout_open", OPEN)


async def changes(bootstrap: str, prefix: str, order_id: str) -> list[dict[str, Any]]:
    """The data of an order's changes."""
    records = (await read(bootstrap, prefix, Topic.ORDER_STATE_CHANGES))[Topic.ORDER_STATE_CHANGES]
    return [json.loads(record.value)["data"] for record in records if record.key == order_id.encode()]


async def goes_live(bootstrap: str, prefix: str) -> None:
    """The workers of the new version take over, and both orders go on."""
    async with order_lane(bootstrap, prefix, partitions=1) as lane:
        await lane.send(
            shipped(PLACED, "s-1", "1", 2), given("checkout.source_provided", OPEN, {"source_id": "sim-card-1"})
        )
        await lane.until(lambda: any(one["shipped"] == 2 for one in lane.order(PLACED).get("lines", [])))
        await lane.settled()
        assert lane.order(OPEN)["state"] == "checkout_open"


@pytest.mark.timeout(90)
def test_the_night_of_a_change_and_its_rollback_is_played(
    orderflow: Command, embedded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check tells both ways what would be different; approved it passes; what was decided stays decided."""
    prefix = "change."
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=prefix)
    monkeypatch.chdir(tmp_path)
    asyncio.run(lived(embedded, prefix))
    before = asyncio.run(changes(embedded, prefix, PLACED))
    check, approved = PAGE.commands("Before: what would be different")
    assert orderflow(*check).exit_code == 0, "the same version"
    with applied(next(one for one in mutants() if one.name == CHANGE)):
        found = orderflow(*check)
        assert (found.exit_code, PLACED in found.stdout) == (1, True)
        rule = {"event": "checkout.source_provided", "reason": "sources are attached later"}
        (tmp_path / "approved.jsonl").write_text(json.dumps(rule) + "\n")
        assert orderflow(*approved).exit_code == 0
        asyncio.run(goes_live(embedded, prefix))
    after = asyncio.run(changes(embedded, prefix, PLACED))
    assert (after[: len(before)], len(after) > len(before)) == (before, True)
    back = orderflow(*check)
    assert (back.exit_code, OPEN in back.stdout, PLACED in back.stdout) == (1, True, False)


@pytest.mark.timeout(90)
def test_the_night_of_orders_that_a_fault_left_wrong_is_played(orderflow: Command, embedded: str) -> None:
    """The rebuilt table names the order, its snapshot is adopted, and the order goes on with it."""
    prefix = "fault."
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=prefix)
    asyncio.run(lived(embedded, prefix))
    asyncio.run(spoilt(embedded, prefix))
    rebuild, compare, planned, applied_one = PAGE.commands("After: orders that a fault left wrong")
    assert orderflow(*rebuild).exit_code == 0
    found = orderflow(*compare)
    assert (found.exit_code, PLACED in found.stdout, "attention" in found.stdout) == (1, True, True)
    assert OPEN not in found.stdout
    plan = orderflow(*planned)
    assert (plan.exit_code, "nothing was changed" in plan.stderr) == (0, True)
    assert orderflow(*compare).exit_code == 1
    assert orderflow(*applied_one).exit_code == 0
    assert orderflow(*compare).exit_code == 0
    assert asyncio.run(ships(embedded, prefix)) == []


async def spoilt(bootstrap: str, prefix: str) -> None:
    """A fault has left the placed order's snapshot without its deadlines, and with attention that nothing calls for."""
    records = (await read(bootstrap, prefix, Topic.ORDERS))[Topic.ORDERS]
    newest = json.loads([record.value for record in records if record.key == PLACED.encode()][-1])
    wrong = json.dumps({**newest, "deadlines": [], "attention": ["spoilt"]}).encode()
    await write(bootstrap, prefix, [Given(Topic.ORDERS, PLACED.encode(), wrong)], partitions=1)


async def ships(bootstrap: str, prefix: str) -> list[str]:
    """The attention of the order, after the workers have started again and its goods are shipped."""
    async with order_lane(bootstrap, prefix, partitions=1) as lane:
        await lane.send(shipped(PLACED, "s-1", "1", 2), shipped(PLACED, "s-2", "2", 1))
        await lane.until_state("complete", PLACED)
        attention: list[str] = lane.order(PLACED)["attention"]
        return attention
