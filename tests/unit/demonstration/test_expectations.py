"""Where an order stands is told from its changes, and every difference from what is expected is named."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

from orderflow.demonstration.expectations import ObservedOrder, book_differences, differences
from orderflow.demonstration.scenario import Expected

FIRST: Final = {
    "to": "submitted",
    "payment": "authorized",
    "cause": {"type": "digitalriver.order_placed"},
    "amounts": {"total": "5.00", "captured": "0.00"},
    "lines": [{"line": "1", "ordered": 2, "shipped": 0}],
    "attention": [],
    "problem": {"code": "invalid"},
}
SECOND: Final = {
    "to": "complete",
    "payment": "captured",
    "cause": {"type": "order.charge.capture.complete"},
    "amounts": {"total": "5.00", "captured": "5.00"},
    "shipments": [{"shipment_id": "p", "capture": "complete"}],
    "refunds": [{"refund_id": "r", "state": "succeeded", "amount": "1.00"}],
    "returns": [{"return_id": "t", "state": "accepted"}],
    "attention": ["the capture failed twice"],
}
OBSERVED: Final = ObservedOrder().after(FIRST).after(SECOND)


def test_a_member_stays_until_a_later_change_has_it_again() -> None:
    """Changes hold what changed; the rest is as it was. A problem belongs to its change only."""
    assert ObservedOrder().after(FIRST).problem == "invalid"
    assert (OBSERVED.state, OBSERVED.problem) == ("complete", None)
    assert OBSERVED.members["lines"] == FIRST["lines"]
    assert OBSERVED.members["amounts"] == SECOND["amounts"]


@pytest.mark.parametrize(
    ("expected", "named"),
    [
        ({"state": "fulfilled"}, "state is complete, expected fulfilled"),
        ({"payment": "voided"}, "payment is captured, expected voided"),
        ({"amounts": {"captured": "4.00"}}, "amounts.captured is 5.00, expected 4.00"),
        ({"lines": {"1": {"shipped": 2}}}, "line 1 shipped is 0, expected 2"),
        ({"lines": {"7": {"shipped": 2}}}, "line 7 shipped is null, expected 2"),
        ({"shipments": 2}, "shipments is 1, expected 2"),
        ({"captures": ["failed"]}, 'captures is ["complete"], expected ["failed"]'),
        ({"refunds": {}}, 'refunds is ["r"], expected []'),
        ({"refunds": {"r": {"amount": "2.00"}}}, "refund r amount is 1.00, expected 2.00"),
        ({"returns": {"t": "requested"}}, 'returns is {"t":"accepted"}, expected {"t":"requested"}'),
        ({"documents": 1}, "documents is 0, expected 1"),
        ({"attention": []}, 'attention is ["the capture failed twice"], expected []'),
        ({"cause": "settle"}, "cause is order.charge.capture.complete, expected settle"),
        ({"problem": "declined"}, "problem is null, expected declined"),
        ({"parked": []}, 'parked is ["order.placed"], expected []'),
        ({"refused": ["more than is open", "again"]}, 'refused is ["shipped: more than is open"], expected ["more'),
    ],
)
def test_each_difference_is_named(expected: dict[str, Any], named: str) -> None:
    """What it is and what it should be, in a few words, one for each difference."""
    found = list(
        differences(
            msgspec.convert(expected, Expected),
            OBSERVED,
            parked=["order.placed"],
            refused=["shipped: more than is open"],
        )
    )
    assert len(found) == 1
    assert found[0].startswith(named)


def test_what_is_as_expected_differs_in_nothing() -> None:
    """Reasons need only the part that tells which it is; what is not named may be anything."""
    expected = Expected(state="complete", amounts={"captured": "5.00"}, attention=["capture failed"], shipments=1)
    assert list(differences(expected, OBSERVED)) == []


def test_books_are_compared_member_by_member() -> None:
    """An order of which Digital River has never heard has counts of 0."""
    assert list(book_differences({"orders": 1, "captured": "5.00"}, {"orders": 1, "captured": "5.00"})) == []
    assert list(book_differences({"orders": 0}, {})) == []
    assert list(book_differences({"orders": 1}, {"orders": 2})) == ["books.orders is 2, expected 1"]
