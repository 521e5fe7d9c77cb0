"""Letters without Kafka: what they say, their causes, their order, their edit and what is masked of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from orderflow.operations.actions.records import Item, LetterRecord
from orderflow.operations.actions.selection import in_order_of_arrival, plan_drop, plan_retry
from orderflow.operations.actions.tracker import Tracker
from orderflow.operations.letters.editing import Edit, EditRefused, edited, read_path
from orderflow.operations.letters.letter import (
    Filters,
    Letter,
    LetterId,
    first_received,
    grouped,
    read_letter,
    read_letter_id,
)
from orderflow.operations.letters.masking import MASK, shown_headers, shown_value
from producers.dead_letters import dead_letter
from statemachine.messages.envelope import Record

AT = datetime(2031, 3, 4, 10, 11, 12, tzinfo=UTC)
EVENT = b'{"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "order.placed", "data": {"a": [{"b": "1"}]}}'


def letter(at: int, **given: object) -> Letter:
    """A letter at an offset of partition 0."""
    known: dict[str, object] = {
        "id": LetterId(0, at),
        "reason": "refused",
        "detail": "items[3].price: must be at least 1",
        "topic": "order-events",
        "partition": 0,
        "offset": at,
        "key": "A-1",
        "type": "order.placed",
        "event_id": f"e-{at}",
        "source": "/shop",
        "at": AT,
    }
    return Letter(**{**known, **given})  # type: ignore[arg-type]  # names of fields


def test_a_letter_is_read_as_it_was_written_and_gives_its_record_back() -> None:
    """Byte for byte, without what made it a letter, but with the count of its deliveries."""
    record = Record("order-events", 3, 812, b"A-1", EVENT, (("trace", b"1"), ("orderflow-redelivered", b"2")))
    written = dead_letter(record, "refused", "not now", at=AT, redelivered=3)
    headers = tuple(written.headers)
    found = read_letter(LetterId(1, 5), written.key, written.value, headers)
    assert found is not None
    assert (str(found.id), found.reason, found.detail, found.came) == (
        "1-5",
        "refused",
        "not now",
        ("order-events", 3, 812),
    )
    assert (found.type, found.event_id, found.source, found.at, found.redelivered) == (
        "order.placed",
        "e-1",
        "/shop",
        AT,
        3,
    )
    again = first_received(found, written.key, written.value, headers)
    assert again == Record("order-events", 3, 812, b"A-1", EVENT, (("trace", b"1"), ("orderflow-redelivered", b"3")))
    assert read_letter(LetterId(1, 5), b"A-1", b"", (("orderflow-reason", b"refused"),)) is None
    assert [read_letter_id(text) for text in ("3-812", "3", "x-1")] == [LetterId(3, 812), None, None]


def test_letters_of_one_cause_differ_in_numbers_only() -> None:
    """So that 500 letters are one line."""
    same = [letter(1), letter(2, detail="items[14].price: must be at least 1", key="A-2")]
    other = letter(3, detail="items[3].quantity: must be at least 1")
    (first, second) = grouped([(one, "open") for one in (*same, other)])
    assert (first.letters, first.orders, second.letters) == (2, 2, 1)
    assert Filters(groups=(first.group,)).take(same[0], "open")
    assert not Filters(groups=(first.group,)).take(other, "open")
    assert not Filters(since=AT.replace(year=2032)).take(other, "open")
    assert not Filters(statuses=("dropped",)).take(other, "open")


def test_letters_of_one_order_are_taken_in_the_order_in_which_their_records_came() -> None:
    """A letter that was written again lies later than it came: its first letter says when that was."""
    first, second = letter(1), letter(2, topic="fulfillment-events", offset=9)
    again = letter(7, offset=1, redelivered=1)
    third = letter(8, topic="fulfillment-events", offset=4)
    other = letter(3, key="A-2")
    letters = [first, second, other, again, third]
    plan = plan_retry(letters, [second, again, third, other], {})
    assert [item.offset for item in plan.items if item.key == "A-1"] == [7, 8, 2]
    assert [item.offset for item in in_order_of_arrival(plan.items, letters)] == [item.offset for item in plan.items]


def test_what_cannot_come_back_is_left_out_with_the_reason() -> None:
    """One way out for each."""
    done = LetterRecord("0-1", "dropped", "pat", "a test", AT)
    letters = [
        letter(1),
        letter(2, topic="dr-commands"),
        letter(3, detail="x (value of 9 bytes left out, see the topic, partition and offset)"),
        letter(4, key=None),
        letter(5, redelivered=3),
        letter(6, offset=6),
        letter(7, offset=6, redelivered=1),
    ]
    plan = plan_retry(letters, letters, {"0-1": done})
    assert [item.offset for item in plan.items] == [7]
    words = {
        "0-1": "dropped by pat",
        "0-2": "never written",
        "0-3": "replay redeliver",
        "0-4": "--key",
        "0-5": "3 times",
    }
    left_out = dict(plan.left_out)
    assert all(word in left_out[name] for name, word in words.items()), left_out
    assert "0-7" in left_out["0-6"]
    assert len(plan_retry(letters, [letters[4]], {}, again=True).items) == 1
    assert len(plan_drop(letters, letters, {"0-1": done}).items) == 6
    edited = LetterRecord("0-1", "edited", "pat", "a test", AT)
    delivered = LetterRecord("0-1", "retried", "pat", "a test", AT, result="moved")
    under_way = LetterRecord("0-1", "retried", "pat", "a test", AT)
    left = [plan_drop(letters, letters[:1], {"0-1": one}).left_out for one in (edited, delivered, under_way)]
    assert [len(one) for one in left] == [1, 1, 0]  # the last may hold its order still


def test_of_one_order_nothing_is_taken_before_what_was_taken_has_its_result() -> None:
    """Also after a restart in the middle."""
    items = [Item(0, at, f"A-{at % 2}", "order-events", 0, at, "refused") for at in range(6)]
    tracker = Tracker(items)
    assert tracker.take(10, lambda _: True) == [0, 1]
    assert tracker.take(10, lambda _: True) == []
    tracker.sent(0)
    tracker.settle(1, "moved")
    assert tracker.take(10, lambda _: True) == [3]
    tracker.sent(3)
    again = Tracker(items, tracker.parts())
    assert again.out == {0, 3}
    assert again.take(10, lambda _: True) == []
    again.settle(3, "failed")
    assert again.take(10, lambda number: number != 5) == []
    assert again.take(10, lambda _: True) == [5]
    assert again.counts() == {"moved": 1, "same": 0, "refused": 0, "failed": 1, "left": 4}


def test_an_edit_changes_what_its_path_names_and_says_so_without_values() -> None:
    """The event is a new one, the same for the same edit; texts stay texts."""
    record = Record("order-events", 0, 1, b"A-1", EVENT)
    new, paths = edited(record, Edit(sets=(("data.a[0].b", "27.01"), ("c", "5"))), letter="0-1")
    event = json.loads(new.value or b"")
    assert event["data"] == {"a": [{"b": "27.01"}], "c": 5}
    assert event["id"] != "e-1"
    assert paths == ("data.a[0].b", "data.c")
    assert dict(new.headers) == {"orderflow-letter": b"0-1", "orderflow-edited": b"data.a[0].b,data.c"}
    assert edited(record, Edit(sets=(("data.a[0].b", "27.01"), ("c", "5"))), letter="0-1")[0] == new
    gone, _ = edited(record, Edit(unsets=("data.a[0].b",), key="A-2"), letter="0-1")
    assert (json.loads(gone.value or b"")["data"], gone.key) == ({"a": [{}]}, b"A-2")
    whole, paths = edited(record, Edit(value=EVENT), letter="0-1")
    assert (json.loads(whole.value or b"")["type"], paths) == ("order.placed", ("value",))


def test_an_edit_of_binary_mode_keeps_the_attributes_in_the_headers() -> None:
    """Only the id is a new one."""
    headers = (("ce_specversion", b"1.0"), ("ce_id", b"e-1"), ("ce_type", b"order.placed"), ("ce_source", b"/shop"))
    new, _ = edited(Record("order-events", 0, 1, b"A-1", b'{"x": 1}', headers), Edit(sets=(("x", "2"),)), letter="0-1")
    assert new.value == b'{"x":2}'
    assert dict(new.headers)["ce_id"] != b"e-1"
    with pytest.raises(EditRefused, match="binary mode"):
        edited(Record("order-events", 0, 1, b"A-1", b"{}", headers), Edit(sets=(("type", "x"),)), letter="0-1")


@pytest.mark.parametrize("path", ["data.a[7].b", "data..b", "", "data.a.b", "data.a[0].b.c"])
def test_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    """With the path, and no value."""
    with pytest.raises(EditRefused):
        edited(Record("order-events", 0, 1, b"A-1", EVENT, ()), Edit(sets=((path, "x"),)), letter="0-1")


@pytest.mark.parametrize("edit", [Edit(sets=(("a", "1"),)), Edit(unsets=("data.a",))])
def test_what_is_no_json_is_edited_as_a_whole_only(edit: Edit) -> None:
    """There is no member to name."""
    with pytest.raises(EditRefused, match="--file"):
        edited(Record("order-events", 0, 1, b"A-1", b"\xff", ()), edit, letter="0-1")
    with pytest.raises(EditRefused, match="nothing"):
        edited(Record("order-events", 0, 1, b"A-1", EVENT, ()), Edit(), letter="0-1")


def test_paths_without_data_in_front_are_places_in_the_data() -> None:
    """But attributes of the event are its own."""
    assert read_path("items[0].price") == ("data", "items", 0, "price")
    assert read_path("subject") == ("subject",)


def test_texts_are_masked_but_for_those_that_are_known_to_be_harmless() -> None:
    """A field that nobody thought of may be an address."""
    value = b'{"type": "order.placed", "data": {"email": "a@b", "quantity": 2, "names": ["x"], "currency": "USD"}}'
    shown = {"type": "order.placed", "data": {"email": MASK, "quantity": 2, "names": [MASK], "currency": "USD"}}
    assert shown_value(value, secrets=False) == shown
    assert shown_value(value, secrets=True) == json.loads(value)
    assert shown_value(b"pat@example.org", secrets=False) == f"{MASK} 15 bytes that are no JSON"
    assert shown_value(b"pat@example.org", secrets=True) == "pat@example.org"
    assert shown_value(None, secrets=False) is None
    headers = (("ce_type", b"a"), ("authorization", b"b"), ("none", None))
    assert shown_headers(headers, secrets=False) == [["ce_type", "a"], ["authorization", MASK], ["none", None]]
    assert shown_headers((("x", b"\xff"),), secrets=True) == [["x", "base64:/w=="]]
