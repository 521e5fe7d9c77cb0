"""``explain`` names whose turn it is, for orders that were brought to a halt through the real core."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from consumers.pauses.records import Pause
from consumers.pauses.scopes import Scope
from orderflow.inspection.explaining import Held, explain
from orderflow.inspection.times import Times, times_of
from producers.topics import Lane
from statemachine.order.snapshot import encode_snapshot
from tests.unit.inspection.causes import CAUSES, forbidden, held, refund_pending, shipping
from tests.unit.statemachine.story import Story

NOON = datetime(2031, 3, 4, 12, tzinfo=UTC)


def _snapshot(story: Story) -> bytes:
    assert story.order is not None
    return encode_snapshot(story.order)


@pytest.mark.parametrize("name", CAUSES)
def test_each_wait_has_the_right_turn(name: str) -> None:
    """Law: the waits are these and no others, the first is what the order waits for most, and each has its turn."""
    bring, expected = CAUSES[name]
    told = explain(_snapshot(bring()))
    assert [wait.turn for wait in told.waits] == [turn for turn, _ in expected], [wait.what for wait in told.waits]
    for wait, (_, words) in zip(told.waits, expected, strict=True):
        assert words in wait.what
        assert wait.moves_on


def test_at_least_thirty_causes_are_planted() -> None:
    """Each is another place of the life cycle or another fault."""
    assert len(CAUSES) >= 30


def _pause(scope: Scope) -> Pause:
    return Pause(scope, "ann@ops", "Digital River is sick", NOON)


@pytest.mark.parametrize(
    ("name", "scope", "turns"),
    [
        ("being placed", Scope(Lane.COMMANDS), ["operator", "operator"]),
        ("being placed", Scope(Lane.COMMANDS, 3), ["operator", "operator"]),
        ("being placed", Scope(Lane.COMMANDS, command="place_order"), ["operator", "operator"]),
        ("being placed", Scope(Lane.WEBHOOKS), ["digital_river"]),
        ("placement without answer", Scope(Lane.COMMANDS, command="inquire"), ["operator", "operator"]),
        ("cart changed meanwhile", Scope(Lane.COMMANDS), ["operator"] * 3),
        ("shipped before it is paid", Scope(Lane.COMMANDS), ["operator"] * 3),
        ("placement given up", Scope(Lane.COMMANDS), ["operator"] * 2),
        ("not placed", Scope(Lane.COMMANDS), ["sender"]),
        ("not placed", Scope(Lane.ORDERS), ["operator", "sender"]),
        ("fraud review", Scope(Lane.ORDERS, 3), ["operator", "digital_river"]),
        ("fraud review", Scope(Lane.WEBHOOKS), ["operator", "digital_river"]),
        ("held", Scope(Lane.ORDERS), ["operator"] * 3),
        ("complete", Scope(Lane.ORDERS), []),
    ],
)
def test_what_is_paused_waits_for_whoever_resumes_it(name: str, scope: Scope, turns: list[str]) -> None:
    """A pause of a lane that the next step passes through comes first; a command that it stops is no one else's turn."""
    told = explain(_snapshot(CAUSES[name][0]()), None, [_pause(scope)])
    assert [wait.turn for wait in told.waits] == turns
    words = f"a person to resume {scope}: Digital River is sick (paused by ann@ops)"
    stops = len(turns) > len(CAUSES[name][1])
    assert [wait.what for wait in told.waits].count(words) == int(stops)
    if stops:
        assert told.waits[0].moves_on == f"orderflow resume {scope} --reason TEXT --apply"
        assert told.waits[0].since == NOON


