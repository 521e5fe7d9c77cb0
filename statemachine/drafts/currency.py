"""Money in facts counts only in the order's currency; anything else calls a person and raises nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from statemachine.drafts.draft import Draft
from statemachine.messages.facts import RemoteCharge
from statemachine.messages.money import round_money

_ELSEWHERE: Final = "in another currency than the order's; it is not counted"


def is_in_currency(draft: Draft, currency: str | None, what: str) -> bool:
    """Whether ``currency`` is the order's; when it is another, a person is called and ``what`` must not be counted.

    None, as in records of older versions, stands for the order's.
    """
    if currency in (None, draft.order.amounts.currency):
        return True
    draft.call_attention(f"Digital River has {what} {_ELSEWHERE}")
    return False


def charges_in_currency(draft: Draft, charges: tuple[RemoteCharge, ...]) -> tuple[RemoteCharge, ...]:
    """The charges whose captures and cancels may be added up."""
    return tuple([charge for charge in charges if is_in_currency(draft, charge.currency, "a charge")])


def readable_money(major: Decimal, currency: str) -> int | None:
    """Minor units of an amount in major units, which decoding has bounded; None when it is negative."""
    return None if major < 0 else round_money(major, currency)
