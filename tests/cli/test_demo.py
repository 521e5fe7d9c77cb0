"""``orderflow demo`` is the first thing that a newcomer runs: it must work, and say true things."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orderflow.demonstration.shop import SCENARIOS, make_orders
from orderflow.demonstration.telling import books_compared
from orderflow.demonstration.watching import Change, Watch


@pytest.mark.timeout(90)
def test_the_demo_ends_well_and_tells_what_it_promised(tmp_path: Path) -> None:
    """Orders by state, one story, agreeing books and where to go next, on stdout, with nothing on stderr."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFLOW_")}
    # Settings of a real installation must not reach the demo.
    environment |= {
        "ORDERFLOW_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "ORDERFLOW_TOPIC_PREFIX": "live.",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "orderflow", "demo", "--orders", "8"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=80,
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert re.search(r"complete +\d", ended.stdout)
    assert re.search(r"declined +1", ended.stdout)
    assert re.search(r"cancelled +[1-9]", ended.stdout)
    assert "The story of demo-0001" in ended.stdout
    assert "checkout.requested" in ended.stdout
    assert "agree to the cent: 7 orders placed, each once" in ended.stdout
    assert "Where to go next" in ended.stdout


def test_the_same_seed_makes_the_same_orders() -> None:
    """What one person sees another can see too."""
    assert make_orders(30, 7) == make_orders(30, 7)
    assert make_orders(30, 7) != make_orders(30, 8)
    assert {order.scenario for order in make_orders(len(SCENARIOS), 1)} == set(SCENARIOS)


@pytest.mark.parametrize(
    ("books", "agree"),
    [
        ({"A-1": {"orders": 1, "captured": "2.50", "cancelled": "0.00", "refunded": "0.00"}}, True),
        ({"A-1": {"orders": 1, "captured": "2.51", "cancelled": "0.00", "refunded": "0.00"}}, False),
        ({"A-1": {"orders": 2, "captured": "2.50", "cancelled": "0.00", "refunded": "0.00"}}, False),
        ({}, False),
    ],
)
def test_books_that_differ_are_told(books: dict[str, dict[str, object]], agree: bool) -> None:
    """The line about the books is a comparison, not a decoration."""
    watch = Watch()
    amounts = {"total": "2.50", "captured": "2.50", "cancelled": "0.00", "refunded": "0.00"}
    watch.changes["A-1"] = [Change(0.0, {"to": "complete", "amounts": amounts, "payment": "captured"})]
    assert books_compared(watch, books)[0] is agree
