"""Quotes: what the order will cost, and which of them the shopper has accepted.

An order is never placed at a total that the shopper has not seen. Attaching a source may change the quote (Digital River fills in
the payer's address, which decides the tax), and then a placement that was parked until the source is there is for another total.
"""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace

from statemachine.drafts.draft import Draft
from statemachine.drafts.parked import cause_of_parked
from statemachine.effects.guards import acceptance_mark, is_quote_valid
from statemachine.errors import DecodeError
from statemachine.messages.decoding import decode
from statemachine.messages.events import OrderPlaced
from statemachine.messages.facts import Problem, RemoteCheckout
from statemachine.messages.identity import without
from statemachine.messages.ids import CheckoutId
from statemachine.messages.money import format_money
from statemachine.order.decision import IndexEntry, SetAside
from statemachine.order.order import Line, Order, ParkedEvent, RemoteIds
from statemachine.tables.life_cycle import PRICE_CHANGED, TOTAL_CHANGED


def take_checkout(draft: Draft) -> None:
    """Take the created checkout: its id, its amounts, and the quote that the shopper reviews."""
    order, outcome = draft.order, draft.answer
    assert outcome.checkout is not None  # guarded by is_quote_valid
    quote = draft.quote = outcome.checkout
    ids = RemoteIds(quote.checkout_id, None, outcome.customer_id or quote.customer_id)
    amounts = replace(order.amounts, total=quote.total, tax=quote.tax)
    draft.order = replace(order, digital_river=ids, amounts=amounts, lines=_priced(order, quote))
    draft.effects.append(IndexEntry(quote.checkout_id, "checkout", order.order_id))


def take_attached(draft: Draft) -> None:
    """The source is attached and covers the order; publish the quote if it has changed."""
    outcome = draft.answer
    assert outcome.checkout is not None  # guarded by is_quote_valid
    amounts = draft.order.amounts
    if (outcome.checkout.total, outcome.checkout.tax) != (amounts.total, amounts.tax):
        _tell(draft, outcome.checkout)


def publish_quote(draft: Draft) -> None:
    """Publish the quote again, with the session in which the shopper chooses another source."""
    outcome = draft.outcome
    if is_quote_valid(draft) and outcome is not None and outcome.checkout is not None:
        _tell(draft, outcome.checkout)


def _tell(draft: Draft, quote: RemoteCheckout) -> None:
    """Put the quote into the change; placements that accepted another total are refused."""
    before = draft.order.amounts
    draft.quote = quote
    draft.put(amounts=replace(before, total=quote.total, tax=quote.tax), lines=_priced(draft.order, quote))
    if quote.total != before.total:
        _refuse_acceptances(draft)


def _priced(order: Order, quote: RemoteCheckout) -> tuple[Line, ...]:
    """The lines with their prices in the quote; one that it does not have loses its price."""
    quoted, currency = {one.line: one for one in quote.lines}, quote.currency
    return tuple(
        [
            replace(line, amount=UNSET, tax=UNSET)
            if (one := quoted.get(line.line)) is None
            else replace(line, amount=format_money(one.amount, currency), tax=format_money(one.tax, currency))
            for line in order.lines
        ]
    )


def _refuse_acceptances(draft: Draft) -> None:
    """Refuse parked placements, which were sent before the new quote. Remember them, so that they never accept it."""
    order = draft.order
    kept, seen, facts = [], order.seen, order.facts
    for entry in order.parked:
        if entry.type != "order.placed" or not _stands_for(entry, order.digital_river.checkout_id):
            kept.append(entry)
            continue
        seen = without(seen, entry.mark)
        facts += acceptance_mark(entry.mark) * 2
        draft.effects.append(SetAside(entry.record, cause_of_parked(entry), "refused", PRICE_CHANGED, TOTAL_CHANGED))
    if len(kept) < len(order.parked):
        draft.put(parked=tuple(kept), seen=seen, facts=facts)


def _stands_for(entry: ParkedEvent, checkout_id: CheckoutId | None) -> bool:
    """Whether a parked placement is for this checkout."""
    try:
        data = decode(entry.record).data
    except DecodeError:
        return False  # this version refuses the record, and says so when it tries the parked event
    return isinstance(data, OrderPlaced) and data.checkout_id in (None, checkout_id)


def publish_not_funded(draft: Draft) -> None:
    """The source is attached but does not cover the order, or needs another step of the shopper."""
    publish_quote(draft)
    draft.problem = Problem(code="not_funded", message="The payment source does not cover the order.")


def note_invalid_quote(draft: Draft) -> None:
    """Digital River gave no quote, or one in another currency than the cart's."""
    draft.problem = Problem(code="quote_unsound", message="There is no quote in the currency of the cart.")
    draft.call_attention("the quote of Digital River is missing, or in another currency than the cart")
