"""Stories are for reading: nothing of them is cut off, and each thing is told where it happened, once."""

from __future__ import annotations

from io import StringIO
from typing import Any, Final

import pytest
from rich.console import Console

from orderflow.demonstration.expectations import ObservedOrder
from orderflow.demonstration.rendering import books_compared, other_changes, story
from orderflow.demonstration.watch import ObservedChange, OrderWatch
from orderflow.screen import Screen
from producers.topics import Topic

AMOUNTS: Final = {
    "currency": "USD", "total": "1475.43", "captured": "0.00", "cancelled": "0.00", "refunded": "0.00",
    "charged_back": "0.00",
}  # fmt: skip
CAPTURED: Final = AMOUNTS | {"captured": "1475.43"}


def _change(kind: str, to: str, **members: Any) -> ObservedChange:
    cause = {"type": kind, "topic": "dr-webhooks"}
    return ObservedChange(0.0, {"sequence": 13, "to": to, "cause": cause, "changed": sorted(members), **members})


PAID: Final = _change("order.charge.capture.complete", "checkout_pending", payment="captured", amounts=CAPTURED)
NOTED: Final = _change("order.invoice.created", "checkout_pending")


@pytest.mark.parametrize("width", [80, 104, 105, 120])
def test_a_story_is_whole_at_every_usual_width(width: int) -> None:
    """The longest names stand in one piece, and what changed beside the state is there."""
    console = Console(file=StringIO(), width=width)
    console.print(story("A-1", "paid", [PAID, NOTED], width=width))
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    reported = [line for line in shown.splitlines() if "order.charge" in line]
    assert len(reported) == 1
    for word in ("13", "0.00 s", "Digital River", "order.charge.capture.complete", "checkout_pending"):
        assert word in reported[0]
    for word in ("payment captured", "total", "1475.43", "order.invoice.created"):
        assert word in shown
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width


def test_a_narrow_screen_loses_no_letter() -> None:
    """Where nothing fits, words are folded, not cut."""
    console = Console(file=StringIO(), width=50)
    console.print(story("A-1", "paid", [PAID], width=50))
    assert isinstance(console.file, StringIO)
    assert "…" not in console.file.getvalue()


def test_money_that_a_bank_took_back_is_reported() -> None:
    """What a merchant lost is the point of a dispute's story."""
    before = ObservedOrder().after(PAID.data)
    lost = _change("order.chargeback", "disputed", amounts=CAPTURED | {"charged_back": "40.00"})
    assert list(other_changes(lost.data, before)) == ["charged back 40.00"]
    watch = OrderWatch()
    watch.changes["A-1"] = [lost]
    books = {"A-1": {"orders": 1, "captured": "1475.43", "cancelled": "0.00", "refunded": "0.00"}}
    reported = "1 order placed, each once; 1475.43 USD captured, 40.00 charged back."
    assert books_compared(watch, books) == (True, f"Digital River's books agree to the cent: {reported}")


def test_what_stays_is_not_reported_again() -> None:
    """A reason for attention, a refund and a return are told when they come up or move, by their ids."""
    first = _change(
        "x", "complete", attention=["a refund failed"],
        refunds=[{"refund_id": "r1", "state": "failed"}], returns=[{"return_id": "t1", "state": "requested"}],
    )  # fmt: skip
    again = _change(
        "y", "complete", attention=["a refund failed", "look"],
        refunds=[{"refund_id": "r1", "state": "failed"}, {"refund_id": "r2", "state": "pending"}],
        returns=[{"return_id": "t1", "state": "requested"}],
    )  # fmt: skip
    reported = ["refund r1 failed", "return t1 requested", "attention: a refund failed"]
    assert list(other_changes(first.data, ObservedOrder())) == reported
    assert list(other_changes(again.data, ObservedOrder().after(first.data))) == [
        "refund r2 pending",
        "attention: look",
    ]


def test_a_refusal_knows_its_place() -> None:
    """It stands after the changes that came before it."""
    watch = OrderWatch()
    watch.changes["A-1"] = [PAID, NOTED]
    record = type("Record", (), {})()
    record.value = (
        b'{"type": "order.event_refused", "data": {"order_id": "A-1", "cause": {"type": "x"}, "detail": "late"}}'
    )
    watch.add_other(Topic.ORDER_EVENT_REFUSALS, record)
    assert watch.refused["A-1"] == [(2, "x: late")]


@pytest.mark.parametrize(("columns", "width"), [(None, 120), ("77", 77)])
def test_a_file_is_as_wide_as_columns_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str | None, width: int
) -> None:
    """And no line of it ends in blanks."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    screen = Screen(file_width=120)
    assert screen.width == width
    screen.show(story("A-1", "paid", [PAID, NOTED], width=width))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
