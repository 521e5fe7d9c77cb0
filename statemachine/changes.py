"""``order.state_changed``: the public record of one change of one order, encoded.

``changed`` names what a reader can see change, and each name is a key with its new value. A change that concerns only what is on
its way to Digital River is named ``open_commands``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from statemachine.decision import StateChange
from statemachine.draft import Draft
from statemachine.envelope import Cause
from statemachine.facts import NextAction, Problem, RemoteCheckout
from statemachine.identity import name_id
from statemachine.money import format_money
from statemachine.order import (
    Document,
    Line,
    Order,
    Payment,
    RefundState,
    RemoteIds,
    Shipment,
    State,
)
from statemachine.snapshot import AmountsText, ReturnView, amounts_text, refund_text

Unset = msgspec.UnsetType


class QuotedItem(msgspec.Struct, frozen=True):
    """A line of a quote; ``amount`` after discount, without tax."""

    line: str
    amount: str
    tax: str
    duties: str
    fees: str
    importer_tax: str


class QuotingEntity(msgspec.Struct, frozen=True):
    """Who sells: the storefront shows the terms of sale of its ``id``."""

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


class OpenCommandView(msgspec.Struct, frozen=True):
    """A command on its way, in public."""

    name: str
    attempt: int


class RefundChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A refund in a change. The token, with which the shopper names an account, goes into the change only and is never kept."""

    refund_id: str
    state: RefundState
    amount: str | None = None
    token: str | None = None
    token_expires: str | None = None


class Change(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """Data of ``order.state_changed``."""

    order_id: str
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
    open_commands: tuple[OpenCommandView, ...] | Unset = msgspec.UNSET
    quote: Quote | Unset = msgspec.UNSET
    payment_session: PaymentSession | Unset = msgspec.UNSET
    next_action: NextAction | Unset = msgspec.UNSET
    problem: ShownProblem | Unset = msgspec.UNSET


_encoder = msgspec.json.Encoder()

#: Bytes of Digital River's own words that a change passes on.
PROBLEM_MAX = 500


def state_change(before: Order, after: Order, draft: Draft, *, refused: bool = False) -> StateChange:
    """The change from ``before`` to ``after``, which ``draft`` has made.

    With ``refused`` the event itself was set aside and only ``attention`` changed: the id then has a further part, because the
    same event may still be applied later under its own.
    """
    cause = draft.event.cause
    changed, more = _changed(before, after, draft)
    data = Change(
        after.order_id,
        after.sequence,
        before.state,
        after.state,
        changed,
        after.payment,
        amounts_text(after.amounts),
        cause,
        after.digital_river,
        after.attention,
        **more,
    )
    parts = (after.order_id, cause.source, cause.id)
    event_id = name_id(*parts, f"refused {after.sequence}") if refused else name_id(*parts)
    return StateChange(event_id, after.order_id, draft.now, _encoder.encode(data))


def _changed(before: Order, after: Order, draft: Draft) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The names of what changed, and the members of the change that are not always there."""
    # Only what is there is handed over: most members are absent, and naming each would cost more than encoding them.
    changed: list[str] = []
    more: dict[str, Any] = {}
    if before.state != after.state:
        changed.append("state")
        more["state"] = after.state
    if before.payment != after.payment:
        changed.append("payment")
    if before.amounts != after.amounts:
        changed.append("amounts")
    if before.lines != after.lines:
        changed.append("lines")
        more["lines"] = after.lines
    if before.shipments != after.shipments:
        changed.append("shipments")
        more["shipments"] = after.shipments
    if before.refunds != after.refunds:
        changed.append("refunds")
        more["refunds"] = _refunds(after, draft)
    if before.returns != after.returns:
        changed.append("returns")
        more["returns"] = tuple([ReturnView(one.return_id, one.state) for one in after.returns])
    if before.documents != after.documents:
        changed.append("documents")
        more["documents"] = after.documents
    if before.attention != after.attention:
        changed.append("attention")
    if not changed:
        changed.append("open_commands")
        more["open_commands"] = tuple([OpenCommandView(one.name, one.attempt) for one in after.commands])
    _tell(draft, more)
    return tuple(changed), more


def _tell(draft: Draft, more: dict[str, Any]) -> None:
    """What a draft collected for this one change."""
    if draft.quote is not None:
        more["quote"] = _quote(draft.quote)
        more["payment_session"] = _session(draft.quote)
    if draft.next_action is not None:
        more["next_action"] = draft.next_action
    if draft.problem is not None:
        more["problem"] = _shown(draft.problem)


def _refunds(order: Order, draft: Draft) -> tuple[RefundChange, ...]:
    shown = []
    for refund in order.refunds:
        public = refund_text(refund, order.amounts.currency)
        token, expires = draft.tokens.get(refund.refund_id, (None, None))
        shown.append(RefundChange(public.refund_id, public.state, public.amount, token, expires))
    return tuple(shown)


def _shown(problem: Problem) -> ShownProblem:
    return ShownProblem(problem.code[:PROBLEM_MAX], problem.message and problem.message[:PROBLEM_MAX])


def _session(quote: RemoteCheckout) -> PaymentSession | Unset:
    if quote.session is None:
        return msgspec.UNSET
    return PaymentSession(quote.session.session_id, quote.session.client_secret)


def _quote(quote: RemoteCheckout) -> Quote:
    def money(minor: int) -> str:
        return format_money(minor, quote.currency)

    entity = quote.selling_entity
    return Quote(
        currency=quote.currency,
        items=tuple(
            QuotedItem(
                item.line,
                money(item.amount),
                money(item.tax),
                money(item.duties),
                money(item.fees),
                money(item.importer_tax),
            )
            for item in quote.lines
        ),
        shipping=money(quote.shipping),
        tax=money(quote.tax),
        duties=money(quote.duties),
        fees=money(quote.fees),
        importer_tax=money(quote.importer_tax),
        discount=money(quote.discount),
        total=money(quote.total),
        selling_entity=msgspec.UNSET if entity is None else QuotingEntity(entity.id, entity.name),
        disclosures=quote.disclosures,
    )
