"""Money: decimal strings outside, integer minor units inside, with the decimals of ISO 4217.

No floats. A string that does not have the currency's number of decimals is refused, never repaired.
Source of the digits: ISO 4217, list one of 2026-01-01, and the five that it dropped since 2021, in which orders may still be.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Final

#: Currencies without minor units, and those with three or four digits.
_DIGITS: Final[dict[str, int]] = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI"), 0),
    **dict.fromkeys(("VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}

_TWO_DIGITS: Final = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD "
    "CDF CHE CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP "
    "GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL "
    "MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN "
    "QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY "
    "TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG ZWL"
)

_DIGITS_BY_CODE: Final[dict[str, int]] = {**dict.fromkeys(_TWO_DIGITS.split(), 2), **_DIGITS}

#: A decimal string without sign, exponent, space or needless leading zero; 15 digits before the point are beyond any order.
MONEY_PATTERN: Final = r"^(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,4})?$"

#: Minor units that no order's money reaches: a sum of many such amounts still fits into 64 bits.
MINOR_MAX: Final = 10**15

_MONEY = re.compile(MONEY_PATTERN.removesuffix("$") + r"\Z", re.ASCII)


def is_currency(code: str) -> bool:
    """Whether ``code`` is an ISO 4217 code, in upper case, that an order can be in."""
    return code in _DIGITS_BY_CODE


def currencies_with(digits: int) -> tuple[str, ...]:
    """The codes of all currencies with this many digits after the point, sorted."""
    return tuple(sorted(code for code, found in _DIGITS_BY_CODE.items() if found == digits))


def currency_digits(code: str) -> int:
    """How many digits stand after the point, 0 to 4.

    Raises:
        ValueError: No such currency.
    """
    digits = _DIGITS_BY_CODE.get(code)
    if digits is None:
        raise ValueError("unknown currency")
    return digits


def has_exact_digits(text: str, code: str) -> bool:
    """Whether a well-formed decimal string has exactly the digits of the currency."""
    point = text.find(".")
    return (0 if point < 0 else len(text) - point - 1) == _DIGITS_BY_CODE.get(code, -1)


def parse_money(text: str, code: str) -> int:
    """Minor units of a decimal string with exactly the digits of the currency.

    Raises:
        ValueError: Unknown currency, not a plain decimal, or other digits. The message quotes no value.
    """
    digits = currency_digits(code)
    if not _MONEY.match(text):
        raise ValueError("must be a plain decimal string")
    if not has_exact_digits(text, code):
        raise ValueError(f"must have exactly {digits} digits after the point")
    return int(text.replace(".", "")) if digits else int(text)


def round_money(amount: Decimal, code: str) -> int:
    """Minor units of a finite decimal in major units, rounded half up, as Digital River's doubles are.

    Raises:
        ValueError: Unknown currency.
    """
    return int(amount.scaleb(currency_digits(code)).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` divided in proportion to ``weights``; each part is rounded by the running sum, so that they add up to ``total``.

    When all weights are 0, so are the parts.
    """
    whole = sum(weights)
    parts: list[int] = []
    running = given = 0
    for weight in weights:
        running += weight
        upto = (2 * total * running + whole) // (2 * whole) if whole else 0
        parts.append(upto - given)
        given = upto
    return parts


@lru_cache(maxsize=8192)  # the same few amounts, 0 above all, are in every quote
def format_money(minor: int, code: str) -> str:
    """The decimal string of an amount in minor units; ``minor`` must not be negative.

    Raises:
        ValueError: Unknown currency, or a negative amount: the contract has no sign.
    """
    if minor < 0:
        raise ValueError("an amount is never negative")
    digits = currency_digits(code)
    if digits == 2:  # nearly all orders
        return f"{minor // 100}.{minor % 100:02d}"
    if digits == 0:
        return str(minor)
    scale = 10**digits
    return f"{minor // scale}.{minor % scale:0{digits}d}"
