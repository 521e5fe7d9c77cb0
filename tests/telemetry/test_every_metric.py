"""Every metric of the list moves as its text says, in one story of a worker, a relay and a simulator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from orderflow import __version__
from orderflow.telemetry.metric import Kind, Process
from orderflow.telemetry.metrics import METRICS
from tests.telemetry.incidents import INCIDENTS
from tests.telemetry.promtool import firing, promtool
from tests.telemetry.story import Story, play
from tests.telemetry.world import Scrape

pytestmark = pytest.mark.timeout(300)

Check = Callable[[Story], bool]


@pytest.fixture(scope="module")
def story() -> Story:
    """Played once."""
    return asyncio.run(play())


def _grew(name: str, before: str, after: str, **labels: str) -> Check:
    return lambda story: story.at[after].sum(name, **labels) > story.at[before].sum(name, **labels)


def _all(*checks: Check) -> Check:
    return lambda story: all(check(story) for check in checks)


def _is(name: str, value: float, moment: str, **labels: str) -> Check:
    return lambda story: story.at[moment].sum(name, **labels) == value


MOVES: Final[dict[str, Check]] = {
    "orderflow_info": lambda s: (
        [x.found("orderflow_info", version=__version__) for x in (s.at["start"], s.relay, s.simulator)] == [[1.0]] * 3
    ),
    "orderflow_event_loop_lag_seconds": _grew("orderflow_event_loop_lag_seconds_count", "start", "alone"),
    "orderflow_ready": _all(_is("orderflow_ready", 1, "start"), _is("orderflow_ready", 0, "away")),
    "orderflow_problems": _all(_is("orderflow_problems", 0, "start"), _grew("orderflow_problems", "start", "away")),
    "orderflow_paused": _all(
        _is("orderflow_paused", 1, "paused", scope="lane/orders"),
        lambda s: s.at["resumed"].found("orderflow_paused") == [],
    ),
    "orderflow_partitions": _all(
        _is("orderflow_partitions", 2, "start", lane="catalogue", state="running"),
        _is("orderflow_partitions", 1, "stopped", lane="catalogue", state="running"),
        _is("orderflow_partitions", 1, "stopped", lane="catalogue", state="stopped"),
    ),
    "orderflow_partition_problem": _all(
        _is("orderflow_partition_problem", 0, "orders", lane="catalogue"),
        _is("orderflow_partition_problem", 1, "stopped", lane="catalogue", partition="0"),
    ),
    "orderflow_restored_ratio": _all(
        _is("orderflow_restored_ratio", 0.25, "restoring", lane="catalogue", partition="0"),
        lambda s: s.at["start"].found("orderflow_restored_ratio") == [],
    ),
    "orderflow_takeovers_total": _all(
        _is("orderflow_takeovers_total", 2, "start", lane="orders"),
        _is("orderflow_takeovers_total", 3, "fenced", lane="orders"),
    ),
    "orderflow_restores_total": _all(
        _is("orderflow_restores_total", 2, "start", lane="orders"),
        _is("orderflow_restores_total", 0, "start", lane="commands"),
    ),
    "orderflow_resumes_total": _grew("orderflow_resumes_total", "fenced", "shared", lane="orders"),
    "orderflow_partition_failures_total": _grew(
        "orderflow_partition_failures_total", "stopped", "fenced", lane="orders"
    ),
    "orderflow_rebalances_total": _grew("orderflow_rebalances_total", "fenced", "shared", lane="orders"),
    "orderflow_lag_records": _all(
        _is("orderflow_lag_records", 3, "paused", lane="orders"), _is("orderflow_lag_records", 0, "resumed")
    ),
    "orderflow_lag_seconds": _all(
        lambda s: 0 < s.at["paused"].sum("orderflow_lag_seconds", lane="orders") < 30,
        _is("orderflow_lag_seconds", 0, "resumed", lane="orders"),
    ),
    "orderflow_records_total": _grew("orderflow_records_total", "start", "orders", lane="orders"),
    "orderflow_transactions_total": _grew("orderflow_transactions_total", "start", "orders", lane="commands"),
    "orderflow_transaction_seconds": lambda s: all(
        s.at["orders"].sum("orderflow_transaction_seconds_count", lane=lane) > 0
        for lane in ("orders", "commands", "webhooks", "catalogue")
    ),
    "orderflow_transaction_records": lambda s: (
        s.at["orders"].sum("orderflow_transaction_records_sum", lane="orders")
        > s.at["orders"].sum("orderflow_changes_total")
    ),
    "orderflow_dead_letters_total": _all(
        _is("orderflow_dead_letters_total", 0, "start"),
        _is("orderflow_dead_letters_total", 1, "orders", lane="orders", reason="undecodable"),
        _is("orderflow_dead_letters_total", 1, "orders", lane="webhooks", reason="bad_signature"),
    ),
    "orderflow_events_total": _all(
        _is("orderflow_events_total", 1, "orders", type="fulfillment.shipped", verdict="moved"),
        _is("orderflow_events_total", 1, "orders", type="unread", verdict="refused"),
        _grew("orderflow_events_total", "start", "orders", type="order.placed", verdict="parked"),
    ),
    "orderflow_transitions_total": _all(
        _is("orderflow_transitions_total", 1, "orders", **{"from": "fulfilled", "to": "complete"}),
        _is("orderflow_transitions_total", 5, "orders", **{"from": "awaited", "to": "checkout_pending"}),
    ),
    "orderflow_state_seconds": lambda s: (
        0.1 < s.at["orders"].sum("orderflow_state_seconds_sum", state="fulfilled") < 10
    ),
    "orderflow_changes_total": _grew("orderflow_changes_total", "start", "orders"),
    "orderflow_commands_total": _grew("orderflow_commands_total", "start", "orders"),
    "orderflow_deadlines_fired_total": _grew("orderflow_deadlines_fired_total", "start", "orders"),
    "orderflow_orders": _all(
        _is("orderflow_orders", 1, "orders", state="complete"), _is("orderflow_orders", 1, "orders", state="declined")
    ),
    "orderflow_oldest_order_seconds": _all(
        lambda s: s.at["orders"].sum("orderflow_oldest_order_seconds", state="checkout_open") < 60,
        lambda s: s.at["orders"].found("orderflow_oldest_order_seconds", state="complete") == [],
    ),
    "orderflow_orders_attention": lambda s: s.at["orders"].found("orderflow_orders_attention") == [0.0],
    "orderflow_orders_held": _all(_is("orderflow_orders_held", 0, "start"), _is("orderflow_orders_held", 1, "orders")),
    "orderflow_parked_events": _grew("orderflow_parked_events", "start", "orders"),
    "orderflow_deadlines": _is("orderflow_deadlines", 1, "orders", deadline="expire"),
    "orderflow_deadlines_overdue": _all(
        _is("orderflow_deadlines_overdue", 0, "orders"),
        _grew("orderflow_deadlines_overdue", "orders", "later", deadline="abandon"),
    ),
    "orderflow_open_commands": lambda s: s.at["later"].sum("orderflow_open_commands") > 0,
    "orderflow_census_age_seconds": lambda s: 0 < s.at["orders"].sum("orderflow_census_age_seconds") < 300,
    "orderflow_command_outcomes_total": _all(
        _is("orderflow_command_outcomes_total", 1, "orders", command="create_fulfillment", result="confirmed"),
        _is("orderflow_command_outcomes_total", 1, "orders", command="place_order", result="confirmed"),
        _is("orderflow_command_outcomes_total", 1, "orders", command="place_order", result="rejected"),
    ),
    "orderflow_command_seconds": _is("orderflow_command_seconds_count", 2, "orders", command="place_order"),
    "orderflow_requests_total": _all(
        _is("orderflow_requests_total", 2, "orders", lane="commands", purpose="place_order", result="answered"),
        _is("orderflow_requests_total", 1, "orders", lane="catalogue", purpose="write_sku", result="answered"),
        _grew("orderflow_requests_total", "orders", "away", result="throttled"),
        _grew("orderflow_requests_total", "orders", "away", result="unanswered"),
    ),
    "orderflow_request_seconds": _is(
        "orderflow_request_seconds_count", 2, "orders", lane="commands", purpose="place_order"
    ),
    "orderflow_rate_wait_seconds_total": _grew("orderflow_rate_wait_seconds_total", "orders", "away", lane="commands"),
    "orderflow_throttled_total": _grew("orderflow_throttled_total", "orders", "away", lane="commands"),
    "orderflow_breaker_open": _all(
        _is("orderflow_breaker_open", 1, "away", lane="commands"), _is("orderflow_breaker_open", 0, "back")
    ),
    "orderflow_breaker_openings_total": _grew("orderflow_breaker_openings_total", "orders", "back", lane="commands"),
    "orderflow_webhooks_total": _grew("orderflow_webhooks_total", "start", "orders", result="facts"),
    "orderflow_skus_total": _is("orderflow_skus_total", 1, "orders", result="known"),
    "orderflow_relay_answers_total": lambda s: s.relay.sum("orderflow_relay_answers_total", status="202") > 0,
    "orderflow_relay_seconds": lambda s: (
        s.relay.sum("orderflow_relay_seconds_count") == s.relay.sum("orderflow_relay_answers_total")
    ),
    "orderflow_relay_refused_total": lambda s: (
        s.relay.sum("orderflow_relay_refused_total", kind="unsigned") == 2
        and s.relay.sum("orderflow_relay_refused_total", status="400", kind="signed") == 8
    ),
    "orderflow_simulator_requests_total": lambda s: (
        s.simulator.sum("orderflow_simulator_requests_total", method="POST", status="201") > 0
        and s.simulator.sum("orderflow_simulator_requests_total", status="429") > 0
    ),
    "orderflow_simulator_webhooks_total": lambda s: (
        s.simulator.sum("orderflow_simulator_webhooks_total", result="acknowledged") > 0
    ),
    "orderflow_simulator_webhooks_undelivered": lambda s: (
        s.simulator.found("orderflow_simulator_webhooks_undelivered") != []
    ),
    "orderflow_simulator_objects": lambda s: s.simulator.sum("orderflow_simulator_objects", kind="orders") >= 1,
}


@pytest.mark.parametrize("name", [one.name for one in METRICS if not one.of_library])
def test_a_metric_moves_as_its_text_says(story: Story, name: str) -> None:
    """Law: what is documented is there, and says what happens."""
    assert MOVES[name](story)


def test_every_check_is_of_a_metric() -> None:
    """Who removes a metric removes its check."""
    assert set(MOVES) <= {one.name for one in METRICS}


def test_nothing_else_is_shown(story: Story) -> None:
    """Law: each process has the metrics of the list that are its own, and no other."""
    for process, scrape in (
        (Process.WORKER, story.at["alone"]),
        (Process.RELAY, story.relay),
        (Process.SIMULATOR, story.simulator),
    ):
        listed = {one.name.removesuffix("_total") for one in METRICS if process in one.processes}
        assert scrape.families <= listed
        assert {one for one in listed if one.startswith("orderflow")} <= scrape.families


def test_series_of_a_partition_go_with_it(story: Story) -> None:
    """Law: who reads the metrics of a worker sees no partition that it gave away."""
    partitions = {own["partition"] for own in _labels(story, "shared", "orders")}
    assert len(partitions) == 1
    assert len({own["partition"] for own in _labels(story, "alone", "orders")}) == 2


def _labels(story: Story, moment: str, lane: str) -> list[dict[str, str]]:
    found = [dict(own) for _, own in story.at[moment].series()]
    return [own for own in found if "partition" in own and own["lane"] == lane]


def test_labels_are_those_of_the_list(story: Story) -> None:
    """Law: no series has a label that the list does not name, and none names an order."""
    by_name = {one.name: {label.name for label in one.labels} for one in METRICS}
    kinds = {one.name: one.kind for one in METRICS}
    for scrape in (*story.at.values(), story.relay, story.simulator):
        for name, own in scrape.series():
            base = name if name in by_name else name.rpartition("_")[0]
            allowed = by_name[base] | ({"le"} if kinds[base] is Kind.HISTOGRAM else set())
            assert (
                {label for label, _ in own} == allowed
                or base.startswith("process_")
                or name.endswith(("_sum", "_count"))
            )
            assert not {value for _, value in own} & {"good", "early", "kept"}


#: Incidents of the story: the moments before and after, and the alert.
_PLAYED: Final = (
    ("resumed", "paused", "OrderflowPaused"),
    ("orders", "away", "OrderflowDigitalRiverAway"),
    ("back", "stopped", "OrderflowPartitionStopped"),
    ("alone", "nonsense", "OrderflowDeadLetters"),
    ("nonsense", "faulty", "OrderflowDecisionsFail"),
)


def test_what_happened_for_real_fires_the_alert_of_it(story: Story, tmp_path: Path) -> None:
    """Law: the metrics of an incident that was played make its alert fire, and no other."""
    promtool()
    pairs = [(alert, story.at[before], story.at[after]) for before, after, alert in _PLAYED]
    for alert, before, after in (*pairs, ("OrderflowWebhooksRefused", story.relay_before, story.relay)):
        series = _series(before, after)
        fired = {one for at in ("23m", "2h") for one in firing(series, at, INCIDENTS, tmp_path)}
        assert fired - _already(before, tmp_path) == {alert}


def _already(scrape: Scrape, folder: Path) -> set[str]:
    """What fires because of an earlier part of the story, such as a partition that stays stopped."""
    return firing(_series(scrape, scrape), "2h", INCIDENTS, folder)


def _series(before: Scrape, after: Scrape) -> dict[str, str]:
    """Twenty minutes of the one, then of the other, as promtool reads it."""
    found = {'up{job="orderflow-worker"}': "1x150"}
    for name, own in before.series() | after.series():
        if name.endswith("_bucket") or not name.startswith("orderflow_"):
            continue
        labels = ",".join(f'{label}="{value}"' for label, value in sorted(own))
        first, then = (one.values.get((name, own)) for one in (before, after))
        past = "_x20" if first is None else f"{first}x20"
        found[f"{name}{{{labels}}}"] = f"{past} {'_' if then is None else then}x130"
    return found
