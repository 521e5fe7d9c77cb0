"""The deadlines of an order: which wait, until when, and the event that one makes when it falls due.

Derived from the order after every decision, so that they change and disappear with what they wait for.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from statemachine.drafts.draft import Draft
from statemachine.messages.envelope import Cause
from statemachine.messages.events import DEADLINE_SOURCE, DEADLINE_TYPE, DeadlineDue, Event
from statemachine.order.order import Deadline, Order, State
from statemachine.order.states import RESTING
from statemachine.tables.rules import WAITS
from statemachine.waits.expiring import expiry
from statemachine.waits.looking import LOOK

_WAIT_FIELDS: Final[dict[State, str]] = {state: f"{state}_wait" for state in WAITS}


def deadline_event(order: Order, deadline: Deadline) -> Event:
    """The event of a deadline that fell due. Its id is unique in the order: firing it makes a sequence, or counts as quiet."""
    event_id = f"{deadline.name}:{order.sequence}"
    if order.quiet:  # the sequence stays where a decision makes no change
        event_id = f"{event_id}.{order.quiet}"
    if deadline.name == LOOK and order.look is not None:  # it is not even counted as quiet
        event_id = f"{event_id}.{order.look.number + 1}"
    return Event(
        type=DEADLINE_TYPE,
        id=event_id,
        source=DEADLINE_SOURCE,
        order_id=order.order_id,
        time=deadline.due,
        data=DeadlineDue(deadline.name),
        cause=Cause(type=DEADLINE_TYPE, id=event_id, source=DEADLINE_SOURCE),
    )


def deadlines_of(before: Order, draft: Draft) -> tuple[Deadline, ...]:
    """The deadlines after a decision: of the state, since it was entered, of parked events, open commands, refunds, returns."""
    found: list[Deadline] = []
    after, state = draft.order, draft.state
    name = WAITS.get(state)
    if name is not None:
        if before.state != state:
            found.append(Deadline(name, draft.now + getattr(draft.policy, _WAIT_FIELDS[state])))
        else:
            fired = draft.event.data.name if isinstance(draft.event.data, DeadlineDue) else None
            found.extend([one for one in before.deadlines if one.name == name and name != fired])
    elif after.parked:
        found.extend(_expiry(before, draft))
    if after.commands:
        _add_command_waits(after, found)
    if after.refunds or after.returns:
        found.extend(_later_deadlines(after))
    if draft.dropped is not None:
        found = [one for one in found if one.name != draft.dropped]
    return tuple(found)


def _expiry(before: Order, draft: Draft) -> tuple[Deadline, ...]:
    """When parked events are too old; the whole wait begins anew when the order comes to rest."""
    known = next((one.due for one in before.deadlines if one.name == "expire"), None)
    if draft.state in RESTING and before.state not in RESTING:
        known = draft.now + draft.policy.parked_max_age
    return expiry(replace(draft.order, state=draft.state), draft.policy, known=known)


def _add_command_waits(order: Order, found: list[Deadline]) -> None:
    """When the next open command is to be inquired about, and when the next one is asked again."""
    inquire = again = None
    for command in order.commands:
        due = command.due
        if due is None:
            continue
        if command.step == "retry":
            again = due if again is None or due < again else again
        else:
            inquire = due if inquire is None or due < inquire else inquire
    if inquire is not None:
        found.append(Deadline("inquire", inquire))
    if again is not None:
        found.append(Deadline("ask_again", again))


def _later_deadlines(order: Order) -> list[Deadline]:
    """The waits of refunds and returns: the next one of each kind."""
    refunds = [one.due for one in order.refunds if one.due is not None]
    returns = [one.due for one in order.returns if one.due is not None]
    found = [Deadline("refund", min(refunds))] if refunds else []
    return [*found, Deadline("return", min(returns))] if returns else found
