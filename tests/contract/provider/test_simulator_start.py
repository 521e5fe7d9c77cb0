"""The simulator as a process: one line when ready, and an end."""

from __future__ import annotations

import asyncio

import pytest

from orderflow.simulator import SimulatorOptions, run_simulator


async def test_it_prints_one_line_when_ready_and_stops_when_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Law: stdout holds one line with the address, and nothing else for the whole run."""
    stop = asyncio.Event()
    stop.set()
    await run_simulator(SimulatorOptions(port=0), stop)
    line, rest = capsys.readouterr().out.split("\n")
    assert line.startswith("simulator ready on http://127.0.0.1:")
    assert rest == ""


@pytest.mark.parametrize(("key", "rate", "limit"), [("sk_test_x", None, 25), ("sk_x", None, 250), ("sk_x", 0, 0)])
def test_the_limit_is_digital_rivers_unless_told(key: str, rate: int | None, limit: int) -> None:
    """Law: 25 a second for a test key, 250 for a live one, 0 for none."""
    assert SimulatorOptions(key=key, rate=rate).rate_per_second == limit
