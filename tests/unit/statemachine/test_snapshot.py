"""Snapshots: what is public, what comes back, and versions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from statemachine import snapshot
from statemachine.decision import Parked
from statemachine.errors import ConfigError, InvariantBroken
from statemachine.order import DEFINITION, Refund, Return, new_order
from statemachine.snapshot import decode_snapshot, encode_snapshot
from tests.unit.statemachine.story import BEGIN, Story

PUBLIC = (
    "order_id", "state", "sequence", "payment", "amounts", "lines", "shipments", "refunds", "returns", "documents",
    "digital_river", "deadlines", "parked", "attention", "definition",
)  # fmt: skip


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
        {"line": "1", "sku_id": "sku-1", "ordered": 2, "shipped": 2, "cancelled": 0, "returned": 0}
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
    newer = msgspec.structs.replace(new_order("A-1", BEGIN), definition=DEFINITION + 1)
    with pytest.raises(ConfigError, match="run the newer version"):
        decode_snapshot(encode_snapshot(newer))
    unreadable = msgspec.json.encode({"definition": DEFINITION + 1, "lines": "of another shape"})
    with pytest.raises(ConfigError, match="run the newer version"):
        decode_snapshot(unreadable)


def test_an_older_snapshot_is_upgraded_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each version has one function to the next; without it the worker says so."""
    story = Story().to_complete()
    old = document(story) | {"definition": DEFINITION - 1, "state": "done"}
    with pytest.raises(ConfigError, match="no upgrade"):
        decode_snapshot(msgspec.json.encode(old))

    def renamed(made: dict[str, Any]) -> dict[str, Any]:
        return made | {"definition": DEFINITION, "state": "complete"}

    monkeypatch.setitem(snapshot.UPGRADES, DEFINITION - 1, renamed)
    assert decode_snapshot(msgspec.json.encode(old)) == story.order


@pytest.mark.parametrize("data", [b"", b"{}", b"not JSON", b'{"definition": 1}', b'{"definition": "one"}'])
def test_what_is_no_snapshot_is_a_fault(data: bytes) -> None:
    """Not a ConfigError: no version would read it."""
    with pytest.raises(InvariantBroken):
        decode_snapshot(data)
