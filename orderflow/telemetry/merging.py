"""Metrics of several processes as those of one: counters and histograms are summed, gauges merged as their metric says.

A process that has ended leaves its counters behind: they stay in the sum, so that no counter falls when it is started again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
from prometheus_client import ProcessCollector

from consumers.measures import Histogram
from orderflow.telemetry.metric import Kind, Metric, Sample, Several
from orderflow.telemetry.metrics import METRICS

BY_NAME: Final[Mapping[str, Metric]] = {metric.name: metric for metric in METRICS}


class PackedHistogram(msgspec.Struct, array_like=True, frozen=True):
    """A histogram, as it is sent to another process."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float


#: A sample, as it is sent to another process: the name of its metric, its labels and its value.
Packed = tuple[str, tuple[str, ...], float | PackedHistogram]
_Key = tuple[str, tuple[str, ...]]


def packed(samples: Iterable[Sample]) -> list[Packed]:
    """Samples, to be sent to another process."""
    return [(sample.metric.name, sample.labels, _packed(sample.value)) for sample in samples]


def _packed(value: float | Histogram) -> float | PackedHistogram:
    if isinstance(value, Histogram):
        return PackedHistogram(value.bounds, tuple(value.counts), value.sum)
    return float(value)


def samples_of_process() -> Iterator[Sample]:
    """What prometheus-client measures of this process; nothing where it cannot."""
    for family in ProcessCollector(registry=None).collect():
        for one in family.samples:
            if (metric := BY_NAME.get(one.name)) is not None:
                yield metric.sample(one.value)


def merged(of_processes: Iterable[Iterable[Packed]]) -> Iterator[Sample]:
    """The samples of several processes as those of one."""
    found: dict[_Key, float | PackedHistogram] = {}
    for samples in of_processes:
        for name, labels, value in samples:
            if (metric := BY_NAME.get(name)) is not None:
                key = (name, labels)
                found[key] = value if key not in found else _together(metric, found[key], value)
    for (name, labels), value in found.items():
        yield BY_NAME[name].sample(_unpacked(value), *labels)


def lasting(samples: Iterable[Packed]) -> list[Packed]:
    """Of the samples of a process that has ended those that go on to count: its counters and histograms."""
    return [one for one in samples if one[0] in BY_NAME and BY_NAME[one[0]].kind is not Kind.GAUGE]


def added(past: Sequence[Packed], last: Iterable[Packed]) -> list[Packed]:
    """What processes that have ended leave behind, with one more of them."""
    return packed(merged((past, lasting(last))))


def _together(metric: Metric, one: float | PackedHistogram, other: float | PackedHistogram) -> float | PackedHistogram:
    if isinstance(one, PackedHistogram) or isinstance(other, PackedHistogram):
        assert isinstance(one, PackedHistogram), metric.name
        assert isinstance(other, PackedHistogram), metric.name
        counts = tuple(map(sum, zip(one.counts, other.counts, strict=True)))
        return PackedHistogram(one.bounds, counts, one.sum + other.sum)
    if metric.kind is Kind.COUNTER or metric.several is Several.SUM:
        return one + other
    return max(one, other) if metric.several is Several.MAX else min(one, other)


def _unpacked(value: float | PackedHistogram) -> float | Histogram:
    if not isinstance(value, PackedHistogram):
        return value
    histogram = Histogram(value.bounds)
    histogram.counts, histogram.sum = list(value.counts), value.sum
    return histogram
