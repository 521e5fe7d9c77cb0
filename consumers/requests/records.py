"""What waits for Digital River: an object, its records, and what may become of them."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from statemachine.errors import DigitalRiverError

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class AskingOptions:
    """How long is waited; times in seconds."""

    #: An object that alone fails for so long is set aside.
    age_seconds_max: float = 3600.0
    #: As the provider has it: no request lives longer.
    http_timeout_seconds: float = 30.0
    #: How long after that Digital River may still act on it.
    settle_seconds: float = 30.0
    backoff_seconds: float = 0.25
    backoff_seconds_max: float = 60.0

    @property
    def over_seconds(self) -> float:
        """After so long a request that brought no answer is over."""
        return self.http_timeout_seconds + self.settle_seconds


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
class AskedObject(Generic[Item]):
    """One object's records, the first of which is asked about."""

    key: str
    records: deque[Waiting[Item]] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None
    #: Finished and not taken yet.
    finished: bool = False
    not_before: float = float("-inf")
    failures: int = 0
    #: Seconds of failing while others were answered.
    alone: float = 0.0
    failed_at: float = 0.0
    #: How long it pauses after its last failure.
    paused: float = 0.0
    answers: int = 0
    error: DigitalRiverError | None = None
    told: bool = False


def had_no_effect(error: DigitalRiverError) -> bool:
    """Whether the request did nothing: it was throttled, denied or not sent."""
    return not error.may_have_effect
