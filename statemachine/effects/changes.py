"""``order.state_changed``: the public record of one change of one order, encoded.

``changed`` names the public fields that changed; each name is a key with the new value. A change has news for a reader: what only
the worker needs (open commands, deadlines, what is parked) makes none, and takes no sequence number.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace

from statemachine.drafts.draft import Draft
from statemachine.effects.change_types import (
    UNSET,
    Change,
    PaymentSession,
    Quote,
    QuotedItem,
    QuotingEntity,
    RefundChange,
    ShownProblem,
    Unset,
)
from statemachine.effects.problems import PROBLEM_MAX
from statemachine.messages.facts import Problem, RemoteCheckout
from statemachine.messages.identity import name_id
from statemachine.messages.money import format_money
from statemachine.order.amounts import amounts_text
from statemachine.order.decision import StateChange
from statemachine.order.order import (
    Document,
    Line,
    Order,
    Shipment,
    State,
)
from statemachine.order.snapshot_parts import refund_text
from statemachine.order.snapshot_types import ReturnView

_encoder = msgspec.json.Encoder()

#: Why a change has an id other than that of its event.
Beside = Literal["refused", "following"]


def state_change(before: Order, after: Order, draft: Draft, *, beside: Beside | None = None) -> StateChange | None:
    """The change from ``before`` to ``after``, made by ``draft``; None when it has no news for a reader.

    What an operator does is news in any case: who did it, and why.

    ``beside``: the change is not the event's own, so its id has a further part. Either the event was ``refused`` and only
    ``attention`` changed, so that it may still be applied later; or this change is ``following`` the event's own.
    """
    cause = draft.event.cause
    event_id = draft.name
    change = _change(before, after, draft)
    if draft.event.act is not None or before.held is not after.held:
        change = _by_hand(change, before, after, draft)
    elif not change.changed and draft.quote is None and draft.next_action is None:
        return None
    if beside is not None:
        event_id = name_id(after.order_id, cause.source, cause.id, f"{beside} {after.sequence}")
    return StateChange(event_id, after.order_id, draft.now, _encoder.encode(change))


def published(
    before: Order, after: Order, draft: Draft, *, beside: Beside | None = None
) -> tuple[Order, StateChange | None]:
    """``after``, which has the next sequence, and its change; without news None, and ``after`` keeps the sequence."""
    change = state_change(before, after, draft, beside=beside)
    if change is None:
        after = unpublished(before, after)
    return after, change


def unpublished(before: Order, after: Order) -> Order:
    """``after`` when it makes no change: the sequence stays, and what was decided since is counted."""
    return replace(after, sequence=before.sequence, quiet=before.quiet + 1)


def _change(before: Order, after: Order, draft: Draft) -> Change:
    """The change, with the optional members that it has."""
    # Members by position, in the order of the struct: by keyword the call would cost more than the encoding.
    changed: list[str] = []
    state: State | Unset = UNSET
    lines: tuple[Line, ...] | Unset = UNSET
    shipments: tuple[Shipment, ...] | Unset = UNSET
    refunds: tuple[RefundChange, ...] | Unset = UNSET
    returns: tuple[ReturnView, ...] | Unset = UNSET
    documents: tuple[Document, ...] | Unset = UNSET
    if before.state != after.state:
        changed.append("state")
        state = after.state
    if before.payment != after.payment:
        changed.append("payment")
    if before.amounts is not after.amounts and before.amounts != after.amounts:
        changed.append("amounts")
    if before.lines is not after.lines and before.lines != after.lines:
        changed.append("lines")
        lines = after.lines
    if before.shipments is not after.shipments and before.shipments != after.shipments:
        changed.append("shipments")
        shipments = after.shipments
    if before.refunds is not after.refunds and (shown := _refunds(after, draft)) != _refunds(before):
        changed.append("refunds")
        refunds = shown
    if before.returns is not after.returns and (seen := _returns(after)) != _returns(before):
        changed.append("returns")
        returns = seen
    if before.documents is not after.documents and before.documents != after.documents:
        changed.append("documents")
        documents = after.documents
    if before.attention is not after.attention and before.attention != after.attention:
        changed.append("attention")
    if before.digital_river is not after.digital_river and before.digital_river != after.digital_river:
        changed.append("digital_river")
    if draft.problem is not None:
        changed.append("problem")
    return Change(
        after.order_id,
        after.sequence,
        before.state,
        after.state,
        tuple(changed),
        after.payment,
        amounts_text(after.amounts),
        draft.event.cause,
        after.digital_river,
        after.attention,
        state,
        lines,
        shipments,
        refunds,
        returns,
        documents,
        UNSET if draft.quote is None else _quote(draft.quote),
        UNSET if draft.quote is None else _session(draft.quote),
        UNSET if draft.next_action is None else draft.next_action,
        UNSET if draft.problem is None else _shown(draft.problem),
    )


def _by_hand(change: Change, before: Order, after: Order, draft: Draft) -> Change:
    """The change with what an operator, or a hold, adds to it."""
    act, held = draft.event.act, before.held != after.held
    return replace(
        change,
        changed=(*change.changed, "held") if held else change.changed,
        held=after.held if held else UNSET,
        actor=UNSET if act is None else act.actor,
        reason=UNSET if act is None else act.reason,
        redelivered=UNSET if act is None or act.redelivered is None else act.redelivered,
        dropped=UNSET if draft.dropped is None else draft.dropped,
    )


def _returns(order: Order) -> tuple[ReturnView, ...]:
    return tuple([ReturnView(one.return_id, one.state) for one in order.returns])


def _refunds(order: Order, draft: Draft | None = None) -> tuple[RefundChange, ...]:
    """The refunds in public; with ``draft`` also the tokens that its event brought."""
    shown = []
    for refund in order.refunds:
        public = refund_text(refund, order.amounts.currency)
        token, expires = (None, None) if draft is None else draft.tokens.get(refund.refund_id, (None, None))
        shown.append(RefundChange(public.refund_id, public.state, public.amount, token, expires))
    return tuple(shown)


def _shown(problem: Problem) -> ShownProblem:
    return ShownProblem(problem.code[:PROBLEM_MAX], problem.message and problem.message[:PROBLEM_MAX])


def _session(quote: RemoteCheckout) -> PaymentSession | Unset:
    if quote.session is None:
        return msgspec.UNSET
    return PaymentSession(quote.session.session_id, quote.session.client_secret)


def _quote(quote: RemoteCheckout) -> Quote:
    currency, entity = quote.currency, quote.selling_entity
    none = format_money(0, currency)
    return Quote(
        currency,
        tuple(
            [
                QuotedItem(
                    item.line,
                    format_money(item.amount, currency),
                    format_money(item.tax, currency),
                    format_money(item.duties, currency) if item.duties else none,
                    format_money(item.fees, currency) if item.fees else none,
                    format_money(item.importer_tax, currency) if item.importer_tax else none,
                )
                for item in quote.lines
            ]
        ),
        format_money(quote.shipping, currency) if quote.shipping else none,
        format_money(quote.tax, currency),
        format_money(quote.duties, currency) if quote.duties else none,
        format_money(quote.fees, currency) if quote.fees else none,
        format_money(quote.importer_tax, currency) if quote.importer_tax else none,
        format_money(quote.discount, currency) if quote.discount else none,
        format_money(quote.total, currency),
        UNSET if entity is None else QuotingEntity(entity.id, entity.name),
        quote.disclosures,
    )
