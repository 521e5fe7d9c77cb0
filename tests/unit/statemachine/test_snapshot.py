"""Snapshots: what is public, what comes back, and versions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from statemachine.errors import ConfigError, Disposition, InvariantBroken
from statemachine.messages.facts import Fact, RemoteOrder
from statemachine.messages.ids import OrderId
from statemachine.order import upgrades
from statemachine.order.decision import Parked
from statemachine.order.order import DEFINITION, Look, Refund, Return, new_order
from statemachine.order.policy import Policy
from statemachine.order.snapshot import decode_snapshot, encode_snapshot
from tests.unit.statemachine.story import BEGIN, Story, units

PUBLIC = (
    "order_id", "state", "sequence", "payment", "amounts", "lines", "shipments", "refunds", "returns", "documents",
    "digital_river", "deadlines", "parked", "attention", "definition", "held", "requested", "placed", "problem",
)  # fmt: skip


SNAPSHOTS = Path(__file__).parent / "snapshots"


def document(story: Story) -> dict[str, Any]:
    """The order's snapshot as anybody reads it."""
    assert story.order is not None
    made: dict[str, Any] = msgspec.json.decode(encode_snapshot(story.order))
    return made


def test_the_public_keys_are_there_from_the_first_snapshot_on() -> None:
    """Empty or not, a reader needs no special case."""
    story = Story()
    assert isinstance(story.tell("order.placed", terms_accepted=True), Parked)
    made = document(story)
    assert [name for name in PUBLIC if name not in made] == []
    assert made["amounts"]["currency"] is None
    assert made["parked"] == [{"type": "order.placed", "since": "2031-03-04T10:00:01Z"}]


def test_the_public_part_speaks_as_the_contract_does() -> None:
    """Decimal strings, units per line, shipments with their captures."""
    made = document(Story().to_complete())
    assert made["amounts"] == {
        "currency": "USD", "total": "22.00", "tax": "2.00", "captured": "22.00", "cancelled": "0.00", "refunded": "0.00",
        "charged_back": "0.00",
    }  # fmt: skip
    assert made["lines"] == [
        {
            "line": "1",
            "sku_id": "sku-1",
            "ordered": 2,
            "shipped": 2,
            "cancelled": 0,
            "returned": 0,
            "amount": "20.00",
            "tax": "2.00",
        }
    ]
    assert made["shipments"][0]["capture"] == "complete"
    assert made["definition"] == DEFINITION


def test_a_parked_record_comes_back_byte_for_byte() -> None:
    """A dead letter must repeat it: value, headers, coordinates."""
    story = Story()
    event = story.event("order.placed", {"terms_accepted": True})
    assert event.record is not None
    given = msgspec.structs.replace(
        event.record, value=b' {"specversion" : "1.0"} \xc3\xa9', headers=(("trace", b"\x00\xff"), ("trace", b""))
    )
    story.take(msgspec.structs.replace(event, record=given))
    assert story.order is not None
    assert decode_snapshot(encode_snapshot(story.order)).parked[0].record == given


def test_refunds_and_returns_survive() -> None:
    """Their money, too, is text outside and minor units inside."""
    story = Story().to_complete()
    assert story.order is not None
    order = msgspec.structs.replace(
        story.order,
        refunds=(Refund("r-1", "pending", 1260), Refund("r-2", "requested")),
        returns=(Return("t-1", "requested"),),
    )
    assert b'"amount":"12.60"' in encode_snapshot(order)
    assert decode_snapshot(encode_snapshot(order)) == order


def test_a_newer_snapshot_stops_the_worker() -> None:
    """A rollback must not write over what a newer version knows."""
    newer = msgspec.structs.replace(new_order(OrderId("A-1"), BEGIN), definition=DEFINITION + 1)
    with pytest.raises(ConfigError, match="run the newer version"):
        decode_snapshot(encode_snapshot(newer))
    unreadable = msgspec.json.encode({"definition": DEFINITION + 1, "lines": "of another shape"})
    with pytest.raises(ConfigError, match="run the newer version"):
        decode_snapshot(unreadable)


