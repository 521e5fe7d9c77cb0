"""The SKU's small machine: one table, and events that are remembered."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from statemachine.messages.facts import Problem
from statemachine.sku import REMEMBERED_MAX, TABLE, Sku, SkuEvent, decode_sku, driven, encode_sku, is_repeated

NOW = datetime(2031, 3, 4, 10, 0, tzinfo=UTC)


def after(sku: Sku | None, kind: SkuEvent, event_id: str, problem: Problem | None = None) -> Sku:
    """The SKU after an event, read back from its snapshot."""
    made = driven(sku, "kb-01", kind, source="/shop", event_id=event_id, problem=problem, now=NOW)
    return decode_sku(encode_sku(made))


@pytest.mark.parametrize("kind", list(TABLE))
def test_every_event_has_its_end_for_each_answer(kind: SkuEvent) -> None:
    """Taken or refused."""
    assert after(None, kind, "e-1").state == TABLE[kind]["taken"]
    assert after(None, kind, "e-1", Problem("no")).state == "refused"


def test_an_old_event_that_comes_again_is_known() -> None:
    """Also after a newer one; a refused one may be sent again until then."""
    sku = after(None, "sku.upserted", "e-1")
    refused = after(sku, "sku.upserted", "e-2", Problem("no"))
    assert is_repeated(refused, "/shop", "e-1")
    assert not is_repeated(refused, "/shop", "e-2")
    again = after(refused, "sku.upserted", "e-2", Problem("no"))
    assert not is_repeated(again, "/shop", "e-2")
    newer = after(again, "sku.removed", "e-3")
    assert is_repeated(newer, "/shop", "e-2")
    assert (newer.state, newer.problem) == ("removed", None)


def test_what_is_remembered_has_a_bound() -> None:
    """The oldest events are forgotten."""
    sku = None
    for number in range(REMEMBERED_MAX + 1):
        sku = driven(sku, "kb-01", "sku.upserted", source="/shop", event_id=str(number), problem=None, now=NOW)
    assert sku is not None
    assert not is_repeated(sku, "/shop", "0")
    assert is_repeated(sku, "/shop", "1")
    assert len(encode_sku(sku)) < 24 * 1024


def test_marks_that_cannot_be_read_are_none() -> None:
    """A snapshot that somebody edited loses its memory, not the lane."""
    document = msgspec.json.decode(encode_sku(after(None, "sku.upserted", "e-1")))
    document["internal"]["seen"] = "not base64!"
    edited = decode_sku(msgspec.json.encode(document))
    assert not is_repeated(edited, "/shop", "e-1")
    assert not is_repeated(None, "/shop", "e-1")
