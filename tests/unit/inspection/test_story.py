"""The story of an order has each record once, in the order in which things happened, and says what became of each event."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
import pytest

from orderflow.inspection.decisions import in_ms
from orderflow.inspection.entries import Entry, KeptRecord
from orderflow.inspection.masking import MASK, masked
from orderflow.inspection.reading import parked_places
from orderflow.inspection.story import tell
from producers.topics import ORDER_INPUTS, Topic
from statemachine.messages.envelope import Record
from tests.unit.inspection.lane import BEGIN, PaperLane, busy
from tests.unit.statemachine.story import cart

#: What the lane counted, and what the story says.
_WORDS: Final = {"moved": "changed", "parked": "parked", "repeated": "no news", "dead": "set aside"}


def _story(lane: PaperLane, order_id: str, **more: Any) -> tuple[Entry, ...]:
    newest = lane.snapshots[order_id][-1].value if lane.snapshots[order_id] else None
    read = {
        in_ms(one.history.decided_at): {
            (run.topic, offset) for run in one.history.runs for offset in range(run.first, run.last + 1)
        }
        for one in lane.positions
        if one.history is not None
    }
    return tell(order_id, lane.records(order_id), parked=parked_places(newest), transactions=read, **more).entries


@pytest.mark.parametrize("seed", range(4))
async def test_each_record_is_told_once_and_in_order(seed: int) -> None:
    """Law: of any order, every input, change, command and letter is one entry, and time does not go back."""
    lane = await busy(seed)
    for order_id in lane.snapshots:
        records, entries = lane.records(order_id), _story(lane, order_id)
        assert [one.at for one in entries] == sorted(one.at for one in entries)
        for kind, topics in (
            ("event", ORDER_INPUTS),
            ("change", (Topic.ORDER_STATE_CHANGES,)),
            ("command", (Topic.DR_COMMANDS,)),
            ("letter", (Topic.DEAD_LETTERS,)),
        ):
            written = [one for topic in topics for one in records.get(topic, ())]
            if kind == "change":
                written = [one for one in written if b"order.state_changed" in (one.record.value or b"")]
            assert len([one for one in entries if one.kind == kind]) == len(written), kind
        told = [one.sequence for one in entries if one.kind == "change"]
        assert told == list(range(1, len(told) + 1))
        answered = [one for one in entries if one.kind == "command" and one.outcome is not None]
        assert all(one.outcome is not None and one.outcome.at >= one.at for one in answered)


@pytest.mark.parametrize("seed", range(4))
async def test_what_became_of_an_event_is_what_was_decided(seed: int) -> None:
    """Law: the story infers from the topics what the lane knew; an event that only later decisions need brought no news."""
    lane = await busy(seed, batches=(1,))
    checked = 0
    for order_id in lane.snapshots:
        for one in _story(lane, order_id):
            verdict = lane.verdicts.get((one.topic or "", one.offset or 0)) if one.kind == "event" else None
            if verdict is None or one.became is None:
                continue
            checked += 1
            word = one.became.partition(":")[0]
            assert word == _WORDS[verdict] or (verdict, word) == ("moved", "no news"), (order_id, one)
    assert checked > 50


async def test_a_deadline_is_told_with_what_it_asked() -> None:
    """It stands before its command, by its name; the inquiry has the outcome of the look-up."""
    lane = PaperLane()
    lane.tell("A-1", "checkout.requested", **cart())
    await lane.work()
    lane.answered = 1  # the answer is lost
    lane.now += lane.policy.answer_wait
    await lane.work()
    lane.answer()
    await lane.work()
    entries = _story(lane, "A-1")
    at = next(at for at, one in enumerate(entries) if one.kind == "deadline")
    assert entries[at].name == "inquire"
    assert [one.kind for one in entries[at : at + 2]] == ["deadline", "command"]
    assert entries[at + 1].command == "inquire"
    assert entries[at + 1].outcome is not None


async def test_secrets_and_personal_data_are_masked_unless_asked_for() -> None:
    """In events, in changes and in the carts of commands."""
    lane = PaperLane()
    lane.tell("A-1", "checkout.requested", **cart())
    await lane.work()
    lane.answer()
    await lane.work()
    masked_text = msgspec.json.encode(_story(lane, "A-1"))
    whole = msgspec.json.encode(_story(lane, "A-1", secrets=True))
    for secret in (b"pat@example.org", b"Pat Doe", b"1 Test Rd", b"secret of the session"):
        assert secret not in masked_text
        assert secret in whole
    assert b'"sku-1"' in masked_text


def test_a_name_that_is_not_known_is_masked() -> None:
    """Law: only names of our own messages are shown: a sender may put anything into others."""
    given = {
        "reason": "late",
        "shopper_mail": "pat@example.org",
        "items": [{"line": "1", "note": "Pat"}],
        "token": None,
    }
    shown = masked(given)
    assert shown == {"reason": "late", "shopper_mail": MASK, "items": [{"line": "1", "note": MASK}], "token": None}


def test_a_record_that_is_delivered_again_is_masked_whole() -> None:
    """It is Base64, so that no name in it can be looked at; who did it and why is shown."""
    given = {"actor": "pat@ops", "reason": "repaired", "key": "QQ==", "value": "e30=", "headers": [["a", "Yg=="]]}
    expected = {"actor": "pat@ops", "reason": "repaired", "key": MASK, "value": MASK, "headers": MASK}
    assert masked(given) == expected


async def test_a_refusal_is_told_although_its_dead_letter_is_gone() -> None:
    """Dead letters are kept for a shorter time than the events: what the sender was told says that it was refused."""
    lane = PaperLane()
    for _ in range(2):
        lane.tell("A-1", "checkout.requested", **cart())
        await lane.work()
    records = lane.records("A-1")
    assert len(records.pop(Topic.DEAD_LETTERS)) == 1
    entries = tell("A-1", records, parked={}).entries
    assert [one.became for one in entries if one.kind == "event"] == ["changed", "set aside: refused"]
    assert [one.kind for one in entries].count("letter") == 0


async def test_an_operator_who_settles_a_letter_is_named() -> None:
    """Of ``orderflow.operations`` only what concerns the order's letters is told."""
    lane = PaperLane()
    lane.tell("A-1", "checkout.requested", currency="USD")
    await lane.work()
    records = lane.records("A-1")
    document = {"letter": "0-0", "status": "dropped", "actor": "pat@ops", "reason": "sent twice"}
    settled = [_operation("letter/0-0", document), _operation("letter/0-7", document), _operation("pause/x", document)]
    story = tell("A-1", {**records, Topic.OPERATIONS: settled}, parked={})
    assert [one.kind for one in story.entries] == ["event", "letter", "operation"]
    last = story.entries[-1]
    assert (last.id, last.became, last.actor, last.reason) == ("letter/0-0", "dropped", "pat@ops", "sent twice")


def _operation(key: str, document: dict[str, str], at: datetime | None = None) -> KeptRecord:
    later = at or BEGIN.replace(year=2032)
    return KeptRecord(Record("orderflow.operations", 0, 0, key.encode(), msgspec.json.encode(document)), later)
