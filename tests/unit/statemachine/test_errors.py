"""Errors say what becomes of a record, and whether a call may have taken effect."""

from __future__ import annotations

import pytest

from statemachine.errors import (
    Denied,
    DigitalRiverError,
    Disposition,
    OffContract,
    RecordTooLarge,
    Throttled,
    TransportFailure,
    Unavailable,
    Unroutable,
)
from statemachine.order.policy import Policy


def test_a_record_that_its_topic_does_not_take_is_set_aside_as_too_large() -> None:
    """By the word of its dead letter, in a line for a person."""
    error = RecordTooLarge("the topic takes 1,000 bytes")
    assert (error.reason, error.disposition) == ("too_large", Disposition.DEAD_LETTER)
    assert str(error) == error.detail == "the topic takes 1,000 bytes"


def test_an_object_without_an_order_is_set_aside_under_its_code() -> None:
    """A sender's program decides by the code."""
    error = Unroutable("no order has it")
    assert (error.reason, error.code, error.disposition) == (
        "unroutable",
        "digitalriver.order_not_found",
        Disposition.DEAD_LETTER,
    )


@pytest.mark.parametrize(
    ("error", "may_have_effect", "disposition"),
    [
        (Throttled("slow down", retry_after_seconds=2.5), False, Disposition.RETRY),
        (TransportFailure("no connection", sent=False), False, Disposition.RETRY),
        (TransportFailure("no answer", sent=True), True, Disposition.RETRY),
        (Unavailable("away", status=503), True, Disposition.RETRY),
        (Denied("no right", status=403), False, Disposition.HOLD),
    ],
)
def test_only_a_call_that_cannot_have_taken_effect_may_be_made_again_unseen(
    error: DigitalRiverError, may_have_effect: bool, disposition: Disposition
) -> None:
    """The others are looked up first."""
    assert (error.may_have_effect, error.disposition) == (may_have_effect, disposition)


def test_a_right_that_is_missing_is_told_from_a_key_that_is_wrong() -> None:
    """403 concerns one call, 401 all."""
    errors = Denied("no right", status=403), Denied("no key", status=401), OffContract("odd", status=403)
    assert [error.is_forbidden for error in errors] == [True, False, False]


def test_a_command_is_asked_again_when_late_effects_of_its_call_are_over() -> None:
    """The time-out of the request, and the wait for what it may still do; both are in what a policy is told apart by."""
    policy = Policy()
    assert policy.ask_again_wait == policy.http_timeout + policy.late_effect_wait
    assert policy.digest() == Policy().digest() != Policy(attempts_max=6).digest()
