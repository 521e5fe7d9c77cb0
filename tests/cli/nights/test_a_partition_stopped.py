"""The night of docs/how-to/repair-a-stopped-partition.md: a partition stops, the page's table names the repair, it is done."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from consumers.ownership.owner import PartitionState
from orderflow.bootstrap import run_worker
from orderflow.settings import load_settings
from orderflow.worker import Worker
from producers.connection import KafkaConnection
from producers.topic_setup import create_topics
from producers.topics import Lane as LaneName
from producers.topics import Topic, group_id, prefixed
from tests.cli.command import Command
from tests.cli.nights.page import Page
from tests.eventually import eventually
from tests.kafka.server import free_port
from tests.lanes.command_lane import ask, commands_member, effects, ids, parts
from tests.lanes.kafka import running
from tests.lanes.river import FileRiver
from tests.orders.lane import given, key_on, make_topics, order_lane
from tests.unit.statemachine.story import cart

PAGE: Final = Page("repair-a-stopped-partition.md")
#: The partition of the page's example.
NUMBER, PARTITIONS = 3, 4
ORDER: Final = key_on(NUMBER, partitions=PARTITIONS)


def named_by(problem: str) -> Sequence[str]:
    """Where the page's table sends somebody whose ``/readyz`` shows this line."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.text.splitlines() if line.startswith("|")
    ]
    return [
        row[1]
        for row in rows[2:]
        if any(
            re.search(".*".join(re.escape(part.strip()) for part in found.split("...")), problem)
            for found in re.findall(r"`([^`]+)`", row[0])
        )
    ]


async def moved(bootstrap: str, prefix: str) -> None:
    """Somebody sets the committed offset back with the tools of Kafka, while no worker runs."""
    group = group_id(prefix, LaneName.ORDERS)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        place = TopicPartition(prefixed(prefix, Topic.CHECKOUT_EVENTS), NUMBER)
        consumer.assign([place])
        await consumer.commit({place: 1})
    finally:
        await consumer.stop()


async def lived(bootstrap: str, prefix: str) -> None:
    """A worker carries events out and leaves."""
    await create_topics(KafkaConnection(bootstrap), prefix, partitions=PARTITIONS, replication=1)
    async with order_lane(bootstrap, prefix, partitions=PARTITIONS, answering=False) as lane:
        await lane.send(
            given("checkout.requested", ORDER, cart(), event_id="e-0"),
            given("checkout.updated", ORDER, cart(("1", 3, "10.00")), event_id="e-1"),
        )
        await lane.settled()


async def stopped(bootstrap: str, prefix: str) -> str:
    """Why the partition stops; the others work meanwhile."""
    other = key_on(0, partitions=PARTITIONS)
    async with order_lane(bootstrap, prefix, partitions=PARTITIONS, answering=False) as lane:
        partition = await lane.until_partition(NUMBER, PartitionState.STOPPED)
        await lane.send(given("checkout.requested", other, cart()))
        await lane.until_state("checkout_pending", other)
        assert partition.problem is not None
        return partition.problem


async def explained(bootstrap: str, prefix: str) -> dict[str, Any]:
    """What the first wait of the order is while a worker has its partition stopped."""
    port, stop, made = free_port(), asyncio.Event(), list[Worker]()
    settings = load_settings(kafka_bootstrap=bootstrap, topic_prefix=prefix, health_port=port)
    running = asyncio.create_task(run_worker(settings, [LaneName.ORDERS], stop=stop, started=made.append))
    try:
        await eventually(lambda: bool(made) and any("stopped" in line for line in made[0].problems()))
        words = ("-m", "orderflow", "orders", "explain", ORDER, "--health", f"http://127.0.0.1:{port}", "--json")
        # a process of its own, because the worker logs to the output of this one
        command = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=PIPE)
        told, _ = await command.communicate()
    finally:
        stop.set()
        await running
    first: dict[str, Any] = json.loads(told)["waiting"][0]
    return first


async def goes_on(bootstrap: str, prefix: str) -> list[str]:
    """The causes of all changes of the order, after one more event."""
    async with order_lane(bootstrap, prefix, partitions=PARTITIONS, answering=False) as lane:
        await lane.send(given("checkout.updated", ORDER, cart(("1", 5, "10.00")), event_id="e-2"))
        await lane.until(lambda: any(line["ordered"] == 5 for line in lane.order(ORDER).get("lines", [])))
        return [change["cause"]["id"] for change in (await lane.outputs()).changes_of(ORDER)]


@pytest.mark.timeout(90)
def test_the_night_of_offsets_that_differ_is_played(orderflow: Command, embedded: str) -> None:
    """The dry run shows and changes nothing; applied, the partition goes on, with nothing lost and nothing doubled."""
    prefix = "differ."
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=prefix)
    asyncio.run(lived(embedded, prefix))
    asyncio.run(moved(embedded, prefix))
    problem = asyncio.run(stopped(embedded, prefix))
    assert named_by(problem) == ["[order lane](#the-order-lane-offsets-differ)"]
    wait = asyncio.run(explained(embedded, prefix))
    assert wait["turn"] == "operator"
    assert wait["what"] == f"a person to repair partition/orders/{NUMBER}, which is stopped: {problem}"
    shown, _ = PAGE.play(orderflow, "The order lane: offsets differ")
    assert "nothing was changed" in shown.stderr
    assert asyncio.run(goes_on(embedded, prefix)) == ["e-0", "e-1", "e-2"]


@pytest.mark.timeout(90)
def test_the_night_of_a_lost_offset_of_commands_is_played(orderflow: Command, embedded: str, tmp_path: Path) -> None:
    """Nothing is called before somebody decides; from the end on, no command that was there is called."""
    prefix, river = "lost.", FileRiver(tmp_path / "books")
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=prefix)

    async def stops() -> list[str]:
        # made with other tools: where the lane begins is written nowhere, as when its offset expired
        await make_topics(embedded, prefix, partitions=PARTITIONS)
        await ask(embedded, prefix, 0, 20)
        await create_topics(KafkaConnection(embedded), prefix, partitions=PARTITIONS, replication=1)
        member = commands_member(embedded, prefix, river)
        async with running(member):
            await eventually(
                lambda: (
                    len(parts(member)) == PARTITIONS
                    and all(part.state is PartitionState.STOPPED for part in parts(member))
                )
            )
            return [str(part.problem) for part in parts(member)]

    for problem in asyncio.run(stops()):
        assert named_by(problem) == ["[command lane](#the-command-lane-no-committed-offset)"]
    shown, _ = PAGE.play(orderflow, "The command lane: no committed offset")
    assert "nothing was changed" in shown.stderr

    async def works() -> None:
        member = commands_member(embedded, prefix, river, "two", http=0.5)
        async with running(member):
            await eventually(
                lambda: [part.number for part in parts(member) if part.state is PartitionState.RUNNING] == [NUMBER]
            )
            await ask(embedded, prefix, 20, 8)
            await eventually(lambda: bool(effects(river)))

    asyncio.run(works())
    assert set(effects(river)) <= set(ids(28)) - set(ids(20))
