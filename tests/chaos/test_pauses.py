"""What an operator pauses waits in the whole fleet, over a restart too, and nothing is lost or done twice. On Apache Kafka."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from consumers.pauses.scopes import Scope
from orderflow.operations.lanes import read_lanes
from orderflow.operations.pausing import read_operations, write_act
from producers.topics import Lane, Topic
from tests.chaos.load import make_load
from tests.chaos.stack import Stack, stack
from tests.kafka.server import free_port
from tests.worker_process import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(180)]

ORDERS = 12
SECONDS = 75.0
#: What the contract promises.
OBEYED_SECONDS = 2.0
#: Long enough to see that nothing goes on.
WATCHED_SECONDS = 4.0


@pytest.fixture
async def running(apache_kafka: str, prefix: str, tmp_path: Path) -> AsyncIterator[Stack]:
    """The parts, with no worker yet."""
    async with stack(apache_kafka, prefix, tmp_path) as made:
        yield made


async def start(running: Stack) -> tuple[WorkerProcess, str]:
    """A worker of all lanes, and the address of its health page; returns once it works."""
    port = free_port()
    running.settings = running.settings.model_copy(update={"health_port": port})
    worker = await running.start()
    url = f"http://127.0.0.1:{port}"
    async with asyncio.timeout(40):
        while (await ready(url))[0] != 200:  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.1)
    return worker, url


async def ready(url: str) -> tuple[int, str]:
    """What ``/readyz`` says; 0 while nobody listens."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as answer:
            return answer.status, await answer.text()
    except aiohttp.ClientConnectionError:
        return 0, ""


async def act(running: Stack, what: Any, scope: Scope) -> float:
    """Pause or resume, as the command does; when Kafka had it."""
    await write_act(running.settings, what, scope, "maintenance", await read_operations(running.settings))
    return time.monotonic()


async def obeyed(urls: list[str], scope: Scope, since: float) -> float:
    """Seconds until every worker says that it is paused."""
    async with asyncio.timeout(20):
        for url in urls:
            while f"{scope} is paused by" not in (await ready(url))[1]:  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.02)
    return time.monotonic() - since


async def test_a_paused_lane_stands_still_everywhere_and_over_a_restart(running: Stack) -> None:
    """Law: within 2 s, in two processes and in one that starts later, no order changes; resumed, all end as they should."""
    load = make_load(ORDERS)
    workers = [await start(running), await start(running)]
    await running.send([*load.skus, *load.buying])
    await running.until(dict.fromkeys(load.ends, "submitted"), SECONDS)
    since = await act(running, "pause", Scope(Lane.ORDERS))
    assert await obeyed([url for _, url in workers], Scope(Lane.ORDERS), since) < OBEYED_SECONDS
    await asyncio.sleep(max(0.0, since + OBEYED_SECONDS - time.monotonic()))
    before = sorted(await running.read(Topic.ORDER_STATE_CHANGES))
    await running.send(load.shipping)
    await asyncio.sleep(WATCHED_SECONDS)
    assert sorted(await running.read(Topic.ORDER_STATE_CHANGES)) == before
    assert await workers[0][0].terminate() == 0
    later = await start(running)
    urls = [workers[1][1], later[1]]
    assert await obeyed(urls, Scope(Lane.ORDERS), time.monotonic()) < OBEYED_SECONDS
    await asyncio.sleep(WATCHED_SECONDS)
    assert sorted(await running.read(Topic.ORDER_STATE_CHANGES)) == before
    assert [status for status, _ in [await ready(url) for url in urls]] == [200, 200]
    await _shown(running, urls)
    await act(running, "resume", Scope(Lane.ORDERS))
    await running.until(load.ends, SECONDS)
    assert await running.faults(load) == []
    assert [text for _, text in [await ready(url) for url in urls]] == ["ready\n", "ready\n"]


async def _shown(running: Stack, urls: list[str]) -> None:
    """``orderflow lanes`` knows the pause, the owners and what waits."""
    view = await read_lanes(running.settings, urls)
    assert view.pages_missing == {}
    orders = [row for row in view.rows if row.lane == "orders"]
    assert {row.state for row in orders} == {"running"}
    assert {row.owner is not None and row.paused is not None for row in orders} == {True}
    assert sum(row.lag for row in orders) >= ORDERS
    assert max(row.lag_seconds or 0.0 for row in orders) >= WATCHED_SECONDS
    without = await read_lanes(running.settings.model_copy(update={"health_port": 0}), [])
    assert [(row.owner, row.lag > 0) for row in without.rows if row.lane == "orders"] == [
        (row.owner, row.lag > 0) for row in orders
    ]


async def _books(running: Stack, name: str) -> int:
    books = await running.ask("GET", "/_admin/books")
    return sum(int(book[name]) for book in books.values() if isinstance(book, dict))


async def test_a_paused_kind_of_commands_waits_and_others_go_on(running: Stack) -> None:
    """Law: no parcel is told to Digital River while its command is paused, new orders are placed, and then each once."""
    first, second = make_load(ORDERS, cancels=False), make_load(ORDERS, seed=4, cancels=False)
    workers = [await start(running), await start(running)]
    await running.send([*first.skus, *first.buying])
    await running.until(dict.fromkeys(first.ends, "submitted"), SECONDS)
    scope = Scope(Lane.COMMANDS, command="create_fulfillment")
    since = await act(running, "pause", scope)
    assert await obeyed([url for _, url in workers], scope, since) < OBEYED_SECONDS
    await running.send(first.shipping)
    later = json.loads(re.sub(r"order-(\d)", r"later-\1", json.dumps(second.buying)))
    await running.send(later)
    await running.until(dict.fromkeys((str(line["key"]) for line in later), "submitted"), SECONDS)
    assert await workers[1][0].terminate() == 0
    await asyncio.sleep(WATCHED_SECONDS)
    assert await _books(running, "captures") == 0
    await act(running, "resume", scope)
    await running.until(first.ends, SECONDS)
    assert await running.faults(first) == []
