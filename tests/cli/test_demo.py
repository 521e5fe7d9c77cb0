"""``orderflow demo`` is the first thing that a newcomer runs: it must work, and say true things."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orderflow.demonstration import scenario_runner
from orderflow.demonstration.rendering import books_compared
from orderflow.demonstration.scenario import available
from orderflow.demonstration.shop import ORDER_PATHS, make_orders
from orderflow.demonstration.watch import ObservedChange, OrderWatch
from tests.cli.command import Command


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
    assert {order.path for order in make_orders(len(ORDER_PATHS), 1)} == set(ORDER_PATHS)


def test_the_price_of_a_line_is_that_of_one_piece() -> None:
    """The same goods have the same price in every cart, however many pieces are in it."""
    items = [item for order in make_orders(60, 7) for item in order.cart["items"]]
    prices: dict[str, set[str]] = {}
    for item in items:
        prices.setdefault(item["sku_id"], set()).add(item["price"])
    assert {item["quantity"] for item in items} == {1, 2}
    assert all(len(found) == 1 for found in prices.values())


@pytest.mark.parametrize(
    ("books", "agree"),
    [
        ({"A-1": {"orders": 1, "captured": "2.50", "cancelled": "0.00", "refunded": "0.00"}}, True),
        ({"A-1": {"orders": 1, "captured": "2.51", "cancelled": "0.00", "refunded": "0.00"}}, False),
        ({"A-1": {"orders": 2, "captured": "2.50", "cancelled": "0.00", "refunded": "0.00"}}, False),
        ({}, False),
    ],
)
def test_books_that_differ_are_reported(books: dict[str, dict[str, object]], agree: bool) -> None:
    """The line about the books is a comparison, not a decoration."""
    watch = OrderWatch()
    amounts = {"total": "2.50", "captured": "2.50", "cancelled": "0.00", "refunded": "0.00"}
    watch.changes["A-1"] = [ObservedChange(0.0, {"to": "complete", "amounts": amounts, "payment": "captured"})]
    assert books_compared(watch, books)[0] is agree


def test_the_list_names_every_scenario(orderflow: Command) -> None:
    """A story that is not named is never played."""
    result = orderflow("demo", "--list")
    assert result.exit_code == 0
    assert {line.split()[0] for line in result.stdout.splitlines() if line.strip()} >= {
        path.stem for path in available()
    }
    assert "the happy path" in result.stdout


def test_a_scenario_is_reported_as_it_goes(orderflow: Command) -> None:
    """Who did what, where the order went, and that the end was the right one."""
    result = orderflow("demo", "--scenario", "card-declined")
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.search(r"storefront sends order\.placed.*\n.* storefront +order\.placed +placing", result.stdout)
    assert re.search(r"Digital River +order_declined +declined +payment failed, problem failed-request", result.stdout)
    assert (
        "Ended as expected: declined, after 5 changes without a gap. Digital River's books: orders 0" in result.stdout
    )


def test_a_refusal_and_a_loss_are_reported_where_they_happen(orderflow: Command) -> None:
    """A refusal has its time and its place between the steps; the end says what the bank took back."""
    result = orderflow("demo", "--scenario", "chargeback-in-part").stdout
    assert re.search(
        r"sends order\.refund_requested\n *[\d.]+ s +refused: order\.refund_requested: the request exceeds", result
    )
    assert re.search(r"order\.chargeback +· +charged back 40\.00\n", result)
    assert "Ended as expected: complete, charged back 40.00, after 15 changes" in result


@pytest.mark.parametrize("columns", ["80", "100"])
def test_a_scenario_fits_the_usual_terminal(orderflow: Command, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """No line is longer than the screen, and none ends in blanks."""
    monkeypatch.setenv("COLUMNS", columns)
    lines = orderflow("demo", "--scenario", "chargeback-in-part").stdout.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert [line for line in lines if line != line.rstrip()] == []
    assert any(line.endswith(" captured 101.04") for line in lines)


def test_an_end_that_differs_fails_and_is_named(
    orderflow: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says what it is and what it should have been."""
    monkeypatch.setattr(scenario_runner, "WAIT_SECONDS_MAX", 3.0)
    [path] = (path for path in available() if path.stem == "abandoned")
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text(path.read_text().replace('"checkouts": 1', '"checkouts": 2'))
    result = orderflow("demo", "--scenario", str(wrong))
    assert result.exit_code == 1
    assert (
        result.stderr
        == "orderflow: wrong did not end as expected: books.checkouts is 1, expected 2, still so after 3 s\n"
    )


@pytest.mark.parametrize(
    ("line", "says", "code"),
    [
        ("no-such-story", "there is no scenario no-such-story; orderflow demo --list names them", 3),
        ("none.jsonl", "there is no file none.jsonl\n", 3),
        (".jsonl/", "there is no scenario .jsonl/", 3),
    ],
)
def test_a_scenario_that_is_not_there_is_an_error_in_one_line(
    orderflow: Command, line: str, says: str, code: int
) -> None:
    """A misspelling gives no traceback."""
    result = orderflow("demo", "--scenario", line)
    assert result.exit_code == code
    assert result.stderr.startswith(f"orderflow: {says}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--scenario", "card", "--orders", "3"), "--orders cannot be used with --scenario"),
        (("--scenario", "card", "--seed", "3"), "--seed cannot be used with --scenario"),
        (("--list", "--scenario", "card"), "--scenario cannot be used with --list"),
        (("--list", "--orders", "3"), "--orders cannot be used with --list"),
        (("--orders", "abc"), "Invalid value for '--orders': 'abc' is not a whole number"),
        (("--orders", "0"), "Invalid value for '--orders': 0 is not between 1 and 1000"),
    ],
)
def test_what_does_not_go_together_is_refused(orderflow: Command, words: tuple[str, ...], says: str) -> None:
    """An option is obeyed or refused, never ignored."""
    result = orderflow("demo", *words)
    assert (result.exit_code, result.stderr) == (2, f"orderflow: {says} (see orderflow demo --help)\n")
