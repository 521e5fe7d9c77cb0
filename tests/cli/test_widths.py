"""What a person reads at 40, 80 and 120 columns: names stay in one piece, so that they can be copied."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from orderflow.cli.output import print_table
from orderflow.demonstration.rendering import progress, progress_line
from orderflow.demonstration.watch import ObservedChange, OrderWatch
from orderflow.settings import Settings, variable
from tests.cli.command import Command

WIDTHS = (40, 80, 120)

ORDERS = ("order", "state", "payment", "total#", "updated", "attention#")
ROWS = [
    ("A-1001-long-id", "checkout_rejected", "pending", "1234567.89 USD", "2030-01-01 10:00:00", "1"),
    ("A-2", "complete", "captured", "5.00 USD", "2030-01-01 10:00:00", ""),
]


@pytest.fixture(autouse=True, params=WIDTHS, ids=lambda width: f"{width} columns")
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The width of the screen."""
    columns: int = request.param
    monkeypatch.setenv("COLUMNS", str(columns))
    return columns


def test_settings_can_be_copied(orderflow: Command, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Law: each variable, value and word of its meaning is there in one piece, and no line is longer than the screen."""
    monkeypatch.setenv("COLUMNS", str(width))
    shown = orderflow("settings").stdout
    words = shown.split()
    for name, field in Settings.model_fields.items():
        assert variable(name) in words
        assert set((field.description or "").split()) <= set(words)
    assert "http://localhost:8400" in words
    assert max(map(len, shown.splitlines())) <= max(width, 44)  # the longest variable, or a value below its name


def test_columns_give_way_and_names_do_not_break(capsys: pytest.CaptureFixture[str], width: int) -> None:
    """Law: where the table is too wide its optional columns are left out, in their order, and stderr names them."""
    print_table(ORDERS, ROWS, optional=("updated", "attention", "payment", "total"))
    shown, said = capsys.readouterr()
    for row in ROWS:
        assert row[0] in shown
        assert row[1] in shown
    assert max(map(len, shown.splitlines())) <= width
    assert ("2030-01-01 10:00:00" in shown) is (width >= 120)
    assert ("pending" in shown) is (width >= 80)
    left_out = {40: "updated, attention, payment, total", 80: "updated", 120: None}[width]
    assert said == ("" if left_out is None else f"columns left out, the screen is too narrow: {left_out}\n")


def test_what_may_not_be_left_out_stands_below_each_other(capsys: pytest.CaptureFixture[str], width: int) -> None:
    """Law: a row that does not fit becomes lines, each cell with the name of its column, and nothing is lost."""
    print_table(ORDERS, ROWS)
    shown = capsys.readouterr().out
    for row in ROWS:
        for cell in row:
            assert cell in shown
    if width < 120:
        assert "A-1001-long-id\n    state: checkout_rejected\n    payment: pending\n" in shown


@pytest.mark.parametrize("total", [40, 1000])
def test_the_progress_of_the_demo_fits(width: int, total: int) -> None:
    """Law: no line is longer than the screen, and no order is forgotten where states are counted together."""
    states = ("checkout_pending", "checkout_open", "checkout_ready", "placing", "submitted", "fulfilled", "complete")
    watch = OrderWatch()
    for number in range(total):
        watch.changes[f"demo-{number}"] = [ObservedChange(0.0, {"to": states[number * number % 7]})]
    line = progress_line(watch, total // 2, total, width=width)
    assert len(line) <= width
    console = Console(file=StringIO(), width=width)
    console.print(progress(watch, total // 2, total, width=width))
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in shown) <= width
    assert f"{total // 2} of {total} orders" in shown[0]
    counts = line.partition("done")[2].replace(",", "").split()[1::2]
    assert not counts or sum(map(int, counts)) == total
