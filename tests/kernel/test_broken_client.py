"""A part of the Kafka client ends by itself, which nobody is told: the worker ends too, with a line, and loses nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer.sender import Sender

from consumers.group.membership import Membership
from consumers.ownership.owner import PartitionState
from orderflow.cli.outcome import ending_of
from producers.connection import KafkaConnection, Limits
from statemachine.errors import ClientBroken
from tests.eventually import eventually
from tests.kernel.counting import make_membership, make_topics
from tests.kernel.members import member, part
from tests.kernel.process import faults, publish, read_changes

pytestmark = pytest.mark.timeout(90)

Patch = pytest.MonkeyPatch
#: What each task does, in the words of the line, and where aiokafka keeps it.
TASKS = {
    "fetches": "_fetcher._fetch_task",
    "takes part in the group": "_coordinator._coordination_task",
    "sends heartbeats": "_coordinator._heartbeat_task",
    "updates its metadata": "_client._sync_task",
    "looks up offsets": "_coordinator._commit_refresh_task",
}


async def break_and_go_on(kafka: str, prefix: str, hurt: Callable[[Membership], None]) -> str:
    """The line with which a worker ends that was ``hurt``; another one then does the work, all of it and once."""
    await make_topics(kafka, prefix, 2)
    hurt_one = make_membership(
        KafkaConnection(kafka, limits=Limits(operation_seconds=6.0), request_timeout_ms=4000),
        prefix,
        2,
        worker="one",
        incarnation=uuid.uuid4().hex,
        heartbeat_interval_ms=300,
    )
    running = asyncio.create_task(hurt_one.run(asyncio.Event()))
    await publish(kafka, prefix, 0, 24)
    await read_changes(kafka, prefix, 2, 24)
    hurt(hurt_one)
    await publish(kafka, prefix, 24, 24)
    with pytest.raises(ClientBroken) as caught:
        await asyncio.wait_for(running, 20)
    states = {partition.state for partition in hurt_one.partitions.values()}
    assert PartitionState.STOPPED not in states, "a partition was blamed, with advice that would skip good records"
    async with member(kafka, prefix, 2, "two"):
        assert faults(await read_changes(kafka, prefix, 2, 48), 48) == []
    return str(caught.value)


@pytest.mark.parametrize("what", TASKS)
async def test_a_worker_whose_client_has_lost_a_task_ends_with_a_line(kafka: str, prefix: str, what: str) -> None:
    """It would read nothing for ever and say that it is ready; whoever is started in its place loses nothing."""

    def cancel(membership: Membership) -> None:
        attrgetter(TASKS[what])(membership._consumer).cancel()

    line = await break_and_go_on(kafka, prefix, cancel)
    assert f"group {prefix}counting: the task of the Kafka client that {what} has ended" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("what", "owner", "method"),
    [
        ("fetches", Fetcher, "_get_actions_per_node"),
        ("takes part in the group", GroupCoordinator, "need_rejoin"),
        ("sends heartbeats", GroupCoordinator, "_do_heartbeat"),
    ],
)
async def test_an_error_inside_the_client_says_nothing_about_records(
    kafka: str, prefix: str, monkeypatch: Patch, what: str, owner: type, method: str
) -> None:
    """The client hands the error out where records are read; no partition stops for it, and none is skipped."""

    def hurt(membership: Membership) -> None:
        victim = membership._consumer._fetcher if owner is Fetcher else membership._consumer._coordinator

        def fail(*_: Any) -> None:
            raise RuntimeError("a fault in the client")

        monkeypatch.setattr(victim, method, fail)
        if method == "need_rejoin":
            victim.coordinator_dead()  # so that the routine goes round

    line = await break_and_go_on(kafka, prefix, hurt)
    assert f"{what} has ended (RuntimeError)" in line


async def test_a_producer_that_has_lost_its_task_is_made_anew(kafka: str, prefix: str) -> None:
    """It costs the limit of one transaction; the partition goes on under a new producer, and nothing is lost or doubled."""
    await make_topics(kafka, prefix, 1)
    async with member(kafka, prefix, 1, operation_seconds=3.0) as membership:
        await publish(kafka, prefix, 0, 24)
        await read_changes(kafka, prefix, 1, 24)
        producer = part(membership, 0)._producer
        assert producer is not None
        assert producer._producer is not None
        sender = producer._producer._sender
        assert isinstance(sender, Sender)
        sender.sender_task.cancel()
        await publish(kafka, prefix, 24, 24)
        assert faults(await read_changes(kafka, prefix, 1, 48, seconds=30), 48) == []
        await eventually(lambda: part(membership, 0)._producer is not producer)


def test_a_broken_client_ends_the_process_with_1() -> None:
    """A supervisor starts it again."""
    assert ending_of(ClientBroken("the client is broken")).exit_code == 1
