"""Without an endpoint OpenTelemetry is not imported; with one, and without the package, a worker says so and stops."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orderflow.monitoring.traced import traced
from orderflow.settings import Settings, load_settings
from statemachine.errors import ConfigError

ROOT = Path(__file__).parents[2]

_WORKER = """
import asyncio, sys
from orderflow.demonstration.environment import demo_environment

async def run():
    async with demo_environment() as place:
        await asyncio.sleep(1.0)

asyncio.run(run())
found = sorted(name for name in sys.modules if name.partition(".")[0] in ("opentelemetry", "google", "requests"))
print("orderflow.bootstrap" in sys.modules, found)
"""


@pytest.mark.timeout(60)
def test_a_worker_without_an_endpoint_does_not_import_opentelemetry() -> None:
    """Off costs nothing: no import, and no thread."""
    done = subprocess.run([sys.executable, "-c", _WORKER], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True []"


def test_an_endpoint_without_the_package_is_a_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is optional; a worker that is told to trace does not run without."""
    monkeypatch.setitem(sys.modules, "orderflow.telemetry.tracing", None)
    with pytest.raises(ConfigError, match=r"ORDERFLOW_OTEL_ENDPOINT needs OpenTelemetry.* install orderflow\[otel\]"):
        traced(Settings(otel_endpoint="http://localhost:4318"), "w")


@pytest.mark.parametrize(
    ("name", "value"), [("otel_endpoint", "collector:4318"), ("otel_sample", "1.5"), ("otel_sample", "-1")]
)
def test_a_wrong_setting_of_traces_stops_the_start(name: str, value: str) -> None:
    """By name, in a line."""
    with pytest.raises(ConfigError, match=f"ORDERFLOW_{name.upper()}"):
        load_settings(**{name: value})


def test_a_slash_at_the_end_of_the_endpoint_does_not_matter() -> None:
    """Spans go to its ``/v1/traces``."""
    assert load_settings(otel_endpoint="http://collector:4318/").otel_endpoint == "http://collector:4318"
