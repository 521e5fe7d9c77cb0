"""What the order will cost, as Digital River quotes it, and what the shopper has seen of it.

An order is never placed at a total that nobody has seen: attaching a source may change the quote (Digital River fills in the
payer's address, and tax follows it), and then a placement that waited for the source stands for another price.
"""

from __future__ import annotations

from msgspec.structs import replace

from statemachine.drafts.draft import Draft
from statemachine.drafts.parked import cause_of_parked
from statemachine.effects.guards import acceptance_mark, is_quote_sound
from statemachine.errors import DecodeError
from statemachine.messages.decoding import decode
from statemachine.messages.events import OrderPlaced
from statemachine.messages.facts import Problem, RemoteCheckout
from statemachine.messages.identity import without
from statemachine.messages.ids import CheckoutId
from statemachine.order.decision import IndexEntry, SetAside
from statemachine.order.order import ParkedEvent, RemoteIds
from statemachine.tables.life_cycle import PRICE_CHANGED


def take_checkout(draft: Draft) -> None:
    """The checkout is there: its id, its money, and the quote that the shopper reviews."""
    order, outcome = draft.order, draft.answer
    assert outcome.checkout is not None  # guarded by is_quote_sound
    quote = draft.quote = outcome.checkout
    ids = RemoteIds(quote.checkout_id, None, outcome.customer_id or quote.customer_id)
    amounts = replace(order.amounts, total=quote.total, tax=quote.tax)
    draft.order = replace(order, digital_river=ids, amounts=amounts)
    draft.effects.append(IndexEntry(quote.checkout_id, "checkout", order.order_id))


def take_attached(draft: Draft) -> None:
    """The source is attached and pays for all of it; a quote that it changed is told."""
    outcome = draft.answer
    assert outcome.checkout is not None  # guarded by is_quote_sound
    amounts = draft.order.amounts
    if (outcome.checkout.total, outcome.checkout.tax) != (amounts.total, amounts.tax):
        _tell(draft, outcome.checkout)


def tell_quote(draft: Draft) -> None:
    """The shopper is back at the quote: the change says it again, with the session that takes another source."""
    outcome = draft.outcome
    if is_quote_sound(draft) and outcome is not None and outcome.checkout is not None:
        _tell(draft, outcome.checkout)


def _tell(draft: Draft, quote: RemoteCheckout) -> None:
    """The change carries the quote; what accepted another total has to be asked for again."""
    before = draft.order.amounts
    draft.quote = quote
    draft.put(amounts=replace(before, total=quote.total, tax=quote.tax))
    if quote.total != before.total:
        _refuse_acceptances(draft)


def _refuse_acceptances(draft: Draft) -> None:
    """Placements that wait were sent before the quote that is told now. They are known: the same ones never accept it."""
    order = draft.order
    kept, seen, facts = [], order.seen, order.facts
    for entry in order.parked:
        if entry.type != "order.placed" or not _stands_for(entry, order.digital_river.checkout_id):
            kept.append(entry)
            continue
        seen = without(seen, entry.mark)
        facts += acceptance_mark(entry.mark) * 2
        draft.effects.append(SetAside(entry.record, cause_of_parked(entry), "refused", PRICE_CHANGED))
    if len(kept) < len(order.parked):
        draft.put(parked=tuple(kept), seen=seen, facts=facts)


def _stands_for(entry: ParkedEvent, checkout_id: CheckoutId | None) -> bool:
    """Whether a placement that waits would be carried out for this checkout."""
    try:
        data = decode(entry.record).data
    except DecodeError:
        return False  # this version takes it no more, and says so when its turn comes
    return isinstance(data, OrderPlaced) and data.checkout_id in (None, checkout_id)


def tell_not_funded(draft: Draft) -> None:
    """The source is attached but does not pay for all of it, or needs more of the shopper."""
    tell_quote(draft)
    draft.problem = Problem(code="not_funded", message="The payment source does not cover the order.")


def note_unsound_quote(draft: Draft) -> None:
    """Digital River gave no quote, or one in another currency than the cart's."""
    draft.problem = Problem(code="quote_unsound", message="There is no quote in the currency of the cart.")
    draft.call_attention("the quote of Digital River is missing, or in another currency than the cart")
