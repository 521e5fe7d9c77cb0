"""The problem that an order keeps: the last refusal of Digital River, until it is overcome.

It is overcome when Digital River confirms a command of the same name; one on the way to a placed order also when the order moves
on, or a new cart comes; and a failed charge when ``payment`` has no failure any more. An end of the order overcomes nothing.
"""

from __future__ import annotations

from typing import Final

from statemachine.drafts.draft import Draft
from statemachine.effects.payment import payment_of
from statemachine.messages.facts import Fact, Outcome
from statemachine.order.order import Order, State
from statemachine.order.standing import KeptProblem
from statemachine.order.states import FINAL

#: Characters of a text of Digital River that a change and a snapshot include.
PROBLEM_MAX: Final = 500
#: ``about`` of a problem that is no command's: a capture, void or charge failed.
CHARGE: Final = "charge"

#: Commands that lead to a placed order.
_ON_THE_WAY: Final = frozenset({"create_checkout", "attach_source", "delete_checkout", "place_order", "refresh_order"})
_FAILED: Final = frozenset({"capture_failed", "void_failed", "reauth_failed", "failed"})


def keep_problem(before: Order, draft: Draft) -> None:
    """Keep the problem of this decision, or drop the one that is overcome."""
    problem = draft.problem
    if problem is not None:
        message = problem.message and problem.message[:PROBLEM_MAX]
        draft.put(problem=KeptProblem(problem.code[:PROBLEM_MAX], message, _about(draft)))
        return
    known = draft.order.problem
    if known is not None and _is_overcome(known.about, before.state, draft):
        draft.put(problem=None)


def _about(draft: Draft) -> str:
    """The command that was refused. What Digital River reports by itself is about a refund, or the charge."""
    if draft.closing is not None:
        return draft.closing.name
    data = draft.event.data
    if isinstance(data, Outcome):
        return data.command
    return "create_refund" if isinstance(data, Fact) and data.refund is not None else CHARGE


def _is_overcome(about: str, state_before: State, draft: Draft) -> bool:
    outcome = draft.outcome
    if outcome is not None and outcome.result == "confirmed" and outcome.command == about:
        return True
    if about == CHARGE:
        return payment_of(draft.order, draft.state) not in _FAILED
    return about in _ON_THE_WAY and draft.state != state_before and draft.state not in FINAL
