"""``orderflow pause``, ``resume`` and ``lanes``: dry run, audit, exit codes, and what is shown without any worker."""

from __future__ import annotations

import asyncio
import json

import pytest

from consumers.pauses.records import ACT_KEY, ActRecord
from orderflow.operations.pausing import ACT_DAYS, Operations, read_operations, write_act
from orderflow.settings import load_settings
from producers.connection import KafkaConnection
from producers.publisher import Publisher
from tests.cli.command import Command

PARTITIONS = 3
WHY = ("--reason", "refunds are checked")


@pytest.fixture(autouse=True)
def _topics(orderflow: Command, embedded: str, prefix: str) -> None:
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=prefix, actor="ann")
    assert orderflow("topics", "create", "--partitions", str(PARTITIONS)).exit_code == 0


def test_without_apply_nothing_is_paused(orderflow: Command) -> None:
    """Law: the dry run says what would be, and nobody obeys it."""
    told = orderflow("pause", "command/create_refund", *WHY)
    assert (told.exit_code, told.stdout) == (
        0,
        "command/create_refund is not paused\nwould pause: command/create_refund by ann: refunds are checked\n",
    )
    assert "nothing was changed" in told.stderr
    assert orderflow("lanes", "--acts", "--json").stdout == ""
    assert orderflow("resume", "command/create_refund", *WHY).exit_code == 3


def test_a_pause_and_its_end_are_in_the_audit(orderflow: Command) -> None:
    """Law: who and why stay when the pause is over, and are shown while it lasts."""
    assert orderflow("pause", "partition/orders/2", *WHY, "--apply").exit_code == 0
    shown = orderflow("lanes").stdout
    assert "paused: partition/orders/2 by ann since 20" in shown
    assert shown.count("paused") == 2
    orderflow.set(actor="bob")
    ended = orderflow("resume", "partition/orders/2", "--reason", "they were right", "--apply", "--json")
    assert ended.exit_code == 0
    document = json.loads(ended.stdout)
    assert (document["actor"], document["applied"], document["before"]["actor"]) == ("bob", True, "ann")
    assert "paused" not in orderflow("lanes").stdout
    acts = [json.loads(line) for line in orderflow("lanes", "--acts", "--json").stdout.splitlines()]
    assert [(one["act"], one["actor"], one["reason"]) for one in acts] == [
        ("pause", "ann", "refunds are checked"),
        ("resume", "bob", "they were right"),
    ]
    assert "they were right" in orderflow("lanes", "--acts").stdout


def test_pausing_again_says_what_was_before_and_the_newest_counts(orderflow: Command) -> None:
    """The second operator sees the first one's reason."""
    assert orderflow("pause", "lane/webhooks", *WHY, "--apply").exit_code == 0
    again = orderflow("pause", "lane/webhooks", "--reason", "still", "--apply")
    assert again.exit_code == 0
    assert again.stdout.startswith("lane/webhooks is paused by ann since 20")
    rows = [json.loads(line) for line in orderflow("lanes", "--json").stdout.splitlines()]
    assert {row["paused"]["reason"] for row in rows if row["lane"] == "webhooks"} == {"still"}
    assert {row["paused"] for row in rows if row["lane"] != "webhooks"} == {None}


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ("lane/order", "did you mean lane/orders?"),
        ("command/create_refunds", "did you mean command/create_refund?"),
        ("create_refund", "did you mean command/create_refund?"),
        ("partition/order/1", "did you mean partition/orders/1?"),
        ("partition/orders/3", "lane orders has partitions 0 to 2"),
        ("?", "unknown scope"),
    ],
)
def test_an_unknown_scope_is_a_usage_error(orderflow: Command, scope: str, said: str) -> None:
    """Law: nothing is written for a scope that nobody obeys."""
    told = orderflow("pause", scope, *WHY, "--apply")
    assert told.exit_code == 2
    assert said in told.stderr
    assert told.stderr.count("\n") == 1


@pytest.mark.parametrize("reason", ["", " ", "x" * 201, "a\nb"])
def test_a_reason_is_one_line(orderflow: Command, reason: str) -> None:
    """It is shown on the health page and in the log."""
    assert orderflow("pause", "lane/orders", "--reason", reason, "--apply").exit_code == 2
    assert orderflow("pause", "lane/orders", "--apply").exit_code == 2


def test_resuming_what_is_not_paused_names_what_is(orderflow: Command) -> None:
    """Who resumes a partition of a paused lane learns what to resume."""
    assert orderflow("pause", "lane/orders", *WHY, "--apply").exit_code == 0
    told = orderflow("resume", "partition/orders/1", *WHY, "--apply")
    assert (told.exit_code, "paused: lane/orders" in told.stderr) == (3, True)


def test_lanes_without_a_worker_fit_the_screen(orderflow: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: without a health page, and without an owner, what Kafka knows is there, in 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    assert orderflow("pause", "lane/orders", "--reason", "long words " * 18, "--apply").exit_code == 0
    line = '{"topic": "order-events", "key": "A-1", "value": {}}\n'
    sent = orderflow("events", "send", "-", "--no-check", stdin=line)
    assert sent.exit_code == 0
    told = orderflow("lanes", "--health", "http://127.0.0.1:1")
    assert told.exit_code == 0
    assert "no health page at http://127.0.0.1:1" in told.stderr
    lines = told.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith(" orders ") for line in lines) == PARTITIONS
    rows = [json.loads(line) for line in orderflow("lanes", "--json").stdout.splitlines()]
    assert {row["lane"] for row in rows} == {"orders", "commands", "webhooks", "catalogue"}
    waiting = [row for row in rows if row["lag"]]
    assert [(row["lane"], row["lag"], row["state"], row["owner"]) for row in waiting] == [
        ("orders", 1, "unowned", None)
    ]
    assert 0 <= waiting[0]["lag_seconds"] < 60


def test_old_acts_are_removed_by_new_ones(orderflow: Command, embedded: str, prefix: str) -> None:
    """The audit does not grow for ever: see ``ACT_DAYS``."""
    settings = load_settings()
    value = b'{"act":"pause","scope":"lane/orders","actor":"ann","reason":"r","at":"2001-03-04T10:11:12Z"}'

    async def work() -> Operations:
        async with Publisher(KafkaConnection(embedded)) as publisher:
            await publisher.send(f"{prefix}orderflow.operations", b"act/old", value)
        from consumers.pauses.scopes import Scope
        from producers.topics import Lane

        before = await read_operations(settings)
        assert isinstance(before.acts[f"{ACT_KEY}old"], ActRecord)
        await write_act(settings, "pause", Scope(Lane.ORDERS), "r", before)
        return await read_operations(settings)

    assert ACT_DAYS > 365
    assert [act.actor for act in asyncio.run(work()).acts.values()] == ["ann"]
