"""Fulfilments that Digital River refused, and shipments that it did not learn of: goods may have left, so none is dropped.

During a dispute Digital River refuses every fulfilment. Shipments from before the dispute are sent again once it is over, in
whatever order the refusal and the reports of the dispute arrive. So each refused fulfilment is kept, with the end of the latest
dispute that was known when it was sent. Any other refusal calls a person.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from statemachine.drafts.commanding import ask_anew
from statemachine.drafts.draft import Draft
from statemachine.messages.identity import MARK_BYTES, content_of
from statemachine.messages.ids import CommandId
from statemachine.order.order import OpenCommand, Order, open_units

FULFILLMENT_REFUSED: Final = "Digital River refused a "
PARCEL_DROPPED: Final = (
    "a shipment was being reported to Digital River when it ended the order; goods may have left unpaid"
)

#: Refused fulfilments that an order keeps; each of them has called a person.
REFUSED_MAX: Final = 20


def note_fulfillment_refused(draft: Draft) -> None:
    """Keep the refused fulfilment until a dispute ends; outside of a dispute, call a person. Its units are open again."""
    closing, order = draft.answered, draft.order
    content = content_of(order.facts, closing.fact) or b""
    kept = replace(closing, fact=closing.fact + content if content else b"", inquired_by=None, due=None)
    # The same bytes in whatever order the refusals arrive.
    refused = sorted((*order.refused, kept), key=lambda one: (one.asked, one.command_id))
    draft.put(refused=tuple(refused[-REFUSED_MAX:]))
    if draft.state != "disputed":
        draft.call_attention(f"{FULFILLMENT_REFUSED}{_what(closing)}; its units are open again")


def _what(command: OpenCommand) -> str:
    return "shipment" if any(units.ship for units in command.units) else "cancel"


def clear_fulfillment_refusals(draft: Draft) -> None:
    """Drop the attention about refused fulfilments: they are sent again when the dispute is over."""
    if draft.order.refused:
        draft.clear_attention(FULFILLMENT_REFUSED)


def is_refused_before_a_dispute_ended(draft: Draft) -> bool:
    """A dispute has ended since a refused fulfilment was sent."""
    order = draft.order
    return any(one.dispute_ended != order.dispute_ended for one in order.refused)


def ask_refused_again(draft: Draft) -> None:
    """Send refused fulfilments from before the end of the dispute again, once, where their units are still open."""
    draft.clear_attention(FULFILLMENT_REFUSED)
    for command in draft.order.refused:
        order = draft.order
        if command.dispute_ended == order.dispute_ended:
            draft.call_attention(f"{FULFILLMENT_REFUSED}{_what(command)}; its units are open again")
            continue
        left = open_units(order)
        if any(units.ship + units.cancel > left[units.line] for units in command.units):
            draft.call_attention(
                f"{FULFILLMENT_REFUSED}{_what(command)} before a dispute; its units were shipped or cancelled otherwise"
            )
            draft.put(refused=_without(order, command.command_id))
            continue
        draft.put(refused=_without(order, command.command_id), facts=order.facts + command.fact)
        ask_anew(draft, replace(command, fact=command.fact[:MARK_BYTES]))


def _without(order: Order, command_id: CommandId) -> tuple[OpenCommand, ...]:
    return tuple([one for one in order.refused if one.command_id != command_id])


def forget_refused(draft: Draft, fact: bytes) -> None:
    """The shipment or cancellation is reported again, which replaces the refused one."""
    if draft.order.refused:
        draft.put(refused=tuple([one for one in draft.order.refused if one.fact[:MARK_BYTES] != fact]))


def is_refusal_settled(order: Order) -> bool:
    """Whether every unit is shipped or cancelled, including those of refused shipments."""
    shipped = {line.line: line.shipped for line in order.lines}
    for command in order.refused:
        for units in command.units:
            shipped[units.line] -= units.ship
    return min(shipped.values(), default=0) >= 0 and all(
        line.shipped + line.cancelled == line.ordered for line in order.lines
    )


def cancel_all_lines(draft: Draft) -> None:
    """Digital River's order ended: no unit is open any more, and open cancels are settled by that.

    An open shipment is not: the goods have left, and nobody will pay for them.
    """
    order = draft.order
    if any(units.ship for command in order.commands for units in command.units):
        draft.call_attention(PARCEL_DROPPED)
    draft.put(
        lines=tuple([replace(line, cancelled=line.ordered - line.shipped) for line in order.lines]),
        commands=tuple([command for command in order.commands if not command.units]),
    )
