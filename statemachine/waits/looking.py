"""Looks: an order that waits for Digital River is read there again, so that a lost webhook is made good without a person.

The first look comes soon after the webhook was due, and the waits between looks double. A look is a ``reread_order`` that is no
open command: nothing depends on it, an unanswered one is made again at the next due time, and one that finds nothing new makes no
change.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from statemachine.aftersale.returnable import unpaid_returns
from statemachine.drafts.commanding import next_command_id, reread_of
from statemachine.drafts.draft import Draft
from statemachine.order.order import Deadline, Look, Order, Payment, RefundState, State

LOOK: Final = "reconcile"
UNKNOWN_THERE: Final = "Digital River does not know the order"

#: What Digital River is to report next decides these states.
_REPORTED: Final[frozenset[State]] = frozenset({"pending_payment", "in_review", "fulfilled"})
#: Nothing is due from Digital River soon, but it may cancel, dispute or settle at any time.
_OPEN: Final[frozenset[State]] = frozenset({"submitted", "disputed"})

_CAPTURING: Final[frozenset[Payment]] = frozenset({"capturing", "capture_failed"})
#: Refunds that Digital River has and has not paid yet.
_UNPAID: Final[frozenset[RefundState]] = frozenset({"pending", "pending_information"})


def deadlines_with_look(order: Order) -> tuple[Deadline, ...]:
    """The order's deadlines, and its next look as one."""
    look = order.look
    return order.deadlines if look is None else (*order.deadlines, Deadline(LOOK, look.due))


def pending_reports(order: Order, state: State, payment: Payment) -> int:
    """How many things Digital River has yet to report: a payment, captures, a void, refunds, what becomes of returns."""
    pending = 1 if state in _REPORTED else 0
    if payment in _CAPTURING:
        pending += sum([one.capture == "pending" for one in order.shipments])
    elif payment == "voiding" or (state == "submitted" and _is_void_pending(order)):
        pending += 1
    if order.refunds:  # also those that are overdue: a person was called, and the report may still come
        pending += sum([one.due is not None or one.state in _UNPAID for one in order.refunds])
    if order.returns:
        pending += len(unpaid_returns(order))
    return pending


def _is_void_pending(order: Order) -> bool:
    return any(void.state in ("pending", "pending_information") for charge in order.charges for void in charge.cancels)


def look_after(before: Order, draft: Draft, payment: Payment) -> Look | None:
    """The next look after a decision: none when the order waits for nothing there, anew when it waits for more than before."""
    order, state, now, policy = draft.order, draft.state, draft.now, draft.policy
    pending = pending_reports(order, state, payment)
    if not pending and state not in _OPEN:
        return None
    known = order.look
    first = (
        min(policy.reconcile_first_wait, policy.reconcile_longest_wait) if pending else policy.reconcile_longest_wait
    )
    if known is None or before.state != state:
        return Look(now, now + first, pending)
    if draft.dropped == LOOK:  # it failed by a fault of ours
        return Look(known.since, now + policy.reconcile_longest_wait, pending, number=known.number + 1)
    if pending > known.pending:  # the same report as before is not news; a further one is due as soon as the first was
        return replace(known, due=now + first, pending=pending, looks=0)
    if pending == known.pending:
        return known
    return replace(known, pending=pending)


def ask_look(draft: Draft) -> None:
    """Have all that Digital River knows of the order read; the next look comes after twice the wait, answered or not."""
    order, policy = draft.order, draft.policy
    look = order.look
    assert look is not None  # it fell due
    command = reread_of(order, next_command_id(draft))
    draft.effects.append(command)
    longest = policy.reconcile_longest_wait
    wait = min(policy.reconcile_first_wait * 2 ** min(look.looks + 1, 16), longest) if look.pending else longest
    asked = Look(
        look.since, draft.now + wait, look.pending, look.looks + 1, look.number + 1, command.command_id, draft.now
    )
    draft.put(look=asked)


def end_look(draft: Draft) -> None:
    """The look is answered."""
    look = draft.order.look
    assert look is not None  # the answer named its command
    draft.looked_at = look.asked_at
    draft.put(look=replace(look, asked=None, asked_at=None))


def note_unknown_there(draft: Draft) -> None:
    """Digital River has no such order: a person is called."""
    draft.call_attention(UNKNOWN_THERE)


def is_only_a_look(before: Order, draft: Draft) -> bool:
    """Whether the decision did nothing but ask for a look, or take an answer without news."""
    after = draft.order
    return before.look is not after.look and replace(after, look=before.look) == before
