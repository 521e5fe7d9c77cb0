"""What a cart costs: the documented samples, and money that never goes missing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.simulator.state.fields import Json
from orderflow.simulator.state.pricing import Price, price_cart, split
from orderflow.simulator.state.records import OrderLine
from orderflow.simulator.state.refusal import ApiError

MINNEAPOLIS: Json = {"country": "US", "postalCode": "55401", "state": "MN"}


def _price(items: list[Json], **members: object) -> Price:
    return price_cart({"items": items, **members}, "USD", 2, MINNEAPOLIS)


def _item(**members: object) -> Json:
    return {"skuId": "kb-01", "quantity": 3, "price": Decimal(10), **members}


def test_the_documented_sample_is_priced_to_the_cent() -> None:
    """Law: 3 x 10.00 and 5.00 shipping to 55401 are 37.81 with 2.41 and 0.40 tax; ``subtotal`` includes shipping."""
    price = _price([_item()], shippingChoice={"amount": Decimal(5)})
    assert (price.subtotal, price.lines[0].tax, price.shipping_tax, price.total) == (3500, 241, 40, 3781)


def test_a_discount_per_unit_counts_for_each_unit() -> None:
    """Law: ``amountOff`` is per unit; ``percentOff`` is of what it covers."""
    assert _price([_item(discount={"amountOff": Decimal(1)})]).lines[0].amount == 2700
    assert _price([_item(discount={"amountOff": Decimal(1), "quantity": 2})]).lines[0].amount == 2800
    assert _price([_item(discount={"percentOff": Decimal(10)})]).lines[0].amount == 2700


def test_inclusive_prices_are_gross() -> None:
    """Law: the total is what the prices say, tax is inside."""
    price = _price([_item()], taxInclusive=True, shippingChoice={"amount": Decimal(5)})
    assert price.total == 3500
    assert price.tax > 0


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (_item(discount={"amountOff": Decimal(0)}), "invalid_discount_amount"),
        (_item(discount={"amountOff": Decimal(11)}), "invalid_discount_amount"),
        (_item(discount={"percentOff": Decimal(101)}), "invalid_discount_percent"),
        (_item(quantity=0), "invalid_quantity_amount"),
        (_item(price=None), "missing_parameter"),
        (_item(aggregatePrice=Decimal(1)), "invalid_parameter"),
    ],
)
def test_impossible_carts_are_refused_by_their_code(item: Json, code: str) -> None:
    """Law: the documented code for each."""
    with pytest.raises(ApiError) as caught:
        _price([item])
    assert caught.value.errors[0]["code"] == code


@given(st.integers(0, 10**9), st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_parts_add_up_to_the_whole(total: int, weights: list[int]) -> None:
    """Law: splitting loses and makes no minor unit, and no part is negative."""
    parts = split(total, weights)
    assert sum(parts) == total
    assert min(parts) >= 0


@given(
    st.lists(st.tuples(st.integers(0, 99_999), st.integers(1, 9)), min_size=1, max_size=6),
    st.integers(0, 9_999),
    st.booleans(),
    st.sampled_from([None, Decimal("12.5"), Decimal("0.01")]),
)
def test_the_lines_carry_the_whole_total(
    lines: list[tuple[int, int]], shipping: int, inclusive: bool, percent: Decimal | None
) -> None:
    """Law: the lines' totals, shipping and its tax spread over them, are the order's total to the minor unit."""
    items: list[Json] = [_item(price=Decimal(cents).scaleb(-2), quantity=quantity) for cents, quantity in lines]
    members: Json = {"taxInclusive": inclusive, "shippingChoice": {"amount": Decimal(shipping).scaleb(-2)}}
    if percent is not None and any(cents for cents, _ in lines):
        members["discount"] = {"percentOff": percent}
        try:
            price = _price(items, **members)
        except ApiError:
            return
    else:
        price = _price(items, **members)
    assert sum(line.total for line in price.lines) == price.total


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(1, 99_999))
def test_operations_in_any_parts_capture_the_whole_line(parts: list[int], cents: int) -> None:
    """Law: however the units are shipped or cancelled, the last operation takes what remains."""
    price = _price([_item(quantity=sum(parts), price=Decimal(cents).scaleb(-2))], shippingChoice={"amount": Decimal(5)})
    line = OrderLine("1", price.lines[0], "created", {})
    taken = 0
    for units in parts:
        taken += line.resolve(units)
        line.shipped += units
    assert taken == price.total
    assert line.open == 0
