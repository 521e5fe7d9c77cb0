"""What was written and what would be written: the first difference of each order, and what does not count as one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from consumers.tracing import TRACE_HEADER
from orderflow.replay.comparing import Outputs, Written, differing_keys, equal, first_difference, refusals
from orderflow.replay.expected import Approval, approved
from orderflow.replay.findings import Difference, Scope
from orderflow.replay.rendering import masked, story


def change(order_id: str, sequence: int, *, to: str = "placing", **more: Any) -> Written:
    """A record of order-state-changes."""
    data = {"order_id": order_id, "sequence": sequence, "to": to}
    event = {
        "id": f"{order_id}-{sequence}",
        "type": "order.state_changed",
        "subject": order_id,
        "time": "2031-03-04T10:00:00Z",
        "data": data,
        **more,
    }
    return Written(order_id.encode(), msgspec.json.encode(event))


def letter(offset: int, reason: str, detail: str, *, partition: int = 0, topic: str = "order-events") -> Written:
    """A dead letter."""
    headers = {"reason": reason, "detail": detail, "topic": topic, "partition": str(partition), "offset": str(offset)}
    return Written(b"A", b"{}", tuple((f"orderflow-{name}", value.encode()) for name, value in headers.items()))


def test_orders_are_compared_each_for_itself() -> None:
    """Another order of the same transaction does not matter, nor in which order the orders were written."""
    recorded = Outputs([change("A", 1), change("B", 4), change("A", 2)])
    replayed = Outputs([change("B", 4), change("A", 1), change("A", 2, to="declined")])
    assert differing_keys(recorded, replayed, ()) == [b"A"]
    found = first_difference(b"A", recorded, replayed)
    assert found is not None
    assert (found.kind, found.same) == ("change", 1)
    assert differing_keys(recorded, replayed, {b"A"}) == []


def test_more_or_fewer_changes_differ_where_one_side_ends() -> None:
    """The side that has nothing is empty."""
    one, two = Outputs([change("A", 1)]), Outputs([change("A", 1), change("A", 2)])
    missing, extra = first_difference(b"A", two, one), first_difference(b"A", one, two)
    assert missing is not None
    assert extra is not None
    assert (missing.replayed, extra.recorded) == (None, None)
    assert missing.recorded == extra.replayed == change("A", 2)


def test_the_layout_of_an_envelope_is_no_difference_and_its_time_is_one() -> None:
    """A newer version may write another attribute; a decision at another time is another decision."""
    old = Outputs([change("A", 1)])
    assert differing_keys(old, Outputs([change("A", 1, dataschema="x")]), ()) == []
    assert differing_keys(old, Outputs([change("A", 1, time="2031-03-04T10:00:01Z")]), ()) == [b"A"]


def test_a_refusal_is_its_reason_and_its_record() -> None:
    """It may be worded anew; letters of other lanes are left out."""
    old = Outputs(refusals=[letter(3, "refused", "old words")])
    assert differing_keys(old, Outputs(refusals=[letter(3, "refused", "new words")]), ()) == []
    assert differing_keys(old, Outputs(refusals=[letter(3, "expired", "old words")]), ()) == [b"A"]
    letters = [letter(1, "x", ""), letter(1, "x", "", partition=1), letter(1, "x", "", topic="dr-webhooks")]
    assert refusals(letters, partition=0, topics={"order-events"}) == letters[:1]


def difference(**more: Any) -> Difference:
    """A difference of order A-1001."""
    recorded = {"sequence": 7, "from": "placing", "to": "submitted", "changed": ["state", "payment"], "attention": []}
    event = {"type": "order.placed", "topic": "order-events", "partition": 1, "offset": 5}
    given = {"recorded": recorded, "replayed": None, "event": event, "kind": "change", **more}
    return Difference("A-1001", 7, at=datetime(2031, 3, 4, tzinfo=UTC), partition=1, **given)


def test_an_approval_covers_what_all_of_its_members_say() -> None:
    """A rule may name kinds of orders, events and moves."""
    one = difference()
    for approval in (
        Approval("x", order_id="A-*"),
        Approval("x", sequence=7, kind="change"),
        Approval("x", event="order.*", from_="placing", to="submitted"),
    ):
        assert approved([one], [approval]) == ({"A-1001": "x"}, [])
    other = Approval("x", order_id="A-*", to="declined")
    assert approved([one], [other]) == ({}, [other])


def test_a_difference_is_told_in_plain_words() -> None:
    """Which event, what was recorded, what would be now."""
    assert list(story(difference())) == [
        "order A-1001, order.placed (order-events[1] offset 5), 2031-03-04 00:00:00",
        "    recorded: change 7, placing -> submitted, payment changed",
        "    replayed: no change",
    ]
    command = difference(kind="command", recorded={"command": "place_order", "attempt": 1}, event=None)
    assert list(story(command))[1] == "    recorded: asks Digital River: place_order, attempt 1"


def test_secrets_are_masked_wherever_they_are() -> None:
    """And of commands everything that may be personal."""
    told = {"payment_session": {"id": "s", "client_secret": "x"}, "refunds": [{"token": "y"}]}
    assert masked(told) == {"payment_session": {"id": "s", "client_secret": "***"}, "refunds": [{"token": "***"}]}
    command = {"command": "create_checkout", "attempt": 1, "payload": {"email": "a@b.c"}}
    assert masked(command, plain_only=True) == {"command": "create_checkout", "attempt": 1, "payload": "***"}


def test_a_sample_is_the_same_orders_each_time() -> None:
    """And about as many as was asked for."""
    keys = [f"A-{number}".encode() for number in range(4000)]
    chosen = [key for key in keys if Scope(sample=1000).wants(key)]
    assert 300 < len(chosen) < 500
    assert chosen == [key for key in keys if Scope(sample=1000).wants(key)]
    assert not Scope(sample=1000).wants(None)
    assert Scope().wants(None)


def test_a_trace_context_is_no_difference_and_hides_none() -> None:
    """A replay makes no spans; what was written within one has a header more."""
    traced = ((TRACE_HEADER, b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),)
    old = msgspec.structs.replace(change("A", 1), headers=traced)
    assert equal(old, change("A", 1))
    assert not equal(old, change("A", 1, to="submitted"))
    assert not equal(old, change("A", 2))
