"""The fuse of dead-lettering: a bad deploy must stop a partition, not turn its topic into dead letters."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from statemachine.errors import FuseBlown

WINDOW = timedelta(seconds=60)
RECORDS_MIN = 500


class Fuse:
    """Blows when more than half of at least ``records_min`` records within ``window`` were dead letters; 0 never blows."""

    __slots__ = ("_batches", "_dead", "_records", "_records_min", "_window")

    def __init__(self, *, records_min: int = RECORDS_MIN, window: timedelta = WINDOW) -> None:
        self._records_min = records_min
        self._window = window
        self._batches: deque[tuple[datetime, int, int]] = deque()
        self._records = 0
        self._dead = 0

    def count(self, records: int, dead: int, *, now: datetime) -> None:
        """Count a batch before it is committed.

        Raises:
            FuseBlown: The batch must not be committed.
        """
        self._batches.append((now, records, dead))
        self._records += records
        self._dead += dead
        while self._batches[0][0] < now - self._window:
            _, old_records, old_dead = self._batches.popleft()
            self._records -= old_records
            self._dead -= old_dead
        if self._records_min and self._records >= self._records_min and self._dead * 2 > self._records:
            raise FuseBlown(
                f"{self._dead} of the last {self._records} records became dead letters, so the partition stopped before it wrote "
                "more of them; find out what changed, then restart the worker (with ORDERFLOW_FUSE_RECORDS=0 it writes them "
                "nevertheless)"
            )
