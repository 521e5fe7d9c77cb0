"""Metrics and pages of several processes are those of one worker."""

from __future__ import annotations

from typing import Any

from consumers.measures import Histogram
from orderflow.supervision.frames import Metrics, framed, message_of
from orderflow.supervision.merged_pages import merged_page
from orderflow.telemetry.exposition import Exposition
from orderflow.telemetry.merging import Packed, added, merged, packed, samples_of_process
from orderflow.telemetry.metric import Kind, Process, Several
from orderflow.telemetry.metrics import (
    BREAKER_OPEN,
    LAG_SECONDS,
    LOOP_LAG,
    METRICS,
    ORDERS,
    READY,
    RECORDS,
    TRANSACTION_SECONDS,
)


def _histogram(*values: float) -> Histogram:
    made = Histogram((0.1, 1.0))
    for value in values:
        made.observe(value)
    return made


def _sent(*samples: Any) -> list[Packed]:
    """As they arrive at the supervisor."""
    message = message_of(framed(Metrics(packed(samples)))[4:])
    assert isinstance(message, Metrics)
    return list(message.samples)


def test_counters_and_histograms_are_summed_and_gauges_merged_as_their_metric_says() -> None:
    """Law: one series for each set of labels, whatever the number of processes."""
    one = _sent(
        RECORDS.sample(3, "orders"),
        TRANSACTION_SECONDS.sample(_histogram(0.05, 5.0), "orders"),
        READY.sample(True),
        ORDERS.sample(4, "submitted"),
        LAG_SECONDS.sample(2.5, "orders", "1"),
        BREAKER_OPEN.sample(False, "commands"),
    )
    other = _sent(
        RECORDS.sample(4, "orders"),
        TRANSACTION_SECONDS.sample(_histogram(0.5), "orders"),
        READY.sample(False),
        ORDERS.sample(1, "submitted"),
        LAG_SECONDS.sample(1.5, "orders", "2"),
        BREAKER_OPEN.sample(True, "commands"),
    )
    found = {(sample.metric.name, *sample.labels): sample.value for sample in merged([one, other])}
    seconds = found.pop((TRANSACTION_SECONDS.name, "orders"))
    assert isinstance(seconds, Histogram)
    assert (seconds.counts, seconds.sum) == ([1, 1, 1], 5.55)
    assert found == {
        (RECORDS.name, "orders"): 7.0,
        (READY.name,): 0.0,
        (ORDERS.name, "submitted"): 5.0,
        (LAG_SECONDS.name, "orders", "1"): 2.5,
        (LAG_SECONDS.name, "orders", "2"): 1.5,
        (BREAKER_OPEN.name, "commands"): 1.0,
    }


def test_a_process_that_has_ended_leaves_its_counters_and_no_gauge() -> None:
    """Law: a counter does not fall by a restart, and nothing is said of what is gone."""
    past = added([], _sent(RECORDS.sample(3, "orders"), ORDERS.sample(4, "submitted")))
    past = added(past, _sent(RECORDS.sample(2, "orders"), LOOP_LAG.sample(_histogram(0.2))))
    assert [(name, labels) for name, labels, _ in past] == [(RECORDS.name, ("orders",)), (LOOP_LAG.name, ())]
    assert past[0][2] == 5.0


def test_a_gauge_that_is_no_amount_is_not_summed() -> None:
    """Law: ages, shares and flags of two processes are not those of one when they are added."""
    summed = {metric.name for metric in METRICS if metric.kind is Kind.GAUGE and metric.several is Several.SUM}
    assert not [name for name in summed if name.endswith(("_seconds", "_ratio", "_open", "_ready", "_info", "_fds"))]
    assert {"orderflow_orders", "orderflow_partitions", "process_resident_memory_bytes"} <= summed


def test_a_merged_exposition_has_each_family_once() -> None:
    """Law: Prometheus reads it as the page of one process."""
    own = packed(samples_of_process())
    text = Exposition(
        Process.WORKER, lambda: merged([own, own, _sent(RECORDS.sample(1, "orders"))]), merged=True
    ).text()
    types = [line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    assert {"process_cpu_seconds_total", "orderflow_records_total"} <= set(types)


def _page(worker: str, numbers: list[int], problem: str | None) -> dict[str, Any]:
    lane = {"lane": "orders", "problem": problem, "starting": None, "partitions": [{"partition": n} for n in numbers]}
    return {"worker": worker, "lanes": [lane]}


def test_lanes_of_several_processes_are_those_of_one_worker() -> None:
    """Law: each partition once, in order, with the member of the group that has it; a line that two say is said once."""
    page = merged_page("w", [_page("w-1", [0, 2], "away"), _page("w-2", [1], "away")])
    [lane] = page["lanes"]
    assert (page["worker"], lane["lane"], lane["problem"], lane["starting"]) == ("w", "orders", "away", None)
    assert [(one["partition"], one["worker"]) for one in lane["partitions"]] == [(0, "w-1"), (1, "w-2"), (2, "w-1")]
