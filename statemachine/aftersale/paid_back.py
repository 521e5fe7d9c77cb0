"""Sums of refunds and chargebacks, compared with what was captured and with what Digital River reports."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from statemachine.aftersale.repaid import is_live
from statemachine.drafts.currency import is_in_currency, readable_money
from statemachine.drafts.draft import Draft
from statemachine.messages.facts import Fact
from statemachine.messages.identity import content_of, mark_of
from statemachine.messages.money import format_money


def absorb_chargeback(draft: Draft) -> None:
    """Count money that the bank took back.

    Digital River may report one chargeback under several event ids: it counts once, by its own id.
    """
    data, order = draft.data_as(Fact), draft.order
    if data.dr_order_id not in (None, order.digital_river.order_id) or not order.amounts.currency:
        return
    amount = data.amount
    if data.major is not None:
        amount = readable_money(data.major, order.amounts.currency)
    if amount is None:
        draft.call_attention("Digital River reports a chargeback without its amount")
        return
    if not is_in_currency(draft, data.currency, "a chargeback"):
        return
    if data.chargeback_id is not None:
        name, content = mark_of(data.chargeback_id), mark_of(str(amount))
        counted = content_of(order.chargebacks, name)
        if counted is not None:
            if counted != content:
                draft.call_attention("Digital River reports one chargeback with two amounts; the first is counted")
            return
        draft.put(chargebacks=order.chargebacks + name + content)
    draft.put(amounts=replace(order.amounts, charged_back=order.amounts.charged_back + amount))
    recount(draft)


_ABOVE: Final = "more went back than was captured: "
_NOT_KNOWN: Final = "more was paid back at Digital River than the refunds known here: "


def compare_refunded(draft: Draft, reported: int) -> None:
    """Compare ``reported``, the refunded amount of Digital River's order, with the known refunds; call a person if they differ.

    It is kept only while it is more than what is known to be paid, so that reports in any order give the same bytes. A pending
    refund explains the difference for as long as it does not fail.
    """
    order = draft.order
    reported, slack = max(reported, order.remote_refunded), len(order.lines)
    known = sum(refund.taken for refund in order.refunds if is_live(refund)) + order.amounts.charged_back
    paid = sum(refund.taken for refund in order.refunds if refund.state == "succeeded") + order.amounts.charged_back
    kept = reported if reported > paid + slack else 0
    if kept != order.remote_refunded:
        draft.put(remote_refunded=kept)
    currency, unexplained = order.amounts.currency, reported > known + slack
    figures = f"{format_money(reported, currency)} of {format_money(known, currency)}" if unexplained else None
    draft.settle_attention(_NOT_KNOWN, figures)


def recount(draft: Draft) -> None:
    """Sum the successful refunds up as ``amounts.refunded``; when more went back than was captured, attention says so."""
    order = draft.order
    refunded = sum(refund.taken for refund in order.refunds if refund.state == "succeeded")
    if refunded != order.amounts.refunded:
        draft.put(amounts=replace(order.amounts, refunded=refunded))
    amounts = draft.order.amounts
    above = None
    if refunded + amounts.charged_back > amounts.captured + len(order.lines):
        figures = [format_money(one, amounts.currency) for one in (refunded, amounts.charged_back, amounts.captured)]
        above = "{} refunded and {} charged back of {}".format(*figures)
    draft.settle_attention(_ABOVE, above)
    if order.remote_refunded:
        compare_refunded(draft, 0)
