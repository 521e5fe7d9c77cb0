"""Guards and effects of what an operator does to an order. Which event calls which is in ``tables/operator_rules.py``."""

from __future__ import annotations

from msgspec.structs import replace

from statemachine.aftersale import refunds, returns
from statemachine.drafts.commanding import ask, change, inquire_due, next_command_id, reread_of, void
from statemachine.drafts.draft import Draft
from statemachine.drafts.parked import cause_of_parked
from statemachine.effects import absorbing, charges
from statemachine.messages.events import DEADLINE_SOURCE
from statemachine.messages.facts import Fact
from statemachine.messages.identity import without
from statemachine.messages.ids import CommandId
from statemachine.messages.operator_events import Acknowledged, DroppedEvent, EventName, MoveRequested, Released
from statemachine.order.order import EVENT_FAILED, DeadlineName, OpenCommand, Order, failed_event
from statemachine.order.standing import Hold
from statemachine.waits.looking import LOOK, deadlines_with_look

# Holding


def is_never_heard_of(draft: Draft) -> bool:
    """No event of the order has come yet, as far as is known."""
    return not draft.order.sequence and not draft.order.parked


def is_held(draft: Draft) -> bool:
    """The order is held."""
    return draft.order.held is not None


def is_not_held(draft: Draft) -> bool:
    """The order is not held."""
    return draft.order.held is None


def hold(draft: Draft) -> None:
    """Hold the order."""
    act = draft.event.act
    assert act is not None  # decoding sets it for every act
    draft.put(held=Hold(draft.now, act.actor, act.reason))


def is_drop_of_another_event(draft: Draft) -> bool:
    """The release names an event to drop that is not the one that failed."""
    drop = draft.data_as(Released).drop
    return drop is not None and _dropped(draft.order, drop) is None


def _dropped(order: Order, drop: DroppedEvent) -> EventName | DeadlineName | None:
    """The failed event or deadline that ``drop`` names; None when that is not what failed."""
    entry = failed_event(order)
    if entry is not None:
        cause = cause_of_parked(entry)
        return (
            EventName(entry.type, cause.id, cause.source)
            if (cause.id, cause.source) == (drop.id, drop.source)
            else None
        )
    name = drop.id.partition(":")[0]
    deadline = next((one.name for one in deadlines_with_look(order) if one.name == order.failed), None)
    return deadline if deadline == name and drop.source == DEADLINE_SOURCE else None


def release(draft: Draft) -> None:
    """End the hold; the failed event or deadline goes, if the release says so. The queue is decided after this change."""
    order, drop = draft.order, draft.data_as(Released).drop
    entry = failed_event(order)
    if order.failed is not None:
        # when it fails again the reason comes back by itself
        draft.clear_attention(f"{failed_name(order)} failed: ")
    if drop is not None:
        draft.dropped = _dropped(order, drop)
        if entry is not None:
            # its dead letter is written; forgotten, so that it can be sent again
            draft.put(queue=order.queue[1:], seen=without(order.seen, entry.mark))
        elif order.failed != LOOK:  # a look comes again by itself
            draft.call_attention(f"deadline {order.failed} was dropped: what it ends has no end of its own any more")
        draft.put(failed=None)
    elif order.failed != EVENT_FAILED:
        draft.put(failed=None)
    draft.put(held=None)


def failed_name(order: Order) -> str:
    """The type of the event that failed, or what a failed deadline is called."""
    entry = failed_event(order)
    return entry.type if entry is not None else f"deadline {order.failed}"


# Attention


def _acknowledged(draft: Draft) -> tuple[str, ...]:
    """The order's reasons for attention that the event names, or all."""
    named = draft.data_as(Acknowledged).attention
    return tuple([one for one in draft.order.attention if named is None or one in named])


def is_nothing_to_acknowledge(draft: Draft) -> bool:
    """The order has none of the reasons that the event names."""
    return not _acknowledged(draft)


def acknowledge(draft: Draft) -> None:
    """Take reasons off ``attention``; what is derived from money and units stays off until its figures change."""
    gone = _acknowledged(draft)
    left = tuple([one for one in draft.order.attention if one not in gone])
    known = tuple([one for one in draft.order.acknowledged if one not in gone])
    draft.put(attention=left, acknowledged=(*known, *gone)[-draft.policy.attention_max :])


# Edges for operators


def is_there_already(draft: Draft) -> bool:
    """The order is in the state that the event names."""
    return draft.data_as(MoveRequested).to == draft.order.state


def _is_to(draft: Draft, state: str) -> bool:
    return draft.data_as(MoveRequested).to == state


def is_to_abandoned(draft: Draft) -> bool:
    """The event names ``abandoned``."""
    return _is_to(draft, "abandoned")


def is_to_checkout_rejected(draft: Draft) -> bool:
    """The event names ``checkout_rejected``."""
    return _is_to(draft, "checkout_rejected")


def is_to_cancelled(draft: Draft) -> bool:
    """The event names ``cancelled``."""
    return _is_to(draft, "cancelled")


def is_to_submitted(draft: Draft) -> bool:
    """The event names ``submitted``."""
    return _is_to(draft, "submitted")


