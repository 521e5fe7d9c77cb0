"""Money: decimal strings and minor units."""

from __future__ import annotations

import pytest

from statemachine.messages.money import (
    currencies_with,
    currency_digits,
    format_money,
    has_exact_digits,
    is_currency,
    parse_money,
)


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


#: ISO 4217, list one, as published on 2026-01-01: what has other than two digits, and the rest.
OTHER_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
TWO_DIGITS = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU CRC
CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR
KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN
PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS
UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
"""
#: Metals, baskets and test codes have no minor unit, and no order is in them.
NO_MONEY = "XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX"


@pytest.mark.parametrize(
    ("code", "digits"),
    [(code, digits) for digits, codes in {**OTHER_DIGITS, 2: TWO_DIGITS}.items() for code in codes.split()],
)
def test_every_currency_of_iso_4217_has_its_digits(code: str, digits: int) -> None:
    """The whole list, the Caribbean guilder and Zimbabwe Gold too."""
    assert is_currency(code)
    assert currency_digits(code) == digits


@pytest.mark.parametrize("code", NO_MONEY.split())
def test_a_code_without_minor_units_is_not_a_currency_of_an_order(code: str) -> None:
    """There is nothing to count in."""
    assert not is_currency(code)


def test_every_currency_is_among_those_with_its_digits() -> None:
    """And in order, so that what is generated from it does not change."""
    codes = {digits: currencies_with(digits) for digits in range(5)}
    assert [codes[0][0], codes[2][-1], codes[3], codes[4]] == [
        "BIF",
        "ZWL",
        ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"),
        ("CLF", "UYW"),
    ]
    assert all(currency_digits(code) == digits for digits, some in codes.items() for code in some)
    assert all(list(some) == sorted(some) for some in codes.values())
