"""Every documented type of event is read, or skipped by name: the two lists of the reader and the samples are the same."""

from __future__ import annotations

import msgspec
import pytest

from orderflow.digitalriver.webhook import KNOWN_TYPES, SKIPPED_FAMILIES, is_skipped_by_name, key_of, read_webhook
from tests.unit.digitalriver.event_types import READ, SKIPPED, Json


def _event(kind: str, body: Json) -> bytes:
    event = {"id": "e-1", "type": kind, "data": {"object": body}, "createdTime": "2031-03-04T10:11:12.104512Z"}
    return msgspec.json.encode({**event, "liveMode": False, "digitalriverVersion": "2021-12-13"})


@pytest.mark.parametrize("kind", READ)
def test_a_type_about_an_order_is_read(kind: str) -> None:
    """Law: its sample gives a fact that names the order at Digital River."""
    read = read_webhook(_event(kind, READ[kind]))
    assert read is not None
    event_id, fact = read
    assert (event_id, fact.dr_order_id, fact.created is not None) == ("e-1", "9001", True)
    assert key_of(_event(kind, READ[kind])) == "9001"


@pytest.mark.parametrize("kind", SKIPPED)
def test_a_type_about_something_else_is_skipped_by_name(kind: str) -> None:
    """Law: it is known not to concern an order, whatever its object holds."""
    assert read_webhook(_event(kind, SKIPPED[kind])) is None
    assert is_skipped_by_name(kind)


def test_the_reader_knows_the_types_that_have_samples() -> None:
    """Law: no type is read without a sample, no family is skipped without one, and none is in both lists."""
    assert set(READ) == set(KNOWN_TYPES)
    assert {family for family in SKIPPED_FAMILIES if not any(kind.startswith(family) for kind in SKIPPED)} == set()
    assert not any(is_skipped_by_name(kind) for kind in READ)


def test_a_type_that_nobody_knows_is_skipped_too() -> None:
    """Law: types may be added at any time (documented); one that looks like an order's is not taken for one."""
    for kind in ("order.teleported", "parcel.created", ""):
        assert read_webhook(_event(kind, {"id": "9001"})) is None
        assert not is_skipped_by_name(kind)
