"""How a worker process sets Python's garbage collector. For processes that do nothing else: the setting is the process's."""

from __future__ import annotations

import gc
from typing import Final

#: Container objects made between two collections of the youngest generation. A batch of 1,000 records makes tens of thousands
#: that are all gone at its end; Python's 700 would look at them again and again while they live.
YOUNG_OBJECTS_MAX: Final = 50_000


def settle_collector() -> None:
    """Leave what was loaded at the start, which lives for ever, out of every collection, and collect less often.

    ``python -m benchmarks.decision`` shows what it saves. Snapshots are bytes, which the collector never looks at.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX, 20, 100)
