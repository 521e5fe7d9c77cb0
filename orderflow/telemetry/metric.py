"""What a metric is: its name, its type, its meaning with the unit, and its labels with what bounds their values."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from consumers.measures import Histogram


class Kind(StrEnum):
    """The types of Prometheus that are used."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Process(StrEnum):
    """Whose metric it is."""

    WORKER = "worker"
    RELAY = "relay"
    SIMULATOR = "simulator"


EVERY: Final = tuple(Process)


class Several(StrEnum):
    """What a gauge says of a worker of several processes, from what each of them says."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


class Label(NamedTuple):
    """A label; ``values`` says what it takes, and so how many series it can make."""

    name: str
    values: str


class Metric(NamedTuple):
    """One metric, as it is registered and documented. A counter's name ends with ``_total``."""

    name: str
    kind: Kind
    #: What it says, with its unit.
    help: str
    processes: tuple[Process, ...] = (Process.WORKER,)
    labels: tuple[Label, ...] = ()
    #: prometheus-client measures it by itself.
    of_library: bool = False
    #: How the gauges of the processes of one worker make one; counters and histograms are summed.
    several: Several = Several.SUM

    def sample(self, value: float | Histogram, *labels: str) -> Sample:
        """A value under these label values, in the order of ``labels``."""
        assert len(labels) == len(self.labels), self.name
        return Sample(self, labels, value)


class Sample(NamedTuple):
    """One value of a metric."""

    metric: Metric
    labels: tuple[str, ...]
    value: float | Histogram
