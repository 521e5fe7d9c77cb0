"""An order's amounts as decimal strings, as they are published, and back."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import msgspec

from statemachine.messages.identity import mark_of
from statemachine.messages.ids import FulfillmentId
from statemachine.messages.money import format_money, parse_money
from statemachine.order.order import Amounts, Operation


class AmountsText(msgspec.Struct, frozen=True):
    """``amounts`` as decimal strings with exactly the currency's digits; ``currency`` is null before the first cart."""

    currency: str | None
    total: str
    tax: str
    captured: str
    cancelled: str
    refunded: str
    charged_back: str


def captured_text(
    captures: Iterable[Operation], fulfillment_id: FulfillmentId, currency: str
) -> str | msgspec.UnsetType:
    """The sum of the complete captures of a fulfilment, as the contract writes it; unset when there is none."""
    mark = mark_of(fulfillment_id)
    complete = [one.amount for one in captures if one.fulfillment == mark and one.state == "complete"]
    return format_money(sum(complete), currency) if complete else msgspec.UNSET


@lru_cache(maxsize=4096)  # an order's amounts stay the same over most of its events, and each writes them twice
def amounts_text(amounts: Amounts) -> AmountsText:
    """Amounts as the contract writes them."""
    currency = amounts.currency
    if not currency:  # an awaited order: no cart yet, so no digits to write
        return AmountsText(None, "0", "0", "0", "0", "0", "0")
    none = format_money(0, currency)
    return AmountsText(
        currency,
        format_money(amounts.total, currency),
        format_money(amounts.tax, currency) if amounts.tax else none,
        format_money(amounts.captured, currency) if amounts.captured else none,
        format_money(amounts.cancelled, currency) if amounts.cancelled else none,
        format_money(amounts.refunded, currency) if amounts.refunded else none,
        format_money(amounts.charged_back, currency) if amounts.charged_back else none,
    )


@lru_cache(maxsize=4096)  # as above
def amounts_of(text: AmountsText) -> Amounts:
    """The amounts that a snapshot has.

    Raises:
        ValueError: An amount or the currency is malformed.
    """
    currency = text.currency
    if currency is None:  # an awaited order has no money
        return Amounts("")
    return Amounts(
        currency,
        parse_money(text.total, currency),
        parse_money(text.tax, currency),
        parse_money(text.captured, currency),
        parse_money(text.cancelled, currency),
        parse_money(text.refunded, currency),
        parse_money(text.charged_back, currency),
    )
