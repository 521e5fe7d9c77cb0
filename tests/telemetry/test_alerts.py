"""Alerts and dashboard rest on metrics that there are, and each incident fires its own alert alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest

from orderflow.telemetry.metric import Kind
from orderflow.telemetry.metrics import METRICS
from tests.telemetry.incidents import AT, CALM, INCIDENTS
from tests.telemetry.promtool import ROOT, RULES, firing, run

DASHBOARD: Final = ROOT / "deploy/grafana/dashboards/orderflow.json"
_NAMED: Final = re.compile(r"\b((?:orderflow|process)_[a-z_]+[a-z])(?:\{([^}]*)\})?")
_ALERT: Final = re.compile(r"- alert: (\w+)")
_RUNBOOK: Final = re.compile(r"runbook: (\S+)")
_PROMQL: Final = frozenset({"le", "job", "instance"})


def _expressions() -> str:
    """All expressions of alerts and dashboard."""
    rules = "\n".join(
        line for line in RULES.read_text().splitlines() if not re.match(r" *(#|summary:|description:)", line)
    )
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return "\n".join([rules, *(target["expr"] for panel in panels for target in panel.get("targets", []))])


def _metrics() -> dict[str, set[str]]:
    """The labels of each name that Prometheus knows."""
    found: dict[str, set[str]] = {}
    for one in METRICS:
        labels = {label.name for label in one.labels}
        suffixes = ("_bucket", "_sum", "_count") if one.kind is Kind.HISTOGRAM else ("",)
        found |= {one.name + suffix: labels for suffix in suffixes}
    return found


def test_each_metric_that_is_named_exists_with_its_labels() -> None:
    """Law: no alert and no panel rests on a name or a label that no process has."""
    known = _metrics()
    named = _NAMED.findall(_expressions())
    assert {name for name, _ in named} - set(known) == set()
    assert len({name for name, _ in named}) > 30
    for name, selector in named:
        assert set(re.findall(r"(\w+) ?[!=]~?", selector)) <= known[name] | _PROMQL, name


def test_labels_of_groups_and_legends_exist() -> None:
    """Law: what a panel groups by is a label of its metric; else it shows one line where there should be several."""
    known = _metrics()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            labels = set().union(*(known[name] for name, _ in _NAMED.findall(target["expr"]))) | _PROMQL
            grouped = {one for found in re.findall(r"by \(([^)]*)\)", target["expr"]) for one in found.split(", ")}
            assert grouped | set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels, panel["title"]


def test_there_are_twelve_alerts_and_each_has_its_page() -> None:
    """Law: who is woken is told where to read what to do; the list of alerts has them all."""
    text = RULES.read_text()
    alerts, pages = _ALERT.findall(text), _RUNBOOK.findall(text)
    assert len(alerts) == len(set(alerts)) == len(pages) == 12
    assert set(alerts) == set(INCIDENTS)
    assert [page for page in pages if not (ROOT / page).is_file()] == []
    listed = (ROOT / "docs/how-to/monitor.md").read_text()
    for alert, page in zip(alerts, pages, strict=True):
        assert re.search(rf"\| `{alert}` \|.*\({Path(page).name}\)", listed), alert


def test_promtool_finds_nothing_wrong() -> None:
    """Law: Prometheus takes the rules as they are."""
    assert run("check", "rules", str(RULES)) == ""


def test_a_calm_fleet_wakes_nobody(tmp_path: Path) -> None:
    """Law: no alert fires while nothing is wrong."""
    assert firing(CALM, AT, INCIDENTS, tmp_path) == set()


@pytest.mark.parametrize("alert", INCIDENTS)
def test_an_incident_fires_exactly_its_alert(alert: str, tmp_path: Path) -> None:
    """Law: one incident wakes one person with one page, whatever else it moves."""
    assert firing(CALM | INCIDENTS[alert], AT, INCIDENTS, tmp_path) == {alert}