@pytest.mark.parametrize(
    ("name", "scope", "turns"),
    [
        ("being placed", Scope(Lane.COMMANDS, 3), ["operator", "operator"]),
        ("not placed", Scope(Lane.COMMANDS, 3), ["sender"]),
        ("not placed", Scope(Lane.ORDERS, 3), ["operator", "sender"]),
        ("held", Scope(Lane.ORDERS, 3), ["operator"] * 3),
        ("complete", Scope(Lane.ORDERS, 3), []),
    ],
)
def test_a_partition_that_is_stopped_waits_for_whoever_repairs_it(name: str, scope: Scope, turns: list[str]) -> None:
    """It comes first where the order's next step passes through it, with its problem and the page that says what to do."""
    told = explain(_snapshot(CAUSES[name][0]()), stopped={scope: "the offsets are gone"})
    assert [wait.turn for wait in told.waits] == turns
    stops = len(turns) > len(CAUSES[name][1])
    words = f"a person to repair {scope}, which is stopped: the offsets are gone"
    assert [wait.what for wait in told.waits].count(words) == int(stops)
    if stops:
        assert told.waits[0].what == words
        assert told.waits[0].moves_on.endswith("docs/how-to/repair-a-stopped-partition.md")


def test_a_partition_that_is_stopped_and_paused_needs_both() -> None:
    """Whoever resumes it is not enough."""
    both = explain(
        _snapshot(CAUSES["being placed"][0]()),
        pauses=[_pause(Scope(Lane.COMMANDS))],
        stopped={Scope(Lane.COMMANDS, 3): "the offsets are gone"},
    )
    assert [wait.what.split(":")[0] for wait in both.waits[:2]] == [
        "a person to resume lane/commands",
        "a person to repair partition/commands/3, which is stopped",
    ]


def test_a_wait_ends_when_its_deadline_says() -> None:
    """The end of a wait is that of the snapshot: of the command, of the state, of the refund; attention has none."""
    story = shipping()
    assert story.order is not None
    [command] = explain(_snapshot(story)).waits
    assert (command.since, command.until) == (story.order.commands[0].asked, story.order.commands[0].due)
    opened = Story().to_open()
    assert opened.order is not None
    assert explain(_snapshot(opened)).waits[0].until == opened.order.deadlines[0].due
    refund = refund_pending()
    assert refund.order is not None
    assert explain(_snapshot(refund)).waits[0].until == refund.order.refunds[0].due
    assert explain(_snapshot(forbidden())).waits[-1].until is None


def test_a_held_order_says_who_holds_it_since_when_and_why() -> None:
    """The hold is that of the snapshot, in the explanation and in its first wait."""
    story = held()
    assert story.order is not None
    assert story.order.held is not None
    told = explain(_snapshot(story))
    since = story.order.held.since
    assert (told.waits[0].since, told.waits[0].until) == (since, None)
    assert told.document()["held"] == Held(since, "pat@ops", "looking into it")
    assert "orders release A-1" in told.waits[0].moves_on


def test_the_document_has_the_members_of_the_contract() -> None:
    """Scripts read these names; what only a person reads is left out."""
    document = msgspec.json.decode(msgspec.json.encode(explain(_snapshot(forbidden())).document()))
    assert list(document) == ["order_id", "state", "since", "held", "waiting", "attention"]
    assert document["held"] is None
    assert [list(wait) for wait in document["waiting"]] == [["what", "since", "until", "turn"]] * 2


def _change(sequence: int, **data: Any) -> bytes:
    event = {"id": str(sequence), "type": "order.state_changed", "time": NOON + timedelta(hours=sequence)}
    return msgspec.json.encode({**event, "data": {"sequence": sequence, "attention": [], **data}})


def test_since_when_comes_from_the_changes() -> None:
    """Law: what did not change keeps its time; a reason that came back has the later one; other records are passed over."""
    pending, done = {"refund_id": "r-1", "state": "pending"}, {"refund_id": "r-1", "state": "succeeded"}
    times = times_of(
        [
            _change(1, **{"from": "placing", "to": "submitted"}, attention=["a", "b"]),
            _change(2, **{"from": "submitted", "to": "submitted"}, attention=["a"], refunds=[pending]),
            b"no json",
            _change(3, **{"from": "submitted", "to": "submitted"}, attention=["a", "b"], refunds=[pending]),
        ]
    )
    hour = timedelta(hours=1)
    assert times == Times(
        state=NOON + hour, refunds={"r-1": NOON + 2 * hour}, attention={"a": NOON + hour, "b": NOON + 3 * hour}
    )
    later = times_of([_change(1, **{"from": "x", "to": "x"}, refunds=[done])])
    assert (later.state, later.refunds) == (None, {"r-1": NOON + hour})
