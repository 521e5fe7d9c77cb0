"""``orderflow replay check`` as an operator runs it: before a deploy, with approved differences, on thin history."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from producers.topics import Topic, prefixed
from tests.cli.command import Command
from tests.orders.lane import key_on
from tests.replay.shop import POLICY, lived, shop
from tests.unit.statemachine.mutants import Mutant, applied, mutants

#: Ends every order that is cancelled before it is placed.
MUTANT = "order: checkout.source_provided in checkout_open: without ask_attach_source"
NAMES = [f"A-{number}" for number in range(8)]


@pytest.fixture(scope="module")
def history(embedded: str) -> str:
    """The prefix of a history in which a few orders lived."""
    prefix = "lived."

    async def live() -> None:
        async with shop(embedded, prefix) as lane:
            await lived(lane, NAMES)

    asyncio.run(live())
    return prefix


@pytest.fixture
def replay(orderflow: Command, embedded: str, history: str) -> Command:
    """The command line with the settings of that history."""
    waits = {
        name: f"{getattr(POLICY, name).total_seconds()}s" for name in ("checkout_open_wait", "checkout_ready_wait")
    }
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=history, parked_max_age="1.5s", **waits)
    return orderflow


@pytest.fixture
def other_tables() -> Iterator[Mutant]:
    """This process decides by changed tables."""
    mutant = next(one for one in mutants() if one.name == MUTANT)
    with applied(mutant):
        yield mutant


def document(output: str) -> dict[str, Any]:
    """The one document."""
    (line,) = output.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


CHECK = ("replay", "check", "--from", "1h", "--processes", "1")


def test_the_same_version_passes_the_gate(replay: Command) -> None:
    """Exit code 0, and counts that add up."""
    result = replay(*CHECK, "--json")
    assert result.exit_code == 0, result.stderr
    found = document(result.stdout)
    assert found["orders"]["whole"] >= 7
    assert (found["orders"]["partial"], found["orders"]["unreadable"], found["coverage"]) == (0, 0, 1.0)
    assert (found["differ"], found["differences"]) == (0, [])
    assert found["changes"] == found["same"] > 20
    told = replay(*CHECK)
    assert told.exit_code == 0
    assert "coverage 100.0%" in told.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--from", "2999-01-01T00:00:00Z"), 5, "the window has no decision: nothing was compared"),
        (("--from", "1h", "--order", "nobody"), 3, "the window has no decision of an order that was named"),
        (("--from", "1h", "--partition", "99"), 3, "there is no partition 99: the topics have 0 to "),
    ],
)
def test_a_check_that_compared_nothing_is_no_pass(
    replay: Command, words: tuple[str, ...], code: int, says: str
) -> None:
    """A gate with a window or an order that has no decision has looked at nothing."""
    result = replay("replay", "check", "--processes", "1", *words)
    assert (result.exit_code, says in result.stderr) == (code, True)


def test_several_processes_find_the_same_as_one(replay: Command) -> None:
    """Partitions are shared by processes that are started anew, each with clients of its own."""
    alone, together = (document(replay(*CHECK[:-1], count, "--json").stdout) for count in ("1", "2"))
    assert alone == together


def test_other_tables_are_told_as_stories_and_as_events_that_decide_plays(
    replay: Command, other_tables: Mutant, tmp_path: Path
) -> None:
    """Exit code 1; each order's first difference in words; and a file for each that shows it again."""
    result = replay(*CHECK, "--out", str(tmp_path))
    assert result.exit_code == 1
    assert "orders would be decided otherwise" in result.stderr
    assert "recorded: asks Digital River: attach_source" in result.stdout
    assert "replayed: " in result.stdout
    told = json.loads((tmp_path / "differences.json").read_text())
    assert told
    for one in told:
        played = replay("decide", str(tmp_path / f"{one['order_id']}.jsonl"), "--json")
        assert played.exit_code == 0
        assert one["event"]["type"] in played.stdout
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_secrets_and_the_data_of_commands_are_masked(replay: Command, other_tables: Mutant) -> None:
    """Unless they are asked for."""
    hidden, shown = (replay(*CHECK, "--json", *more).stdout for more in ((), ("--secrets",)))
    assert "pat@example.org" not in hidden
    assert '"client_secret":"secret' not in hidden
    assert document(hidden)["differ"] == document(shown)["differ"]


def test_approved_differences_pass_and_unused_approvals_do_not(
    replay: Command, other_tables: Mutant, tmp_path: Path
) -> None:
    """A rule covers all of them; one that covers nothing is told, so that the file says what happens."""
    file = tmp_path / "approved.jsonl"
    rule = {"event": "checkout.source_provided", "reason": "sources are attached later"}
    file.write_text(f"# the new table\n{json.dumps(rule)}\n")
    result = replay(*CHECK, "--expect", str(file), "--json")
    assert result.exit_code == 0, result.stderr
    assert {one["approved"] for one in document(result.stdout)["differences"]} == {"sources are attached later"}
    file.write_text(f"{json.dumps(rule)}\n{json.dumps({'order_id': 'B-*', 'reason': 'nobody'})}\n")
    result = replay(*CHECK, "--expect", str(file), "--json")
    assert result.exit_code == 1
    assert "1 approved difference did not appear" in result.stderr
    assert document(result.stdout)["unused"] == [{"reason": "nobody", "order_id": "B-*"}]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"order_id": "A-1"}', "line 1: Object missing required field `reason`"),
        ('{"reason": "all"}', "approves everything"),
        ('{"reason": " ", "order_id": "A-1"}', "reason must not be empty"),
        ('{"reason": "x", "order": "A-1"}', "unknown field"),
    ],
)
def test_a_file_of_approvals_that_cannot_be_meant_is_refused(
    orderflow: Command, tmp_path: Path, line: str, said: str
) -> None:
    """By the line, before Kafka is asked."""
    file = tmp_path / "approved.jsonl"
    file.write_text(line)
    result = orderflow(*CHECK, "--expect", str(file))
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "yesterday"), "must be a time such as"),
        (("--from", "1h", "--to", "2h"), "--to is before --from"),
        (("--from", "1h", "--sample", "0%"), "must be a share"),
        ((), "Missing option '--from'"),
    ],
)
def test_wrong_usage_is_told_in_a_line(orderflow: Command, words: tuple[str, ...], said: str) -> None:
    """Exit code 2."""
    result = orderflow("replay", "check", *words)
    assert (result.exit_code, said in result.stderr, result.stderr.count("\n")) == (2, True, 1), result.stderr


