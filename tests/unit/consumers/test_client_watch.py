"""Silence of Kafka's is told once and its end once; a version of the client that cannot be watched does not start."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from consumers.group.client_watch import SILENCE_SECONDS_MAX, ClientWatch, Contact, check_client
from statemachine.errors import ClientBroken, ConfigError

SOON, LATE = SILENCE_SECONDS_MAX - 1, SILENCE_SECONDS_MAX + 1


def test_short_silence_is_not_a_problem() -> None:
    """A new leader takes some seconds."""
    contact = Contact(100.0)
    assert contact.silent_seconds(100.0 + SOON) is None
    assert contact.outage_to_report(100.0 + SOON) is None
    assert contact.answered(100.0 + SOON) is None


def test_long_silence_is_reported_once_and_its_end_with_its_length() -> None:
    """A person reads one line for each time that Kafka is away, however often it is asked."""
    contact = Contact(100.0)
    assert contact.outage_to_report(100.0 + LATE) == LATE
    assert contact.outage_to_report(100.0 + 2 * LATE) is None
    assert contact.silent_seconds(100.0 + 2 * LATE) == 2 * LATE, "readiness tells it for as long as it lasts"
    assert contact.answered(100.0 + 3 * LATE) == 3 * LATE
    assert contact.answered(100.0 + 3 * LATE + 1) is None
    assert contact.outage_to_report(100.0 + 4 * LATE + 2) is not None, "the next time is told again"


def _consumer(**other: Any) -> Any:
    """What the watch looks at in a consumer, all of it running."""
    loop = asyncio.get_running_loop()
    coordinator = {
        "_coordination_task": loop.create_future(),
        "_heartbeat_task": loop.create_future(),
        "_commit_refresh_task": loop.create_future(),
        "member_id": "m",
    }
    return SimpleNamespace(
        _fetcher=SimpleNamespace(_fetch_task=loop.create_future()),
        _coordinator=SimpleNamespace(**(coordinator | other)),
        _client=SimpleNamespace(_sync_task=loop.create_future()),
        _subscription=SimpleNamespace(subscription=SimpleNamespace(assignment=SimpleNamespace(active=True))),
    )


async def test_a_client_without_the_tasks_that_are_watched_does_not_start() -> None:
    """Its version is another one: the line names what is missing and what to install."""
    consumer = _consumer()
    del consumer._fetcher._fetch_task
    with pytest.raises(ConfigError, match=r"has no _fetch_task, .*requirements\.txt names"):
        check_client(consumer)


async def test_a_client_that_keeps_its_tasks_elsewhere_does_not_start() -> None:
    """The names may be there and mean nothing any more."""
    consumer = _consumer(_coordination_task=None, _heartbeat_task=None, _commit_refresh_task=None)
    with pytest.raises(ConfigError, match="does not run the tasks that a consumer must have"):
        check_client(consumer)


async def test_a_task_that_is_being_replaced_is_not_a_broken_client() -> None:
    """Heartbeats end and begin anew with each generation of the group."""
    consumer = _consumer()
    watch = ClientWatch("g", consumer, ["t"])
    consumer._coordinator._heartbeat_task.set_result(None)
    watch.check()
    consumer._coordinator._heartbeat_task = asyncio.get_running_loop().create_future()
    watch.check()


async def test_a_task_that_stays_ended_is_reported_with_the_name_of_its_error_only() -> None:
    """What the error says may quote what the client read."""
    consumer = _consumer()
    watch = ClientWatch("g", consumer, ["t"])
    consumer._fetcher._fetch_task.set_exception(ValueError("a secret"))
    assert watch.broken()
    watch.check()
    with pytest.raises(
        ClientBroken, match=r"the task of the Kafka client that fetches has ended \(ValueError\)"
    ) as caught:
        watch.check()
    assert "secret" not in str(caught.value)


async def test_a_member_that_was_put_out_sends_no_heartbeats_and_is_not_broken() -> None:
    """Its heartbeats end until it has joined anew."""
    consumer = _consumer(member_id="")
    consumer._coordinator._heartbeat_task.set_result(None)
    watch = ClientWatch("g", consumer, ["t"])
    watch.check()
    watch.check()


async def test_the_installed_client_has_what_is_watched() -> None:
    """The names are private to aiokafka: a version without them is seen here before it is installed anywhere."""
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1", group_id="g")
    assert {"_fetcher", "_coordinator", "_client", "_subscription"} <= set(vars(consumer))
    await consumer.stop()
