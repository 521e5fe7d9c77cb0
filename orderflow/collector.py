"""Garbage collector settings of a worker process. They hold for the whole process."""

from __future__ import annotations

import gc
from typing import Final

#: Container objects made between two collections of the youngest generation. A batch of 1,000 records makes tens of thousands
#: that are all gone at its end; Python's default of 700 would scan them repeatedly.
YOUNG_OBJECTS_MAX: Final = 50_000


def settle_collector() -> None:
    """Exclude objects loaded at the start, which are never freed, from collections, and collect less often.

    ``python -m benchmarks.decision`` shows what it saves. Snapshots are bytes, which the collector never looks at.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX, 20, 100)