def test_every_older_definition_has_its_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each version has one function to the next; without it the worker says so."""
    assert list(upgrades.UPGRADES) == list(range(1, DEFINITION))
    old = document(Story().to_complete()) | {"definition": DEFINITION - 1}
    monkeypatch.delitem(upgrades.UPGRADES, DEFINITION - 1)
    with pytest.raises(ConfigError, match="no upgrade"):
        decode_snapshot(msgspec.json.encode(old))


@pytest.mark.parametrize("name", ["awaited", "shipping", "complete", "in-dispute"])
def test_a_recorded_snapshot_of_definition_1_is_read_as_what_it_was(name: str) -> None:
    """Written by the code of that time: nothing public changes but the definition, and the order goes on."""
    recorded = (SNAPSHOTS / f"definition-1-{name}.json").read_bytes()
    order = decode_snapshot(recorded)
    now, then = without_prices(msgspec.json.decode(encode_snapshot(order))), msgspec.json.decode(recorded)
    assert (then.pop("definition"), now.pop("definition")) == (1, DEFINITION)
    internal = then.pop("internal")
    if name == "in-dispute":
        del internal["remote_state"]
    assert now.pop("held") is None  # since definition 4
    if "items" in internal:  # a line has its part of the order's discount since definition 3
        internal["items"] = [[*item, 0] for item in internal["items"]]
    looked_at = now["internal"].pop("look", None)  # since definition 5
    assert (looked_at is not None) == (name == "shipping")
    assert now.pop("internal") == internal
    assert now == then
    assert decode_snapshot(encode_snapshot(order)) == order


def test_an_order_of_definition_1_in_dispute_is_followed_from_the_next_report() -> None:
    """Its dispute was only noted; what Digital River says next is heard again."""
    story = Story()
    story.order = decode_snapshot((SNAPSHOTS / "definition-1-in-dispute.json").read_bytes())
    story.now = story.order.updated
    assert story.order.remote_state is None
    dr_order_id = story.dr_order_id
    remote = RemoteOrder(dr_order_id, "dispute", "USD", 2200, checkout_id=story.order.digital_river.checkout_id)
    story.fact(Fact(type="order.dispute", dr_order_id=dr_order_id, order=remote))
    assert story.state == "disputed"


@pytest.mark.parametrize("name", ["awaited", "shipping"])
def test_a_recorded_snapshot_of_definition_2_is_read_as_what_it_was(name: str) -> None:
    """Written by the code of that time: nothing changes but the definition, and that a line has its part of the discount."""
    recorded = (SNAPSHOTS / f"definition-2-{name}.json").read_bytes()
    order = decode_snapshot(recorded)
    now, then = without_prices(msgspec.json.decode(encode_snapshot(order))), msgspec.json.decode(recorded)
    assert (then.pop("definition"), now.pop("definition")) == (2, DEFINITION)
    assert now.pop("held") is None  # since definition 4
    for item in then["internal"].get("items", ()):
        item.append(0)  # a line has its part of the order's discount since definition 3
    assert ("look" in now["internal"]) == (name == "shipping")  # since definition 5
    now["internal"].pop("look", None)
    assert now == then


def test_a_price_of_definition_2_that_was_nothing_may_not_have_been_reported() -> None:
    """It is not taken for a line that costs nothing: a refund of it is Digital River's to refuse."""
    made = msgspec.json.decode((SNAPSHOTS / "definition-2-shipping.json").read_bytes())
    made["internal"]["items"][0][2:] = [0, 0]
    assert [item.amount for item in decode_snapshot(msgspec.json.encode(made)).items] == [None]


def test_what_waited_for_ever_in_an_order_of_definition_2_gets_a_deadline() -> None:
    """An order at rest may never be heard of again: what it keeps must not depend on that."""
    story = Story()
    story.order = decode_snapshot((SNAPSHOTS / "definition-2-at-rest.json").read_bytes())
    (entry,) = story.order.parked
    assert [(one.name, one.due) for one in story.order.deadlines] == [("expire", entry.arrived + timedelta(days=7))]
    assert decode_snapshot(encode_snapshot(story.order)) == story.order
    story.fire("expire")
    assert [(one.reason, one.cause.type) for one in story.set_aside] == [("refused", "fulfillment.return_received")]
    assert len(story.attention) == 1


def without_prices(made: dict[str, Any]) -> dict[str, Any]:
    """A snapshot without what definition 6 has added."""
    for name in ("requested", "placed", "problem"):
        assert made.pop(name) is None
    for line in made["lines"]:
        line.pop("amount", None), line.pop("tax", None)
    for shipment in made["shipments"]:
        shipment.pop("captured", None)
    return made


