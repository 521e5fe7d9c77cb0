"""Money: decimal strings and minor units."""

from __future__ import annotations

import pytest

from statemachine.money import currency_digits, format_money, has_exact_digits, is_currency, parse_money


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("27.01", "USD", 2701),
        ("0.00", "USD", 0),
        ("3300", "JPY", 3300),
        ("1.234", "KWD", 1234),
        ("0.0001", "CLF", 1),
        ("0.05", "EUR", 5),
    ],
)
def test_money_survives_the_way_in_and_out(text: str, currency: str, minor: int) -> None:
    """What comes in with the currency's digits goes out as it came."""
    assert parse_money(text, currency) == minor
    assert format_money(minor, currency) == text


@pytest.mark.parametrize(
    "text",
    ["27", "27.0", "27.010", "-1.00", "+1.00", "1e2", " 1.00", "1.00\n", "01.00", ".50", "1.", "", "1,00", "١.٠٠"],
)
def test_other_than_a_plain_decimal_with_the_currency_s_digits_is_refused(text: str) -> None:
    """No sign, exponent, space, needless zero or foreign digit, and never another number of digits."""
    with pytest.raises(ValueError, match="must"):
        parse_money(text, "USD")


def test_an_unknown_currency_is_refused() -> None:
    """Only codes of ISO 4217, in upper case, have digits."""
    assert not is_currency("usd")
    assert not is_currency("XXX")
    assert not has_exact_digits("1.00", "XXX")
    with pytest.raises(ValueError, match="unknown currency"):
        currency_digits("XXX")


def test_a_negative_amount_has_no_text() -> None:
    """The contract has no sign, so a negative amount is a fault of ours."""
    with pytest.raises(ValueError, match="never negative"):
        format_money(-1, "USD")
