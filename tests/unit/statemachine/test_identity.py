"""Names and marks."""

from __future__ import annotations

import uuid

from statemachine.messages.identity import content_of, holds, mark_of, name_id, without, without_fact


def test_a_name_is_the_uuid5_of_its_parts() -> None:
    """Ids are UUIDv5, so that anybody can make them again."""
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, "urn:orderflow:names")
    assert name_id("A-1", "/shop", "e-1") == str(uuid.uuid5(namespace, "A-1\n/shop\ne-1"))


def test_a_mark_counts_only_where_it_stands() -> None:
    """Bytes that cross two marks are not a mark."""
    first, second = b"abcdefgh", b"ijklmnop"
    marks = first + second
    assert holds(marks, first)
    assert holds(marks, second)
    assert not holds(marks, b"efghijkl")
    assert holds(b"xabcdefg" + b"habcdefg" + first, first)


def test_a_mark_can_be_forgotten() -> None:
    """A refused event is not remembered; the marks around it are."""
    first, second = mark_of("/shop", "e-1"), mark_of("/shop", "e-2")
    assert without(first + second, first) == second
    assert without(second, first) == second


def test_a_fact_has_its_content_until_it_is_forgotten() -> None:
    """Facts are pairs of marks."""
    key, content, other = mark_of("k"), mark_of("c"), mark_of("o")
    facts = key + content + other + key
    assert content_of(facts, key) == content
    assert content_of(facts, content) is None
    assert without_fact(facts, key) == other + key
    assert without_fact(facts, content) == facts
