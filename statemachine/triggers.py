"""Which row of the life cycle's table an event fires."""

from __future__ import annotations

from typing import Final

from statemachine.drafts.commanding import find_closing
from statemachine.drafts.draft import Draft
from statemachine.effects.operating import given_up
from statemachine.messages.events import DeadlineDue
from statemachine.messages.facts import CHARGEBACK, Fact, Outcome, outcome_type
from statemachine.messages.operator_events import CommandDropped, CommandRetried
from statemachine.waits.looking import deadlines_with_look

_LOOK_TRIGGERS: Final = {
    "confirmed": "look.confirmed",
    "rejected": "look.rejected",
    "unknown": "look.failed",
    "absent": "look.failed",
}


def trigger_of(draft: Draft) -> str | None:
    """The trigger of the event, a row of the table; None when the event cannot be news."""
    data = draft.event.data
    # By type and not by isinstance, which for pydantic's models costs more than a guard.
    if type(data) is Outcome:
        return _outcome_trigger(draft, data)
    if type(data) is Fact:
        return _fact_trigger(data)
    if type(data) is DeadlineDue:
        due = draft.order.held is None and any(
            one.name == data.name and one.due <= draft.now for one in deadlines_with_look(draft.order)
        )
        return f"deadline.{data.name}" if due else None
    if type(data) is CommandRetried or type(data) is CommandDropped:
        draft.closing = given_up(draft.order, data.command_id)
    return draft.event.type  # a public event, or an operator's act


def _outcome_trigger(draft: Draft, outcome: Outcome) -> str | None:
    """The row of an answer to one of our commands; of a stray outcome the row of the facts in it."""
    draft.closing = find_closing(draft.order, outcome)
    if draft.closing is None:
        look = draft.order.look
        if look is not None and look.asked == outcome.command_id:
            return _LOOK_TRIGGERS[outcome.result]
        return _stray_outcome_trigger(outcome)
    if outcome.result == "unknown":
        return "command.unknown"
    if outcome.result == "absent":
        return "command.absent" if outcome.attempt >= draft.closing.attempt else None
    return outcome_type(outcome)


def _stray_outcome_trigger(outcome: Outcome) -> str | None:
    """The row of the facts in an outcome whose command is not open; None when there are none, for then it changes nothing."""
    if outcome.order is not None:
        return "fact.order"
    if outcome.fulfillment is not None:
        return "fact.fulfillment"
    if outcome.refund is not None:
        return "fact.refund"
    return "fact.return" if outcome.returned is not None else None


def _fact_trigger(fact: Fact) -> str:
    """The row of what a webhook or read reports, by the object in it: one type may carry different objects.

    See docs/digital-river.md, "Webhooks and event types".
    """
    if fact.order is not None:
        return "fact.order"
    if fact.charge is not None:
        return "fact.charge"
    if fact.fulfillment is not None:
        return "fact.fulfillment"
    if fact.document is not None:
        return "fact.document"
    if fact.refund is not None:
        return "fact.refund"
    if fact.returned is not None:
        return "fact.return"
    # A chargeback of nothing is its fee (docs/digital-river.md, "Disputes and chargebacks").
    is_fee = fact.amount == 0 or fact.major == 0
    return "fact.chargeback" if fact.type == CHARGEBACK and not is_fee else "fact.note"