def is_to_fulfilled(draft: Draft) -> bool:
    """The event names ``fulfilled``."""
    return _is_to(draft, "fulfilled")


def is_to_complete(draft: Draft) -> bool:
    """The event names ``complete``."""
    return _is_to(draft, "complete")


def is_to_returned(draft: Draft) -> bool:
    """The event names ``returned``."""
    return _is_to(draft, "returned")


def is_placement_given_up(draft: Draft) -> bool:
    """Nothing more is done automatically about the placement, and no order at Digital River is known."""
    order = draft.order
    placements = [one for one in order.commands if one.name == "place_order"]
    return order.digital_river.order_id is None and all(one.step == "stuck" for one in placements)


def drop_placement(draft: Draft) -> None:
    """The placement that was given up is never asked again."""
    draft.clear_attention("place_order: ")
    draft.put(commands=tuple([one for one in draft.order.commands if one.name != "place_order"]))


def is_no_money_there(draft: Draft) -> bool:
    """Digital River holds or keeps no money of the order, as far as it has reported."""
    return not charges.is_money_there(draft.order)


def is_no_money_moving(draft: Draft) -> bool:
    """Every capture and void is complete, and none is to come of a shipment."""
    order = draft.order
    operations = [one for charge in order.charges for one in (*charge.captures, *charge.cancels)]
    return all(one.state == "complete" for one in operations) and all(
        one.capture == "complete" for one in order.shipments
    )


def is_every_unit_returned(draft: Draft) -> bool:
    """Units were shipped, and all of them were returned."""
    lines = draft.order.lines
    return any(line.shipped for line in lines) and all(line.returned == line.shipped for line in lines)


def was_complete(draft: Draft) -> bool:
    """The dispute began in ``complete``."""
    return draft.order.disputed_from == "complete"


def end_dispute(draft: Draft) -> None:
    """The dispute is over, although Digital River did not say so: older reports of its begin count no more."""
    known = draft.order.dispute_ended
    ended = draft.now if known is None else max(known, draft.now)
    draft.put(disputed_from=None, dispute_ended=ended)


# Commands that were given up


def given_up(order: Order, command_id: CommandId) -> OpenCommand | None:
    """The command with this id, if nothing more is done about it automatically."""
    return next((one for one in order.commands if one.command_id == command_id and one.step == "stuck"), None)


def is_command_not_given_up(draft: Draft) -> bool:
    """The order has no command with the id in the event that was given up."""
    return draft.closing is None


def retry_given_up(draft: Draft) -> None:
    """Look the command up, and ask it again if it has had no effect: the inquiries and attempts begin anew."""
    command = draft.answered
    again = replace(command, step="unknown", due=draft.now, inquiries=0, excused=command.attempt, inquired_by=None)
    change(draft, again)
    if not any(one.name == command.name and one.due is None for one in draft.order.commands):
        draft.clear_attention(f"{command.name}: ")
    inquire_due(draft)


def is_wanted_checkout(draft: Draft) -> bool:
    """The command would create the checkout that the order waits for."""
    return draft.answered.name == "create_checkout" and draft.answered.wanted


def is_placement(draft: Draft) -> bool:
    """The command would place the order."""
    return draft.answered.name == "place_order"


def is_fulfillment(draft: Draft) -> bool:
    """The command would ship or cancel units."""
    return draft.answered.name == "create_fulfillment"


def is_refund(draft: Draft) -> bool:
    """The command would create a refund."""
    return draft.answered.name == "create_refund"


def is_return(draft: Draft) -> bool:
    """The command would create a return."""
    return draft.answered.name == "create_return"


def is_acceptance(draft: Draft) -> bool:
    """The command would accept a return."""
    return draft.answered.name == "accept_return"


# Reading everything again


def is_reread_in_flight(draft: Draft) -> bool:
    """The order is being read again."""
    return any(one.name == "reread_order" and one.step != "stuck" for one in draft.order.commands)


def ask_reread(draft: Draft) -> None:
    """Have all that Digital River knows of the order read."""
    void(draft, "reread_order")
    ask(draft, reread_of(draft.order, next_command_id(draft)))


def absorb_reread(draft: Draft) -> None:
    """Merge all that was read: the order, then each fulfilment, refund and return, as if each had been reported by itself."""
    outcome, told, closing = draft.answer, draft.event, draft.closing
    absorbing.absorb_order(draft)
    draft.closing = None
    about = outcome.order.dr_order_id if outcome.order is not None else None
    for fulfillment in outcome.fulfillments:
        draft.event = replace(told, data=Fact(type="order_read", dr_order_id=about, fulfillment=fulfillment))
        absorbing.absorb_fulfillment(draft)
    for refund in outcome.refunds:
        draft.event = replace(told, data=Fact(type="order_read", dr_order_id=about, refund=refund))
        refunds.absorb_refund(draft)
    for returned in outcome.returns:
        draft.event = replace(told, data=Fact(type="order_read", dr_order_id=about, returned=returned))
        returns.absorb_return(draft)
    draft.event, draft.closing = told, closing
