"""``order.state_changed``: the public record of one change of one order, encoded.

``changed`` names the public fields that changed; each name is a key with the new value. A change has news for a reader: what only
the worker needs (open commands, deadlines, what is parked) makes none, and takes no sequence number.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from statemachine.drafts.draft import Draft
from statemachine.effects.problems import PROBLEM_MAX
from statemachine.messages.envelope import Cause
from statemachine.messages.facts import NextAction, Problem, RemoteCheckout
from statemachine.messages.identity import name_id
from statemachine.messages.ids import LineId, OrderId
from statemachine.messages.money import format_money
from statemachine.messages.operator_events import EventName
from statemachine.order.amounts import AmountsText, amounts_text
from statemachine.order.decision import StateChange
from statemachine.order.order import (
    Document,
    Line,
    Order,
    Payment,
    RefundState,
    RemoteIds,
    Shipment,
    State,
)
from statemachine.order.snapshot_parts import ReturnView, refund_text
from statemachine.order.standing import Hold

Unset = msgspec.UnsetType
UNSET: Final = msgspec.UNSET


class QuotedItem(msgspec.Struct, frozen=True):
    """A line of a quote; ``amount`` after discount, without tax."""

    line: LineId
    amount: str
    tax: str
    duties: str
    fees: str
    importer_tax: str


class QuotingEntity(msgspec.Struct, frozen=True):
    """The seller: the storefront shows the terms of sale that belong to its ``id``."""

    id: str
    name: str | None


class Quote(msgspec.Struct, frozen=True):
    """What the order will cost, for the shopper's review; ``total`` is the sum of all after discounts."""

    currency: str
    items: tuple[QuotedItem, ...]
    shipping: str
    tax: str
    duties: str
    fees: str
    importer_tax: str
    discount: str
    total: str
    selling_entity: QuotingEntity | Unset = msgspec.UNSET
    disclosures: msgspec.Raw | Unset = msgspec.UNSET


class PaymentSession(msgspec.Struct, frozen=True):
    """What DigitalRiver.js needs. The secret goes into the change only and is never kept."""

    id: str
    client_secret: str | None


class ShownProblem(msgspec.Struct, frozen=True):
    """Digital River's refusal: ``message`` may be shown to a shopper, ``code`` not."""

    code: str
    message: str | None


class RefundChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A refund in a change. ``token``, with which the shopper names an account, is only in the change and never kept."""

    refund_id: str
    state: RefundState
    amount: str | None = None
    token: str | None = None
    token_expires: str | None = None


class Change(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """Data of ``order.state_changed``."""

    order_id: OrderId
    sequence: int
    from_: State
    to: State
    changed: tuple[str, ...]
    payment: Payment
    amounts: AmountsText
    cause: Cause
    digital_river: RemoteIds
    attention: tuple[str, ...]
    state: State | Unset = msgspec.UNSET
    lines: tuple[Line, ...] | Unset = msgspec.UNSET
    shipments: tuple[Shipment, ...] | Unset = msgspec.UNSET
    refunds: tuple[RefundChange, ...] | Unset = msgspec.UNSET
    returns: tuple[ReturnView, ...] | Unset = msgspec.UNSET
    documents: tuple[Document, ...] | Unset = msgspec.UNSET
    quote: Quote | Unset = msgspec.UNSET
    payment_session: PaymentSession | Unset = msgspec.UNSET
    next_action: NextAction | Unset = msgspec.UNSET
    problem: ShownProblem | Unset = msgspec.UNSET
    held: Hold | Unset | None = msgspec.UNSET
    #: Who caused the change by hand, and why.
    actor: str | Unset = msgspec.UNSET
    reason: str | Unset = msgspec.UNSET
    #: The event in the record that was delivered again.
    redelivered: EventName | Unset = msgspec.UNSET
    #: The failed event that was dropped, or the name of the failed deadline.
    dropped: EventName | str | Unset = msgspec.UNSET


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
