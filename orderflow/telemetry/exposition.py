"""The metrics of one process as text for Prometheus. They are collected when somebody asks, so that they cost nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import assert_never

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from consumers.measures import Histogram
from orderflow.telemetry.merging import Packed, packed, samples_of_process
from orderflow.telemetry.metric import Kind, Metric, Process, Sample
from orderflow.telemetry.metrics import METRICS

#: Gives the samples of now.
Collect = Callable[[], Iterable[Sample]]


class Exposition:
    """Every metric of one kind of process, registered from the typed list."""

    def __init__(self, process: Process, collect: Collect, *, merged: bool = False) -> None:
        """``collect`` may leave metrics out, and must give no other than those of ``process``.

        ``merged``: it also gives what prometheus-client measures of a process, of several of them together.
        """
        self._collect = collect
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Samples(process, collect, of_library=merged))
        if not merged:
            ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """The text exposition format, of the numbers of now."""
        return generate_latest(self._registry)

    def packed(self) -> list[Packed]:
        """The numbers of now, to be merged with those of other processes."""
        return packed((*self._collect(), *samples_of_process()))


class _Samples(Collector):
    """What prometheus-client asks for the numbers."""

    def __init__(self, process: Process, collect: Collect, *, of_library: bool) -> None:
        self._metrics = [one for one in METRICS if process in one.processes and (of_library or not one.of_library)]
        self._collect = collect

    def describe(self) -> Iterator[Family]:
        """All metrics without a value: a name that is taken is refused when they are registered."""
        return iter([_family(metric) for metric in self._metrics])

    def collect(self) -> Iterator[Family]:
        """All metrics, those without a sample too: what is not there yet is in the help already."""
        families = {metric.name: _family(metric) for metric in self._metrics}
        for sample in self._collect():
            _add(families[sample.metric.name], sample)
        return iter(families.values())


def _family(metric: Metric) -> Family:
    labels = [label.name for label in metric.labels]
    match metric.kind:
        case Kind.COUNTER:
            return CounterMetricFamily(metric.name, metric.help, labels=labels)
        case Kind.GAUGE:
            return GaugeMetricFamily(metric.name, metric.help, labels=labels)
        case Kind.HISTOGRAM:
            return HistogramMetricFamily(metric.name, metric.help, labels=labels)
        case _:
            assert_never(metric.kind)


def _add(family: Family, sample: Sample) -> None:
    if isinstance(sample.value, Histogram):
        assert isinstance(family, HistogramMetricFamily)
        bounds = (*map(floatToGoString, sample.value.bounds), "+Inf")
        buckets = list(zip(bounds, accumulate(sample.value.counts), strict=True))
        family.add_metric(sample.labels, buckets, sample.value.sum)
    else:
        assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
        family.add_metric(sample.labels, sample.value)