def test_without_kafka_it_says_so(orderflow: Command) -> None:
    """Exit code 4."""
    assert orderflow(*CHECK).exit_code == 4


def test_only_chosen_orders_are_decided_again(replay: Command) -> None:
    """By id, by partition and by share; the same share is the same orders each time."""
    one = document(replay(*CHECK, "--order", "A-0", "--json").stdout)
    assert one["orders"]["whole"] == 1
    halves = [document(replay(*CHECK, "--sample", "50%", "--json").stdout)["orders"]["whole"] for _ in range(2)]
    assert halves[0] == halves[1]
    assert 0 < halves[0] < 7
    parts = [document(replay(*CHECK, "--partition", str(number), "--json").stdout) for number in range(2)]
    whole = document(replay(*CHECK, "--json").stdout)
    assert sum(part["changes"] for part in parts) == whole["changes"]
    assert replay(*CHECK, "--partition", "9").exit_code == 3


@pytest.mark.parametrize("topic", [Topic.CHECKOUT_EVENTS, Topic.INBOX, Topic.ORDER_STATE_CHANGES])
def test_history_that_retention_has_eaten_is_never_a_pass(orderflow: Command, embedded: str, topic: Topic) -> None:
    """Exit code 5, with the topic that shortens it."""
    prefix = f"eaten.{topic.value}."

    async def live() -> None:
        async with shop(embedded, prefix) as lane:
            await lived(lane, [key_on(number % 2, f"A{number}") for number in range(4)], quiet=1.0)
        admin = AIOKafkaAdminClient(bootstrap_servers=embedded)
        await admin.start()
        try:
            parts = [TopicPartition(prefixed(prefix, topic), number) for number in range(2)]
            await admin.delete_records(dict.fromkeys(parts, RecordsToDelete(before_offset=1)))
        finally:
            await admin.close()

    asyncio.run(live())
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=prefix, parked_max_age="1.5s", checkout_open_wait="1.5s")
    result = orderflow(*CHECK, "--json")
    assert result.exit_code == 5, result.stdout
    assert f"{prefix}{topic.value} is too short" in result.stderr
    assert prefixed(prefix, topic) in {one["topic"] for one in document(result.stdout)["short"]}


def test_the_table_is_made_anew_compared_and_taken_from(replay: Command) -> None:
    """Each step by its command; what would be adopted is only shown."""
    missing = replay("replay", "compare", "anew.")
    assert missing.exit_code == 3
    assert "replay rebuild --into anew." in missing.stderr
    assert replay("replay", "adopt", "anew.", "--order", "A-0", "--reason", "x").exit_code == 3
    made = replay("replay", "rebuild", "--into", "anew.", "--json")
    assert made.exit_code == 0, made.stderr
    assert sum(json.loads(line)["snapshots"] for line in made.stdout.splitlines()) >= 7
    again = replay("replay", "rebuild", "--into", "anew.")
    assert "0 transactions decided, 0 snapshots written, went on where an earlier run was" in again.stdout
    compared = replay("replay", "compare", "anew.")
    assert (compared.exit_code, compared.stdout) == (0, "")
    assert "0 differ, 0 moved on since" in compared.stderr
    shown = replay("replay", "adopt", "anew.", "--order", "A-0", "--reason", "a test")
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.startswith("order A-0: ")
    assert "would be adopted" in shown.stdout
    for more in ((), ("--apply",)):  # nothing of the other is written first
        nobody = replay("replay", "adopt", "anew.", "--order", "A-0", "--order", "nobody", "--reason", "x", *more)
        assert (nobody.exit_code, nobody.stdout) == (3, "")
        assert nobody.stderr == "orderflow: order nobody was not rebuilt\n"
    every = replay("replay", "adopt", "anew.", "--reason", "a test")
    assert (every.exit_code, every.stdout) == (0, ""), "no order differs"
    assert "nothing was changed" in shown.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("rebuild", "--into", "lived."),
        ("compare", "lived."),
        ("adopt", "lived.", "--order", "A-0", "--reason", "x"),
        ("adopt", "anew.", "--order", "A-0", "--reason", " "),
        ("adopt", "anew.", "--order", "A-0"),
    ],
)
def test_the_live_table_is_never_the_other_one(orderflow: Command, words: tuple[str, ...]) -> None:
    """And an adoption needs a reason."""
    orderflow.set(topic_prefix="lived.")
    result = orderflow("replay", *words)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.stderr
