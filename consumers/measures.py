"""What a lane counts of its own work, for whoever shows it. Plain numbers in memory: nothing here is written or sent.

Rules of the file:
- One ``LaneMeasures`` per lane and process. It lives as long as the process, so that its numbers only grow.
- A number is a sum over the lane or has a key of a small, known set: never the id of an order, and no text from outside.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

#: Upper bounds of histograms, in seconds: of transactions, of calls to Digital River, and of the time in a state.
TRANSACTION_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CALL_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
STATE_SECONDS: Final = (1.0, 10.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0)
#: Upper bounds of the records that one transaction writes.
TRANSACTION_RECORDS: Final = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)

#: Types of events with their verdict that are counted by themselves; what is new after so many is counted as ``OTHER``.
TYPES_MAX: Final = 256
OTHER: Final = "other"


class Histogram:
    """Values by upper bound, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        #: Values in each bucket, not cumulated; the last one has what is above all bounds.
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)


class RateView(Protocol):
    """What is shown of a rate limit."""

    #: Seconds that requests were told to wait, and answers 429.
    waited_seconds: float
    throttles: int


class BreakerView(Protocol):
    """What is shown of a breaker."""

    #: How often it opened.
    openings: int

    @property
    def closed(self) -> bool:
        """Calls go through."""
        ...


class LaneMeasures:
    """What one lane of a process has done since the process started."""

    def __init__(self) -> None:
        #: What became of the events of orders, by type and verdict.
        self.events: Counter[tuple[str, str]] = Counter()
        #: Moves of orders, by the states before and after the decision.
        self.transitions: Counter[tuple[str, str]] = Counter()
        #: How long orders were in the states that they left, in seconds.
        self.dwelt: dict[str, Histogram] = {}
        #: What the lane's logic counts, by its words.
        self.words: Counter[str] = Counter()
        self.transaction_seconds = Histogram(TRANSACTION_SECONDS)
        self.transaction_records = Histogram(TRANSACTION_RECORDS)
        #: Outcomes of commands, by command and result, and how long each took from its record's turn, in seconds.
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.outcome_seconds: dict[str, Histogram] = {}
        #: Requests to Digital River, by purpose and result, and how long each took, in seconds.
        self.requests: Counter[tuple[str, str]] = Counter()
        self.request_seconds: dict[str, Histogram] = {}
        #: What holds the lane's requests back; None in a lane that makes none.
        self.rate: RateView | None = None
        self.breaker: BreakerView | None = None

    def count_events(self, events: Counter[tuple[str, str]]) -> None:
        """Add events; of types that are new when there are too many already, only how many there were."""
        known = self.events
        for key, count in events.items():
            known[key if key in known or len(known) < TYPES_MAX else (OTHER, key[1])] += count

    def dwelt_in(self, state: str, seconds: float) -> None:
        """An order has left ``state`` after so long."""
        _of(self.dwelt, state, STATE_SECONDS).observe(seconds)

    def transacted(self, seconds: float, records: int) -> None:
        """A transaction of so many records has committed, ``seconds`` after it began."""
        self.transaction_seconds.observe(seconds)
        self.transaction_records.observe(records)

    def ended(self, command: str, result: str, seconds: float) -> None:
        """A command has an outcome."""
        self.outcomes[command, result] += 1
        _of(self.outcome_seconds, command, CALL_SECONDS).observe(seconds)

    def requested(self, purpose: str, result: str, seconds: float) -> None:
        """A request to Digital River ended."""
        self.requests[purpose, result] += 1
        _of(self.request_seconds, purpose, CALL_SECONDS).observe(seconds)


class CommittedWords:
    """Adds what a logic has counted to the measures of its lane, each time that a transaction has committed."""

    def __init__(self, counts: Counter[str], measures: LaneMeasures) -> None:
        self._counts = counts
        self._measures = measures
        self._added: Counter[str] = Counter()

    def committed(self) -> None:
        """Add what was counted since the last time."""
        self._measures.words.update(self._counts - self._added)
        self._added = Counter(self._counts)


def _of(histograms: dict[str, Histogram], key: str, bounds: Sequence[float]) -> Histogram:
    found = histograms.get(key)
    if found is None:
        found = histograms[key] = Histogram(bounds)
    return found
