"""What a lane is made with: its topics, and how it works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class LaneTopics:
    """The topics of a lane, by their full names."""

    #: Full name by contract name.
    inputs: Mapping[str, str]
    #: None for a lane that keeps nothing: its overlay stays empty.
    changelog: str | None
    #: None for a lane without a position record: then every init is followed by a restore.
    positions: str | None
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """How a lane works; times in seconds."""

    batch_records_max: int = 1000
    #: Least time between the starts of two transactions of a partition: 20 a second at most.
    batch_interval_seconds: float = 0.05
    #: A partition that holds this many unread records asks for no more.
    queue_records_max: int = 4000
    heartbeat_seconds: float = 3.0
    backoff_seconds_max: float = 5.0
    #: A partition that has got nothing done for so long, because it fails, goes on trying and is a problem that a person is told.
    trouble_seconds_max: float = 60.0
    #: How long a position record may differ from the committed offsets before the partition is stopped.
    position_wait_seconds: float = 10.0
    #: For a lane that also writes at Digital River: L of ``lease.py``. None: it writes nothing.
    lease_seconds: float | None = None


def at_most(options: LaneOptions, records_max: int) -> LaneOptions:
    """``options`` with smaller batches."""
    return replace(options, batch_records_max=min(options.batch_records_max, records_max))
