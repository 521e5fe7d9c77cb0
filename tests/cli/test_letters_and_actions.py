"""``orderflow letters``, ``actions`` and ``replay redeliver`` as an operator meets them: what they print, and how they end."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from producers.dead_letters import dead_letter
from producers.topics import Topic
from statemachine.messages.envelope import Record
from tests.cli.command import Command
from tests.orders.lane import Given, event, key_on, write
from tests.unit.statemachine.story import cart

FIELDS = {
    "letter", "status", "group", "reason", "detail", "topic", "partition", "offset", "key", "type", "at", "redelivered",
}  # fmt: skip
COUNTS = {"action", "kind", "actor", "reason", "state", "selected", "moved", "same", "refused", "failed", "left"}


@pytest.fixture
def operated(orderflow: Command, embedded: str, prefix: str) -> Command:
    """A Kafka with three letters: two of one cause, and one of a webhook."""
    orderflow.set(kafka_bootstrap=embedded, topic_prefix=prefix, actor="pat@host")
    assert orderflow("topics", "create", "--partitions", "2").exit_code == 0
    records = [
        Record(
            "checkout-events",
            0,
            at,
            key.encode(),
            event("checkout.requested", key, {**cart(), "email": "pat@example.org"}),
        )
        for at, key in enumerate((key_on(0), key_on(1)))
    ]
    letters = [
        dead_letter(one, "invalid", f"data.items[{one.offset}].price: must be at least 1", at=_now()) for one in records
    ]
    letters.append(dead_letter(Record("dr-webhooks", 1, 5, None, b"{}"), "bad_signature", "none", at=_now()))
    given = [Given(Topic.DEAD_LETTERS, one.key, one.value, tuple(one.headers)) for one in letters]
    asyncio.run(write(embedded, prefix, given))
    return orderflow


def _now() -> datetime:
    return datetime.now(UTC)


def _lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_letters_are_listed_filtered_and_grouped_by_cause(operated: Command) -> None:
    """A document a line, with the fields of the contract."""
    found = _lines(operated("letters", "list", "--json").stdout)
    assert len(found) == 3
    assert all(set(one) == FIELDS and one["status"] == "open" for one in found)
    (group,) = {one["group"] for one in found if one["reason"] == "invalid"}
    assert len(_lines(operated("letters", "list", "--group", str(group), "--json").stdout)) == 2
    assert len(_lines(operated("letters", "list", "--topic", "dr-webhooks", "--json").stdout)) == 1
    assert len(_lines(operated("letters", "list", "--from", "2h", "--to", "1h", "--json").stdout)) == 0
    causes = _lines(operated("letters", "list", "--json", "--group").stdout)
    assert [(one["letters"], one["open"]) for one in causes] == [(2, 2), (1, 1)]
    assert str(group) in operated("letters", "list", "--group").stdout
    assert operated("letters", "list", "--reason-code", "nonsense").exit_code == 2
    for words in (("list",), ("retry", "--reason", "a test"), ("drop", "--reason", "a test")):
        missing = operated("letters", *words, "--group", "nope")
        assert (missing.exit_code, missing.stdout) == (3, "")
        assert "there is no letter of the group nope" in missing.stderr


def test_a_letter_shows_what_would_become_of_it_and_no_personal_data(operated: Command) -> None:
    """Decided against the order as it is; nothing is written."""
    (first, *_) = [one for one in _lines(operated("letters", "list", "--json").stdout) if one["reason"] == "invalid"]
    shown = operated("letters", "show", str(first["letter"]), "--json")
    document = json.loads(shown.stdout)
    assert document["now"]["verdict"] == "moved"
    assert document["now"]["commands"] == ["create_checkout"]
    assert "pat@example.org" not in shown.stdout
    assert "pat@example.org" in operated("letters", "show", str(first["letter"]), "--secrets").stdout
    assert operated("letters", "show", "1-99").exit_code == 3


def test_nothing_is_changed_without_apply_and_a_drop_is_an_action(operated: Command) -> None:
    """The dry run says what would be done; the action stays with who, why and its counts."""
    plan = operated("letters", "drop", "--reason-code", "invalid", "--reason", "a test", "--json")
    assert plan.exit_code == 0
    assert {name: json.loads(plan.stdout)[name] for name in ("selected", "orders", "applied")} == {
        "selected": 2,
        "orders": 2,
        "applied": False,
    }
    assert _lines(operated("actions", "list", "--json").stdout) == []
    assert operated("letters", "drop", "--reason-code", "invalid", "--apply").exit_code == 2, "it needs a reason"
    assert operated("letters", "drop", "--reason", "all of them", "--apply").exit_code == 2, "it needs a choice"
    done = operated("letters", "drop", "--reason-code", "invalid", "--reason", "a test", "--apply", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert set(document) >= COUNTS
    assert {name: document[name] for name in ("kind", "actor", "reason", "state", "selected", "moved", "left")} == {
        "kind": "drop",
        "actor": "pat@host",
        "reason": "a test",
        "state": "done",
        "selected": 2,
        "moved": 2,
        "left": 0,
    }
    statuses = sorted(str(one["status"]) for one in _lines(operated("letters", "list", "--json").stdout))
    assert statuses == ["dropped", "dropped", "open"]
    shown = operated("actions", "show", document["action"], "--json")
    assert json.loads(shown.stdout) == document
    assert "2 moved" in operated("actions", "list").stdout + operated("actions", "show", document["action"]).stdout
    again = operated("actions", "pause", document["action"], "--reason", "late", "--apply")
    assert (again.exit_code, operated("actions", "show", "none").exit_code) == (1, 3)


def test_an_edit_says_what_would_become_of_it_and_a_window_is_shown(operated: Command) -> None:
    """By path, and never by value."""
    (first, *_) = [one for one in _lines(operated("letters", "list", "--json").stdout) if one["reason"] == "invalid"]
    name = str(first["letter"])
    edit = operated("letters", "edit", name, "--set", "email=sam@example.org", "--reason", "a typo", "--json")
    assert json.loads(edit.stdout)["edited"] == ["data.email"]
    assert "sam@example.org" not in edit.output
    done = operated("letters", "edit", name, "--set", "email=sam@example.org", "--reason", "a typo", "--apply")
    assert done.exit_code == 0, done.output
    assert operated("letters", "edit", name, "--set", "email=x", "--reason", "a typo").exit_code == 1
    assert operated("letters", "edit", name, "--reason", "a typo").exit_code == 2
    window = operated(
        "replay", "redeliver", "--topic", "orderflow.inbox", "--from", "1h", "--reason", "a test", "--json"
    )
    assert json.loads(window.stdout)["selected"] == 0, "an operator's act is not delivered again"
    wrong = operated("replay", "redeliver", "--topic", "orders", "--from", "1h", "--reason", "a test")
    assert wrong.exit_code == 2
    which = ("--topic", "order-events", "--from", "1h", "--order", "nobody")
    nobody = operated("replay", "redeliver", *which, "--reason", "x")
    assert nobody.exit_code == 3, nobody.stdout


@pytest.mark.parametrize(
    "verb", ["letters list", "letters drop --reason x", "replay redeliver --topic order-events --reason x"]
)
def test_a_window_that_ends_before_it_begins_is_a_usage_error(orderflow: Command, verb: str) -> None:
    """It would choose nothing, in silence."""
    ended = orderflow(*verb.split(), "--from", "1h", "--to", "2h")
    assert (ended.exit_code, "--to is before --from" in ended.stderr) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("letters", "list"),
        ("letters", "show", "0-1"),
        ("letters", "retry", "0-1", "--reason", "x"),
        ("letters", "drop", "0-1", "--reason", "x"),
        ("letters", "edit", "0-1", "--set", "a=b", "--reason", "x"),
        ("actions", "list"),
        ("actions", "show", "x"),
        ("actions", "resume", "x", "--reason", "x"),
        ("replay", "redeliver", "--topic", "order-events", "--from", "1h", "--reason", "x"),
    ],
)
def test_without_a_broker_each_verb_says_so_in_a_line(orderflow: Command, words: tuple[str, ...]) -> None:
    """Exit code 4."""
    ended = orderflow(*words)
    assert ended.exit_code == 4
    assert "not reachable" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
