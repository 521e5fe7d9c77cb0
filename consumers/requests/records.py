"""What waits for Digital River: an object, its records, and what may become of them."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from statemachine.errors import DigitalRiverError, Disposition, OrderflowError

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """How long requests are retried and waited for; times in seconds."""

    #: An object is set aside when its requests have failed for so long while others were answered.
    age_seconds_max: float = 3600.0
    #: The provider's time-out: no request takes longer.
    http_timeout_seconds: float = 30.0
    #: How long after that Digital River may still act on it.
    settle_seconds: float = 30.0
    backoff_seconds: float = 0.25
    backoff_seconds_max: float = 60.0

    @property
    def over_seconds(self) -> float:
        """How long after it was written a request without an answer may take effect."""
        return self.http_timeout_seconds + self.settle_seconds


class RequestHeld(OrderflowError):
    """An operator paused the partition before a request was written: nothing was sent. RETRY when it is resumed."""

    disposition = Disposition.RETRY


@dataclass(frozen=True, slots=True)
class Answered(Generic[Answer]):
    """Digital River answered."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class GaveUp:
    """No answer about this object within its age limit, while others were answered."""

    seconds: float
    error: DigitalRiverError


@dataclass(slots=True)
class Waiting(Generic[Item]):
    """One record that waits."""

    offset: int
    item: Item


@dataclass(slots=True)
class ObjectQueue(Generic[Item]):
    """One object's records, in order; the request is about the first."""

    key: str
    records: deque[Waiting[Item]] = field(default_factory=deque)
    #: The request in flight.
    task: asyncio.Task[None] | None = None
    #: Answered or given up, and not taken yet.
    finished: bool = False
    #: No request before this moment.
    not_before: float = float("-inf")
    failures: int = 0
    #: Seconds of failing while others were answered.
    alone: float = 0.0
    failed_at: float = 0.0
    #: How long it pauses after its last failure.
    paused: float = 0.0
    #: How many requests of the process had been answered at the last failure.
    answers: int = 0
    error: DigitalRiverError | None = None
    #: The log has a line about its failing.
    reported: bool = False


def had_no_effect(error: DigitalRiverError) -> bool:
    """Whether the request is known to have had no effect: it was throttled, denied or not sent."""
    return not error.may_have_effect
