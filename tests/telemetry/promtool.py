"""Prometheus' own tool, where it is there: it evaluates the alerts over series that a test gives."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
RULES: Final = ROOT / "deploy/prometheus/alerts.yml"
_FIRES: Final = re.compile(r"alertname: ?(\w+),")


def promtool() -> str:
    """Its path; a test that needs it is skipped without it."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    return found


def run(*arguments: str) -> str:
    """Run it; what it says when it fails, empty when it does not."""
    done = subprocess.run([promtool(), *arguments], capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def firing(series: Mapping[str, str], at: str, alerts: Iterable[str], folder: Path) -> set[str]:
    """The alerts that fire at a time.

    Args:
        series: Values by the minute, by series, as promtool writes them.
        at: The time, for example ``2h``.
        alerts: Their names.
        folder: Takes the test files.
    """
    shutil.copy(RULES, folder / "alerts.yml")
    test = {
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "alert_rule_test": [{"eval_time": at, "alertname": name, "exp_alerts": []} for name in alerts],
    }
    path = folder / "test.json"  # JSON is YAML
    path.write_text(json.dumps({"rule_files": ["alerts.yml"], "evaluation_interval": "1m", "tests": [test]}))
    said = run("test", "rules", str(path))  # that nothing fires is expected of all: those that do are named
    found = set(_FIRES.findall(said))
    assert bool(said) == bool(found), said
    return found
