"""Errors say what becomes of a record."""

from __future__ import annotations

from statemachine.errors import Disposition, RecordTooLarge


def test_a_record_that_its_topic_does_not_take_is_set_aside_as_too_large() -> None:
    """By the word of its dead letter, in a line for a person."""
    error = RecordTooLarge("the topic takes 1,000 bytes")
    assert (error.reason, error.disposition) == ("too_large", Disposition.DEAD_LETTER)
    assert str(error) == error.detail == "the topic takes 1,000 bytes"