def broken(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A snapshot of today in which somebody changed something."""
    story = Story().to_placed()
    story.ship()
    story.tell("order.return_requested", return_id="t-1", items=units(l1=1))
    assert story.order is not None
    order = msgspec.structs.replace(
        story.order, refunds=(Refund("r-1", "pending", 1260),), returns=(Return("t-1", "requested"),)
    )
    made: dict[str, Any] = msgspec.json.decode(encode_snapshot(order))
    assert decode_snapshot(msgspec.json.encode(made)) == order
    change(made)
    return msgspec.json.encode(made)


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made["internal"].pop("refunds"),
        lambda made: made["internal"].pop("returns"),
        lambda made: made["internal"].pop("parked"),
        lambda made: made["parked"].clear(),
        lambda made: made["refunds"].clear() or made["returns"].append(made["returns"][0]),
        lambda made: made["refunds"][0].update(amount="12.6"),
        lambda made: made["refunds"][0].update(amount="-1.00"),
        lambda made: made["amounts"].update(total="much"),
        lambda made: made["amounts"].update(total="1"),
        lambda made: made["amounts"].update(captured="-1.00"),
        lambda made: made["amounts"].update(currency="XXX"),
        lambda made: made["amounts"].update(currency=None),
        lambda made: made["lines"].clear(),
        lambda made: made.update(state="lost"),
        lambda made: made.update(internal=[]),
        lambda made: made.update(definition=2, deadlines=None),
        lambda made: made.update(definition=2, state="complete", parked=[{"since": "soon"}]),
        lambda made: made.update(definition=2, state="complete", parked=[{}]),
        lambda made: made.update(definition=1, internal=[]),
    ],
)
def test_a_snapshot_whose_parts_do_not_fit_together_is_a_fault(change: Callable[[dict[str, Any]], object]) -> None:
    """Whatever is wrong with it, it is our error with its disposition, never one of a library's."""
    data = broken(change)
    with pytest.raises(InvariantBroken) as raised:
        decode_snapshot(data)
    assert raised.value.disposition is Disposition.DEAD_LETTER


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"not JSON", b'{"definition": 1}', b'{"definition": 3}', b'{"definition": "one"}']
)
def test_what_is_not_a_snapshot_is_a_fault(data: bytes) -> None:
    """Not a ConfigError: no version would read it."""
    with pytest.raises(InvariantBroken):
        decode_snapshot(data)


@pytest.mark.parametrize("name", ["awaited", "shipping"])
def test_a_recorded_snapshot_of_definition_3_is_read_as_what_it_was(name: str) -> None:
    """Written by the code of that time, which held no order."""
    recorded = (SNAPSHOTS / f"definition-3-{name}.json").read_bytes()
    order = decode_snapshot(recorded)
    now, then = without_prices(msgspec.json.decode(encode_snapshot(order))), msgspec.json.decode(recorded)
    assert (then.pop("definition"), now.pop("definition")) == (3, DEFINITION)
    assert now.pop("held") is None
    now["internal"].pop("look", None)  # since definition 5
    assert now == then
    assert (order.held, order.queue, order.failed) == (None, (), None)


@pytest.mark.parametrize(("name", "pending"), [("awaited", None), ("shipping", 1)])
def test_a_recorded_snapshot_of_definition_4_is_looked_at_when_it_waits(name: str, pending: int | None) -> None:
    """Written by the code of that time, which never asked Digital River by itself; nothing public changes."""
    recorded = (SNAPSHOTS / f"definition-4-{name}.json").read_bytes()
    order = decode_snapshot(recorded)
    now, then = without_prices(msgspec.json.decode(encode_snapshot(order))), msgspec.json.decode(recorded)
    assert (then.pop("definition"), now.pop("definition")) == (4, DEFINITION)
    now["internal"].pop("look", None)
    assert now == then
    if pending is None:
        assert order.look is None
    else:
        assert order.look == Look(order.updated, order.updated + Policy().reconcile_first_wait, pending)


@pytest.mark.parametrize(
    ("changes", "wait"),
    [
        ({"state": "submitted"}, Policy().reconcile_longest_wait),
        ({"state": "disputed"}, Policy().reconcile_longest_wait),
        ({"state": "in_review"}, Policy().reconcile_first_wait),
        ({"returns": [{"return_id": "t-1", "state": "accepted"}]}, Policy().reconcile_first_wait),
        ({"refunds": [{"refund_id": "r-1", "state": "pending", "amount": "1.00"}]}, Policy().reconcile_first_wait),
        ({}, None),
    ],
)
def test_what_an_older_order_waits_for_decides_when_it_is_looked_at(
    changes: dict[str, Any], wait: timedelta | None
) -> None:
    """At once when a report was due, in a day when the order is only open, never when it is over."""
    old = document(Story().to_complete()) | {"definition": 4}
    look = upgrades.UPGRADES[4](old | changes)["internal"].get("look")
    assert (look and look.due - look.since) == wait
